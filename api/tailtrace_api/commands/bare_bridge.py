"""A bridge without what read its command line and its settings: typer and pydantic are 12 of 50 MiB, and are used once.

`become_bridge` has the same process run Python anew (execve(2): its id, environment and standard streams stay), which
begins at `main`. The settings go with it in a file without a name (memfd_create(2)): what stands in the environment or
the arguments of a process, others may read, and some settings are secrets.
"""

import logging
import os
import pickle
import sys
import tempfile
from typing import TYPE_CHECKING, NoReturn, cast

from tailtrace_api.server import loading
from tailtrace_api.terminal.failed import exit_status
from tailtrace_api.terminal.log import log_to_stderr
from tailtrace_bridge.core import interrupted
from tailtrace_bridge.settings.derived import Derived, handed

if TYPE_CHECKING:
    from tailtrace_bridge.settings.table import Settings


def become_bridge(settings: Derived) -> NoReturn:
    """Go on as the bridge of these settings."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("tailtrace-settings")
    else:
        with tempfile.TemporaryFile() as file:
            number = os.dup(file.fileno())
    with os.fdopen(number, "wb", closefd=False) as file:
        pickle.dump(handed(settings), file)
    os.lseek(number, 0, os.SEEK_SET)
    os.set_inheritable(number, True)
    level = logging.getLogger().level
    interrupted.hold_back()
    # -P: the folder that the user stands in is no place to load code from.
    os.execv(sys.executable, [sys.executable, "-P", "-m", __name__, str(number), str(level)])  # noqa: S606


def main() -> None:
    """Run the bridge until a signal ends it; exit as the command does."""
    interrupted.end_at_once()
    number, level = map(int, sys.argv[1:])
    log_to_stderr(level)
    try:
        with loading.quickly("uvicorn"):
            with os.fdopen(number, "rb") as file:
                settings = pickle.load(file)  # noqa: S301 - our own
            from tailtrace_api.server.serve import serve_bridge

            serve_bridge(cast("Settings", settings))
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        sys.exit(status)
    except KeyboardInterrupt:
        sys.exit(interrupted.INTERRUPTED)


if __name__ == "__main__":
    main()

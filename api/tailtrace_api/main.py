"""The entry point: where the server's packages are missing, say which extra brings them."""

import atexit
import gc
import os
import sys

from tailtrace_bridge.core import interrupted
from tailtrace_bridge.core.lazy_module import load_later

LATER = ("configparser", "hashlib", "hmac", "html", "platform", "secrets", "socket", "subprocess", "zipfile")
"""What typer, pydantic and we import for a line that few commands come to: a twentieth of a small import."""


def main() -> None:
    """Run the command line. A second SIGINT, or one while it loads, ends it without a traceback."""
    interrupted.end_at_once()
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(interrupted.INTERRUPTED)


def _run() -> None:
    # No search for cycles among what is being loaded, until the command runs.
    gc.disable()
    try:
        _without_plugins()
        for name in LATER:
            load_later(name)
        from tailtrace_api.commands.cli import app  # noqa: PLC0415  # only here can its absence be told
    except ModuleNotFoundError as missing:
        if missing.name and missing.name.startswith("tailtrace"):
            raise
        sys.stderr.write(
            f"tailtrace: {missing.name} is not installed. The commands need the server's packages:\n"
            "    pip install 'tailtrace[server]'\n"
        )
        sys.exit(1)
    # A command that ends needs no search for cycles in all that it loaded: it took 45 ms of an import's second.
    atexit.register(gc.freeze)
    app()


def _without_plugins() -> None:
    """Have pydantic look for no plugins in the metadata of every package that is installed: none is meant for us."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # With these alone it would load what reads metadata, and `email` with it: a thirtieth of a small import.
    where = "pydantic.plugin._loader"
    load_later(where)
    if where in sys.modules:
        vars(sys.modules[where]).update(get_plugins=tuple)


if __name__ == "__main__":
    main()

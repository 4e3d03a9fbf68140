"""How many files a server may have open: each connection is one, and the log and the store need theirs.

| the limit (`ulimit -n`) | what is done |
|---|---|
| soft, 1,024 in most shells and units of systemd | raised to `WANTED` at the start, as far as the hard limit lets us |
| used up all the same | connections wait in the kernel, and each second they are tried again; said once in `SAY_S` |

Two servers with all their connections (`connections`) have 1,536. What asyncio does by itself where there are no more
is a traceback for each connection that it cannot take: strangers filled the log with half a MiB each second, and
nothing else got its turn (https://github.com/python/cpython/blob/v3.11.7/Lib/asyncio/selector_events.py#L153).
"""

import asyncio
import errno
import logging
import resource
from typing import Any

WANTED = 4_096
SAY_S = 60.0
_LOGGER = logging.getLogger(__name__)


def allow_open_files() -> None:
    """Raise the limit of this process, and of what it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def say_once(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop say in one line, and seldom, that there are no more files."""
    said_s = -SAY_S

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal said_s
        problem = context.get("exception")
        if isinstance(problem, ValueError) and "Invalid file descriptor" in str(problem):
            return  # the server ended before it was time to try again
        if not (isinstance(problem, OSError) and problem.errno in {errno.EMFILE, errno.ENFILE}):
            loop.default_exception_handler(context)
        elif loop.time() - said_s >= SAY_S:
            said_s = loop.time()
            _LOGGER.error(
                "no connection can be taken: %s. They wait; raise the limit of this process (`LimitNOFILE=%d` in its "
                "unit, `ulimit -n`)",
                problem.strerror,
                WANTED,
            )

    loop.set_exception_handler(handle)

"""The log of a command, on the standard error."""

import logging
import sys

from tailtrace_api.terminal.console import Formatter


def log_to_stderr(level: int) -> None:
    """Log what is of this level or above; of what we build upon, warnings alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

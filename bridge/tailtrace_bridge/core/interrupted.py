"""Ctrl-C while a program loads ends it there and then.

Python raises `KeyboardInterrupt` wherever the program stands, and what is in the middle of being imported makes of that
what it will: a panic of pydantic's core, a `SyntaxError` for a `unicodedata` that is not there, a traceback each time.
Nothing is open yet that would have to be finished.
"""

import os
import signal
from types import FrameType

INTERRUPTED = 130
"""What a shell says of a program that SIGINT ended: 128 and the signal's number."""


def end_at_once() -> None:
    """End the process at the first SIGINT, from now until `raise_again`. Where it is ignored (`nohup`), it stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def raise_again() -> None:
    """Have it raise `KeyboardInterrupt`, as Python does by itself: from now on there is something to finish."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def hold_back() -> None:
    """Let it wait until `end_at_once`: for a program that another takes the place of (execve(2))."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)

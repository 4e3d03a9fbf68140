"""The C library's heap, for servers that run for months in little memory.

glibc gives each thread a heap of its own, so that threads need not wait for each other: see mallopt(3),
https://man7.org/linux/man-pages/man3/mallopt.3.html . Python's threads wait for each other anyway, and each heap keeps
its own free pages: with one, `bench/bridge.py` shows 2.6 MiB less. (To give back freed memory sooner, too, by lower
thresholds, cost `serve` 22 MiB in `bench/memory.py`.)

What lies free between what is used stays with the process, too: after a bridge has read a busy hour at its start, or
rolled it up, 15 MiB. So a server gives it back every other second: malloc_trim(3),
https://man7.org/linux/man-pages/man3/malloc_trim.3.html . It takes a tenth of a millisecond.
"""

import asyncio
import ctypes
import os
from collections.abc import Mapping

GIVE_BACK_S = 2.0
_M_ARENA_MAX = -8


def share_one(environment: Mapping[str, str] = os.environ) -> bool:
    """Have one heap for all threads. Before they start; not where the user has settings for the heap.

    Gives whether it was done: other C libraries have no such knob.
    """
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in environment):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_ARENA_MAX, 1))


def give_back() -> bool:
    """Give free memory back to the system. Return whether there was any; other C libraries do it by themselves."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    return bool(trim(0))


async def give_back_at_times() -> None:
    """Give it back again and again, until it is cancelled."""
    while True:
        await asyncio.sleep(GIVE_BACK_S)
        give_back()

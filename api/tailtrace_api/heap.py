"""The C library's heap, for servers that run for months in little memory.

glibc gives each thread a heap of its own, and keeps what was freed, the more so the larger it was: see mallopt(3),
https://man7.org/linux/man-pages/man3/mallopt.3.html . A bridge that sums up a busy hour would keep those MiB for ever.
"""

import ctypes
import os
from collections.abc import Mapping

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_THRESHOLD_BYTES = 128 * 1024
"""glibc's own at the start; set, it stays so."""


def keep_small(environment: Mapping[str, str] = os.environ) -> bool:
    """Have one heap, and give back what is free. Before threads start; not where the user has settings for it.

    Gives whether it was done: other C libraries have no such knobs.
    """
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in environment):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    wanted = (_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _THRESHOLD_BYTES), (_M_TRIM_THRESHOLD, _THRESHOLD_BYTES)
    return all(mallopt(knob, value) == 1 for knob, value in wanted)

"""How many traces wait for their spans: eight bytes of a file, which a process that is killed leaves as they are.

They are written as memory is: the kernel has them at once, and puts them on the disk when it will. So a power cut may
leave an older number, a kill does not.
"""

import mmap
import os
import threading
from contextlib import suppress
from pathlib import Path

from tailtrace_bridge.core.files.private import private

_BYTES = 8


class Waiting:
    """Counts for one process at a time, as its caller sees to. Without a path, or where none can be made, in memory."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._number: mmap.mmap | bytearray = bytearray(_BYTES)
        if path is not None:
            with suppress(OSError, ValueError):
                self._number = _shared(path)
        self.left = int.from_bytes(self._number[:], "little")
        """What the process before left, when it was killed."""
        self._number[:] = bytes(_BYTES)

    def add(self, count: int) -> None:
        """Count so many more, or fewer."""
        with self._lock:
            number = int.from_bytes(self._number[:], "little") + count
            self._number[:] = number.to_bytes(_BYTES, "little")


def _shared(path: Path) -> mmap.mmap:
    file = private(str(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.ftruncate(file, _BYTES)
        return mmap.mmap(file, _BYTES)
    finally:
        os.close(file)

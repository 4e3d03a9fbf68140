"""One process at a time: a lock on a file, which the kernel lets go of when the process ends, however it ends.

The file stays: who removes a lock's file while another waits for it lets two in. It is for its owner alone: who may
read a file may lock it, and so keep us out.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from tailtrace_bridge.core.files.private import MODE

_HOLDER_BYTES_MAX = 32


class FileLockedError(Exception):
    """Another process holds the lock; `holder` is its process id, or empty where it is not known."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


class FileLock:
    """Held from its making to `release`. Raises `FileLockedError`, and OSError where the file cannot be made."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            with suppress(OSError):  # of another owner; an older tailtrace let everybody read it
                os.fchmod(self._descriptor, MODE)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):  # a full disk: only the other's message is poorer
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            holder = os.pread(self._descriptor, _HOLDER_BYTES_MAX, 0).decode("ascii", "replace")
            os.close(self._descriptor)
            raise FileLockedError(holder if holder.isdigit() else "") from None
        except BaseException:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)

"""A small file that is replaced as a whole: after a crash it is the old or the new one. For its owner alone.

A crash may leave the new one beside it, which names whom the file may forget later: see `remove_left_over`.
"""

import errno
import os
from pathlib import Path

from tailtrace_bridge.core.files.private import private


def replace_file(path: Path, content: bytes) -> None:
    """Write a file; when this returns it is on disk. Raises OSError, also where a device or a pipe would be gone."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no plain file, and stays", str(path))
    temporary = _new(path)
    # Made anew: what somebody else left there may be a link to another file, or be open to others.
    temporary.unlink(missing_ok=True)
    with open(temporary, "xb", opener=private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself is on disk only now
    finally:
        os.close(folder)


def remove_left_over(path: Path) -> None:
    """Remove what a crash in `replace_file` left. For who alone writes the file now. Raises OSError."""
    _new(path).unlink(missing_ok=True)


def has_left_over(path: Path) -> bool:
    """Return whether a crash left a new file beside this one; or another process is about to put it in its place."""
    return os.path.lexists(_new(path))


def _new(path: Path) -> Path:
    return path.with_name(path.name + ".new")

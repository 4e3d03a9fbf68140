"""A small file that is replaced as a whole: after a crash it is the old one or the new one."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file; when this returns it is on disk. `mode` is that of a new file, less the umask. Raises OSError."""
    # An opener, as no other way sets the mode from the beginning.
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself is on disk only now
    finally:
        os.close(folder)

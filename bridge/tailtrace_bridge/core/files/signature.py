"""Whether a file is still the one that was read."""

from pathlib import Path


def signature_of(path: Path) -> tuple[int, ...]:
    """Return modification time, size, inode and mode; nothing where it cannot be found."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode

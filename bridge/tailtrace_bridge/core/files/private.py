"""Files about people: a new one is for its owner alone, one that is there keeps the mode that somebody gave it.

The mode is set as the file is made: by `chmod` afterwards somebody else could have opened it in between.
"""

import os
from contextlib import suppress

MODE = 0o600


def private(name: str, flags: int) -> int:
    """Open a file; the `opener` of Python's `open`. Raises OSError."""
    return os.open(name, flags, MODE)


def make_private(path: str) -> None:
    """Make an empty file where there is none, for what opens files by itself; that one says what is wrong, if it is.

    Through a link, as SQLite goes. A file that is there is not even opened: closing it would drop the locks that
    SQLite holds on it in this process (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    with suppress(OSError):
        os.close(private(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY))

"""A copy of a SQLite store as of one moment, while others write it.

https://sqlite.org/backup.html: pages are copied a number at a time. The source is held in a read transaction, so that
each write of a bridge does not begin the copy anew; in WAL mode that keeps no writer waiting.

What stands beside the place of the copy is of another file: of a copy that somebody served, and that was killed or
removed. SQLite cannot tell, and would write a WAL of that one into ours (https://sqlite.org/howtocorrupt.html, 1.3).
"""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.files.private import private
from tailtrace_bridge.store.sqlite.database import schema_version, translated

PAGES_AT_ONCE = 2048
BESIDE = ("-wal", "-shm", "-journal")
Progress = Callable[[int, int], object]
"""Told pages copied and pages in all."""


def backup(path: str, target: Path, on_progress: Progress) -> int:
    """Copy the store at `path` into a new file, and return its bytes.

    The file is there whole or not at all, and its owner's alone. Raises `StoreError`.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        _remove(part, "", *BESIDE)
        os.close(private(str(part), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        with translated(path):
            _copy(path, part, on_progress)
        _remove(target, *BESIDE)
        os.replace(part, target)  # noqa: PTH105 - it says which file failed
    except OSError as error:
        raise StoreError(
            f"backup: {target}: cannot be written: {error.strerror or error}; is its folder there and writable, and "
            "the disk not full?"
        ) from error
    finally:
        _remove(part, "", *BESIDE)
    return target.stat().st_size


def _remove(path: Path, *endings: str) -> None:
    for ending in endings:
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _copy(path: str, part: Path, on_progress: Progress) -> None:
    # Opened to write, since a WAL that was left needs it; nothing is written.
    source = sqlite3.connect(f"file:{quote(os.path.realpath(path))}?mode=rw", uri=True, isolation_level=None)
    target = sqlite3.connect(part, isolation_level=None)
    try:
        if not schema_version(source, path):
            raise StoreError(f"store sqlite:{path}: nothing is in it yet; `tailtrace serve` or `import` fills it")
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM meta").fetchone()
        source.backup(
            target, pages=PAGES_AT_ONCE, progress=lambda _, left, total: on_progress(total - left, total), sleep=0
        )
        target.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
    finally:
        target.close()
        source.close()

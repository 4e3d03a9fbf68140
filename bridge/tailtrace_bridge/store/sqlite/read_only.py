"""Reading a store that this process may not write: on a read-only file system, of another user, a backup.

| beside the file is | it is opened with | since |
|---|---|---|
| no `-wal`, or an empty one | `immutable=1` | all is in the file, and SQLite needs no other |
| a `-wal` and its `-shm` | `mode=ro` | the newest rows are in the `-wal`; somebody may be writing |
| a `-wal` alone | `mode=ro`, refused where the `-shm` cannot be made | `immutable` would leave these rows out |

https://sqlite.org/wal.html#read_only_databases. An immutable file is believed not to change. So whoever reads opens it
anew each time, and what was read while somebody wrote is not given: a bridge may begin to fill it at any time, where
it is read-only for this process alone.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.store.sqlite.database import BUSY_TIMEOUT_S, schema_version
from tailtrace_bridge.store.sqlite.functions import add_functions
from tailtrace_bridge.store.sqlite.schema import MIGRATIONS

_Signature = tuple[int, int, int, int]


def is_writable(path: str) -> bool:
    """Return whether this process may write a store as SQLite does: the file, and others beside it."""
    real = os.path.realpath(path)
    return os.access(real, os.W_OK) and os.access(os.path.dirname(real), os.W_OK | os.X_OK)  # noqa: PTH120


def connect_read_only(path: str, cache_kib: int) -> sqlite3.Connection:
    """Open a connection that only reads. Raises `StoreError` for what cannot be read so, and `sqlite3.Error`."""
    real = os.path.realpath(path)
    if not os.access(real, os.R_OK):
        raise StoreError(f"store sqlite:{path}: this user may not read it; run tailtrace as its owner, or `chmod` it")
    is_immutable = _size(f"{real}-wal") == 0
    uri = f"file:{quote(real)}?mode=ro{'&immutable=1' if is_immutable else ''}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        add_functions(connection)
        _require_schema(connection, path, real)
        for pragma in ("temp_store=MEMORY", f"cache_size=-{cache_kib}"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def unchanged(path: str) -> Iterator[None]:
    """Raise `StoreError` where somebody began to write, or wrote, an immutable file while it was read."""
    real = os.path.realpath(path)
    was_immutable, before = _size(f"{real}-wal") == 0, _signature(real)
    yield
    if was_immutable and (_size(f"{real}-wal") or _signature(real) != before):
        raise StoreError(f"store sqlite:{path}: it was written while it was read; ask again")


def _require_schema(connection: sqlite3.Connection, path: str, real: str) -> None:
    try:
        version = schema_version(connection, path)
    except sqlite3.OperationalError as error:
        if _size(f"{real}-wal") == 0 or os.path.exists(f"{real}-shm"):  # noqa: PTH110
            raise
        raise StoreError(
            f"store sqlite:{path}: its newest rows are in {path}-wal, which SQLite reads only with a {path}-shm, and "
            "that cannot be made here; run `tailtrace report` once where the folder can be written, or copy both files "
            "to such a folder"
        ) from error
    if version == len(MIGRATIONS):
        return
    old = f"was made by an older tailtrace (schema {version}, this one knows {len(MIGRATIONS)})"
    raise StoreError(
        f"store sqlite:{path}: it {old if version else 'is empty'}, and cannot be written here; open it once where it "
        "can: `tailtrace report` there brings it up"
    )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def _signature(path: str) -> _Signature:
    found = os.stat(path)  # noqa: PTH116
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

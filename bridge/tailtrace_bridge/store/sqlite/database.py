"""The file of a SQLite store: what may be opened as one, with which settings, and what SQLite's errors mean.

| at the path is | it is |
|---|---|
| nothing, or an empty file | made a store, where its folder is there |
| a store of an older schema | brought up to this one, in one transaction |
| a store of a newer schema | refused, unchanged |
| a database without our mark (`application_id`): another program's, or of a tailtrace before 0.1 | refused, unchanged |
| no SQLite database | refused, unchanged |

The writer syncs each commit to disk: a position in a log is saved after it, and must not be ahead of the rows even
where the power fails.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.files.private import make_private
from tailtrace_bridge.store.sqlite.functions import add_functions
from tailtrace_bridge.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from tailtrace_bridge.store.sqlite.transaction import transaction

BUSY_TIMEOUT_S = 10
_PRAGMAS = (
    "PRAGMA synchronous=FULL",
    "PRAGMA temp_store=MEMORY",
)
_ANOTHER = "name another file in TAILTRACE_STORE"
_CURES = {
    sqlite3.SQLITE_NOTADB: f"this is no SQLite database; {_ANOTHER}",
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged; put a backup in its place, or move it away with its -wal and -shm files: what the logs "
        "still have is then read again"
    ),
    sqlite3.SQLITE_CANTOPEN: "is this a file, its folder there, and may this user write in it?",
    sqlite3.SQLITE_READONLY: "this user may not write the file and its folder; run tailtrace as their owner",
    sqlite3.SQLITE_FULL: "make room on the disk, or set TAILTRACE_RETENTION_DAYS",
    sqlite3.SQLITE_IOERR: "the disk failed, or is full",
    sqlite3.SQLITE_BUSY: f"another process has kept the file locked for {BUSY_TIMEOUT_S} s; end that one",
}
"""By the primary code of SQLite's error, https://sqlite.org/rescode.html; the others say enough by themselves."""


def connect(path: str, cache_kib: int) -> sqlite3.Connection:
    """Open a connection to a store, and make or upgrade it where it must be.

    Raises `StoreError` for what is no store of ours, and `sqlite3.Error`, which `translated` is for.
    """
    make_private(path)  # with the names of people in it; SQLite gives -wal and -shm the same mode
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        add_functions(connection)
        version = schema_version(connection, path)  # before anything is written into another program's file
        _use_wal(connection)
        for pragma in (*_PRAGMAS, f"PRAGMA cache_size=-{cache_kib}"):
            connection.execute(pragma)
        if version < len(MIGRATIONS):
            _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def schema_version(connection: sqlite3.Connection, path: str) -> int:
    """Return the schema of a store, 0 where it is still to be made. Raises `StoreError` where it is none of ours."""
    connection.execute("BEGIN")  # all as of one moment: another process may be making it
    try:
        (mark,), (version,), (tables,) = (
            connection.execute(query).fetchone()
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_schema")
        )
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if mark != APPLICATION_ID and (mark or version or tables):
        raise StoreError(
            f"store sqlite:{path}: this is the database of another program, or of a tailtrace before 0.1; {_ANOTHER} "
            "(`tailtrace import` reads logs into it)"
        )
    if version > len(MIGRATIONS):
        raise StoreError(
            f"store sqlite:{path}: made by a newer tailtrace (schema {version}, this one knows {len(MIGRATIONS)}); "
            f"upgrade tailtrace or {_ANOTHER}"
        )
    return int(version)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Make `StoreError` of SQLite's errors."""
    try:
        yield
    except sqlite3.Error as error:
        cure = _CURES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        raise StoreError(f"store sqlite:{path}: {error}" + (f"; {cure}" if cure else "")) from error


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. SQLite does not wait here for another process that does the same just now, so we do."""
    for pause_s in (0.01, 0.05, 0.2, 1.0, None):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if pause_s is None or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(pause_s)
        else:
            return


def _migrate(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        # Another process may have been first.
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        for migration in MIGRATIONS[version:]:
            for statement in migration.split(";"):
                connection.execute(statement)
        if version < len(MIGRATIONS):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

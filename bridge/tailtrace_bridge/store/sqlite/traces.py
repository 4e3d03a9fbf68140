"""Kept traces in SQLite, at most so many bytes of them: the oldest go first.

| a trace | what happens |
|---|---|
| its request is stored | it is kept under the request's time and key; who asked stands there and nowhere else |
| its request is not, or no longer (erased, pruned) | it is not kept |
| it is kept already | nothing |

`trace_bytes` in `meta` is the sum of their sizes; whatever removes traces does so here, so that it stays true.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tailtrace_bridge.core.records import KeptTrace
from tailtrace_bridge.store.sqlite import log
from tailtrace_bridge.store.sqlite.transaction import transaction
from tailtrace_bridge.store.values import Filters, LogEntry, Window

MIGRATION = """
    CREATE TABLE trace (
        time_us INTEGER NOT NULL, key INTEGER NOT NULL, trace_id BLOB NOT NULL, reason TEXT NOT NULL,
        spans INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (time_us, key)
    );
    CREATE INDEX trace_by_id ON trace (trace_id);
    INSERT INTO meta VALUES ('trace_bytes', 0);
"""
OF_ONE_ID_MAX = 16
"""Requests of one trace that are given: an app behind nginx that calls another behind nginx."""
_INSERT = """
    INSERT OR IGNORE INTO trace SELECT ?1, ?2, ?3, ?4, ?5, ?6
    WHERE EXISTS (SELECT 1 FROM access WHERE time_us = ?1 AND key = ?2)
"""
_ALL = "SELECT time_us, key, data FROM trace"
_COUNT = "UPDATE meta SET value = value + ? WHERE name = 'trace_bytes'"


def keep(writer: sqlite3.Connection, traces: Sequence[KeptTrace], bytes_max: int) -> int:
    """Keep traces, let the oldest go; return how many are new. In one transaction."""
    with transaction(writer):
        kept = [one for one in traces if writer.execute(_INSERT, one).rowcount]
        writer.execute(_COUNT, (sum(len(one.data) for one in kept),))
        while size(writer) > bytes_max:
            (oldest_us,) = writer.execute("SELECT min(time_us) FROM trace").fetchone()
            remove(writer, "time_us = ?", (oldest_us,))
    return len(kept)


def size(connection: sqlite3.Connection) -> int:
    """Return how many bytes the kept traces have."""
    return int(connection.execute("SELECT value FROM meta WHERE name = 'trace_bytes'").fetchone()[0])


def remove(writer: sqlite3.Connection, where: str, values: Sequence[Any] = ()) -> int:
    """Remove traces within the caller's transaction; return how many. `where` is our own text."""
    rows, less = writer.execute(
        f"SELECT count(*), ifnull(sum(length(data)), 0) FROM trace WHERE {where}",  # noqa: S608
        values,
    ).fetchone()
    if rows:
        writer.execute(f"DELETE FROM trace WHERE {where}", values)  # noqa: S608
        writer.execute(_COUNT, (-less,))
    return int(rows)


def choose(connection: sqlite3.Connection, is_chosen: Callable[[bytes], bool]) -> list[tuple[int, int]]:
    """Return time and key of the traces whose data a function chooses."""
    return [(time_us, key) for time_us, key, data in connection.execute(_ALL) if is_chosen(data)]


def drop(writer: sqlite3.Connection, chosen: Iterable[tuple[int, int]]) -> None:
    """Remove these traces, and what they were from the pages of the file. In one transaction."""
    writer.execute("PRAGMA secure_delete=ON")
    with transaction(writer):
        for name in chosen:
            remove(writer, "time_us = ? AND key = ?", name)


def find(
    connection: sqlite3.Connection, filters: Filters, trace_id: bytes, window: Window | None
) -> list[tuple[LogEntry, KeptTrace]]:
    """Return the kept requests of a trace that the filters let through, the oldest first."""
    query = """
        SELECT time_us, key, trace_id, reason, spans, data FROM trace
        WHERE trace_id = ? AND time_us >= ? AND time_us < ? ORDER BY time_us LIMIT ?
    """
    found = connection.execute(query, (trace_id, *(window or Window(0, 2**62)), OF_ONE_ID_MAX))
    kept = [KeptTrace(*row) for row in found]
    return [
        (entry, one)
        for one in kept
        for entry in log.page(connection, Window(one.time_us, one.time_us + 1), filters, OF_ONE_ID_MAX, None)
        if entry.key == one.key
    ]

"""A batch of rows on its way into the table `access`: what of it is new is inserted, and returned."""

import sqlite3
from collections.abc import Sequence
from operator import itemgetter

from tailtrace_bridge.core.columns import Columns
from tailtrace_bridge.store.rollups import Stored
from tailtrace_bridge.store.sqlite.ids import Ids

_WIDTH = 17
"""Columns of `access`."""
_NULLABLE = {
    9: "request_time_us", 10: "upstream_time_us", 11: "app_time_us", 13: "trace_id", 14: "span_id", 15: "error_type",
}  # fmt: skip
"""Columns of `access` that may be NULL, by their place: each stands under its name in `Columns`."""
_PRUNED = "SELECT value FROM meta WHERE name = 'pruned_us'"
_TIME = itemgetter(0)


def values(columns: Columns, ids: Ids, identity_ids: Sequence[int]) -> list[Stored]:
    """Return the rows of `access`: the columns, with ids for their places in the tables."""
    endpoint_ids = ids.of("endpoint", columns.endpoints)
    agent_ids = ids.of("agent", [(agent,) for agent in columns.agents])
    return list(
        # Put together in C: no line of Python runs for a row.
        zip(
            columns.time_us,
            columns.key,
            map(identity_ids.__getitem__, columns.identity),
            map(endpoint_ids.__getitem__, columns.endpoint),
            map(agent_ids.__getitem__, columns.agent),
            columns.method,
            columns.path,
            columns.status,
            columns.traffic,
            columns.request_time_us,
            columns.upstream_time_us,
            columns.app_time_us,
            columns.bytes_sent,
            columns.trace_id,
            columns.span_id,
            columns.error_type,
            map(columns.identified_us.__getitem__, columns.identity),
            strict=True,
        )
    )


def not_pruned(writer: sqlite3.Connection, rows: list[Stored]) -> list[Stored]:
    """Leave out rows of a time whose rows were removed: one of them that comes again would count twice."""
    (pruned_us,) = writer.execute(_PRUNED).fetchone()
    if not rows or min(map(_TIME, rows)) >= pruned_us:
        return rows
    return [row for row in rows if row[0] >= pruned_us]


def insert(writer: sqlite3.Connection, rows: list[Stored], absent: frozenset[int]) -> list[Stored]:
    """Insert what is new and return it. `absent` are the places of columns that are None in all rows.

    The statement has these as NULL: Python's sqlite3 looks for an adapter of each None that it binds, and the rows
    of a combined log, a third of whose columns are absent, took twice the time.
    """
    marks = ", ".join("NULL" if at in absent else "?" for at in range(_WIDTH))
    statement = f"INSERT OR IGNORE INTO access VALUES ({marks})"  # noqa: S608  # our own words
    given = itemgetter(*(at for at in range(_WIDTH) if at not in absent))
    writer.execute("SAVEPOINT batch")
    inserted = writer.executemany(statement, map(given, rows)).rowcount
    if inserted == len(rows):
        return rows
    if inserted == 0:
        return []
    writer.execute("ROLLBACK TO batch")
    return [row for row in rows if writer.execute(statement, given(row)).rowcount]


def absent_columns(columns: Columns) -> frozenset[int]:
    """Return the places in `access` of the columns that no row has."""
    rows = len(columns.key)
    return frozenset(at for at, name in _NULLABLE.items() if getattr(columns, name).count(None) == rows)

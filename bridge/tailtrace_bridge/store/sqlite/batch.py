"""A batch of rows on its way into the table `entry`: what of it is new is inserted, and returned to be rolled up."""

import sqlite3
from collections.abc import Sequence
from itertools import compress
from typing import Any

from tailtrace_bridge.core.columns import Columns, InterningTable
from tailtrace_bridge.core.records import ROOT_SPAN_ID
from tailtrace_bridge.store.sqlite.ids import Ids
from tailtrace_bridge.store.sqlite.many import insert_many

_WIDTH = 14
"""Columns of `entry`."""
_NULLABLE = (5, 6, 7, 8, 10, 11, 12, 13)
"""Those that may be NULL."""
_TABLES = len(("identities", "endpoints", "requests", "agents", "identified_us"))
_SPANS: dict[bytes | None, bytes | int | None] = {bytes.fromhex(ROOT_SPAN_ID): 0}
"""What a span id is stored as: 0 takes no byte, and the others are themselves."""
_INSERT = "INSERT OR IGNORE INTO entry"
_PRUNED = "SELECT value FROM meta WHERE name = 'pruned_us'"


def not_pruned(writer: sqlite3.Connection, columns: Columns) -> Columns:
    """Leave out rows of a time whose rows were removed: one of them that comes again would count twice."""
    (pruned_us,) = writer.execute(_PRUNED).fetchone()
    if min(columns.time_us, default=pruned_us) >= pruned_us:
        return columns
    kept = [time_us >= pruned_us for time_us in columns.time_us]
    left = _only(columns, kept)
    used: InterningTable[int] = InterningTable()  # the paths of rows that were removed do not come back
    places = [used[place] for place in left.request]
    return left._replace(requests=[left.requests[place] for place in used], request=places)


def insert(writer: sqlite3.Connection, columns: Columns, ids: Ids, identity_ids: Sequence[int]) -> Columns:
    """Insert what is new, and return it.

    Columns that no row has are NULL in the statement: Python's sqlite3 looks for an adapter of each None that it binds,
    and the rows of a combined log, a third of whose columns are absent, took twice the time.
    """
    endpoint_ids = ids.of("endpoint", columns.endpoints)
    requests = [(endpoint_ids[one.endpoint], *one[1:]) for one in columns.requests]
    given = _given(columns, ids, identity_ids, ids.of("request", requests))
    absent = {at for at in _NULLABLE if given[at].count(None) == len(columns.key)}
    marks = ", ".join("NULL" if at in absent else "?" for at in range(_WIDTH))
    rows = list(zip(*(column for at, column in enumerate(given) if at not in absent), strict=True))
    writer.execute("SAVEPOINT batch")
    inserted = insert_many(writer, _INSERT, marks, rows)
    if inserted and inserted < len(rows):
        writer.execute("ROLLBACK TO batch")
        statement = f"{_INSERT} VALUES ({marks})"
        fresh = [writer.execute(statement, row).rowcount > 0 for row in rows]
        return _only(columns, fresh)
    return columns if inserted else _only(columns, [False] * len(rows))


def _only(columns: Columns, kept: Sequence[bool]) -> Columns:
    """Return the rows that are kept; the tables stay."""
    given: list[Any] = list(columns)
    return Columns(*given[:_TABLES], *(list(compress(column, kept)) for column in given[_TABLES:]))


def _given(columns: Columns, ids: Ids, identity_ids: Sequence[int], request_ids: Sequence[int]) -> list[Sequence[Any]]:
    """Return the columns of `entry`. Put together in C: no line of Python runs for a row."""
    agent_ids = ids.of("agent", [(agent,) for agent in columns.agents])
    found_us = ids.found_us(identity_ids, columns.identified_us)
    paths = [
        one.path or None if number in ids.pathless else None
        for one, number in zip(columns.requests, request_ids, strict=True)
    ]
    nothing = (None,) * len(columns.key)
    return [
        columns.time_us,
        columns.key,
        list(map(identity_ids.__getitem__, columns.identity)),
        list(map(request_ids.__getitem__, columns.request)),
        list(map(agent_ids.__getitem__, columns.agent)),
        list(map(paths.__getitem__, columns.request)) if any(paths) else nothing,
        columns.request_time_us,
        columns.upstream_time_us,
        columns.app_time_us,
        columns.bytes_sent,
        columns.trace_id,
        list(map(_SPANS.get, columns.span_id, columns.span_id)),
        columns.error_type,
        list(map(found_us.__getitem__, columns.identity)) if found_us.count(None) < len(found_us) else nothing,
    ]

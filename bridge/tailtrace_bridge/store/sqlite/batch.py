"""A batch of rows on its way into the table `entry`: what of it is new is inserted, and returned to be rolled up."""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import compress
from operator import itemgetter
from typing import Any

from tailtrace_bridge.core.columns import Columns, InterningTable
from tailtrace_bridge.store.rollups import Counted
from tailtrace_bridge.store.sqlite.ids import Ids

_WIDTH = 14
"""Columns of `entry`."""
_PATH, _IDENTIFIED = 5, 13
_NULLABLE = {
    6: "request_time_us", 7: "upstream_time_us", 8: "app_time_us", 10: "trace_id", 11: "span_id", 12: "error_type",
}  # fmt: skip
"""Columns of `entry` that may be NULL, by their place: each stands under its name in `Columns`."""
_TABLES = len(("identities", "endpoints", "requests", "agents", "identified_us"))
_PRUNED = "SELECT value FROM meta WHERE name = 'pruned_us'"


def not_pruned(writer: sqlite3.Connection, columns: Columns) -> Columns:
    """Leave out rows of a time whose rows were removed: one of them that comes again would count twice."""
    (pruned_us,) = writer.execute(_PRUNED).fetchone()
    if min(columns.time_us, default=pruned_us) >= pruned_us:
        return columns
    kept = [time_us >= pruned_us for time_us in columns.time_us]
    given: list[Any] = list(columns)
    left = Columns(*given[:_TABLES], *(list(compress(column, kept)) for column in given[_TABLES:]))
    used: InterningTable[int] = InterningTable()  # the paths of rows that were removed do not come back
    places = [used[place] for place in left.request]
    return left._replace(requests=[left.requests[place] for place in used], request=places)


def insert(writer: sqlite3.Connection, columns: Columns, ids: Ids, identity_ids: Sequence[int]) -> list[Counted]:
    """Insert what is new, and return what is to be counted of it.

    Columns that no row has are NULL in the statement: Python's sqlite3 looks for an adapter of each None that it binds,
    and the rows of a combined log, a third of whose columns are absent, took twice the time.
    """
    endpoint_ids = ids.of("endpoint", columns.endpoints)
    requests = [(endpoint_ids[one.endpoint], *one[1:]) for one in columns.requests]
    request_ids = ids.of("request", requests)
    found_us = ids.found_us(identity_ids, columns.identified_us)
    paths = [
        one.path or None if number in ids.pathless else None
        for one, number in zip(columns.requests, request_ids, strict=True)
    ]
    absent = {at for at, name in _NULLABLE.items() if getattr(columns, name).count(None) == len(columns.key)}
    absent |= {_PATH} if not any(paths) else set()
    absent |= {_IDENTIFIED} if found_us.count(None) == len(found_us) else set()
    given = _given(columns, ids, identity_ids, request_ids, paths, found_us)
    marks = ", ".join("NULL" if at in absent else "?" for at in range(_WIDTH))
    statement = f"INSERT OR IGNORE INTO entry VALUES ({marks})"  # noqa: S608  # our own words
    rows = list(zip(*(column for at, column in enumerate(given) if at not in absent), strict=True))
    writer.execute("SAVEPOINT batch")
    inserted = writer.executemany(statement, rows).rowcount
    if inserted == 0:
        return []
    counted = _counted(columns, identity_ids, requests)
    if inserted == len(rows):
        return list(counted)
    writer.execute("ROLLBACK TO batch")
    return [one for row, one in zip(rows, counted, strict=True) if writer.execute(statement, row).rowcount]


def _given(
    columns: Columns,
    ids: Ids,
    identity_ids: Sequence[int],
    request_ids: Sequence[int],
    paths: Sequence[str | None],
    found_us: Sequence[int | None],
) -> list[Any]:
    """Return the columns of `entry`. Put together in C: no line of Python runs for a row."""
    agent_ids = ids.of("agent", [(agent,) for agent in columns.agents])
    return [
        columns.time_us,
        columns.key,
        map(identity_ids.__getitem__, columns.identity),
        map(request_ids.__getitem__, columns.request),
        map(agent_ids.__getitem__, columns.agent),
        map(paths.__getitem__, columns.request),
        columns.request_time_us,
        columns.upstream_time_us,
        columns.app_time_us,
        columns.bytes_sent,
        columns.trace_id,
        columns.span_id,
        columns.error_type,
        map(found_us.__getitem__, columns.identity),
    ]


def _counted(columns: Columns, identity_ids: Sequence[int], requests: Sequence[tuple[Any, ...]]) -> Iterable[Counted]:
    endpoint, method, status, traffic = (list(map(itemgetter(at), requests)) for at in (0, 1, 3, 4))
    return zip(
        columns.time_us,
        map(identity_ids.__getitem__, columns.identity),
        *(map(values.__getitem__, columns.request) for values in (endpoint, method, status, traffic)),
        columns.request_time_us,
        columns.app_time_us,
        columns.bytes_sent,
        strict=True,
    )

"""Usage, from the rollups and the ragged ends' rows: by identity and endpoint, and by bucket of time."""

import json
import sqlite3
from collections.abc import Collection
from operator import add, sub
from typing import Any

from tailtrace_bridge.core.records import Identity, Traffic
from tailtrace_bridge.store.anonymous import FOLDED, Callers
from tailtrace_bridge.store.packed import add_counts
from tailtrace_bridge.store.rollups import SUMS
from tailtrace_bridge.store.sqlite import windows
from tailtrace_bridge.store.sqlite.anonymous import listed_numbers, read_callers
from tailtrace_bridge.store.sqlite.filters import where
from tailtrace_bridge.store.sqlite.identities import read_endpoints, read_identities
from tailtrace_bridge.store.sqlite.reads import packed, widened
from tailtrace_bridge.store.sqlite.totals import visit_of
from tailtrace_bridge.store.values import (
    BucketUsage,
    By,
    EndpointBucket,
    Filters,
    Usage,
    Visits,
    Window,
    smallest_bucket_rollups,
    smallest_rollups,
)

_USAGE_TABLE = {By.ALL: "usage", By.IDENTITY: "usage_identity", By.ENDPOINT: "usage_endpoint"}
_COLUMNS_BY = {
    By.ALL: ("identity_id", "endpoint_id", "method", "status", "traffic"),
    By.IDENTITY: ("identity_id", "status", "traffic"),
    By.ENDPOINT: ("endpoint_id", "status", "traffic"),
}
_NOBODY = Identity("")
FEW_MAX = 1000
"""Identities that are looked up one by one in each step; of more, all are read."""
_FOLDED = """
    SELECT CASE WHEN identity_id IN (SELECT value FROM json_each(?)) THEN identity_id ELSE 0 END AS identity_id,
           endpoint_id, method, status, traffic, {sums}
    FROM ({})
"""
"""Rows of usage in which all but those that are listed are 0."""
_LISTED = """
    WITH listed AS MATERIALIZED (SELECT value FROM json_each(?))
    SELECT * FROM ({}) WHERE identity_id IN (SELECT value FROM listed)
"""


def usage(
    connection: sqlite3.Connection,
    window: Window,
    filters: Filters,
    by: By = By.ALL,
    listed: Collection[str] | None = None,
    *,
    with_rest: bool = True,
    sums: Collection[str] = tuple(SUMS),
) -> list[Usage]:
    """Return totals by identity, endpoint, method, status and traffic, or by less of these; 0 for all but `sums`."""
    numbers = listed_numbers(connection, listed) if by is not By.ENDPOINT else None
    if numbers is None:
        rows = _sums(connection, window, filters, by, sums)
    elif not with_rest:
        rows = _sums(connection, window, filters, by, sums, listed=numbers)
    elif by is By.IDENTITY and smallest_rollups(filters, by) is by and not filters.has_identity:
        rows = _sums_with_rest(connection, window, filters, sums, numbers)
    else:
        rows = _sums(connection, window, filters, by, sums, folded=numbers)
    identities = read_identities(connection, {row[0] for row in rows} - {0}) if by is not By.ENDPOINT else {}
    identities[0] = FOLDED
    endpoints = read_endpoints(connection) if rows and by is not By.IDENTITY else {}
    if by is By.IDENTITY:
        return [Usage(identities[row[0]], "", "", "", row[1], Traffic(row[2]), *row[3:]) for row in rows]
    if by is By.ENDPOINT:
        return [Usage(_NOBODY, *endpoints[row[0]], "", row[1], Traffic(row[2]), *row[3:]) for row in rows]
    return [Usage(identities[row[0]], *endpoints[row[1]], row[2], row[3], Traffic(row[4]), *row[5:]) for row in rows]


def _sums(
    connection: sqlite3.Connection,
    window: Window,
    filters: Filters,
    by: By,
    sums: Collection[str],
    *,
    listed: str | None = None,
    folded: str | None = None,
) -> list[tuple[Any, ...]]:
    """Return totals: of the identities that are `listed` alone; all that are not in `folded` as one."""
    columns = ", ".join(_COLUMNS_BY[by])
    few = listed if _is_few(listed) else None
    facts, values = _facts(connection, window, filters, by, few=few, sums=sums)
    totals = ", ".join(f"sum({name})" if name in sums else "0" for name in SUMS)
    for form, numbers in ((_LISTED, listed), (_FOLDED, folded)):
        if numbers is not None:
            facts, values = form.format(facts, sums=", ".join(sums)), (numbers, *values)
    query = f"""
        SELECT {columns}, {totals}
        FROM ({facts}) GROUP BY {columns}
    """  # noqa: S608
    return connection.execute(query, values).fetchall()


def _sums_with_rest(
    connection: sqlite3.Connection, window: Window, filters: Filters, sums: Collection[str], numbers: str
) -> list[tuple[Any, ...]]:
    """Return the totals of those that are listed, and of the others what is left: all of them need not be sorted."""
    rows = _sums(connection, window, filters, By.IDENTITY, sums, listed=numbers)
    rest: dict[tuple[int, int], list[int]] = {}
    for _, status, traffic, *counts in _sums(connection, window, filters, By.ENDPOINT, sums):
        total = rest.setdefault((status, traffic), [0] * len(counts))
        total[:] = map(add, total, counts)
    for _, status, traffic, *counts in rows:
        total = rest[status, traffic]
        total[:] = map(sub, total, counts)
    return [*rows, *((0, *key, *total) for key, total in rest.items() if total[0])]


def callers(
    connection: sqlite3.Connection, window: Window, filters: Filters, limit: int, *, usage_only: bool
) -> Callers:
    """Return who asked for something, and the anonymous visitors with most requests."""
    facts = _facts(connection, window, filters, By.IDENTITY, sums=("requests",))
    return read_callers(connection, facts, limit, usage_only=usage_only)


def _facts(
    connection: sqlite3.Connection,
    window: Window,
    filters: Filters,
    by: By,
    *,
    few: str | None = None,
    sums: Collection[str] = tuple(SUMS),
) -> tuple[str, tuple[object, ...]]:
    """Return SQL, and its values, of rows of usage that the filters let through; of rollups, those of a `few` alone."""
    table = _USAGE_TABLE[smallest_rollups(filters, by)]
    few = few or _few(connection, filters)
    facts, bounds = windows.usage(widened(connection, window), table, sums=sums, listed=few)
    clauses, values = where(filters)
    return f"SELECT * FROM ({facts}) WHERE 1 {clauses}", (*bounds, *values)  # noqa: S608  # values are bound


def _few(connection: sqlite3.Connection, filters: Filters) -> str | None:
    """Return the identities that filters ask for, as a JSON array; None where they ask for all, or for many."""
    if not filters.has_identity:
        return None
    clauses, values = where(filters.of_identity)
    query = f"SELECT identity_id FROM (SELECT id AS identity_id FROM identity) WHERE 1 {clauses} LIMIT ?"  # noqa: S608
    found = json.dumps([who for (who,) in connection.execute(query, (*values, FEW_MAX + 1))])
    return found if _is_few(found) else None


def _is_few(numbers: str | None) -> bool:
    """Whether a JSON array of identities has so few of them."""
    return numbers is not None and numbers.count(",") < FEW_MAX


def visits(connection: sqlite3.Connection, window: Window, listed: Collection[str] | None) -> list[Visits]:
    """Return usage by identity, endpoint and traffic."""
    totals: dict[int, dict[int, int]] = {}
    theirs = listed_numbers(connection, listed)
    for _, identity_id, counts in packed(connection, window, "visit", "visits", listed=theirs):
        add_counts(totals.setdefault(identity_id, {}), counts)
    identities = read_identities(connection, totals)
    endpoints = read_endpoints(connection) if totals else {}
    found: list[Visits] = []
    for identity_id, numbers in totals.items():
        identity = identities[identity_id]
        for number, requests in numbers.items():
            endpoint_id, traffic = visit_of(number)
            service, route = endpoints[endpoint_id]
            found.append(Visits(identity, route, traffic, requests, service))
    return found


def visits_of(
    connection: sqlite3.Connection, window: Window, traffic: Traffic, listed: Collection[str] | None
) -> list[Visits]:
    """Return usage of one kind of traffic by identity and endpoint. Many apps have no card: that costs one look."""
    if not has_any(connection, window, traffic):
        return []
    facts, values = _facts(connection, window, Filters(), By.ALL)
    theirs = listed_numbers(connection, listed)
    query = f"""
        SELECT identity_id, endpoint_id, sum(requests) FROM ({facts}) WHERE traffic = ?
        {"" if theirs is None else "AND identity_id IN (SELECT value FROM json_each(?))"} GROUP BY 1, 2
    """  # noqa: S608  # our own words
    rows = connection.execute(query, (*values, traffic, *([] if theirs is None else [theirs]))).fetchall()
    identities = read_identities(connection, {row[0] for row in rows})
    endpoints = read_endpoints(connection) if rows else {}
    return [
        Visits(identities[who], endpoints[where][1], traffic, requests, endpoints[where][0])
        for who, where, requests in rows
    ]


def has_any(connection: sqlite3.Connection, window: Window, traffic: Traffic | None = None) -> bool:
    """Return whether anything was asked for in a window, or anything of one kind of traffic."""
    facts, bounds = windows.usage(widened(connection, window), "usage_endpoint", sums=("requests",))
    only, values = ("", ()) if traffic is None else ("WHERE traffic = ?", (traffic,))
    query = f"SELECT 1 FROM ({facts}) {only} LIMIT 1"  # noqa: S608
    return connection.execute(query, (*bounds, *values)).fetchone() is not None


def buckets(
    connection: sqlite3.Connection, window: Window, bucket_us: int, service: str | None = None
) -> list[BucketUsage]:
    """Return totals by bucket of time."""
    clauses, values = where(Filters(service=service))
    sums = ("requests", "timed", "request_time_us")
    facts, bounds = windows.usage(widened(connection, window), "usage_endpoint", bucket_us, sums)
    query = f"""
        SELECT time_us / {bucket_us} * {bucket_us} AS bucket_us, sum(requests), sum(requests * (status >= 500)),
               sum(timed), sum(request_time_us)
        FROM ({facts}) WHERE 1 {clauses} GROUP BY bucket_us ORDER BY bucket_us
    """  # noqa: S608
    return [BucketUsage(*row) for row in connection.execute(query, (*bounds, *values))]


def endpoint_buckets(
    connection: sqlite3.Connection, window: Window, bucket_us: int, filters: Filters, by: By = By.ENDPOINT
) -> list[EndpointBucket]:
    """Return totals by bucket of time, endpoint and traffic."""
    clauses, values = where(filters)
    table = _USAGE_TABLE[smallest_bucket_rollups(filters, by)]
    few = _few(connection, filters)
    facts, bounds = windows.usage(widened(connection, window), table, bucket_us, ("requests",), listed=few)
    where_to = "endpoint_id" if by is By.ENDPOINT else "0"
    # Names are looked up of the few totals, not of all rows that these are made of.
    query = f"""
        SELECT bucket_us, ifnull(service, '') AS service, ifnull(route, '') AS route, traffic, requests, errors
        FROM (
            SELECT time_us / {bucket_us} * {bucket_us} AS bucket_us, {where_to} AS endpoint_id, traffic,
                   sum(requests) AS requests, sum(requests * (status >= 500)) AS errors
            FROM ({facts}) WHERE 1 {clauses} GROUP BY 1, 2, 3
        ) LEFT JOIN endpoint e ON e.id = endpoint_id ORDER BY bucket_us, service, route, traffic
    """  # noqa: S608
    rows = connection.execute(query, (*bounds, *values))
    return [
        EndpointBucket(time_us, name, Traffic(traffic), requests, errors, service)
        for time_us, service, name, traffic, requests, errors in rows
    ]

"""Usage, from the rollups: by identity and endpoint, and by bucket of time."""

from tailtrace_bridge.core.records import Identity, Traffic
from tailtrace_bridge.store.influx.directory import NOBODY
from tailtrace_bridge.store.influx.filters import matches, of_service, sought
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.rollups import encoding as chunks
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Tables, merged
from tailtrace_bridge.store.values import (
    DAY_US,
    HOUR_US,
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

_USAGE_KIND = {By.ALL: Kind.USAGE, By.IDENTITY: Kind.USAGE_IDENTITY, By.ENDPOINT: Kind.USAGE_ENDPOINT}


def usage(reads: Reads, window: Window, filters: Filters, by: By = By.ALL) -> list[Usage]:
    """Return totals by identity, endpoint, method, status and traffic, or by less of these."""
    tables = Tables()
    kind = _USAGE_KIND[smallest_rollups(filters, by)]
    people = reads.people() if kind is not Kind.USAGE_ENDPOINT else NOBODY
    rows = reads.rollups.merged(window, kind, tables, sought(filters, people))
    if not rows:
        return []
    identities, endpoints = list(tables.identities), list(tables.endpoints)
    is_wanted = matches(filters, people, identities, endpoints)
    rows = [row for row in _in_full(kind, rows) if is_wanted(row[0], row[1], row[2], row[3])]
    if by is By.IDENTITY:
        rows = merged(Kind.USAGE, [[(row[0], -1, "", *row[3:]) for row in rows]])
    elif by is By.ENDPOINT:
        rows = merged(Kind.USAGE, [[(-1, row[1], "", *row[3:]) for row in rows]])
    now = [*people.renamed(identities), Identity("")]
    places = [*endpoints, ("", "")]
    return [Usage(now[row[0]], *places[row[1]], row[2], row[3], Traffic(row[4]), *row[5:]) for row in rows]


def visits(reads: Reads, window: Window) -> list[Visits]:
    """Return usage by identity, endpoint and traffic."""
    tables = Tables()
    rows = reads.rollups.merged(window, Kind.VISITS, tables)
    now, endpoints = reads.names_of_now(tables), list(tables.endpoints)
    return [
        Visits(now[who], endpoints[where][1], Traffic(traffic), n, endpoints[where][0])
        for who, where, traffic, n in rows
    ]


def buckets(reads: Reads, window: Window, bucket_us: int, service: str | None = None) -> list[BucketUsage]:
    """Return totals by bucket of time."""
    totals: dict[int, list[int]] = {}
    tables = Tables()
    for part in reads.rollups.by_bucket(window, Kind.USAGE_ENDPOINT, tables, bucket_us):
        total = totals.setdefault(part.start_us // bucket_us * bucket_us, [0, 0, 0, 0])
        wanted = of_service(tables, service)
        for where, status, _, requests, timed, request_time_us, *_ in part.rows:
            if where in wanted:
                total[0] += requests
                total[1] += requests if status >= 500 else 0
                total[2] += timed
                total[3] += request_time_us
    # A step may be announced and have no rows: they were not written in the end, or a person was erased.
    return [BucketUsage(start_us, *totals[start_us]) for start_us in sorted(totals) if totals[start_us][0]]


def endpoint_buckets(
    reads: Reads, window: Window, bucket_us: int, filters: Filters, by: By = By.ENDPOINT
) -> list[EndpointBucket]:
    """Return totals by bucket of time, endpoint and traffic."""
    tables = Tables()
    kind = _USAGE_KIND[smallest_bucket_rollups(filters, by)]
    if kind is Kind.USAGE_IDENTITY and HOUR_US <= bucket_us < DAY_US:
        return _hours(reads, window, bucket_us, filters)
    people = reads.people() if kind is not Kind.USAGE_ENDPOINT else NOBODY
    parts = list(reads.rollups.by_bucket(window, kind, tables, bucket_us, sought(filters, people)))
    endpoints = list(tables.endpoints)
    is_wanted = matches(filters, people, list(tables.identities), endpoints)
    totals: dict[tuple[int, str, str, int], list[int]] = {}
    for part in parts:
        start_us = part.start_us // bucket_us * bucket_us
        for who, where, method, status, traffic, requests, *_ in _in_full(kind, part.rows):
            if is_wanted(who, where, method, status):
                service, route = endpoints[where] if by is By.ENDPOINT else ("", "")
                total = totals.setdefault((start_us, service, route, traffic), [0, 0])
                total[0] += requests
                total[1] += requests if status >= 500 else 0
    return [
        EndpointBucket(us, route, Traffic(traffic), requests, errors, service)
        for (us, service, route, traffic), (requests, errors) in sorted(totals.items())
    ]


def _hours(reads: Reads, window: Window, bucket_us: int, filters: Filters) -> list[EndpointBucket]:
    """Return totals by bucket of an hour or more and traffic: a day has its hours, so a month is 30 steps, not 720."""
    tables, people = Tables(), reads.people()
    rows = reads.rollups.merged(window, Kind.USAGE_HOURS, tables, sought(filters, people))
    is_wanted = matches(filters, people, list(tables.identities), [])
    totals: dict[tuple[int, int], list[int]] = {}
    for who, hour, status, traffic, requests in rows:
        if is_wanted(who, -1, "", status):
            total = totals.setdefault((hour * HOUR_US // bucket_us * bucket_us, traffic), [0, 0])
            total[0] += requests
            total[1] += requests if status >= 500 else 0
    return [
        EndpointBucket(us, "", Traffic(traffic), requests, errors)
        for (us, traffic), (requests, errors) in sorted(totals.items())
    ]


def _in_full(kind: Kind, rows: list[chunks.Row]) -> list[chunks.Row]:
    """Return rows in the form of `Kind.USAGE`, with -1 for what is blank."""
    if kind is Kind.USAGE_IDENTITY:
        return [(row[0], -1, "", *row[1:]) for row in rows]
    if kind is Kind.USAGE_ENDPOINT:
        return [(-1, row[0], "", *row[1:]) for row in rows]
    return rows

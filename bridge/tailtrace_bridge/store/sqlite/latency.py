"""Response times, from the histograms of the rollups."""

import sqlite3

from tailtrace_bridge.store.packed import add_counts
from tailtrace_bridge.store.rollups import APP, PROXY
from tailtrace_bridge.store.sqlite.identities import read_endpoints
from tailtrace_bridge.store.sqlite.reads import packed
from tailtrace_bridge.store.values import BucketLatency, Latency, Window

_SIDES = {PROXY: "proxy", APP: "app"}


def latency(connection: sqlite3.Connection, window: Window) -> list[Latency]:
    """Return histograms by endpoint and side."""
    totals: dict[tuple[str, str], tuple[dict[int, int], dict[int, int]]] = {}
    endpoints = read_endpoints(connection)
    for _, endpoint_id, proxy, app in packed(connection, window, "latency", "proxy, app"):
        sides = totals.setdefault(endpoints[endpoint_id], ({}, {}))
        add_counts(sides[PROXY], proxy)
        add_counts(sides[APP], app)
    return [
        Latency(route, name, bucket, requests, service)
        for (service, route), sides in totals.items()
        for side, name in _SIDES.items()
        for bucket, requests in sides[side].items()
    ]


def bucket_latency(
    connection: sqlite3.Connection, window: Window, bucket_us: int, service: str | None = None
) -> list[BucketLatency]:
    """Return nginx's histograms by bucket of time."""
    totals: dict[int, dict[int, int]] = {}
    of_endpoints = {} if service is None else read_endpoints(connection)
    table, columns = ("latency_all", "proxy") if service is None else ("latency", "proxy, app")
    for time_us, endpoint_id, proxy, *_ in packed(connection, window, table, columns, bucket_us):
        if service is None or of_endpoints[endpoint_id][0] == service:
            add_counts(totals.setdefault(time_us // bucket_us * bucket_us, {}), proxy)
    return [
        BucketLatency(start_us, bucket, requests)
        for start_us in sorted(totals)
        for bucket, requests in sorted(totals[start_us].items())
    ]

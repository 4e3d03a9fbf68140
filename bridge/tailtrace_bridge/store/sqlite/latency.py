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
    totals: dict[str, tuple[dict[int, int], dict[int, int]]] = {}
    endpoints = read_endpoints(connection)
    for _, endpoint_id, proxy, app in packed(connection, window, "latency", "proxy, app"):
        sides = totals.setdefault(endpoints[endpoint_id][1], ({}, {}))
        add_counts(sides[PROXY], proxy)
        add_counts(sides[APP], app)
    return [
        Latency(route, name, bucket, requests)
        for route, sides in totals.items()
        for side, name in _SIDES.items()
        for bucket, requests in sides[side].items()
    ]


def bucket_latency(connection: sqlite3.Connection, window: Window, bucket_us: int) -> list[BucketLatency]:
    """Return nginx's histograms by step of time."""
    totals: dict[int, dict[int, int]] = {}
    for time_us, _, proxy in packed(connection, window, "latency_all", "proxy", bucket_us):
        add_counts(totals.setdefault(time_us // bucket_us * bucket_us, {}), proxy)
    return [
        BucketLatency(start_us, bucket, requests)
        for start_us in sorted(totals)
        for bucket, requests in sorted(totals[start_us].items())
    ]

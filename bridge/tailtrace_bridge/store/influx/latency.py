"""Response times, from the histograms of the rollups."""

from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Tables
from tailtrace_bridge.store.influx.rollups.reader import sizes_up_to
from tailtrace_bridge.store.rollups import APP, PROXY
from tailtrace_bridge.store.values import BucketLatency, Latency, Window

_SIDES = {PROXY: "proxy", APP: "app"}


def latency(reads: Reads, window: Window) -> list[Latency]:
    """Return histograms by endpoint and side."""
    tables = Tables()
    rows = reads.rollups.merged(window, Kind.LATENCY, tables)
    routes = [route for _, route in tables.endpoints]
    totals: dict[tuple[str, int, int], int] = {}
    for side, endpoint, bucket, requests in rows:
        key = (routes[endpoint], side, bucket)
        totals[key] = totals.get(key, 0) + requests
    return [Latency(route, _SIDES[side], bucket, n) for (route, side, bucket), n in totals.items()]


def bucket_latency(reads: Reads, window: Window, bucket_us: int) -> list[BucketLatency]:
    """Return histograms by step of time."""
    totals: dict[tuple[int, int], int] = {}
    for part in reads.rollups.parts(window, Kind.LATENCY_ALL, Tables(), sizes_up_to(bucket_us)):
        start_us = part.start_us // bucket_us * bucket_us
        for bucket, requests in part.rows:
            totals[(start_us, bucket)] = totals.get((start_us, bucket), 0) + requests
    return [BucketLatency(*key, totals[key]) for key in sorted(totals)]

"""Response times, from the histograms of the rollups."""

from tailtrace_bridge.store.influx.filters import of_service
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Tables
from tailtrace_bridge.store.rollups import APP, PROXY
from tailtrace_bridge.store.values import BucketLatency, Latency, Window

_SIDES = {PROXY: "proxy", APP: "app"}


def latency(reads: Reads, window: Window) -> list[Latency]:
    """Return histograms by endpoint and side."""
    tables = Tables()
    rows = reads.rollups.merged(window, Kind.LATENCY, tables)
    endpoints = list(tables.endpoints)
    return [
        Latency(endpoints[where][1], _SIDES[side], bucket, n, endpoints[where][0]) for side, where, bucket, n in rows
    ]


def bucket_latency(reads: Reads, window: Window, bucket_us: int, service: str | None = None) -> list[BucketLatency]:
    """Return histograms by bucket of time."""
    totals: dict[tuple[int, int], int] = {}
    if service is not None:
        tables = Tables()
        for part in reads.rollups.by_bucket(window, Kind.LATENCY, tables, bucket_us):
            start_us, wanted = part.start_us // bucket_us * bucket_us, of_service(tables, service)
            for side, where, bucket, requests in part.rows:
                if side == PROXY and where in wanted:
                    totals[(start_us, bucket)] = totals.get((start_us, bucket), 0) + requests
        return [BucketLatency(*key, totals[key]) for key in sorted(totals)]
    for part in reads.rollups.by_bucket(window, Kind.LATENCY_ALL, Tables(), bucket_us):
        start_us = part.start_us // bucket_us * bucket_us
        for bucket, requests in part.rows:
            totals[(start_us, bucket)] = totals.get((start_us, bucket), 0) + requests
    return [BucketLatency(*key, totals[key]) for key in sorted(totals)]

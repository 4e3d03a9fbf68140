"""Deployments and notes in InfluxDB, in the bucket of the rollups: the newest `MARKERS_MAX`.

Measurement `marker`: tag kind; fields time_us, service, text. Within its microsecond a point has a place that follows
from what it says, so that the same marker is the same point.
"""

from collections.abc import Iterable

import xxhash

from tailtrace_bridge.core.records import Marker
from tailtrace_bridge.store.influx.beside import Beside
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.values import MARKERS_MAX, Window

MEASUREMENT = "marker"


def add(beside: Beside, found: Iterable[Marker]) -> None:
    """Keep markers; the oldest go, where the server can delete. Raises `StoreError`."""
    with beside.lock:
        beside.write_rollups([_point(one) for one in found])
        text = f'SELECT "time_us" FROM "{MEASUREMENT}" ORDER BY time DESC LIMIT 1 OFFSET {MARKERS_MAX}'  # noqa: S608
        bucket = beside.reads.buckets.rollups
        if beside.can_delete:
            for time_ns, _ in beside.reads.influx.rows(bucket, text):
                beside.delete(bucket, {"_measurement": MEASUREMENT}, (0, time_ns))


def drop(beside: Beside, found: Iterable[Marker]) -> None:
    """Remove markers. Raises `StoreError`, also where the server cannot delete."""
    for one in found:
        at_ns = _time_ns(one)
        beside.delete(beside.reads.buckets.rollups, {"_measurement": MEASUREMENT, "kind": one.kind}, (at_ns, at_ns))


def within(reads: Reads, window: Window) -> list[Marker]:
    """Return the markers of a window, the oldest of the newest first. Raises `StoreError`."""
    text = (
        f'SELECT "time_us", "kind", "service", "text" FROM "{MEASUREMENT}"'  # noqa: S608
        f" WHERE time >= $start AND time < $end ORDER BY time DESC LIMIT {MARKERS_MAX}"
    )
    values = {"start": window.start_us * 1000, "end": window.end_us * 1000}
    rows = reads.influx.rows(reads.buckets.rollups, text, values)
    return sorted(Marker(time_us, kind, service or "", said or "") for _, time_us, kind, service, said in rows)


def _point(one: Marker) -> bytes:
    fields = {"time_us": one.time_us, "service": one.service, "text": one.text}
    return lines.point(MEASUREMENT, {"kind": one.kind}, fields, _time_ns(one))


def _time_ns(one: Marker) -> int:
    place = xxhash.xxh3_64_intdigest("\0".join(one[1:]).encode(errors="surrogatepass")) % 1000
    return one.time_us * 1000 + place

"""What alerts ask of InfluxDB: the rollups of the last minutes, and the events that were told.

InfluxDB rolls up the minutes itself: what it sends is as long at any traffic, what it reads is the window's requests.
Our own rollups are of ten minutes at least, and come minutes after these; a quantile of more than `SORTED_US_MAX`, for
which InfluxDB would sort each time of it, is made of these all the same, without the last minutes (`quantile_of_sums`).

Measurement `alert_event`, in the bucket of the rollups: tags rule, kind and what; fields subject, value, text.
The newest `EVENTS_MAX` are given; those before are deleted where the server can do that.
"""

from collections.abc import Iterable

from tailtrace_bridge.core.histogram import percentiles
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.rollups.batches import BUCKET_US
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Tables
from tailtrace_bridge.store.influx.rollups.reader import GRACE_US, RollupReader
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.delete import Deleter
from tailtrace_bridge.store.rollups import PROXY
from tailtrace_bridge.store.uptime import is_down
from tailtrace_bridge.store.values import EVENTS_MAX, HOUR_US, MINUTE_US, AlertEvent, Recent, Window

EVENTS = "alert_event"
SORTED_US_MAX = HOUR_US
_SELECT = f'SELECT "rule", "kind", "what", "subject", "value", "text" FROM "{EVENTS}" ORDER BY time DESC LIMIT '  # noqa: S608


def recent(reads: Reads, window: Window, endpoint: str | None, service: str | None, rank: float | None) -> Recent:
    """Return the totals of the minutes that a window touches."""
    values: dict[str, object] = {
        "start": window.start_us // MINUTE_US * MINUTE_US * 1000,
        "end": -(-window.end_us // MINUTE_US) * MINUTE_US * 1000,
    }
    where = "time >= $start AND time < $end"
    for column, value in (("endpoint", endpoint), ("service", service)):
        if value is not None:
            where += f' AND "{column}" = ${column}'
            values[column] = lines.tag(value)
    text = (
        f'SELECT count("status_code") FROM "{lines.RAW}" WHERE {where}'  # noqa: S608
        ' GROUP BY time(1m), "status_class", "service" fill(none)'
    )
    requests = errors = 0
    minutes: dict[tuple[int, str], list[int]] = {}
    for result in reads.influx.query(reads.buckets.raw, text, values):
        status_class, of_service = result.tags.get("status_class", ""), result.tags.get("service", "")
        is_error = status_class == "5xx"
        for time_ns, count in result.rows:
            requests += count
            errors += count if is_error else 0
            if status_class != "0xx":
                of_minute = minutes.setdefault((time_ns, of_service), [0, 0])
                of_minute[0] += count
                of_minute[1] += count if is_error else 0
    sums = (requests, errors, len(minutes), sum(is_down(*of_minute) for of_minute in minutes.values()))
    if rank is None:
        return Recent(*sums, None)
    if window.end_us - window.start_us > SORTED_US_MAX:
        return Recent(*sums, quantile_of_sums(reads.rollups, window, endpoint, service, rank))
    if not requests:
        return Recent(*sums, None)
    percent = round(rank * 100, 3)
    text = f'SELECT percentile("response_time_ms", {percent}) FROM "{lines.RAW}" WHERE {where}'  # noqa: S608
    rows = reads.influx.rows(reads.buckets.raw, text, values)
    return Recent(*sums, rows[0][1] * 1000 if rows and rows[0][1] is not None else None)


def quantile_of_sums(
    rollups: RollupReader, window: Window, endpoint: str | None, service: str | None, rank: float
) -> float | None:
    """Return the time at `rank` of the steps in a window that are rolled up, µs."""
    tables = Tables()
    end_us = (window.end_us - GRACE_US) // BUCKET_US * BUCKET_US
    rows = rollups.merged(Window(-(-window.start_us // BUCKET_US) * BUCKET_US, end_us), Kind.LATENCY, tables)
    wanted = {
        number
        for number, (of_service, route) in enumerate(tables.endpoints)
        if endpoint in {None, route} and service in {None, of_service}
    }
    totals: dict[int, int] = {}
    for side, number, bucket, requests in rows:
        if side == PROXY and number in wanted:
            totals[bucket] = totals.get(bucket, 0) + requests
    found = percentiles(totals, (rank,))
    return found[0] if found else None


def event_points(events: Iterable[AlertEvent]) -> list[bytes]:
    """Write events as points."""
    return [
        lines.point(
            EVENTS,
            {"rule": one.rule, "kind": one.kind, "what": one.what},
            # A number as text: `point` writes no floats.
            {"subject": one.subject, "value": "" if one.value is None else repr(one.value), "text": one.text},
            one.time_us * 1000,
        )
        for one in events
    ]


def newest_events(reads: Reads, limit: int) -> list[AlertEvent]:
    """Return the newest events first."""
    limit = min(limit, EVENTS_MAX)
    return [
        AlertEvent(
            time_ns // 1000, lines.untag(rule), kind, what, subject or "", float(value) if value else None, text or ""
        )
        for time_ns, rule, kind, what, subject, value, text in reads.influx.rows(
            reads.buckets.rollups, f"{_SELECT}{limit:d}"
        )
    ]


def delete_old_events(reads: Reads, delete: Deleter) -> None:
    """Let the oldest events go. Raises `StoreError`, also where the server cannot delete."""
    for time_ns, *_ in reads.influx.rows(reads.buckets.rollups, f"{_SELECT}1 OFFSET {EVENTS_MAX}"):
        delete(reads.buckets.rollups, {"_measurement": EVENTS}, (0, time_ns))

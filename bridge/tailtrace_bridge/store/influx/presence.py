"""When somebody was there: runs of use, quarters of an hour, minutes with traffic, and the newest row."""

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Tables
from tailtrace_bridge.store.packed import join_runs
from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US, Activity, Quarter, Run, Uptime, Window


def activity(reads: Reads, window: Window) -> list[Activity]:
    """Return usage in runs."""
    tables = Tables()
    rows = reads.rollups.merged(window, Kind.RUNS, tables)
    now = reads.names_of_now(tables)
    runs: dict[Identity, list[Run]] = {}
    for who, first_us, last_us, requests in rows:
        runs.setdefault(now[who], []).append((first_us, last_us, requests))
    return [Activity(identity, join_runs(theirs)) for identity, theirs in runs.items()]


def quarters(reads: Reads, window: Window) -> list[Quarter]:
    """Return usage by quarter of an hour."""
    return [Quarter(*row) for row in sorted(reads.rollups.merged(window, Kind.QUARTERS, Tables()), key=tuple)]


def uptime(reads: Reads, window: Window) -> list[Uptime]:
    """Return the minutes with traffic by day; a minute that the window cuts counts whole."""
    whole = Window(window.start_us // MINUTE_US * MINUTE_US, -(-window.end_us // MINUTE_US) * MINUTE_US)
    totals: dict[int, list[int]] = {}
    for hour, minutes, answered in reads.rollups.merged(whole, Kind.HOURS, Tables()):
        total = totals.setdefault(hour * HOUR_US // DAY_US * DAY_US, [0, 0])
        total[0] += minutes.bit_count()
        total[1] += answered.bit_count()
    return [Uptime(day_us, *totals[day_us]) for day_us in sorted(totals)]


def newest_us(reads: Reads) -> int | None:
    """Return the time of the newest row."""
    bucket_us = reads.rollups.newest_bucket_us()
    if bucket_us is None:
        return None
    text = f'SELECT max("newest_us") FROM "{batches.MEASUREMENT}" WHERE time >= $start'  # noqa: S608  # our own names
    for start_us in (bucket_us, 0):  # a step may have been announced, and its rows not written
        rows = reads.influx.rows(reads.buckets.raw, text, {"start": start_us * 1000})
        if rows:
            return int(rows[0][1])
    return None

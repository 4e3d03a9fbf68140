"""When somebody was there: runs of use, quarters of an hour, minutes of a service, and the newest row."""

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Tables
from tailtrace_bridge.store.packed import join_runs
from tailtrace_bridge.store.uptime import MINUTES, minute_number, minutes_within, uptime_hour
from tailtrace_bridge.store.values import MINUTE_US, Activity, Quarter, Run, UptimeHour, Window


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


def uptime(reads: Reads, window: Window) -> list[UptimeHour]:
    """Return the minutes with answers by hour and service; a minute that the window cuts counts whole."""
    whole = Window(window.start_us // MINUTE_US * MINUTE_US, -(-window.end_us // MINUTE_US) * MINUTE_US)
    tables = Tables()
    rows = reads.rollups.merged(whole, Kind.UPTIME, tables)
    services = [service for service, _ in tables.endpoints]
    counts: dict[tuple[int, str], dict[int, int]] = {}
    for where, minute, fine, errors in rows:
        of_hour = counts.setdefault((minute // MINUTES, services[where]), {})
        for is_error, count in ((False, fine), (True, errors)):
            if count:
                of_hour[minute_number(minute, is_error=is_error)] = count
    return minutes_within((uptime_hour(*key, of_hour) for key, of_hour in counts.items()), whole)


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

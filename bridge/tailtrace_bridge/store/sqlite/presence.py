"""When somebody was there: runs of use, quarters of an hour, and minutes in which a service was up or down."""

import sqlite3
from collections.abc import Collection

from tailtrace_bridge.store.packed import add_counts, joined_runs
from tailtrace_bridge.store.sqlite import windows
from tailtrace_bridge.store.sqlite.anonymous import listed_numbers
from tailtrace_bridge.store.sqlite.identities import read_identities
from tailtrace_bridge.store.sqlite.reads import packed, widened
from tailtrace_bridge.store.sqlite.totals import USAGE
from tailtrace_bridge.store.uptime import minutes_within, uptime_hour
from tailtrace_bridge.store.values import HOUR_US, QUARTER_US, Activity, Quarter, UptimeHour, Window

_QUARTERS = "SELECT step, usage_0, usage_15, usage_30, usage_45 FROM hour WHERE step >= ? AND step < ?"
_COUNT_USAGE = f"""
    SELECT count(*) FROM access WHERE time_us >= ? AND time_us < ? AND traffic IN {USAGE}
"""  # noqa: S608  # our own numbers


def activity(connection: sqlite3.Connection, window: Window, listed: Collection[str] | None) -> list[Activity]:
    """Return usage in runs."""
    parts: dict[int, list[bytes | int]] = {}
    numbers = listed_numbers(connection, listed)
    for _, identity_id, runs in packed(connection, window, "visit", "runs", listed=numbers):
        parts.setdefault(identity_id, []).append(runs)
    identities = read_identities(connection, parts)
    return [Activity(identities[identity_id], joined_runs(theirs)) for identity_id, theirs in parts.items()]


def quarters(connection: sqlite3.Connection, window: Window) -> list[Quarter]:
    """Return usage by quarter of an hour."""
    totals: dict[int, int] = {}
    for bucket_us, start_us, end_us in windows.pieces(widened(connection, window), (QUARTER_US,)):
        if not bucket_us:
            requests = connection.execute(_COUNT_USAGE, (start_us, end_us)).fetchone()[0]
            totals[start_us // QUARTER_US * QUARTER_US] = requests
            continue
        bounds = (start_us // HOUR_US, -(-end_us // HOUR_US))
        for step, *of_hour in connection.execute(_QUARTERS, bounds):
            for place, requests in enumerate(of_hour):
                time_us = step * HOUR_US + place * QUARTER_US
                if start_us <= time_us < end_us:
                    totals[time_us] = requests
    return [Quarter(time_us, requests) for time_us, requests in sorted(totals.items()) if requests]


def uptime(connection: sqlite3.Connection, window: Window) -> list[UptimeHour]:
    """Return the minutes with answers by hour and service; a minute that the window cuts counts whole."""
    bounds = (window.start_us // HOUR_US, -(-window.end_us // HOUR_US))
    found: list[UptimeHour] = []
    for step, service, cell in connection.execute("SELECT * FROM uptime WHERE step >= ? AND step < ?", bounds):
        counts: dict[int, int] = {}
        add_counts(counts, cell)
        found.append(uptime_hour(step, service, counts))
    return minutes_within(found, window)

"""When somebody was there: runs of use, quarters of an hour, and minutes with traffic."""

import sqlite3
from collections.abc import Collection

from tailtrace_bridge.store.packed import extend_runs, unpack_runs
from tailtrace_bridge.store.sqlite import windows
from tailtrace_bridge.store.sqlite.identities import read_identities
from tailtrace_bridge.store.sqlite.reads import packed, widened
from tailtrace_bridge.store.sqlite.strangers import listed_numbers
from tailtrace_bridge.store.sqlite.totals import USAGE
from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US, QUARTER_US, Activity, Quarter, Run, Uptime, Window

_QUARTERS = "SELECT step, usage_0, usage_15, usage_30, usage_45 FROM hour WHERE step >= ? AND step < ?"
_COUNT_USAGE = f"""
    SELECT count(*) FROM access WHERE time_us >= ? AND time_us < ? AND traffic IN {USAGE}
"""  # noqa: S608  # our own numbers


def activity(connection: sqlite3.Connection, window: Window, listed: Collection[str] | None) -> list[Activity]:
    """Return usage in runs."""
    totals: dict[int, list[Run]] = {}
    numbers = listed_numbers(connection, listed)
    for _, identity_id, runs in packed(connection, window, "visit", "runs", listed=numbers):
        extend_runs(totals.setdefault(identity_id, []), unpack_runs(runs))
    identities = read_identities(connection, totals)
    return [Activity(identities[identity_id], runs) for identity_id, runs in totals.items()]


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


def uptime(connection: sqlite3.Connection, window: Window) -> list[Uptime]:
    """Return the minutes with traffic by day; a minute that the window cuts counts whole."""
    first, end = window.start_us // MINUTE_US, -(-window.end_us // MINUTE_US)
    totals: dict[int, list[int]] = {}
    bounds = (window.start_us // HOUR_US, -(-window.end_us // HOUR_US))
    for step, minutes, answered in connection.execute(
        "SELECT step, minutes, answered FROM hour WHERE step >= ? AND step < ?", bounds
    ):
        hour = step * 60
        inside = (1 << max(0, min(60, end - hour))) - (1 << max(0, min(60, first - hour)))
        if minutes & inside:
            total = totals.setdefault(step // 24 * DAY_US, [0, 0])
            total[0] += (minutes & inside).bit_count()
            total[1] += (answered & inside).bit_count()
    return [Uptime(day_us, *totals[day_us]) for day_us in sorted(totals)]

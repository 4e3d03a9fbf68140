"""How the sums of a batch are added to those that SQLite has: by upserts, in the transaction of their rows.

Numbers are added up in SQL; packed cells by `merged_counts` and `merged_runs`, which each connection of a store knows.
"""

import sqlite3

from tailtrace_bridge.store.rollups import Rollups
from tailtrace_bridge.store.sqlite.totals import (
    HOURS_OF_DAY,
    by_day,
    by_hour,
    hour_rows,
    latency_all_rows,
    latency_rows,
    usage_less_rows,
    usage_rows,
    visit_rows,
)

_ADD_USAGE = """
    INSERT INTO {} VALUES ({}, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, timed = timed + excluded.timed,
        request_time_us = request_time_us + excluded.request_time_us, app_timed = app_timed + excluded.app_timed,
        app_time_us = app_time_us + excluded.app_time_us, bytes_sent = bytes_sent + excluded.bytes_sent
"""
_ADD_VISIT = """
    INSERT INTO {} VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET visits = merged_counts(visits, excluded.visits), runs = merged_runs(runs, excluded.runs)
"""
_ADD_LATENCY = """
    INSERT INTO {} VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET proxy = merged_counts(proxy, excluded.proxy), app = merged_counts(app, excluded.app)
"""
_ADD_LATENCY_ALL = """
    INSERT INTO {} VALUES (?, ?) ON CONFLICT DO UPDATE SET proxy = merged_counts(proxy, excluded.proxy)
"""
_ADD_HOUR = """
    INSERT INTO hour VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET minutes = minutes | excluded.minutes, answered = answered | excluded.answered,
        usage_0 = usage_0 + excluded.usage_0, usage_15 = usage_15 + excluded.usage_15,
        usage_30 = usage_30 + excluded.usage_30, usage_45 = usage_45 + excluded.usage_45
"""


def add_rollups(writer: sqlite3.Connection, sums: Rollups) -> None:
    """Add the sums of the new rows of a batch; in the transaction that inserts these."""
    by_identity, by_endpoint = usage_less_rows(sums.usage)
    usage = (("usage", usage_rows(sums.usage)), ("usage_identity", by_identity), ("usage_endpoint", by_endpoint))
    for table, rows in usage:
        writer.executemany(_ADD_USAGE.format(table, "?1"), rows)
        writer.executemany(_ADD_USAGE.format(table + "_day", f"?1 / {HOURS_OF_DAY}"), rows)
    hours = by_hour(sums)
    for size, of in (("", hours), ("_day", by_day(hours))):
        writer.executemany(_ADD_VISIT.format("visit" + size), visit_rows(of))
        writer.executemany(_ADD_LATENCY.format("latency" + size), latency_rows(of))
        writer.executemany(_ADD_LATENCY_ALL.format("latency_all" + size), latency_all_rows(of))
    writer.executemany(_ADD_HOUR, hour_rows(sums))

"""How the rollups of a batch are added to those that SQLite has: by upserts, in the transaction of their rows.

Numbers are added up in SQL; packed cells by `merged_counts` and `merged_runs`, which each connection of a store knows.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from tailtrace_bridge.store.rollups import SUMS, Rollups
from tailtrace_bridge.store.sqlite.brief import WIDTH, BriefRow, without
from tailtrace_bridge.store.sqlite.many import insert_many
from tailtrace_bridge.store.sqlite.totals import (
    HOURS_OF_DAY,
    by_day,
    by_hour,
    endpoint_rows,
    hour_rows,
    identity_rows,
    latency_all_rows,
    latency_rows,
    uptime_rows,
    usage_rows,
    visit_rows,
)

_KEY = ("step", "identity_id", "endpoint_id", "method", "status", "traffic")
_ADD_USAGE = f"ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in SUMS)}"
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
_ADD_UPTIME = """
    INSERT INTO uptime VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET counts = merged_counts(counts, excluded.counts)
"""
_ADD_HOUR = """
    INSERT INTO hour VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET usage_0 = usage_0 + excluded.usage_0, usage_15 = usage_15 + excluded.usage_15,
        usage_30 = usage_30 + excluded.usage_30, usage_45 = usage_45 + excluded.usage_45
"""


def add_rollups(
    writer: sqlite3.Connection, rollups: Rollups, service_of: Mapping[int, str], brief: Sequence[BriefRow]
) -> None:
    """Add the rollups of the new rows of a batch, in the transaction that inserts these.

    `service_of` knows the endpoints of the batch; `brief` are the rows in the place of some rollups.
    """
    insert_many(writer, "INSERT INTO brief", ", ".join("?" * WIDTH), brief)
    rest = without(rollups, {row[1] for row in brief}) if brief else rollups
    usage = (
        ("usage", usage_rows(rest.usage)),
        ("usage_identity", identity_rows(rest.usage)),
        ("usage_endpoint", endpoint_rows(rollups.usage)),
    )
    for table, rows in usage:
        _add_usage(writer, table, "?", rows)
        _add_usage(writer, table + "_day", f"? / {HOURS_OF_DAY}", rows)
    hours = by_hour(rest)
    for size, of in (("", hours), ("_day", by_day(hours))):
        writer.executemany(_ADD_VISIT.format("visit" + size), visit_rows(of))
        writer.executemany(_ADD_LATENCY.format("latency" + size), latency_rows(of))
        writer.executemany(_ADD_LATENCY_ALL.format("latency_all" + size), latency_all_rows(of))
    writer.executemany(_ADD_UPTIME, uptime_rows(rollups, service_of))
    writer.executemany(_ADD_HOUR, hour_rows(rollups))


def _add_usage(writer: sqlite3.Connection, table: str, step: str, rows: Sequence[tuple[Any, ...]]) -> None:
    names = (*_KEY, *SUMS)
    marks = ", ".join((step, *["?"] * (len(names) - 1)))
    insert_many(writer, f"INSERT INTO {table} ({', '.join(names)})", marks, rows, _ADD_USAGE)

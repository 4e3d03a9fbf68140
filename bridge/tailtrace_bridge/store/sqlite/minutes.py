"""Rollups by minute and endpoint of the last day, for alerts: a window of minutes costs as much at any traffic.

| rows | their minute |
|---|---|
| not older than `KEPT_US` | is rolled up, in the transaction that stores them |
| older, as those of most imports | is left to the rollups by hour |

The hourly rollups cannot tell the last five minutes, and the rows of these grow with the traffic. What is older than
`KEPT_US` is removed every hour. `answered` counts the requests with a status.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from tailtrace_bridge.core.columns import Columns
from tailtrace_bridge.core.histogram import bucket_of, percentiles
from tailtrace_bridge.store.packed import add_counts, pack_counts
from tailtrace_bridge.store.sqlite.totals import KEY_BITS, row_key
from tailtrace_bridge.store.uptime import is_down
from tailtrace_bridge.store.values import HOUR_US, MINUTE_US, Recent, Window

KEPT_US = 25 * HOUR_US
_ROUTE = (1 << KEY_BITS) - 1
MIGRATION = """
    CREATE TABLE minute (
        key INTEGER PRIMARY KEY, requests INTEGER NOT NULL, errors INTEGER NOT NULL, answered INTEGER NOT NULL,
        proxy BLOB NOT NULL
    );
"""
_ADD = """
    INSERT INTO minute VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, errors = errors + excluded.errors,
        answered = answered + excluded.answered, proxy = merged_counts(proxy, excluded.proxy)
"""


class Minutes:
    """Writes the rollups. One for each store that writes; `now_us` is of its clock."""

    def __init__(self) -> None:
        self._pruned_us = 0

    def add(self, writer: sqlite3.Connection, columns: Columns, endpoint_ids: Sequence[int], now_us: int) -> None:
        """Roll up those rows of a batch that are new enough, and let go of what is too old."""
        oldest_us = now_us - KEPT_US
        totals: dict[int, tuple[list[int], dict[int, int]]] = {}
        rows = zip(columns.time_us, columns.request, columns.request_time_us, strict=True)
        for time_us, request, request_time_us in rows if max(columns.time_us, default=0) >= oldest_us else ():
            if time_us < oldest_us:
                continue
            one = columns.requests[request]
            sums, proxy = totals.setdefault(row_key(time_us // MINUTE_US, endpoint_ids[one.endpoint]), ([0, 0, 0], {}))
            sums[0] += 1
            sums[1] += one.status >= 500
            sums[2] += one.status > 0
            if request_time_us is not None:
                bucket = bucket_of(request_time_us)
                proxy[bucket] = proxy.get(bucket, 0) + 1
        writer.executemany(_ADD, [(key, *sums, pack_counts(proxy)) for key, (sums, proxy) in totals.items()])
        if now_us - self._pruned_us >= HOUR_US:
            self._pruned_us = now_us
            writer.execute("DELETE FROM minute WHERE key < ?", (row_key(oldest_us // MINUTE_US),))


def recent(
    connection: sqlite3.Connection, window: Window, endpoint: str | None, service: str | None, rank: float | None
) -> Recent:
    """Return the totals of the minutes that a window touches."""
    where, values = "key >= ? AND key < ?", list[Any](_bounds(window))
    for column, value in (("route", endpoint), ("service", service)):
        if value is not None:
            where += f" AND key & {_ROUTE} IN (SELECT id FROM endpoint WHERE {column} = ?)"  # noqa: S608
            values.append(value)
    text = f"""
        SELECT sum(requests), sum(errors), sum(answered)
        FROM minute JOIN endpoint e ON e.id = key & {_ROUTE} WHERE {where} GROUP BY key >> {KEY_BITS}, e.service
    """  # noqa: S608  # our own texts; values are bound
    found = connection.execute(text, values).fetchall()
    known = [(answers, errors) for _, errors, answers in found if answers]
    sums = (
        sum(requests for requests, _, _ in found),
        sum(errors for _, errors, _ in found),
        len(known),
        sum(is_down(answers, errors) for answers, errors in known),
    )
    if rank is None:
        return Recent._make((*sums, None))
    totals: dict[int, int] = {}
    for (proxy,) in connection.execute(f"SELECT proxy FROM minute WHERE {where}", values):  # noqa: S608
        add_counts(totals, proxy)
    quantile = percentiles(totals, (rank,))
    return Recent._make((*sums, quantile[0] if quantile else None))


def _bounds(window: Window) -> tuple[int, int]:
    return row_key(window.start_us // MINUTE_US), row_key(-(-window.end_us // MINUTE_US))

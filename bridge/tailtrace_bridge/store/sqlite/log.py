"""The request log of a SQLite store: a page of it as a reader sees it, and of whole rows for an export."""

import sqlite3

from tailtrace_bridge.core.records import Access, Row, Traffic
from tailtrace_bridge.store.sqlite.filters import where
from tailtrace_bridge.store.sqlite.identities import IDENTITY, identity_of
from tailtrace_bridge.store.values import Filters, LogEntry, Window


def page(
    connection: sqlite3.Connection, window: Window, filters: Filters, limit: int, before: tuple[int, int] | None
) -> list[LogEntry]:
    """Return a page of the log, newest first."""
    clauses, values = where(filters)
    end_us, key = min(before or (window.end_us, -1), (window.end_us, -1))
    query = f"""
        SELECT a.time_us, a.key, e.service, e.route, a.method, a.path, a.status, a.traffic, a.request_time_us,
               a.app_time_us, a.bytes_sent, a.trace_id, a.error_type, a.identified_us, a.upstream_time_us,
               a.span_id, g.text, {IDENTITY}
        FROM access a JOIN identity i ON i.id = a.identity_id JOIN endpoint e ON e.id = a.endpoint_id
             JOIN agent g ON g.id = a.agent_id
        WHERE a.time_us >= ? AND (a.time_us, a.key) < (?, ?) {clauses}
        ORDER BY a.time_us DESC, a.key DESC LIMIT ?
    """  # noqa: S608  # only our own texts are put together; values are bound
    return [
        LogEntry(
            row[0], row[1], identity_of(row[17:]), row[2], row[3], row[4], row[5], row[6], Traffic(row[7]),
            row[8], row[9], row[10], row[11].hex() if row[11] else "", row[12] or "", row[13],
            row[14], row[15].hex() if row[15] else "", row[16],
        )
        for row in connection.execute(query, (window.start_us, end_us, key, *values, limit))
    ]  # fmt: skip


def rows(connection: sqlite3.Connection, window: Window, after: tuple[int, int] | None, limit: int) -> list[Row]:
    """Return a page of whole rows, oldest first."""
    start_us, key = max(after or (window.start_us, -1), (window.start_us, -1))
    query = f"""
        SELECT a.time_us, a.key, i.address, a.method, a.path, a.status, a.request_time_us, a.upstream_time_us,
               0, a.bytes_sent, e.service, a.trace_id, a.span_id, g.text,
               e.route, a.traffic, a.app_time_us, a.error_type, a.identified_us, {IDENTITY}
        FROM access a JOIN identity i ON i.id = a.identity_id JOIN endpoint e ON e.id = a.endpoint_id
             JOIN agent g ON g.id = a.agent_id
        WHERE (a.time_us, a.key) > (?, ?) AND a.time_us < ? ORDER BY a.time_us, a.key LIMIT ?
    """  # noqa: S608
    return [
        Row(
            Access(*[
                *row[:8], False, *row[9:11], row[11].hex() if row[11] else "", row[12].hex() if row[12] else "",
                row[13], "",
            ]),
            identity_of(row[19:]), row[14], Traffic(row[15]), row[16], row[17] or "", row[18],
        )
        for row in connection.execute(query, (start_us, key, window.end_us, limit))
    ]  # fmt: skip

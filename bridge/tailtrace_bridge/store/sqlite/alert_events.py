"""What alerts told, in SQLite: the newest `EVENTS_MAX`. Its time names an event: added again, it changes nothing."""

import sqlite3
from collections.abc import Sequence

from tailtrace_bridge.store.sqlite.transaction import transaction
from tailtrace_bridge.store.values import EVENTS_MAX, AlertEvent

MIGRATION = """
    CREATE TABLE alert_event (
        time_us INTEGER PRIMARY KEY, rule TEXT NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL,
        subject TEXT NOT NULL, value REAL, text TEXT NOT NULL
    );
"""
_SELECT = "SELECT time_us, rule, kind, what, subject, value, text FROM alert_event ORDER BY time_us DESC LIMIT ?"


def add(writer: sqlite3.Connection, events: Sequence[AlertEvent]) -> None:
    """Keep events, and let the oldest go."""
    with transaction(writer):
        writer.executemany("INSERT OR IGNORE INTO alert_event VALUES (?, ?, ?, ?, ?, ?, ?)", events)
        writer.execute(
            "DELETE FROM alert_event WHERE time_us <= "
            "(SELECT time_us FROM alert_event ORDER BY time_us DESC LIMIT 1 OFFSET ?)",
            (EVENTS_MAX,),
        )


def newest(connection: sqlite3.Connection, limit: int) -> list[AlertEvent]:
    """Return the newest events first."""
    return [AlertEvent(*row) for row in connection.execute(_SELECT, (limit,))]

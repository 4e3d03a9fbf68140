"""Old rows go, a bounded number in each transaction, which also keeps how far it came."""

import sqlite3

from tailtrace_bridge.store.sqlite import failures, traces
from tailtrace_bridge.store.sqlite.transaction import transaction

PRUNE_ROWS_MAX = 20_000
"""Rows removed in one transaction: a reader never waits for more."""
_PRUNE_UP_TO = "SELECT max(time_us) FROM (SELECT time_us FROM entry WHERE time_us < ? ORDER BY time_us LIMIT ?)"


def prune_some(writer: sqlite3.Connection, before_us: int) -> int:
    """Remove the oldest rows, in one transaction; return how many."""
    with transaction(writer):
        (newest_us,) = writer.execute(_PRUNE_UP_TO, (before_us, PRUNE_ROWS_MAX)).fetchone()
        removed = 0
        if newest_us is not None:
            traces.remove(writer, "time_us <= ?", (newest_us,))
            failures.remove(writer, "time_us <= ?", (newest_us,))
            removed = writer.execute("DELETE FROM entry WHERE time_us <= ?", (newest_us,)).rowcount
            writer.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'pruned_us'", (newest_us + 1,))
    return removed


def forget_requests(writer: sqlite3.Connection) -> None:
    """Remove what no row names any more: a path is kept no longer than its rows."""
    writer.execute("DELETE FROM request WHERE id NOT IN (SELECT request_id FROM entry)")

"""A read of a window, as a connection has it now: `windows` plans it, this runs the plan."""

import sqlite3
from collections.abc import Iterator
from itertools import chain
from typing import Any

from tailtrace_bridge.store.sqlite import windows
from tailtrace_bridge.store.sqlite.totals import number_of, step_of
from tailtrace_bridge.store.values import DAY_US, Window

_NEWEST = "SELECT max(time_us) FROM entry"


def newest_us(connection: sqlite3.Connection) -> int | None:
    """Return the time of the newest row."""
    return connection.execute(_NEWEST).fetchone()[0]  # type: ignore[no-any-return]


def widened(connection: sqlite3.Connection, window: Window) -> Window:
    """Return a window with the same rows, that ends with a day if it can."""
    return windows.widened(window, newest_us(connection))


def packed(
    connection: sqlite3.Connection,
    window: Window,
    table: str,
    columns: str,
    bucket_us_max: int = DAY_US,
    listed: str | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Return time, identity or endpoint, and `columns` of the rows of a window; `listed`: see `windows.packed`."""
    whole = widened(connection, window)
    queries = windows.packed(whole, table, columns, bucket_us_max, listed)
    for bucket_us, text, values in chain(queries, windows.brief(whole, columns, listed) if table == "visit" else ()):
        for key, *cells in connection.execute(text, values):
            yield step_of(key) * bucket_us, number_of(key), *cells

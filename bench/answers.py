"""The three answers of 30 days, from SQLite: how long each takes, over its goal, at any number of rows.

    python bench/answers.py --rows 1000000 10000000

The window ends half an hour after the hour, and in the middle of a day: its edges are cut from hours and rows. Asked
as HTTP asks them, without HTTP; the first time, with nothing in SQLite's cache, and the median of those that follow.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from pathlib import Path

from store import make_rows, write

from tailtrace_api.queries import Queries
from tailtrace_bridge.store.protocol import Filters
from tailtrace_bridge.store.sqlite import SqliteStore

END_US = 1_764_001_800_000_000
"""2025-11-24T16:30:00Z, also of a window that ends before the newest row by an hour and a quarter."""
EARLIER_US = 75 * 60 * 1_000_000
HOURS_MAX = 30 * 24
ANSWER_S_MAX = 0.1
ASKED_TIMES = 6


def questions(queries: Queries) -> Mapping[str, Callable[[], object]]:
    """Give the three, the log with filters, and two whose windows end in the past."""

    def logs(filters: Filters) -> Callable[[], object]:
        return lambda: queries.access_logs(END_US, hours=168, filters=filters, limit=100)

    past_us = END_US - EARLIER_US
    return {
        "access logs, 168 h": logs(Filters()),
        "access logs of a user": logs(Filters(user="person3@example.com")),
        "access logs, endpoint, 5xx": logs(Filters(endpoint="/area3/thing3", status="5xx")),
        "dashboard usage": lambda: queries.dashboard_usage(END_US, hours=HOURS_MAX),
        "dashboard usage, past": lambda: queries.dashboard_usage(past_us, hours=HOURS_MAX),
        "system health": lambda: queries.system_health_history(END_US, hours=HOURS_MAX),
        "system health, past": lambda: queries.system_health_history(past_us, hours=HOURS_MAX),
    }


def timed_s(ask: Callable[[], object]) -> float:
    """Give the seconds of one answer."""
    started_s = time.perf_counter()
    ask()
    return time.perf_counter() - started_s


def show(path: Path, rows: int) -> None:
    """Fill a store, if it is new, and print a line for each question."""
    store = SqliteStore(path)
    try:
        if store.newest_us() is None:
            count, spent_s = write(store, make_rows(rows, 30, END_US))
            print(f"{count} rows, {count / spent_s:,.0f} rows/s, {path.stat().st_size / count:.0f} bytes a row")
        queries = Queries(store, zone=UTC, features={}, store_name="sqlite")
        for name, ask in questions(queries).items():
            first_s, *later_s = (timed_s(ask) for _ in range(ASKED_TIMES))
            median_s = statistics.median(later_s)
            print(
                f"{name:28}{first_s * 1000:5.0f} ms first, {median_s * 1000:5.0f} ms then:"
                f" {median_s / ANSWER_S_MAX:.2f} x the {ANSWER_S_MAX * 1000:.0f} ms allowed"
            )
    finally:
        store.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--store", type=Path, help="a store to fill, or to ask if this bench filled it before")
    arguments = parser.parse_args()
    for rows in arguments.rows:
        if arguments.store is not None:
            show(arguments.store, rows)
            continue
        with tempfile.TemporaryDirectory(prefix="tailtrace-answers-") as folder:
            show(Path(folder, "bench.db"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The three answers and the page, of 30 days, from either store: what each takes, over its goal, at any number of rows.

    python bench/answers.py --rows 1000000 10000000
    python bench/answers.py --influxdb --rows 1000000 10000000

`--influxdb` starts one, with empty buckets (`make influxdb` builds it), and ends it.

The window ends half an hour after the hour, and in the middle of a day: its edges are cut from hours and rows. Asked
as HTTP asks them, without HTTP; the first time, with nothing in the store's cache, and the median of those that follow.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from pathlib import Path

from memory import pss_mib
from store import filled, make_rows, write

from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.panels import Panels
from tailtrace_api.queries.requests import Queries
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.values import Filters, back

END_US = 1_764_001_800_000_000
"""2025-11-24T16:30:00Z, also of a window that ends before the newest row by an hour and a quarter."""
EARLIER_US = 75 * 60 * 1_000_000
HOURS_MAX = 30 * 24
SQLITE_S_MAX, INFLUXDB_S_MAX = 0.1, 0.3
WRITER_MIB_MAX = 64
INFLUXD = Path(os.environ.get("TAILTRACE_INFLUXD") or Path.home() / ".cache/tailtrace/influxdb/influxd")
ASKED_TIMES = 6


def questions(store: Store, store_name: str) -> Mapping[str, Callable[[], object]]:
    """Return the three, the log with filters, two whose windows end in the past, and panels of all and of one user."""
    queries = Queries(store, zone=UTC, features={}, store_name=store_name)
    panels = Panels(store, queries, Insights(store, queries, features={}), UTC, {})

    def logs(filters: Filters) -> Callable[[], object]:
        return lambda: queries.access_logs(back(END_US, 168), filters=filters, limit=100)

    past_us, month = END_US - EARLIER_US, back(END_US, 30 * 24)
    user = Filters(user="person3@example.com")
    return {
        "access logs, 168 h": logs(Filters()),
        "access logs of a user": logs(user),
        "access logs, endpoint, 5xx": logs(Filters(endpoint="/area3/thing3", status="5xx")),
        "dashboard usage": lambda: queries.dashboard_usage(back(END_US, HOURS_MAX)),
        "dashboard usage, past": lambda: queries.dashboard_usage(back(past_us, HOURS_MAX)),
        "system health": lambda: queries.system_health_history(back(END_US, HOURS_MAX)),
        "system health, past": lambda: queries.system_health_history(back(past_us, HOURS_MAX)),
        "overview": lambda: panels.overview(month, Filters()),
        "overview of a user": lambda: panels.overview(month, user),
        "people": lambda: panels.people(month, Filters()),
        "endpoints": lambda: panels.endpoints(month, Filters()),
        "endpoints of a user": lambda: panels.endpoints(month, user),
    }


def timed_s(ask: Callable[[], object]) -> float:
    """Return the seconds of one answer."""
    started_s = time.perf_counter()
    ask()
    return time.perf_counter() - started_s


def show(store: Store, store_name: str, answer_s_max: float) -> None:
    """Print a line for each question."""
    for name, ask in questions(store, store_name).items():
        first_s, *later_s = (timed_s(ask) for _ in range(ASKED_TIMES))
        median_s = statistics.median(later_s)
        print(
            f"{name:28}{first_s * 1000:5.0f} ms first, {median_s * 1000:5.0f} ms then:"
            f" {median_s / answer_s_max:.2f} x the {answer_s_max * 1000:.0f} ms allowed",
            flush=True,
        )


def show_sqlite(path: Path, rows: int) -> None:
    """Fill a store, if it is new, and ask it."""
    store, written = filled(path, rows, END_US)
    try:
        if written is not None:
            count, spent_s = written
            print(f"{count} rows, {count / spent_s:,.0f} rows/s, {path.stat().st_size / count:.0f} bytes a row")
        show(store, "sqlite", SQLITE_S_MAX)
    finally:
        store.close()


def show_influxdb(folder: Path, rows: int) -> None:
    """Start one, fill it, sum up, and ask."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.stack.servers import InfluxDB  # noqa: PLC0415  # needs what only tests need

    server = InfluxDB(INFLUXD, folder)
    server.start()
    timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, random.random, lambda: time.time_ns() // 1000)
    config = InfluxConfig(Server(server.url, server.org, server.token), "answers", "bench")
    store = InfluxStore(config, timing, is_rolling=False)
    try:
        count, spent_s = write(store, make_rows(rows, 30, END_US))
        print(f"{count} rows, {count / spent_s:,.0f} rows/s", flush=True)
        settled_s = timed_s(store.settle)
        print(f"rolled up in {settled_s:.1f} s: with that, {count / (spent_s + settled_s):,.0f} rows/s")
        written_mib, server_mib = pss_mib(os.getpid()), pss_mib(server.pid)
        print(
            f"PSS of the writer {written_mib:.0f} MiB, {written_mib / WRITER_MIB_MAX:.2f} x the {WRITER_MIB_MAX} MiB"
            f" allowed; of InfluxDB {server_mib:.0f} MiB",
            flush=True,
        )
        show(store, "influxdb", INFLUXDB_S_MAX)
        print(f"PSS after these {pss_mib(os.getpid()):.0f} MiB")
        store.close()
        server.stop()
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"{size / count:.0f} bytes a row, before InfluxDB compacts them", flush=True)
    finally:
        server.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--influxdb", action="store_true", help="InfluxDB, not SQLite")
    parser.add_argument("--store", type=Path, help="a SQLite store to fill, or to ask if this bench filled it before")
    arguments = parser.parse_args()
    for rows in arguments.rows:
        if arguments.store is not None:
            show_sqlite(arguments.store, rows)
            continue
        with tempfile.TemporaryDirectory(prefix="tailtrace-answers-") as folder:
            if arguments.influxdb:
                show_influxdb(Path(folder), rows)
            else:
                show_sqlite(Path(folder, "bench.db"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A round of alerts as the traffic grows: SQLite's steps and milliseconds, beside those at a tenth of it.

    python bench/alerts.py --requests 20 200

Ten endpoints and ten people, two hours of requests at so many a second; a rule of each kind on requests.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path
from zoneinfo import ZoneInfo

from tailtrace_bridge.alerts.state import AlertCounters, Outbox
from tailtrace_bridge.alerts.watch import Probes, Watch
from tailtrace_bridge.alerts.words import Words
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.store.sqlite.store import SqliteStore

NOW_US = 1_764_001_800_000_000
"""2025-11-24T16:30:00Z"""
SPAN_S = 2 * 3600
BATCH = 5_000
ROUNDS = 11
RULES = (
    {"kind": "error_rate"},
    {"kind": "p95", "window": "1h"},
    {"kind": "uptime"},
    {"kind": "no_data"},
    {"kind": "endpoint_silent", "endpoint": "/3"},
    {"kind": "new_device"},
)


def fill(store: SqliteStore, requests: int) -> None:
    """Write two hours of requests."""
    people = [Identity(f"100.64.0.{n}", "user", f"p{n}@example.com", f"laptop-{n}", f"n{n}") for n in range(10)]
    count = requests * SPAN_S
    for start in range(0, count, BATCH):
        rows = []
        for n in range(start, min(start + BATCH, count)):
            time_us = NOW_US - (count - n) * SPAN_S * 1_000_000 // count
            access = Access(
                time_us, n, "", "GET", f"/{n % 10}", 500 if n % 100 == 0 else 200, 5_000 + n % 900, None, True, 10, "",
                "", "", "", "",
            )  # fmt: skip
            rows.append(Row(access, people[n // 7 % 10], f"/{n % 10}", Traffic.APP, None, ""))
        store.write(rows)


def measure(folder: Path, requests: int) -> tuple[int, float]:
    """Return SQLite's steps of one round, and the median milliseconds."""
    clock_us = [NOW_US]
    store = SqliteStore(folder / f"{requests}.db", lambda: NOW_US)
    fill(store, requests)
    book = Outbox(folder / f"{requests}.json", AlertCounters())
    watch = Watch(
        [AlertRule.model_validate(rule) for rule in RULES],
        store,
        book,
        probes=Probes(str, str),
        words=Words("en", ZoneInfo("UTC")),
        zone=ZoneInfo("UTC"),
        clock=lambda: clock_us[0],
    )
    watch.round()
    steps = [0]

    def step() -> None:
        steps[0] += 1

    reader = store._connections.idle_readers[0]  # noqa: SLF001  # the steps are SQLite's own, and only a connection tells them
    spent_ms = []
    for number in range(ROUNDS):
        watch._due_us.clear()  # noqa: SLF001  # each round judges all rules
        reader.set_progress_handler(step if number == 0 else None, 1)
        started_s = time.perf_counter()
        watch.round()
        if number:
            spent_ms.append((time.perf_counter() - started_s) * 1000)
    store.close()
    return steps[0], statistics.median(spent_ms)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, nargs=2, default=[5, 50], help="requests a second, of both stores")
    few, many = parser.parse_args().requests
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="tailtrace-alerts-") as name:
        steps_few, ms_few = measure(Path(name), few)
        steps_many, ms_many = measure(Path(name), many)
    print(f"at {few} requests/s   {steps_few} steps, {ms_few:.2f} ms a round")
    print(f"at {many} requests/s  {steps_many} steps, {ms_many:.2f} ms a round")
    grown = f"{steps_many / steps_few:.3f} x in steps, {ms_many / ms_few:.2f} x in time"
    print(f"grows by         {grown}, at {many / few:g} x the traffic")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The store alone: how many rows a second it takes, new and known ones, and how many bytes one needs.

    python bench/store.py --rows 200000

The rows are those of a dashboard of a small company: 40 people with two devices each; a device loads a page of one
area, which asks for 8 things within a second; a few of the 60 endpoints get most requests; each has its own speed.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.transfer.importer import BATCH_ROWS

DAY_US = 24 * 3_600_000_000
PAGE_REQUESTS = 8
IDENTITIES = [
    Identity(f"100.64.0.{n}", "user", f"person{n // 2}@example.com", f"device-{n}", f"n{n}", "", "static")
    for n in range(80)
]
ENDPOINTS = [(f"/area{n % 6}/thing{n}", f"/area{n % 6}/thing{n}") for n in range(50)]
ENDPOINTS += [(f"/item{n}/4711", f"/item{n}/{{id}}") for n in range(10)]
AGENTS = [f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{n}.0.0.0 Safari/537.36" for n in range(100, 120)]
STATUSES = [200] * 95 + [404, 404, 500, 502, 499]


def make_rows(count: int, days: int, end_us: int, seed: int = 7) -> Iterator[Row]:
    """Make rows in order of time, the last one just before `end_us`; the same seed makes the same rows."""
    dice = random.Random(seed)
    page_us = days * DAY_US * PAGE_REQUESTS // count
    for n in range(count):
        if n % PAGE_REQUESTS == 0:
            identity, agent = dice.choice(IDENTITIES), dice.choice(AGENTS)
            time_us = end_us - (count - n) * page_us // PAGE_REQUESTS
        number = min(int(dice.expovariate(0.1)), len(ENDPOINTS) - 1)
        path, route = ENDPOINTS[number]
        app_us = int(dice.lognormvariate(8 + number / 20, 0.3))
        access = Access(
            time_us + n % PAGE_REQUESTS, dice.getrandbits(63), identity.address, "GET", path, dice.choice(STATUSES),
            app_us + 900, app_us + 500, True, 1234, "", f"{dice.getrandbits(128):032x}", f"{dice.getrandbits(64):016x}",
            agent, "",
        )  # fmt: skip
        yield Row(access, identity, route, Traffic.APP, app_us, "")


def write(store: Store, rows: Iterator[Row]) -> tuple[int, float]:
    """Write all; give the count and the seconds spent in the store."""
    count, spent_s = 0, 0.0
    while batch := list(islice(rows, BATCH_ROWS)):
        started_s = time.perf_counter()
        store.write(batch)
        spent_s += time.perf_counter() - started_s
        count += len(batch)
    return count, spent_s


def filled(path: Path, rows: int, end_us: int | None = None) -> tuple[SqliteStore, tuple[int, float] | None]:
    """Open a store, and fill it, if it is new, with thirty days up to `end_us`, or now: then with what `write` says."""
    store = SqliteStore(path)
    if store.newest_us(Scope.everybody()) is not None:
        return store, None
    return store, write(store, make_rows(rows, 30, end_us or time.time_ns() // 1000))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    arguments = parser.parse_args()
    end_us = time.time_ns() // 1000
    with tempfile.TemporaryDirectory(prefix="tailtrace-store-") as folder:
        path = Path(folder, "bench.db")
        store = SqliteStore(path)
        count, first_s = write(store, make_rows(arguments.rows, 30, end_us))
        _, again_s = write(store, make_rows(arguments.rows, 30, end_us))
        store.close()
        print(f"new rows        {count / first_s:,.0f} rows/s ({count} in {first_s:.2f} s)")
        print(f"known rows      {count / again_s:,.0f} rows/s, {first_s / again_s:.2f} x the speed of new ones")
        print(f"size            {path.stat().st_size / count:.0f} bytes a row")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A bridge with InfluxDB over the end of an hour, and of a day, both busy: its memory, second by second.

    python bench/bridge_ends.py --end day --rate 200
    python bench/bridge_ends.py --end hour --rate 200 --minutes 0 --before 3600       the goal to the letter: 65 minutes

Hours take as long as they take, so usually neither is waited for:

| what | how |
|---|---|
| the day's hours before the last | their rollups are made of drawn requests, and written as the bridge does |
| the last hour | its lines are there already: the bridge catches up with them first |
| the end | comes a few minutes later, under load, by the bridge's clock alone |

Memory is PSS, looked at four times a second: the largest of each minute, and of all. The goal holds from when the
bridge has caught up.
"""

import argparse
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from memory import pss_mib
from store import ENDPOINTS, IDENTITIES, STATUSES

from bridge import INFLUXD, PSS_MIB_MAX, ROOT, Load, bridge, influxdb, metric
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.rollups.batches import BUCKET_US
from tailtrace_bridge.store.influx.rollups.encoding import Tables
from tailtrace_bridge.store.influx.rollups.reader import GRACE_US
from tailtrace_bridge.store.influx.rollups.writer import Roller
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.rollups import Counted, Rollups
from tailtrace_bridge.store.values import DAY_US, HOUR_US

LOOK_S = 0.25
BEFORE_S = 300
"""So long after the bridge starts the end comes: it has caught up by then, or the bench says that it has not."""
AFTER_S = 240
"""A step is over two minutes after its end; then it is rolled up."""
SOURCE = "bench"
AHEAD = """import time
now_ns = time.time_ns
time.time_ns = lambda: now_ns() + {ns}
time.time = lambda: time.time_ns() / 1e9
"""


def ahead(folder: Path, ns: int) -> dict[str, str]:
    """Return the environment of a Python whose clock is so far ahead; its waits are by another."""
    (folder / "sitecustomize.py").write_text(AHEAD.format(ns=ns))
    return {"PYTHONPATH": str(folder)}


def requests(hour_us: int, count: int, dice: random.Random) -> Iterator[Counted]:
    """Return the requests of an hour, in order, as they are rolled up."""
    for number in range(count):
        where = min(int(dice.expovariate(0.1)), len(ENDPOINTS) - 1)
        took_us = int(dice.lognormvariate(15, 0.5)) // 1000
        who, status = dice.randrange(len(IDENTITIES)), dice.choice(STATUSES)
        time_us = hour_us + number * HOUR_US // count
        yield time_us, who, where, "GET", status, Traffic.APP, took_us, took_us, 1234


def fill(settings: Mapping[str, str], hours_us: range, count: int) -> None:
    """Write the rollups of hours that are over, each of so many requests."""
    server = Server(settings["INFLUXDB_V2_URL"], settings["INFLUXDB_V2_ORG"], settings["INFLUXDB_V2_TOKEN"])
    now_us = 0
    timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, lambda: 0.5, lambda: now_us)
    store = InfluxStore(InfluxConfig(server, settings["INFLUXDB_V2_BUCKET"], SOURCE), timing, is_rolling=False)
    store.write([])
    roller: Roller = store._open().roller  # noqa: SLF001 - what it reads requests by is not of interest
    dice = random.Random(7)
    for hour_us in hours_us:
        now_us, tables, rollups = hour_us, Tables(), Rollups()
        for identity in IDENTITIES:
            tables.identities[identity]
        for _, route in ENDPOINTS:
            tables.endpoints["bench", route]
        store._open().write_rollups(roller.announce(range(hour_us, hour_us + HOUR_US, BUCKET_US)))  # noqa: SLF001
        now_us = hour_us + HOUR_US + 2 * GRACE_US
        rollups.add(requests(hour_us, count, dice))
        roller.keep_hour(hour_us, rollups, tables)
    store.close()


def write_lines(load: Load, log: Path, start_ns: int, count: int, every_ns: int) -> None:
    """Write lines of before now into the log."""
    with log.open("a") as file:
        for number in range(count):
            line, _ = load.request(start_ns + number * every_ns)
            file.write(json.dumps(line, separators=(",", ":")) + "\n")


class Looks:
    """Looks at a process's memory until it is told to stop."""

    def __init__(self, pid: int) -> None:
        self.seen: list[tuple[float, float]] = []
        """When, s of the monotonic clock, and MiB."""
        self._pid, self._stop = pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(LOOK_S):
            with contextlib.suppress(OSError):
                self.seen.append((time.monotonic(), pss_mib(self._pid)))

    def stop(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()


def measure(
    folder: Path, settings: Mapping[str, str], ports: list[int], end: str, rate: float, minutes: float, before_s: float
) -> float:
    """Run one bridge over the end; print its memory, and return the largest of when it had caught up, MiB."""
    size_us = DAY_US if end == "day" else HOUR_US
    now_ns = time.time_ns()
    end_us = (now_ns // 1000 // size_us + 1) * size_us
    if end == "day":
        fill(settings, range(end_us - DAY_US, end_us - HOUR_US, HOUR_US), int(rate * 3600))
    people = {one.address: {"user": one.user, "device": one.device} for one in IDENTITIES}
    (folder / "identities.json").write_text(json.dumps(people))
    log, url = folder / "access.log", f"http://127.0.0.1:{ports[0]}"
    log.touch()
    started_s = time.monotonic()
    ahead_ns = end_us * 1000 - int(before_s * 1e9) - time.time_ns()
    load = Load(log, f"http://127.0.0.1:{ports[1]}", rate, ahead_ns)
    waiting, every_ns = int(minutes * 60 * rate), int(1e9 / rate)
    write_lines(load, log, time.time_ns() + ahead_ns - waiting * every_ns, waiting, every_ns)
    settings = {**settings, **ahead(folder, ahead_ns), "TAILTRACE_SOURCE": SOURCE}
    with bridge(folder, settings, ports) as process:
        looks, load.sent = Looks(process.pid), waiting
        caught_up_s = 0.0
        while (now_s := time.monotonic()) < started_s + before_s + AFTER_S:
            load.run(now_s + 2)
            if not caught_up_s and metric(url, "tailtrace_rows_stored_total") > load.sent - 10 * rate:
                caught_up_s = time.monotonic()
        looks.stop()
        time.sleep(5)
        stored = metric(url, "tailtrace_rows_stored_total")
    print(f"{stored:.0f} of {load.sent} stored; caught up after {caught_up_s - started_s:.0f} s")
    minutes_of: dict[int, list[float]] = {}
    for at_s, mib in looks.seen:
        minutes_of.setdefault(int((at_s - started_s - before_s) // 30), []).append(mib)
    for place, seen in sorted(minutes_of.items()):
        print(f"{place / 2:+5.1f} min  largest {max(seen):.1f} MiB, median {sorted(seen)[len(seen) // 2]:.1f}")
    return max((mib for at_s, mib in looks.seen if caught_up_s and at_s > caught_up_s), default=0.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--end", choices=("hour", "day"), default="day")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--minutes", type=float, default=50.0, help="whose lines are there when the bridge starts")
    parser.add_argument("--before", type=float, default=BEFORE_S, help="seconds from the bridge's start to the end")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.stack import servers  # noqa: PLC0415  # the tests' own servers

    if not INFLUXD.exists():
        print("skipped: `make influxdb` builds it")
        return 0
    with tempfile.TemporaryDirectory(prefix="tailtrace-ends-") as name, influxdb(servers, Path(name, "db")) as settings:
        folder = Path(name)
        ports = servers.free_ports(2)
        top_mib = measure(folder, settings, ports, arguments.end, arguments.rate, arguments.minutes, arguments.before)
        print(f"largest {top_mib:.1f} MiB: {top_mib / PSS_MIB_MAX:.2f} x the {PSS_MIB_MAX} MiB allowed")
    return 0 if 0 < top_mib <= PSS_MIB_MAX else 1


if __name__ == "__main__":
    sys.exit(main())

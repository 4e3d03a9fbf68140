"""Simulate a fleet of hundreds of nginx machines from what one costs: how many InfluxDBs, and how an outage ends.

    python bench/fleet.py --machines 100 1000 --requests-per-s 5 50

First measured, on a real InfluxDB 2 (`make influxdb`): the CPU of InfluxDB, and of a bridge's store, for a batch of a
few and of thousands of rows. A line through these gives what a write costs, and what a row. Then an hour of a fleet
goes by, second by second:

| part | in the simulation |
|---|---|
| a machine | its requests a second are drawn once, log-normal around the mean asked for: some have many times it |
| its bridge | writes what it has each `TAILTRACE_POLL_MS`; who is behind, all that waits, in batches; with one core |
| an InfluxDB | serves writes while it has CPU, each machine in turn; half of its cores are for answers and compaction |
| the InfluxDBs | as few as keep up; a machine writes to one of them, always the same, and each has an API of its own |
| the outage | after ten minutes none of them answers, for as long; the logs are the queue |

Not in it: the network, the memory of InfluxDB (its series: docs/scaling.md), and what answers cost.
"""

import argparse
import itertools
import math
import os
import random
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from store import make_rows

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.stack.servers import InfluxDB  # noqa: E402

from tailtrace_bridge.store.influx.config import InfluxConfig  # noqa: E402
from tailtrace_bridge.store.influx.store import InfluxStore  # noqa: E402
from tailtrace_bridge.store.influx.wire.query import Server  # noqa: E402
from tailtrace_bridge.store.influx.wire.write import BATCH_LINES_MAX, Timing  # noqa: E402

INFLUXD = Path.home() / ".cache" / "tailtrace" / "influxdb" / "influxd"
SIZES = {5: 100, 50: 60, 500: 30, 5000: 12}
"""Rows of a batch, and how many such batches are written."""
SPREAD = 1.0
"""Sigma of the log-normal rates: the busiest of a hundred machines has some six times the mean."""
OUTAGE_AT_S = 600
HOUR_S = 3600
CAUGHT_UP_S = 1.0
LINE_BYTES = 670
"""Of nginx's log: docs/scaling.md."""


class Cost(NamedTuple):
    """CPU seconds of a write, and of each row in it."""

    write_s: float
    row_s: float

    def of(self, rows: float, writes: float) -> float:
        """Return the CPU seconds of rows in so many writes."""
        return self.write_s * writes + self.row_s * rows


class Hour(NamedTuple):
    """What a simulated hour shows."""

    requests_per_s: float
    stores: int
    load: float
    """Share of all cores of the InfluxDBs that writes take, without an outage."""
    waiting_rows: float
    """At the end of the outage, in all logs."""
    most_mib: float
    """Of the log of the busiest machine, that waits then."""
    late_s: float
    """The oldest row that waits a minute before the outage."""
    caught_up_s: float
    """After the end of the outage, until no row waits for longer than `CAUGHT_UP_S`."""


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure() -> tuple[Cost, Cost]:
    """Return what InfluxDB pays, and what a bridge's store pays."""
    influx: list[float] = []
    bridge: list[float] = []
    with tempfile.TemporaryDirectory(prefix="tailtrace-fleet-") as folder:
        server = InfluxDB(INFLUXD, Path(folder))
        server.start()
        try:
            for size, batches in SIZES.items():
                both = measure_size(server, size, batches)
                influx.append(both[0])
                bridge.append(both[1])
                print(
                    f"{size:>5} rows a write  InfluxDB {both[0] * 1e3:7.2f} ms of CPU, bridge {both[1] * 1e3:7.2f} ms"
                )
        finally:
            server.kill()
    return line_through(influx), line_through(bridge)


def measure_size(server: InfluxDB, size: int, batches: int) -> tuple[float, float]:
    timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, random.random, lambda: time.time_ns() // 1000)
    config = InfluxConfig(Server(server.url, server.org, server.token), server.new_bucket(), "web-1")
    store = InfluxStore(config, timing, is_rolling=False)
    rows = make_rows(size * (batches + 2), 1, time.time_ns() // 1000)
    store.write(list(islice(rows, 2 * size)))  # makes the buckets, and the series that come again
    before, own = cpu_s(server.pid), time.process_time()
    for _ in range(batches):
        store.write(list(islice(rows, size)))
    spent_s = (cpu_s(server.pid) - before) / batches, (time.process_time() - own) / batches
    store.close()
    return spent_s


def line_through(costs_s: list[float]) -> Cost:
    slope, intercept = statistics.linear_regression(list(SIZES), costs_s)
    return Cost(max(intercept, min(costs_s) / 2), slope)


def simulate(rates: list[float], influx: Cost, bridge: Cost, polls: float, asked: argparse.Namespace) -> Hour:
    """Let an hour go by. `rates`: requests a second of each machine; `polls`: looks at its log a second."""
    needed_s = sum(influx.of(rate, min(rate, polls)) for rate in rates)
    stores = math.ceil(needed_s / (asked.cores / 2))
    of_store = [list(range(first, len(rates), stores)) for first in range(stores)]
    waiting = [0.0] * len(rates)
    late_s = waiting_rows = most_mib = 0.0
    caught_up_s = math.inf
    end_s = OUTAGE_AT_S + asked.outage_s
    for second in range(HOUR_S):
        waiting = [rows + rate for rows, rate in zip(waiting, rates, strict=True)]
        if not OUTAGE_AT_S <= second < end_s:
            for machines in of_store:
                first = second % len(machines)
                serve(waiting, rates, machines[first:] + machines[:first], influx, bridge, asked.cores / 2, polls)
        oldest_s = max(rows / rate for rows, rate in zip(waiting, rates, strict=True))
        if second == OUTAGE_AT_S - 60:
            late_s = oldest_s
        elif second == end_s - 1:
            waiting_rows, most_mib = sum(waiting), max(waiting) * LINE_BYTES / 1024**2
        elif second >= end_s and oldest_s <= CAUGHT_UP_S:
            caught_up_s = second - end_s + 1
            break
    return Hour(sum(rates), stores, needed_s / (stores * asked.cores), waiting_rows, most_mib, late_s, caught_up_s)


def serve(
    waiting: list[float],
    rates: list[float],
    machines: list[int],
    influx: Cost,
    bridge: Cost,
    left_s: float,
    polls: float,
) -> None:
    """Let machines write for a second, in turn, a batch each, until nobody has rows or time."""
    own_s = dict.fromkeys(machines, 1.0)
    while own_s:
        for machine in list(own_s):
            rows = min(waiting[machine], BATCH_LINES_MAX)
            if rows <= 0 or own_s[machine] <= 0:
                del own_s[machine]
                continue
            # Who keeps up writes at each poll that found a row; who is behind, one batch of what waits.
            writes = min(rows, polls) if rows <= rates[machine] else 1.0
            left_s -= influx.of(rows, writes)
            if left_s < 0:
                return
            own_s[machine] -= bridge.of(rows, writes)
            waiting[machine] -= rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--machines", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--requests-per-s", type=float, nargs="+", default=[5, 50], help="of a machine, the mean")
    parser.add_argument("--cores", type=int, default=8, help="of each InfluxDB's machine")
    parser.add_argument("--outage-s", type=int, default=600)
    parser.add_argument("--poll-ms", type=int, nargs="+", default=[200, 1000], help="TAILTRACE_POLL_MS of each bridge")
    asked = parser.parse_args()
    influx, bridge = measure()
    for name, cost in (("InfluxDB", influx), ("bridge", bridge)):
        print(
            f"{name:<9} {cost.write_s * 1e3:.2f} ms for a write, {cost.row_s * 1e6:.1f} µs for a row: time of one core"
        )
    print(f"\nInfluxDBs of {asked.cores} cores, half of them for writes; none answers for {asked.outage_s} s\n")
    print(
        "| machines | requests/s | poll | InfluxDBs | their CPU | oldest row | waiting | busiest log | caught up in |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for machines in asked.machines:
        for mean, poll_ms in itertools.product(asked.requests_per_s, asked.poll_ms):
            dice = random.Random(7)
            rates = [mean * dice.lognormvariate(-(SPREAD**2) / 2, SPREAD) for _ in range(machines)]
            hour = simulate(rates, influx, bridge, 1000 / poll_ms, asked)
            print(
                f"| {machines:,} | {hour.requests_per_s:,.0f} | {poll_ms} ms | {hour.stores} | {hour.load:.0%}"
                f" | {hour.late_s:.1f} s | {hour.waiting_rows / 1e6:,.2f} M rows | {hour.most_mib:,.0f} MiB"
                f" | {hour.caught_up_s:,.0f} s |"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())

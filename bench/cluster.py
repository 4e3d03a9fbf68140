"""What a cluster of openGemini answers while its nodes die under writes, by each of its `ha-policy`.

    python bench/cluster.py --policy replication
    python bench/cluster.py --policy replication --series-max 20

Three meta, three store, two sql (`make opengemini`). First a point of a new series at a time is written, acknowledged,
and asked for until it is there. Then points are written without a pause, by both SQL nodes in turn, each until it is
acknowledged; a node dies or is stopped, and comes back. Meanwhile both SQL nodes count all points, over and over:

| the answer has | it is |
|---|---|
| all points acknowledged `SETTLED_S` before the question, or more | whole |
| fewer, and no error | short: wrong without a word |
| an error, or none came | honest |

In the end, with all nodes back, each point that was acknowledged is looked for. With `--series-max` nobody dies: the
store nodes take so many series, and three times as many are written: is what they do not take acknowledged?
"""

import argparse
import itertools
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.stack.servers import OpenGemini  # noqa: E402

PROGRAMS = Path.home() / ".cache" / "tailtrace" / "opengemini"
DATABASE = "bench"
POLICIES = ("write-available-first", "shared-storage", "replication")
LATE_S_MAX = 30.0
SETTLED_S = 10.0
"""Far above what an index takes to show a new series."""
DEAD_S, BACK_S, LOOK_EACH_S = 30.0, 30.0, 0.5
BATCH_POINTS = 5
FAULTS = (
    "store-1", "store-2", "store-3", "store-1 store-2", "sql-2", "meta-1", "meta-1 meta-2", "~store-1", "~store-2",
)  # fmt: skip
"""Nodes that are killed at once; with `~`, stopped, as a machine that is paused or cut off, and let go on."""
BASE_NS = 1_759_924_800_000_000_000


@dataclass
class Looks:
    """What the counts of one SQL node were."""

    kinds: Counter[str] = field(default_factory=Counter)
    most_missing: int = 0
    of: int = 0
    example: str = ""


class Cluster:
    """Writes and asks."""

    def __init__(self, server: OpenGemini) -> None:
        self.server = server
        self.client = httpx.Client(timeout=10)
        copies = " WITH REPLICATION 3" if server.policy == "replication" else ""
        made = self.client.post(f"{server.url}/query", data={"q": f"CREATE DATABASE {DATABASE}{copies}"})
        assert "error" not in made.text, made.text

    def write(self, url: str, lines: list[str]) -> None:
        """Write points. Raises `httpx.HTTPError`."""
        self.client.post(f"{url}/write", params={"db": DATABASE}, content="\n".join(lines)).raise_for_status()

    def ask(self, url: str, text: str) -> list[list[int]]:
        """Return rows. Raises `httpx.HTTPError`, and `ValueError` with the words of an error."""
        answer = self.client.get(f"{url}/query", params={"db": DATABASE, "q": text, "epoch": "ns"}).json()
        result = answer.get("results", [answer])[0]
        if "error" in result:
            raise ValueError(result["error"])
        return [row for series in result.get("series", ()) for row in series["values"]]

    def count(self, url: str, measurement: str, where: str = "") -> int:
        """Return how many points it shows."""
        rows = self.ask(url, f"SELECT count(n) FROM {measurement} {where}")
        return rows[0][1] if rows else 0


def late_s(cluster: Cluster, series: int) -> float:
    """Return how long after its acknowledgement a point of a new series is not there."""
    url = cluster.server.url
    cluster.write(url, [f"late,who=person-{series} n={series}i {BASE_NS + series}"])
    began = time.perf_counter()
    while (seen := _seen(cluster, series)) != 1:
        assert time.perf_counter() - began < LATE_S_MAX, f"series {series} is not there: {seen}"
        time.sleep(0.01)
    return time.perf_counter() - began


def _seen(cluster: Cluster, series: int) -> int | str:
    try:
        return cluster.count(cluster.server.url, "late", f"WHERE who = 'person-{series}'")
    except (httpx.HTTPError, ValueError) as error:
        return str(error)


class Load:
    """Writes points without a pause and counts them over and over, until it is stopped."""

    def __init__(self, cluster: Cluster, look_each_s: float) -> None:
        self.cluster, self.look_each_s = cluster, look_each_s
        self.acknowledged: list[tuple[float, int]] = []
        """When, and how many then."""
        self.lines = 0
        self.failed: Counter[str] = Counter()
        self.looks: dict[str, Looks] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write)]
        self._threads += [threading.Thread(target=self._look, args=(url,)) for url in cluster.server.urls]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def begin(self) -> None:
        """Count the looks anew."""
        self.looks = {url: Looks() for url in self.cluster.server.urls}

    def _write(self) -> None:
        for batch in itertools.count():
            numbers = range(batch * BATCH_POINTS, (batch + 1) * BATCH_POINTS)
            # One series in ten is new; the others are known.
            lines = [f"load,who={n if n % 10 == 0 else n % 50} n={n}i {BASE_NS + n * 1_000_000}" for n in numbers]
            while not self._stop.is_set():
                url = self.cluster.server.urls[(batch + self.failed.total()) % 2]
                try:
                    self.cluster.write(url, lines)
                except httpx.HTTPError as error:
                    self.failed[type(error).__name__] += 1
                    time.sleep(0.2)
                else:
                    self.lines = numbers.stop
                    self.acknowledged.append((time.monotonic(), numbers.stop))
                    break
            if self._stop.is_set():
                return
            time.sleep(0.05)

    def _look(self, url: str) -> None:
        self.begin()
        while not self._stop.wait(self.look_each_s):
            settled_s = time.monotonic() - SETTLED_S
            due = next((lines for at_s, lines in reversed(self.acknowledged) if at_s <= settled_s), 0)
            looks = self.looks[url]
            try:
                seen = self.cluster.count(url, "load")
            except httpx.HTTPError as error:
                looks.kinds[f"no answer ({type(error).__name__})"] += 1
            except ValueError as error:
                looks.kinds["error"] += 1
                looks.example = str(error)[:120]
            else:
                looks.kinds["whole" if seen >= due else "SHORT"] += 1
                if due - seen > looks.most_missing:
                    looks.most_missing, looks.of = due - seen, due

    def show(self, what: str) -> None:
        """Print a line for each SQL node."""
        for url, looks in self.looks.items():
            kinds = ", ".join(f"{kind} {times}" for kind, times in sorted(looks.kinds.items()))
            missing = f"; at most {looks.most_missing} of {looks.of} missing" if looks.most_missing else ""
            said = f"; said {looks.example!r}" if looks.example else ""
            print(f"{what:24} {url}: {kinds}{missing}{said}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--policy", choices=POLICIES, default=POLICIES[0])
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument("--series-max", type=int, default=0, help="of a store node: write more than it takes")
    parser.add_argument("--faults", nargs="*", default=FAULTS, help="nodes that die at once, one argument each fault")
    parser.add_argument("--dead-s", type=float, default=DEAD_S)
    parser.add_argument("--back-s", type=float, default=BACK_S, help="from a node's return to the next fault")
    parser.add_argument("--look-each-s", type=float, default=LOOK_EACH_S)
    parser.add_argument("--folder", help="where the cluster's files go, and stay")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tailtrace-cluster-") as folder:
        server = OpenGemini(PROGRAMS, Path(asked.folder or folder), asked.policy, asked.series_max)
        try:
            server.start()
            cluster = Cluster(server)
            if asked.series_max:
                show_refused(cluster, 3 * asked.series_max)
                return 0
            show_late(cluster, asked.series)
            show_erased(cluster)
            with Load(cluster, asked.look_each_s) as load:
                time.sleep(SETTLED_S)
                load.show("nobody dead")
                for fault in asked.faults:
                    try_fault(load, fault.split(), asked.dead_s, asked.back_s)
            time.sleep(SETTLED_S)
            show_end(cluster, load)
        finally:
            server.end_test()
    return 0


def show_late(cluster: Cluster, series: int) -> None:
    times_s = sorted(late_s(cluster, one) for one in range(series))
    if times_s:
        print(f"{series} new series, shown after: median {statistics.median(times_s):.2f} s, "
              f"p95 {times_s[int(0.95 * len(times_s))]:.2f} s, most {times_s[-1]:.2f} s", flush=True)  # fmt: skip


def show_erased(cluster: Cluster) -> None:
    """Say what each statement that erases does to one of three series."""
    url = cluster.server.url
    cluster.write(url, [f"gone,who=person-{one} n={one}i {BASE_NS + one}" for one in range(3)])
    time.sleep(SETTLED_S)
    statements = (
        "DELETE FROM gone WHERE who = 'person-1'",
        f"DELETE FROM gone WHERE time = {BASE_NS + 1}",
        "DROP SERIES FROM gone WHERE who = 'person-1'",
        "DROP MEASUREMENT gone",
    )
    for statement in statements:
        try:
            cluster.ask(url, statement)
            said = "done"
        except ValueError as error:
            said = str(error)
        time.sleep(1)
        try:
            left = str(cluster.count(url, "gone"))
        except ValueError as error:
            left = str(error)
        print(f"{statement}: {said}; of 3 points there are: {left}", flush=True)


def show_refused(cluster: Cluster, series: int) -> None:
    """Write more series than the nodes take; show how many were acknowledged, and how many are there."""
    said: Counter[str] = Counter()
    for one in range(series):
        try:
            cluster.write(cluster.server.urls[one % 2], [f"many,who=person-{one} n={one}i {BASE_NS + one}"])
            said["acknowledged"] += 1
        except httpx.HTTPStatusError as error:
            said[str(error.response.status_code)] += 1
    time.sleep(SETTLED_S)
    counts = [cluster.count(url, "many") for url in cluster.server.urls]
    print(f"{series} new series, where a node takes {cluster.server.series_max}: {dict(said)}, there are {counts}")


def try_fault(load: Load, nodes: list[str], dead_s: float, back_s: float) -> None:
    """Kill nodes, wait, bring them back, wait; show what was answered meanwhile."""
    server, failed = load.cluster.server, load.failed.total()
    load.begin()
    began_lines = load.lines
    for node in nodes:
        if node.startswith("~"):
            server.processes[node[1:]].send_signal(signal.SIGSTOP)
        else:
            server.processes[node].kill()
            server.processes[node].wait()
    time.sleep(dead_s)
    load.show(f"{' '.join(nodes)} dead")
    print(f"{'':24} written: {load.lines - began_lines} points, {load.failed.total() - failed} tries failed")
    load.begin()
    began_lines = load.lines
    for node in nodes:
        if node.startswith("~"):
            server.processes[node[1:]].send_signal(signal.SIGCONT)
        else:
            part, _, number = node.partition("-")
            server.start_one(part, int(number))
    time.sleep(back_s)
    load.show(f"{' '.join(nodes)} back")
    print(f"{'':24} written: {load.lines - began_lines} points", flush=True)


def show_end(cluster: Cluster, load: Load) -> None:
    """Look for each point that was acknowledged."""
    for url in cluster.server.urls:
        try:
            rows = Counter(row[1] for row in cluster.ask(url, "SELECT n FROM load"))
        except (httpx.HTTPError, ValueError) as error:
            print(f"in the end {url}: {error}")
            continue
        lost = [n for n in range(load.lines) if n not in rows]
        twice = [n for n, times in rows.items() if times > 1]
        print(f"in the end {url}: {load.lines} acknowledged, {len(lost)} lost {lost[:5]}, {len(twice)} twice; "
              f"tries that failed: {dict(load.failed)}")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

"""Why a cluster of openGemini is refused: how late it shows what it acknowledged, and what it says with a node dead.

    python bench/cluster.py --series 100

Three of each part (`make opengemini`). A point of a new series at a time is written, acknowledged, and asked for until
it is there. Then all points are counted by both SQL nodes, each half a second, while a store node dies and comes back.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.stack.servers import OpenGemini  # noqa: E402

PROGRAMS = Path.home() / ".cache" / "tailtrace" / "opengemini"
DATABASE = "bench"
LATE_S_MAX = 30.0
DEAD_S, BACK_S = 20.0, 20.0
LOOK_EACH_S = 0.5


class Cluster:
    """Writes and asks."""

    def __init__(self, server: OpenGemini) -> None:
        self.server = server
        self.client = httpx.Client(timeout=10)
        self.client.post(f"{server.url}/query", data={"q": f"CREATE DATABASE {DATABASE}"}).raise_for_status()

    def write(self, series: int) -> None:
        """Write one point of a new series."""
        line = f"probe,who=person-{series} n={series}i {time.time_ns()}"
        answer = self.client.post(f"{self.server.url}/write", params={"db": DATABASE}, content=line)
        answer.raise_for_status()

    def count(self, url: str, where: str = "") -> int | str:
        """Return how many points it shows, or what it says instead."""
        try:
            answer = self.client.get(
                f"{url}/query", params={"db": DATABASE, "q": f"SELECT count(n) FROM probe {where}"}
            ).json()
        except (httpx.HTTPError, ValueError) as error:
            return type(error).__name__
        result = answer.get("results", [answer])[0]
        if "error" in result:
            return "an error"
        return int(result["series"][0]["values"][0][1]) if "series" in result else 0


def late_s(cluster: Cluster, series: int) -> float:
    """Return how long after its acknowledgement a point is not there."""
    cluster.write(series)
    began = time.perf_counter()
    while (seen := cluster.count(cluster.server.url, f"WHERE who = 'person-{series}'")) != 1:
        assert time.perf_counter() - began < LATE_S_MAX, f"series {series} is not there: {seen}"
        time.sleep(0.01)
    return time.perf_counter() - began


def looks(cluster: Cluster, seconds: float) -> dict[str, Counter[int | str]]:
    """Count at both SQL nodes for a while; return what each said how often."""
    said: dict[str, Counter[int | str]] = {url: Counter() for url in cluster.server.urls}
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        for url, answers in said.items():
            answers[cluster.count(url)] += 1
        time.sleep(LOOK_EACH_S)
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tailtrace-cluster-") as folder:
        server = OpenGemini(PROGRAMS, Path(folder))
        try:
            server.start()
            cluster = Cluster(server)
            times_s = sorted(late_s(cluster, series) for series in range(asked.series))
            print(f"{asked.series} new series, shown after: median {statistics.median(times_s):.2f} s, "
                  f"p95 {times_s[int(0.95 * len(times_s))]:.2f} s, most {times_s[-1]:.2f} s")  # fmt: skip
            server.processes["store-2"].kill()
            server.processes["store-2"].wait()
            show("store node 2 dead", looks(cluster, DEAD_S), asked.series)
            server.start_one("store", 2)
            show("store node 2 back", looks(cluster, BACK_S), asked.series)
        finally:
            server.end_test()
    return 0


def show(what: str, said: dict[str, Counter[int | str]], written: int) -> None:
    for url, answers in said.items():
        counts = ", ".join(f"{answer}: {times} times" for answer, times in answers.most_common())
        print(f"{what}, of {written} points by {url}: {counts}")


if __name__ == "__main__":
    sys.exit(main())

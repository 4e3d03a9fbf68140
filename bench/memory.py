"""`tailtrace serve` with a large store: its memory, idle and after the answers and the panels, and how long these take.

    python bench/memory.py --rows 1000000

Memory is PSS, the process's fair share of the pages that it maps (Linux's /proc/PID/smaps_rollup). Each answer is asked
for its widest window, by one client, three times; the worst time is shown.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from store import make_rows, write

from tailtrace_bridge.store.sqlite.store import SqliteStore

ANSWERS = (
    "/analytics/access-logs?hours=168",
    "/analytics/dashboard-usage?days=30",
    "/analytics/system-health-history?days=30",
    *(f"/analytics/panels/{name}?period=30d" for name in ("overview", "people", "endpoints", "health", "requests")),
    "/analytics/panels/overview?period=30d&status=2xx",
    "/analytics/panels/overview?period=30d&user=person3@example.com",
)
ASKED_TIMES = 3
PSS_MIB_MAX = 80
ANSWER_S_MAX = 1.0
START_S_MAX = 20
SETTLE_S = 2


def pss_mib(pid: int) -> float:
    """Return the process's proportional set size."""
    match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"/proc/{pid}/smaps_rollup names no Pss; this needs Linux 4.14 or later")
    return int(match[1]) / 1024


@contextlib.contextmanager
def serving(folder: Path, store: Path) -> Iterator[tuple[int, str]]:
    """Run `tailtrace serve`; give its process id and the URL of its API."""
    log, said = folder / "access.log", folder / "serve.txt"
    log.touch()
    environment = os.environ | {
        "TAILTRACE_STORE": f"sqlite:{store}",
        "TAILTRACE_LOG": str(log),
        "TAILTRACE_CHECKPOINT": str(folder / "checkpoint.json"),
        "TAILTRACE_LISTEN": "127.0.0.1:0",
        "TAILTRACE_OTLP_LISTEN": "127.0.0.1:0",
    }
    program = str(Path(sys.executable).with_name("tailtrace"))
    with said.open("w") as output:
        process = subprocess.Popen([program, "serve"], env=environment, stdout=output, stderr=output)
    try:
        for _ in range(START_S_MAX * 10):
            if match := re.search(r"API on (http://[^\s,]+)", said.read_text()):
                break
            time.sleep(0.1)
        else:
            raise RuntimeError(f"tailtrace serve did not start within {START_S_MAX} s; it said: {said.read_text()}")
        yield process.pid, match[1]
    finally:
        process.terminate()
        process.wait(START_S_MAX)


def ask(client: httpx.Client, path: str) -> tuple[float, int]:
    """Return the worst time of an answer, in seconds, and its length in bytes."""
    worst_s, length = 0.0, 0
    for _ in range(ASKED_TIMES):
        started_s = time.perf_counter()
        answer = client.get(path)
        worst_s = max(worst_s, time.perf_counter() - started_s)
        length = len(answer.raise_for_status().content)
    return worst_s, length


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tailtrace-memory-") as name:
        folder = Path(name)
        path = folder / "bench.db"
        store = SqliteStore(path)
        count, spent_s = write(store, make_rows(arguments.rows, arguments.days, time.time_ns() // 1000))
        store.close()
        print(f"store           {count} rows of {arguments.days} days, {count / spent_s:,.0f} rows/s")
        print(f"size            {path.stat().st_size / count:.0f} bytes a row")
        with serving(folder, path) as (pid, url), httpx.Client(base_url=url, timeout=60) as client:
            time.sleep(SETTLE_S)
            idle_mib = pss_mib(pid)
            print(f"PSS idle        {idle_mib:.1f} MiB, {idle_mib / PSS_MIB_MAX:.2f} x the {PSS_MIB_MAX} MiB allowed")
            slowest_s = 0.0
            for answer in ANSWERS:
                worst_s, length = ask(client, answer)
                slowest_s = max(slowest_s, worst_s)
                print(f"answer          {worst_s * 1000:6.0f} ms, {length:,} bytes: {answer}")
            print(f"slowest answer  {slowest_s / ANSWER_S_MAX:.2f} x the {ANSWER_S_MAX:g} s allowed")
            asked_mib = pss_mib(pid)
            print(f"PSS after these {asked_mib:.1f} MiB, {asked_mib / PSS_MIB_MAX:.2f} x the {PSS_MIB_MAX} MiB allowed")
    return 0


if __name__ == "__main__":
    sys.exit(main())

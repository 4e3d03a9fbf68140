"""`tailtrace serve` under a fast log: how soon a line is in an answer, at 5,000 lines a second, and at what CPU.

    python bench/tail.py [--rate 5000] [--seconds 60] [--cores 1]      (Linux)

The lines are those of our include files with the app's header, so none waits for a span: 80 devices, 60 routes. The
server may run on so many cores. Five times a second a line of a device of its own is written, and the API is asked for
that device's count until the line is in it: from the write to the answer that shows it, the poll's own 10 ms included,
and the answer itself, whose median is printed beside.
What nginx keeps in its buffer before it writes (200 ms at most) is before that. One question is asked before all: it
loads what answers (`bench/startup.py` times it).
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from memory import pss_mib, serving
from store import AGENTS, ENDPOINTS, IDENTITIES, STATUSES

from bridge import cpu_s
from tailtrace_api.demo.live_table import percentile
from tailtrace_bridge.logs.format import TAILTRACE_FIELDS, TAILTRACE_MARK

PROBE = "100.64.9.1"
PROBE_USER = "probe@factory.example"
PROBE_EVERY_S, POLL_S, TICK_S = 0.2, 0.01, 0.02
VISIBLE_S_MAX = 15.0
P99_MS_MAX = 300


def line(dice: random.Random, address: str) -> str:
    """Return a request that ends now, as nginx writes it."""
    path, route = ENDPOINTS[min(int(dice.expovariate(0.1)), len(ENDPOINTS) - 1)]
    took_us = int(dice.lognormvariate(9, 0.5))
    took_s = f"{took_us / 1e6:.3f}"
    values = {
        "msec": f"{time.time():.3f}", "request_id": f"{dice.getrandbits(128):032x}", "tailtrace_flags": "01",
        "remote_addr": address, "remote_port": "50000", "request_method": "GET", "request_uri": path,
        "status": str(dice.choice(STATUSES)), "bytes_sent": "1234", "request_time": took_s, "server_name": "bench",
        "http_user_agent": dice.choice(AGENTS), "upstream_http_x_tailtrace": f"1;t={took_us // 2};r={route};s=bench",
        "upstream_addr": "127.0.0.1:8000", "upstream_response_time": took_s, "upstream_status": "200",
        "upstream_header_time": took_s, "upstream_connect_time": "0.000", "upstream_response_length": "1000",
        "upstream_http_content_length": "1000", "request_length": "500", "body_bytes_sent": "1000",
        "server_protocol": "HTTP/1.1", "scheme": "http", "http_host": "bench",
    }  # fmt: skip
    return "\t".join((TAILTRACE_MARK, *(values.get(name, "") for name in TAILTRACE_FIELDS))) + "\n"


class Load:
    """Writes lines at a pace, from a thread of its own; a probe's are written between them."""

    def __init__(self, log: Path, rate: float) -> None:
        self.written = 0
        self._dice = random.Random(7)
        self._log = log.open("a", buffering=1024 * 1024)
        self._lock = threading.Lock()
        self._rate = rate

    def run(self, seconds: float) -> None:
        """Write for so long."""
        start_s, count = time.monotonic(), 0
        while (now_s := time.monotonic() - start_s) < seconds:
            due = int(now_s * self._rate) - count
            self.write([line(self._dice, self._dice.choice(IDENTITIES).address) for _ in range(due)])
            count += due
            time.sleep(TICK_S)

    def write(self, lines: list[str]) -> None:
        """Write lines at once."""
        with self._lock:
            self._log.writelines(lines)
            self._log.flush()
            self.written += len(lines)


def probe(api: httpx.Client, load: Load, thread: threading.Thread) -> Iterator[tuple[float, float]]:
    """Return the milliseconds from line to answer, and of the answer itself, of each probe."""
    query: dict[str, str | int] = {"hours": 1, "limit": 1, "user": PROBE_USER}
    dice, count = random.Random(8), 0
    while thread.is_alive():
        load.write([line(dice, PROBE)])
        count += 1
        written_s = asked_s = time.monotonic()
        while api.get("/analytics/access-logs", params=query).json()["summary"]["total_requests"] < count:
            if time.monotonic() - written_s > VISIBLE_S_MAX:
                raise SystemExit(f"a line was not there after {VISIBLE_S_MAX:g} s")
            time.sleep(POLL_S)
            asked_s = time.monotonic()
        shown_s = time.monotonic()
        yield 1000 * (shown_s - written_s), 1000 * (shown_s - asked_s)
        time.sleep(PROBE_EVERY_S)


def run(rate: float, seconds: float, cores: int, folder: Path) -> int:
    people = {one.address: {"user": one.user, "device": one.device} for one in IDENTITIES}
    (folder / "identities.json").write_text(json.dumps(people | {PROBE: {"user": PROBE_USER, "device": "probe"}}))
    os.environ["TAILTRACE_IDENTITIES"] = str(folder / "identities.json")
    os.environ["TAILSCALE_SOCKET"] = str(folder / "none.sock")
    with serving(folder, folder / "bench.db") as (pid, url), httpx.Client(base_url=url, timeout=VISIBLE_S_MAX) as api:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), sorted(os.sched_getaffinity(0))[:cores])
        api.get("/analytics/access-logs")
        load = Load(folder / "access.log", rate)
        thread = threading.Thread(target=load.run, args=(seconds,))
        thread.start()
        started_s, started_cpu_s = time.monotonic(), cpu_s(pid)
        times_ms, answers_ms = zip(*probe(api, load, thread), strict=True)
        cpu = (cpu_s(pid) - started_cpu_s) / (time.monotonic() - started_s)
        memory_mib = pss_mib(pid)
    p99 = percentile(times_ms, 99)
    print(f"{load.written / seconds:,.0f} lines/s for {seconds:g} s; {cpu:.0%} of a core, {memory_mib:.0f} MiB")
    print(
        f"{len(times_ms)} probes: visible after a median of {percentile(times_ms, 50):.0f} ms (the answer itself "
        f"{percentile(answers_ms, 50):.0f} ms), p99 {p99:.0f} ms, worst {max(times_ms):.0f} ms; "
        f"p99 {p99 / P99_MS_MAX:.2f} x the {P99_MS_MAX} ms allowed"
    )
    return 0 if p99 <= P99_MS_MAX else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=5000.0, help="lines a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cores", type=int, default=1, help="that the server may use")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tailtrace-tail-") as folder:
        return run(arguments.rate, arguments.seconds, arguments.cores, Path(folder))


if __name__ == "__main__":
    sys.exit(main())

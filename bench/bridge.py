"""`tailtrace bridge` under load, with either store: its memory, and whether it kept up.

    python bench/bridge.py --rate 200 --seconds 60

Each request is a line of the log and a span, of 40 people with two devices each, over 60 routes. With InfluxDB only
where it was built (`make influxdb`). Memory is PSS, looked at each second: the largest, and the last. The bridge reads,
joins, names (from a file) and stores; the CPU's share is of one core.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
from memory import pss_mib
from prometheus_client.parser import text_string_to_metric_families
from store import AGENTS, ENDPOINTS, IDENTITIES, STATUSES

ROOT = Path(__file__).parents[1]
INFLUXD = Path.home() / ".cache" / "tailtrace" / "influxdb" / "influxd"
TAILTRACE = str(Path(sys.executable).with_name("tailtrace"))
PSS_MIB_MAX = 64
START_S_MAX = 20.0
SETTLE_S_MAX = 30.0
TICK_S = 0.1


class Load:
    """Writes lines, and sends the app's spans of them, as many a second as asked; `ahead_ns` of the clock."""

    def __init__(self, log: Path, spans_url: str, rate: float, ahead_ns: int = 0) -> None:
        self.sent = 0
        self._dice = random.Random(7)
        self._log, self._rate, self._ahead_ns = log, rate, ahead_ns
        self._client = httpx.Client(base_url=spans_url)

    def run(self, until_s: float) -> None:
        """Go on to `until_s` of the monotonic clock."""
        last_s = time.monotonic()
        due = 0.0
        while last_s < until_s:
            time.sleep(TICK_S)
            now_s = time.monotonic()
            due += (now_s - last_s) * self._rate
            last_s, count = now_s, int(due)
            due -= count
            now_ns = time.time_ns() + self._ahead_ns
            self._give([self.request(now_ns) for _ in range(count)])

    def request(self, now_ns: int) -> tuple[dict[str, str], dict[str, object]]:
        """Return the line of a request that is over at this time, and its span."""
        dice = self._dice
        path, route = ENDPOINTS[min(int(dice.expovariate(0.1)), len(ENDPOINTS) - 1)]
        trace, parent, span = (
            f"{dice.getrandbits(128):032x}",
            f"{dice.getrandbits(64):016x}",
            f"{dice.getrandbits(64):016x}",
        )
        took_ns = int(dice.lognormvariate(15, 0.5))
        line = {
            "msec": f"{now_ns / 1e9:.3f}", "request_id": trace,
            "tailtrace_trace_id": trace, "tailtrace_span_id": parent,
            "remote_addr": dice.choice(IDENTITIES).address, "request_method": "GET", "request_uri": path,
            "server_protocol": "HTTP/1.1", "status": str(dice.choice(STATUSES)), "bytes_sent": "1234",
            "request_time": f"{took_ns / 1e9:.3f}", "upstream_addr": "127.0.0.1:8000", "upstream_status": "200",
            "upstream_response_time": f"{took_ns / 1e9:.3f}", "server_name": "bench", "http_referer": "",
            "http_user_agent": dice.choice(AGENTS),
        }  # fmt: skip
        sent = {
            "traceId": trace, "spanId": span, "parentSpanId": parent, "kind": 2, "name": f"GET {route}",
            "startTimeUnixNano": str(now_ns - took_ns), "endTimeUnixNano": str(now_ns),
            "attributes": [{"key": "http.route", "value": {"stringValue": route}}],
        }  # fmt: skip
        return line, sent

    def _give(self, requests: list[tuple[dict[str, str], dict[str, object]]]) -> None:
        with self._log.open("a") as log:
            log.write("".join(json.dumps(line, separators=(",", ":")) + "\n" for line, _ in requests))
        body = {"resourceSpans": [{"scopeSpans": [{"spans": [span for _, span in requests]}]}]}
        try:
            sent = self._client.post("/v1/traces", json=body)
        except httpx.TransportError:  # the connection stood idle while the machine was busy; exporters try again, too
            sent = self._client.post("/v1/traces", json=body)
        sent.raise_for_status()
        self.sent += len(requests)


@contextlib.contextmanager
def influxdb(servers: object, folder: Path) -> Iterator[dict[str, str]]:
    """Run an InfluxDB; give the settings that lead to it."""
    folder.mkdir()
    server = servers.InfluxDB(INFLUXD, folder)  # type: ignore[attr-defined]
    server.start()
    try:
        yield {
            "TAILTRACE_STORE": "influxdb",
            "INFLUXDB_V2_URL": server.url,
            "INFLUXDB_V2_ORG": server.org,
            "INFLUXDB_V2_BUCKET": server.bucket,
            "INFLUXDB_V2_TOKEN": server.token,
        }
    finally:
        server.kill()


@contextlib.contextmanager
def bridge(folder: Path, settings: Mapping[str, str], ports: list[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Run `tailtrace bridge`; its health listens on the first port, its receiver on the second."""
    environment = os.environ | dict(settings) | {
        "TAILTRACE_LOG": str(folder / "access.log"),
        "TAILTRACE_CHECKPOINT": str(folder / "checkpoint.json"),
        "TAILTRACE_IDENTITIES": str(folder / "identities.json"),
        "TAILTRACE_BRIDGE_LISTEN": f"127.0.0.1:{ports[0]}",
        "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{ports[1]}",
        "TAILSCALE_SOCKET": str(folder / "none.sock"),
    }  # fmt: skip
    with (folder / "bridge.txt").open("wb") as said:
        process = subprocess.Popen([TAILTRACE, "bridge"], env=environment, stdout=said, stderr=said)
    try:
        end_s = time.monotonic() + START_S_MAX
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{ports[0]}/ready").status_code == 200:
                    break
            if process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError(f"tailtrace bridge did not start: {(folder / 'bridge.txt').read_text()}")
            time.sleep(TICK_S)
        yield process
    finally:
        process.terminate()
        process.wait(START_S_MAX)


def metric(url: str, name: str, **labels: str) -> float:
    """Return a counter."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    samples = (one for family in families for one in family.samples)
    return sum(one.value for one in samples if one.name == name and one.labels == labels)


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(
    name: str, folder: Path, settings: Mapping[str, str], ports: list[int], rate: float, seconds: float
) -> bool:
    """Run one bridge under load, and print what it took. Gives whether it stored and joined all, within its memory."""
    (folder / "access.log").touch()
    people = {one.address: {"user": one.user, "device": one.device} for one in IDENTITIES}
    (folder / "identities.json").write_text(json.dumps(people))
    url = f"http://127.0.0.1:{ports[0]}"
    with bridge(folder, settings, ports) as process:
        load = Load(folder / "access.log", f"http://127.0.0.1:{ports[1]}", rate)
        idle_mib, seen_mib = pss_mib(process.pid), []
        started_s, started_cpu_s = time.monotonic(), cpu_s(process.pid)
        end_s = started_s + seconds
        while (now_s := time.monotonic()) < end_s:
            load.run(min(now_s + 1, end_s))
            seen_mib.append(pss_mib(process.pid))
        cpu = (cpu_s(process.pid) - started_cpu_s) / (time.monotonic() - started_s)
        settled_s = time.monotonic() + SETTLE_S_MAX
        while metric(url, "tailtrace_rows_stored_total") < load.sent and time.monotonic() < settled_s:
            time.sleep(TICK_S)
        stored = metric(url, "tailtrace_rows_stored_total")
        joined = metric(url, "tailtrace_join_total", result="matched")
    top_mib = max(seen_mib)
    print(f"{name:10}{load.sent / seconds:.0f} requests/s for {seconds:g} s: {stored:.0f} of {load.sent} stored,"
          f" {joined:.0f} joined; {cpu:.0%} of a core")  # fmt: skip
    print(f"{'':10}PSS idle {idle_mib:.1f} MiB, largest {top_mib:.1f}, at the end {seen_mib[-1]:.1f}:"
          f" {top_mib / PSS_MIB_MAX:.2f} x the {PSS_MIB_MAX} MiB allowed")  # fmt: skip
    return stored == load.sent and top_mib <= PSS_MIB_MAX


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--store", nargs="+", choices=("sqlite", "influxdb"), default=("sqlite", "influxdb"))
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.stack import servers  # noqa: PLC0415  # the tests' own servers

    is_fine = True
    with tempfile.TemporaryDirectory(prefix="tailtrace-bridge-") as name:
        for store in arguments.store:
            folder = Path(name, store)
            folder.mkdir()
            if store == "influxdb" and not INFLUXD.exists():
                print("influxdb  skipped: `make influxdb` builds it")
                continue
            with contextlib.ExitStack() as stack:
                settings = {"TAILTRACE_STORE": f"sqlite:{folder / 'bench.db'}"}
                if store == "influxdb":
                    settings = stack.enter_context(influxdb(servers, folder / "influxd"))
                ports = servers.free_ports(2)
                is_fine &= measure(store, folder, settings, ports, arguments.rate, arguments.seconds)
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())

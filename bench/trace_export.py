"""What exporting nginx's spans costs a live bridge: CPU a line, with and without, in turns of one run.

    python bench/trace_export.py --rate 1000 --seconds 10 --turns 3

Lines of our own format and the app's spans go to two bridges, one after another in each turn: one exports to a sink in
a process of its own, one does not. Both have SQLite. CPU is that of the bridge's process, all threads.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from store import IDENTITIES

from bridge import Load, bridge, cpu_s, metric
from tailtrace_bridge.core.records import ROOT_SPAN_ID
from tailtrace_bridge.logs.format import TAILTRACE_FIELDS, TAILTRACE_MARK

GOAL = 1.30
SINK = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"] or 0)); self.send_response(200)
        self.send_header("content-length", "0"); self.end_headers()
    do_GET = do_POST
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Sink).serve_forever()
"""


class OwnLoad(Load):
    """The same requests as lines of today's format, and spans in protobuf, as apps send them."""

    def _give(self, requests: list[tuple[dict[str, str], dict[str, object]]]) -> None:
        self._lines(requests)
        body = ExportTraceServiceRequest()
        body.resource_spans.add().scope_spans.add().spans.extend([_span(span) for _, span in requests])
        headers = {"content-type": "application/x-protobuf"}
        self._client.post("/v1/traces", content=body.SerializeToString(), headers=headers).raise_for_status()
        self.sent += len(requests)

    def _lines(self, requests: list[tuple[dict[str, str], dict[str, object]]]) -> None:
        with self._log.open("a") as log:
            for line, span in requests:
                span["parentSpanId"] = ROOT_SPAN_ID
                more = {"tailtrace_flags": "01", "remote_port": "50000", "scheme": "https",
                        "upstream_response_length": "1200", "upstream_http_content_length": "1200",
                        "upstream_connect_time": "0.000", "upstream_header_time": line["upstream_response_time"],
                        "request_length": "700", "body_bytes_sent": "1000", "http_host": "bench"}  # fmt: skip
                values = line | more
                log.write("\t".join([TAILTRACE_MARK, *(values.get(name, "") for name in TAILTRACE_FIELDS)]) + "\n")


def _span(said: dict[str, Any]) -> Span:
    route: str = said["attributes"][0]["value"]["stringValue"]
    made = Span(
        trace_id=bytes.fromhex(said["traceId"]),
        span_id=bytes.fromhex(said["spanId"]),
        parent_span_id=bytes.fromhex(said["parentSpanId"]),
        kind=said["kind"],
        name=said["name"],
        start_time_unix_nano=int(said["startTimeUnixNano"]),
        end_time_unix_nano=int(said["endTimeUnixNano"]),
    )
    made.attributes.add(key="http.route").value.string_value = route
    return made


def measure(folder: Path, ports: list[int], settings: dict[str, str], rate: float, seconds: float) -> tuple[float, str]:
    """Return µs of CPU a line, and what was stored and exported, at which rate."""
    folder.mkdir()
    (folder / "access.log").touch()
    people = "".join(f'["{one.address}"]\nuser = "{one.user}"\ndevice = "{one.device}"\n' for one in IDENTITIES)
    (folder / "identities.json").write_text("{}")
    (folder / "people.toml").write_text(people)
    url = f"http://127.0.0.1:{ports[0]}"
    given = {"TAILTRACE_STORE": f"sqlite:{folder / 'bench.db'}", **settings}
    with bridge(folder, given, ports) as process:
        load = OwnLoad(folder / "access.log", f"http://127.0.0.1:{ports[1]}", rate)
        load.run(time.monotonic() + 1)  # warm
        sent, used_s, began_s = load.sent, cpu_s(process.pid), time.monotonic()
        load.run(time.monotonic() + seconds)
        really = (load.sent - sent) / (time.monotonic() - began_s)
        while metric(url, "tailtrace_rows_stored_total") < load.sent:
            time.sleep(0.1)
        time.sleep(1.5)  # the last batch leaves
        used_s = cpu_s(process.pid) - used_s
        exported = metric(url, "tailtrace_span_export_total", result="exported")
    return used_s / (load.sent - sent) * 1e6, f"{load.sent} stored, {exported:.0f} spans exported, {really:.0f}/s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.stack import servers  # noqa: PLC0415  # the tests' own servers

    port, *ports = servers.free_ports(3)
    sink = subprocess.Popen([sys.executable, "-c", SINK, str(port)])
    took: dict[str, list[float]] = {"off": [], "on": []}
    try:
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        with tempfile.TemporaryDirectory(prefix="tailtrace-export-") as name:
            for turn in range(arguments.turns):
                for what, settings in (("off", {}), ("on", {"TAILTRACE_EXPORT_ENDPOINT": f"http://127.0.0.1:{port}"})):
                    us, said = measure(Path(name, f"{what}{turn}"), ports, settings, arguments.rate, arguments.seconds)
                    took[what].append(us)
                    print(f"export {what:4}{us:7.1f} µs of CPU a line; {said}")
    finally:
        sink.terminate()
    ratio = statistics.median(took["on"]) / statistics.median(took["off"])
    print(f"with export {ratio:.2f} x the CPU of a line without (goal {GOAL:.2f})")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())

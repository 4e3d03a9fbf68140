"""What kept traces take: memory of `serve` under load, bytes of a trace in the store, CPU of a waterfall of 500 spans.

    python bench/kept_traces.py --rate 200 --seconds 60

Lines of our own format, and for each request the app's spans as OpenTelemetry's instrumentations write them: the
request, two queries, a call of another service and that one's own; each 50th request fails with a stack. Memory is
PSS, at its highest.
"""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from memory import START_S_MAX, pss_mib
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pydantic import TypeAdapter
from trace_export import OwnLoad

from tailtrace_api.answers.traces import Trace
from tailtrace_api.queries.traces import Traces
from tailtrace_bridge.core.records import ROOT_SPAN_ID, Access, Identity, Row, Traffic, WholeSpan
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.traces.held import SPANS_MAX
from tailtrace_bridge.traces.pack import pack

PSS_MIB_MAX = 72
TRACE_BYTES_MAX = 2048
WATERFALL_S_MAX = 0.2
FAILS_EACH = 50
_STACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/shop/.venv/lib/python3.12/site-packages/starlette/layer{n}.py", line {40 + n}, in call{n}\n'
    f"    await self.app{n}(scope, receive, send)\n"
    for n in range(20)
) + '  File "/srv/shop/orders.py", line 40, in total\n    return prices[name]\nKeyError: bench'  # fmt: skip


def add(
    spans: list[Span], trace: bytes, number: int, parent: bytes, name: str,
    kind: "Span.SpanKind.ValueType", **attributes: str,
) -> Span:  # fmt: skip
    now_ns = time.time_ns()
    span = Span(
        trace_id=trace, span_id=trace[:7] + bytes([number]), parent_span_id=parent, name=name, kind=kind,
        start_time_unix_nano=now_ns - 30_000_000 + number * 1_000_000, end_time_unix_nano=now_ns,
    )  # fmt: skip
    for key, value in attributes.items():
        span.attributes.add(key=key.replace("__", ".")).value.string_value = value
    spans.append(span)
    return span


def spans_of(trace: bytes, route: str, number: int) -> list[Span]:
    """Return the app's spans of a request."""
    made: list[Span] = []
    http = {
        "http__request__method": "GET", "http__route": route, "url__scheme": "http", "url__path": route,
        "server__address": "bench", "client__address": "127.0.0.1", "user_agent__original": "bench/1.0",
    }  # fmt: skip
    app = add(made, trace, 1, bytes.fromhex(ROOT_SPAN_ID), f"GET {route}", Span.SPAN_KIND_SERVER, **http)
    sql = {"db__system__name": "postgresql", "db__namespace": "shop", "server__address": "db.internal"}
    for place, table in ((2, "orders"), (3, "prices")):
        text = f"SELECT id, name, amount, created_at FROM {table} WHERE id = %(id)s ORDER BY created_at DESC LIMIT 20"
        add(made, trace, place, app.span_id, f"SELECT {table}", Span.SPAN_KIND_CLIENT, db__query__text=text, **sql)
    url = "http://stock.internal/items/7"
    call = add(made, trace, 4, app.span_id, "GET", Span.SPAN_KIND_CLIENT, http__request__method="GET", url__full=url)
    add(made, trace, 5, call.span_id, "GET /items/{id}", Span.SPAN_KIND_SERVER, **http)
    if number % FAILS_EACH == 0:
        app.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR))
        event = app.events.add(name="exception", time_unix_nano=time.time_ns())
        event.attributes.add(key="exception.type").value.string_value = "KeyError"
        event.attributes.add(key="exception.stacktrace").value.string_value = _STACK
    return made


class WholeLoad(OwnLoad):
    """The same requests, each with a trace of five spans."""

    def _give(self, requests: list[tuple[dict[str, str], dict[str, object]]]) -> None:
        request = ExportTraceServiceRequest()
        of_app = request.resource_spans.add()
        for key, value in (("service.name", "shop"), ("service.version", "1.2")):
            of_app.resource.attributes.add(key=key).value.string_value = value
        scope = of_app.scope_spans.add()
        for place, (line, span) in enumerate(requests):
            route = str(span["name"]).removeprefix("GET ")
            line["status"] = "500" if (self.sent + place) % FAILS_EACH == 0 else "200"
            line["upstream_status"] = line["status"]
            scope.spans.extend(spans_of(bytes.fromhex(line["tailtrace_trace_id"]), route, self.sent + place))
        self._lines(requests)
        body, media = request.SerializeToString(), {"content-type": "application/x-protobuf"}
        self._client.post("/v1/traces", content=body, headers=media).raise_for_status()
        self.sent += len(requests)


def under_load(folder: Path, rate: float, seconds: float, turns: list[str]) -> dict[str, float]:
    """Return the highest PSS, of `serve` with traces and without."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.stack import servers  # noqa: PLC0415  # the tests' own servers

    highest: dict[str, float] = {}
    for what in turns:
        home = folder / what
        home.mkdir()
        (home / "access.log").touch()
        api, otlp = servers.free_ports(2)
        environment = os.environ | {
            "TAILTRACE_STORE": f"sqlite:{home / 't.db'}", "TAILTRACE_LOG": str(home / "access.log"),
            "TAILTRACE_CHECKPOINT": str(home / "checkpoint.json"), "TAILTRACE_LISTEN": f"127.0.0.1:{api}",
            "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{otlp}", "TAILTRACE_TRUST_LOOPBACK": "true",
        }  # fmt: skip
        with (home / "said.txt").open("w") as said:
            program = str(Path(sys.executable).with_name("tailtrace"))
            process = subprocess.Popen([program, "serve"], env=environment, stdout=said, stderr=said)
        try:
            wait_ready(f"http://127.0.0.1:{api}/ready")
            load = (WholeLoad if what == "on" else OwnLoad)(home / "access.log", f"http://127.0.0.1:{otlp}", rate)
            end_s, highest[what] = time.monotonic() + seconds, 0.0
            while time.monotonic() < end_s:
                load.run(min(end_s, time.monotonic() + 2))
                highest[what] = max(highest[what], pss_mib(process.pid))
        finally:
            process.terminate()
            process.wait(START_S_MAX)
        print(f"traces {what:8}{load.sent} requests, PSS at most {highest[what]:.1f} MiB")
    return highest


def wait_ready(url: str) -> None:
    for _ in range(START_S_MAX * 20):
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"tailtrace serve did not start within {START_S_MAX} s")


def waterfall_s(folder: Path) -> float:
    """Return the CPU of reading a trace of 500 spans from the store until it is JSON."""
    who, trace = Identity("100.64.0.7"), "ab" * 16
    access = Access(
        time.time_ns() // 1000, 1, who.address, "GET", "/", 500, 1000, 900, True, 1, "", trace, ROOT_SPAN_ID, "", ""
    )
    row = Row(access, who, "/", Traffic.APP, None, "")
    spans: list[Span] = []
    for number in range(SPANS_MAX):
        parent = spans[number // 3].span_id if spans else bytes.fromhex(ROOT_SPAN_ID)
        one = add(
            spans, bytes.fromhex(trace), number % 250, parent, f"work {number}", Span.SPAN_KIND_INTERNAL,
            note="bench", place=str(number),
        )  # fmt: skip
        one.span_id = number.to_bytes(8)
    sent = [WholeSpan(one.trace_id, one.SerializeToString(), "shop", "1.2") for one in spans]
    store = SqliteStore(folder / "waterfall.db")
    store.write([row])
    store.keep_traces([pack(row, "error", sent, service="nginx", has_messages=False)], 1 << 30)
    traces, adapter = Traces(store), TypeAdapter(Trace)
    took = []
    for _ in range(5):
        start_s = time.process_time()
        adapter.dump_json(traces.trace(trace))
        took.append(time.process_time() - start_s)
    store.close()
    return sorted(took)[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tailtrace-kept-") as name:
        folder = Path(name)
        highest = under_load(folder, arguments.rate, arguments.seconds, ["off", "on"])
        with sqlite3.connect(folder / "on" / "t.db") as store:
            query = "SELECT count(*), avg(length(data)), max(length(data)), avg(spans) FROM trace"
            kept, mean, most, spans = store.execute(query).fetchone()
        store.close()
        spent_s = waterfall_s(folder)
    print(f"with five spans a request {highest['on'] / PSS_MIB_MAX:.2f} x the {PSS_MIB_MAX} MiB allowed")
    print(f"kept            {kept} traces of {spans:.1f} spans, {mean:.0f} bytes each on average, {most} at most")
    print(f"a kept trace    {mean / TRACE_BYTES_MAX:.2f} x the {TRACE_BYTES_MAX} bytes allowed")
    print(f"{SPANS_MAX} spans       {spent_s * 1000:.0f} ms of CPU, {spent_s / WATERFALL_S_MAX:.2f} x what is allowed")
    return 0 if highest["on"] <= PSS_MIB_MAX and mean <= TRACE_BYTES_MAX and spent_s <= WATERFALL_S_MAX else 1


if __name__ == "__main__":
    sys.exit(main())

"""otel-collector.yaml under a real collector: what comes out at the bridge and at the raw spans' place, and what faults do.

The file runs as users get it. test_raw_spans.py has what InfluxDB holds in the end.
"""

import gzip
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import uvicorn
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from tailtrace_bridge.core.records import AppSpan
from tailtrace_bridge.spans.receiver import SpanQueue, make_receiver

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "otel-collector.yaml"
TOKEN = "token-of-influxdb"
WAIT_S_MAX = 10.0

collector_test = pytest.mark.collector


def wait_for(what: str, look: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not look():
        assert time.monotonic() < deadline, f"not within {WAIT_S_MAX:g} s: {what}"
        time.sleep(0.02)


SPANS_MAX = 100_000
NOW_NS = time.time_ns() // 1_000_000 * 1_000_000
"""What is older than the bucket keeps does not go there."""


class Sink:
    """Our OTLP receiver behind a real server, which remembers each request too. May stop, and start on the same port.

    To the exporter `influxdb` it is an InfluxDB that takes every write.
    """

    def __init__(self) -> None:
        self.spans = SpanQueue()
        self.bodies: list[bytes] = []
        self.writes: list[bytes] = []
        """Line protocol, as posted to `/api/v2/write`."""
        self.headers: list[dict[str, str]] = []
        self._arrived = SpanQueue()
        self._receiver = make_receiver(self._arrived.put)
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        config = uvicorn.Config(
            self._app, port=self._port, log_level="error", ws="none", lifespan="off", interface="asgi3"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_for("the receiver", lambda: self._server.started)
        self._port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body = bytearray()

        async def heard() -> Any:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        is_write = scope["path"] == "/api/v2/write"
        if is_write:
            while (await heard()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
        else:
            await self._receiver(scope, heard, send)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.headers.append(headers)
        unpacked = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else bytes(body)
        (self.writes if is_write else self.bodies).append(unpacked)
        # Last: a test waits for the spans, and then looks at the rest.
        self.spans.put(self._arrived.drain(SPANS_MAX))

    def trace_ids(self) -> list[str]:
        """Of the spans of any kind, as often as they came."""
        found = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        points = re.findall(rb"^spans,\S*\btrace_id=([0-9a-f]{32})", b"\n".join(self.writes), re.MULTILINE)
        return [span.trace_id.hex() for request in found for span in spans_of(request)] + [
            point.decode() for point in points
        ]

    def named(self, name: str) -> Span:
        """The one span of this name."""
        found = [
            span
            for body in self.bodies
            for span in spans_of(ExportTraceServiceRequest.FromString(body))
            if span.name == name
        ]
        assert len(found) == 1, (name, found)
        return found[0]


def spans_of(request: ExportTraceServiceRequest) -> list[Span]:
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def pairs(attributes: dict[str, str | list[str]]) -> list[KeyValue]:
    return [
        KeyValue(
            key=key,
            value=AnyValue(string_value=value)
            if isinstance(value, str)
            else AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=each) for each in value])),
        )
        for key, value in attributes.items()
    ]


def texts(attributes: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in attributes}


def span(number: int, attributes: dict[str, str | list[str]] | None = None, **more: Any) -> Span:
    fixed = {
        "trace_id": number.to_bytes(16),
        "span_id": number.to_bytes(8),
        "parent_span_id": (number + 1).to_bytes(8),
        "kind": Span.SPAN_KIND_SERVER,
        "start_time_unix_nano": NOW_NS,
        "end_time_unix_nano": NOW_NS + 5_000_000,
        "name": f"GET /{number}",
    }
    return Span(attributes=pairs(attributes or {}), **{**fixed, **more})


def request(*spans: Span, **resource: str) -> ExportTraceServiceRequest:
    whole = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    whole.resource.attributes.extend(pairs({"service.name": "shop", **resource}))
    return ExportTraceServiceRequest(resource_spans=[whole])


def send_http(collector: Any, message: ExportTraceServiceRequest) -> None:
    """Send and have it acknowledged: from here on the collector must not lose it."""
    answer = httpx.post(
        f"{collector.http}/v1/traces",
        content=message.SerializeToString(),
        headers={"content-type": "application/x-protobuf"},
    )
    assert answer.status_code == 200, answer.text


def send_grpc(collector: Any, message: ExportTraceServiceRequest) -> None:
    with grpc.insecure_channel(collector.grpc) as channel:
        TraceServiceStub(channel).Export(message, timeout=10)


def trace_id(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
def sinks() -> Iterator[tuple[Sink, Sink]]:
    """At the bridge's place, and at InfluxDB's."""
    bridge, raw = Sink(), Sink()
    yield bridge, raw
    bridge.stop()
    raw.stop()


@pytest.fixture
def start(collector: Any, tmp_path: Path) -> Callable[..., Any]:
    """Start a collector on otel-collector.yaml that sends to these two addresses."""

    def run(bridge: Sink, raw: Sink | None, **env: str) -> Any:
        token = tmp_path / "token"
        token.write_text(f"{TOKEN}\n", encoding="utf-8")
        ours = {
            "COLLECTOR_BRIDGE_URL": bridge.url,
            "INFLUXDB_V2_URL": raw.url if raw else "http://127.0.0.1:1",
            "INFLUXDB_V2_TOKEN_FILE": str(token),
        }
        return collector(CONFIG, env={**ours, **env})

    return run


@collector_test
@pytest.mark.parametrize("send", [send_http, send_grpc])
def test_spans_go_both_ways(start: Any, sinks: tuple[Sink, Sink], send: Any) -> None:
    bridge, raw = sinks
    running = start(bridge, raw)
    started = time.monotonic()
    send(
        running,
        request(
            span(1, {"http.route": "/items/{id}"}),
            span(2, kind=Span.SPAN_KIND_CLIENT),
            span(3, kind=Span.SPAN_KIND_INTERNAL),
        ),
    )
    wait_for("the span at the bridge", lambda: len(bridge.spans))
    assert time.monotonic() - started < 3.0, "the bridge holds a line back until its span comes"
    assert bridge.spans.drain(9) == [AppSpan(trace_id(1), f"{2:016x}", "/items/{id}", 5000, "", "shop")]
    assert sorted(bridge.trace_ids()) == [trace_id(1), trace_id(2), trace_id(3)], "it keeps whole traces"
    wait_for("all spans at the raw place", lambda: len(raw.trace_ids()) == 3)
    assert sorted(raw.trace_ids()) == [trace_id(1), trace_id(2), trace_id(3)]
    assert raw.headers[0]["authorization"] == f"Token {TOKEN}", "from the file, without its newline"


@collector_test
def test_what_is_taken_out(start: Any, sinks: tuple[Sink, Sink]) -> None:
    bridge, raw = sinks
    running = start(bridge, raw)
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLWhpZGRlbg"
    spans = [
        span(1, {"url.path": "/a", "url.query": "q=HIDDEN", "url.full": "http://x/a?q=HIDDEN#HIDDEN"}, name="new"),
        span(2, {"http.target": "/a?q=HIDDEN", "http.url": "http://u:HIDDEN@x/a?HIDDEN"}, name="old"),
        span(
            3,
            {
                "http.request.header.authorization": ["Bearer HIDDENHIDDEN"],
                "http.request.header.cookie": ["sid=HIDDEN"],
                "http.response.header.set_cookie": ["sid=HIDDEN"],
                "http.request.header.x-api-key": ["HIDDEN"],
                "http.request.header.accept": ["text/html"],
                "db.connection_string": "postgres://u:HIDDEN@db/shop",
                "app.password": "HIDDEN",
                "session.token": "HIDDEN",
                "note": "sent Bearer HIDDENHIDDEN",
                "jwt": jwt,
                "tailscale": "with tskey-auth-HIDDEN",
                "gen_ai.usage.input_tokens": "17",
            },
            name="headers",
        ),
        span(
            4,
            name="GET /a?q=HIDDEN",
            status=Status(code=Status.STATUS_CODE_ERROR, message="GET http://x/a?q=HIDDEN failed"),
            events=[
                Span.Event(
                    name="exception",
                    attributes=pairs(
                        {"exception.message": "GET http://u:HIDDEN@x/a?q=HIDDEN failed", "exception.type": "KeyError"}
                    ),
                )
            ],
        ),
    ]
    send_http(running, request(*spans, **{"process.command_line": "app --password HIDDEN"}))
    for sink in (bridge, raw):
        wait_for("the spans", lambda sink=sink: len(sink.trace_ids()) == 4)
        seen = b"".join(sink.bodies + sink.writes)
        assert b"HIDDEN" not in seen, re.findall(rb".{40}HIDDEN", seen)
        assert jwt.encode() not in seen
        if sink.writes:
            continue
        assert texts(sink.named("new").attributes) == {"url.path": "/a", "url.full": "http://x/a"}
        assert texts(sink.named("old").attributes) == {"http.target": "/a", "http.url": "http://x/a"}
        headers = sink.named("headers")
        assert texts(headers.attributes) == {
            "http.request.header.accept.0": "text/html",
            "db.connection_string": "postgres://db/shop",
            "app.password": "****",
            "session.token": "****",
            "note": "sent ****",
            "jwt": "****",
            "tailscale": "with ****",
            "gen_ai.usage.input_tokens": "17",
        }
        failed = sink.named("GET /a")
        assert failed.status.message == "GET http://x/a failed"
        assert texts(failed.events[0].attributes) == {
            "exception.message": "GET http://x/a failed",
            "exception.type": "KeyError",
        }


@collector_test
def test_health_checks_stay_out_unless_they_fail(start: Any, sinks: tuple[Sink, Sink]) -> None:
    bridge, raw = sinks
    running = start(bridge, raw)
    failed = Status(code=Status.STATUS_CODE_ERROR)
    spans = [
        span(1, {"url.path": "/healthz"}),
        span(2, {"url.path": "/ready/"}),
        span(3, {"http.target": "/health?deep=1"}),
        span(4, {"url.path": "/healthz"}, status=failed),
        span(5, {"url.path": "/health/records"}),
        span(6, {"url.path": "/items/healthz"}),
        span(7),
    ]
    send_http(running, request(*spans))
    for sink in (bridge, raw):
        wait_for("the spans", lambda sink=sink: len(sink.trace_ids()) >= 4)
        assert sorted(sink.trace_ids()) == [trace_id(number) for number in (4, 5, 6, 7)]
    assert running.metrics()["otelcol_processor_filter_spans_filtered"] == 6, "three on each way"


@collector_test
def test_health_paths_are_a_setting(start: Any, sinks: tuple[Sink, Sink]) -> None:
    bridge, raw = sinks
    running = start(bridge, raw, COLLECTOR_HEALTH_PATHS="/alive|/status/[a-z]+")
    paths = ["/alive", "/status/db", "/healthz"]
    send_http(running, request(*(span(number, {"url.path": path}) for number, path in enumerate(paths, 1))))
    wait_for("the span", lambda: len(bridge.spans))
    assert bridge.trace_ids() == [trace_id(3)]


@collector_test
def test_receivers_down_for_a_while_lose_nothing(start: Any, sinks: tuple[Sink, Sink]) -> None:
    bridge, raw = sinks
    running = start(bridge, raw)
    bridge.stop()
    raw.stop()
    for batch in range(25):
        send_http(running, request(*(span(batch * 10 + number) for number in range(1, 11))))
        time.sleep(0.2)
    assert running.metrics()["otelcol_exporter_queue_size"] > 0
    assert bridge.trace_ids() == raw.trace_ids() == []
    bridge.start()
    raw.start()
    expected = [trace_id(number) for number in range(1, 251)]
    for sink in (bridge, raw):
        wait_for("all spans", lambda sink=sink: len(sink.trace_ids()) >= 250)
        assert sorted(sink.trace_ids()) == expected, "each once"
    metrics = running.metrics()
    assert metrics["otelcol_exporter_sent_spans"] == 500
    assert metrics["otelcol_exporter_send_failed_spans"] == 0


@collector_test
def test_a_crash_loses_nothing_that_was_accepted(start: Any, sinks: tuple[Sink, Sink]) -> None:
    bridge, raw = sinks
    running = start(bridge, raw)
    bridge.stop()
    raw.stop()
    for number in range(1, 101):
        send_http(running, request(span(number)))
    running.kill()  # At once: the last spans have waited for no batch.
    bridge.start()
    raw.start()
    running.start()
    expected = {trace_id(number) for number in range(1, 101)}
    for sink in (bridge, raw):
        wait_for("all spans", lambda sink=sink: set(sink.trace_ids()) >= expected)


@collector_test
def test_what_is_refused_for_good_is_counted(start: Any, sinks: tuple[Sink, Sink]) -> None:
    bridge, _ = sinks
    running = start(bridge, None, COLLECTOR_BRIDGE_URL=f"{bridge.url}/nothing-here")
    send_http(running, request(span(1), span(2)))
    wait_for("the count", lambda: running.metrics()["otelcol_exporter_send_failed_spans"] == 2)
    assert '"level":"error"' in running.log
    assert "HTTP Status Code 404" in running.log


@collector_test
def test_a_full_queue_is_an_error_for_the_app_and_counted(start: Any, sinks: tuple[Sink, Sink]) -> None:
    bridge, raw = sinks
    bridge.stop()
    running = start(bridge, raw, COLLECTOR_QUEUE_BYTES="600000")
    message = request(*(span(number) for number in range(1, 2001))).SerializeToString()
    kind = {"content-type": "application/x-protobuf"}
    answers = [httpx.post(f"{running.http}/v1/traces", content=message, headers=kind).status_code for _ in range(20)]
    assert answers[0] == 200
    assert 503 in answers, "an OTLP sender tries a 503 again"
    refused = answers.count(503) * 2000
    metrics = running.metrics()
    assert metrics["otelcol_exporter_enqueue_failed_spans"] >= refused
    assert metrics["otelcol_receiver_refused_spans"] == refused
    assert metrics["otelcol_exporter_queue_capacity"] == 2 * 600_000
    bridge.start()


@collector_test
def test_without_a_token_it_does_not_start(start: Any, sinks: tuple[Sink, Sink]) -> None:
    bridge, raw = sinks
    with pytest.raises(AssertionError, match="token"):
        start(bridge, raw, INFLUXDB_V2_TOKEN_FILE="")


@collector_test
@pytest.mark.parametrize("written", ["\n", None])
def test_it_waits_for_a_token_that_is_not_there_yet(
    start: Any, sinks: tuple[Sink, Sink], tmp_path: Path, written: str | None
) -> None:
    late = tmp_path / "late"
    if written:
        late.write_text(written, encoding="utf-8")
    with pytest.raises(AssertionError, match="failed to read credentials file"):
        start(*sinks, INFLUXDB_V2_TOKEN_FILE=str(late), COLLECTOR_WAIT_FOR_TOKEN_FILE="true")
    late.write_text(TOKEN, encoding="utf-8")
    send_http(start(*sinks, INFLUXDB_V2_TOKEN_FILE=str(late), COLLECTOR_WAIT_FOR_TOKEN_FILE="true"), request(span(1)))
    wait_for("the span", sinks[1].trace_ids)


@collector_test
def test_a_token_that_is_moved_into_place_is_read_again(start: Any, sinks: tuple[Sink, Sink], tmp_path: Path) -> None:
    running, numbers = start(*sinks), itertools.count(1)
    (tmp_path / "new").write_text("another", encoding="utf-8")
    (tmp_path / "new").replace(tmp_path / "token")

    def is_used() -> bool:
        send_http(running, request(span(next(numbers))))
        return any(headers["authorization"] == "Token another" for headers in sinks[1].headers)

    wait_for("the new token", is_used)


@collector_test
def test_metrics_and_logs_are_taken_and_dropped(start: Any, sinks: tuple[Sink, Sink]) -> None:
    running = start(*sinks)
    in_json = {"content-type": "application/json"}
    assert httpx.post(f"{running.http}/v1/metrics", content="{}", headers=in_json).status_code == 200
    assert httpx.post(f"{running.http}/v1/logs", content="{}", headers=in_json).status_code == 200


# What the exporter `influxdb` knows, with everything that it takes from confighttp and exporterhelper and we use. From
# https://github.com/open-telemetry/opentelemetry-collector-contrib/blob/main/exporter/influxdbexporter/config.schema.yaml
# and its README, for the retries' name.
INFLUXDB_KEYS = {
    "endpoint": str, "timeout": str, "compression": str, "headers": dict, "auth": dict, "tls": dict,
    "org": str, "bucket": str, "token": str, "v1_compatibility": dict,
    "span_dimensions": list, "log_record_dimensions": list, "metrics_schema": str, "precision": str,
    "payload_max_lines": int, "payload_max_bytes": int,
    "sending_queue": dict, "retry_on_failure": dict,
}  # fmt: skip
QUEUE_KEYS = {"enabled", "storage", "sizer", "queue_size", "block_on_overflow", "num_consumers", "batch"}
BATCH_KEYS = {"sizer", "flush_timeout", "min_size", "max_size"}
RETRY_KEYS = {"enabled", "initial_interval", "max_interval", "max_elapsed_time", "multiplier", "randomization_factor"}


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    """otel-collector.yaml as it stands: what must hold without a collector."""
    loaded: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    return loaded


def test_influxdb_block_is_as_documented(config: dict[str, Any]) -> None:
    block = config["exporters"]["influxdb"]
    assert {key: type(value) for key, value in block.items()} == {key: INFLUXDB_KEYS.get(key) for key in block}
    assert block["bucket"] == "${env:COLLECTOR_TRACES_BUCKET:-traces}"
    assert block["span_dimensions"] == []
    assert block["auth"]["authenticator"] in config["service"]["extensions"]
    for exporter in (block, config["exporters"]["otlp_http/bridge"]):
        assert exporter["sending_queue"].keys() <= QUEUE_KEYS
        assert exporter["sending_queue"]["storage"] in config["service"]["extensions"]
        assert exporter["sending_queue"]["batch"].keys() <= BATCH_KEYS
        assert exporter["retry_on_failure"].keys() <= RETRY_KEYS
        assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s", "only the queue's size may lose a span"


def test_every_pipeline_of_spans_is_bounded_and_clean(config: dict[str, Any]) -> None:
    assert config["processors"]["memory_limiter"]["limit_mib"] == "${env:COLLECTOR_MEMORY_MIB:-256}"
    pipelines = {name: each for name, each in config["service"]["pipelines"].items() if name.startswith("traces/")}
    assert pipelines.keys() == {"traces/influxdb", "traces/bridge"}
    made_fit = ["transform/influxdb", "filter/influxdb"]
    assert pipelines["traces/influxdb"]["processors"][-2:] == made_fit
    for each in pipelines.values():
        assert each["processors"][0] == "memory_limiter"
        order = [name for name in each["processors"] if name not in {"filter/nginx", "filter/share", *made_fit}]
        assert order == ["memory_limiter", "transform/queries", "filter/health", "redaction/secrets"]
    assert not any(name.startswith("batch") for name in config["processors"]), "its memory is lost in a crash"


def test_every_variable_is_in_the_table_with_its_default() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    head, _, body = text.partition("\nextensions:")
    used = dict(re.findall(r"\$\{env:(\w+):-([^}]*)\}", body))
    assert len(re.findall(r"\$\{", body)) == len(re.findall(r"\$\{env:\w+:-", body)), "a variable without a default"
    rows = [line for line in head.splitlines() if re.match(r"# \| (INFLUXDB|COLLECTOR)_", line)]
    told = {name for row in rows for name in re.findall(r"\b(?:INFLUXDB|COLLECTOR)_\w+", row.split("|")[1])}
    assert told == used.keys()
    for name, default in used.items():
        if "|" not in default:
            (row,) = [row for row in rows if re.search(rf"\b{name}\b", row.split("|")[1])]
            assert default in row.split("|")[2], (name, default)

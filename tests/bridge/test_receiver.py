"""The receiver behind a real server on loopback, fed by httpx and by OpenTelemetry's own exporter."""

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tailtrace_bridge.core.records import AppSpan
from tailtrace_bridge.spans import receiver as receiver_module
from tailtrace_bridge.spans.receiver import ReceiverCounters, SpanQueue, make_receiver

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def request_of(spans: int, trace_id: str = TRACE) -> bytes:
    span = {
        "traceId": trace_id,
        "spanId": "00f067aa0ba902b7",
        "parentSpanId": PARENT,
        "kind": 2,
        "startTimeUnixNano": "1760000000000000000",
        "endTimeUnixNano": "1760000000005000000",
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span] * spans}]}]}).encode()


SPAN = AppSpan(TRACE, PARENT, "", 5000, "", "")
IN_JSON = {"content-type": "application/json"}
IN_PROTOBUF = {"content-type": "application/x-protobuf"}


class Running:
    def __init__(self) -> None:
        self.queue = SpanQueue(limit=3)
        self.counters = ReceiverCounters()
        app = make_receiver(self.queue.put, self.counters)
        config = uvicorn.Config(app, port=0, log_level="critical", ws="none", lifespan="on")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        until = time.monotonic() + 5
        while not self.server.started and time.monotonic() < until:
            time.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=5)

    def stop(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join(5)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    running = Running()
    yield running
    running.stop()


@pytest.fixture
def running(server) -> Running:
    server.queue.drain(1_000_000)
    fresh = ReceiverCounters()
    for name in ReceiverCounters.__slots__:
        setattr(server.counters, name, getattr(fresh, name))
    return server


def test_the_real_exporter_delivers_a_span_of_a_request_that_nginx_traced(running):
    for compression in (Compression.NoCompression, Compression.Gzip):
        exporter = OTLPSpanExporter(f"{running.url}/v1/traces", compression=compression)
        provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        context = TraceContextTextMapPropagator().extract({"traceparent": f"00-{TRACE}-{PARENT}-01"})
        span = provider.get_tracer("t").start_span("GET", context, SpanKind.SERVER, start_time=1_000_000)
        span.set_attribute("http.route", "/items/{id}")
        span.end(4_000_000)
        provider.shutdown()
        assert running.queue.drain(10) == [AppSpan(TRACE, PARENT, "/items/{id}", 3000, "", "shop")]
    assert (running.counters.requests, running.counters.spans) == (2, 2)


def test_json_in_json_out(running):
    answer = running.client.post("/v1/traces", content=request_of(2), headers=IN_JSON)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "application/json", b"{}")
    assert running.queue.drain(10) == [SPAN, SPAN]


def test_a_request_without_spans_needs_no_room():
    sent, _ = ask(iter([{"type": "http.request", "body": b"{}"}]), app=make_receiver(lambda _: False))
    assert sent[0]["status"] == 200


def test_gzip(running):
    headers = {**IN_JSON, "content-encoding": "gzip"}
    assert running.client.post("/v1/traces", content=gzip.compress(request_of(1)), headers=headers).status_code == 200
    assert running.queue.drain(10) == [SPAN]


def test_partial_success(running):
    answer = running.client.post("/v1/traces", content=request_of(1, trace_id="00" * 16), headers=IN_JSON)
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"
    assert running.counters.spans_rejected == {"bad-id": 1}


def test_a_full_queue_takes_all_or_nothing_and_says_when_to_come_again(running):
    assert running.client.post("/v1/traces", content=request_of(2), headers=IN_JSON).status_code == 200
    full = running.client.post("/v1/traces", content=request_of(2), headers=IN_JSON)
    assert (full.status_code, full.headers["retry-after"]) == (503, "1")
    assert "queue is full" in full.json()["message"]
    assert (running.counters.spans, running.counters.refused) == (2, {503: 1})
    assert len(running.queue.drain(10)) == 2
    assert running.client.post("/v1/traces", content=request_of(2), headers=IN_JSON).status_code == 200


@pytest.mark.parametrize("signal", ["metrics", "logs"])
def test_other_signals_are_taken_and_thrown_away_and_that_is_said_once(running, signal, caplog):
    caplog.set_level("INFO", "tailtrace_bridge")
    for _ in range(2):
        answer = running.client.post(f"/v1/{signal}", content=b"\x0a\x00", headers=IN_PROTOBUF)
        assert (answer.status_code, answer.content) == (200, b"")
    assert running.counters.discarded[signal] == 2
    said = [record.getMessage() for record in caplog.records if record.name.startswith("tailtrace_bridge")]
    assert len(said) == 1
    assert f"OTEL_{signal.upper()}_EXPORTER=none" in said[0]


ERRORS = [
    ("POST", "/v1/traces", IN_PROTOBUF, b"\xff\xff", 400),
    ("POST", "/v1/traces", IN_JSON, b"{", 400),
    ("POST", "/v1/traces", {**IN_JSON, "content-encoding": "gzip"}, b"{}", 400),
    ("POST", "/v1/traces", {**IN_JSON, "content-encoding": "br"}, b"{}", 415),
    ("POST", "/v1/traces", {"content-type": "text/plain"}, b"x", 415),
    ("POST", "/v1/metrics", {"content-type": "text/plain"}, b"x", 415),
    ("POST", "/v1/traces", {}, b"x", 415),
    ("POST", "/v1/traces", IN_JSON, bytes(4 * 1024 * 1024 + 1), 413),
    ("POST", "/v1/logs", IN_JSON, bytes(4 * 1024 * 1024 + 1), 413),
    ("POST", "/v1/traces", {**IN_JSON, "content-encoding": "gzip"}, gzip.compress(bytes(17 * 1024 * 1024)), 413),
    ("GET", "/v1/traces", IN_JSON, b"", 405),
    ("OPTIONS", "/v1/traces", {}, b"", 405),
    ("POST", "/v1/other", IN_JSON, b"{}", 404),
    ("POST", "/", IN_JSON, b"{}", 404),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "status"), ERRORS, ids=range(len(ERRORS)))
def test_errors_are_a_status_in_the_encoding_of_the_request(running, method, path, headers, body, status):
    answer = running.client.request(method, path, content=body, headers=headers)
    assert answer.status_code == status
    if headers.get("content-type") == "application/json":
        message = answer.json()["message"]
    else:
        assert answer.headers["content-type"] == "application/x-protobuf"
        message = Status.FromString(answer.content).message
    assert message
    assert "access-control-allow-origin" not in answer.headers
    assert running.counters.refused == {status: 1}
    assert len(running.queue) == 0


def test_an_empty_protobuf_request_succeeds(running):
    answer = running.client.post("/v1/traces", content=b"", headers=IN_PROTOBUF)
    assert answer.status_code == 200
    assert ExportTraceServiceResponse.FromString(answer.content) == ExportTraceServiceResponse()


def ask(chunks, *, app=None, path="/v1/traces", root_path="") -> tuple[list[dict], int]:
    """Return a request to the app without a server: its answer, and how many chunks it read."""
    sent: list[dict] = []
    read = 0

    async def receive() -> dict:
        nonlocal read
        read += 1
        chunk = next(chunks, None)
        if chunk is None:
            await asyncio.sleep(60)
        return chunk

    async def send(message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "root_path": root_path, "headers": headers}
    asyncio.run((app or make_receiver(SpanQueue().put))(scope, receive, send))
    return sent, read


def test_an_endless_body_is_given_up_within_its_bound():
    def endless():
        while True:
            yield {"type": "http.request", "body": bytes(1024 * 1024), "more_body": True}

    sent, read = ask(endless())
    assert (sent[0]["status"], read) == (413, 17)  # 16 MiB, and the chunk that passes them


def test_a_body_that_never_ends_times_out(monkeypatch):
    monkeypatch.setattr(receiver_module, "BODY_TIMEOUT_S", 0.05)
    sent, _ = ask(iter([{"type": "http.request", "body": b"{", "more_body": True}]))
    assert sent[0]["status"] == 408


def test_a_sender_that_leaves_gets_no_answer():
    counters = ReceiverCounters()
    app = make_receiver(SpanQueue().put, counters)
    sent, _ = ask(
        iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]), app=app
    )
    assert (sent, counters.disconnected, counters.refused) == ([], 1, {})


def test_mounted_under_a_path():
    body = iter([{"type": "http.request", "body": b"{}"}])
    sent, _ = ask(body, path="/otlp/v1/traces", root_path="/otlp")
    assert sent[0]["status"] == 200


def test_too_many_bodies_at_once(monkeypatch):
    monkeypatch.setattr(receiver_module, "BODIES_MAX", 0)
    sent, read = ask(iter([]))
    assert (sent[0]["status"], read) == (429, 0)
    assert (b"retry-after", b"1") in sent[0]["headers"]


def test_the_queue():
    queue = SpanQueue(limit=3)
    spans = [AppSpan(TRACE, PARENT, f"/{i}", 1, "", "") for i in range(5)]
    assert queue.put(spans[:2])
    assert not queue.put(spans[2:4])
    assert queue.put(spans[2:3])
    assert queue.drain(2) == spans[:2]
    assert queue.drain(2) == spans[2:3]
    assert queue.drain(2) == []
    assert queue.put(spans)  # longer than the limit, but it could never come in otherwise
    assert not queue.put(spans[:1])
    assert queue.drain(10) == spans


def test_the_queue_between_threads_loses_and_doubles_nothing():
    queue = SpanQueue(limit=50)
    sent = [AppSpan(TRACE, PARENT, f"/{i}", 1, "", "") for i in range(3000)]

    def feed() -> None:
        for i in range(0, len(sent), 10):
            while not queue.put(sent[i : i + 10]):
                time.sleep(0.0001)

    thread = threading.Thread(target=feed)
    thread.start()
    got: list[AppSpan] = []
    until = time.monotonic() + 10
    while len(got) < len(sent) and time.monotonic() < until:
        assert len(queue) <= 50
        got += queue.drain(7)
    thread.join(5)
    assert got == sent


def test_a_body_that_takes_long_to_read_holds_up_nobody(monkeypatch):
    """A packed body of a million empty parts, of a kilobyte; a span that comes behind it is taken before."""
    packed = gzip.compress(b"\x0a\x02\x12\x00" * 100_000)
    receiver, answered = make_receiver(SpanQueue().put), []

    async def post(name, body, **headers):
        transport = httpx.ASGITransport(receiver, client=("127.0.0.1", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            answer = await client.post("/v1/traces", content=body, headers=headers)
        answered.append((name, answer.status_code))

    async def talk(*posts):
        async with asyncio.TaskGroup() as group:
            for one in posts:
                group.create_task(one)
                await asyncio.sleep(0.02)

    asyncio.run(
        talk(
            post("large", packed, **IN_PROTOBUF, **{"content-encoding": "gzip"}), post("span", request_of(1), **IN_JSON)
        )
    )
    assert answered == [("span", 200), ("large", 200)]
    monkeypatch.setattr(receiver_module, "READING_BYTES_MAX", len(packed))
    answered.clear()
    packed_header = {**IN_PROTOBUF, "content-encoding": "gzip"}
    asyncio.run(talk(post("first", packed, **packed_header), post("second", packed, **packed_header)))
    assert answered == [("second", 429), ("first", 200)], "what waits to be read is bounded"

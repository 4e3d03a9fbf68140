"""The exporter against a real HTTP server that answers what a test tells it."""

import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.export import exporter as module
from tailtrace_bridge.export.choice import KNOWN_MIN, Choice
from tailtrace_bridge.export.exporter import SpanExporter
from tailtrace_bridge.export.nginx_span import Disclosure, decoded, resource
from tailtrace_bridge.export.transport import Transport, headers_of, traces_url
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.wiring.export import make_exporter

WHO = resource("nginx", "b", "h", "1")


def row(number: int, status: int = 200, duration_us: int = 1000, *, sampled: bool = True) -> Row:
    access = Access(
        1_764_000_000_000_000 + number, number, "192.0.2.7", "GET", "/a", status, duration_us, None, True, 5, "",
        f"{number + 1:032x}", f"{number + 1:016x}", "", "", sampled=sampled,
    )  # fmt: skip
    return Row(access, Identity("192.0.2.7", "external"), "/a", Traffic.APP, None, "")


class Endpoint:
    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                endpoint.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status, headers, said = endpoint.answers.pop(0) if endpoint.answers else (200, {}, b"")
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(said))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self) -> list[str]:
        return [span.span_id.hex() for _, body in self.got for span in decoded(gzip.decompress(body))]


@pytest.fixture
def endpoint():
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def make(endpoint, monkeypatch):
    monkeypatch.setattr(module, "INTERVAL_S", 0.02)
    monkeypatch.setattr(module, "BACKOFF_S", 0.02)
    made = []

    def make_one(url: str | None = None) -> SpanExporter:
        transport = Transport(traces_url(url or endpoint.url), {"authorization": "Bearer x"})
        one = SpanExporter(transport, WHO, Disclosure(), monotonic_s=time.monotonic, jitter=lambda: 0.5)
        made.append(one)
        return one

    yield make_one
    for one in made:
        one.stop()


def wait_for(condition) -> None:
    end_s = time.monotonic() + 10
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.01)
    assert condition()


def test_rows_come_as_spans_with_the_headers(endpoint, make):
    one = make()
    one.start()
    one.offer([row(1), row(2)])
    wait_for(lambda: one.counters.exported == 2)
    headers, _ = endpoint.got[0]
    assert (headers["authorization"], headers["content-type"], headers["content-encoding"]) == (
        "Bearer x", "application/x-protobuf", "gzip",
    )  # fmt: skip
    assert endpoint.spans() == [f"{2:016x}", f"{3:016x}"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_endpoint_gets_them_again(endpoint, make, status):
    endpoint.answers = [(status, {"retry-after": "0"}, b""), (status, {}, b"")]
    one = make()
    one.start()
    one.offer([row(1)])
    wait_for(lambda: one.counters.exported == 1)
    assert (one.counters.retries, one.counters.failed, one.problem) == (2, 0, "")
    assert len(set(endpoint.spans())) == 1


def test_a_wrong_token_loses_them_and_says_so(endpoint, make):
    endpoint.answers = [(401, {}, b"")]
    one = make()
    one.start()
    one.offer([row(1)])
    wait_for(lambda: one.counters.failed == 1)
    assert "it answered 401" in one.problem
    one.offer([row(2)])
    wait_for(lambda: one.counters.exported == 1)
    assert one.problem == ""


def test_what_the_endpoint_leaves_out_is_counted(endpoint, make):
    partial = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=1))
    endpoint.answers = [(200, {}, partial.SerializeToString())]
    one = make()
    one.offer([row(1), row(2)])
    one.start()
    wait_for(lambda: one.counters.rejected == 1)
    assert one.counters.exported == 1
    assert one.problem == "the endpoint left out 1 of 2 spans"


def test_nobody_there_and_a_full_queue(make, monkeypatch):
    monkeypatch.setattr(module, "QUEUE_ROWS_MAX", 3)
    monkeypatch.setattr(module, "STOP_S_MAX", 0.2)
    one = make("http://127.0.0.1:9")
    begin_s = time.monotonic()
    one.offer([row(number) for number in range(5)])
    assert time.monotonic() - begin_s < 2, "a row never waits for the export"
    assert one.counters.dropped == 2
    one.start()
    wait_for(lambda: one.counters.retries > 0)
    assert "127.0.0.1:9" in one.problem
    begin_s = time.monotonic()
    one.stop()
    assert time.monotonic() - begin_s < 5
    assert one.counters.failed + one.counters.dropped == 5


def test_the_end_sends_what_waits(endpoint, make):
    one = make()
    one.offer([row(number) for number in range(1200)])
    one.start()
    one.stop()
    assert one.counters.exported == 1200
    assert len(endpoint.got) == 3, "in batches"


def test_the_flag_decides_but_errors_and_slow_ones_go_always():
    choice = Choice()
    assert choice.is_wanted(row(1))
    assert not choice.is_wanted(row(1, sampled=False))
    assert choice.is_wanted(row(1, 500, sampled=False))
    for number in range(KNOWN_MIN):
        assert not choice.is_wanted(row(number, duration_us=1000 + number % 10, sampled=False))
    assert choice.is_wanted(row(1, duration_us=90_000, sampled=False))
    assert not choice.is_wanted(row(1, 499, duration_us=90_000, sampled=False)), "a client that left is not slow"
    assert not choice.is_wanted(row(1, 101, duration_us=90_000_000, sampled=False)), "nor is a websocket"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://a:4318", "http://a:4318/v1/traces"),
        ("https://a/otlp/", "https://a/otlp/v1/traces"),
        ("https://a/v1/traces", "https://a/v1/traces"),
    ],
)
def test_where_traces_go(given, url):
    assert traces_url(given) == url


@pytest.mark.parametrize(
    "given", ["a:4318", "ftp://a", "http://", "http://a:99999", "http://a/?x=1", "http://[::1", "http://a b"]
)
def test_what_is_no_endpoint(given):
    with pytest.raises(SettingsError, match="TAILTRACE_EXPORT_ENDPOINT"):
        traces_url(given)


def test_headers():
    assert headers_of("Authorization=Basic%20abc, x-scope=1\n") == {"authorization": "Basic abc", "x-scope": "1"}
    for wrong in ("secret-token", "é=secret-token", "a=%C3%A9secret-token", "a=secret-token%0D%0AX: 1"):
        with pytest.raises(SettingsError) as caught:
            headers_of(wrong)
        assert "secret-token" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:4318", "http://localhost:4318/v1/traces", "http://[::1]:4318"])
def test_a_loop_is_refused_at_the_start(own_folder, endpoint):
    with pytest.raises(SettingsError, match="its spans would come back"):
        make_exporter(Settings(export_endpoint=endpoint))
    make_exporter(Settings(export_endpoint="http://127.0.0.1:4319"))


def test_pseudonyms_need_their_key(own_folder):
    with pytest.raises(SettingsError, match="TAILTRACE_EXPORT_IDENTITY=pseudonyms needs a secret"):
        make_exporter(Settings(export_endpoint="http://127.0.0.1:4319", export_identity="pseudonyms"))

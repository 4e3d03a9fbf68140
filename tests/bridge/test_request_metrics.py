"""The request metrics: as counted, and as a real HTTP server gets them by OTLP."""

import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tailtrace_bridge.core.records import OTHER, Access, Identity, Row, Traffic
from tailtrace_bridge.export import request_durations
from tailtrace_bridge.export.request_durations import BOUNDS_S, RequestDurations
from tailtrace_bridge.export.transport import metrics_url, traces_url
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.wiring.export import make_request_metrics


def row(
    duration_us: int | None = 60_000,
    *,
    status: int = 200,
    route: str = "/items/{id}",
    error: str = "",
    exchange: str = "",
    traffic: Traffic = Traffic.APP,
) -> Row:
    access = Access(
        1_764_000_000_000_000, 1, "100.64.0.7", "GET", "/items/7", status, duration_us, None, True, 5, "shop", "", "",
        "", "", exchange=exchange,
    )  # fmt: skip
    return Row(access, Identity("100.64.0.7", "user", "ana@example.com"), route, traffic, None, error)


def test_a_series_is_route_method_and_status_and_never_a_person():
    durations = RequestDurations()
    of_https = "\t10.0.0.1:80\t0.06\t200\t\t\t\t\tHTTP/1.1\thttps\t10\t20\tshop"
    durations.offer([row(exchange=of_https), row(5_000, exchange=of_https), row(10_000_001, exchange=of_https)])
    durations.offer([row(status=503), row(status=500, error="KeyError"), row(status=404, route=OTHER), row(status=499)])
    durations.offer([row(None), row(route="card", traffic=Traffic.CARD)])
    first, *others = durations.series()
    assert first.attributes == {
        "http.request.method": "GET",
        "http.route": "/items/{id}",
        "http.response.status_code": 200,
        "url.scheme": "https",
        "server.address": "shop",
    }
    assert (first.counts, first.sum_s) == ((1, 0, 0, 0, 1, *[0] * 9, 1), 10.065001)
    same = {"http.request.method": "GET", "http.route": "/items/{id}", "server.address": "shop"}
    assert [one.attributes for one in others] == [
        same | {"http.response.status_code": 503, "error.type": "503"},
        same | {"http.response.status_code": 500, "error.type": "KeyError"},
        {"http.request.method": "GET", "server.address": "shop", "http.response.status_code": 404},
        same | {"http.response.status_code": 499},
    ]
    assert "ana" not in repr(durations.series())


@pytest.mark.parametrize("bound", range(len(BOUNDS_S)))
def test_a_bound_is_in_its_bucket(bound):
    durations = RequestDurations()
    durations.offer([row(round(BOUNDS_S[bound] * 1_000_000)), row(round(BOUNDS_S[bound] * 1_000_000) + 1)])
    counts = durations.series()[0].counts
    assert counts[bound : bound + 2] == (1, 1)
    assert sum(counts) == 2


def test_what_is_over_the_limit_is_counted_together(monkeypatch):
    monkeypatch.setattr(request_durations, "SERIES_MAX", 3)
    durations = RequestDurations()
    durations.offer([row(route=f"/{number}") for number in range(5)] * 2)
    *_, last = durations.series()
    assert len(durations.series()) == 4
    assert (last.attributes, sum(last.counts)) == ({"otel.metric.overflow": True}, 4)
    assert sum(sum(one.counts) for one in durations.series()) == 10


class Endpoint(ThreadingHTTPServer):
    """Keeps what it gets, and answers `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.got = 200, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
        self.server.got.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch):
    # Loopback goes direct, whatever the environment says.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Endpoint() as server:
        yield server
        server.shutdown()


def test_an_otlp_endpoint_gets_the_histogram(endpoint):
    durations = RequestDurations()
    url = f"http://127.0.0.1:{endpoint.server_port}"
    settings = Settings(export_endpoint=url, export_headers="authorization=Bearer%20x", export_metrics_s=3600)
    metrics = make_request_metrics(settings, durations)
    metrics.start()
    durations.offer([row(), row(7_000), row(status=500)])
    metrics.stop()  # Sends what there is.
    [(path, headers, body)] = endpoint.got
    assert (path, headers["authorization"]) == ("/v1/metrics", "Bearer x")
    [of_resource] = ExportMetricsServiceRequest.FromString(body).resource_metrics
    assert {one.key: one.value.string_value for one in of_resource.resource.attributes}["service.name"] == "nginx"
    [of_scope] = of_resource.scope_metrics
    [metric] = of_scope.metrics
    assert (of_scope.scope.name, metric.name, metric.unit) == ("tailtrace.nginx", "http.server.request.duration", "s")
    good, bad = metric.histogram.data_points
    assert (good.count, round(good.sum, 6), bad.count) == (2, 0.067, 1)
    assert tuple(good.explicit_bounds) == BOUNDS_S
    assert list(good.bucket_counts) == [0, 1, 0, 0, 1, *[0] * 10]
    assert not good.HasField("min")
    assert good.start_time_unix_nano <= good.time_unix_nano
    assert {one.key for one in bad.attributes} >= {"http.route", "http.response.status_code", "error.type"}
    assert metrics.counters.exported == 1


def test_one_that_takes_no_metrics_is_told_and_nothing_is_lost(endpoint):
    durations, endpoint.status = RequestDurations(), 404
    metrics = make_request_metrics(
        Settings(export_endpoint=f"http://127.0.0.1:{endpoint.server_port}/v1/traces", export_metrics_s=1), durations
    )
    durations.offer([row()])
    metrics.start()
    end_s = time.monotonic() + 10
    while not metrics.problem and time.monotonic() < end_s:
        time.sleep(0.01)
    assert metrics.problem == "request metrics were not taken 1 times"
    durations.offer([row()])
    endpoint.status = 200
    metrics.stop()
    last = ExportMetricsServiceRequest.FromString(endpoint.got[-1][2])
    assert last.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0].count == 2
    assert metrics.problem == ""


def test_where_metrics_go():
    assert metrics_url(traces_url("https://otel.example/otlp/")) == "https://otel.example/otlp/v1/metrics"

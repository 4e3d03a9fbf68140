"""A real app in a process of its own, and a real HTTP server that decodes the OTLP it is sent."""

import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

APP = Path(__file__).with_name("traced_app.py")
SERVER = 2
WAIT_SECONDS = 8


def plain(attributes):
    values = {}
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        values[attribute.key] = getattr(attribute.value, kind)
    return values


class Collector:
    """Takes OTLP/HTTP on a free port; `spans` are dicts, newest last."""

    def __init__(self, port=0):
        self.spans, self.points, self.resources, self.posts = [], [], [], 0
        self.delay_seconds = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                time.sleep(outer.delay_seconds)
                outer.take(self.path, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, path, body):
        self.posts += 1
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(plain(resource.resource.attributes))
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        self.spans.append(
                            {
                                "name": span.name,
                                "kind": span.kind,
                                "trace_id": span.trace_id.hex(),
                                "parent": span.parent_span_id.hex(),
                                "ms": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
                                "status": span.status.code,
                                "attributes": plain(span.attributes),
                                "events": [(event.name, plain(event.attributes)) for event in span.events],
                                "wire": span.SerializeToString(),
                            }
                        )
        elif path == "/v1/metrics":
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        self.points.extend(
                            (metric.name, plain(point.attributes), point.count, point.sum)
                            for point in metric.histogram.data_points
                        )

    def wait(self, test, what="the spans"):
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            found = test()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{what} did not come: {[span['name'] for span in self.spans]}")

    def of(self, trace_id):
        return self.wait(lambda: [span for span in self.spans if span["trace_id"] == trace_id])

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class App:
    """The process under test: `get` sends nginx's traceparent along and returns answer and trace id."""

    def __init__(self, process):
        self.process = process
        self.out = []
        for line in process.stdout:
            self.out.append(line.strip())
            if line.startswith("PORT"):
                break
        self.port = int(next(line for line in self.out if line.startswith("PORT")).split()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.count = 0
        self.http = httpx.Client(base_url=self.url, timeout=10)
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                self.http.get("/healthz")
            except httpx.TransportError:
                time.sleep(0.02)
            else:
                break

    def get(self, path, method="GET", headers=None):
        self.count += 1
        trace_id = f"{self.count:032x}"
        sent = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", **(headers or {})}
        return self.http.request(method, path, headers=sent), trace_id

    def stop(self):
        """Ctrl-C; returns the seconds to the exit, and what was printed and logged."""
        self.http.close()
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=15)
        return time.monotonic() - started, "\n".join([*self.out, out]), err


@contextmanager
def started(*args, **environ):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    process = subprocess.Popen(
        [sys.executable, str(APP), *args],
        env={**kept, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    app = App(process)
    try:
        yield app
    finally:
        app.http.close()
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def start_app():
    return started


@pytest.fixture(scope="session")
def new_collector():
    return Collector


@pytest.fixture(scope="module")
def collector():
    receiver = Collector()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def app(collector):
    with started(
        "instrument-sub",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="50",
        OTEL_METRIC_EXPORT_INTERVAL="200",
        OTEL_METRICS_EXPORTER="otlp",
    ) as running:
        yield running

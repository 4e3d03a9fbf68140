"""One request is one trace in a real Jaeger behind the real collector: nginx is the root, with the person on it.

client ─► nginx ─► app ─► other app ─► database
           │ log     └────────┴─ OTLP ─► collector (otel-collector.yaml) ─┬─► Jaeger
           └─► tailtrace bridge ◄────────────────────────────────────────┤
                    └─ OTLP: nginx's spans ──────────────────────────────►┘
"""

import itertools
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from tailtrace_api.nginx.process import NginxServer

pytestmark = [pytest.mark.jaeger, pytest.mark.collector, pytest.mark.nginx]

ROOT = Path(__file__).parents[2]
APP = Path(__file__).with_name("whole_trace_app.py")
TO_JAEGER = {
    "exporters": {"otlp_http/influxdb": {"endpoint": "${env:INFLUXDB_V2_URL}", "sending_queue": {"batch": {"flush_timeout": "200ms"}}}},
    "service": {"pipelines": {"traces/influxdb": {"exporters": ["otlp_http/influxdb"]}}},
}  # fmt: skip
LOCATIONS = """
location / { include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:@APP@; }
location = /made-here { return 503; }
"""


class Site:
    def __init__(self, nginx, jaeger_url, bridge_url, collector):
        self.nginx, self.jaeger_url, self.bridge_url, self.collector = nginx, jaeger_url, bridge_url, collector

    def ask(self, path, local="127.0.0.21"):
        transport = httpx.HTTPTransport(local_address=local)
        with httpx.Client(transport=transport) as client:
            return client.get(f"{self.nginx.url}{path}").status_code

    def trace_id(self, path):
        """The trace's id, as nginx wrote it."""
        end_s = time.monotonic() + 10
        while time.monotonic() < end_s:
            for line in self.nginx.log.read_text(encoding="utf-8").splitlines():
                fields = line.split("\t")
                if path in fields:
                    return fields[2]
            time.sleep(0.05)
        raise AssertionError(f"no line of {path}")

    def spans(self, trace_id, count):
        """The spans of a trace in Jaeger, once there are so many."""
        found, end_s = [], time.monotonic() + 30
        while time.monotonic() < end_s:
            answer = httpx.get(f"{self.jaeger_url}/api/traces/{trace_id}").json()
            found = answer["data"][0]["spans"] if answer.get("data") else []
            if len(found) >= count:
                break
            time.sleep(0.2)
        processes = answer["data"][0]["processes"] if answer.get("data") else {}
        for span in found:
            span["service"] = processes[span["processID"]]["serviceName"]
            span["said"] = {tag["key"]: tag["value"] for tag in span["tags"]}
            span["parent"] = next((one["spanID"] for one in span["references"] if one["refType"] == "CHILD_OF"), None)
        return found


@pytest.fixture(scope="module")
def site(request, jaeger_program, otelcol_program, tmp_path_factory):
    servers = request.config.pluginmanager.get_plugin("tailtrace_test_servers")
    folder = tmp_path_factory.mktemp("whole-trace")
    names = itertools.count()
    started = []

    def start(command, health_url, env=None):
        own = folder / f"{next(names)}"
        own.mkdir()
        server = servers.Server([str(word) for word in command], health_url, own, env or {})
        started.append(server)
        server.start()
        return server

    ports = servers.free_ports(13)
    flags = (
        "admin.http",
        "collector.grpc-server",
        "collector.http-server",
        "collector.otlp.grpc",
        "collector.otlp.http",
        "query.grpc-server",
        "query.http-server",
    )
    words = [f"--{name}.host-port=127.0.0.1:{port}" for name, port in zip(flags, ports, strict=False)]
    jaeger_url, otlp_url = f"http://127.0.0.1:{ports[6]}", f"http://127.0.0.1:{ports[4]}"
    app, other, bridge, receiver = ports[8:12]
    try:
        start(
            [jaeger_program, "--collector.otlp.enabled=true", "--collector.zipkin.host-port=", *words],
            f"{jaeger_url}/api/services",
        )
        config = yaml.safe_load((ROOT / "otel-collector.yaml").read_text(encoding="utf-8"))
        del config["exporters"]["influxdb"]
        (folder / "collector.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        (folder / "jaeger.yaml").write_text(yaml.safe_dump(TO_JAEGER), encoding="utf-8")
        collector = servers.Collector(
            otelcol_program, (folder / "collector.yaml", folder / "jaeger.yaml"), folder,
            {"INFLUXDB_V2_URL": otlp_url, "INFLUXDB_V2_TOKEN": "none", "COLLECTOR_BRIDGE_URL": f"http://127.0.0.1:{receiver}"},
            (servers.ALLOW_NIL,),
        )  # fmt: skip
        started.append(collector)
        collector.start()
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        start(
            [sys.executable, APP, other, app],
            f"http://127.0.0.1:{other}/health",
            {**traced, "OTEL_SERVICE_NAME": "warehouse"},
        )
        start(
            [sys.executable, APP, app, other], f"http://127.0.0.1:{app}/health", {**traced, "OTEL_SERVICE_NAME": "shop"}
        )
        with NginxServer(LOCATIONS.replace("@APP@", str(app)), folder=folder / "nginx") as nginx:
            (folder / "people.toml").write_text(
                '["127.0.0.21"]\nuser = "ana@example.com"\ndevice = "ana-laptop"\n', encoding="utf-8"
            )
            bridge_url = f"http://127.0.0.1:{bridge}"
            start(
                [sys.executable, "-m", "tailtrace_api.main", "bridge"], f"{bridge_url}/health",
                {
                    "TAILTRACE_STORE": f"sqlite:{folder}/rows.db", "TAILTRACE_CHECKPOINT": f"{folder}/cp.json",
                    "TAILTRACE_LOG": str(nginx.log), "TAILTRACE_IDENTITIES": str(folder / "people.toml"),
                    "TAILTRACE_BRIDGE_LISTEN": f"127.0.0.1:{bridge}", "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{receiver}",
                    "TAILTRACE_EXPORT_ENDPOINT": collector.http, "TAILTRACE_EXPORT_SERVICE": "edge",
                    "TAILTRACE_SPAN_WAIT_MS": "3000", "TAILSCALE_SOCKET": f"{folder}/none.sock",
                },
            )  # fmt: skip
            yield Site(nginx, jaeger_url, bridge_url, collector)
    finally:
        for server in reversed(started):
            server.end_test()


def test_one_trace_from_nginx_to_the_database(site):
    assert site.ask("/orders/7") == 200
    spans = site.spans(site.trace_id("/orders/7"), 7)
    by_id = {span["spanID"]: span for span in spans}
    roots = [span for span in spans if span["parent"] not in by_id]
    assert [(root["service"], root["operationName"], root["parent"]) for root in roots] == [
        ("edge", "GET /orders/{order_id}", None)
    ], "nginx is the root, and nobody is an orphan"
    assert not [span for span in spans if any("invalid parent" in warning for warning in span.get("warnings") or ())]
    (root,) = roots
    assert (root["said"]["span.kind"], root["said"]["http.route"]) == ("server", "/orders/{order_id}")
    assert (root["said"]["user.name"], root["said"]["tailscale.node"], root["said"]["tailscale.kind"]) == (
        "ana@example.com",
        "ana-laptop",
        "user",
    )
    assert root["said"]["client.address"] == "127.0.0.21"
    children = {(span["service"], span["said"]["span.kind"]) for span in spans if span["parent"] == root["spanID"]}
    assert children == {("edge", "client"), ("shop", "server")}
    assert {span["service"] for span in spans} == {"edge", "shop", "warehouse"}
    warehouse = next(span for span in spans if span["service"] == "warehouse" and span["said"]["span.kind"] == "server")
    assert by_id[warehouse["parent"]]["service"] == "shop", "below the shop's own httpx span"
    asked = next(span for span in spans if span["said"].get("db.statement") == "SELECT 40 + 2")
    assert (asked["service"], asked["parent"]) == ("warehouse", warehouse["spanID"])


def test_a_failing_request_is_an_error_on_the_root(site):
    assert site.ask("/fails/3") == 500
    spans = site.spans(site.trace_id("/fails/3"), 3)
    root = next(span for span in spans if span["parent"] is None)
    assert (root["said"]["http.response.status_code"], root["said"]["error"], root["said"]["error.type"]) == (
        500,
        True,
        "ValueError",
    )


def test_what_nginx_answers_by_itself_is_a_trace_too(site):
    assert site.ask("/made-here") == 503
    (span,) = site.spans(site.trace_id("/made-here"), 1)
    assert (span["service"], span["said"]["error.type"], span["parent"]) == ("edge", "503", None)


def test_nothing_comes_back(site):
    text = httpx.get(f"{site.bridge_url}/metrics").text
    counted = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("tailtrace_")}
    assert counted['tailtrace_span_export_total{result="exported"}'] >= 5
    assert counted['tailtrace_span_export_total{result="failed"}'] == 0
    said = httpx.get(site.collector.metrics_url).text.splitlines()
    left_out = [line for line in said if "processor_filter_spans_filtered" in line and '"filter/nginx"' in line]
    assert (
        sum(float(line.split()[-1]) for line in left_out) == counted['tailtrace_span_export_total{result="exported"}']
    ), "the collector sends nginx's spans to the store alone"
    assert httpx.get(f"{site.bridge_url}/ready").json()["export"] == "ok"

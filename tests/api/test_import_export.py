"""`tailtrace import --export`: history is stored as ever, and an OTLP endpoint gets the span of each line."""

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_bridge.export.exporter import BATCH_ROWS_MAX
from tailtrace_bridge.export.nginx_span import decoded
from tailtrace_bridge.logs.format import TAILTRACE_FIELDS, TAILTRACE_MARK

pytestmark = pytest.mark.usefixtures("own_folder")


class Endpoint(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.bodies = 200, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def spans(self):
        return [span for body in self.bodies for span in decoded(gzip.decompress(body))]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch):
    with Endpoint() as server:
        monkeypatch.setenv("TAILTRACE_EXPORT_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def line(number: int) -> str:
    values = {
        "msec": f"{1_764_000_000 + number}.500", "request_id": f"{number + 1:032x}", "tailtrace_flags": "01",
        "remote_addr": f"100.64.0.{number % 9 + 1}", "request_method": "GET", "request_uri": f"/items/{number % 7}",
        "status": "500" if number % 50 == 0 else "200", "bytes_sent": "10", "request_time": "0.060",
        "server_name": "shop", "http_user_agent": "curl/8" if number % 2 else "Mozilla/5.0",
        "upstream_http_x_tailtrace": "1;t=50000;r=/items/{id}" if number % 3 else "",
        "upstream_addr": "10.0.0.1:80, 10.0.0.2:80", "upstream_response_time": "0.001, 0.058",
        "upstream_status": "502, 200",
    }  # fmt: skip
    return "\t".join((TAILTRACE_MARK, *(values.get(name, "") for name in TAILTRACE_FIELDS))) + "\n"


def test_history_is_stored_the_same_and_sent_whole(run, endpoint, tmp_path):
    count = 2 * BATCH_ROWS_MAX + 7
    log = tmp_path / "access.log"
    log.write_text("".join(map(line, range(count))) + "no line\n")
    stores = [f"sqlite:{tmp_path}/{name}.db" for name in ("plain", "sent")]
    assert run("import", log, "--store", stores[0]).exit_code == 0
    assert endpoint.bodies == []
    done = run("import", log, "--store", stores[1], "--export", "--json")
    assert (done.exit_code, json.loads(done.stdout)["spans_exported"]) == (0, 3 * count)
    when = re.compile('"identified_us":[0-9]+,')
    exports = [when.sub("", run("export", "--store", store).stdout).splitlines() for store in stores]
    assert exports[0][1:-1] == exports[1][1:-1]  # around them: the store, and a sum of all
    assert len(exports[0]) > count
    spans = endpoint.spans()
    requests = [span for span in spans if span.kind == span.SPAN_KIND_SERVER]
    assert [span.trace_id.hex() for span in requests] == [f"{number + 1:032x}" for number in range(count)]
    assert len(spans) == 3 * count, "each server that was asked has one of its own"
    again = run("import", log, "--store", stores[1], "--export")
    assert "3093 spans exported" in again.stdout
    assert {(span.trace_id, span.span_id) for span in endpoint.spans()} == {
        (span.trace_id, span.span_id) for span in spans
    }


def test_an_endpoint_that_refuses_keeps_nothing_from_being_stored(run, endpoint, tmp_path):
    endpoint.status = 404
    log = tmp_path / "access.log"
    log.write_text("".join(map(line, range(30_000))))
    done = run("import", log, "--store", f"sqlite:{tmp_path}/t.db", "--export", "--json")
    assert done.exit_code == 1
    assert (json.loads(done.stdout)["stored"], json.loads(done.stdout)["spans_exported"]) == (30_000, 0)
    assert "not all spans were exported: it answered 404" in done.stderr
    endpoint.status = 200
    assert run("import", log, "--store", f"sqlite:{tmp_path}/t.db", "--export").exit_code == 0


def test_without_an_endpoint_it_says_what_to_set(run, tmp_path):
    (tmp_path / "access.log").write_text(line(1))
    done = run("import", tmp_path / "access.log", "--export")
    assert done.exit_code == 2
    assert "--export: set TAILTRACE_EXPORT_ENDPOINT" in done.stderr

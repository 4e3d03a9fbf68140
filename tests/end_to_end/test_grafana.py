"""deploy/grafana-dashboard.json against the /metrics of a real `tailtrace serve`, and against what Grafana expects of one."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tailtrace_bridge.logs.format import TAILTRACE_FIELDS, TAILTRACE_MARK

FILE = Path(__file__).parents[2] / "deploy" / "grafana-dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
FUNCTIONS = frozenset({"sum", "by", "rate", "increase", "topk", "histogram_quantile", "time", "max", "le"})
COLUMNS = 24


def line(number: int, status: int) -> str:
    values = {
        "msec": f"{time.time():.3f}", "request_id": f"{number:032x}", "tailtrace_flags": "01",
        "remote_addr": "100.64.0.7", "request_method": "GET", "request_uri": f"/items/{number}", "status": str(status),
        "bytes_sent": "10", "request_time": "0.060", "server_name": "shop", "upstream_addr": "127.0.0.1:8000",
        "upstream_http_x_tailtrace": "1;t=50000;r=/items/{id}" + (";e=KeyError" if status == 500 else ""),
        "upstream_response_time": "0.058", "upstream_status": str(status), "scheme": "https",
    }  # fmt: skip
    return "\t".join((TAILTRACE_MARK, *(values.get(name, "") for name in TAILTRACE_FIELDS))) + "\n"


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> dict[str, list[dict[str, str]]]:
    """What a real serve says after some lines: by a sample's name, its labels."""
    folder = tmp_path_factory.mktemp("serve")
    log = folder / "access.log"
    log.write_text("".join(line(number, 500 if number == 3 else 200) for number in range(5)) + "no line\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TAILTRACE_", "OTEL_"))}
    environment |= {
        "TAILTRACE_STORE": f"sqlite:{folder}/rows.db",
        "TAILTRACE_CHECKPOINT": f"{folder}/checkpoint.json",
        "TAILTRACE_LOG": str(log),
        "TAILTRACE_LISTEN": f"127.0.0.1:{port}",
        "TAILTRACE_OTLP_LISTEN": "127.0.0.1:0",
    }
    process = subprocess.Popen([sys.executable, "-m", "tailtrace_api.main", "serve"], env=environment, cwd=folder)
    try:
        end_s, text = time.monotonic() + 30, ""
        while "tailtrace_lines_total 6.0" not in text or "http_server_request_duration_seconds_count" not in text:
            assert time.monotonic() < end_s, text
            assert process.poll() is None
            time.sleep(0.05)
            with suppress(httpx.TransportError):
                text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_finds_its_metrics_and_labels(samples, query):
    assert query.count("(") == query.count(")")
    selectors = re.findall(r"([a-z_]+)(?:\{([^}]*)\})?(?=\[|\)|$)", re.sub(r"by \([^)]*\)|time\(\)", "", query))
    asked = {name: matchers for name, matchers in selectors if name not in FUNCTIONS}
    assert asked
    grouped = {label for found in re.findall(r"by \(([^)]*)\)", query) for label in found.split(", ")}
    for name, matchers in asked.items():
        labels = {label for one in samples[name] for label in one}
        assert set(re.findall(r"([a-z_]+)[=!]~?\"", matchers)) | grouped <= labels, name


def test_what_the_queries_single_out_is_there(samples):
    of_items = [one for one in samples["http_server_request_duration_seconds_count"] if one["http_route"]]
    assert [(one["http_route"], one["http_response_status_code"], one["error_type"]) for one in of_items] == [
        ("/items/{id}", "200", ""),
        ("/items/{id}", "500", "KeyError"),
    ]
    assert {(one["server_address"], one["url_scheme"]) for one in of_items} == {("shop", "https")}


def test_panels_are_told_apart_and_do_not_overlap():
    assert len({panel["id"] for panel in PANELS}) == len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= COLUMNS
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_it_can_be_imported_anywhere():
    """No data source of ours by its id, no id of an instance; each letter of a query once."""
    assert "id" not in DASHBOARD
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= DASHBOARD.keys()
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "server": "query"}
    sources = [one["datasource"] for panel in PANELS for one in (panel, *panel["targets"])]
    assert all(one == {"type": "prometheus", "uid": "${datasource}"} for one in sources)
    assert set(re.findall(r"\$\{?(\w+)", FILE.read_text(encoding="utf-8"))) == {*variables, "__rate_interval", "__all"}
    for panel in PANELS:
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters) > 0

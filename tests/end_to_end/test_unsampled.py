"""Behind a real nginx that samples nothing, a real app keeps its spans until the answer, and `serve` the whole trace."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.processes import free_ports, running

from tailtrace_api.nginx.process import NginxServer

pytestmark = [pytest.mark.nginx, pytest.mark.long]
WAIT_S_MAX = 40
APP = """
import tailtrace
from fastapi import FastAPI
from opentelemetry.trace import get_tracer

app = FastAPI()
tailtrace.instrument(app)

@app.get("/orders/{number}")
def order(number: int):
    with get_tracer("shop").start_as_current_span("SELECT price"):
        return {"price": {1: 5}[number]}
"""


def wait_for(what: str, look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S_MAX
    while True:
        with suppress(httpx.HTTPError):
            if seen := look():
                return seen
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_the_trace_of_an_error_is_whole_though_nothing_is_sampled(tmp_path: Path) -> None:
    (tmp_path / "shop_app.py").write_text(APP)
    port, otlp, listen = free_ports(3)
    location = f"location / {{ include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{port}; }}"
    app = (sys.executable, "-m", "uvicorn", "--app-dir", tmp_path, "--port", str(port), "shop_app:app")
    url = f"http://127.0.0.1:{listen}"
    with (
        NginxServer(location, sample_percent=0) as nginx,
        running(
            *app,
            OTEL_SERVICE_NAME="shop",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{otlp}",
            TAILTRACE_UNSAMPLED_SPANS="100",
        ),
        running(
            *(sys.executable, "-m", "tailtrace_api.main", "serve"),
            TAILTRACE_STORE=f"sqlite:{tmp_path}/rows.db",
            TAILTRACE_CHECKPOINT=str(tmp_path / "checkpoint.json"),
            TAILTRACE_LOG=str(nginx.log),
            TAILTRACE_OTLP_LISTEN=f"127.0.0.1:{otlp}",
            TAILTRACE_LISTEN=f"127.0.0.1:{listen}",
        ),
    ):
        wait_for("serve", lambda: httpx.get(f"{url}/ready").is_success)
        wait_for("app", lambda: httpx.get(f"http://127.0.0.1:{port}/openapi.json").is_success)
        assert [httpx.get(f"{nginx.url}/orders/{number}").status_code for number in (1, 1, 2)] == [200, 200, 500]
        (group,) = wait_for("the group", lambda: httpx.get(f"{url}/analytics/errors").json()["groups"])
        trace = httpx.get(f"{url}/analytics/traces/{group['traces'][0]['trace_id']}").json()
        logs = httpx.get(f"{url}/analytics/access-logs?hours=1").json()["logs"]
        fine = [httpx.get(f"{url}/analytics/traces/{one['trace_id']}") for one in logs if one["status"] == 200]
    assert (group["type"], group["requests"], group["frames"][-1].split()[-1]) == ("KeyError", 1, "order")
    assert [(one["name"], one["depth"]) for one in trace["spans"] if one["service"] == "shop"] == [
        ("GET /orders/{number}", 1), ("SELECT price", 2),
    ]  # fmt: skip
    kept = [one.json() for one in fine if one.is_success]
    assert not any(span["service"] == "shop" for one in kept for span in one["spans"]), "only nginx's, as a sample"

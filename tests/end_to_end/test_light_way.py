"""A real app behind real nginx, read by `tailtrace serve`: with spans and without any, each row is whole."""

import sys
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.processes import free_port, running
from websockets.sync.client import connect

from tailtrace_api.nginx.process import NginxServer
from tailtrace_bridge.logs.parser import make_parser

WAIT_S_MAX = 40
APP = """
import asyncio
import tailtrace
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

app = FastAPI()
tailtrace.instrument(app)

@app.get("/items/{item_id}")
def item(item_id: int):
    return {"id": item_id}

@app.get("/orders/{id}")
def order(id: str):
    return {"id": id}

@app.get("/fail/{x}")
def fail(x: int):
    raise ValueError(x)

@app.get("/stream")
def stream():
    async def pieces():
        yield "x"
        await asyncio.sleep(0.4)
        yield "y"
    return StreamingResponse(pieces())

@app.get("/late")
def late():
    async def pieces():
        yield "x"
        raise KeyError("late")
    return StreamingResponse(pieces())

@app.get("/auth")
def auth():
    return {}

@app.websocket("/ws")
async def ws(socket: WebSocket):
    await socket.accept()
    await asyncio.sleep(0.5)
    await socket.close()
"""
LOCATIONS = """
    location / {{ include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{app}; }}
    location /ws {{
        include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{app}; proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
    }}
    location = /auth {{ internal; include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{app}; }}
    location = /copy {{ internal; include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{app}/auth; }}
    location /guarded/ {{ auth_request /auth; include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{app}/; }}
    location /mirrored/ {{ mirror /copy; include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{app}/; }}
    location /silent/ {{  # as before the app was asked: its spans alone say what it did
        auth_request /quiet;
        include tailtrace-proxy.conf; proxy_set_header X-Tailtrace-Request ""; proxy_pass http://127.0.0.1:{app}/;
    }}
    location = /quiet {{
        internal; proxy_set_header traceparent "00-$tailtrace_trace_id-$tailtrace_span_id-$tailtrace_flags";
        proxy_pass http://127.0.0.1:{app}/auth;
    }}
    location /renamed/ {{
        auth_request /quiet; rewrite ^ /items/9 break;
        proxy_set_header traceparent "00-$tailtrace_trace_id-$tailtrace_span_id-$tailtrace_flags";
        proxy_pass http://127.0.0.1:{app};
    }}
"""


def wait_for(what: str, look: Any) -> Any:
    deadline = time.monotonic() + WAIT_S_MAX
    while True:
        with suppress(httpx.HTTPError):
            if seen := look():
                return seen
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def serve(folder: Path, log: Path, listen: int, otlp: int, span_wait_ms: int) -> AbstractContextManager[None]:
    return running(
        *(sys.executable, "-m", "tailtrace_api.main", "serve"),
        TAILTRACE_STORE=f"sqlite:{folder}/rows.db",
        TAILTRACE_CHECKPOINT=str(folder / "checkpoint.json"),
        TAILTRACE_LOG=str(log),
        TAILTRACE_OTLP_LISTEN=f"127.0.0.1:{otlp}",
        TAILTRACE_LISTEN=f"127.0.0.1:{listen}",
        TAILTRACE_SPAN_WAIT_MS=str(span_wait_ms),
    )


def rows_at(listen: int, paths: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the rows by path once all of `paths` are there."""

    def rows() -> dict[str, dict[str, Any]] | None:
        answer = httpx.get(f"http://127.0.0.1:{listen}/analytics/access-logs", params={"hours": 1, "limit": 100})
        found = {row["path"]: row for row in answer.json()["logs"]}
        return found if set(paths) <= set(found) else None

    found: dict[str, dict[str, Any]] = wait_for("rows", rows)
    return found


def rows_of(folder: Path, exporter: str, paths: list[str]) -> dict[str, dict[str, Any]]:
    """Ask for each path, and return the rows by path once they are all there."""
    (folder / "light_app.py").write_text(APP)
    port, otlp, listen = free_port(), free_port(), free_port()
    app = (sys.executable, "-m", "uvicorn", "--app-dir", folder, "--port", str(port), "light_app:app")
    told = {"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_EXPORTER": exporter}
    with (
        NginxServer(LOCATIONS.format(app=port)) as nginx,
        running(*app, **told, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{otlp}"),
        serve(folder, nginx.log, listen, otlp, 8000 if exporter == "otlp" else 1000),
    ):
        wait_for("serve", lambda: httpx.get(f"http://127.0.0.1:{listen}/ready").is_success)
        wait_for("app", lambda: httpx.get(f"http://127.0.0.1:{port}/auth").is_success)
        for path in paths:
            if path == "/ws":
                with connect(nginx.url.replace("http", "ws") + path) as connection, suppress(Exception):
                    connection.recv()
                continue
            with suppress(httpx.RemoteProtocolError):  # the answer that breaks off
                assert not [name for name in httpx.get(nginx.url + path).headers if "tailtrace" in name]

        found = rows_at(listen, paths)
        assert all(make_parser("tailtrace").parse(line, "f", 0) for line in nginx.log.read_bytes().splitlines())
        return found


PATHS = ["/items/7", "/fail/3", "/stream", "/late", "/ws", "/guarded/items/8", "/mirrored/items/8", "/nowhere"]
BY_SPAN = ["/silent/items/8", "/renamed/items/8"]


def shown(rows: dict[str, dict[str, Any]], path: str) -> tuple[str, str | None]:
    return rows[path]["endpoint"], rows[path]["error_type"]


@pytest.mark.long
@pytest.mark.nginx
@pytest.mark.parametrize("exporter", ["otlp", "none"])
def test_each_row_is_whole(tmp_path, exporter):
    rows = rows_of(tmp_path, exporter, PATHS + (BY_SPAN if exporter == "otlp" else []))
    for path in ("/items/7", "/guarded/items/8", "/mirrored/items/8"):
        assert shown(rows, path) == ("/items/{item_id}", None)
    assert shown(rows, "/fail/3") == ("/fail/{x}", "ValueError")
    assert shown(rows, "/nowhere") == ("__other__", None)
    assert shown(rows, "/stream") == ("/stream", None)
    assert 350 <= rows["/stream"]["app_time_ms"] <= rows["/stream"]["response_time_ms"] + 2
    # What comes behind the first byte is in the span alone.
    assert shown(rows, "/late") == ("/late", "KeyError" if exporter == "otlp" else None)
    for path in set(PATHS) - {"/ws"}:
        assert rows[path]["app_time_ms"] is not None
        assert rows[path]["outside_ms"] is not None
    assert [rows["/ws"][name] for name in ("response_time_ms", "app_time_ms", "outside_ms")] == [None, None, None]
    if exporter == "otlp":
        assert shown(rows, "/ws") == ("/ws", None)
        for path in BY_SPAN:
            assert shown(rows, path) == ("/items/{item_id}", None)


@pytest.mark.long
@pytest.mark.nginx
def test_a_route_keeps_its_name_over_a_restart(tmp_path):
    (tmp_path / "light_app.py").write_text(APP)
    port, otlp, listen = free_port(), free_port(), free_port()
    app = (sys.executable, "-m", "uvicorn", "--app-dir", tmp_path, "--port", str(port), "light_app:app")
    with NginxServer(LOCATIONS.format(app=port)) as nginx:

        def ask(kind: str, status: int) -> dict[str, tuple[str, int]]:
            paths = [f"/items/{status}", f"/orders/{kind}", f"/unknown/{kind}"]
            for path in paths:
                httpx.get(nginx.url + path)
            rows = rows_at(listen, paths)
            return {path.split("/")[1]: (rows[path]["endpoint"], rows[path]["status"]) for path in paths}

        with serve(tmp_path, nginx.log, listen, otlp, 1000):
            wait_for("serve", lambda: httpx.get(f"http://127.0.0.1:{listen}/ready").is_success)
            with running(*app, OTEL_TRACES_EXPORTER="none"):
                wait_for("app", lambda: httpx.get(f"http://127.0.0.1:{port}/auth").is_success)
                answered = ask("early", 200)
            before = ask("down", 502)
        with serve(tmp_path, nginx.log, listen, otlp, 1000):
            wait_for("serve again", lambda: httpx.get(f"http://127.0.0.1:{listen}/ready").is_success)
            after = ask("after", 502)
    named = {"items": ("/items/{item_id}", 502), "orders": ("/orders/{id}", 502)}
    assert answered == {
        "items": ("/items/{item_id}", 200),
        "orders": ("/orders/{id}", 200),
        "unknown": ("__other__", 404),
    }
    assert before == named | {"unknown": ("/unknown/down", 502)}
    assert after == named | {"unknown": ("/unknown/after", 502)}

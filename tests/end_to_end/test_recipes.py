"""docs/recipes.md, with its own lines of nginx: several apps, an app below a path, a websocket."""

import re
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.processes import free_ports, running
from websockets.sync.client import connect

from tailtrace_api.nginx.process import NginxServer

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
WAIT_S_MAX = 60
APP = """
import os
import tailtrace
from fastapi import FastAPI, WebSocket

app = FastAPI(root_path=os.environ["AT"])
tailtrace.instrument(app)

@app.get("/items/{item_id}")
def item(item_id: int):
    return {}

@app.websocket("/ws/{room}")
async def ws(socket: WebSocket, room: int):
    await socket.accept()
    await socket.close()
"""
BELOW = "location {at}/ {{ include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{port}/; }}\n"


def blocks(title: str) -> str:
    """Return what nginx is told in a section, with its includes as the tests have them."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    (found,) = re.findall(r"^```nginx\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return str(found).replace("/etc/nginx/tailtrace/", "")


def rows_at(listen: int, paths: set[str]) -> dict[str, dict[str, Any]]:
    """Return the rows by path once all of `paths` are there."""
    end_s = time.monotonic() + WAIT_S_MAX
    while True:
        with suppress(httpx.HTTPError):
            answer = httpx.get(f"http://127.0.0.1:{listen}/analytics/access-logs?hours=1&limit=100").json()
            rows = {row["path"]: row for row in answer["logs"]}
            if paths <= rows.keys():
                return rows
        assert time.monotonic() < end_s, f"no rows of {paths}"
        time.sleep(0.05)


def wait_up(port: int) -> None:
    end_s = time.monotonic() + WAIT_S_MAX
    while True:
        with suppress(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/")
            return
        assert time.monotonic() < end_s, f"nobody listens on {port}"
        time.sleep(0.05)


@pytest.mark.long
@pytest.mark.nginx
@pytest.mark.parametrize("exporter", ["otlp", "none"])
def test_recipes(tmp_path: Path, exporter: str) -> None:
    (tmp_path / "recipe_app.py").write_text(APP, encoding="utf-8")
    shop, plain, front, otlp, listen = free_ports(5)
    of_http, _, of_server = blocks("WebSockets").partition("# in server {}")
    below = "".join(BELOW.format(at=at, port=port) for at, port in (("/shop", shop), ("/plain", plain)))
    servers = blocks("Several apps behind one nginx").replace("server {", f"server {{ listen 127.0.0.1:{front};")
    to_app = "http://127.0.0.1:8001"
    with (
        NginxServer(
            below + of_server.replace(to_app, f"http://127.0.0.1:{plain}"), http=of_http,
            servers=servers.replace(to_app, f"http://127.0.0.1:{plain}"),
        ) as nginx,
        ExitStack() as ends,
    ):  # fmt: skip
        for port, at in ((shop, "/shop"), (plain, "")):
            command = (sys.executable, "-m", "uvicorn", "--app-dir", tmp_path, "--port", str(port), "recipe_app:app")
            env = {"AT": at, "OTEL_TRACES_EXPORTER": exporter}
            ends.enter_context(running(*command, **env, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{otlp}"))
        serve = {
            "STORE": f"sqlite:{tmp_path}/rows.db", "CHECKPOINT": f"{tmp_path}/checkpoint.json", "LOG": str(nginx.log),
            "OTLP_LISTEN": f"127.0.0.1:{otlp}", "LISTEN": f"127.0.0.1:{listen}", "SPAN_WAIT_MS": "8000",
        }  # fmt: skip
        names = {f"TAILTRACE_{name}": value for name, value in serve.items()}
        ends.enter_context(running(sys.executable, "-m", "tailtrace_api.main", "serve", **names))
        for port in (shop, plain, listen):
            wait_up(port)
        for url in (f"{nginx.url}/shop/items/7", f"{nginx.url}/plain/items/7", f"http://127.0.0.1:{front}/items/7"):
            assert httpx.get(url).status_code == 200
        with connect(f"{nginx.url.replace('http', 'ws')}/ws/7") as connection, suppress(Exception):
            connection.recv()
        rows = rows_at(listen, {"/shop/items/7", "/plain/items/7", "/items/7", "/ws/7"})
    assert rows["/shop/items/7"]["endpoint"] == "/shop/items/{item_id}"
    assert rows["/plain/items/7"]["endpoint"] == "/items/{item_id}"
    assert rows["/items/7"]["service"] == "shop.example.com"
    assert rows["/items/7"]["service"] != rows["/shop/items/7"]["service"]
    assert (rows["/ws/7"]["status"], rows["/ws/7"]["response_time_ms"]) == (101, None)
    assert rows["/ws/7"]["endpoint"] == ("/ws/{room}" if exporter == "otlp" else "/ws/{id}")

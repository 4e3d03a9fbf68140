"""What tracing costs a request: the same FastAPI app bare and traced, side by side, through ASGI in one process.

`python bench/tracing_cost.py [SECONDS]`: rounds alternate between the two, so that a busy machine slows both alike.
Spans are exported to a small receiver in a process of its own, as they would be. The app does nothing, and no server is
around it: a real request takes many times as long, so the ratio is the worst case. The microseconds are what counts.
"""

import asyncio
import atexit
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from fastapi import FastAPI

import tailtrace

REQUESTS_PER_ROUND = 500
RECEIVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def new_app() -> FastAPI:
    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        return {"item": item_id}

    return app


async def one_round(app: FastAPI) -> float:
    """Return microseconds per request."""
    headers = [
        (b"host", b"127.0.0.1"),
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64)"),
        (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        pass

    started = time.perf_counter()
    for _ in range(REQUESTS_PER_ROUND):
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/items/7",
            "raw_path": b"/items/7",
            "query_string": b"a=1",
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }
        await app(scope, receive, send)
    return (time.perf_counter() - started) / REQUESTS_PER_ROUND * 1e6


async def compare(seconds: float) -> None:
    bare, traced = new_app(), new_app()
    tailtrace.instrument(traced)
    for app in (bare, traced):
        await one_round(app)
    times: dict[str, list[float]] = {"bare": [], "traced": []}
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        times["bare"].append(await one_round(bare))
        times["traced"].append(await one_round(traced))
    bare_us, traced_us = (statistics.median(times[name]) for name in ("bare", "traced"))
    print(f"bare    {bare_us:7.1f} us/request  {1e6 / bare_us:8.0f} requests/s")
    print(f"traced  {traced_us:7.1f} us/request  {1e6 / traced_us:8.0f} requests/s")
    print(f"cost    {traced_us - bare_us:7.1f} us/request, export included")
    print(f"ratio   {bare_us / traced_us:7.3f} of the bare app's requests/s ({len(times['bare'])} rounds each)")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    atexit.register(receiver.kill)  # Registered before tailtrace's own flush, hence run after it.
    assert receiver.stdout is not None
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{int(receiver.stdout.readline())}"
    os.environ.setdefault("OTEL_BSP_MAX_QUEUE_SIZE", "65536")  # Ten times a server's load: nothing may be lost.
    asyncio.run(compare(seconds))


if __name__ == "__main__":
    main()

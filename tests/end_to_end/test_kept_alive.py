"""Bodies over 64 KiB on connections that nginx keeps alive: each request's span hangs below its own nginx span.

uvicorn pauses reading for such a body, and goes on in the context of that request: what comes next on the connection is
called in it.
"""

import subprocess
import sys
import time

import httpx
import pytest

from tailtrace_api.nginx.process import NginxServer
from tailtrace_bridge.logs.parser import make_parser

REQUESTS = 12
APP = """
import sys
import tailtrace
import uvicorn
from fastapi import FastAPI, Request
from opentelemetry import trace

socket, way = sys.argv[1:]
app = FastAPI()
tailtrace.instrument(app)

def ids(context):
    return [format(context.trace_id, "032x"), format(context.span_id, "016x")]

@app.post("/upload")
async def upload(request: Request):
    size = len(await request.body())
    span = trace.get_current_span()
    parent = span.parent if way == "sdk" else span.parent_context()
    return {"size": size, "kind": span.kind.name, "parent": ids(parent), "left_behind": request.scope["left_behind"]}

async def outside(scope, receive, send):
    scope["left_behind"] = trace.get_current_span().get_span_context().is_valid
    await app(scope, receive, send)

if __name__ == "__main__":
    uvicorn.run(outside, uds=socket, http="h11", lifespan="off", log_level="critical")
"""
FRONT = """
    location / {
        include tailtrace-proxy.conf; proxy_pass http://shop; proxy_http_version 1.1; proxy_set_header Connection "";
        client_max_body_size 1m;
    }
"""


@pytest.mark.nginx
@pytest.mark.parametrize("way", ["light", "sdk"])
def test_a_large_body_leaves_its_context_to_nobody(tmp_path, way):
    (tmp_path / "app.py").write_text(APP)
    socket = tmp_path / "s"
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    if way == "sdk":
        environ["OTEL_TRACES_SAMPLER"] = "always_on"
    app = subprocess.Popen([sys.executable, tmp_path / "app.py", socket, way], env=environ, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not socket.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        upstream = f"upstream shop {{ server unix:{socket}; keepalive 1; }}"
        with NginxServer(FRONT, http=upstream) as nginx, httpx.Client(base_url=nginx.url) as client:
            answers = [client.post("/upload", content=b"x" * 200_000).json() for _ in range(REQUESTS)]
            time.sleep(0.5)  # The log's buffer
            lines = nginx.log.read_bytes().splitlines()
    finally:
        app.kill()
        app.wait()
    made = [make_parser("tailtrace").parse(line, "f", 0) for line in lines]
    assert [answer["parent"] for answer in answers] == [[access.trace_id, access.span_id] for access in made]
    assert {(answer["size"], answer["kind"]) for answer in answers} == {(200_000, "SERVER")}
    assert any(answer["left_behind"] for answer in answers)  # Else nothing was tried.

"""A server loads what it needs to answer, and puts off the rest, which is the same when it is asked for."""

import gc
import subprocess
import sys

import pytest
from starlette.testclient import TestClient

from tailtrace_api.server import loading
from tailtrace_api.server.serve import make_guarded
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.wiring import parts

SAYS = """
import sys
from tailtrace_api.server import loading
{load}
from fastapi.openapi.models import OpenAPI
print(OpenAPI.__pydantic_complete__)
from pydantic import BaseModel
class Later(BaseModel):
    one: int
print(Later.__pydantic_complete__, Later(one=1).one)
from typing import Annotated
from fastapi import FastAPI, Query
app = FastAPI()
@app.get("/")
def root(limit: Annotated[int, Query(ge=1, openapi_examples={{"few": {{"value": 3}}}})] = 3) -> dict[str, Later]: ...
import json
print(json.dumps(app.openapi()))
"""


def said(load):
    code = SAYS.format(load=load)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()


def test_fastapi_builds_its_models_when_they_are_asked_for_and_no_other_model_changes():
    deferred, usual = said("loading.import_fastapi()"), said("import fastapi")
    assert (deferred[0], usual[0]) == ("False", "True")
    assert deferred[1:] == usual[1:]
    assert '"few"' in deferred[2]


def test_a_server_starts_without_what_only_some_ask_for(own_folder):
    code = """
import asyncio, sys
from tailtrace_api.server import loading
with loading.quickly("uvicorn"):
    from tailtrace_api.server.serve import make_guarded
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.wiring import parts
    chosen = settings.load(store="sqlite:t.db", hosts=["test"])
    app = make_guarded(chosen, parts.open_store(chosen), parts.make_routes(chosen))
LATER = ("fastapi", "google.protobuf", "opentelemetry.trace", "prometheus_client", "mcp", "rich", "influxdb_client", "jinja2", "click", "pydantic.v1",
         "tailtrace_api.queries.requests", "tailtrace_api.answers.request_records")
async def ask(path):  # by hand: a client loads some of these
    async def receive():
        return {"type": "http.request"}
    async def send(message):
        if "status" in message:
            print(message["status"], [name for name in LATER if sys.modules.get(name)])
    scope = {"type": "http", "method": "GET", "scheme": "http", "http_version": "1.1", "path": path, "query_string": b"",
             "headers": [(b"host", b"test")], "client": ("127.0.0.1", 4711), "server": ("test", 80)}
    await app(scope, receive, send)
for path in ("/health", "/session", "/analytics/access-logs"):
    asyncio.run(ask(path))
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert answer.splitlines() == [
        "200 []",
        "200 ['fastapi', 'opentelemetry.trace']",
        "200 ['fastapi', 'google.protobuf', 'opentelemetry.trace', 'tailtrace_api.queries.requests', 'tailtrace_api.answers.request_records']",
    ]


def test_mcp_over_http_loads_no_command_line(own_folder):
    code = """
import asyncio, sys
from tailtrace_api.server import loading
with loading.quickly("uvicorn"):
    from tailtrace_api.mcp_server.mount import Mcp
mcp = Mcp(lambda: None, lang="en", hosts=["test"])
async def ask():
    async def receive():
        return {"type": "http.request", "body": b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'}
    async def send(message):
        if "status" in message:
            print(message["status"], [name for name in ("click", "multiprocessing", "httpx") if sys.modules.get(name)])
    heads = {b"host": b"test", b"content-type": b"application/json", b"accept": b"application/json, text/event-stream"}
    scope = {"type": "http", "method": "POST", "scheme": "http", "http_version": "1.1", "path": "/mcp",
             "query_string": b"", "headers": list(heads.items()), "client": ("127.0.0.1", 4711), "server": ("test", 80)}
    await mcp(scope, receive, send)
asyncio.run(ask())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["200 []"], done.stderr


def test_a_small_import_loads_nothing_that_it_does_not_use(tmp_path):
    log, store = tmp_path / "access.log", tmp_path / "a.db"
    log.write_text('203.0.113.9 - - [24/Apr/2018:06:25:04 +0000] "GET /a HTTP/1.1" 500 5 "-" "curl"\n')
    code = """
import sys
from tailtrace_api.main import main
sys.argv[1:] = ["import", *sys.argv[1:], "--json"]
try:
    main()
finally:
    unused = ("importlib.metadata", "google.protobuf", "rich", "fastapi", "httpx", "asyncio.events", "tarfile", "pickle", "ssl")
    print([name for name in unused if sys.modules.get(name)])
"""
    command = [sys.executable, "-c", code, str(log), "--store", f"sqlite:{store}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()
    assert '"stored": 1' in done[0]
    assert done[1] == "[]"


def test_a_command_loads_without_a_search_for_cycles_and_runs_with_it(own_folder):
    code = """
import gc, sys
from tailtrace_api.main import main
frozen = []
gc.callbacks.append(lambda *_: frozen.append(gc.get_freeze_count()))
sys.argv = ["tailtrace", "token", "list"]
try:
    main()
finally:
    print(gc.isenabled(), min(frozen, default=1) > 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True True"


def test_cycles_are_searched_for_again_whatever_happens():
    def load(*, fails):
        with loading.quickly():
            assert not gc.isenabled()
            if fails:
                raise OSError("no file")
            loading.end()
            assert gc.isenabled()

    load(fails=False)
    with pytest.raises(OSError, match=r"^no file$"):
        load(fails=True)
    assert gc.isenabled()


def test_health_is_what_the_api_would_answer(own_folder):
    app = made("test", "*.example.com").app

    def answers(app):
        client = TestClient(app, base_url="http://test")
        for method in ("GET", "HEAD", "POST"):
            for host in ("test", "a.example.com", "evil.com"):
                found = client.request(method, "/health", headers={"host": host})
                yield method, host, found.status_code, found.text, dict(found.headers)

    early = list(answers(app))
    assert [status for _, _, status, _, _ in early] == [200, 200, 400, 405, 405, 400, 405, 405, 400]
    assert early == list(answers(app.api))


def test_a_server_that_nobody_asked_ends_without_making_its_api(own_folder):
    guard = made("test")
    guard.app.close()
    assert "api" not in vars(guard.app)


def made(*hosts):
    chosen = settings.load(store="sqlite:t.db", hosts=list(hosts))
    return make_guarded(chosen, parts.open_store(chosen), parts.make_routes(chosen))

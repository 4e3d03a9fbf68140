"""What decides the parent of a request's span, and what its children hang below: the API is used as an app would."""

# ruff: noqa: UP031 - the code that is run has braces of its own

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tailtrace.header import FORM, tail
from tailtrace.traceparent import is_unsampled, parse

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"

PRELUDE = """
import asyncio, gc, json, os, sys, threading, time, weakref
from fastapi import FastAPI, BackgroundTasks, Request
from fastapi.responses import StreamingResponse
from opentelemetry import trace, context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import tailtrace
app = FastAPI(title="shop")

@app.get("/items/{item_id}")
async def item(item_id: int, request: Request):
    return {"item": item_id}

def call(app, path="/items/7", headers=(), method="GET", **more):
    sent = []
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        sent.append(message)
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 8000), "headers": [(k.encode(), v.encode()) for k, v in headers], **more}
    try:
        asyncio.run(app(scope, receive, send))
    except Exception as error:
        sent.append(type(error).__name__)
    return sent

def batch():
    from tailtrace import attach
    ring = attach._pipelines[0].worker._ring
    return list(ring)

def header_of(sent):
    return dict(sent[0]["headers"]).get(b"x-tailtrace", b"").decode()

PARENT = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
UNSAMPLED = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
MARKED = ("x-tailtrace-request", "1")
"""


@pytest.fixture(scope="module")
def forker():
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("forker.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.stdin.close()


@pytest.fixture
def run(forker):
    """Run code in a process of its own, with nobody listening; what it prints last as JSON."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    # Long enough that the ring still holds what a test looks for.
    kept |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "20000"}

    def run(code, **environ):
        asked = {"code": PRELUDE + textwrap.dedent(code), "environ": {**kept, **environ}}
        forker.stdin.write(json.dumps(asked) + "\n")
        forker.stdin.flush()
        done = json.loads(forker.stdout.readline())
        assert done["status"] == 0, done["stderr"]
        return json.loads(done["stdout"].splitlines()[-1])

    return run


@pytest.mark.parametrize(
    ("value", "parent"),
    [
        (b"00-" + TRACE + b"-" + SPAN + b"-01", (TRACE, SPAN, b"01", True)),
        (b"00-" + TRACE + b"-" + SPAN + b"-00", (TRACE, SPAN, b"00", False)),
        (b"00-" + TRACE + b"-" + SPAN + b"-03", (TRACE, SPAN, b"03", True)),
        (b"01-" + TRACE + b"-" + SPAN + b"-01-more", (TRACE, SPAN, b"01", True)),
        (b"01-" + TRACE + b"-" + SPAN + b"-02-more", (TRACE, SPAN, b"02", False)),
        (b"01-" + TRACE + b"-" + SPAN + b"-00more", None),
        (b"00-" + TRACE + b"-" + SPAN + b"-00-more", None),
        (b"00-" + TRACE.upper() + b"-" + SPAN + b"-00", None),
        (b"ff-" + TRACE + b"-" + SPAN + b"-00", None),
        (b"00-" + b"0" * 32 + b"-" + SPAN + b"-00", None),
        (b"00-" + TRACE + b"-" + b"0" * 16 + b"-00", None),
        (b"00-" + TRACE + b"-" + SPAN + b"-00\n", None),
        (b"00-" + TRACE + b"-" + SPAN + b"-01-more", None),
        (b"ff-" + TRACE + b"-" + SPAN + b"-01", None),
        (b"00-" + TRACE.upper() + b"-" + SPAN + b"-01", None),
        (b"00-" + b"0" * 32 + b"-" + SPAN + b"-01", None),
        (b"00-" + TRACE + b"-" + b"0" * 16 + b"-01", None),
        (b"00-" + TRACE + b"-" + SPAN + b"-01\n", None),
        (b"", None),
        (None, None),
    ],
)
def test_the_grammar(value, parent):
    assert parse(value) == parent
    assert value is None or bool(is_unsampled(value)) == (parent is not None and not parent[3])


def test_the_header_says_route_error_and_service():
    value = FORM % (5123, tail("/items/{item_id}", "ValueError", "", "süß;1", "1.4"))
    assert value == b"1;t=5123;r=/items/{item_id};e=ValueError;s=s%C3%BC%C3%9F%3B1;v=1.4"


def test_the_header_is_bounded():
    value = FORM % (10**18, tail("/" + "ä" * 500, "é" * 500, "i" * 500, "s" * 500, "v" * 500))
    assert len(value) <= 1024
    assert value.startswith(b"1;t=1000000000000000000;e=%C3%A9")  # A route that does not fit is left out whole.


@pytest.mark.parametrize("way", ["light", "sdk"])
def test_a_context_left_behind_is_nobodys_parent(run, way):
    # As uvicorn does after a large body, or a span around the whole server.
    spans = run(
        """
        exporter = InMemorySpanExporter()
        provider = TracerProvider(); provider.add_span_processor(SimpleSpanProcessor(exporter))
        if %r == "sdk":
            trace.set_tracer_provider(provider)
        tailtrace.instrument(app)
        with provider.get_tracer("x").start_as_current_span("around"):
            call(app, headers=[PARENT])
            call(app)
        if %r == "sdk":
            found = [(s.name, s.kind.name, s.parent and f"{s.parent.span_id:016x}") for s in exporter.get_finished_spans()]
            found = [f for f in found if f[0] != "around"]
        else:
            found = [(s.shape.name, s.kind.name, s.parent and s.parent[1].decode()) for s in batch()]
        print(json.dumps(found))
        """
        % (way, way)
    )
    assert spans == [
        ["GET /items/{item_id}", "SERVER", "00f067aa0ba902b7"],
        ["GET /items/{item_id}", "SERVER", None],
    ]


def test_user_code_finds_a_recording_span_and_hangs_children_below_it(run):
    found = run(
        """
        @app.get("/user")
        async def user():
            current = trace.get_current_span()
            current.set_attribute("shop.customer", 7)
            with trace.get_tracer("users").start_as_current_span("child"):
                pass
            return current.is_recording()
        tailtrace.instrument(app)
        sent = call(app, "/user", [PARENT])
        child, server = batch()
        after = trace.get_current_span() is trace.INVALID_SPAN
        print(json.dumps([sent[1]["body"].decode(), server.attributes, child[1].name,
            child[1].parent.span_id == server.span_id, f"{child[1].context.trace_id:032x}", after]))
        """
    )
    assert found == ["true", {"shop.customer": 7}, "child", True, TRACE.decode(), True]


def test_two_parents_are_none_and_start_a_trace(run):
    found = run(
        """
        tailtrace.instrument(app)
        for pair in ([UNSAMPLED, UNSAMPLED], [PARENT, UNSAMPLED, PARENT]):
            call(app, headers=pair)
        print(json.dumps([[span.parent, span.trace_id == int(PARENT[1][3:35], 16)] for span in batch()]))
        """
    )
    assert found == [[None, False], [None, False]]


def test_not_sampled_means_no_span_and_no_children(run):
    found = run(
        """
        @app.get("/user")
        async def user():
            with trace.get_tracer("users").start_as_current_span("child") as child:
                return [trace.get_current_span().is_recording(), f"{child.get_span_context().trace_id:032x}"]
        tailtrace.instrument(app)
        sent = call(app, "/user", [UNSAMPLED, MARKED])
        print(json.dumps([json.loads(sent[1]["body"]), len(batch()), header_of(sent).partition(";r=")[2]]))
        """
    )
    assert found == [[False, TRACE.decode()], 0, "/user;s=shop"]


@pytest.mark.parametrize("propagators", ["none", "b3", "nonsense", "tracecontext"])
@pytest.mark.parametrize("way", ["light", "sdk"])
def test_no_propagator_setting_changes_an_answer(run, propagators, way):
    found = run(
        """
        import os
        os.environ["OTEL_PROPAGATORS"] = %r
        if %r == "sdk":
            trace.set_tracer_provider(TracerProvider())
        tailtrace.instrument(app)
        print(json.dumps([call(app, headers=[PARENT])[0]["status"] for _ in range(3)]))
        """
        % (propagators, way)
    )
    assert found == [200, 200, 200]


MIDDLEWARES = {
    "copy": "scope = dict(scope)",
    "stripped": "scope = {**scope, 'path': scope['path'].removeprefix('/api')}",
    "root": "scope = {**scope, 'root_path': '/api'}",
}


@pytest.mark.parametrize("kind", MIDDLEWARES)
def test_a_middleware_that_passes_on_a_copy_keeps_the_route(run, kind):
    found = run(
        """
        class Passing:
            def __init__(self, app): self.app = app
            async def __call__(self, scope, receive, send):
                if scope["type"] == "http":
                    %s
                await self.app(scope, receive, send)
        sub = FastAPI()
        @sub.get("/reports/{day}")
        async def report(day: str): return day
        app.mount("/sub", Passing(sub))
        app.mount("/{tenant}/sub", sub)
        app.add_middleware(Passing)
        tailtrace.instrument(app)
        prefix = "" if %r == "copy" else "/api"
        for path in ("/items/7", "/sub/reports/mon", "/acme/sub/reports/mon"):
            call(app, prefix + path, [PARENT])
        print(json.dumps([s.shape.attributes.get("http.route") for s in batch()]))
        """
        % (MIDDLEWARES[kind], kind)
    )
    root = "/api" if kind == "root" else ""
    assert found == [
        f"{root}/items/{{item_id}}",
        f"{root}/sub/reports/{{day}}",
        f"{root}/{{tenant}}/sub/reports/{{day}}",
    ]


def test_a_5xx_does_not_wait_for_what_comes_after_it(run):
    found = run(
        """
        from fastapi.responses import JSONResponse
        from starlette.background import BackgroundTask
        seen = []
        @app.get("/late")
        async def late():
            async def work():
                seen.append([s.shape.attributes["error.type"] for s in batch()])
            return JSONResponse({}, 503, background=BackgroundTask(work))
        @app.get("/raises")
        async def raises():
            raise ValueError("secret")
        tailtrace.instrument(app)
        one = call(app, "/late", [PARENT, MARKED])
        two = call(app, "/raises", [PARENT, MARKED])
        print(json.dumps([seen, header_of(one).partition(";r=")[2], header_of(two).partition(";r=")[2], two[-1]]))
        """
    )
    assert found == [[["503"]], "/late;e=503;s=shop", "/raises;e=ValueError;s=shop", "ValueError"]


def test_the_header_needs_its_marker_and_never_replaces_the_apps_own(run):
    found = run(
        """
        from fastapi.responses import Response
        @app.get("/own")
        async def own():
            return Response(headers={"X-Tailtrace": "mine"})
        tailtrace.instrument(app)
        print(json.dumps([header_of(call(app)), header_of(call(app, headers=[("x-tailtrace-request", "2")])),
            header_of(call(app, "/own", [MARKED])), header_of(call(app, "/nowhere", [MARKED])).split(";")[2:]]))
        """
    )
    assert found == ["", "", "mine", ["s=shop"]]


@pytest.mark.parametrize("name", ["Content-Type", "X-Accel-Redirect", "X-A\r\nSet-Cookie", "x y", "X-"])
def test_a_header_name_that_could_change_an_answer_is_not_used(run, name):
    found = run(
        "tailtrace.instrument(app)\nprint(json.dumps([h[0].decode() for h in call(app, headers=[MARKED])[0]['headers']]))",
        TAILTRACE_RESPONSE_HEADER=name,
    )
    assert found == ["content-length", "content-type"]


def test_spans_switched_off_leave_the_header(run):
    found = run(
        "tailtrace.instrument(app)\nprint(json.dumps([header_of(call(app, headers=[MARKED])).partition(';r=')[2], threading.active_count()]))",
        OTEL_SDK_DISABLED="true",
        OTEL_RESOURCE_ATTRIBUTES="service.version=2.0,peer.service.name=other",
    )
    assert found == ["/items/{item_id};s=shop;v=2.0", 1]


def test_two_apps_are_two_services(run):
    found = run(
        """
        other = FastAPI(title="stock")
        @other.get("/x")
        async def x():
            with trace.get_tracer("t").start_as_current_span("child"): return 1
        tailtrace.instrument(app); tailtrace.instrument(other)
        call(app); call(other, "/x")
        names = [(s[0] if isinstance(s, tuple) else s.origin).text("service.name") for s in batch()]
        print(json.dumps(names))
        """
    )
    assert found == ["shop", "stock", "stock"]


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"},
        {"OTEL_TRACES_EXPORTER": "otlp,nonsense"},
        {"OTEL_METRICS_EXPORTER": "prometheus_that_is_not_here"},
        {"OTEL_METRIC_EXPORT_INTERVAL": "0"},
    ],
)
def test_a_setting_of_something_else_costs_no_span(run, environ):
    assert run("tailtrace.instrument(app)\ncall(app)\nprint(len(batch()))", **environ) == 1


def test_a_provider_set_after_instrument_is_the_users(run):
    found = run(
        """
        tailtrace.instrument(app)
        exporter = InMemorySpanExporter()
        provider = TracerProvider(); provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        call(app, headers=[PARENT])
        (span,) = exporter.get_finished_spans()
        print(json.dumps([span.name, sorted(span.attributes), len(batch())]))
        """
    )
    assert found == [
        "GET /items/{item_id}",
        [
            "client.address", "http.request.method", "http.response.status_code", "http.route",
            "network.protocol.version", "url.path", "url.scheme",
        ],
        0,
    ]  # fmt: skip


def test_a_processor_of_the_users_sees_the_requests(run):
    found = run(
        """
        tailtrace.instrument(app)
        call(app)
        exporter = InMemorySpanExporter()
        trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
        call(app)
        print(json.dumps([len(exporter.get_finished_spans()), len(batch())]))
        """
    )
    assert found == [1, 2]


def test_captured_headers_are_opentelemetrys_business(run):
    found = run(
        """
        tailtrace.instrument(app)
        call(app, headers=[("x-tenant", "acme"), ("authorization", "secret"), ("host", "shop.test:8443")])
        (_, span), = batch()
        kept = {k: v for k, v in span.attributes.items() if "header" in k or k.startswith("server")}
        print(json.dumps(kept, default=list))
        """,
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST="x-tenant,authorization",
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS="authorization",
    )
    assert found == {
        "http.request.header.x_tenant": ["acme"],
        "http.request.header.authorization": ["[REDACTED]"],
        "server.address": "shop.test",
        "server.port": 8443,
    }


@pytest.mark.parametrize("parent", ["PARENT", "UNSAMPLED"])
@pytest.mark.parametrize("path", ["/items/7", "/raises", "/nowhere"])
def test_a_request_leaves_no_garbage(run, path, parent):
    # A cycle keeps request state, and the frames of what failed, until the collector runs.
    found = run(
        """
        @app.get("/raises")
        async def raises():
            raise ValueError
        bare = FastAPI(title="bare")
        bare.router.routes.extend(app.router.routes)
        tailtrace.instrument(app)
        def garbage(app):
            call(app, %r, [%s, MARKED]); gc.collect(); gc.disable()
            async def several():
                async def receive(): return {"type": "http.request", "body": b"", "more_body": False}
                async def send(message): pass
                for _ in range(50):
                    scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": %r,
                        "raw_path": b"", "query_string": b"", "root_path": "", "client": None, "server": None,
                        "headers": [(b"traceparent", %s[1].encode()), (b"x-tailtrace-request", b"1")]}
                    try:
                        await app(scope, receive, send)
                    except ValueError:
                        pass
            loop = asyncio.new_event_loop(); loop.run_until_complete(several())
            return gc.collect()
        print(json.dumps([garbage(bare), garbage(app)]))
        """
        % (path, parent, path, parent)
    )
    bare, traced = found
    assert traced <= bare + 20  # of 50 requests


@pytest.mark.parametrize("parent", ["PARENT", "UNSAMPLED"])
def test_failing_requests_with_large_bodies_take_no_more_memory_than_bare(run, parent):
    # Without the cyclic collector: whatever kept a request's frames alive would keep its megabyte too.
    bare, traced = run(
        """
        import tracemalloc
        @app.post("/raises")
        async def raises(request: Request):
            request.state.body = body = await request.body() + b"x"
            raise ValueError(len(body))
        bare = FastAPI(title="bare")
        bare.router.routes.extend(app.router.routes)
        tailtrace.instrument(app)
        async def several(app, count):
            async def receive(): return {"type": "http.request", "body": b"x" * 2**20, "more_body": False}
            async def send(message): pass
            for _ in range(count):
                scope = {"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/raises",
                    "raw_path": b"", "query_string": b"", "root_path": "", "client": None, "server": None,
                    "headers": [(b"traceparent", %s[1].encode()), (b"x-tailtrace-request", b"1")]}
                try:
                    await app(scope, receive, send)
                except ValueError:
                    pass
        def peak(app):
            asyncio.run(several(app, 1)); gc.collect(); gc.disable()
            tracemalloc.start()
            asyncio.run(several(app, 30))
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop(); gc.enable(); gc.collect()
            return found
        print(json.dumps([peak(bare), peak(app)]))
        """
        % parent
    )
    assert traced <= bare + 2 * 2**20  # of 30 MiB


@pytest.mark.parametrize("parent", ["PARENT", "UNSAMPLED"])
def test_the_header_names_what_left_the_app_and_not_what_it_answered_itself(run, parent):
    found = run(
        """
        from fastapi import HTTPException
        from fastapi.responses import PlainTextResponse
        @app.exception_handler(KeyError)
        async def handled(request, error): return PlainTextResponse("handled", 500)
        @app.get("/handled")
        async def handled_inside(): raise KeyError
        @app.get("/refused")
        async def refused(): raise HTTPException(503)
        @app.get("/raises")
        async def raises(): raise ValueError
        tailtrace.instrument(app)
        paths = ["/handled", "/refused", "/raises", "/items/7"]
        print(json.dumps([header_of(call(app, path, [%s, MARKED])).split(";", 2)[2] for path in paths]))
        """
        % parent
    )
    assert found == [
        "r=/handled;e=500;s=shop",
        "r=/refused;e=503;s=shop",
        "r=/raises;e=ValueError;s=shop",
        "r=/items/{item_id};s=shop",
    ]


def test_a_client_that_leaves_a_stream_is_no_error(run):
    found = run(
        """
        @app.get("/events")
        async def events():
            async def forever():
                while True:
                    yield b"x"
                    await asyncio.sleep(0.01)
            return StreamingResponse(forever())
        tailtrace.instrument(app)
        async def leave(spec):
            count = 0
            async def receive():
                if spec == "2.3":
                    await asyncio.sleep(0.05)
                    return {"type": "http.disconnect"}
                await asyncio.sleep(9)
            async def send(message):
                nonlocal count
                count += 1
                if spec == "2.4" and count > 3:
                    raise OSError("gone")
            scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": spec}, "http_version": "1.1",
                "method": "GET", "scheme": "http", "path": "/events", "raw_path": b"/events", "query_string": b"",
                "root_path": "", "client": None, "server": None, "headers": []}
            try:
                await app(scope, receive, send)
            except Exception:
                pass
        asyncio.run(leave("2.3")); asyncio.run(leave("2.4"))
        print(json.dumps([s.shape.attributes.get("error.type") for s in batch()]))
        """
    )
    assert found == [None, None]


def test_two_hundred_test_clients_are_one_thread_and_one_wait(run):
    found = run(
        """
        from fastapi.testclient import TestClient
        tailtrace.instrument(app)
        started = time.monotonic()
        for _ in range(200):
            with TestClient(app) as client:
                assert client.get("/items/7").status_code == 200
        ours = [t.name for t in threading.enumerate() if t.name.startswith("tailtrace")]
        print(json.dumps([ours, time.monotonic() - started < 20]))
        """,
        OTEL_BSP_SCHEDULE_DELAY="50",
    )
    assert found == [["tailtrace-export"], True]


def test_a_fork_begins_anew(run):
    found = run(
        """
        tailtrace.instrument(app)
        call(app)
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            before = len(batch()); call(app)
            from tailtrace import attach
            worker = attach._pipelines[0].worker
            os.write(write, json.dumps([before, len(batch()), worker._thread.is_alive(), batch()[0].span_id]).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        call(app)
        child = json.loads(os.read(read, 500))
        print(json.dumps([child[:3], len(batch()), child[3] != batch()[1].span_id]))
        """
    )
    assert found == [[0, 1, True], 2, True]

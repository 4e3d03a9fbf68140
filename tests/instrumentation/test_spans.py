"""What a request becomes: uvicorn, the app and OTLP are real; expectations are literals."""

import asyncio
import time

import httpx
import pytest
import websockets

ROUTES = [
    # request, status, http.route, error.type
    ("GET", "/items/7", 200, "/items/{item_id}", None),
    ("GET", "/items/seven", 422, "/items/{item_id}", None),
    ("DELETE", "/items/7", 405, "/items/{item_id}", None),
    ("GET", "/nowhere/7", 404, None, None),
    ("GET", "/raises", 500, "/raises", "ValueError"),
    ("GET", "/refuses/503", 503, "/refuses/{code}", "503"),
    ("GET", "/refuses/403", 403, "/refuses/{code}", None),
    ("GET", "/shop/9/orders/a", 200, "/shop/{shop}/orders/{order_id}", None),
    ("GET", "/shop/9/orders/bad", 500, "/shop/{shop}/orders/{order_id}", "KeyError"),
    ("POST", "/shop/9/orders/a", 405, "/shop/{shop}/orders/{order_id}", None),
    ("GET", "/sub/reports/mon", 200, "/sub/reports/{day}", None),
    ("GET", "/sub/reports/never", 500, "/sub/reports/{day}", "ZeroDivisionError"),
    ("GET", "/sub/nested/orders/a", 200, "/sub/nested/orders/{order_id}", None),
    ("GET", "/tenants/acme/reports/mon", 200, "/tenants/{tenant}/reports/{day}", None),
    ("GET", "/plain/deep/x", 200, "/plain/deep/{x}", None),
    ("GET", "/sub/none/such", 404, "/sub/{path}", None),
    ("BREW", "/items/7", 405, "/items/{item_id}", None),
]


@pytest.mark.parametrize(("method", "path", "status", "route", "error_type"), ROUTES)
def test_one_server_span_says_route_status_and_error(app, collector, method, path, status, route, error_type):
    answer, trace_id = app.get(path, method)
    assert answer.status_code == status
    (span,) = collector.of(trace_id)
    attributes = span["attributes"]
    assert span["kind"] == 2  # SERVER
    assert span["parent"] == "00f067aa0ba902b7"  # nginx's span
    assert attributes["http.request.method"] == ("_OTHER" if method == "BREW" else method)
    assert attributes["http.response.status_code"] == status
    assert attributes.get("http.route") == route
    assert attributes.get("error.type") == error_type
    assert attributes["url.path"] == path
    assert span["status"] == (2 if error_type else 0)
    assert span["name"] == f"{'HTTP' if method == 'BREW' else method} {route or ''}".strip()
    # Nothing of the old names.
    assert {"http.method", "http.status_code", "http.target", "http.url"}.isdisjoint(attributes)


def test_the_service_is_the_apps_title(app, collector):
    collector.of(app.get("/items/1")[1])
    assert collector.resources[-1]["service.name"] == "Chocolate factory"


def test_without_traceparent_a_trace_of_its_own(app, collector):
    app.http.get("/items/4711")
    (span,) = collector.wait(lambda: [s for s in collector.spans if s["attributes"].get("url.path") == "/items/4711"])
    assert span["parent"] == ""
    assert int(span["trace_id"], 16) > 1_000_000


def test_health_checks_are_excluded_and_their_namesakes_are_not(app, collector):
    excluded = [app.get("/healthz")[1]]
    _, traced = app.get("/health-plans")
    collector.of(traced)
    # A mounted app's is traced: only whole paths are excluded.
    assert [s["attributes"]["http.route"] for s in collector.of(app.get("/sub/healthz")[1])] == ["/sub/healthz"]
    assert [s for s in collector.spans if s["trace_id"] in excluded] == []


def test_query_strings_and_messages_stay_in_the_app(app, collector):
    answer, trace_id = app.get("/query?q=token-abc123")
    assert answer.json() == "token-abc123"
    (span,) = collector.of(trace_id)
    assert "url.query" not in span["attributes"]
    assert b"abc123" not in span["wire"]
    (span,) = collector.of(app.get("/raises")[1])
    ((name, attributes),) = span["events"]
    assert (name, attributes["exception.type"]) == ("exception", "ValueError")
    assert "in raises" in attributes["exception.stacktrace"]
    assert "exception.message" not in attributes


def test_a_stream_counts_whole(app, collector):
    (span,) = collector.of(app.get("/stream")[1])
    assert 290 < span["ms"] < 2000


def test_a_stream_that_breaks_is_an_error(app, collector):
    with pytest.raises(httpx.RemoteProtocolError):
        app.get("/stream?fail=true")
    (span,) = collector.of(f"{app.count:032x}")
    assert span["attributes"]["http.response.status_code"] == 200
    assert span["attributes"]["error.type"] == "RuntimeError"


def test_a_client_that_leaves_is_seen(app, collector):
    trace_id = "c" * 32
    with app.http.stream("GET", "/stream", headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}) as answer:
        next(answer.iter_raw())
    (span,) = collector.of(trace_id)
    assert span["ms"] < 3000


def test_background_tasks_run_and_do_not_count(app, collector):
    _, trace_id = app.get("/background")
    (span,) = collector.of(trace_id)
    assert span["ms"] < 200  # The task sleeps for 400 ms.
    collector.wait(lambda: app.http.get("/background-done").json() == 1, "the task")
    (point,) = collector.wait(
        lambda: [point for point in collector.points if point[1].get("http.route") == "/background"][-1:],
        "the histogram",
    )
    assert point[3] < 0.2


def test_a_websocket_is_one_span(app, collector):
    trace_id = "e" * 32

    async def talk():
        headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
        url = f"ws://127.0.0.1:{app.port}/ws/kitchen?token=abc123"
        async with websockets.connect(url, additional_headers=headers) as socket:
            for _ in range(3):
                await socket.send("hi")
                assert await socket.recv() == "hi"

    asyncio.run(talk())
    (span,) = collector.of(trace_id)
    assert span["name"] == "GET /ws/{room}"
    assert span["attributes"]["http.response.status_code"] == 101
    assert "error.type" not in span["attributes"]
    assert b"abc123" not in span["wire"]


def test_the_histogram_counts_requests_by_route_and_status(app, collector):
    for _ in range(3):
        app.get("/refuses/418")

    def count():
        seen = [p for p in collector.points if p[1].get("http.response.status_code") == 418]
        return [p for p in seen[-1:] if p[2] == 3]

    ((name, attributes, _, total),) = collector.wait(count, "the histogram")
    assert name == "http.server.request.duration"
    assert attributes["http.route"] == "/refuses/{code}"
    assert attributes["http.request.method"] == "GET"
    assert attributes["url.scheme"] == "http"
    assert 0 < total < 3


@pytest.mark.parametrize(
    "headers",
    [
        {"user-agent": b"\xff\\x"},  # OpenTelemetry's own decoding raises on this.
        {"traceparent": "00-" + "z" * 32 + "-1-1"},
        {"traceparent": b"\xff\xfe"},
        {"host": "[::1"},
        {"content-length": "0", "baggage": "=" * 5000},
    ],
)
def test_hostile_headers_never_change_the_answer(app, headers):
    answer = app.http.get("/items/7", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"item": 7})


def test_bytes_that_are_no_utf8_in_the_query(app, collector):
    answer, trace_id = app.get("/query?q=%ff\u00e9")
    assert answer.status_code == 200
    assert len(collector.of(trace_id)) == 1


def test_a_path_beyond_the_limit_is_cut(app, collector):
    (span,) = collector.of(app.get("/items/" + "9" * 3000)[1])
    assert len(span["attributes"]["url.path"]) == 2048
    assert span["attributes"]["tailtrace.path_length"] == 3007


def test_a_span_is_visible_soon_by_default(start_app, collector):
    with start_app(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as app:
        trace_id = "d" * 32
        sent = time.monotonic()
        app.http.get("/items/1", headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
        collector.of(trace_id)
        assert time.monotonic() - sent < 4  # OpenTelemetry's default is five seconds

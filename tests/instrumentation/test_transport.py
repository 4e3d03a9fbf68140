"""How spans leave the process: real sockets, a proxy that must not be asked, a login that must not be sent."""

import pytest

from tailtrace.transport import is_local


@pytest.mark.parametrize(
    ("target", "local"),
    [
        ("http://127.0.0.1:4318/v1/traces", True),
        ("http://localhost:4318", True),
        ("http://[::1]:4318", True),
        ("http://127.8.9.1", True),
        ("http://[::ffff:127.0.0.1]:4318", True),
        ("localhost:4317", True),
        ("unix:///run/collector.sock", True),
        ("unix:collector.sock", True),
        ("http://collector:4318", False),
        ("https://10.0.0.7", False),
        ("http://localhost.example.com", False),
    ],
)
def test_what_is_local(target, local):
    assert is_local(target) is local


def test_loopback_goes_direct_and_no_login_is_sent(start_app, new_collector, tmp_path):
    collector, proxy = new_collector(), new_collector()
    seen = []
    take = collector.server.RequestHandlerClass.do_POST

    def noting(handler):
        seen.append(handler.headers.get("authorization"))
        take(handler)

    collector.server.RequestHandlerClass.do_POST = noting
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    with start_app(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        HTTP_PROXY=proxy.url,
        http_proxy=proxy.url,
        ALL_PROXY=proxy.url,
        HOME=str(tmp_path),
    ) as app:
        app.get("/items/7")
        collector.wait(lambda: collector.spans)
    assert (proxy.posts, set(seen)) == (0, {None})
    collector.close()
    proxy.close()


def test_a_proxy_is_used_for_what_is_elsewhere_unless_it_is_exempt(start_app, new_collector):
    proxy = new_collector()
    with start_app(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector.test:4318", http_proxy=proxy.url) as app:
        app.get("/items/7")
        proxy.wait(lambda: proxy.posts)
    posts = proxy.posts
    with start_app(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector.test:4318", http_proxy=proxy.url, NO_PROXY="collector.test"
    ) as app:
        app.get("/items/7")
        app.stop()
    assert proxy.posts == posts
    proxy.close()


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_what_is_compressed_is_read_by_our_receiver(start_app, compression):
    import asyncio
    import socket
    import threading
    import time

    import uvicorn

    from tailtrace_bridge.spans.receiver import make_receiver

    spans = []
    listener = socket.create_server(("127.0.0.1", 0))
    receiver = make_receiver(lambda batch: spans.extend(batch) or True)
    server = uvicorn.Server(uvicorn.Config(receiver, log_level="critical"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with start_app(OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_COMPRESSION=compression) as app:
        app.get("/items/7")
        app.get("/raises")
        app.stop()
    deadline = time.monotonic() + 5
    while len(spans) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    server.should_exit = True
    thread.join(5)
    assert sorted((span.route, span.error_type, span.service) for span in spans) == [
        ("/items/{item_id}", "", "Chocolate factory"),
        ("/raises", "ValueError", "Chocolate factory"),
    ]


def test_several_exporters_each_get_their_spans(start_app, new_collector):
    collector = new_collector()
    with start_app(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_TRACES_EXPORTER="otlp,console") as app:
        app.get("/items/7")
        _, out, _ = app.stop()
    assert [span["name"] for span in collector.spans] == ["GET /items/{item_id}"]
    assert out.count('"name": "GET /items/{item_id}"') == 1
    collector.close()

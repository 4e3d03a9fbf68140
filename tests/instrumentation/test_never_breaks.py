"""Collectors that are dead, deaf or late, settings that are wrong: the app answers, ends in time, and logs one line."""

import socket
import threading
import time

import pytest

END_S_MAX = 8.0
"""OpenTelemetry's exporter gives up after ten seconds: what waits for it takes longer, on a busy machine too."""


def own(err):
    """The log lines of ours and of OpenTelemetry."""
    return [line for line in err.splitlines() if line.startswith(("tailtrace|", "opentelemetry", "urllib3"))]


def test_no_collector_costs_one_line_and_recovery_one_more(start_app, new_collector):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with start_app(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        OTEL_BSP_SCHEDULE_DELAY="20",
        OTEL_BSP_MAX_QUEUE_SIZE="10",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="5",
    ) as app:
        for _ in range(40):  # More than the queue holds.
            assert app.get("/items/7")[0].status_code == 200
        time.sleep(0.3)
        collector = new_collector(port)
        collector.wait(lambda: collector.spans)
        seconds, _, err = app.stop()
    collector.close()
    warning, recovered = own(err)
    assert warning.startswith(
        f"tailtrace|WARNING|no traces get through to http://127.0.0.1:{port}/v1/traces (no connection): the app runs on"
    )
    assert recovered.startswith(f"tailtrace|INFO|traces get through to http://127.0.0.1:{port}/v1/traces again; ")
    lost = int(recovered.split("again; ")[1].split()[0])
    assert 20 <= lost <= 40
    assert seconds < END_S_MAX


def test_the_end_is_bounded_with_nobody_there(start_app):
    with start_app(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") as app:
        app.get("/items/7")
        seconds, _, err = app.stop()
    assert seconds < END_S_MAX
    (line,) = own(err)
    assert line.startswith("tailtrace|WARNING|no traces get through to http://127.0.0.1:9/v1/traces (")


def test_the_end_is_bounded_with_a_collector_that_never_answers(start_app):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        accepted = []

        def accept():
            while True:
                try:
                    accepted.append(deaf.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        with start_app(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{deaf.getsockname()[1]}") as app:
            app.get("/items/7")
            began = time.monotonic()
            assert app.get("/items/7")[0].status_code == 200
            assert time.monotonic() - began < END_S_MAX
            seconds, _, _ = app.stop()
        assert accepted
        assert seconds < END_S_MAX
        for connection in accepted:
            connection.close()


def test_the_end_sends_what_is_queued(start_app, new_collector):
    collector = new_collector()
    with start_app(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_METRICS_EXPORTER="otlp"
    ) as app:
        app.get("/items/7")
        assert collector.spans == []
        seconds, _, err = app.stop()
    assert [span["name"] for span in collector.spans] == ["GET /items/{item_id}"]
    assert [point[0] for point in collector.points][:1] == ["http.server.request.duration"]
    assert seconds < 30  # the queue's own delay is 60 s
    assert own(err) == []
    collector.close()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "localhost:4318",
            "OTEL_EXPORTER_OTLP_ENDPOINT is 'localhost:4318': it must be a URL such as http://127.0.0.1:4318",
        ),
        (
            "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS",
            "health(",
            "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS is 'health(': it must be regular expressions, comma-separated: missing ), unterminated subpattern at position 6",
        ),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "brotli",
            "OTEL_EXPORTER_OTLP_COMPRESSION is 'brotli': it must be none, gzip or deflate",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            "ten",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT is 'ten': it must be a number of seconds above 0",
        ),
    ],
)
def test_a_broken_variable_costs_one_line_and_the_tracing(start_app, name, value, line):
    with start_app(**{name: value}) as app:
        assert app.get("/items/7")[0].json() == {"item": 7}
        _, _, err = app.stop()
    # The app calls `instrument` twice, and each call says what it found.
    assert own(err) == [f"tailtrace|WARNING|the app runs untraced: {line}"] * 2


@pytest.mark.parametrize(
    "environ",
    [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}],
)
def test_switched_off_is_off(start_app, new_collector, environ):
    collector = new_collector()
    with start_app(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **environ) as app:
        assert app.get("/items/7")[0].json() == {"item": 7}
        _, _, err = app.stop()
    assert (collector.posts, own(err)) == (0, [])
    collector.close()


def test_a_full_queue_with_a_good_collector_is_told_once(start_app, new_collector):
    collector = new_collector()
    with start_app(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="300",
        OTEL_BSP_MAX_QUEUE_SIZE="4",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4",
    ) as app:
        collector.delay_seconds = 1  # four spans a second: any machine asks faster
        for _ in range(25):
            app.get("/items/7")
        collector.wait(lambda: collector.posts > 1)
        _, _, err = app.stop()
    (line,) = own(err)
    assert line.startswith("tailtrace|WARNING|the queue of spans was full and ")
    collector.close()


def test_one_signal_alone(start_app, new_collector):
    collector = new_collector()
    with start_app(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_METRICS_EXPORTER="none") as app:
        app.get("/items/7")
        app.stop()
    assert (len(collector.spans), collector.points) == (1, [])
    collector.close()


def test_the_users_own_provider_is_used_and_kept(start_app, new_collector):
    collector = new_collector()
    with start_app("user-provider", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as app:
        app.get("/items/7")
        _, out, _ = app.stop()
    assert out.count("USER-SPAN GET /items/{item_id}") == 1
    assert collector.spans == []
    collector.close()

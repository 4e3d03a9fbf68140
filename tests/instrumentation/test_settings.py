"""Variables in, settings or a message out."""

import logging

import pytest

import tailtrace
from tailtrace.settings import EXCLUDED_URLS, Settings, SettingsError, Signal, read

DEFAULTS = Settings(
    traces=Signal("http://127.0.0.1:4318/v1/traces", "http/protobuf"),
    metrics=Signal("http://127.0.0.1:4318/v1/metrics", "http/protobuf"),
    service_named=False,
    schedule_delay_ms=500,
    queue_spans_max=2048,
    batch_spans_max=512,
    metric_interval_ms=60_000,
    excluded_urls=EXCLUDED_URLS,
)


def test_nothing_set():
    assert read({}) == DEFAULTS


def test_everything_set():
    assert read(
        {
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318/",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://numbers/write",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BSP_MAX_QUEUE_SIZE": "64",
            "OTEL_METRIC_EXPORT_INTERVAL": "5000",
            "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": "",
        }
    ) == Settings(
        traces=Signal("https://collector:4318/v1/traces", "http/protobuf"),
        metrics=Signal("https://numbers/write", "http/protobuf"),
        service_named=True,
        schedule_delay_ms=100,
        queue_spans_max=64,
        batch_spans_max=64,
        metric_interval_ms=5000,
        excluded_urls="",
    )


def test_grpc_has_its_own_port():
    assert read({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}).traces == Signal("http://127.0.0.1:4317", "grpc")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"OTEL_BSP_SCHEDULE_DELAY": "soon"}, "OTEL_BSP_SCHEDULE_DELAY is 'soon': it must be a whole number above 0"),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "0"}, "OTEL_METRIC_EXPORT_INTERVAL is '0'"),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9999"}, "more than the queue holds (2048)"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "must be one of http/protobuf, grpc"),
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER is 'jaeger': tailtrace exports otlp or none"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1"}, "it must be a URL such as"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host:port"}, "it must be a URL such as"),
    ],
)
def test_what_cannot_be_used_is_named(environ, message):
    with pytest.raises(SettingsError) as caught:
        read(environ)
    assert message in str(caught.value)


def test_something_that_is_no_app_costs_one_line(caplog):
    with caplog.at_level(logging.WARNING, "tailtrace"):
        tailtrace.instrument(object())
    assert [record.getMessage() for record in caplog.records] == [
        "the app runs untraced: AttributeError: 'object' object has no attribute 'build_middleware_stack'"
    ]


def test_grpc_without_its_package_says_what_to_install(monkeypatch, caplog):
    import sys

    from fastapi import FastAPI

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with caplog.at_level(logging.WARNING, "tailtrace"):
        tailtrace.instrument(FastAPI())
    (record,) = caplog.records
    assert "`pip install 'tailtrace[grpc]'`" in record.getMessage()

"""The standard `OTEL_*` variables, read once and checked. There are no variables of our own.

| variable | default |
|---|---|
| `OTEL_SDK_DISABLED` | `false`; `true` leaves the app as it was |
| `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` | `otlp`; or `none` |
| `OTEL_EXPORTER_OTLP_PROTOCOL` (and `_TRACES_`, `_METRICS_`) | `http/protobuf`; `grpc` needs `tailtrace[grpc]` |
| `OTEL_EXPORTER_OTLP_ENDPOINT` (and `_TRACES_`, `_METRICS_`) | `http://127.0.0.1:4318`; for gRPC port 4317 |
| `OTEL_EXPORTER_OTLP_COMPRESSION` (and `_TRACES_`, `_METRICS_`) | `none`; or `gzip`, for HTTP also `deflate` |
| `OTEL_EXPORTER_OTLP_TIMEOUT` (and `_TRACES_`, `_METRICS_`) | 10 s for an attempt |
| `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | the service is named as the app's title |
| `OTEL_BSP_SCHEDULE_DELAY` | 500 ms, not OpenTelemetry's 5 s: a request shall be seen soon |
| `OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` | 2048, 512 spans |
| `OTEL_METRIC_EXPORT_INTERVAL` | 60000 ms |
| `OTEL_PYTHON_FASTAPI_EXCLUDED_URLS`, `OTEL_PYTHON_EXCLUDED_URLS` | health checks, `EXCLUDED_URLS` below; empty: none |

What else the OpenTelemetry SDK and its exporters read (headers, certificates, samplers, limits), they
read as always. A value that is checked here and wrong raises `SettingsError`: the app then runs untraced.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

EXCLUDED_URLS = r"^[a-z]+://[^/]*/(healthz|health|ready|readyz|livez|metrics)/?$"
"""Whole paths, so that `/health-plans` and `/items/health` are traced. Searched in `scheme://host/path`."""

SCHEDULE_DELAY_MS = 500
QUEUE_SPANS_MAX = 2048
BATCH_SPANS_MAX = 512
METRIC_INTERVAL_MS = 60_000
HTTP_ENDPOINT = "http://127.0.0.1:4318"
GRPC_ENDPOINT = "http://127.0.0.1:4317"
PROTOCOLS = ("http/protobuf", "grpc")


class SettingsError(Exception):
    """A variable whose value cannot be used: the message names it, shows it and says what would do."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Where one signal, traces or metrics, goes."""

    endpoint: str
    """A whole URL for HTTP, with the signal's path; a target for gRPC."""
    protocol: str
    """One of `PROTOCOLS`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the variables say. A signal that is `None` is not exported."""

    traces: Signal | None
    metrics: Signal | None
    service_named: bool
    """The user named the service; else the app's title does."""
    schedule_delay_ms: int
    queue_spans_max: int
    batch_spans_max: int
    metric_interval_ms: int
    excluded_urls: str
    """Regular expressions, comma-separated; empty for none."""


def read(environ: Mapping[str, str]) -> Settings:
    """Read and check the variables; `SettingsError` for the first one that cannot be used."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    queue_spans_max = _positive(environ, "OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SPANS_MAX)
    batch_default = min(BATCH_SPANS_MAX, queue_spans_max)
    batch_spans_max = _positive(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch_default)
    if batch_spans_max > queue_spans_max:
        raise SettingsError(
            f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE is {batch_spans_max}, more than the queue holds ({queue_spans_max}): "
            f"lower it, or raise OTEL_BSP_MAX_QUEUE_SIZE"
        )
    return Settings(
        traces=None if disabled else _signal(environ, "TRACES"),
        metrics=None if disabled else _signal(environ, "METRICS"),
        service_named=bool(environ.get("OTEL_SERVICE_NAME"))
        or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""),
        schedule_delay_ms=_positive(environ, "OTEL_BSP_SCHEDULE_DELAY", SCHEDULE_DELAY_MS),
        queue_spans_max=queue_spans_max,
        batch_spans_max=batch_spans_max,
        metric_interval_ms=_positive(environ, "OTEL_METRIC_EXPORT_INTERVAL", METRIC_INTERVAL_MS),
        excluded_urls=_excluded_urls(environ),
    )


def _signal(environ: Mapping[str, str], signal: str) -> Signal | None:
    exporter = environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() or "otlp"
    if exporter == "none":
        return None
    if exporter != "otlp":
        raise SettingsError(f"OTEL_{signal}_EXPORTER is {exporter!r}: tailtrace exports otlp or none")
    own, shared = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    name = own if environ.get(own) else shared
    protocol = environ.get(name, "").strip().lower() or "http/protobuf"
    if protocol not in PROTOCOLS:
        raise SettingsError(f"{name} is {protocol!r}: it must be one of {', '.join(PROTOCOLS)}")
    # The exporters read these two themselves, and would go on with a default and a log line of their own.
    _check(environ, signal, "COMPRESSION", _is_compression, "none, gzip or deflate")
    _check(environ, signal, "TIMEOUT", _is_seconds, "a number of seconds above 0")
    return Signal(endpoint=_endpoint(environ, signal, protocol), protocol=protocol)


def _check(environ: Mapping[str, str], signal: str, what: str, usable: Callable[[str], bool], needed: str) -> None:
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_{what}", f"OTEL_EXPORTER_OTLP_{what}"):
        value = environ.get(name, "").strip()
        if value and not usable(value):
            raise SettingsError(f"{name} is {value!r}: it must be {needed}")


def _is_compression(value: str) -> bool:
    return value.lower() in {"none", "gzip", "deflate"}


def _is_seconds(value: str) -> bool:
    try:
        return 0 < float(value) < float("inf")
    except ValueError:
        return False


def _endpoint(environ: Mapping[str, str], signal: str, protocol: str) -> str:
    own, shared = f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    name = own if environ.get(own) else shared
    default = GRPC_ENDPOINT if protocol == "grpc" else HTTP_ENDPOINT
    value = environ.get(name, "").strip() or default
    if protocol == "grpc" and "://" not in value:
        return value
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"{name} is {value!r}: it must be a URL such as {default}")
    if protocol == "grpc" or name == own:
        return value
    return f"{value.removesuffix('/')}/v1/{signal.lower()}"


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) == 0:
        raise SettingsError(f"{name} is {text!r}: it must be a whole number above 0, {default} by default")
    return int(text)


def _excluded_urls(environ: Mapping[str, str]) -> str:
    for name in ("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"):
        patterns = environ.get(name)
        if patterns is None:
            continue
        try:
            re.compile("|".join(pattern.strip() for pattern in patterns.split(",")))
        except re.error as error:
            raise SettingsError(
                f"{name} is {patterns!r}: it must be regular expressions, comma-separated: {error}"
            ) from error
        return patterns
    return EXCLUDED_URLS

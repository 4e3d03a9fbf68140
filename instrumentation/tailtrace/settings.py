"""The standard `OTEL_*` variables, read once and checked; and one of our own.

| variable | default |
|---|---|
| `OTEL_SDK_DISABLED` | `false`; `true`: neither spans nor metrics |
| `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` | `otlp`; or `none`, `console`, an installed one, or several |
| `OTEL_EXPORTER_OTLP_PROTOCOL` (and `_TRACES_`, `_METRICS_`) | `http/protobuf`; `grpc` needs `tailtrace[grpc]` |
| `OTEL_EXPORTER_OTLP_ENDPOINT` (and `_TRACES_`, `_METRICS_`) | `http://127.0.0.1:4318`; for gRPC port 4317 |
| `OTEL_EXPORTER_OTLP_COMPRESSION` (and `_TRACES_`, `_METRICS_`) | `none`; or `gzip`, for HTTP also `deflate` |
| `OTEL_EXPORTER_OTLP_TIMEOUT` (and `_TRACES_`, `_METRICS_`) | 10 s for an attempt |
| `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | the service is named as the app's title |
| `OTEL_BSP_SCHEDULE_DELAY` | 500 ms, not OpenTelemetry's 5 s: a request shall be seen soon |
| `OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` | 2048, 512 spans |
| `OTEL_METRIC_EXPORT_INTERVAL` | 60000 ms |
| `OTEL_PYTHON_FASTAPI_EXCLUDED_URLS`, `OTEL_PYTHON_EXCLUDED_URLS` | health checks, `EXCLUDED_URLS` below; empty: none |
| `TAILTRACE_UNSAMPLED_SPANS` | 0; so many spans of requests that are not sampled wait for their answer (`late`) |
| `TAILTRACE_UNSAMPLED_SLOW_MS` | 1000: such a request is sent where it is an error, or took so long |
| `TAILTRACE_RESPONSE_HEADER` | `X-Tailtrace`, what nginx is told with an answer (`header`); empty: nothing |

The histogram `http.server.request.duration` is off, since nginx's log has it for every request. It is on where
`OTEL_METRICS_EXPORTER` is set, or the user has a meter provider of their own.

A span starts and ends the light way, without the SDK, unless something asks for the SDK: a tracer provider or a span
processor of the user's, an exporter but OTLP, or one of `SDK_VARIABLES`.

What else the OpenTelemetry SDK and its exporters read (headers, certificates, limits), they read as always. A value
that is checked here and wrong costs the signal that it is for, and one line of log.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TypeVar
from urllib.parse import unquote, urlsplit

EXCLUDED_URLS = r"^[a-z]+://[^/]*/(healthz|health|ready|readyz|livez|metrics)/?$"
"""Whole paths, so that `/health-plans` and `/items/health` are traced. Searched in `scheme://host/path`."""
EXCLUDED_PATHS = frozenset(
    f"/{name}{slash}" for name in ("healthz", "health", "ready", "readyz", "livez", "metrics") for slash in ("", "/")
)
"""The same."""

SCHEDULE_DELAY_MS = 500
QUEUE_SPANS_MAX = 2048
BATCH_SPANS_MAX = 512
METRIC_INTERVAL_MS = 60_000
HTTP_ENDPOINT = "http://127.0.0.1:4318"
GRPC_ENDPOINT = "http://127.0.0.1:4317"
PROTOCOLS = ("http/protobuf", "grpc")
OTLP_NAMES = {"otlp": "", "otlp_proto_http": "http/protobuf", "otlp_proto_grpc": "grpc"}
"""The exporters that are OTLP, and the protocol that a name says."""
RESPONSE_HEADER = "X-Tailtrace"
UNSAMPLED_SLOW_MS = 1000
SDK_VARIABLES = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_TRACES_SAMPLER",
)
"""Whoever sets one of these wants what the SDK, or OpenTelemetry's ASGI middleware, makes of it."""

PARTS = {
    "traces": "the app runs untraced",
    "metrics": "the app's metrics are not exported",
    "header": "nginx is told nothing with the answers",
    "unsampled": "spans of requests that are not sampled are not kept",
}
"""What the variables are for, and what a wrong one costs."""

_T = TypeVar("_T")

# An answer's own headers must stay what they are: only experimental names, and none that nginx obeys.
_HEADER_NAME = re.compile(r"(?i:x-(?!accel-)[a-z0-9][a-z0-9-]{0,60})")


class SettingsError(Exception):
    """A variable whose value cannot be used: the message names it, shows it and says what would do."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Where one signal, traces or metrics, goes."""

    endpoint: str
    """A whole URL for HTTP, with the signal's path; a target for gRPC."""
    protocol: str
    """One of `PROTOCOLS`."""
    compression: str = "none"
    """`none`, `gzip` or `deflate`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the variables say. A signal that is `None` is not exported by OTLP."""

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
    other_traces: tuple[str, ...] = ()
    """Exporters of spans but OTLP, by the names that OpenTelemetry knows them by."""
    other_metrics: tuple[str, ...] = ()
    duration_histogram: bool = False
    response_header: str = RESPONSE_HEADER
    """Empty: none."""
    disabled: bool = False
    sdk_asked: bool = False
    """A variable asks for what only the SDK does."""
    unsampled_spans_max: int = 0
    unsampled_slow_ms: int = UNSAMPLED_SLOW_MS


def read(environ: Mapping[str, str]) -> Settings:
    """Read and check the variables; `SettingsError` for the first one that cannot be used."""
    settings, problems = usable(environ)
    for problem in problems.values():
        raise problem
    return settings


def usable(environ: Mapping[str, str]) -> tuple[Settings, dict[str, SettingsError]]:
    """Return what can be used, and the first problem of each part of `PARTS` that cannot."""
    problems: dict[str, SettingsError] = {}

    def tried(part: str, value: Callable[[], _T], default: _T) -> _T:
        try:
            return value()
        except SettingsError as error:
            problems.setdefault(part, error)
            return default

    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    queue_spans_max, batch_spans_max = tried("traces", lambda: _queue(environ), (QUEUE_SPANS_MAX, BATCH_SPANS_MAX))
    delay_ms = tried("traces", lambda: _positive(environ, "OTEL_BSP_SCHEDULE_DELAY", SCHEDULE_DELAY_MS), 0)
    excluded_urls = tried("traces", lambda: _excluded_urls(environ), "")
    interval_ms = tried("metrics", lambda: _positive(environ, "OTEL_METRIC_EXPORT_INTERVAL", METRIC_INTERVAL_MS), 0)
    nothing: tuple[Signal | None, tuple[str, ...]] = (None, ())
    traces, other_traces = tried("traces", lambda: _signal(environ, "TRACES"), nothing)
    metrics, other_metrics = tried("metrics", lambda: _signal(environ, "METRICS"), nothing)
    header = tried("header", lambda: _response_header(environ), "")
    spans_max = tried("unsampled", lambda: _number(environ, "TAILTRACE_UNSAMPLED_SPANS", 0), 0)
    slow_ms = tried("unsampled", lambda: _number(environ, "TAILTRACE_UNSAMPLED_SLOW_MS", UNSAMPLED_SLOW_MS), 0)
    if disabled or "traces" in problems:
        traces, other_traces = nothing
    if disabled or "metrics" in problems:
        metrics, other_metrics = nothing
    settings = Settings(
        traces=traces,
        metrics=metrics,
        service_named=bool(environ.get("OTEL_SERVICE_NAME")) or "service.name" in _resource_names(environ),
        schedule_delay_ms=delay_ms,
        queue_spans_max=queue_spans_max,
        batch_spans_max=batch_spans_max,
        metric_interval_ms=interval_ms,
        excluded_urls=excluded_urls,
        other_traces=other_traces,
        other_metrics=other_metrics,
        duration_histogram=bool(environ.get("OTEL_METRICS_EXPORTER", "").strip()) and bool(metrics or other_metrics),
        response_header=header,
        disabled=disabled,
        sdk_asked=bool(other_traces) or _asks_for_sdk(environ),
        unsampled_spans_max=0 if "unsampled" in problems else spans_max,
        unsampled_slow_ms=slow_ms,
    )
    return settings, problems


def _asks_for_sdk(environ: Mapping[str, str]) -> bool:
    sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    return any(
        environ.get(name, "").strip()
        for name in SDK_VARIABLES
        if not (name == "OTEL_TRACES_SAMPLER" and sampler == "parentbased_always_on")
    )


def _resource_names(environ: Mapping[str, str]) -> set[str]:
    """Return the names in `OTEL_RESOURCE_ATTRIBUTES`: `name=value,…`, percent-encoded."""
    pairs = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return {unquote(name.strip()) for name, _, value in pairs if value.strip()}


def _signal(environ: Mapping[str, str], signal: str) -> tuple[Signal | None, tuple[str, ...]]:
    """Return where OTLP goes, if it does, and the names of other exporters."""
    names = [name.strip() for name in environ.get(f"OTEL_{signal}_EXPORTER", "").split(",")]
    names = [name for name in names if name] or ["otlp"]
    if any(name.lower() == "none" for name in names):
        return None, ()
    others = tuple(name for name in names if name.lower() not in OTLP_NAMES and is_installed(name, signal.lower()))
    said = [OTLP_NAMES[name.lower()] for name in names if name.lower() in OTLP_NAMES]
    if not said and not others:
        raise SettingsError(
            f"OTEL_{signal}_EXPORTER is {', '.join(names)!r}: tailtrace exports otlp or none, console, or by an "
            f"exporter that is installed"
        )
    return (_otlp(environ, signal, said[0]) if said else None), others


def is_installed(name: str, signal: str) -> bool:
    """Return whether an exporter of `traces` or `metrics` can be had under the name that the variables give it."""
    if name.lower() in {"none", "console", *OTLP_NAMES}:
        return True
    return bool(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))


def unknown_exporters(environ: Mapping[str, str], signal: str) -> list[str]:
    """Return the exporters that the variable of `TRACES` or `METRICS` names, and that are not installed."""
    names = [name.strip() for name in environ.get(f"OTEL_{signal}_EXPORTER", "").split(",")]
    return [name for name in names if name and not is_installed(name, signal.lower())]


def _otlp(environ: Mapping[str, str], signal: str, protocol: str) -> Signal:
    own, shared = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    name = own if environ.get(own) else shared
    protocol = protocol or environ.get(name, "").strip().lower() or "http/protobuf"
    if protocol not in PROTOCOLS:
        raise SettingsError(f"{name} is {protocol!r}: it must be one of {', '.join(PROTOCOLS)}")
    # The exporters read these two themselves, and would go on with a default and a log line of their own.
    compression = _checked(environ, signal, "COMPRESSION", _is_compression, "none, gzip or deflate")
    _checked(environ, signal, "TIMEOUT", _is_seconds, "a number of seconds above 0")
    return Signal(
        endpoint=_endpoint(environ, signal, protocol), protocol=protocol, compression=compression.lower() or "none"
    )


def _checked(environ: Mapping[str, str], signal: str, what: str, usable: Callable[[str], bool], needed: str) -> str:
    """Return the signal's own value, else the shared one, else nothing; both must be usable."""
    found = ""
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_{what}", f"OTEL_EXPORTER_OTLP_{what}"):
        value = environ.get(name, "").strip()
        if value and not usable(value):
            raise SettingsError(f"{name} is {value!r}: it must be {needed}")
        found = found or value
    return found


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
    if protocol == "grpc" and ("://" not in value or value.startswith("unix:")):
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


def _queue(environ: Mapping[str, str]) -> tuple[int, int]:
    queue_spans_max = _positive(environ, "OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SPANS_MAX)
    batch_default = min(BATCH_SPANS_MAX, queue_spans_max)
    batch_spans_max = _positive(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch_default)
    if batch_spans_max > queue_spans_max:
        raise SettingsError(
            f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE is {batch_spans_max}, more than the queue holds ({queue_spans_max}): "
            f"lower it, or raise OTEL_BSP_MAX_QUEUE_SIZE"
        )
    return queue_spans_max, batch_spans_max


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if text and (not text.isdecimal() or len(text) > 9):
        raise SettingsError(f"{name} is {text[:40]!r}: it must be a whole number, {default} by default")
    return int(text or default)


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9 or int(text) == 0:
        raise SettingsError(f"{name} is {text[:40]!r}: it must be a whole number above 0, {default} by default")
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


def _response_header(environ: Mapping[str, str]) -> str:
    name = environ.get("TAILTRACE_RESPONSE_HEADER", RESPONSE_HEADER).strip()
    if name and not _HEADER_NAME.fullmatch(name):
        raise SettingsError(
            f"TAILTRACE_RESPONSE_HEADER is {name[:80]!r}: it must begin with X-, but not X-Accel-, and have letters, "
            f"digits and hyphens; empty for none"
        )
    return name

"""How an app gets its layer (`middleware`). It never raises and never replaces what is there.

| the app, and the settings | what it gets |
|---|---|
| as FastAPI makes it | spans and the response header |
| traced by OpenTelemetry's own instrumentor | the response header; its spans are the instrumentor's |
| exporting nothing, or a setting of the traces that cannot be used | the response header |
| traced by us already | nothing more |
"""

import logging
import os
import threading
from types import MethodType
from typing import Any

from tailtrace.settings import PARTS, Settings, SettingsError, unknown_exporters, usable

_MARK = "_is_instrumented_by_opentelemetry"
"""OpenTelemetry's own mark, so that its instrumentor and ours do not both trace an app."""
_OWN_MARK = "_is_instrumented_by_tailtrace"

_lock = threading.Lock()
_pipelines: list[Any] = []

logger = logging.getLogger("tailtrace")


def attach(app: Any) -> None:
    """Put the layer around an app."""
    try:
        with _lock:
            _attach(app)
    except Exception as error:  # noqa: BLE001 - tracing must not keep an app from starting
        logger.warning("the app runs untraced: %s", _reason(error))


def _attach(app: Any) -> None:
    settings, problems = _checked()
    if getattr(app, _OWN_MARK, False):
        return
    if not (settings.response_header or settings.traces or settings.other_traces):
        return
    from tailtrace.middleware import Tracing  # noqa: PLC0415 - a broken installation costs the tracing, not the app
    from tailtrace.providers import Pipeline, make_origin  # noqa: PLC0415

    build = app.build_middleware_stack
    spans = "traces" not in problems and not settings.disabled and not getattr(app, _MARK, False)
    origin = make_origin(settings, getattr(app, "title", "") or "app")
    if spans and not _pipelines:
        _pipelines.append(Pipeline(settings))
        if os.environ.get("OTEL_PYTHON_TRACER_PROVIDER"):  # Whoever asks for a provider first would make one of it.
            _pipelines[0].open(origin)

    def traced(stack: Any) -> Tracing:
        return Tracing(
            stack,
            app,
            origin=origin,
            pipeline=_pipelines[0] if spans else None,
            excluded_urls=settings.excluded_urls,
            response_header=settings.response_header,
        )

    def build_middleware_stack(_app: Any) -> Any:
        stack = build()
        try:
            return traced(stack)
        except Exception as error:  # noqa: BLE001
            logger.warning("the app runs untraced: %s", _reason(error))
            return stack

    if app.middleware_stack is not None:  # It serves already: its middleware is kept as it is, and wrapped.
        app.middleware_stack = traced(app.middleware_stack)
    app.build_middleware_stack = MethodType(build_middleware_stack, app)
    setattr(app, _OWN_MARK, True)
    if spans:
        setattr(app, _MARK, True)


def _checked() -> tuple[Settings, dict[str, SettingsError]]:
    """Read the settings, and say once what of them cannot be used."""
    settings, problems = usable(os.environ)
    if not settings.disabled and "traces" not in problems:
        for signal in ("TRACES", "METRICS"):
            unknown = unknown_exporters(os.environ, signal)
            if unknown and signal.lower() not in problems:
                logger.warning(
                    "OTEL_%s_EXPORTER names %s, which is not installed: the others are used", signal, ", ".join(unknown)
                )
        if settings.traces and settings.traces.protocol == "grpc":
            from tailtrace.transport import grpc_class  # noqa: PLC0415

            try:
                grpc_class("trace_exporter", "OTLPSpanExporter")
            except SettingsError as error:
                problems["traces"] = error
    told: set[str] = set()
    for part, problem in problems.items():
        if str(problem) in told:
            continue
        told.add(str(problem))
        logger.warning("%s: %s", PARTS[part], problem)
    return settings, problems


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, SettingsError) else f"{type(error).__name__}: {error}"

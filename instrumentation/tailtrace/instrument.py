"""The one line: `tailtrace.instrument(app)`.

It never raises and never replaces what is there: an app that is instrumented already, by us or by OpenTelemetry, is
left alone, and providers that the user has set are used. Whatever is wrong costs one log line and the tracing.
"""

import logging
import os
import threading
from types import MethodType
from typing import Any

from tailtrace.settings import read

_MARK = "_is_instrumented_by_opentelemetry"
"""OpenTelemetry's own mark, so that its instrumentor and ours do not both trace an app."""

_lock = threading.Lock()
_pipelines: list[Any] = []

logger = logging.getLogger("tailtrace")


def instrument(app: Any) -> None:
    """Trace the requests of a FastAPI (or Starlette) app, as the standard `OTEL_*` variables say.

    Call it once for each app that a server runs, before or after routes and middleware are added; mounted apps belong
    to the app that they are mounted in. `settings` lists the variables.
    """
    try:
        with _lock:
            _instrument(app)
    except Exception as error:  # noqa: BLE001 - tracing must not keep an app from starting
        logger.warning("the app runs untraced: %s", _reason(error))


def _instrument(app: Any) -> None:
    if getattr(app, _MARK, False):
        return
    settings = read(os.environ)
    if settings.traces is None and settings.metrics is None:
        logger.debug("the app runs untraced, as OTEL_SDK_DISABLED or OTEL_*_EXPORTER say")
        return
    # Imported here, so that a broken installation costs the tracing and not the app.
    from tailtrace.export import Pipeline  # noqa: PLC0415
    from tailtrace.middleware import Tracing  # noqa: PLC0415

    build = app.build_middleware_stack
    if not _pipelines:
        _pipelines.append(Pipeline(settings, service_name=getattr(app, "title", "") or "app"))
    pipeline = _pipelines[0]

    def traced(stack: Any) -> Tracing:
        return Tracing(
            stack,
            tracer_provider=pipeline.tracer_provider,
            meter_provider=pipeline.meter_provider,
            excluded_urls=settings.excluded_urls,
            flush=pipeline.flush,
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
    setattr(app, _MARK, True)


def _reason(error: Exception) -> str:
    return str(error) if type(error).__name__ == "SettingsError" else f"{type(error).__name__}: {error}"

"""Whose providers trace and measure, and what is installed where there are none. One `Pipeline` for a process.

| there is | spans of requests | children, other spans | metrics |
|---|---|---|---|
| no provider | the light way | our tracer provider, which fills the same ring | our meter provider |
| a variable or a processor that asks for the SDK | our tracer provider | the same | the same |
| a tracer provider of the user's | that one | that one | |
| a meter provider of the user's | | | that one |

What is the user's is neither replaced, flushed nor shut down. Whether there is one is looked for when the app has
started or its first request comes, so that the user may set it up after `instrument`, also in the app's lifespan.
"""

import atexit
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from tailtrace.late import LateSpans, sampler
from tailtrace.link import Link
from tailtrace.senders import Origin, make_sender
from tailtrace.settings import Settings, Signal
from tailtrace.worker import Worker

_ORIGIN = context.create_key("tailtrace.origin")

logger = logging.getLogger("tailtrace")


def make_origin(settings: Settings, service_name: str) -> Origin:
    """Describe an app: its resource, with the service's name."""
    resource = Resource.create({} if settings.service_named else {"service.name": service_name})
    origin = Origin(resource)
    origin.context = context.set_value(_ORIGIN, origin, Context())
    return origin


class RingProcessor(SpanProcessor):
    """Puts what the SDK ends into the ring, with the app in whose request it ended."""

    def __init__(self, worker: Worker, origin: Origin, late: LateSpans | None) -> None:
        self._worker = worker
        self._origin = origin
        self._late = late

    def on_end(self, span: ReadableSpan) -> None:
        """Put a sampled span into the ring; one that is recorded though it is not sampled waits for its request."""
        if span.context is None:
            return
        item = (context.get_value(_ORIGIN) or self._origin, span)
        if span.context.trace_flags.sampled:
            self._worker.put(item)
        elif self._late is not None:
            self._late.hold(span.context.trace_id, item)


class OwnTracers(TracerProvider):
    """Our tracer provider. It knows whether somebody gave it a processor of theirs."""

    def __init__(
        self,
        resource: Resource,
        processors: Sequence[SpanProcessor],
        customise: Callable[[], None],
        sampler: Sampler | None = None,
    ) -> None:
        super().__init__(sampler=sampler, resource=resource, shutdown_on_exit=False)
        for processor in processors:
            super().add_span_processor(processor)
        self._customise = customise
        self.customised = False

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Take a processor of the user's: it shall see the requests' spans too."""
        super().add_span_processor(span_processor)
        self.customised = True
        self._customise()


class OwnMeters(MeterProvider):
    """Our meter provider: the SDK's, made when somebody asks for a meter. Nobody's metrics cost no thread."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None
        self._lock = threading.Lock()

    def get_meter(
        self, name: str, version: str | None = None, schema_url: str | None = None, attributes: Any = None
    ) -> Any:
        """Return a meter of the SDK's."""
        return self._real().get_meter(name, version, schema_url, attributes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._real(), name)

    def _real(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


class Pipeline:
    """The providers of a process, and what sends for them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opened = False
        self._origin: Origin | None = None
        self._others: dict[int, OwnTracers] = {}
        self.own: OwnTracers | None = None
        self.users: Any = None
        """A tracer provider of the user's."""
        self.light = False
        """Whether a request's span needs no SDK."""
        self.measures = False
        """Whether requests are counted in the app's own histogram."""
        where = settings.traces or settings.metrics
        self.link = Link(where.endpoint if where else "nowhere")
        traces = settings.traces
        self.worker = Worker(
            (lambda: make_sender(traces)) if traces else _nowhere,
            self.link,
            ring_max=settings.queue_spans_max,
            batch_max=settings.batch_spans_max,
            delay_s=settings.schedule_delay_ms / 1000,
        )
        self.late: LateSpans | None = None
        """Keeps the spans of requests that are not sampled, where that is asked for and the way is light."""
        if traces and settings.unsampled_spans_max and not settings.sdk_asked:
            self.late = LateSpans(self.worker, settings.unsampled_spans_max, settings.unsampled_slow_ms)
        atexit.register(self.worker.close)

    def open(self, origin: Origin) -> None:
        """Find out whose providers there are, and install what is missing. Once."""
        with self._lock:
            if self._opened:
                return
            self._opened = True
            self._origin = origin
            settings = self._settings
            self.users = _users_provider(
                trace.get_tracer_provider, "OTEL_PYTHON_TRACER_PROVIDER", "sdk_tracer_provider", "ProxyTracerProvider"
            )
            if self.users is None and (settings.traces or settings.other_traces):
                self.own = self._tracers(origin)
                self.light = not settings.sdk_asked
                trace.set_tracer_provider(self.own)
            users_meters = _users_provider(
                metrics.get_meter_provider, "OTEL_PYTHON_METER_PROVIDER", "sdk_meter_provider", "_ProxyMeterProvider"
            )
            if users_meters is None and (settings.metrics or settings.other_metrics):
                metrics.set_meter_provider(OwnMeters(lambda: self._meters(origin)))
            self.measures = not settings.disabled and (users_meters is not None or settings.duration_histogram)

    def tracer_provider(self, origin: Origin) -> Any:
        """Return the provider that starts an app's requests the SDK's way; None for none."""
        if self.users is not None or self.own is None or self.own.customised or origin is self._origin:
            return self.users or self.own
        with self._lock:
            return self._others.setdefault(id(origin), self._tracers(origin))

    def _customised(self) -> None:
        self.light = False

    def _tracers(self, origin: Origin) -> OwnTracers:
        processors: list[SpanProcessor] = (
            [RingProcessor(self.worker, origin, self.late)] if self._settings.traces else []
        )
        for name in self._settings.other_traces:
            exporter = _other(name, "traces", ConsoleSpanExporter)
            if exporter is not None:
                processors.append(BatchSpanProcessor(exporter))
        provider = OwnTracers(origin.resource, processors, self._customised, sampler() if self.late else None)
        if self._settings.other_traces:
            self.worker.at_flush.append(provider.force_flush)
            self.worker.at_close.append(provider.shutdown)
            self.worker.start()
        return provider

    def _meters(self, origin: Origin) -> Any:
        from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider  # noqa: PLC0415
        from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415
            ConsoleMetricExporter,
            MetricReader,
            PeriodicExportingMetricReader,
        )

        interval_ms = self._settings.metric_interval_ms
        exporters = [_metric_exporter(self._settings.metrics, self.link)] if self._settings.metrics else []
        exporters += [_other(name, "metrics", ConsoleMetricExporter) for name in self._settings.other_metrics]
        readers = [
            exporter
            if isinstance(exporter, MetricReader)
            else PeriodicExportingMetricReader(exporter, export_interval_millis=interval_ms)
            for exporter in exporters
            if exporter is not None
        ]
        provider = SdkMeterProvider(readers, resource=origin.resource, shutdown_on_exit=False)
        self.worker.at_flush.append(provider.force_flush)
        self.worker.at_close.append(provider.shutdown)
        self.worker.start()
        return provider


def _nowhere() -> Any:
    return lambda _batch: True


def _users_provider(get: Callable[[], Any], variable: str, default: str, proxy: str) -> Any:
    """Return the provider that somebody set, or that the variable names; None where the SDK's own would be made.

    The API has no question for that. With the variable set, asking for a provider makes one: the SDK's, if the variable
    names it, which sends nothing anywhere.
    """
    named = os.environ.get(variable, "").strip()
    try:
        with _unset(variable if named in {"", default} else ""):
            provider = get()
    except Exception as error:  # noqa: BLE001 - a provider that does not load is none
        logger.warning("%s is %r, which cannot be used (%s): tailtrace uses its own", variable, named, error)
        with _unset(variable):
            provider = get()
    return None if type(provider).__name__ == proxy else provider


@contextmanager
def _unset(variable: str) -> Iterator[None]:
    value = os.environ.pop(variable, None) if variable else None
    try:
        yield
    finally:
        if value is not None:
            os.environ[variable] = value


def _other(name: str, signal: str, console: type) -> Any:
    try:
        if name.lower() == "console":
            return console()
        (entry,) = entry_points(group=f"opentelemetry_{signal}_exporter", name=name)
        return entry.load()()
    except Exception as error:  # noqa: BLE001 - one exporter must not cost the others
        logger.warning("OTEL_%s_EXPORTER: %s cannot be used (%s)", signal.upper(), name, error)
        return None


def _metric_exporter(signal: Signal, link: Link) -> Any:
    options: dict[str, Any]
    if signal.protocol == "grpc":
        from tailtrace.transport import grpc_class, grpc_options  # noqa: PLC0415

        base, options = grpc_class("metric_exporter", "OTLPMetricExporter"), grpc_options(signal)
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

        from tailtrace.transport import DirectSession  # noqa: PLC0415

        base, options = OTLPMetricExporter, {"endpoint": signal.endpoint, "session": DirectSession()}

    class Quiet(base):  # type: ignore[misc,valid-type]
        """A collector that takes no traces takes no metrics either: the link's one line says both."""

        def export(self, *args: Any, **options: Any) -> Any:
            with link.quiet():
                return super().export(*args, **options)

    return Quiet(**options)

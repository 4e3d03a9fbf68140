"""From spans to the collector: batches in the background, one log line for an outage, a bounded end.

The rules:

* A request only puts its span into a bounded queue. A full queue loses the oldest and counts it (`Link.spans_lost`).
* The first failed attempt logs one warning; the next success one line of information with the number of spans lost.
  Spans lost to a full queue while the collector answers are told once.
  What OpenTelemetry's exporters would log for each attempt is dropped, on our own threads only.
* Flushing at the end of the app's lifespan and at exit share one budget, `SHUTDOWN_SECONDS_MAX`, however dead the
  collector is. The work is done on daemon threads, which the interpreter leaves behind.
* Providers that the user installed are used, and neither replaced, flushed nor shut down.
"""

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from anyio import to_thread
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from tailtrace.settings import Settings, SettingsError, Signal

SHUTDOWN_SECONDS_MAX = 2.5
SHUTDOWN_SECONDS_MIN = 0.1
"""What is left to the exit after a flush has used up the budget."""
REASON_LENGTH_MAX = 200

_NOISY_LOGGERS = (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.sdk._shared_internal",
)

logger = logging.getLogger("tailtrace")


class Link:
    """Whether the collector takes what we send. Logs the changes, not the attempts."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.down = False
        self.spans_lost = 0
        self._told_lost = 0
        self._told_overflow = False
        self._lock = threading.Lock()
        self._speaker = threading.local()
        for name in _NOISY_LOGGERS:
            # First in the list: the SDK's own filter hides repetitions, which we count.
            logging.getLogger(name).filters.insert(0, self._hear)

    def close(self) -> None:
        """Let OpenTelemetry's loggers speak again."""
        for name in _NOISY_LOGGERS:
            logging.getLogger(name).removeFilter(self._hear)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Take what OpenTelemetry logs on this thread meanwhile as a sign of trouble, and do not let it through."""
        self._speaker.ours = True
        try:
            yield
        finally:
            self._speaker.ours = False

    def failed(self, reason: str, spans: int = 0) -> None:
        """Note a failed attempt that lost so many spans."""
        with self._lock:
            self.spans_lost += spans
            first, self.down = not self.down, True
        if first:
            logger.warning(
                "no traces get through to %s (%s): the app runs on, spans are dropped until it answers; "
                "start the receiver, set OTEL_EXPORTER_OTLP_ENDPOINT, or set OTEL_SDK_DISABLED=true",
                self.endpoint,
                reason,
            )

    def succeeded(self) -> None:
        """Note that the collector took a batch."""
        with self._lock:
            recovered, self.down = self.down, False
            lost, self._told_lost = self.spans_lost - self._told_lost, self.spans_lost
            overflow = bool(lost) and not recovered and not self._told_overflow
            self._told_overflow = self._told_overflow or overflow
        if recovered:
            logger.info("traces get through to %s again; %d spans were lost meanwhile", self.endpoint, lost)
        elif overflow:
            logger.warning(
                "the queue of spans was full and %d were lost: raise OTEL_BSP_MAX_QUEUE_SIZE; not logged again", lost
            )

    def _hear(self, record: logging.LogRecord) -> bool:
        if not getattr(self._speaker, "ours", False):
            return True
        if record.levelno >= logging.WARNING:
            message = record.getMessage()
            if message.startswith("Queue full"):
                with self._lock:
                    self.spans_lost += 1
            else:
                # What `requests` says of a refused connection is long and names the endpoint three times.
                refused = "Max retries exceeded" in message
                self.failed("no connection" if refused else message.rstrip(".")[:REASON_LENGTH_MAX])
        return False


class _Processor(BatchSpanProcessor):
    """OpenTelemetry's batches; a full queue is reported to the link."""

    def __init__(self, exporter: SpanExporter, link: Link, settings: Settings) -> None:
        super().__init__(
            exporter,
            max_queue_size=settings.queue_spans_max,
            schedule_delay_millis=settings.schedule_delay_ms,
            max_export_batch_size=settings.batch_spans_max,
        )
        self._link = link

    def on_end(self, span: ReadableSpan) -> None:
        with self._link.quiet():
            super().on_end(span)


class _SpanExporter(SpanExporter):
    def __init__(self, inner: SpanExporter, link: Link) -> None:
        self._inner = inner
        self._link = link

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            with self._link.quiet():
                result = self._inner.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs one line
            self._link.failed(f"{type(error).__name__}: {error}", len(spans))
            return SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._link.succeeded()
        else:
            self._link.failed("the batch was refused", len(spans))
        return result

    def shutdown(self) -> None:
        with self._link.quiet():
            self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class _MetricExporter(MetricExporter):
    def __init__(self, inner: MetricExporter, link: Link) -> None:
        super().__init__(
            preferred_temporality=inner._preferred_temporality,  # noqa: SLF001 - the reader asks the exporter for it
            preferred_aggregation=inner._preferred_aggregation,  # noqa: SLF001
        )
        self._inner = inner
        self._link = link

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        try:
            with self._link.quiet():
                return self._inner.export(metrics_data, timeout_millis=timeout_millis or 10_000, **kwargs)
        except Exception as error:  # noqa: BLE001
            self._link.failed(f"{type(error).__name__}: {error}")
            return MetricExportResult.FAILURE

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        with self._link.quiet():
            self._inner.shutdown(timeout_millis=timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class Pipeline:
    """The providers to trace with, and their end. One for a process."""

    def __init__(
        self, settings: Settings, service_name: str, clock_seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock_seconds = clock_seconds
        self._budget_seconds = SHUTDOWN_SECONDS_MAX
        self._owned: list[TracerProvider | MeterProvider] = []
        self.links: list[Link] = []
        # Built before any is installed: a setting that one of them refuses leaves the process as it was.
        resource = Resource.create({} if settings.service_named else {"service.name": service_name})
        tracers = self._tracers(settings, resource) if _no_tracers_yet() else None
        meters = self._meters(settings, resource) if _no_meters_yet() else None
        if tracers is not None:
            trace.set_tracer_provider(tracers)
        if meters is not None:
            metrics.set_meter_provider(meters)
        self.tracer_provider = trace.get_tracer_provider()
        self.meter_provider = metrics.get_meter_provider()
        self._exiting = threading.Event()
        self._exited = threading.Event()
        self._start_closer()
        os.register_at_fork(after_in_child=self._start_closer)
        atexit.register(self.close)

    async def flush(self) -> None:
        """Send what is queued, within what is left of the budget. For the end of an app's lifespan."""
        if not self._owned:
            return
        done = threading.Event()

        def work() -> None:
            for provider in self._owned:
                provider.force_flush()
            done.set()

        started = self._clock_seconds()
        threading.Thread(target=work, name="tailtrace-flush", daemon=True).start()
        if not await to_thread.run_sync(done.wait, self._budget_seconds):
            spent = self._clock_seconds() - started
            self._budget_seconds = max(self._budget_seconds - spent, SHUTDOWN_SECONDS_MIN)

    def close(self) -> None:
        """Send what is queued and stop, within what is left of the budget. For the exit of the process."""
        self._exiting.set()
        if self._closer.is_alive():
            self._exited.wait(self._budget_seconds)

    def _start_closer(self) -> None:
        """Start the thread that waits for the exit: by then, Python (3.12 on) starts no more threads."""
        self._closer = threading.Thread(target=self._close_when_told, name="tailtrace-close", daemon=True)
        self._closer.start()

    def _close_when_told(self) -> None:
        self._exiting.wait()
        for provider in self._owned:
            provider.shutdown()
        self._exited.set()

    def _tracers(self, settings: Settings, resource: Resource) -> TracerProvider | None:
        if settings.traces is None:
            return None
        exporter = _span_exporter(settings.traces)
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        link = Link(settings.traces.endpoint)
        provider.add_span_processor(_Processor(_SpanExporter(exporter, link), link, settings))
        self.links.append(link)
        self._owned.append(provider)
        return provider

    def _meters(self, settings: Settings, resource: Resource) -> MeterProvider | None:
        if settings.metrics is None:
            return None
        # A collector that takes no traces takes no metrics either: the one line says both.
        same = self.links[0] if self.links else None
        link = same or Link(settings.metrics.endpoint)
        reader = PeriodicExportingMetricReader(
            _MetricExporter(_metric_exporter(settings.metrics), link),
            export_interval_millis=settings.metric_interval_ms,
        )
        provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        if same is None:
            self.links.append(link)
        self._owned.append(provider)
        return provider


def _no_tracers_yet() -> bool:
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _no_meters_yet() -> bool:
    # The API has no public name for the provider that stands in until one is set.
    return type(metrics.get_meter_provider()).__name__ == "_ProxyMeterProvider"


def _span_exporter(signal: Signal) -> SpanExporter:
    if signal.protocol == "grpc":
        return _grpc("trace_exporter", "OTLPSpanExporter", signal)  # type: ignore[no-any-return]
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter(endpoint=signal.endpoint)


def _metric_exporter(signal: Signal) -> MetricExporter:
    if signal.protocol == "grpc":
        return _grpc("metric_exporter", "OTLPMetricExporter", signal)  # type: ignore[no-any-return]
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

    return OTLPMetricExporter(endpoint=signal.endpoint)


def _grpc(module: str, name: str, signal: Signal) -> Any:
    from importlib import import_module  # noqa: PLC0415

    try:
        exporter = getattr(import_module(f"opentelemetry.exporter.otlp.proto.grpc.{module}"), name)
    except ImportError as error:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc', for which a package is missing: "
            "`pip install 'tailtrace[grpc]'`, or set it to http/protobuf"
        ) from error
    return exporter(endpoint=signal.endpoint)

"""Send the request metrics to an OTLP endpoint every so often, by OpenTelemetry's exporter.

| what happens | what becomes of the metrics |
|---|---|
| the interval is over, or the process ends | all series go, cumulative since the start |
| the endpoint is away, or refuses | tried for ten seconds, counted (`failed`), said in `problem` |
| it is back | the next round has all since the start: nothing is lost |
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tailtrace_bridge.export.request_durations import BOUNDS_S, DESCRIPTION, NAME, UNIT, Series

STOP_S_MAX = 5.0
SCHEMA_URL = "https://opentelemetry.io/schemas/1.37.0"

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class MetricExportCounters:
    """What became of the rounds."""

    exported: int = 0
    failed: int = 0


class _Durations(Protocol):
    def series(self) -> list[Series]:
        """Return all series, as they are now."""


class RequestMetrics:
    """Sends from a thread of its own. `wall_ns` gives nanoseconds since the epoch."""

    def __init__(
        self,
        durations: _Durations,
        exporter: MetricExporter,
        resource: Resource,
        scope: InstrumentationScope,
        *,
        interval_s: float,
        wall_ns: Callable[[], int],
    ) -> None:
        self.counters = MetricExportCounters()
        self.problem = ""
        """Why the last round was not taken, or empty."""
        self._durations, self._exporter = durations, exporter
        self._resource, self._scope = resource, scope
        self._interval_s, self._wall_ns = interval_s, wall_ns
        self._start_ns = wall_ns()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="tailtrace-metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send a last time, for `STOP_S_MAX` at the most, and end the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_S_MAX)
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._send()
        self._send()

    def _send(self) -> None:
        series = self._durations.series()
        if not series:
            return
        made = metrics_data(series, self._resource, self._scope, self._start_ns, self._wall_ns())
        if self._exporter.export(made) is MetricExportResult.SUCCESS:
            self.counters.exported += 1
            self.problem = ""
            return
        self.counters.failed += 1
        if not self.problem:
            _LOGGER.warning("the request metrics were not taken; each round has all since the start")
        self.problem = f"request metrics were not taken {self.counters.failed} times"


def metrics_data(
    series: Sequence[Series], resource: Resource, scope: InstrumentationScope, start_ns: int, now_ns: int
) -> MetricsData:
    """Return the histogram in OpenTelemetry's form."""
    points = [
        HistogramDataPoint(
            attributes=one.attributes,
            start_time_unix_nano=start_ns,
            time_unix_nano=now_ns,
            count=sum(one.counts),
            sum=one.sum_s,
            bucket_counts=one.counts,
            explicit_bounds=BOUNDS_S,
            min=None,  # type: ignore[arg-type]  # OTLP's are optional, and not kept
            max=None,  # type: ignore[arg-type]
        )
        for one in series
    ]
    histogram = Metric(NAME, DESCRIPTION, UNIT, Histogram(points, AggregationTemporality.CUMULATIVE))
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, [histogram], SCHEMA_URL)], SCHEMA_URL)])

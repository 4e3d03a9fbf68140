"""The composition root of the bridge: settings in, connected parts out."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tailtrace_bridge.core.files.atomic import remove_left_over
from tailtrace_bridge.core.files.lock import FileLock
from tailtrace_bridge.core.records import Row
from tailtrace_bridge.export.request_durations import RequestDurations
from tailtrace_bridge.identity.chain import Identities
from tailtrace_bridge.logs.checkpoint import Checkpoint, TailLine
from tailtrace_bridge.logs.tail import Tail
from tailtrace_bridge.rows.join import Join
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.spans.collector import RawSpansWatch, ask
from tailtrace_bridge.spans.receiver import ReceiverCounters, SpanQueue
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.traces.keeper import TraceKeeper
from tailtrace_bridge.wiring.erasing import finish_erase
from tailtrace_bridge.wiring.features import FeatureKeeper
from tailtrace_bridge.wiring.parts import (
    clock_us,
    line_parser,
    lock_checkpoint,
    make_devices,
    make_enricher,
    make_identities,
    make_local,
    make_routes,
    make_watched,
    monotonic_us,
    open_store,
    worked_us,
)
from tailtrace_bridge.wiring.pipeline import Pipeline
from tailtrace_bridge.wiring.recall import Recall
from tailtrace_bridge.wiring.traces import make_keeper

if TYPE_CHECKING:
    from tailtrace_bridge.export.exporter import SpanExporter
    from tailtrace_bridge.export.metric_exporter import RequestMetrics
    from tailtrace_bridge.identity.control.provider import DeviceIndexProvider
    from tailtrace_bridge.identity.watcher import Watcher
    from tailtrace_bridge.settings.table import Settings
    from tailtrace_bridge.wiring.alerts import Alerts


@dataclass(slots=True)
class Bridge:
    """A pipeline and what feeds it."""

    pipeline: Pipeline
    identities: Identities
    routes: Routes
    store: Store
    spans: SpanQueue
    receiver_counters: ReceiverCounters
    poll_s: float
    lock: FileLock
    watcher: "Watcher"
    keeper: TraceKeeper
    devices: "DeviceIndexProvider | None" = None
    """The control API's, where there is a key."""
    alerts: "Alerts | None" = None
    """Where the settings have rules, or somewhere to send."""
    exporter: "SpanExporter | None" = None
    """Of nginx's spans, where the settings name an endpoint."""
    durations: RequestDurations = field(default_factory=RequestDurations)
    """Of the requests that were stored."""
    request_metrics: "RequestMetrics | None" = None
    """Sends these, where the settings say so."""
    raw_spans: RawSpansWatch | None = None
    """Where the settings name the collector's metrics."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the threads that do the work."""
        self.watcher.start()
        if self.devices is not None:
            self.devices.start()
        if self.exporter is not None:
            self.exporter.start()
        self.keeper.start()
        if self.request_metrics is not None:
            self.request_metrics.start()
        self._thread = threading.Thread(
            target=self.pipeline.run, args=(self._stop, self.poll_s), name="tailtrace-bridge", daemon=True
        )
        self._thread.start()
        if self.alerts is not None:
            self.alerts.start()

    @property
    def running(self) -> bool:
        """Whether the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def counter_records(self) -> Iterator[object]:
        """Return the records of counters of all parts, as they are now: what `/metrics` shows."""
        yield from (self.pipeline.counters, self.pipeline.join.counters, self.pipeline.tail.counters)
        yield from (self.pipeline.hold.counters, self.watcher.counters, self.watcher.history.counters)
        yield from (self.identities.counts, self.receiver_counters)
        if self.devices is not None and self.devices.client_counts is not None:
            yield self.devices.client_counts
        if self.alerts is not None:
            yield self.alerts.counters
        if self.exporter is not None:
            yield self.exporter.counters
        if self.request_metrics is not None:
            yield self.request_metrics.counters
        yield from (self.keeper.counters, self.keeper.choice.counters, self.keeper.held.counters)
        if (of_store := getattr(self.store, "counters", None)) is not None:
            yield of_store

    def stop(self, timeout_s: float = 10.0) -> None:
        """Store what waits and end the thread."""
        self._stop.set()
        if self.alerts is not None:
            self.alerts.stop()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self.exporter is not None:
            self.exporter.stop()
        self.keeper.stop()
        if self.request_metrics is not None:
            self.request_metrics.stop()
        self.watcher.close()
        if self.devices is not None:
            self.devices.close()
        self.pipeline.tail.close()
        self.store.close(soon=True)
        self.lock.release()


def make_bridge(settings: "Settings") -> Bridge:
    """Connect the parts of a live bridge. Raises `SettingsError`, `IdentityError`, `StoreError`, `FormatError`."""
    line_parser(settings)  # a wrong format shows now, not at the first line
    devices = make_devices(settings)
    with ExitStack() as undo:
        lock = lock_checkpoint(settings.checkpoint)
        undo.callback(lock.release)
        for path in (settings.checkpoint, settings.alert_state_path):
            with suppress(OSError):  # who cannot remove it cannot write the file either, and says so then
                remove_left_over(path)
        store = open_store(settings)
        undo.callback(store.close)
        finish_erase(settings, store, lock)
        watched = make_watched(settings)
        watcher = watched.watcher
        if devices is not None:
            devices.on_load = watcher.observe_devices
        identities = make_identities(settings, devices, watched)
        routes = make_routes(settings)
        spans = SpanQueue()
        join: Join[TailLine] = Join(wait_us=settings.span_wait_ms * 1000)

        def open_tail() -> Tail:
            return Tail(settings.log, Checkpoint(settings.checkpoint, store.store_id, store))

        exporter = _make_exporter(settings)
        durations = RequestDurations()
        request_metrics = _make_request_metrics(settings, durations)
        enricher = make_enricher(settings, identities, routes)
        keeper = make_keeper(settings, store, enricher.known)
        recall = Recall(store, enricher, clock_us)
        names = FeatureKeeper(store, {**routes.features(), **settings.features})
        pipeline = Pipeline(
            tail=open_tail(),
            reopen_tail=open_tail,
            make_parser=lambda: line_parser(settings),
            join=join,
            enricher=enricher,
            spans=spans,
            store=store,
            clock=clock_us,
            monotonic=monotonic_us,
            worked=worked_us,
            waits=watcher.waits,
            settle=watcher.settle,
            retention_days=settings.retention_days,
            on_stored=_to_all(
                [
                    recall.offer,
                    names.offer,
                    durations.offer,
                    keeper.offer,
                    *([exporter.offer] if exporter is not None else []),
                ]
            ),
        )
        alerts = _make_alerts(settings, store, pipeline)
        undo.pop_all()  # from here on it is the bridge that ends them
    poll_s = settings.poll_ms / 1000
    counters = ReceiverCounters()
    return Bridge(
        pipeline, identities, routes, store, spans, counters, poll_s, lock, watcher, keeper, devices, alerts,
        exporter, durations, request_metrics, _make_raw_spans(settings),
    )  # fmt: skip


def _to_all(takers: list[Callable[[Sequence[Row]], None]]) -> Callable[[Sequence[Row]], None]:
    """Return what gives stored rows to each of them."""

    def give(rows: Sequence[Row]) -> None:
        for take in takers:
            take(rows)

    return give


def _make_exporter(settings: "Settings") -> "SpanExporter | None":
    if not settings.export_endpoint:
        return None
    # Its HTTP client is loaded by those who export.
    from tailtrace_bridge.wiring.export import make_exporter  # noqa: PLC0415

    return make_exporter(settings)


def _make_request_metrics(settings: "Settings", durations: RequestDurations) -> "RequestMetrics | None":
    if not (settings.export_endpoint and settings.export_metrics_s):
        return None
    from tailtrace_bridge.wiring.export import make_request_metrics  # noqa: PLC0415

    return make_request_metrics(settings, durations)


def _make_raw_spans(settings: "Settings") -> RawSpansWatch | None:
    url = settings.collector_metrics_url
    return RawSpansWatch(lambda: ask(url)) if url else None


def _make_alerts(settings: "Settings", store: Store, pipeline: Pipeline) -> "Alerts | None":
    if not settings.alerts and settings.alert_urls is None and settings.alert_urls_file is None:
        return None
    # Who has no alerts does not pay for them.
    from tailtrace_bridge.wiring.alerts import make_alerts  # noqa: PLC0415

    return make_alerts(
        settings, store, clock=clock_us, local_api=make_local(settings)[0], storing=lambda: pipeline.store_problem
    )

"""The requests and the counters of the bridge in Prometheus text: what was lost, cut or refused is never silent.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import accumulate
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from tailtrace_api.access.guard import AccessCounters
from tailtrace_bridge.alerts.state import AlertCounters
from tailtrace_bridge.export.request_durations import ATTRIBUTES, BOUNDS_S, DESCRIPTION, RequestDurations
from tailtrace_bridge.spans.receiver import ReceiverCounters
from tailtrace_bridge.wiring.bridge import Bridge
from tailtrace_bridge.wiring.pipeline import PipelineCounters

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class EventStream(Protocol):
    """What is counted of `event_stream.EventStream`: a bridge alone does not load that."""

    open: int
    refused: int


def render(bridge: Bridge, mcp: Mapping[str, int], access: AccessCounters, stream: EventStream | None = None) -> bytes:
    """Write `/metrics`: `mcp` counts calls, `access` what was refused, `stream` the streams of open pages."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_BridgeCollector(bridge, mcp, access))
    if stream is not None:
        registry.register(_StreamCollector(stream))
    return generate_latest(registry)


class _BridgeCollector(Collector):
    def __init__(self, bridge: Bridge, mcp: Mapping[str, int], access: AccessCounters) -> None:
        self._bridge = bridge
        self._mcp = mcp
        self._access = access

    def collect(self) -> Iterable[Metric]:
        bridge = self._bridge
        for record in (*bridge.counter_records(), self._access):
            yield from of_record(record)
        yield _counters("lines_refused", "Lines that are no record.", "reason", bridge.pipeline.rejected_by_reason)
        enricher = bridge.pipeline.enricher
        yield _counter("cards_over_limit", "Card views counted under __other__.", enricher.cards_over_limit)
        yield _counters("requests_by_sender", "Rows by sender: named, not, this machine.", "sender", enricher.senders)
        yield _counters("rows_unknown", "Rows that nobody is named in, by why.", "reason", enricher.unknown_by_reason)
        yield _counters("app_headers", "What apps said with their answers.", "result", enricher.app_headers)
        yield _counter(
            "services_over_limit", "Requests whose service counted under __other__.", enricher.services_over_limit
        )
        yield _counter("routes_over_limit", "Requests counted under __other__.", bridge.routes.over_limit_count)
        yield _counter("routes_unlearned", "Routes not learned: so many are known.", bridge.routes.unlearned_count)
        yield _counter("logs_forgotten", "Logs whose position was forgotten.", bridge.pipeline.tail.logs_forgotten)
        yield _counters("mcp", "Calls of tools, and what of their answers was left out.", "event", self._mcp)
        yield _providers(bridge)
        yield from _writers(bridge)
        if bridge.exporter is not None:
            yield _gauge("span_export_waiting", "Requests whose spans wait to be exported.", bridge.exporter.waiting)
        yield _durations(bridge.durations)
        yield from _gauges(bridge)


def of_record(record: object) -> Iterator[Metric]:
    """Return the metrics of a record of counters, by its class; of one that has no row here, all its fields."""
    name = type(record).__name__
    if name in _OWN:
        yield from _OWN[name](record)
    elif name in _LABELLED:
        family, text, label = _LABELLED[name]
        yield _counters(family, text, label, asdict(record))  # type: ignore[call-overload]  # each is a dataclass
    else:
        words = re.sub(r"Count(er)?s$", "", name)
        family = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", words).lower()
        values = asdict(record)  # type: ignore[call-overload]
        numbers = {key: value for key, value in values.items() if not isinstance(value, dict)}
        yield _counters(family, f"What {words} counts.", "event", numbers)
        for key, value in values.items():
            if isinstance(value, dict):
                yield _counters(f"{family}_{key}", f"What {words} counts as {key}.", "what", value)


def _pipeline(counters: PipelineCounters) -> Iterator[Metric]:
    """`rejected` is the sum of `lines_refused`, which goes by reason."""
    yield _counter("lines", "Log lines read.", counters.lines)
    yield _counter("rows_stored", "Rows that the store took as new.", counters.stored)
    yield _counter("rows_duplicate", "Rows that the store had already.", counters.duplicate)
    yield _counter("rows_pruned", "Rows removed by retention.", counters.pruned)
    yield _counter(
        "store_failures", "Batches that the store failed to take; each was tried again.", counters.store_failures
    )
    yield _counter("defects", "Times that it began again after an error nobody expected.", counters.defects)
    yield _counter("clock_jumps", "Times that the machine's clock was set, by seconds or more.", counters.clock_jumps)
    yield _gauge("newest_line_timestamp_seconds", "Time of the newest line.", counters.newest_line_us / 1e6)
    yield _gauge("last_step_timestamp_seconds", "When it last looked for work.", counters.last_bucket_us / 1e6)


def _receiver(counters: ReceiverCounters) -> Iterator[Metric]:
    yield _counter("otlp_requests", "OTLP requests that were read whole.", counters.requests)
    yield _counter("spans", "SERVER spans taken.", counters.spans)
    yield _counter("spans_ignored", "Spans of other kinds.", counters.spans_ignored)
    yield _counters("spans_rejected", "Spans that could not be read.", "reason", counters.spans_rejected)
    yield _counters("otlp_discarded", "Requests of signals that are not kept.", "signal", counters.discarded)
    yield _counters("otlp_refused", "OTLP requests answered with an error.", "status", counters.refused)
    yield _counter("otlp_disconnected", "Senders that left before their request was whole.", counters.disconnected)


def _access(counters: AccessCounters) -> Iterator[Metric]:
    yield _counters("connections_closed", "Connections over a limit.", "reason", counters.closed)
    yield _counters("access_refused", "Requests refused before an app saw them.", "status", counters.refused)
    yield _counters(
        "access_peers_forgotten", "Peers whose use of a limit was forgotten.", "limit", counters.peers_forgotten
    )


class _StreamCollector(Collector):
    def __init__(self, stream: EventStream) -> None:
        self._stream = stream

    def collect(self) -> Iterable[Metric]:
        yield _gauge("streams_open", "Dashboards that are told of news.", self._stream.open)
        yield _counter(
            "streams_refused", "Dashboards over that limit: they ask from time to time.", self._stream.refused
        )


def _alerts(counters: AlertCounters) -> Iterator[Metric]:
    happened = {name: getattr(counters, name) for name in ("started", "ended", "seen")}
    yield _counters("alerts", "What alerts told, or held back for quiet hours.", "what", happened)
    fates = {name: getattr(counters, name) for name in ("sent", "failed", "dropped")}
    yield _counters("alert_messages", "Messages sent, tries that failed, messages given up.", "result", fates)
    yield _counter("alert_events_dropped", "Events that waited for too long to be kept.", counters.events_dropped)
    yield _counter("alert_rounds", "Times that the rules were judged.", counters.rounds)
    yield _counter("alert_failures", "Rounds, or rules in them, that failed.", counters.failed_rounds)
    yield _counter("alert_state_unsaved", "Times that the state's file could not be written.", counters.unsaved)
    yield _counter("alert_jobs_failed", "Reports at set times that failed.", counters.failed_jobs)
    yield _gauge("alerts_firing", "Rules that fire now.", counters.firing)
    yield _gauge("alert_messages_waiting", "Messages not taken by all destinations yet.", counters.waiting)
    yield _gauge("alert_round_seconds", "How long the last round took.", counters.round_us / 1e6)


def _gauges(bridge: Bridge) -> Iterator[Metric]:
    pipeline = bridge.pipeline
    yield _gauge("lines_waiting", "Lines that wait for their span.", len(pipeline.join))
    yield _gauge("lines_held_now", "Lines that wait to be named.", len(pipeline.hold))
    history = bridge.watcher.history
    yield _gauge("history_entries", "Holders of addresses that are remembered.", len(history))
    yield _gauge("watch_current", "1 while somebody tells of each change of hands.", int(history.is_current))
    yield _gauge("spans_waiting", "Requests whose spans wait for their line.", pipeline.join.waiting_spans)
    yield _gauge(
        "identity_routes_over_limit",
        "Subnet routes of the tailnet that are not looked at.",
        sum(getattr(provider, "routes_over_limit", 0) for provider in bridge.identities.providers),
    )
    yield _gauge("log_problems", "Logs that cannot be read now.", len(pipeline.tail.problems()))


def _durations(durations: RequestDurations) -> Metric:
    """Return the requests by route, method and status, named as OpenTelemetry's metrics are in Prometheus.

    https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#otlp-metric-points-to-prometheus
    """
    labels = [name.replace(".", "_") for name in ATTRIBUTES]
    family = HistogramMetricFamily("http_server_request_duration_seconds", DESCRIPTION, labels=labels)
    ends = [*map(str, map(float, BOUNDS_S)), "+Inf"]
    for one in durations.series():
        # Prometheus has texts alone: of a yes it is `true`, and of a route that says True its own word.
        values = ["true" if (value := one.attributes.get(name, "")) is True else str(value) for name in ATTRIBUTES]
        family.add_metric(values, list(zip(ends, accumulate(one.counts), strict=True)), one.sum_s)
    return family


def _providers(bridge: Bridge) -> Metric:
    """Count what the providers of identities did, as far as each counts: questions, loads, and what went wrong."""
    family = CounterMetricFamily(
        "tailtrace_identity_provider", "What providers of identities did.", labels=["provider", "event"]
    )
    for provider in bridge.identities.providers:
        for event in _PROVIDER_EVENTS:
            if (count := getattr(provider, event, None)) is not None:
                family.add_metric([provider.name, event], count)
    return family


def _writers(bridge: Bridge) -> Iterator[Metric]:
    """Count the writes to InfluxDB; SQLite has none of these."""
    counters: Mapping[str, object] = getattr(bridge.store, "write_counters", {})
    if not counters:
        return
    family = CounterMetricFamily("tailtrace_influxdb_writes", "What became of writes.", labels=["of", "event"])
    for writer, record in counters.items():
        for event, count in asdict(record).items():  # type: ignore[call-overload]
            family.add_metric([writer, event], count)
    yield family


_PROVIDER_EVENTS = ("requests", "oversized", "refreshes", "loads", "failures", "reloads", "reload_failures")
_OWN: Mapping[str, Callable[[Any], Iterable[Metric]]] = {
    "PipelineCounters": _pipeline,
    "ReceiverCounters": _receiver,
    "AccessCounters": _access,
    "AlertCounters": _alerts,
}
"""By the name of a class: what it counts may not be loaded here."""
_LABELLED = {
    "JoinCounters": ("join", "What became of lines and spans in the join.", "result"),
    "TailCounters": ("tail", "What happened to the logs.", "event"),
    "HoldCounters": ("lines_held", "Lines that waited to be named.", "event"),
    "WatcherCounters": ("watch", "What the watch of tailscaled did.", "event"),
    "HistoryCounters": ("history", "What became of who had which address.", "event"),
    "IdentityCounts": ("identity", "Questions for identities.", "result"),
    "SqliteCounters": ("sqlite", "What hit a limit of the store.", "event"),
    "InfluxCounters": ("influxdb", "What hit a limit of the store, or was not taken.", "event"),
    "SpanExportCounters": ("span_export", "Spans of nginx, and requests without.", "result"),
    "KeptCounters": ("traces", "What became of traces worth keeping.", "result"),
    "ChoiceCounters": ("trace_choice", "Requests whose trace is worth keeping, and those over the limit.", "result"),
    "HeldCounters": ("trace_spans", "Spans of all kinds, and what became of those that are not kept.", "result"),
    "TransportCounts": ("control_api", "Calls of the control API.", "event"),
}


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"tailtrace_{name}", text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float] | Mapping[int, float]) -> Metric:
    family = CounterMetricFamily(f"tailtrace_{name}", text, labels=[label])
    for key, value in list(values.items()):
        family.add_metric([str(key)], value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"tailtrace_{name}", text, value=value)

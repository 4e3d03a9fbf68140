"""The counters of the bridge in Prometheus text: what was lost, cut or refused is never silent.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from tailtrace_api.access.guard import AccessCounters
from tailtrace_bridge.alerts.state import AlertCounters
from tailtrace_bridge.wiring.bridge import Bridge

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class EventStream(Protocol):
    """What is counted of `news.EventStream`: a bridge alone does not load that."""

    open: int
    refused: int


def render(bridge: Bridge, mcp: Mapping[str, int], access: AccessCounters, news: EventStream | None = None) -> bytes:
    """Write `/metrics`: `mcp` counts calls, `access` what was refused, `news` the streams of open pages."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_BridgeCollector(bridge, mcp, access))
    if news is not None:
        registry.register(_NewsCollector(news))
    return generate_latest(registry)


class _BridgeCollector(Collector):
    def __init__(self, bridge: Bridge, mcp: Mapping[str, int], access: AccessCounters) -> None:
        self._bridge = bridge
        self._mcp = mcp
        self._access = access

    def collect(self) -> Iterable[Metric]:
        bridge = self._bridge
        pipeline, receiver = bridge.pipeline, bridge.receiver_counters
        counters = pipeline.counters
        yield _counter("lines", "Log lines read.", counters.lines)
        yield _counter("rows_stored", "Rows that the store took as new.", counters.stored)
        yield _counter("rows_duplicate", "Rows that the store had already.", counters.duplicate)
        yield _counter("rows_pruned", "Rows removed by retention.", counters.pruned)
        yield _counter(
            "store_failures", "Batches that the store failed to take; each was tried again.", counters.store_failures
        )
        yield _counters("lines_refused", "Lines that are no record.", "reason", pipeline.refused_by_reason)
        yield _counters("join", "What became of lines and spans in the join.", "result", asdict(pipeline.join.counters))
        yield _counters("tail", "What happened to the logs.", "event", asdict(pipeline.tail.counters))
        yield _counters("identity", "Questions for identities.", "result", asdict(bridge.identities.counts))
        unknown = pipeline.enricher.unknown_by_reason
        yield _counters("rows_unknown", "Rows that nobody is named in, by why.", "reason", unknown)
        yield _counters("lines_held", "Lines that waited to be named.", "event", asdict(pipeline.hold.counters))
        yield _counters("watch", "What the watch of tailscaled did.", "event", asdict(bridge.watcher.counters))
        history = bridge.watcher.history
        yield _counters("history", "What became of who had which address.", "event", asdict(history.counters))
        yield _counters(
            "requests_by_sender", "Rows by sender: named, not, this machine.", "sender", pipeline.enricher.senders
        )
        yield _counter("spans", "SERVER spans taken.", receiver.spans)
        yield _counter("spans_ignored", "Spans of other kinds.", receiver.spans_ignored)
        yield _counters("spans_rejected", "Spans that could not be read.", "reason", receiver.spans_rejected)
        yield _counters("otlp_discarded", "Requests of signals that are not kept.", "signal", receiver.discarded)
        yield _counters("otlp_refused", "OTLP requests answered with an error.", "status", receiver.refused)
        yield _counters("connections_closed", "Connections over a limit.", "reason", self._access.closed)
        yield _counters("access_refused", "Requests refused before an app saw them.", "status", self._access.refused)
        yield _counter("cards_over_limit", "Card views counted under __other__.", pipeline.enricher.cards_over_limit)
        yield _counter("routes_over_limit", "Requests counted under __other__.", bridge.routes.over_limit_count)
        yield _counters("mcp", "Calls of tools, and what of their answers was left out.", "event", self._mcp)
        if bridge.exporter is not None:
            yield _counters(
                "span_export", "Spans of nginx, and requests without.", "result", asdict(bridge.exporter.counters)
            )
            yield _gauge("span_export_waiting", "Requests whose spans wait to be exported.", bridge.exporter.waiting)
        if bridge.alerts is not None:
            yield from _alerts(bridge.alerts.counters)
        yield from _gauges(bridge)


class _NewsCollector(Collector):
    def __init__(self, news: EventStream) -> None:
        self._news = news

    def collect(self) -> Iterable[Metric]:
        yield _gauge("streams_open", "Dashboards that are told of news.", self._news.open)
        yield _counter("streams_refused", "Dashboards over that limit: they ask from time to time.", self._news.refused)


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
    yield _gauge("log_problems", "Logs that cannot be read now.", len(pipeline.tail.problems()))
    yield _gauge("newest_line_timestamp_seconds", "Time of the newest line.", pipeline.counters.newest_line_us / 1e6)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"tailtrace_{name}", text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float] | Mapping[int, float]) -> Metric:
    family = CounterMetricFamily(f"tailtrace_{name}", text, labels=[label])
    for key, value in list(values.items()):
        family.add_metric([str(key)], value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"tailtrace_{name}", text, value=value)

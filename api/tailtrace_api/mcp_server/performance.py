"""How fast and how healthy, for an assistant: seven days, and the last days beside those before."""

from collections.abc import Collection, Sequence
from typing import Any

from tailtrace_api.answers.alerts import AlertLine, AlertsNow
from tailtrace_api.answers.insight_records import (
    Advice,
    EndpointChange,
    EndpointRequests,
    FailingAdvice,
    Performance,
    Periods,
    SlowAdvice,
    SlowEndpoint,
    StaleAdvice,
)
from tailtrace_api.answers.requests import placed
from tailtrace_api.mcp_server.outputs import AlertsOutput, BlameOutput, EndpointOutput, PerformanceOutput, PeriodsOutput
from tailtrace_api.mcp_server.tool import Call, Rendered
from tailtrace_api.mcp_server.words import Words
from tailtrace_bridge.texts.reworded import reworded


def system_performance(answer: Performance, call: Call) -> Rendered[PerformanceOutput]:
    """Show `get_system_performance`."""
    words, store, fault = call.words, answer.store, answer.blame
    alerts = _in_short(answer.alerts, words)
    slowest = answer.slowest_endpoints[: call.limit]
    status = words.say("healthy" if store.ok else "failing")
    services = {one.service for one in answer.slowest_endpoints}
    advice = [_advice(one, call, services) for one in answer.advice]
    # A rate of no requests is none; nor is one known where the store is silent.
    has_requests = answer.requests > 0
    ratio = answer.error_rate if has_requests else None
    uptime, errors = words.percent(answer.uptime_percentage), words.percent(None if ratio is None else 100 * ratio)
    if store.ok and not has_requests:
        uptime = errors = words.say("no_requests")
    fresh = words.ago(answer.data_freshness_seconds)
    structured = PerformanceOutput(
        uptime_last_7d=uptime,
        avg_api_response_ms=answer.avg_api_response_ms,
        slowest_endpoints=tuple({_place(row, slowest): words.millis(row.p95_ms)} for row in slowest),
        error_rate=errors,
        influxdb_status=status,
        data_freshness=fresh,
        store_ok=store.ok,
        blame=BlameOutput(verdict=fault.verdict, because=fault.because, app_share=fault.app_share),
        advice=tuple(advice),
        uptime_percentage=answer.uptime_percentage,
        error_ratio=ratio,
        data_freshness_seconds=answer.data_freshness_seconds,
        requests=answer.requests,
        store=store.name,
        slowest_p95_ms=tuple(row.p95_ms for row in slowest),
        alerts=alerts,
    )
    lines = [
        words.say(
            "performance" if has_requests else "performance_none" if store.ok else "performance_unknown",
            days=call.days(answer.period_days),
            uptime=uptime,
            avg=words.millis(answer.avg_api_response_ms),
            errors=errors,
            requests=words.count("requests", answer.requests),
            store=store.name,
            status=status,
            fresh=fresh,
        )
    ]
    if store.problem:
        lines.append(words.say("problem", problem=store.problem))
    if slowest:
        shown = (f"{_place(row, slowest)} {words.millis(row.p95_ms)}" for row in slowest)
        lines.append(words.say("slowest", rows=", ".join(shown)))
    lines.append(words.say("blame", who=words.say(f"who_{fault.verdict}"), why=words.say(f"why_{fault.because}")))
    lines += advice
    if alerts and alerts.active:
        lines.append(words.say("alerts", rows="; ".join(alerts.active)))
    return Rendered(structured, lines, len(slowest), answer.endpoints_total, is_empty=store.ok and not has_requests)


def compare_periods(answer: Periods, call: Call) -> Rendered[PeriodsOutput]:
    """Show `compare_periods`."""
    words = call.words
    rows = answer.endpoints[: call.limit]
    moved = [row for row in rows if row.p95_change_ms is not None]
    structured = PeriodsOutput(
        period_days=answer.period_days,
        now=answer.now,
        before=answer.before,
        metrics=answer.metrics,
        endpoints=tuple(
            EndpointOutput(
                endpoint=_place(row, rows),
                p95_ms_now=row.p95_ms_now,
                p95_ms_before=row.p95_ms_before,
                requests_now=row.requests_now,
                requests_before=row.requests_before,
            )
            for row in rows
        ),
        endpoints_new=answer.endpoints_new[: call.limit],
        endpoints_gone=answer.endpoints_gone[: call.limit],
        endpoints_total=answer.endpoints_total,
        endpoints_new_total=answer.endpoints_new_total,
        endpoints_gone_total=answer.endpoints_gone_total,
    )
    lines = [words.say("compare", days=answer.period_days, until=call.until)]
    lines += [
        words.say(text)
        for text, requests in (
            ("compare_none_now", answer.metrics[0].now),
            ("compare_none", answer.metrics[0].before),
        )
        if requests == 0
    ]
    if not answer.before_covered:
        lines.append(words.say("compare_part"))
    for row in answer.metrics:
        show = _metric(row.metric, call)
        change = row.change_percent
        lines.append(
            words.say(
                "compare_row",
                metric=words.say(f"metric_{row.metric}"),
                now=show(row.now),
                before=show(row.before),
                change="" if change is None else f" ({change:+g}%)",
            )
        )
    if moved:
        shown = (
            f"{_place(row, moved)} {words.millis(row.p95_ms_before)} → {words.millis(row.p95_ms_now)}" for row in moved
        )
        lines.append(words.say("compare_p95", rows=", ".join(shown)))
    for side, found, total in (
        ("new", structured.endpoints_new, answer.endpoints_new_total),
        ("gone", structured.endpoints_gone, answer.endpoints_gone_total),
    ):
        names = [f"{_place(row, found)} ({words.count('requests', row.requests)})" for row in found]
        if more := total - len(found):
            names.append(words.say("compare_more", count=more))
        lines += [words.say(f"compare_{side}", rows=", ".join(names))] if names else []
    return Rendered(structured, lines, len(rows), answer.endpoints_total, is_empty=not answer.metrics[0].now)


def _in_short(told: AlertsNow | None, words: Words) -> AlertsOutput | None:
    """Return each alert in a line."""
    if told is None:
        return None
    return AlertsOutput(
        active=tuple(words.say("alert_since", **_told(one, words)) for one in told.active),
        recent=tuple(words.say("alert_told", **_told(one, words)) for one in told.recent),
    )


def _told(one: AlertLine, words: Words) -> dict[str, str]:
    text = reworded(one.text, one.kind, one.what, words.lang)
    return {"rule": one.rule, "time": one.time, "what": words.say(f"told_{one.what}"), "text": text}


def _advice(one: Advice, call: Call, services: Collection[str | None]) -> str:
    words, endpoint = call.words, ""
    match one:
        case FailingAdvice():
            endpoint, value = placed(one.endpoint, one.service, services), words.percent(100 * one.error_rate)
        case SlowAdvice():
            endpoint, value = placed(one.endpoint, one.service, services), words.millis(one.p95_ms)
        case StaleAdvice():
            value = words.span(one.data_freshness_seconds)
    return words.say(f"advice_{one.code}", endpoint=endpoint, value=value)


def _metric(name: str, call: Call) -> Any:
    if name.endswith("_ms"):
        return call.words.millis
    if name == "error_rate":
        return lambda value: call.words.percent(None if value is None else 100 * value)
    return str


def _place(
    row: SlowEndpoint | EndpointChange | EndpointRequests,
    rows: Sequence[SlowEndpoint | EndpointChange | EndpointRequests],
) -> str:
    """Return what an endpoint is called beside others: with its service where these are of several."""
    return placed(row.endpoint, row.service, [one.service for one in rows])

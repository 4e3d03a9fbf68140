"""The tools on who uses what, how fast, and what broke."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tailtrace_api.answers.alerts import AlertsNow
from tailtrace_api.answers.errors import WhatBroke
from tailtrace_api.answers.insight_records import (
    ActiveUsers,
    Advice,
    EndpointChange,
    EndpointRequests,
    FailingAdvice,
    Performance,
    Periods,
    SlowAdvice,
    SlowEndpoint,
    StaleAdvice,
    UnusedEndpoints,
    UsageStats,
)
from tailtrace_api.answers.request_records import AccessLogs
from tailtrace_api.mcp_server.broken import WhatBrokeOutput, what_broke
from tailtrace_api.mcp_server.explained import Explained, sentences
from tailtrace_api.mcp_server.outputs import (
    ActiveUserOutput,
    ActiveUsersOutput,
    AlertsOutput,
    BlameOutput,
    EndpointOutput,
    PerformanceOutput,
    PeriodsOutput,
    RequestOutput,
    RequestsOutput,
    TraceOutput,
    UsageStatsOutput,
)
from tailtrace_api.mcp_server.parameters import Moment, Number, Text
from tailtrace_api.mcp_server.tool import AnyTool, Call, Rendered, Tool
from tailtrace_api.queries.insights import TRACE_HOURS_MAX

ROWS_DEFAULT = 10
ROWS_MAX = 50
TOP_SHOWN = 5
GROUP = "analytics"
_LIMIT = Number("limit", ROWS_DEFAULT, 1, ROWS_MAX)
_SERVICE = Text("service", ".+", "factory.example")
_AT = Moment("at", ".+", "2025-10-08T14:32:15Z", "end of the window; now if left out")


def active_users(answer: ActiveUsers, call: Call) -> Rendered[ActiveUsersOutput]:
    """Show `get_active_users`."""
    words = call.words
    rows = answer.active_users[: call.limit]
    structured = ActiveUsersOutput(
        active_users=tuple(
            ActiveUserOutput(
                email=row.email,
                device=row.device,
                last_seen=words.ago(row.last_seen_seconds),
                last_seen_at=row.last_seen,
                current_page=row.current_page,
                online=row.online,
                address=None if row.email else row.address,
            )
            for row in rows
        ),
        total_active=answer.total_active,
    )
    lines = [words.say("active" if answer.total_active else "active_none", count=answer.total_active)]
    lines += [
        words.say(
            "active_row",
            who=row.email or row.address,
            device=row.device or words.say("unknown"),
            page=row.current_page or words.say("unknown"),
            ago=words.ago(row.last_seen_seconds),
        )
        for row in rows
    ]
    if answer.services_active:
        lines.append(words.say("services", count=answer.services_active))
    if answer.offline_now:
        lines.append(words.say("gone", count=answer.offline_now))
    return Rendered(structured, lines, len(rows), answer.total_active)


def usage_stats(answer: UsageStats, call: Call) -> Rendered[UsageStatsOutput]:
    """Show `get_usage_stats`."""
    words = call.words
    top = answer.top_features[: call.limit]
    features = [words.say("views", feature=row.feature, count=words.count("views", row.requests)) for row in top]
    structured = UsageStatsOutput(
        period_days=answer.period_days,
        total_sessions=answer.total_sessions,
        unique_users=answer.unique_users,
        most_active_user=answer.most_active_user,
        top_features=tuple(features),
        avg_session_duration_min=answer.avg_session_duration_min,
        total_requests=answer.total_requests,
        top_features_counts=top,
    )
    most, requests = answer.most_active_user, answer.total_requests
    views = words.count("views", answer.most_active_user_requests)
    lines = [
        words.say(
            "usage" if requests else "usage_none",
            days=_days(answer, call),
            sessions=words.count("sessions", answer.total_sessions),
            users=words.count("users", answer.unique_users),
            minutes=f"{answer.avg_session_duration_min:g}",
            requests=words.count("requests", requests),
            most=words.say("views", feature=most, count=views) if most else words.say("none"),
        )
    ]
    if features:
        lines.append(words.say("top", features=", ".join(features)))
    return Rendered(structured, lines, len(top), answer.features_total)


def system_performance(answer: Performance, call: Call) -> Rendered[PerformanceOutput]:
    """Show `get_system_performance`."""
    words, store, fault = call.words, answer.store, answer.blame
    alerts = _in_short(answer.alerts)
    slowest = answer.slowest_endpoints[: call.limit]
    status = words.say("healthy" if store.ok else "failing")
    advice = [_advice(one, call) for one in answer.advice]
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
            days=_days(answer, call),
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
    return Rendered(structured, lines, len(slowest), answer.endpoints_total)


def _in_short(told: AlertsNow | None) -> AlertsOutput | None:
    """Tell of each alert in a line."""
    if told is None:
        return None
    return AlertsOutput(
        active=tuple(f"{one.rule} since {one.time}: {one.text}" for one in told.active),
        recent=tuple(f"{one.time} {one.rule} {one.what}: {one.text}" for one in told.recent),
    )


def _place(
    row: SlowEndpoint | EndpointChange | EndpointRequests,
    rows: Sequence[SlowEndpoint | EndpointChange | EndpointRequests],
) -> str:
    """Return what an endpoint is called beside others: with its service where these are of several."""
    several = len({one.service for one in rows}) > 1
    return f"{row.service} {row.endpoint}" if several and row.service else row.endpoint


def _advice(one: Advice, call: Call) -> str:
    words, endpoint = call.words, ""
    match one:
        case FailingAdvice():
            endpoint, value = one.endpoint, words.percent(100 * one.error_rate)
        case SlowAdvice():
            endpoint, value = one.endpoint, words.millis(one.p95_ms)
        case StaleAdvice():
            value = words.span(one.data_freshness_seconds)
    return words.say(f"advice_{one.code}", endpoint=endpoint, value=value)


def list_requests(answer: AccessLogs, call: Call) -> Rendered[RequestsOutput]:
    """Show `list_requests`."""
    words, summary = call.words, answer.summary
    rows = answer.logs[: call.limit]
    structured = RequestsOutput(
        requests=tuple(
            RequestOutput(
                timestamp=row.timestamp,
                user=row.user,
                device=row.device,
                method=row.method,
                endpoint=row.endpoint,
                status=row.status,
                response_time_ms=row.response_time_ms,
                trace_id=row.trace_id,
            )
            for row in rows
        ),
        total=summary.total_requests,
        errors_5xx=summary.errors_5xx,
    )
    lines = [
        words.say(
            "list_head" if summary.total_requests else "list_none",
            total=words.count("requests", summary.total_requests),
            hours=call.arguments["hours"],
            until=_until(call),
            errors=summary.errors_5xx,
        )
    ]
    lines += [
        words.say(
            "list_row",
            time=row.timestamp[:19].replace("T", " "),
            who=row.user or row.device or row.ip,
            method=row.method,
            path=row.endpoint,
            status=row.status,
            ms=words.millis(row.response_time_ms),
            trace=row.trace_id or "",
        ).rstrip()
        for row in rows
    ]
    return Rendered(structured, lines, len(rows), summary.total_requests)


def explain_request(answer: Explained, call: Call) -> Rendered[TraceOutput]:
    """Show `explain_request`."""
    words = call.words
    structured = TraceOutput(trace_id=answer.trace_id, found=answer.found, requests=answer.requests, trace=answer.trace)
    if not answer.found:
        return Rendered(
            structured,
            [words.say("trace_none", trace=answer.trace_id, hours=answer.searched_hours, most=TRACE_HOURS_MAX)],
        )
    lines = []
    for one in answer.requests:
        line, who, timing = one.nginx, one.identity, one.timing
        name = who.user or who.device or who.ip
        lines.append(
            words.say(
                "trace_row",
                time=one.timestamp,
                who=f"{name} ({who.device or who.kind}, {who.ip})",
                method=line.method,
                path=line.path,
                status=line.status,
                bytes=words.count("bytes", line.bytes),
                total=words.millis(timing.total_ms),
            )
        )
        span = one.span
        if span is None:
            lines.append(words.say("span_none"))
            continue
        error = words.say("span_error", error=span.error_type) if span.error_type else ""
        lines.append(
            words.say(
                "span",
                route=span.route,
                app=words.millis(timing.app_ms),
                outside=words.millis(timing.outside_ms),
                error=error,
            ).rstrip()
        )
    if answer.trace is not None:
        lines += sentences(answer.trace, words)
    return Rendered(structured, lines)


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
                endpoint=row.endpoint,
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
    lines = [words.say("compare", days=answer.period_days, until=_until(call))]
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
    return Rendered(structured, lines, len(rows), answer.endpoints_total)


def _days(answer: UsageStats | Performance, call: Call) -> str:
    return call.words.count("days", answer.period_days) + _until(call)


def _until(call: Call) -> str:
    return call.words.up_to(call.arguments.get("at"))


def _metric(name: str, call: Call) -> Any:
    if name.endswith("_ms"):
        return call.words.millis
    if name == "error_rate":
        return lambda value: call.words.percent(None if value is None else 100 * value)
    return str


def unused_endpoints(answer: UnusedEndpoints, call: Call) -> Rendered[UnusedEndpoints]:
    """Show `list_unused_endpoints`."""
    words = call.words
    rows = answer.unused_endpoints[: call.limit]
    structured = replace(answer, unused_endpoints=rows)
    lines = [
        words.say(
            "unused",
            count=answer.total_unused,
            known=answer.known_endpoints,
            days=answer.period_days,
            until=_until(call),
        )
    ]
    lines += [
        words.say(
            "unused_row",
            endpoint=f"{','.join(row.methods)} {row.endpoint}".strip(),
            earlier=words.count("requests", row.requests_earlier),
        )
        for row in rows
    ]
    return Rendered(structured, lines, len(rows), answer.total_unused)


TOOLS: tuple[AnyTool, ...] = (
    Tool(
        "get_active_users",
        GROUP,
        "Who is using the app now: people with a request in the last 5 minutes, their device and page.",
        ActiveUsers,
        (_LIMIT,),
        ActiveUsersOutput,
        active_users,
        "users",
    ),
    Tool(
        "get_usage_stats",
        GROUP,
        "How much the app is used: sessions, people, most used features.",
        UsageStats,
        (Number("days", 7, 1, 30), _AT, Number("limit", TOP_SHOWN, 1, 10)),
        UsageStatsOutput,
        usage_stats,
        "features",
    ),
    Tool(
        "get_system_performance",
        GROUP,
        "How fast and how healthy 7 days were, and whether proxy, app or store is to blame.",
        Performance,
        (_AT, _SERVICE, Number("limit", TOP_SHOWN, 1, 10)),
        PerformanceOutput,
        system_performance,
        "endpoints",
    ),
    Tool(
        "list_requests",
        GROUP,
        "Single requests, newest first: who, what, status, time, trace id.",
        AccessLogs,
        (
            Number("hours", 24, 1, 168),
            _AT,
            Text("user", ".+", "ana@example.com", "a login or an address"),
            Text("endpoint", "/.*|__other__", "/items/{item_id}", "a route"),
            Text("status", "[1-5]xx|[0-9]{3}", "5xx", "a code or a class like 5xx"),
            _SERVICE,
            Number("limit", 8, 1, ROWS_MAX),
        ),
        RequestsOutput,
        list_requests,
        "requests",
        limit_goes_along=True,
    ),
    Tool(
        "explain_request",
        GROUP,
        "One request by trace id: nginx line, app span, who, where the time went, which code failed.",
        Explained,
        (
            Text(
                "trace_id",
                "[0-9a-fA-F]{32}",
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "32 hex digits",
                required=True,
            ),
            Number("hours", 24, 1, TRACE_HOURS_MAX, "how far back to look"),
            Moment("at", ".+", "2025-10-08T14:32:15Z", "its timestamp, if known: finds an old one at once"),
        ),
        TraceOutput,
        explain_request,
    ),
    Tool(
        "what_broke",
        GROUP,
        "What broke, whom it hit, and deployments: failures in groups.",
        WhatBroke,
        (Number("hours", 24, 1, 720), _AT, Number("limit", TOP_SHOWN, 1, ROWS_MAX)),
        WhatBrokeOutput,
        what_broke,
        "groups",
    ),
    Tool(
        "compare_periods",
        GROUP,
        "The last days beside as many days before: traffic, people, speed, errors.",
        Periods,
        (Number("days", 7, 1, 30), _AT, _SERVICE, Number("limit", TOP_SHOWN, 1, 10)),
        PeriodsOutput,
        compare_periods,
        "endpoints",
    ),
    Tool(
        "list_unused_endpoints",
        GROUP,
        "Endpoints that nobody used.",
        UnusedEndpoints,
        (Number("days", 30, 1, 30), _AT, _LIMIT),
        UnusedEndpoints,
        unused_endpoints,
        "endpoints",
    ),
)

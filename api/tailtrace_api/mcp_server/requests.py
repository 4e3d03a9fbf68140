"""Single requests, for an assistant: a list, and one with all that is known of it."""

from tailtrace_api.answers.request_records import AccessLogs
from tailtrace_api.mcp_server.explained import Explained, sentences
from tailtrace_api.mcp_server.outputs import RequestOutput, RequestsOutput, TraceOutput
from tailtrace_api.mcp_server.tool import Call, Rendered
from tailtrace_api.queries.insights import TRACE_HOURS_MAX
from tailtrace_bridge.core.text import exception_of


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
            until=call.until,
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
    return Rendered(structured, lines, len(rows), summary.total_requests, is_empty=not summary.total_requests)


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
                who=f"{name} ({who.device or words.kind(who.kind)}, {who.ip})",
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
        exception = exception_of(span.error_type or "")
        error = words.say("span_error", error=exception) if exception else ""
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

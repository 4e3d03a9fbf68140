"""Who uses what, for an assistant: people active now, usage, endpoints without any."""

from dataclasses import replace

from tailtrace_api.answers.insight_records import ActiveUsers, UnusedEndpoints, UsageStats
from tailtrace_api.answers.requests import placed
from tailtrace_api.mcp_server.outputs import ActiveUserOutput, ActiveUsersOutput, UsageStatsOutput
from tailtrace_api.mcp_server.tool import Call, Rendered


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
            device=row.device or words.say("unknown_device"),
            page=words.page(row.current_page) if row.current_page else words.say("unknown"),
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
            days=call.days(answer.period_days),
            sessions=words.count("sessions", answer.total_sessions),
            users=words.count("users", answer.unique_users),
            minutes=f"{answer.avg_session_duration_min:g}",
            requests=words.count("requests", requests),
            most=words.say("views", feature=most, count=views) if most else words.say("none"),
        )
    ]
    if features:
        lines.append(words.say("top", features=", ".join(features)))
    return Rendered(structured, lines, len(top), answer.features_total, is_empty=not requests)


def unused_endpoints(answer: UnusedEndpoints, call: Call) -> Rendered[UnusedEndpoints]:
    """Show `list_unused_endpoints`."""
    words = call.words
    rows = answer.unused_endpoints[: call.limit]
    structured = replace(answer, unused_endpoints=rows)
    services = {row.service for row in rows}
    lines = [
        words.say(
            "unused",
            count=answer.total_unused,
            known=answer.known_endpoints,
            days=answer.period_days,
            until=call.until,
        )
    ]
    lines += [
        words.say(
            "unused_row",
            endpoint=f"{','.join(row.methods)} {placed(row.endpoint, row.service, services)}".strip(),
            earlier=words.count("requests", row.requests_earlier),
        )
        for row in rows
    ]
    # All of them, and not before either: it was asked about a time of which nothing is stored.
    is_empty = answer.total_unused == answer.known_endpoints and not any(row.requests_earlier for row in rows)
    return Rendered(structured, lines, len(rows), answer.total_unused, is_empty=is_empty)

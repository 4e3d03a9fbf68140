"""The answers, as pure functions of what the store sums up. Each is defined in words in `docs/definitions.md`.

No clock, no store, no file: rows in, plain values out, so that HTTP, terminal, MCP and dashboard tell the same.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from tailtrace_bridge.histogram import percentiles
from tailtrace_bridge.records import Identity, Traffic
from tailtrace_bridge.store.names import device_key, user_key
from tailtrace_bridge.store.protocol import (
    DAY_US,
    HOUR_US,
    Activity,
    Latency,
    LogEntry,
    Minute,
    StepLatency,
    StepUsage,
    Usage,
)

SESSION_GAP_US = 30 * 60 * 1_000_000
FAVORITES_MAX = 3
LISTED_MAX = 500
"""Rows of one list in an answer: the first in its order."""
CARD_PREFIX = "/_tailtrace/view?card="
"""A card view is stored under the endpoint that this and its name make."""
_USAGE = frozenset({Traffic.APP, Traffic.CARD})


class Session(NamedTuple):
    """Requests of one user on one device, none more than 30 minutes after the one before."""

    identity: Identity
    start_us: int
    end_us: int
    requests: int


def iso(time_us: int) -> str:
    """`2025-10-08T14:32:15.000Z`: milliseconds, UTC."""
    return datetime.fromtimestamp(time_us // 1000 / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def millis(time_us: float | None) -> float | None:
    """µs → ms with three decimals."""
    return None if time_us is None else round(time_us / 1000, 3)


def visitor(identity: Identity) -> tuple[str, str]:
    """Give who counts as one: user and device where they are known, by what outlives a rename; else the address."""
    user, device = user_key(identity), device_key(identity)
    return (user, device) if user or device else (f"{identity.kind} at", identity.address)


def person(identity: Identity) -> str:
    """Give what tells people apart: the user, or where there is none (a tagged device, a bare address) the visitor."""
    return user_key(identity) or "/".join(visitor(identity))


def name(identity: Identity) -> str:
    """Give what a person is called."""
    return identity.user or identity.device or identity.address


# --- access logs ---------------------------------------------------------------------------------------------------


def log_line(entry: LogEntry) -> dict[str, Any]:
    """One line of `logs`."""
    who = entry.identity
    return {
        "timestamp": iso(entry.time_us),
        "user": who.user or None,
        "device": who.device or None,
        "ip": who.address,
        "endpoint": entry.endpoint,
        "method": entry.method,
        "status": entry.status,
        "response_time_ms": millis(entry.request_time_us),
        "app_time_ms": millis(entry.app_time_us),
        "trace_id": entry.trace_id or None,
        "kind": who.kind,
        "tags": who.tags.split(",") if who.tags else [],
        "identified_by": who.provider or None,
        "identified_at": iso(entry.identified_us) if entry.identified_us else None,
        "via": who.via or None,
        "key_expired": who.expired,
        "reason": who.reason or None,
        "path": entry.path,
        "service": entry.service or None,
        "traffic": entry.traffic.name.lower(),
        "bytes": entry.bytes_sent,
        "error_type": entry.error_type or None,
    }


def summary(usages: Sequence[Usage]) -> dict[str, Any]:
    """Count every request of the window, whatever page is shown."""
    timed = sum(usage.timed for usage in usages)
    return {
        "total_requests": sum(usage.requests for usage in usages),
        "unique_users": len({user_key(usage.identity) for usage in usages} - {""}),
        "unique_devices": len({device_key(usage.identity) for usage in usages} - {""}),
        "unique_addresses": len({usage.identity.address for usage in usages}),
        "avg_response_time_ms": millis(sum(usage.request_time_us for usage in usages) / timed) if timed else None,
        "errors_5xx": sum(usage.requests for usage in usages if usage.status >= 500),
    }


# --- dashboard usage -----------------------------------------------------------------------------------------------


def sessions(activity: Iterable[Activity]) -> list[Session]:
    """Cut each visitor's usage wherever it pauses for more than 30 minutes."""
    open_sessions: dict[tuple[str, str], Session] = {}
    done: list[Session] = []
    # By time: within a minute, one visitor's two addresses may come in any order.
    for seen in sorted(activity, key=lambda one: one.first_us):
        who = visitor(seen.identity)
        running = open_sessions.get(who)
        if running is not None and seen.first_us - running.end_us <= SESSION_GAP_US:
            open_sessions[who] = Session(
                running.identity,
                running.start_us,
                max(running.end_us, seen.last_us),
                running.requests + seen.requests,
            )
            continue
        if running is not None:
            done.append(running)
        open_sessions[who] = Session(*seen)
    return sorted([*done, *open_sessions.values()], key=lambda one: (one.start_us, visitor(one.identity)))


def most_viewed_cards(usages: Iterable[Usage]) -> list[dict[str, Any]]:
    """Count card views, most first."""
    views: Counter[str] = Counter()
    for usage in usages:
        if usage.traffic is Traffic.CARD:
            views[usage.endpoint.removeprefix(CARD_PREFIX)] += usage.requests
    return [{"card": card, "views": count} for card, count in _most_first(views)[:LISTED_MAX]]


def peak_hours(activity: Iterable[Activity], zone: tzinfo) -> list[dict[str, Any]]:
    """Sum usage by hour of the day in `zone`: always 24 of them, 0 to 23."""
    requests = [0] * 24
    for seen in activity:
        requests[datetime.fromtimestamp(seen.first_us / 1e6, zone).hour] += seen.requests
    return [{"hour": hour, "requests": count} for hour, count in enumerate(requests)]


def user_sessions(
    all_sessions: Iterable[Session], usages: Iterable[Usage], features: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Sum sessions by person, most sessions first; favourites are the features they asked for most."""
    by_person: dict[str, list[Session]] = defaultdict(list)
    for session in all_sessions:
        by_person[person(session.identity)].append(session)
    favorites = _favorites(usages, features)
    rows: list[dict[str, Any]] = []
    for who, theirs in by_person.items():
        identity = theirs[-1].identity
        spent_us = sum(session.end_us - session.start_us for session in theirs)
        rows.append(
            {
                "user": name(identity),
                "kind": identity.kind,
                "sessions": len(theirs),
                "total_time_hours": round(spent_us / HOUR_US, 3),
                "favorite_features": favorites.get(who, []),
                "requests": sum(session.requests for session in theirs),
                "devices": sorted({session.identity.device for session in theirs} - {""}),
                "last_seen": iso(max(session.end_us for session in theirs)),
            }
        )
    return sorted(rows, key=lambda row: (-row["sessions"], -row["requests"], row["user"]))[:LISTED_MAX]


def _favorites(usages: Iterable[Usage], features: Mapping[str, str]) -> dict[str, list[str]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for usage in usages:
        if usage.traffic is Traffic.APP:
            counts[person(usage.identity)][features.get(usage.endpoint, usage.endpoint)] += usage.requests
    return {who: [feature for feature, _ in _most_first(count)[:FAVORITES_MAX]] for who, count in counts.items()}


def api_calls_by_endpoint(usages: Iterable[Usage]) -> list[dict[str, int]]:
    """Count calls of the app by endpoint, most first; health checks, bots, static files and card views stay out."""
    calls: Counter[str] = Counter()
    for usage in usages:
        if usage.traffic is Traffic.APP:
            calls[usage.endpoint] += usage.requests
    return [{endpoint: count} for endpoint, count in _most_first(calls)[:LISTED_MAX]]


def usage_only(usages: Iterable[Usage]) -> list[Usage]:
    """Leave out health checks, bots and static files."""
    return [usage for usage in usages if usage.traffic in _USAGE]


# --- system health -------------------------------------------------------------------------------------------------


def uptime_percentage(minutes: Sequence[Minute]) -> float | None:
    """Minutes with an answer other than 5xx over minutes with traffic; None where there was none."""
    if not minutes:
        return None
    return round(100 * sum(minute.answered > 0 for minute in minutes) / len(minutes), 3)


def uptime_by_day(minutes: Iterable[Minute]) -> list[dict[str, Any]]:
    """Give the same for each UTC day."""
    days: dict[int, list[Minute]] = defaultdict(list)
    for minute in minutes:
        days[minute.minute_us // DAY_US].append(minute)
    return [
        {
            "time": iso(day * DAY_US),
            "uptime_percentage": uptime_percentage(of_day),
            "minutes_with_traffic": len(of_day),
        }
        for day, of_day in sorted(days.items())
    ]


def response_times(usages: Iterable[Usage], latency: Iterable[Latency]) -> list[dict[str, Any]]:
    """Response times by endpoint, slowest p95 first: all of nginx's time, and the app's part of it."""
    histograms: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for cell in latency:
        histograms[(cell.endpoint, cell.side)][cell.bucket] += cell.requests
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for usage in usages:
        columns = (usage.requests, usage.timed, usage.request_time_us, usage.app_timed, usage.app_time_us)
        sums[usage.endpoint] = [a + b for a, b in zip(sums[usage.endpoint], columns, strict=True)]
    rows = []
    for endpoint, (count, timed, time_us, app_timed, app_time_us) in sums.items():
        total = _times(timed, time_us, histograms[(endpoint, "proxy")])
        app = _times(app_timed, app_time_us, histograms[(endpoint, "app")])
        outside = None
        if total["avg_ms"] is not None and app["avg_ms"] is not None:
            outside = round(max(0.0, total["avg_ms"] - app["avg_ms"]), 3)
        rows.append({"endpoint": endpoint, "count": count, **total, "app": app, "proxy_avg_ms": outside})
    return sorted(rows, key=lambda row: (-(row["p95_ms"] or 0), -row["count"], row["endpoint"]))[:LISTED_MAX]


def _times(timed: int, time_us: int, histogram: Mapping[int, int]) -> dict[str, Any]:
    p50, p95, p99 = percentiles(histogram, (0.5, 0.95, 0.99)) or (None, None, None)
    return {
        "avg_ms": millis(time_us / timed) if timed else None,
        "p50_ms": millis(p50),
        "p95_ms": millis(p95),
        "p99_ms": millis(p99),
    }


def error_rates(usages: Sequence[Usage]) -> dict[str, Any]:
    """5xx over all, overall and by endpoint; 4xx and 499 (the client left) apart. Rates are 0–1."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for usage in usages:
        of_endpoint = counts[usage.endpoint]
        of_endpoint["requests"] += usage.requests
        of_endpoint[_error_class(usage.status)] += usage.requests
    by_endpoint = [{"endpoint": endpoint, **_rates(count)} for endpoint, count in counts.items()]
    by_endpoint.sort(key=lambda row: (-row["error_rate"], -row["errors_5xx"], -row["requests"], row["endpoint"]))
    total: Counter[str] = Counter()
    for count in counts.values():
        total.update(count)
    return {"overall": _rates(total), "by_endpoint": by_endpoint[:LISTED_MAX]}


def _error_class(status: int) -> str:
    if status >= 500:
        return "errors_5xx"
    if status == 499:
        return "client_closed_499"
    return "errors_4xx" if status >= 400 else "fine"


def _rates(count: Mapping[str, int]) -> dict[str, Any]:
    requests = count.get("requests", 0)
    errors = count.get("errors_5xx", 0)
    return {
        "error_rate": round(errors / requests, 6) if requests else 0.0,
        "requests": requests,
        "errors_5xx": errors,
        "errors_4xx": count.get("errors_4xx", 0),
        "client_closed_499": count.get("client_closed_499", 0),
    }


def over_time(steps: Iterable[StepUsage], latency: Iterable[StepLatency]) -> list[dict[str, Any]]:
    """Give requests, errors and response times by step of time, an hour or a day, UTC."""
    histograms: dict[int, Counter[int]] = defaultdict(Counter)
    for cell in latency:
        histograms[cell.time_us][cell.bucket] += cell.requests
    return [
        {
            "time": iso(step.time_us),
            "requests": step.requests,
            "errors_5xx": step.errors,
            "error_rate": round(step.errors / step.requests, 6) if step.requests else 0.0,
            **_times(step.timed, step.request_time_us, histograms[step.time_us]),
        }
        for step in steps
    ]


def _most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

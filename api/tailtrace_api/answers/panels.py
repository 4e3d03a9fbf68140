"""What the panels of the dashboard show, as pure functions of what the store rolls up.

Which numbers follow which filter of the page, as the sums allow:

| filter | requests, errors, users, series, endpoints' calls | sessions and time | percentiles | uptime |
|---|---|---|---|---|
| user (a login or an address), device | yes | yes | none: null | of all |
| endpoint | yes | null in the totals; in the table of people: of all that they did | yes | of all |
| status | yes | as for endpoint | none: null | of all |
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from tailtrace_api.answers import requests as answers
from tailtrace_api.answers.requests import Sessions, iso, visitor
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.names import user_key
from tailtrace_bridge.store.values import (
    DAY_US,
    HOUR_US,
    QUARTER_US,
    EndpointBucket,
    Filters,
    Latency,
    Quarter,
    Usage,
    Visits,
    Window,
)

CHOICES_MAX = 200
"""Names that a filter offers: those with most requests. Any other can still be typed."""
HEAT_HOURS_MIN = 7 * 24
"""A heat map of less than a week would have empty rows that nobody can tell from quiet days."""
USAGE = frozenset({Traffic.APP, Traffic.CARD})


@dataclass(frozen=True, slots=True)
class Period:
    """A length of time that the page can show: µs of a bar of its chart, and of a point of a sparkline."""

    hours: int
    bucket_us: int
    spark_us: int


PERIODS = {
    "24h": Period(24, HOUR_US, HOUR_US),
    "7d": Period(7 * 24, HOUR_US, 6 * HOUR_US),
    "30d": Period(30 * 24, DAY_US, DAY_US),
}


@dataclass(frozen=True, slots=True)
class Counted:
    """What a window is counted by; `sessions` is None where the filters leave none that could be told."""

    usages: Sequence[Usage]
    sessions: Sequence[Sessions] | None


def has_sessions(filters: Filters) -> bool:
    """Tell whether sessions can be counted under these filters: they are known by person and device only."""
    return filters.endpoint is None and filters.status is None


def sessions_of(sessions: Iterable[Sessions], usages: Iterable[Usage], filters: Filters) -> list[Sessions]:
    """Return the sessions of whoever is in `usages`, which the filters let through."""
    if filters == Filters():
        return list(sessions)
    asked = {visitor(usage.identity) for usage in usages}
    return [one for one in sessions if visitor(one.identity) in asked]


def totals(now: Counted, before: Counted) -> list[dict[str, Any]]:
    """Set sessions, users, requests and errors beside those of the period before; `change_percent` null: none then."""
    rows = []
    for metric, ours in _totals(now).items():
        theirs = _totals(before)[metric]
        change = None if ours is None or not theirs else round(100 * (ours - theirs) / theirs, 1)
        rows.append({"metric": metric, "now": ours, "before": theirs, "change_percent": change})
    return rows


def named(counted: Counted) -> dict[str, Any]:
    """Count the requests whose sender has a name, of all that did not come from this machine itself."""
    others = [usage for usage in answers.usage_only(counted.usages) if usage.identity.kind != "self"]
    asked = sum(usage.requests for usage in others)
    known = sum(
        usage.requests for usage in others if usage.identity.user or usage.identity.device or usage.identity.tags
    )
    return {"requests": asked, "named": known, "share": round(known / asked, 4) if asked else None}


def _totals(counted: Counted) -> dict[str, int | None]:
    usages = answers.usage_only(counted.usages)
    return {
        "sessions": None if counted.sessions is None else answers.session_count(counted.sessions),
        "users": len({user_key(usage.identity) for usage in usages} - {""}),
        "requests": sum(usage.requests for usage in usages),
        "errors": sum(usage.requests for usage in usages if usage.status >= 500),
    }


def series(steps: Iterable[EndpointBucket], window: Window, bucket_us: int) -> list[dict[str, Any]]:
    """Return requests and 5xx by step of time, those without any too; the first and the last may be cut."""
    requests: Counter[int] = Counter()
    errors: Counter[int] = Counter()
    for step in steps:
        if step.traffic in USAGE:
            start_us = step.time_us // bucket_us * bucket_us
            requests[start_us] += step.requests
            errors[start_us] += step.errors
    return [
        {"time": iso(start_us), "requests": requests[start_us], "errors": errors[start_us]}
        for start_us in range(window.start_us // bucket_us * bucket_us, window.end_us, bucket_us)
    ]


def quarters_of(steps: Iterable[EndpointBucket]) -> Iterator[Quarter]:
    """Spread hours of usage over their quarters, for `heat`: a zone with half hours then puts it down by halves."""
    for step in steps:
        if step.traffic in USAGE:
            each, more = divmod(step.requests, 4)
            for place in range(4):
                if requests := each + (place < more):
                    yield Quarter(step.time_us + place * QUARTER_US, requests)


def heat(quarters: Iterable[Quarter], zone: tzinfo) -> list[list[int]]:
    """Sum usage by day of the week, Monday first, and hour of the day, both in `zone`."""
    cells = [[0] * 24 for _ in range(7)]
    for quarter in quarters:
        at = datetime.fromtimestamp(quarter.time_us / 1e6, zone)
        cells[at.weekday()][at.hour] += quarter.requests
    return cells


def choices(visits: Iterable[Visits]) -> dict[str, list[str]]:
    """Return the names that the filters offer, most used first."""
    users: Counter[str] = Counter()  # whom nobody names goes by the address
    devices: Counter[str] = Counter()
    endpoints: Counter[str] = Counter()
    for visit in visits:
        users[visit.identity.user or ("" if visit.identity.device else visit.identity.address)] += visit.requests
        devices[visit.identity.device] += visit.requests
        endpoints[visit.endpoint] += visit.requests
    return {
        kind: [name for name, _ in counts.most_common(CHOICES_MAX + 1) if name][:CHOICES_MAX]
        for kind, counts in (("users", users), ("devices", devices), ("endpoints", endpoints))
    }


def people(
    sessions: Iterable[Sessions], usages: Iterable[Usage], visits: Iterable[Visits], features: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the rows of `user_sessions`, with errors; requests and errors as `usages` has them."""
    requests: Counter[tuple[str, str]] = Counter()
    errors: Counter[tuple[str, str]] = Counter()
    for usage in answers.usage_only(usages):
        # As `user_sessions` calls them: it gives names, not keys.
        who = (answers.name(usage.identity), usage.identity.kind)
        requests[who] += usage.requests
        errors[who] += usage.requests if usage.status >= 500 else 0
    rows = answers.user_sessions(sessions, visits, features)
    for row in rows:
        who = (row["user"], row["kind"])
        row["requests"], row["errors"] = requests[who], errors[who]
    return sorted((row for row in rows if row["requests"]), key=lambda row: (-row["requests"], row["user"]))


def endpoints(
    usages: Sequence[Usage],
    latency: Iterable[Latency] | None,
    steps: Iterable[EndpointBucket],
    window: Window,
    spark_us: int,
    features: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return a row for each endpoint of the app, most called first; `latency` None: percentiles cannot be told."""
    of_app = [usage for usage in usages if usage.traffic is Traffic.APP]
    names = {usage.endpoint for usage in of_app}
    times = answers.response_times(of_app, [cell for cell in latency or () if cell.endpoint in names])
    rates = {row["endpoint"]: row for row in answers.error_rates(of_app)["by_endpoint"]}
    starts = range(window.start_us // spark_us * spark_us, window.end_us, spark_us)
    sparks: dict[str, list[int]] = defaultdict(lambda: [0] * len(starts))
    for step in steps:
        if step.traffic is Traffic.APP:
            place = (step.time_us // spark_us * spark_us - starts[0]) // spark_us
            if 0 <= place < len(starts):
                sparks[step.endpoint][place] += step.requests
    rows = []
    for row in times:
        name = row["endpoint"]
        rate = rates.get(name, {})
        rows.append(
            {
                "endpoint": name,
                "feature": features.get(name, name),
                "calls": row["count"],
                "avg_ms": row["avg_ms"],
                "p50_ms": row["p50_ms"],
                "p95_ms": row["p95_ms"],
                "p99_ms": row["p99_ms"],
                "app_ms": row["app"]["avg_ms"],
                "proxy_ms": row["proxy_avg_ms"],
                "errors_5xx": rate.get("errors_5xx", 0),
                "errors_4xx": rate.get("errors_4xx", 0),
                "error_rate": rate.get("error_rate", 0.0),
                "spark": sparks[name],
            }
        )
    return sorted(rows, key=lambda row: (-row["calls"], row["endpoint"]))

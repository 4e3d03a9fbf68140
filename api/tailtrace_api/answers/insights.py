"""What an assistant is asked most: who is here, what is used, what is slow and whose fault it is. Pure functions.

Like `answers`: rows in, plain values out, each defined in words in `docs/definitions.md`. Who is to blame, by the first
row that fits (`blame`):

| the numbers of the window | verdict | because |
|---|---|---|
| the store does not answer | store | store-down |
| of `QUERIES_MIN` of its queries or more, a twentieth takes `STORE_SLOW_MS` or longer | store | store-slow |
| fewer than `REQUESTS_MIN` requests to the app | unknown | too-few-requests |
| `ERRORS_MIN` of them or more ended with 5xx, most as 502, 503 or 504 without a span | app | app-unreachable |
| as many ended with 5xx, most of these with a span | app | app-errors |
| as many ended with 5xx, neither of both | unknown | errors-without-spans |
| p95 under `SLOW_MS` | nobody | fine |
| the log has no times | unknown | no-times |
| p95 above, and no spans to tell the app's part | unknown | slow-without-spans |
| p95 above, the app took `SHARE_HIGH` of the time or more | app | app-slow |
| p95 above, the app took `SHARE_LOW` of the time or less | proxy | outside-slow: nginx, the network or the client |
| p95 above, something between | unknown | slow-in-both |

An app without any span in the window is not traced: its 503 may be its own answer, so only 502 and 504 tell.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tailtrace_api.answers import requests as answers
from tailtrace_api.answers.record import LISTED_MAX
from tailtrace_api.answers.request_records import EndpointTimes
from tailtrace_bridge.core.cards import CARD_PREFIX, split_endpoint
from tailtrace_bridge.core.histogram import percentiles
from tailtrace_bridge.core.records import OTHER, Identity, Traffic
from tailtrace_bridge.store.names import user_key
from tailtrace_bridge.store.values import MINUTE_US, Activity, Latency, LogEntry, Uptime, Usage, Visits, Window

ACTIVE_US = 5 * MINUTE_US
FEATURES_MAX = 10
SLOWEST_MAX = 10
CHANGES_MAX = 10
ADVICE_MAX = 3
REQUESTS_MIN = 20
"""Fewer requests bear no verdict."""
ADVICE_REQUESTS_MIN = 50
"""Of an endpoint: fewer bear no advice."""
ERRORS_MIN = 0.01
ADVICE_ERRORS_MIN = 0.05
SLOW_MS = 1000.0
STORE_SLOW_MS = 1000.0
QUERIES_MIN = 20
"""Fewer queries, or a first one on a cold disk, bear no verdict on the store."""
SHARE_HIGH = 0.6
SHARE_LOW = 0.4
STALE_S = 15 * 60.0
_UNREACHED = frozenset({502, 503, 504})
"""What nginx answers by itself where it got no answer from the app."""


# --- who is here ---------------------------------------------------------------------------------------------------


def active_users(
    activity: Iterable[Activity],
    pages: Mapping[str, str],
    online: Mapping[str, bool],
    features: Mapping[str, str],
    now_us: int,
) -> dict[str, Any]:
    """Return who made a request in the last five minutes, the latest first; whom the tailnet calls offline is not here.

    `pages`: person → endpoint of their newest request. `online`: node id → whether the tailnet sees it, where known.
    Services (kind `tagged`) are counted apart: they are nobody.
    """
    seen: dict[str, list[Activity]] = defaultdict(list)
    services: set[str] = set()
    for one in activity:
        if one.identity.kind == "tagged":
            services.add(answers.person(one.identity))
        else:
            seen[answers.person(one.identity)].append(one)
    rows: list[tuple[int, dict[str, Any]]] = []
    gone = 0
    for who, theirs in seen.items():
        latest = max(theirs, key=lambda one: one.last_us)
        known = [online[one.identity.node_id] for one in theirs if one.identity.node_id in online]
        if known and not any(known):
            gone += 1
            continue
        endpoint = pages.get(who, "")
        row = {
            "email": latest.identity.user or None,
            "device": latest.identity.device or None,
            "last_seen": answers.iso(latest.last_us),
            "last_seen_seconds": max(0, (now_us - latest.last_us) // 1_000_000),
            "current_page": page(endpoint, features) if endpoint else None,
            "current_endpoint": endpoint or None,
            "online": any(known) if known else None,
            "kind": latest.identity.kind,
            "address": latest.identity.address,
            "requests": sum(one.requests for one in theirs),
        }
        rows.append((-latest.last_us, row))
    rows.sort(key=lambda item: (item[0], item[1]["address"]))
    return {
        "active_users": [row for _, row in rows][:LISTED_MAX],
        "total_active": len(rows),
        "services_active": len(services),
        "offline_now": gone,
    }


def page(endpoint: str, features: Mapping[str, str]) -> str:
    """Return the human name of what somebody looks at: a feature, or `card: prices`."""
    if not endpoint.startswith(CARD_PREFIX):
        return features.get(endpoint, endpoint)
    card, _ = split_endpoint(endpoint)
    return f"card: {features.get(f'card={card}', card)}"


def newest_pages(entries: Iterable[LogEntry]) -> dict[str, str]:
    """Return for each person the endpoint of their newest usage. `entries` come newest first."""
    pages: dict[str, str] = {}
    for entry in entries:
        if entry.traffic in {Traffic.APP, Traffic.CARD}:
            pages.setdefault(answers.person(entry.identity), entry.endpoint)
    return pages


# --- what is used --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Feature:
    """Requests to one feature of the app."""

    feature: str
    requests: int


@dataclass(frozen=True, slots=True)
class UsageStats:
    """Usage of some days. `most_active_user` is None where nobody has a name; `features_total` counts all features."""

    period_days: int
    total_sessions: int
    unique_users: int
    most_active_user: str | None
    most_active_user_requests: int
    top_features: tuple[Feature, ...]
    features_total: int
    avg_session_duration_min: float
    total_requests: int


def usage_stats(
    days: int, visits: Iterable[Visits], activity: Iterable[Activity], features: Mapping[str, str]
) -> UsageStats:
    """Sum up the usage of `days`: sessions, people, features."""
    sessions = answers.sessions(activity)
    requests = 0
    by_user: Counter[str] = Counter()
    names: dict[str, str] = {}
    by_feature: Counter[str] = Counter()
    for visit in visits:
        requests += visit.requests
        if visit.identity.user:
            who = answers.person(visit.identity)
            by_user[who] += visit.requests
            names[who] = visit.identity.user
        if visit.traffic is Traffic.APP:
            by_feature[features.get(visit.endpoint, visit.endpoint)] += visit.requests
    spent_us, count = sum(one.spent_us for one in sessions), answers.session_count(sessions)
    top = min(by_user, key=lambda who: (-by_user[who], names[who])) if by_user else None
    return UsageStats(
        period_days=days,
        total_sessions=count,
        unique_users=len(by_user),
        most_active_user=names[top] if top is not None else None,
        most_active_user_requests=by_user[top] if top is not None else 0,
        top_features=tuple(Feature(feature, requests) for feature, requests in _most_first(by_feature)),
        features_total=len(by_feature),
        avg_session_duration_min=round(spent_us / count / MINUTE_US, 1) if count else 0.0,
        total_requests=requests,
    )


def _most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:FEATURES_MAX]


# --- how fast, and who is to blame ---------------------------------------------------------------------------------


def system_performance(
    usages: Sequence[Usage],
    latency: Sequence[Latency],
    uptime: Sequence[Uptime],
    store: Mapping[str, Any],
    freshness_s: float | None,
) -> dict[str, Any]:
    """Return uptime, times and errors of a window. `store` has `name`, `ok`, and `queries` with their `p95_ms`."""
    of_app = [usage for usage in usages if usage.traffic is Traffic.APP]
    endpoints = {usage.endpoint for usage in of_app}
    times = answers.response_times(of_app, [cell for cell in latency if cell.endpoint in endpoints])
    timed = sum(usage.timed for usage in of_app)
    verdict = blame(of_app, p95_ms(latency, endpoints), store)
    slowest = [
        {"endpoint": row.endpoint, "p95_ms": row.p95_ms, "avg_ms": row.avg_ms, "count": row.count}
        for row in times
        if row.p95_ms is not None
    ]
    return {
        "uptime_percentage": answers.uptime_percentage(uptime),
        "minutes_with_traffic": sum(day.minutes for day in uptime),
        "avg_api_response_ms": round(sum(u.request_time_us for u in of_app) / timed / 1000, 1) if timed else None,
        "slowest_endpoints": slowest[:SLOWEST_MAX],
        "endpoints_total": len(slowest),
        "error_rate": answers.error_rates(usages).overall.error_rate,
        "requests": sum(usage.requests for usage in usages),
        "store": dict(store),
        "data_freshness_seconds": freshness_s,
        "blame": verdict,
        "advice": advice(of_app, times, freshness_s),
    }


def blame(  # noqa: C901, PLR0911 - a return for each row of the table
    of_app: Sequence[Usage], p95_ms: float | None, store: Mapping[str, Any]
) -> dict[str, Any]:
    """Say whose fault it is: the table at the head of this file. `of_app` are the requests to the app."""
    requests = sum(usage.requests for usage in of_app)
    failed = [usage for usage in of_app if usage.status >= 500]
    errors = sum(usage.requests for usage in failed)
    with_span = sum(usage.app_timed for usage in failed)
    gateway = _UNREACHED if any(usage.app_timed for usage in of_app) else _UNREACHED - {503}
    unreached = sum(usage.requests - usage.app_timed for usage in failed if usage.status in gateway)
    both = answers.spanned(of_app)
    share = round(min(1.0, both.app_time_us / both.request_time_us), 3) if both.request_time_us else None
    numbers = {
        "error_rate": round(errors / requests, 6) if requests else 0.0,
        "p95_ms": p95_ms,
        "app_share": share,
        "store_p95_ms": store.get("p95_ms"),
    }

    def verdict(who: str, because: str) -> dict[str, Any]:
        return {"verdict": who, "because": because, **numbers}

    if not store["ok"]:
        return verdict("store", "store-down")
    if store.get("queries", 0) >= QUERIES_MIN and (store.get("p95_ms") or 0) >= STORE_SLOW_MS:
        return verdict("store", "store-slow")
    if requests < REQUESTS_MIN:
        return verdict("unknown", "too-few-requests")
    if errors / requests >= ERRORS_MIN:
        if unreached * 2 > errors:
            return verdict("app", "app-unreachable")
        return verdict("app", "app-errors") if with_span * 2 > errors else verdict("unknown", "errors-without-spans")
    if p95_ms is None:
        return verdict("unknown", "no-times")
    if p95_ms < SLOW_MS:
        return verdict("nobody", "fine")
    if share is None:
        return verdict("unknown", "slow-without-spans")
    if share >= SHARE_HIGH:
        return verdict("app", "app-slow")
    return verdict("proxy", "outside-slow") if share <= SHARE_LOW else verdict("unknown", "slow-in-both")


def advice(of_app: Iterable[Usage], times: Iterable[EndpointTimes], freshness_s: float | None) -> list[dict[str, Any]]:
    """Return what to look at first, only where enough requests bear it; an empty list is the usual answer."""
    found: list[dict[str, Any]] = []
    requests: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for usage in of_app:
        requests[usage.endpoint] += usage.requests
        errors[usage.endpoint] += usage.requests if usage.status >= 500 else 0
    rates = {endpoint: errors[endpoint] / count for endpoint, count in requests.items() if count >= ADVICE_REQUESTS_MIN}
    found += [
        {"code": "failing-endpoint", "endpoint": endpoint, "error_rate": round(rates[endpoint], 4)}
        for endpoint in sorted(rates, key=lambda one: (-rates[one], one))
        if rates[endpoint] >= ADVICE_ERRORS_MIN
    ]
    found += [
        {"code": "slow-endpoint", "endpoint": row.endpoint, "p95_ms": row.p95_ms}
        for row in times
        if row.count >= ADVICE_REQUESTS_MIN and (row.p95_ms or 0) >= SLOW_MS
    ]
    if freshness_s is not None and freshness_s >= STALE_S:
        found.append({"code": "stale-data", "data_freshness_seconds": freshness_s})
    return found[:ADVICE_MAX]


def p95_ms(latency: Iterable[Latency], endpoints: Iterable[str]) -> float | None:
    """Return the p95 of nginx's time over some endpoints, or None where nothing was timed."""
    wanted = set(endpoints)
    histogram: Counter[int] = Counter()
    for cell in latency:
        if cell.side == "proxy" and cell.endpoint in wanted:
            histogram[cell.bucket] += cell.requests
    found = percentiles(histogram, (0.95,))
    return answers.millis(found[0]) if found else None


# --- then and now --------------------------------------------------------------------------------------------------


class Period(NamedTuple):
    """What a window is compared by."""

    window: Window
    usages: Sequence[Usage]
    latency: Sequence[Latency]
    of_people: Sequence[Usage]
    """Sums by identity."""


def compare(now: Period, before: Period) -> dict[str, Any]:
    """Set a window beside the one before it: numbers of all, the endpoints of both, and those of one of them only.

    `change_percent` is null where there was nothing before.
    """
    totals = [_totals(now), _totals(before)]
    metrics = [
        {"metric": name, "now": totals[0][name], "before": totals[1][name], "change_percent": _change(name, totals)}
        for name in totals[0]
    ]
    rows = [
        {
            row.endpoint: row
            for row in answers.response_times(
                [one for one in period.usages if one.traffic is Traffic.APP], period.latency
            )
        }
        for period in (now, before)
    ]
    ours, theirs = rows
    changes: list[dict[str, Any]] = []
    for endpoint in ours.keys() & theirs.keys():
        now_ms, before_ms = ours[endpoint].p95_ms, theirs[endpoint].p95_ms
        changes.append(
            {
                "endpoint": endpoint,
                "requests_now": ours[endpoint].count,
                "requests_before": theirs[endpoint].count,
                "p95_ms_now": now_ms,
                "p95_ms_before": before_ms,
                "p95_change_ms": None if now_ms is None or before_ms is None else round(now_ms - before_ms, 3),
            }
        )
    changes.sort(key=lambda row: (-abs(row["p95_change_ms"] or 0), -row["requests_now"], row["endpoint"]))
    came, went = _only_in(ours, theirs), _only_in(theirs, ours)
    return {
        "now": _window(now.window),
        "before": _window(before.window),
        "metrics": metrics,
        "endpoints": changes[:CHANGES_MAX],
        "endpoints_total": len(changes),
        "endpoints_new": came[:CHANGES_MAX],
        "endpoints_new_total": len(came),
        "endpoints_gone": went[:CHANGES_MAX],
        "endpoints_gone_total": len(went),
    }


def _only_in(these: Mapping[str, EndpointTimes], others: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the endpoints that the others do not have, most requests first."""
    found = [{"endpoint": name, "requests": row.count} for name, row in these.items() if name not in others]
    return sorted(found, key=lambda row: (-row["requests"], row["endpoint"]))


def _totals(period: Period) -> dict[str, float | None]:
    of_app = [usage for usage in period.usages if usage.traffic is Traffic.APP]
    timed = sum(usage.timed for usage in of_app)
    return {
        "requests": sum(usage.requests for usage in of_app),
        "unique_users": len({user_key(one.identity) for one in answers.usage_only(period.of_people)} - {""}),
        "avg_response_ms": round(sum(u.request_time_us for u in of_app) / timed / 1000, 1) if timed else None,
        "p95_response_ms": p95_ms(period.latency, {usage.endpoint for usage in of_app}),
        "error_rate": answers.error_rates(of_app).overall.error_rate if of_app else None,
    }


def _change(name: str, totals: Sequence[Mapping[str, float | None]]) -> float | None:
    now, before = totals[0][name], totals[1][name]
    return None if now is None or not before else round(100 * (now - before) / before, 1)


def _window(window: Window) -> dict[str, str]:
    return {"from": answers.iso(window.start_us), "to": answers.iso(window.end_us)}


def unused_endpoints(
    declared: Iterable[tuple[str, str]],
    recent: Iterable[Usage],
    earlier: Iterable[Usage],
    features: Mapping[str, str],
) -> dict[str, Any]:
    """Return the routes that nobody asked for in the window: of those the app declares, and those used earlier.

    `declared` are (method, route). Routes count, whatever the method: a `HEAD` uses the route of its `GET`.
    """
    methods: dict[str, set[str]] = defaultdict(set)
    for method, route in declared:
        methods[route].add(method)
    used = {usage.endpoint for usage in recent if usage.traffic in {Traffic.APP, Traffic.HEALTH}}
    before: Counter[str] = Counter()
    for usage in earlier:
        if usage.traffic is Traffic.APP and usage.status < 400 and usage.endpoint != OTHER:
            before[usage.endpoint] += usage.requests
            methods.setdefault(usage.endpoint, set())
    unused = [
        {
            "endpoint": route,
            "feature": features.get(route, route),
            "methods": sorted(methods[route]),
            "requests_earlier": before[route],
        }
        for route in methods.keys() - used
    ]
    unused.sort(key=lambda row: (-before[str(row["endpoint"])], row["endpoint"]))
    return {
        "unused_endpoints": unused[:LISTED_MAX],
        "total_unused": len(unused),
        "known_endpoints": len(methods.keys() | used - {OTHER}),
    }


# --- one request ---------------------------------------------------------------------------------------------------


def explain(entries: Iterable[LogEntry], features: Mapping[str, str]) -> list[dict[str, Any]]:
    """Tell each request of a trace: nginx's line, the app's span, who it was, and where the time went."""
    return [
        {
            "timestamp": answers.iso(entry.time_us),
            "nginx": {
                "method": entry.method,
                "path": entry.path,
                "status": entry.status,
                "service": entry.service or None,
                "bytes": entry.bytes_sent,
            },
            "span": None
            if entry.app_time_us is None
            else {"route": entry.endpoint, "error_type": entry.error_type or None},
            "feature": features.get(entry.endpoint, entry.endpoint),
            "identity": _who(entry.identity),
            "timing": {
                "total_ms": answers.millis(entry.request_time_us),
                "app_ms": answers.millis(entry.app_time_us),
                "outside_ms": answers.outside_of(entry),
            },
            "traffic": entry.traffic.name.lower(),
        }
        for entry in entries
    ]


def _who(identity: Identity) -> dict[str, Any]:
    return {
        "user": identity.user or None,
        "device": identity.device or None,
        "ip": identity.address,
        "kind": identity.kind,
        "identified_by": identity.provider or None,
        "via": identity.via or None,
    }

"""What an assistant is asked most: who is here, what is used, what is slow and whose fault it is. Pure functions.

Like `answers`: rows in, records out, each defined in words in `docs/definitions.md`. Who is to blame, by the first
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
from typing import NamedTuple

from tailtrace_api.answers import requests as answers
from tailtrace_api.answers.alerts import AlertsNow
from tailtrace_api.answers.insight_records import (
    ActiveUser,
    ActiveUsers,
    Advice,
    Blame,
    EndpointChange,
    EndpointRequests,
    FailingAdvice,
    Feature,
    MetricChange,
    NginxLine,
    Performance,
    Periods,
    SlowAdvice,
    SlowEndpoint,
    SpanSummary,
    StaleAdvice,
    StoreState,
    Timing,
    TracedRequest,
    UnusedEndpoint,
    UsageStats,
    Verdict,
    Who,
)
from tailtrace_api.answers.record import cut
from tailtrace_api.answers.request_records import EndpointTimes
from tailtrace_api.answers.uptime import uptime
from tailtrace_bridge.core.cards import CARD_PREFIX, split_endpoint
from tailtrace_bridge.core.histogram import percentiles
from tailtrace_bridge.core.records import OTHER, Identity, Traffic
from tailtrace_bridge.store.anonymous import AnonymousUsage
from tailtrace_bridge.store.names import user_key
from tailtrace_bridge.store.values import MINUTE_US, Activity, Latency, LogEntry, UptimeHour, Usage, Window

CARD = "card: "
"""Before a card's name, where it stands for what somebody looks at."""
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
    anonymous: AnonymousUsage | None = None,
) -> ActiveUsers:
    """Return who made a request in the last five minutes, the latest first; whom the tailnet calls offline is not here.

    `anonymous` are all anonymous visitors, of whom `activity` may have the latest only.
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
    rows: list[tuple[int, ActiveUser]] = []
    gone = 0
    for who, theirs in seen.items():
        latest = max(theirs, key=lambda one: one.last_us)
        known = [online[one.identity.node_id] for one in theirs if one.identity.node_id in online]
        if known and not any(known):
            gone += 1
            continue
        endpoint = pages.get(who, "")
        row = ActiveUser(
            email=latest.identity.user or None,
            device=latest.identity.device or None,
            last_seen=answers.iso(latest.last_us),
            last_seen_seconds=max(0, (now_us - latest.last_us) // 1_000_000),
            current_page=page(endpoint, features) if endpoint else None,
            current_endpoint=endpoint or None,
            online=any(known) if known else None,
            kind=latest.identity.kind,
            address=latest.identity.address,
            requests=sum(one.requests for one in theirs),
        )
        rows.append((-latest.last_us, row))
    rows.sort(key=lambda item: (item[0], item[1].address))
    identities = (one.identity for theirs in seen.values() for one in theirs)
    return ActiveUsers(
        active_users=cut([row for _, row in rows]),
        total_active=len(rows) + (answers.unlisted(anonymous.visitors, identities) if anonymous else 0),
        services_active=len(services),
        offline_now=gone,
    )


def page(endpoint: str, features: Mapping[str, str]) -> str:
    """Return the human name of what somebody looks at: a feature, or `card: prices`."""
    if not endpoint.startswith(CARD_PREFIX):
        return features.get(endpoint, endpoint)
    card, _ = split_endpoint(endpoint)
    return f"{CARD}{features.get(f'card={card}', card)}"


def newest_pages(entries: Iterable[LogEntry]) -> dict[str, str]:
    """Return for each person the endpoint of their newest usage. `entries` come newest first."""
    pages: dict[str, str] = {}
    for entry in entries:
        if entry.traffic in {Traffic.APP, Traffic.CARD}:
            pages.setdefault(answers.person(entry.identity), entry.endpoint)
    return pages


# --- what is used --------------------------------------------------------------------------------------------------


def usage_stats(
    days: int,
    usages: Sequence[Usage],
    activity: Iterable[Activity],
    anonymous: AnonymousUsage,
    features: Mapping[str, str],
) -> UsageStats:
    """Sum up the usage of `days`: sessions, people, features. `usages` is by endpoint; `anonymous`: who has no name."""
    sessions = answers.sessions(activity)
    by_user: Counter[str] = Counter()
    names: dict[str, str] = {}
    for one in sessions:
        if one.identity.user:
            who = answers.person(one.identity)
            by_user[who] += one.requests
            names[who] = one.identity.user
    by_feature: Counter[str] = Counter()
    for usage in usages:
        if answers.is_of_feature(usage):
            by_feature[features.get(usage.endpoint, usage.endpoint)] += usage.requests
    spent_us, count = answers.spent_us(sessions, anonymous), answers.session_count(sessions, anonymous)
    top = min(by_user, key=lambda who: (-by_user[who], names[who])) if by_user else None
    return UsageStats(
        period_days=days,
        total_sessions=count,
        unique_users=len(by_user),
        most_active_user=names[top] if top is not None else None,
        most_active_user_requests=by_user[top] if top is not None else 0,
        top_features=tuple(
            Feature(feature=feature, requests=requests) for feature, requests in _most_first(by_feature)
        ),
        features_total=len(by_feature),
        avg_session_duration_min=round(spent_us / count / MINUTE_US, 1) if count else 0.0,
        total_requests=sum(usage.requests for usage in answers.usage_only(usages)),
    )


def _most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:FEATURES_MAX]


# --- how fast, and who is to blame ---------------------------------------------------------------------------------


def system_performance(
    days: int,
    usages: Sequence[Usage],
    latency: Sequence[Latency],
    up: Sequence[UptimeHour],
    store: StoreState,
    freshness_s: float | None,
    told: AlertsNow | None,
    *,
    is_past: bool = False,
) -> Performance:
    """Return uptime, times and errors of `days`, and who is to blame. `told` is None where the store does not say."""
    of_app = [usage for usage in usages if usage.traffic is Traffic.APP]
    times = answers.response_times(of_app, latency)
    timed = sum(usage.timed for usage in of_app)
    slowest = [
        SlowEndpoint(endpoint=row.endpoint, service=row.service, p95_ms=row.p95_ms, avg_ms=row.avg_ms, count=row.count)
        for row in times
        if row.p95_ms is not None
    ]
    return Performance(
        period_days=days,
        **uptime(up),
        avg_api_response_ms=round(sum(u.request_time_us for u in of_app) / timed / 1000, 1) if timed else None,
        slowest_endpoints=tuple(slowest[:SLOWEST_MAX]),
        endpoints_total=len(slowest),
        error_rate=answers.error_rates(usages).overall.error_rate,
        requests=sum(usage.requests for usage in usages),
        store=store,
        data_freshness_seconds=freshness_s,
        blame=blame(of_app, p95_ms(latency, of_app), store),
        advice=advice(of_app, times, None if is_past else freshness_s),
        alerts=told,
    )


def blame(  # noqa: C901, PLR0911 - a return for each row of the table
    of_app: Sequence[Usage], p95_ms: float | None, store: StoreState
) -> Blame:
    """Return whose fault it is: the table at the head of this file. `of_app` are the requests to the app."""
    requests = sum(usage.requests for usage in of_app)
    failed = [usage for usage in of_app if usage.status >= 500]
    errors = sum(usage.requests for usage in failed)
    with_span = sum(usage.app_timed for usage in failed)
    gateway = _UNREACHED if any(usage.app_timed for usage in of_app) else _UNREACHED - {503}
    unreached = sum(usage.requests - usage.app_timed for usage in failed if usage.status in gateway)
    both = answers.spanned(of_app)
    share = round(min(1.0, both.app_time_us / both.request_time_us), 3) if both.request_time_us else None

    def verdict(who: Verdict, because: str) -> Blame:
        return Blame(
            verdict=who,
            because=because,
            error_rate=round(errors / requests, 6) if requests else 0.0,
            p95_ms=p95_ms,
            app_share=share,
            store_p95_ms=store.p95_ms,
        )

    if not store.ok:
        return verdict("store", "store-down")
    if store.queries >= QUERIES_MIN and (store.p95_ms or 0) >= STORE_SLOW_MS:
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


def advice(of_app: Iterable[Usage], times: Iterable[EndpointTimes], freshness_s: float | None) -> tuple[Advice, ...]:
    """Return what to look at first, only where enough requests bear it; none is the usual answer."""
    requests: Counter[answers.Endpoint] = Counter()
    errors: Counter[answers.Endpoint] = Counter()
    for usage in of_app:
        requests[(usage.service, usage.endpoint)] += usage.requests
        errors[(usage.service, usage.endpoint)] += usage.requests if usage.status >= 500 else 0
    rates = {endpoint: errors[endpoint] / count for endpoint, count in requests.items() if count >= ADVICE_REQUESTS_MIN}
    found: list[Advice] = [
        FailingAdvice(endpoint=endpoint[1], service=endpoint[0] or None, error_rate=round(rates[endpoint], 4))
        for endpoint in sorted(rates, key=lambda one: (-rates[one], one))
        if rates[endpoint] >= ADVICE_ERRORS_MIN
    ]
    found += [
        SlowAdvice(endpoint=row.endpoint, service=row.service, p95_ms=row.p95_ms)
        for row in times
        if row.count >= ADVICE_REQUESTS_MIN and (row.p95_ms or 0) >= SLOW_MS
    ]
    if freshness_s is not None and freshness_s >= STALE_S:
        found.append(StaleAdvice(data_freshness_seconds=freshness_s))
    return tuple(found[:ADVICE_MAX])


def p95_ms(latency: Iterable[Latency], usages: Iterable[Usage]) -> float | None:
    """Return the p95 of nginx's time over the endpoints of some usage, or None where nothing was timed."""
    wanted = {(usage.service, usage.endpoint) for usage in usages}
    histogram: Counter[int] = Counter()
    for cell in latency:
        if cell.side == "proxy" and (cell.service, cell.endpoint) in wanted:
            histogram[cell.bucket] += cell.requests
    found = percentiles(histogram, (0.95,))
    return answers.millis(found[0]) if found else None


# --- then and now --------------------------------------------------------------------------------------------------


_Place = tuple[str | None, str]
"""Service and endpoint."""


class Period(NamedTuple):
    """What a window is compared by."""

    window: Window
    usages: Sequence[Usage]
    latency: Sequence[Latency]
    of_people: Sequence[Usage]
    """Rollups by identity."""


def compare(days: int, now: Period, before: Period, *, is_covered: bool = True) -> Periods:
    """Set a window of `days` beside the one before it; `is_covered`: that one is stored whole."""
    ours, theirs = (
        {
            (row.service, row.endpoint): row
            for row in answers.response_times(
                [one for one in period.usages if one.traffic is Traffic.APP], period.latency
            )
        }
        for period in (now, before)
    )
    changes = [_changed(ours[endpoint], theirs[endpoint]) for endpoint in ours.keys() & theirs.keys()]
    changes.sort(key=lambda row: (-abs(row.p95_change_ms or 0), -row.requests_now, row.endpoint, row.service or ""))
    came, went = _only_in(ours, theirs), _only_in(theirs, ours)
    return Periods(
        period_days=days,
        now=answers.window(now.window),
        before=answers.window(before.window),
        before_covered=is_covered,
        metrics=_metrics(_totals(now), _totals(before), is_covered=is_covered),
        endpoints=tuple(changes[:CHANGES_MAX]),
        endpoints_total=len(changes),
        endpoints_new=tuple(came[:CHANGES_MAX]),
        endpoints_new_total=len(came),
        endpoints_gone=tuple(went[:CHANGES_MAX]),
        endpoints_gone_total=len(went),
    )


def _changed(now: EndpointTimes, before: EndpointTimes) -> EndpointChange:
    known = now.p95_ms is not None and before.p95_ms is not None
    return EndpointChange(
        endpoint=now.endpoint,
        service=now.service,
        requests_now=now.count,
        requests_before=before.count,
        p95_ms_now=now.p95_ms,
        p95_ms_before=before.p95_ms,
        p95_change_ms=round((now.p95_ms or 0) - (before.p95_ms or 0), 3) if known else None,
    )


def _only_in(these: Mapping[_Place, EndpointTimes], others: Mapping[_Place, EndpointTimes]) -> list[EndpointRequests]:
    """Return the endpoints that the others do not have, most requests first."""
    found = [
        EndpointRequests(endpoint=row.endpoint, service=row.service, requests=row.count)
        for place, row in these.items()
        if place not in others
    ]
    return sorted(found, key=lambda row: (-row.requests, row.endpoint, row.service or ""))


def _metrics(
    now: Mapping[str, float | None], before: Mapping[str, float | None], *, is_covered: bool
) -> tuple[MetricChange, ...]:
    return tuple(
        MetricChange(
            metric=name,
            now=ours,
            before=before[name],
            change_percent=_change(ours, before[name]) if is_covered else None,
        )
        for name, ours in now.items()
    )


def _totals(period: Period) -> dict[str, float | None]:
    of_app = [usage for usage in period.usages if usage.traffic is Traffic.APP]
    timed = sum(usage.timed for usage in of_app)
    return {
        "requests": sum(usage.requests for usage in of_app),
        "unique_users": len({user_key(one.identity) for one in answers.usage_only(period.of_people)} - {""}),
        "avg_response_ms": round(sum(u.request_time_us for u in of_app) / timed / 1000, 1) if timed else None,
        "p95_response_ms": p95_ms(period.latency, of_app),
        "error_rate": answers.error_rates(of_app).overall.error_rate if of_app else None,
    }


def _change(now: float | None, before: float | None) -> float | None:
    return None if now is None or not before else round(100 * (now - before) / before, 1)


def unused_endpoints(
    declared: Iterable[tuple[str, str]],
    recent: Iterable[Usage],
    earlier: Iterable[Usage],
    features: Mapping[str, str],
) -> tuple[list[UnusedEndpoint], int]:
    """Return the routes that nobody asked for in the window, most used earlier first, and how many are known.

    Known are those the app declares, and those that were used. Routes of one name in two services are two; one that no
    service was ever asked for, the app declares for none.

    `declared` are (method, route). Routes count, whatever the method: a `HEAD` uses the route of its `GET`.
    """
    methods: dict[str, set[str]] = defaultdict(set)
    for method, route in declared:
        methods[route].add(method)
    used = {
        (usage.service, usage.endpoint)
        for usage in recent
        if usage.traffic in {Traffic.APP, Traffic.HEALTH} and usage.endpoint != OTHER
    }
    before: Counter[tuple[str, str]] = Counter()
    for usage in earlier:
        if usage.traffic is Traffic.APP and usage.status < 400 and usage.endpoint != OTHER:
            before[(usage.service, usage.endpoint)] += usage.requests
    asked_for = {route for _, route in used | before.keys()}
    known = used | before.keys() | {("", route) for route in methods if route not in asked_for}
    unused = [
        UnusedEndpoint(
            endpoint=route,
            service=service or None,
            feature=features.get(route, route),
            methods=tuple(sorted(methods.get(route, ()))),
            requests_earlier=before[(service, route)],
        )
        for service, route in known - used
    ]
    return sorted(unused, key=lambda row: (-row.requests_earlier, row.endpoint, row.service or "")), len(known)


# --- one request ---------------------------------------------------------------------------------------------------


def explain(entries: Iterable[LogEntry], features: Mapping[str, str]) -> tuple[TracedRequest, ...]:
    """Return each request of a trace: nginx's line, the app's span, who it was, and where the time went."""
    return tuple(_traced_request(entry, features) for entry in entries)


def _traced_request(entry: LogEntry, features: Mapping[str, str]) -> TracedRequest:
    span = None
    if entry.app_time_us is not None:
        span = SpanSummary(route=entry.endpoint, error_type=entry.error_type or None)
    return TracedRequest(
        timestamp=answers.iso(entry.time_us),
        nginx=NginxLine(
            method=entry.method,
            path=entry.path,
            status=entry.status,
            service=entry.service or None,
            bytes=entry.bytes_sent,
        ),
        span=span,
        feature=features.get(entry.endpoint, entry.endpoint),
        identity=_who(entry.identity),
        timing=Timing(
            total_ms=answers.millis(entry.request_time_us),
            app_ms=answers.millis(entry.app_time_us),
            outside_ms=answers.outside_of(entry),
        ),
        traffic=entry.traffic.name.lower(),
    )


def _who(identity: Identity) -> Who:
    return Who(
        user=identity.user or None,
        device=identity.device or None,
        ip=identity.address,
        kind=identity.kind,
        tags=tuple(identity.tags.split(",")) if identity.tags else (),
        identified_by=identity.provider or None,
        via=identity.via or None,
        reason=identity.reason or None,
    )

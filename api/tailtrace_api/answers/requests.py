"""The answers, as pure functions of what the store rolls up. Each is defined in words in `docs/definitions.md`.

No clock, no store, no file: rows in, records out, so that HTTP, terminal, MCP and dashboard tell the same. A list is
given whole and in its order; whoever answers with it cuts it (`record.cut`).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from operator import itemgetter
from typing import NamedTuple, TypedDict, TypeVar

from tailtrace_api.answers.request_records import (
    CardViews,
    EndpointRates,
    EndpointTimes,
    ErrorRate,
    LogLine,
    PeakHour,
    Rates,
    ServiceCalls,
    Step,
    Summary,
    Times,
    UsageSummary,
    UserSessions,
)
from tailtrace_bridge.core.cards import split_endpoint
from tailtrace_bridge.core.histogram import percentiles
from tailtrace_bridge.core.records import OTHER, Identity, Traffic
from tailtrace_bridge.core.times import parse_time, since_epoch_us
from tailtrace_bridge.store.anonymous import FOLDED, AnonymousUsage, is_anonymous
from tailtrace_bridge.store.names import device_key, user_key
from tailtrace_bridge.store.packed import join_runs
from tailtrace_bridge.store.values import (
    CLIENT_CLOSED,
    HOUR_US,
    QUARTER_US,
    Activity,
    BucketLatency,
    BucketUsage,
    EndpointBucket,
    Latency,
    LogEntry,
    Quarter,
    Run,
    Usage,
    Visits,
    Window,
)

FAVORITES_MAX = 3
NGINX_CLOCK_US = 1000
"""nginx counts in milliseconds (`$request_time`), a span in less."""
_USAGE = frozenset({Traffic.APP, Traffic.CARD})
Endpoint = tuple[str, str]
"""Service and route."""
Counted = TypeVar("Counted", str, tuple[int, str], tuple[str, str])


_FIRST_US, _LAST_US, _REQUESTS = map(itemgetter, range(3))
"""Of a `Run`."""


class Sessions(NamedTuple):
    """Those of one visitor, in order of time: in each, no request comes more than 30 minutes after the one before."""

    identity: Identity
    runs: Sequence[Run]

    @property
    def requests(self) -> int:
        """Count requests."""
        return sum(map(_REQUESTS, self.runs))  # of thousands, for a page

    @property
    def spent_us(self) -> int:
        """Add up how long they lasted."""
        spent_us: int = sum(map(_LAST_US, self.runs)) - sum(map(_FIRST_US, self.runs))
        return spent_us


class Spanned(NamedTuple):
    """Requests that both nginx and the app timed, and their times by each."""

    requests: int
    request_time_us: int
    app_time_us: int


def iso(time_us: int) -> str:
    """`2025-10-08T14:32:15.000Z`: milliseconds, UTC."""
    return datetime.fromtimestamp(time_us // 1000 / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_us(text: str) -> int:
    """ISO 8601 → µs since the epoch; a time without a zone is UTC. Raises `ValueError`."""
    return since_epoch_us(parse_time(text))


def window(of: Window) -> dict[str, str]:
    """Return a window as an answer has it."""
    return {"from": iso(of.start_us), "to": iso(of.end_us)}


def millis(time_us: float | None) -> float | None:
    """µs → ms with three decimals."""
    return None if time_us is None else round(time_us / 1000, 3)


def visitor(identity: Identity) -> tuple[str, str]:
    """Return who counts as one: user and device where they are known, by what outlives a rename; else the address."""
    user, device = user_key(identity), device_key(identity)
    return (user, device) if user or device else (f"{identity.kind} at", identity.address)


def person(identity: Identity) -> str:
    """Return what tells people apart: the user, or where there is none (tagged device, bare address) the visitor."""
    return user_key(identity) or "/".join(visitor(identity))


def name(identity: Identity) -> str:
    """Return what a person is called."""
    return identity.user or identity.device or identity.address


# --- access logs ---------------------------------------------------------------------------------------------------


def log_line(entry: LogEntry) -> LogLine:
    """One line of `logs`."""
    who = entry.identity
    return LogLine(
        timestamp=iso(entry.time_us),
        user=who.user or None,
        device=who.device or None,
        ip=who.address,
        endpoint=entry.endpoint,
        method=entry.method,
        status=entry.status,
        response_time_ms=millis(entry.request_time_us),
        app_time_ms=millis(entry.app_time_us),
        outside_ms=outside_of(entry),
        trace_id=entry.trace_id or None,
        kind=who.kind,
        tags=tuple(who.tags.split(",")) if who.tags else (),
        identified_by=who.provider or None,
        identified_at=iso(entry.identified_us) if entry.identified_us else None,
        via=who.via or None,
        key_expired=who.expired,
        reason=who.reason or None,
        path=entry.path,
        service=entry.service or None,
        traffic=entry.traffic.name.lower(),
        bytes=entry.bytes_sent,
        error_type=entry.error_type or None,
    )


def page(entries: Sequence[LogEntry], limit: int) -> tuple[tuple[LogLine, ...], str | None]:
    """Return the first `limit` lines, and where the next page begins: None where there are no more entries."""
    shown = entries[:limit]
    more = len(entries) > limit
    return tuple(map(log_line, shown)), f"{shown[-1].time_us}-{shown[-1].key}" if more else None


def summary(usages: Sequence[Usage], addresses: int) -> Summary:
    """Count every request of the window, whatever page is shown, from so many `addresses`."""
    return Summary(**_counts(usages, {usage.identity for usage in usages}, addresses))


def usage_summary(usages: Sequence[Usage], all_sessions: Sequence[Sessions], anonymous: AnonymousUsage) -> UsageSummary:
    """Count usage, and its sessions."""
    counts = _counts(usages, [one.identity for one in all_sessions], anonymous.addresses)
    return UsageSummary(**counts, total_sessions=session_count(all_sessions, anonymous))


class _Counts(TypedDict):
    total_requests: int
    unique_users: int
    unique_devices: int
    unique_addresses: int
    avg_response_time_ms: float | None
    errors_5xx: int


def _counts(usages: Sequence[Usage], identities: Collection[Identity], addresses: int) -> _Counts:
    timed = sum(usage.timed for usage in usages)
    return _Counts(
        total_requests=sum(usage.requests for usage in usages),
        unique_users=len({user_key(who) for who in identities} - {""}),
        unique_devices=len({device_key(who) for who in identities} - {""}),
        unique_addresses=addresses,
        avg_response_time_ms=millis(sum(usage.request_time_us for usage in usages) / timed) if timed else None,
        errors_5xx=sum(usage.requests for usage in usages if usage.status >= 500),
    )


# --- dashboard usage -----------------------------------------------------------------------------------------------


def sessions(activity: Iterable[Activity]) -> list[Sessions]:
    """Cut each visitor's usage wherever it pauses for more than 30 minutes; by visitor, the first that came first."""
    of_visitor: dict[tuple[str, str], list[Activity]] = defaultdict(list)
    for seen in activity:
        of_visitor[visitor(seen.identity)].append(seen)
    found = [
        Sessions(
            max(theirs, key=lambda one: one.last_us).identity,
            theirs[0].runs if len(theirs) == 1 else join_runs(run for one in theirs for run in one.runs),
        )
        for theirs in of_visitor.values()
    ]
    return sorted(found, key=lambda one: (one.runs[0], visitor(one.identity)))


def session_count(all_sessions: Iterable[Sessions], anonymous: AnonymousUsage | None = None) -> int:
    """Count the sessions of all visitors; those of `anonymous` may be missing in `all_sessions`."""
    if anonymous is None:
        return sum(len(one.runs) for one in all_sessions)
    return anonymous.sessions + sum(len(one.runs) for one in all_sessions if not is_anonymous(one.identity))


def spent_us(all_sessions: Iterable[Sessions], anonymous: AnonymousUsage) -> int:
    """Add up how long the sessions of all visitors lasted."""
    return anonymous.spent_us + sum(one.spent_us for one in all_sessions if not is_anonymous(one.identity))


def unlisted(anonymous: int, listed: Iterable[Identity]) -> int:
    """Return how many of so many anonymous visitors are not listed."""
    return anonymous - len({visitor(who) for who in listed if is_anonymous(who) and who != FOLDED})


def most_viewed_cards(visits: Iterable[Visits | Usage], features: Mapping[str, str]) -> list[CardViews]:
    """Count card views, all variants of a card together, most first. `features` may name a card: `card=prices`."""
    views: Counter[str] = Counter()
    for visit in visits:
        if visit.traffic is Traffic.CARD:
            views[split_endpoint(visit.endpoint)[0]] += visit.requests
    return [
        CardViews(card=card, name=features.get(f"card={card}", card), views=count) for card, count in most_first(views)
    ]


def peak_hours(quarters: Iterable[Quarter], zone: tzinfo) -> tuple[PeakHour, ...]:
    """Sum usage by hour of the day in `zone`: always 24 of them, 0 to 23.

    A zone's hours begin with a quarter of UTC's: none has been off by other minutes since Liberia's in 1972.
    """
    requests = [0] * 24
    for quarter in quarters:
        requests[datetime.fromtimestamp(quarter.time_us / 1e6, zone).hour] += quarter.requests
    return tuple(PeakHour(hour=hour, requests=count) for hour, count in enumerate(requests))


def quarters_of(steps: Iterable[EndpointBucket], of: Window) -> Iterator[Quarter]:
    """Spread hours of usage over their quarters: a zone with half hours then puts it down by halves.

    Of an hour that the window cuts, the usage lies in the quarters that it has of it.
    """
    for step in steps:
        if step.traffic in _USAGE:
            hour = range(step.time_us, step.time_us + HOUR_US, QUARTER_US)
            within = [us for us in hour if us + QUARTER_US > of.start_us and us < of.end_us] or [step.time_us]
            each, more = divmod(step.requests, len(within))
            for place, quarter_us in enumerate(within):
                if requests := each + (place < more):
                    yield Quarter(quarter_us, requests)


def user_sessions(
    all_sessions: Iterable[Sessions], visits: Iterable[Visits], features: Mapping[str, str]
) -> list[UserSessions]:
    """Sum sessions by person, most sessions first; favourites are the features they asked for most."""
    return list(sessions_by_person(all_sessions, visits, features).values())


def sessions_by_person(
    all_sessions: Iterable[Sessions], visits: Iterable[Visits], features: Mapping[str, str]
) -> dict[str, UserSessions]:
    """Return the rows of `user_sessions`, in their order, by `person`: two of them may have one name."""
    by_person: dict[str, list[Sessions]] = defaultdict(list)
    for one in all_sessions:
        by_person[person(one.identity)].append(one)
    favorites = _favorites(visits, features)
    rows: dict[str, UserSessions] = {}
    for who, theirs in by_person.items():
        latest = max(theirs, key=lambda one: one.runs[-1][1])
        rows[who] = UserSessions(
            user=name(latest.identity),
            kind=latest.identity.kind,
            sessions=session_count(theirs),
            total_time_hours=round(sum(one.spent_us for one in theirs) / HOUR_US, 3),
            favorite_features=favorites.get(who, ()),
            requests=sum(one.requests for one in theirs),
            devices=tuple(sorted({one.identity.device for one in theirs} - {""})),
            last_seen=iso(latest.runs[-1][1]),
        )
    return dict(sorted(rows.items(), key=lambda item: most_sessions_first(item[1])))


def most_sessions_first(row: UserSessions) -> tuple[int, int, str]:
    """Return what people are sorted by; those with as many sessions go by their requests."""
    return -row.sessions, -row.requests, row.user


def _favorites(visits: Iterable[Visits], features: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for visit in visits:
        if is_of_feature(visit):
            counts[person(visit.identity)][features.get(visit.endpoint, visit.endpoint)] += visit.requests
    return {who: tuple(feature for feature, _ in most_first(count)[:FAVORITES_MAX]) for who, count in counts.items()}


def is_of_feature(one: Visits | Usage) -> bool:
    """Tell whether something of the app was used: what fits no route is none of its features."""
    return one.traffic is Traffic.APP and one.endpoint != OTHER


def api_calls_by_endpoint(visits: Iterable[Visits | Usage]) -> list[dict[str, int]]:
    """Count calls of the app by endpoint, most first; health checks, bots, static files and card views stay out."""
    calls: Counter[str] = Counter()
    for visit in visits:
        if visit.traffic is Traffic.APP:
            calls[visit.endpoint] += visit.requests
    return [{endpoint: count} for endpoint, count in most_first(calls)]


def api_calls_by_service(usages: Iterable[Usage]) -> list[ServiceCalls]:
    """Count the same by service, most first."""
    calls: Counter[tuple[str, str]] = Counter()
    for usage in usages:
        if usage.traffic is Traffic.APP:
            calls[(usage.service, usage.endpoint)] += usage.requests
    return [
        ServiceCalls(service=service or None, endpoint=endpoint, requests=requests)
        for (service, endpoint), requests in sorted(calls.items(), key=lambda item: (-item[1], item[0]))
    ]


def usage_only(usages: Iterable[Usage]) -> list[Usage]:
    """Leave out health checks, bots and static files."""
    return [usage for usage in usages if usage.traffic in _USAGE]


# --- system health -------------------------------------------------------------------------------------------------


def response_times(usages: Iterable[Usage], latency: Iterable[Latency]) -> list[EndpointTimes]:
    """Response times by service and endpoint, slowest p95 first: all of nginx's time, and the app's part of it."""
    histograms: dict[tuple[Endpoint, str], Counter[int]] = defaultdict(Counter)
    for cell in latency:
        histograms[((cell.service, cell.endpoint), cell.side)][cell.bucket] += cell.requests
    of_endpoint: dict[Endpoint, list[Usage]] = defaultdict(list)
    for usage in usages:
        of_endpoint[(usage.service, usage.endpoint)].append(usage)
    rows = []
    for endpoint, theirs in of_endpoint.items():
        timed, time_us = sum(one.timed for one in theirs), sum(one.request_time_us for one in theirs)
        app_timed, app_time_us = sum(one.app_timed for one in theirs), sum(one.app_time_us for one in theirs)
        rows.append(
            EndpointTimes(
                endpoint=endpoint[1],
                service=endpoint[0] or None,
                count=sum(one.requests for one in theirs),
                **_times(timed, time_us, histograms[(endpoint, "proxy")]),
                app=Times(**_times(app_timed, app_time_us, histograms[(endpoint, "app")])),
                app_count=app_timed,
                proxy_avg_ms=outside_avg_ms(theirs),
                proxy_count=outside_count(theirs),
            )
        )
    return sorted(rows, key=lambda row: (-(row.p95_ms or 0), -row.count, row.endpoint, row.service or ""))


def spanned(usages: Iterable[Usage]) -> Spanned:
    """Add up the requests that have both times; those that the client left (499) stay out: nginx's time ends early.

    The rollups tell the app's time of these alone where no other request of the group has one: so it is in every log
    that has nginx's times at all.
    """
    both = [one for one in usages if one.both_timed and one.both_timed == one.app_timed and one.status != CLIENT_CLOSED]
    app_time_us = sum(one.app_time_us for one in both)
    return Spanned(sum(one.both_timed for one in both), app_time_us + sum(one.outside_us for one in both), app_time_us)


def outside_count(usages: Iterable[Usage]) -> int:
    """Count the requests that `outside_avg_ms` is the mean of: those with both times that the client did not leave."""
    return sum(one.both_timed for one in usages if one.status != CLIENT_CLOSED)


def outside_avg_ms(usages: Sequence[Usage]) -> float | None:
    """Return the mean of what passed outside the app; None where it is not known."""
    count = outside_count(usages)
    outside_us = sum(one.outside_us for one in usages if one.status != CLIENT_CLOSED)
    return _outside_ms(outside_us / count) if count else None


def outside_of(entry: LogEntry) -> float | None:
    """Return what passed outside the app in one request, by `outside_avg_ms`'s rules."""
    if entry.request_time_us is None or entry.app_time_us is None or entry.status == CLIENT_CLOSED:
        return None
    return _outside_ms(entry.request_time_us - entry.app_time_us)


def _outside_ms(left_us: float) -> float | None:
    """Return nginx's time less the app's, in ms; None where an app went on after its answer, 0 where a clock did."""
    return None if left_us < -NGINX_CLOCK_US else millis(max(0.0, left_us))


def _times(timed: int, time_us: int, histogram: Mapping[int, int]) -> dict[str, float | None]:
    p50, p95, p99 = percentiles(histogram, (0.5, 0.95, 0.99)) or (None, None, None)
    return {
        "avg_ms": millis(time_us / timed) if timed else None,
        "p50_ms": millis(p50),
        "p95_ms": millis(p95),
        "p99_ms": millis(p99),
    }


def error_rates(usages: Sequence[Usage]) -> ErrorRate:
    """5xx over all, overall and by service and endpoint; 4xx and 499 (the client left) apart. Rates are 0–1."""
    counts: dict[Endpoint, Counter[str]] = defaultdict(Counter)
    for usage in usages:
        of_endpoint = counts[(usage.service, usage.endpoint)]
        of_endpoint["requests"] += usage.requests
        of_endpoint[_error_class(usage.status)] += usage.requests
    by_endpoint = [
        EndpointRates(endpoint=route, service=service or None, **_rates(count))
        for (service, route), count in counts.items()
    ]
    by_endpoint.sort(key=lambda row: (-row.error_rate, -row.errors_5xx, -row.requests, row.endpoint, row.service or ""))
    total: Counter[str] = Counter()
    for count in counts.values():
        total.update(count)
    return ErrorRate(overall=Rates(**_rates(total)), by_endpoint=tuple(by_endpoint))


def _error_class(status: int) -> str:
    if status >= 500:
        return "errors_5xx"
    if status == CLIENT_CLOSED:
        return "client_closed_499"
    return "errors_4xx" if status >= 400 else "fine"


class _Rates(TypedDict):
    error_rate: float
    requests: int
    errors_5xx: int
    errors_4xx: int
    client_closed_499: int


def _rates(count: Mapping[str, int]) -> _Rates:
    requests = count.get("requests", 0)
    errors = count.get("errors_5xx", 0)
    return {
        "error_rate": round(errors / requests, 6) if requests else 0.0,
        "requests": requests,
        "errors_5xx": errors,
        "errors_4xx": count.get("errors_4xx", 0),
        "client_closed_499": count.get("client_closed_499", 0),
    }


def over_time(steps: Iterable[BucketUsage], latency: Iterable[BucketLatency]) -> tuple[Step, ...]:
    """Return requests, errors and response times by step of time, UTC."""
    histograms: dict[int, Counter[int]] = defaultdict(Counter)
    for cell in latency:
        histograms[cell.time_us][cell.bucket] += cell.requests
    return tuple(
        Step(
            time=iso(step.time_us),
            requests=step.requests,
            errors_5xx=step.errors,
            error_rate=round(step.errors / step.requests, 6) if step.requests else 0.0,
            **_times(step.timed, step.request_time_us, histograms[step.time_us]),
        )
        for step in steps
    )


def placed(endpoint: str, service: str | None, services: Collection[str | None]) -> str:
    """Return what an endpoint is called beside those of some services: with its own, where these are several."""
    return f"{service} {endpoint}" if service and len(set(services)) > 1 else endpoint


def most_first(counts: Counter[Counted]) -> list[tuple[Counted, int]]:
    """Return what was counted, most first; of equals, by name: so every store gives the same order."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

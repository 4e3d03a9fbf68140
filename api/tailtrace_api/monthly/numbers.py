"""A month in numbers, made of the store's rollups alone. Pure: what each is, `docs/definitions.md` says.

The lists are as long as three pages hold at their worst.

A month is set beside the one before it only where that one is whole (`Numbers.comparable`), and a change is told only
where the numbers bear it:

| told as | when |
|---|---|
| up, down | `CHANGE_REQUESTS_MIN` requests or more in one of the months, `CHANGE_SHARE_MIN` more or less, and more than chance does: `CHANGE_SIGMAS` standard deviations of the difference of two counts |
| new, gone | none in one month, `CHANGE_REQUESTS_MIN` or more in the other |
| slower, faster | `TIMED_MIN` requests or more in both, p95 `SLOWER_SHARE_MIN` and `SLOWER_MS_MIN` apart (a bucket is up to 2% off) |
"""  # noqa: E501 - a table

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tailtrace_api.answers import insights
from tailtrace_api.answers import requests as answers
from tailtrace_api.answers.insight_records import UnusedEndpoint
from tailtrace_api.answers.uptime import uptime
from tailtrace_api.monthly.month import Month, Span
from tailtrace_bridge.core.cards import split_endpoint
from tailtrace_bridge.core.histogram import percentiles
from tailtrace_bridge.core.records import OTHER, Traffic
from tailtrace_bridge.rows.traffic import HEALTH_PATHS
from tailtrace_bridge.store.anonymous import AnonymousUsage
from tailtrace_bridge.store.names import user_key
from tailtrace_bridge.store.values import (
    HOUR_US,
    Activity,
    BucketLatency,
    BucketUsage,
    Latency,
    Quarter,
    UptimeHour,
    Usage,
    Visits,
)

PEOPLE_MAX = 10
FEATURES_MAX = 10
CARDS_MAX = 5
SLOWEST_MAX = 8
FAILING_MAX = 5
CHANGES_MAX = 3
"""Of each pair: up and down, new and gone, slower and faster."""
UNUSED_MAX = 14
NAMES_MAX = 4
"""Of people who are new, or were not seen again."""
CHANGE_REQUESTS_MIN = 20
CHANGE_SHARE_MIN = 0.2
CHANGE_SIGMAS = 3.0
TIMED_MIN = 100
SLOWER_SHARE_MIN = 0.25
SLOWER_MS_MIN = 20.0
SLOWEST_REQUESTS_MIN = 20
"""A percentile of fewer says little."""


class WindowRollups(NamedTuple):
    """What the store gives of a window."""

    usages: Sequence[Usage] = ()
    """By endpoint."""
    latency: Sequence[Latency] = ()
    visits: Sequence[Visits] = ()
    """Of all but anonymous visitors, as `activity`."""
    activity: Sequence[Activity] = ()
    uptime: Sequence[UptimeHour] = ()
    anonymous: AnonymousUsage = AnonymousUsage()
    """Of all anonymous visitors: there may be many, and of none by itself is anything told."""


class Course(NamedTuple):
    """How the month went, from hour to hour."""

    quarters: Sequence[Quarter] = ()
    steps: Sequence[BucketUsage] = ()
    latency: Sequence[BucketLatency] = ()


class Routes(NamedTuple):
    """What the app has, and what of it was used in the months before."""

    declared: Sequence[tuple[str, str]] = ()
    earlier: Sequence[Usage] = ()
    features: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Totals:
    """A window in numbers."""

    requests: int
    """Usage: what people and services asked of the app. Health checks, bots and files are not in it."""
    people: int
    sessions: int
    all_requests: int
    """Of any kind: what errors are counted over."""
    errors: int
    """5xx, of any kind of request."""
    error_rate: float
    """0 to 1."""
    uptime_percent: float | None
    minutes: int
    """With answers, of each service by itself."""
    minutes_down: int
    """Those in which it was down."""
    p95_ms: float | None
    """Of the requests to the app."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day in the report's time zone. Where that is half an hour off, errors and p95 go by the hours of UTC."""

    day: date
    requests: int
    errors: int
    p95_ms: float | None
    """Of all requests."""


@dataclass(frozen=True, slots=True)
class Person:
    """What somebody did in the month."""

    name: str
    requests: int
    before: int
    sessions: int
    hours: float
    favorite: str


@dataclass(frozen=True, slots=True)
class Feature:
    """How much a feature, or a card, was used."""

    name: str
    requests: int
    before: int
    people: int


class _OfService:
    __slots__ = ()
    endpoint: str
    service: str

    @property
    def name(self) -> str:
        """Return what it is called: two services may have endpoints of one name."""
        return f"{self.service} {self.endpoint}".strip()


@dataclass(frozen=True, slots=True)
class Endpoint(_OfService):
    """How fast and how sound an endpoint was. Times are nginx's, but for `app_p95_ms`."""

    endpoint: str
    requests: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    app_p95_ms: float | None
    errors: int
    service: str = ""
    """Empty where the months have one alone."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is different from the month before: requests, or p95 in milliseconds."""

    kind: str
    """One of `up`, `down`, `new`, `gone`, `slower`, `faster`."""
    name: str
    now: float
    before: float


@dataclass(frozen=True, slots=True)
class Unused(_OfService):
    """A route that nobody asked for in the month."""

    endpoint: str
    methods: tuple[str, ...]
    feature: str
    requests_earlier: int
    """In the 90 days before the month."""
    service: str = ""
    """As of an endpoint."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """All that the pages say."""

    month: Month
    zone: str
    until_us: int | None
    """Where the month is not over: the time up to which it is told."""
    now: Totals
    before: Totals
    began: date | None
    """The first day with anything stored, where that lies in this month or the one before."""
    comparable: bool
    """The month before is whole."""
    days: tuple[Day, ...]
    """Those of `days_in_part` are not whole."""
    hours: tuple[tuple[int, ...], ...]
    """Usage by weekday (Monday first) and hour of the day."""
    people: tuple[Person, ...]
    new_people: tuple[str, ...]
    gone_people: tuple[str, ...]
    unnamed_requests: int
    """Usage by services, and by addresses that nobody names."""
    features: tuple[Feature, ...]
    features_total: int
    cards: tuple[Feature, ...]
    slowest: tuple[Endpoint, ...]
    failing: tuple[Endpoint, ...]
    changes: tuple[Change, ...]
    unused: tuple[Unused, ...]
    unused_total: int
    known_routes: int
    """Declared by the app, or ever seen."""
    declared_routes: int

    @property
    def days_in_part(self) -> set[date]:
        """Days that are not over, or of which not all is stored."""
        found = {self.began} if self.began in self.month.days else set()
        if self.until_us is not None:
            until = _local(self.until_us, ZoneInfo(self.zone))
            if until.time() > time.min:
                found.add(until.date())
        return {day for day in found if day is not None}


def numbers(
    month: Month,
    zone: tzinfo,
    span: Span,
    now: WindowRollups,
    before: WindowRollups,
    course: Course,
    routes: Routes,
    began: date | None,
) -> Numbers:
    """Make the record of a month."""
    totals = (_totals(now), _totals(before))
    comparable = totals[1].all_requests > 0 and (began is None or began <= month.before.first)
    has_services = len({usage.service for usage in (*now.usages, *before.usages)}) > 1
    endpoints = _endpoints(now, has_services=has_services)
    features = _features(now, before, routes.features)
    people = _people(now, before, routes.features)
    seen = [{one.name for one in people if one.requests}, {one.name for one in people if one.before}]
    unused, known_routes = _unused(now.usages, routes)
    changes = (
        (*_moved(features), *_slower(endpoints, _endpoints(before, has_services=has_services))) if comparable else ()
    )
    return Numbers(
        month=month,
        zone=str(zone),
        until_us=span.until_us,
        now=totals[0],
        before=totals[1],
        began=began,
        comparable=comparable,
        days=_days(month, zone, course),
        hours=_hours(course.quarters, zone),
        people=tuple(one for one in people if one.requests)[:PEOPLE_MAX],
        new_people=tuple(sorted(seen[0] - seen[1])) if comparable else (),
        gone_people=tuple(sorted(seen[1] - seen[0])) if comparable else (),
        unnamed_requests=totals[0].requests - sum(visit.requests for visit in now.visits if visit.identity.user),
        features=tuple(one for one in features if one.requests)[:FEATURES_MAX],
        features_total=sum(one.requests > 0 for one in features),
        cards=tuple(_cards(now, before, routes.features))[:CARDS_MAX],
        slowest=_slowest(endpoints),
        failing=tuple(
            sorted((one for one in endpoints if one.errors), key=lambda one: (-one.errors, one.name))[:FAILING_MAX]
        ),
        changes=changes,
        unused=tuple(
            Unused(row.endpoint, row.methods, row.feature, row.requests_earlier, (row.service or "") * has_services)
            for row in unused[:UNUSED_MAX]
        ),
        unused_total=len(unused),
        known_routes=known_routes,
        declared_routes=len({route for _, route in routes.declared}),
    )


def _totals(rollups: WindowRollups) -> Totals:
    of_app = [usage for usage in rollups.usages if usage.traffic is Traffic.APP]
    overall = answers.error_rates(rollups.usages).overall
    up = uptime(rollups.uptime)
    return Totals(
        requests=sum(usage.requests for usage in answers.usage_only(rollups.usages)),
        people=len({user_key(visit.identity) for visit in rollups.visits} - {""}),
        sessions=answers.session_count(answers.sessions(rollups.activity), rollups.anonymous),
        all_requests=overall.requests,
        errors=overall.errors_5xx,
        error_rate=overall.error_rate,
        uptime_percent=up["uptime_percentage"],
        minutes=up["minutes_with_traffic"],
        minutes_down=up["minutes_down"],
        p95_ms=insights.p95_ms(rollups.latency, of_app),
    )


# --- days and hours ------------------------------------------------------------------------------------------------


def _local(time_us: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(time_us / 1e6, zone)


def _days(month: Month, zone: tzinfo, course: Course) -> tuple[Day, ...]:
    requests: Counter[date] = Counter()
    errors: Counter[date] = Counter()
    times: dict[date, Counter[int]] = defaultdict(Counter)
    for quarter in course.quarters:
        requests[_local(quarter.time_us, zone).date()] += quarter.requests
    for step in course.steps:
        errors[_local(step.time_us, zone).date()] += step.errors
    of_hour: dict[int, date] = {}
    for cell in course.latency:
        day = of_hour.get(cell.time_us) or of_hour.setdefault(cell.time_us, _local(cell.time_us, zone).date())
        times[day][cell.bucket] += cell.requests
    found = []
    for day in month.days:
        p95 = percentiles(times[day], (0.95,))
        found.append(Day(day, requests[day], errors[day], answers.millis(p95[0]) if p95 else None))
    return tuple(found)


def _hours(quarters: Iterable[Quarter], zone: tzinfo) -> tuple[tuple[int, ...], ...]:
    table = [[0] * 24 for _ in range(7)]
    for quarter in quarters:
        time = _local(quarter.time_us, zone)
        table[time.weekday()][time.hour] += quarter.requests
    return tuple(map(tuple, table))


# --- people and features -------------------------------------------------------------------------------------------


def _people(now: WindowRollups, before: WindowRollups, features: Mapping[str, str]) -> list[Person]:
    """Return everybody with a name of both months, most requests first."""
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    names: dict[str, str] = {}
    favorites: dict[str, Counter[str]] = defaultdict(Counter)
    for side, rollups in ((1, before), (0, now)):
        for visit in rollups.visits:
            if not visit.identity.user:
                continue
            who = answers.person(visit.identity)
            names[who] = visit.identity.user
            counts[side][who] += visit.requests
            if side == 0 and answers.is_of_feature(visit):
                favorites[who][features.get(visit.endpoint, visit.endpoint)] += visit.requests
    count: Counter[str] = Counter()
    spent_us: Counter[str] = Counter()
    for sessions in answers.sessions(now.activity):
        who = answers.person(sessions.identity)
        count[who] += len(sessions.runs)
        spent_us[who] += sessions.spent_us
    found = [
        Person(
            name,
            counts[0][who],
            counts[1][who],
            count[who],
            round(spent_us[who] / HOUR_US, 1),
            min(favorites[who], key=lambda one, who=who: (-favorites[who][one], one), default=""),  # type: ignore[misc]
        )
        for who, name in names.items()
    ]
    return sorted(found, key=lambda one: (-one.requests, -one.before, one.name))


def _features(now: WindowRollups, before: WindowRollups, names: Mapping[str, str]) -> list[Feature]:
    """Return all features of both months, most used first."""

    def feature(one: Usage | Visits) -> str | None:
        return names.get(one.endpoint, one.endpoint) if answers.is_of_feature(one) else None

    return _used(now, before, feature)


def _cards(now: WindowRollups, before: WindowRollups, names: Mapping[str, str]) -> list[Feature]:
    def card(one: Usage | Visits) -> str | None:
        name = split_endpoint(one.endpoint)[0]
        return names.get(f"card={name}", name) if one.traffic is Traffic.CARD else None

    return [one for one in _used(now, before, card) if one.requests]


def _used(now: WindowRollups, before: WindowRollups, name_of: Callable[[Usage | Visits], str | None]) -> list[Feature]:
    """Count what has a name: requests of everybody, and people."""
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for count, rollups in zip(counts, (now, before), strict=True):
        for usage in rollups.usages:
            if (name := name_of(usage)) is not None:
                count[name] += usage.requests
    people: dict[str, set[str]] = defaultdict(set)
    for visit in now.visits:
        if visit.identity.user and (name := name_of(visit)) is not None:
            people[name].add(user_key(visit.identity))
    found = [
        Feature(name, counts[0][name], counts[1][name], len(people[name])) for name in counts[0].keys() | counts[1]
    ]
    return sorted(found, key=lambda one: (-one.requests, -one.before, one.name))


# --- health --------------------------------------------------------------------------------------------------------


def _endpoints(rollups: WindowRollups, *, has_services: bool) -> list[Endpoint]:
    """Return the endpoints of the app, whatever they were called, each service's by itself."""
    of_app = [usage for usage in rollups.usages if usage.traffic is Traffic.APP]
    errors: Counter[tuple[str, str]] = Counter()
    for usage in of_app:
        errors[usage.service, usage.endpoint] += usage.requests if usage.status >= 500 else 0
    rows = answers.response_times(of_app, [one for one in rollups.latency if (one.service, one.endpoint) in errors])
    return [
        Endpoint(
            row.endpoint,
            row.count,
            row.p50_ms,
            row.p95_ms,
            row.p99_ms,
            row.app.p95_ms,
            errors[row.service or "", row.endpoint],
            (row.service or "") * has_services,
        )
        for row in rows
    ]


def _slowest(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    found = [
        one
        for one in endpoints
        if one.p95_ms is not None and one.requests >= SLOWEST_REQUESTS_MIN and one.endpoint != OTHER
    ]
    return tuple(found[:SLOWEST_MAX])  # `response_times` has them in order


# --- what changed, what nobody uses ---------------------------------------------------------------------------------


def _moved(features: Iterable[Feature]) -> list[Change]:
    moved: list[Change] = []
    came: list[Change] = []
    for one in features:
        more, less = max(one.requests, one.before), min(one.requests, one.before)
        if more < CHANGE_REQUESTS_MIN:
            continue
        if less == 0:
            came.append(Change("new" if one.requests else "gone", one.name, one.requests, one.before))
        elif (
            abs(one.requests - one.before) >= CHANGE_SHARE_MIN * one.before
            and more - less >= CHANGE_SIGMAS * math.sqrt(more + less)
        ):  # fmt: skip
            moved.append(Change("up" if one.requests > one.before else "down", one.name, one.requests, one.before))
    return [*_largest(moved), *_largest(came)]


def _slower(now: Iterable[Endpoint], before: Iterable[Endpoint]) -> list[Change]:
    then = {(one.service, one.endpoint): one for one in before}
    found: list[Change] = []
    for one in now:
        was = then.get((one.service, one.endpoint))
        if was is None or one.p95_ms is None or was.p95_ms is None or one.endpoint == OTHER:
            continue
        apart_ms = abs(one.p95_ms - was.p95_ms)
        if (
            min(one.requests, was.requests) >= TIMED_MIN
            and apart_ms >= SLOWER_MS_MIN
            and apart_ms >= SLOWER_SHARE_MIN * was.p95_ms
        ):
            kind = "slower" if one.p95_ms > was.p95_ms else "faster"
            found.append(Change(kind, one.name, one.p95_ms, was.p95_ms))
    return _largest(found)


def _largest(changes: Iterable[Change]) -> list[Change]:
    return sorted(changes, key=lambda one: (-abs(one.now - one.before), one.name))[:CHANGES_MAX]


def _unused(usages: Sequence[Usage], routes: Routes) -> tuple[list[UnusedEndpoint], int]:
    """Return the routes without a request, but for those of health checks and files: these do their work."""
    served = HEALTH_PATHS | {usage.endpoint for usage in usages if usage.traffic in {Traffic.HEALTH, Traffic.STATIC}}
    declared = [(method, route) for method, route in routes.declared if route not in served]
    earlier = [usage for usage in routes.earlier if usage.endpoint not in served]
    return insights.unused_endpoints(declared, usages, earlier, routes.features)

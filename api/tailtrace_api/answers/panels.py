"""What the panels of the dashboard show, as pure functions of what the store rolls up.

Which numbers follow which filter of the page, as the rollups allow:

| filter | requests, errors, users, series, endpoints' calls | sessions and time | percentiles | uptime |
|---|---|---|---|---|
| users (logins or addresses), device | yes | yes | none: null | of all |
| endpoint | yes | null in the totals; in the table of people: of all that they did | yes | of all |
| status, method | yes | as for endpoint | none: null | of all |
| service | yes | as for endpoint | yes | of the service |
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from tailtrace_api.answers import requests as answers
from tailtrace_api.answers.panel_records import (
    Bar,
    Cause,
    Choices,
    Endpoint,
    ExplainedOutage,
    Health,
    HealthStep,
    Metric,
    Named,
    Person,
    StoreHour,
    StoreTimes,
    Total,
)
from tailtrace_api.answers.record import fields_of
from tailtrace_api.answers.request_records import SystemHealth
from tailtrace_api.answers.requests import Sessions, iso, visitor
from tailtrace_api.answers.steps import Step, StepName, place_in
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.names import user_key
from tailtrace_bridge.store.values import (
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
CAUSES_MAX = 3
USAGE = frozenset({Traffic.APP, Traffic.CARD})


@dataclass(frozen=True, slots=True)
class Counted:
    """What a window is counted by; `sessions` is None where the filters leave none that could be told."""

    usages: Sequence[Usage]
    sessions: int | None


def has_sessions(filters: Filters) -> bool:
    """Return whether sessions can be counted under these filters: they are known by person and device only."""
    return (filters.endpoint, filters.status, filters.service, filters.method) == (None, None, None, None)


def sessions_of(sessions: Iterable[Sessions], usages: Iterable[Usage], filters: Filters) -> list[Sessions]:
    """Return the sessions of whoever is in `usages`, which the filters let through."""
    if filters == Filters():
        return list(sessions)
    asked = {visitor(usage.identity) for usage in usages}
    return [one for one in sessions if visitor(one.identity) in asked]


def is_view_of(filters: Filters, view: Visits) -> bool:
    """Return whether a card's view is one that the filters let through: each view is a GET, answered 204."""
    return (
        filters.endpoint in {None, view.endpoint}
        and filters.service in {None, view.service}
        and filters.status in {None, "204", "2xx"}
        and filters.method in {None, "GET"}
    )


def totals(now: Counted, before: Counted, *, is_covered: bool) -> tuple[Total, ...]:
    """Set sessions, users, requests and errors beside those of the period before.

    `change_percent` is null where there was nothing then, or not all of that period is stored.
    """
    then = _totals(before)
    return tuple(
        Total(
            metric=metric,
            now=ours,
            before=then[metric],
            change_percent=_change(ours, then[metric]) if is_covered else None,
        )
        for metric, ours in _totals(now).items()
    )


def _change(ours: int | None, theirs: int | None) -> float | None:
    return None if ours is None or not theirs else round(100 * (ours - theirs) / theirs, 1)


def named(counted: Counted) -> Named:
    """Count the requests whose sender has a name, of all that did not come from this machine itself."""
    others = [usage for usage in answers.usage_only(counted.usages) if usage.identity.kind != "self"]
    asked = sum(usage.requests for usage in others)
    known = sum(
        usage.requests for usage in others if usage.identity.user or usage.identity.device or usage.identity.tags
    )
    return Named(requests=asked, named=known, share=round(known / asked, 4) if asked else None)


def _totals(counted: Counted) -> dict[Metric, int | None]:
    usages = answers.usage_only(counted.usages)
    return {
        "sessions": counted.sessions,
        "users": len({user_key(usage.identity) for usage in usages} - {""}),
        "requests": sum(usage.requests for usage in usages),
        "errors": sum(usage.requests for usage in usages if usage.status >= 500),
    }


def series(buckets: Iterable[EndpointBucket], window: Window, step: Step) -> tuple[Bar, ...]:
    """Return requests and 5xx by step of time, those without any too; the first and the last may be cut."""
    requests: Counter[int] = Counter()
    errors: Counter[int] = Counter()
    for bucket in buckets:
        if bucket.traffic in USAGE:
            begin_us = step.begin(bucket.time_us)
            requests[begin_us] += bucket.requests
            errors[begin_us] += bucket.errors
    return tuple(
        Bar(time=iso(begin_us), requests=requests[begin_us], errors=errors[begin_us])
        for begin_us in step.begins(window)
    )


def series_before(buckets: Iterable[EndpointBucket], window: Window, before: Window, step: Step) -> tuple[int, ...]:
    """Return the requests of the time before by the steps of a window, as if they had come as much later."""
    begins = step.begins(window)
    counts = [0] * len(begins)
    for bucket in buckets:
        place = place_in(begins, max(bucket.time_us, before.start_us) + window.start_us - before.start_us)
        if bucket.traffic in USAGE and place is not None:
            counts[place] += bucket.requests
    return tuple(counts)


def causes(usages: Iterable[Usage]) -> tuple[Cause, ...]:
    """Return what failed, most first; `usages` is by endpoint."""
    failed: Counter[tuple[int, str]] = Counter()
    for usage in usages:
        if usage.status >= 500:
            failed[(usage.status, usage.endpoint)] += usage.requests
    return tuple(
        Cause(status=status, endpoint=endpoint, requests=requests)
        for (status, endpoint), requests in answers.most_first(failed)[:CAUSES_MAX]
    )


def heat(quarters: Iterable[Quarter], zone: tzinfo) -> tuple[tuple[int, ...], ...]:
    """Sum usage by day of the week, Monday first, and hour of the day, both in `zone`."""
    cells = [[0] * 24 for _ in range(7)]
    for quarter in quarters:
        at = datetime.fromtimestamp(quarter.time_us / 1e6, zone)
        cells[at.weekday()][at.hour] += quarter.requests
    return tuple(map(tuple, cells))


def choices(callers: Iterable[Usage], usages: Sequence[Usage]) -> Choices:
    """Return the names that the filters offer, most used first: `callers` is by identity, `usages` by endpoint."""
    users: Counter[str] = Counter()  # whom nobody names goes by the address
    devices: Counter[str] = Counter()
    endpoints: Counter[str] = Counter()
    services: Counter[str] = Counter()
    for usage in answers.usage_only(callers):
        users[usage.identity.user or ("" if usage.identity.device else usage.identity.address)] += usage.requests
        devices[usage.identity.device] += usage.requests
    for usage in answers.usage_only(usages):
        endpoints[usage.endpoint] += usage.requests
    for usage in usages:
        services[usage.service] += usage.requests
    return Choices(
        users=_most_used(users),
        devices=_most_used(devices),
        endpoints=_most_used(endpoints),
        services=_most_used(services),
    )


def _most_used(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(name for name, _ in answers.most_first(counts) if name)[:CHOICES_MAX]


def people(
    sessions: Iterable[Sessions], usages: Iterable[Usage], visits: Iterable[Visits], features: Mapping[str, str]
) -> list[Person]:
    """Return the rows of `user_sessions`, with errors; requests and errors as `usages` has them."""
    requests: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for usage in answers.usage_only(usages):
        who = answers.person(usage.identity)
        requests[who] += usage.requests
        errors[who] += usage.requests if usage.status >= 500 else 0
    rows, visits = [], list(visits)
    behind = _endpoints_behind(visits, features)
    for who, row in answers.sessions_by_person(sessions, visits, features).items():
        if requests[who]:
            favorites = tuple(behind[(who, feature)] for feature in row.favorite_features)
            counted = {"requests": requests[who], "errors": errors[who], "favorite_endpoints": favorites}
            rows.append(Person(**fields_of(row) | counted))
    return sorted(rows, key=lambda row: (-row.requests, row.user))


def _endpoints_behind(visits: Iterable[Visits], features: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return the endpoint that somebody asked for most of those of a feature, by person and feature."""
    calls: Counter[tuple[str, str]] = Counter()
    for visit in visits:
        if visit.traffic is Traffic.APP:
            calls[(answers.person(visit.identity), visit.endpoint)] += visit.requests
    first: dict[tuple[str, str], tuple[int, str]] = {}
    for (who, endpoint), requests in calls.items():
        key, rank = (who, features.get(endpoint, endpoint)), (-requests, endpoint)
        first[key] = min(rank, first.get(key, rank))
    return {key: endpoint for key, (_, endpoint) in first.items()}


def endpoints(
    usages: Sequence[Usage],
    before: tuple[Iterable[Usage], Iterable[Latency]] | None,
    latency: Iterable[Latency] | None,
    buckets: Iterable[EndpointBucket],
    window: Window,
    spark: Step,
    features: Mapping[str, str],
) -> list[Endpoint]:
    """Return a row for each endpoint of the app, most called first.

    `before` None: not all of the time before is stored; `latency` None: percentiles cannot be told.
    """
    of_app = [usage for usage in usages if usage.traffic is Traffic.APP]
    names = {(usage.service, usage.endpoint) for usage in of_app}
    times = answers.response_times(of_app, [cell for cell in latency or () if (cell.service, cell.endpoint) in names])
    rates = {(row.service, row.endpoint): row for row in answers.error_rates(of_app).by_endpoint}
    usages_before, latency_before = before or ((), ())
    of_app_before = [usage for usage in usages_before if usage.traffic is Traffic.APP]
    times_before = {(row.service, row.endpoint): row for row in answers.response_times(of_app_before, latency_before)}
    begins = spark.begins(window)
    sparks: dict[tuple[str | None, str], list[int]] = defaultdict(lambda: [0] * len(begins))
    for bucket in buckets:
        if bucket.traffic is Traffic.APP and (place := place_in(begins, bucket.time_us)) is not None:
            sparks[(bucket.service or None, bucket.endpoint)][place] += bucket.requests
    rows = [
        Endpoint(
            endpoint=row.endpoint,
            service=row.service,
            feature=features.get(row.endpoint, row.endpoint),
            calls=row.count,
            calls_before=None if before is None else was.count if was else 0,
            avg_ms=row.avg_ms,
            p50_ms=row.p50_ms,
            p95_ms=row.p95_ms,
            p99_ms=row.p99_ms,
            p95_before_ms=was.p95_ms if was else None,
            app_ms=row.app.avg_ms,
            app_calls=row.app_count,
            proxy_ms=row.proxy_avg_ms,
            proxy_calls=row.proxy_count,
            errors_5xx=rates[(row.service, row.endpoint)].errors_5xx,
            errors_4xx=rates[(row.service, row.endpoint)].errors_4xx,
            client_closed_499=rates[(row.service, row.endpoint)].client_closed_499,
            error_rate=rates[(row.service, row.endpoint)].error_rate,
            spark=tuple(sparks[(row.service, row.endpoint)]),
        )
        for row, was in ((row, times_before.get((row.service, row.endpoint))) for row in times)
    ]
    return sorted(rows, key=lambda row: (-row.calls, row.endpoint, row.service or ""))


def health(whole: SystemHealth, step: StepName, why: Sequence[tuple[Cause, ...]]) -> Health:
    """Return `system-health-history` without its lists of endpoints; `why` has the causes of the first outages."""
    queries = whole.influxdb_query_times
    hours = tuple(StoreHour(**fields_of(hour)) for hour in queries.over_time)
    return Health(
        window=whole.window,
        service=whole.service,
        uptime_percentage=whole.uptime_percentage,
        minutes_with_traffic=whole.minutes_with_traffic,
        minutes_partial=whole.minutes_partial,
        minutes_down=whole.minutes_down,
        uptime_method=whole.uptime_method,
        uptime_over_time=whole.uptime_over_time,
        uptime_over_time_in_part=whole.uptime_over_time_in_part,
        uptime_by_service=whole.uptime_by_service,
        outages=tuple(
            ExplainedOutage(**fields_of(one), causes=found)
            for one, found in zip(whole.outages, [*why, *[()] * (len(whole.outages) - len(why))], strict=True)
        ),
        error_rate=whole.error_rate.overall,
        step=step,
        over_time=tuple(HealthStep(**fields_of(step)) for step in whole.over_time),
        over_time_in_part=whole.over_time_in_part,
        influxdb_query_times=StoreTimes(**fields_of(queries) | {"over_time": hours}),
        data_freshness_seconds=whole.data_freshness_seconds,
    )

"""The three answers: read the rollups of a window from the store, give them to the pure functions.

HTTP, `tailtrace report` and whatever comes later call these and nothing else. The time of now is a parameter.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import TypedDict, TypeVar

from tailtrace_api.access.roles import scope_of
from tailtrace_api.answers import requests as answers
from tailtrace_api.answers import uptime
from tailtrace_api.answers.record import LISTED_MAX, cut, fields_of, truncated
from tailtrace_api.answers.request_records import (
    AccessLogs,
    DashboardUsage,
    ErrorRate,
    PeakHour,
    QueryHour,
    QueryTimes,
    Report,
    SystemHealth,
    UsageSummary,
    UserSessions,
)
from tailtrace_api.answers.steps import DAYS, Step, cut_of, in_part, latency_by, usage_by
from tailtrace_bridge.store.anonymous import Order
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, HOUR_US, By, Filters, Usage, Window, back

T = TypeVar("T")
COVERED_US = 90 * DAY_US
"""Who was silent for so long may as well have been stored since."""
COVERED_PART = 100
"""A time counts as stored whole where less than one part in so many is missing at its begin, an hour at most."""
QUERY_TIMES_MAX = 10_000
"""Store queries whose time is remembered for `influxdb_query_times`."""


def stored_us(store: Store, window: Window, bucket_us: int) -> int | None:
    """Return the bucket in which what is stored begins, µs; None: it begins before the window, or there is nothing."""
    everybody, before = Scope.everybody(), Window(window.start_us - COVERED_US, window.start_us)
    if store.has_any(everybody, before):
        return None
    begin_us = window.start_us // bucket_us * bucket_us
    if store.has_any(everybody, Window(window.start_us, min(begin_us + bucket_us, window.end_us))):
        return begin_us  # as it mostly is: a month needs not be looked through
    return min((one.time_us for one in store.bucket_usage(everybody, window, bucket_us)), default=None)


def stored_days(store: Store, scope: Scope, now_us: int) -> tuple[str, str] | None:
    """Return the first and the last day of UTC with requests, `2025-10-08`; None: there are none."""
    window = Window(0, now_us + DAY_US)  # a clock may be slow
    buckets = store.endpoint_buckets(scope, window, DAY_US, Filters(), By.IDENTITY)
    return (answers.iso(buckets[0].time_us)[:10], answers.iso(buckets[-1].time_us)[:10]) if buckets else None


class Queries:
    """Asks one store. `features` gives routes their human names.

    `clock` gives microseconds since the epoch, for `influxdb_query_times`: when the store was asked, whatever window it
    was asked for. Without it, that is the end of the window.
    """

    def __init__(
        self,
        store: Store,
        *,
        zone: tzinfo,
        features: Mapping[str, str],
        store_name: str,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._clock = clock
        self._store = store
        self._zone = zone
        self._features = features
        self._store_name = store_name
        self._times: deque[tuple[int, int]] = deque(maxlen=QUERY_TIMES_MAX)

    def access_logs(
        self,
        window: Window,
        *,
        filters: Filters,
        limit: int,
        before: tuple[int, int] | None = None,
        user: str | None = None,
    ) -> AccessLogs:
        """Answer `GET /analytics/access-logs`. `before` is the place where the page before ended.

        `user` restricts it to one person, by login: what a caller may see is decided before.
        """
        scope, now_us = scope_of(user), window.end_us
        entries = self.timed(lambda: self._store.log(scope, window, filters, limit + 1, before), now_us)
        usages = self.timed(lambda: self._store.usage(scope, window, filters, By.IDENTITY, listed=()), now_us)
        asked = self.timed(lambda: self._store.callers(scope, window, filters, 0, usage_only=False), now_us)
        page, next_cursor = answers.page(entries, limit)
        return AccessLogs(
            window=answers.window(window),
            summary=answers.summary(usages, asked.addresses),
            logs=page,
            next_cursor=next_cursor,
        )

    def dashboard_usage(self, window: Window, *, service: str | None = None) -> DashboardUsage:
        """Answer `GET /analytics/dashboard-usage`."""
        if service is not None:
            return self._usage_of(window, Filters(service=service))
        now_us, everybody = window.end_us, Scope.everybody()
        anonymous = self.timed(
            lambda: self._store.anonymous_usage(everybody, window, Order.SESSIONS, LISTED_MAX), now_us
        )
        activity = self.timed(lambda: self._store.activity(everybody, window, listed=anonymous.first), now_us)
        visits = self.timed(lambda: self._store.visits(everybody, window, listed=anonymous.first), now_us)
        usages = self.timed(lambda: self._store.usage(everybody, window, Filters(), By.ENDPOINT), now_us)
        quarters = self.timed(lambda: self._store.quarters(everybody, window), now_us)
        all_sessions, usages = answers.sessions(activity), answers.usage_only(usages)
        people = answers.user_sessions(all_sessions, visits, self._features)
        return self._dashboard_usage(
            window,
            usages,
            people,
            summary=answers.usage_summary(usages, all_sessions, anonymous),
            peak_hours=answers.peak_hours(quarters, self._zone),
            unlisted=answers.unlisted(anonymous.visitors, (one.identity for one in all_sessions)),
        )

    def _usage_of(self, window: Window, filters: Filters) -> DashboardUsage:
        """Return the usage that filters let through.

        Sessions are of whoever is in it, with all that they did; how many requests each sent, of what is let through.
        """
        now_us, everybody = window.end_us, Scope.everybody()
        ask = self._store.usage
        asked = self.timed(lambda: self._store.callers(everybody, window, filters, LISTED_MAX, usage_only=True), now_us)
        of_people = self.timed(lambda: ask(everybody, window, filters, By.IDENTITY, listed=asked.first), now_us)
        usages = answers.usage_only(self.timed(lambda: ask(everybody, window, filters, By.ENDPOINT), now_us))
        activity = self.timed(lambda: self._store.activity(everybody, window, listed=asked.first), now_us)
        visits = self.timed(lambda: self._store.visits(everybody, window, listed=asked.first), now_us)
        steps = self.timed(lambda: self._store.endpoint_buckets(everybody, window, HOUR_US, filters, By.ALL), now_us)
        users = {answers.visitor(usage.identity) for usage in answers.usage_only(of_people)}
        sessions = [one for one in answers.sessions(activity) if answers.visitor(one.identity) in users]
        requests: Counter[str] = Counter()
        for usage in answers.usage_only(of_people):
            requests[answers.person(usage.identity)] += usage.requests
        rows = answers.sessions_by_person(
            sessions,
            [
                visit
                for visit in visits
                if filters.service in {None, visit.service} and filters.endpoint in {None, visit.endpoint}
            ],
            self._features,
        )
        people = [replace(row, requests=requests[who]) for who, row in rows.items()]
        summary = answers.summary(answers.usage_only(of_people), asked.addresses)
        return self._dashboard_usage(
            window,
            usages,
            sorted(people, key=answers.most_sessions_first),
            summary=UsageSummary(**fields_of(summary), total_sessions=answers.session_count(sessions)),
            peak_hours=answers.peak_hours(answers.quarters_of(steps, window), self._zone),
            unlisted=answers.unlisted(asked.anonymous, (one.identity for one in sessions)),
        )

    def _dashboard_usage(
        self,
        window: Window,
        usages: Sequence[Usage],
        people: Sequence[UserSessions],
        *,
        summary: UsageSummary,
        peak_hours: tuple[PeakHour, ...],
        unlisted: int,
    ) -> DashboardUsage:
        cards = answers.most_viewed_cards(usages, self._features)
        calls, by_service = answers.api_calls_by_endpoint(usages), answers.api_calls_by_service(usages)
        return DashboardUsage(
            window=answers.window(window),
            timezone=str(self._zone),
            summary=summary,
            most_viewed_cards=cut(cards),
            peak_hours=peak_hours,
            user_sessions=cut(people),
            api_calls_by_endpoint=cut(calls),
            api_calls_by_service=cut(by_service),
            truncated=truncated(
                {"user_sessions": unlisted},
                most_viewed_cards=cards,
                user_sessions=people,
                api_calls_by_endpoint=calls,
                api_calls_by_service=by_service,
            ),
        )

    def system_health_history(
        self, window: Window, *, service: str | None = None, step: Step | None = None
    ) -> SystemHealth:
        """Answer `GET /analytics/system-health-history`, of one service or of all; by default in steps of `steps`."""
        store, everybody, now_us = self._store, Scope.everybody(), window.end_us
        step = step or cut_of(window).times
        usages = self.timed(lambda: store.usage(everybody, window, Filters(service=service), By.ENDPOINT), now_us)
        latency = self.timed(lambda: store.latency(everybody, window), now_us)
        steps = self.timed(lambda: store.bucket_usage(everybody, window, step.bucket_us, service), now_us)
        latencies = self.timed(lambda: store.bucket_latency(everybody, window, step.bucket_us, service), now_us)
        all_up = self.timed(lambda: store.uptime(everybody, window), now_us)
        up = [one for one in all_up if service in {None, one.service}]
        outages = uptime.outages(up)
        newest_us = self.newest_us(now_us)
        rates = answers.error_rates(usages)  # as many endpoints as there are response times
        times = answers.response_times(usages, latency)
        by_day, by_step = uptime.uptime_by_day(up), usage_by(step, steps)
        begun_us = self.timed(lambda: stored_us(store, window, step.bucket_us), now_us)
        return SystemHealth(
            window=answers.window(window),
            service=service,
            **uptime.uptime(up),
            uptime_method=uptime.METHOD,
            uptime_over_time=by_day,
            uptime_over_time_in_part=in_part((answers.time_us(one.time) for one in by_day), DAYS, window, begun_us),
            uptime_by_service=uptime.uptime_by_service(up),
            outages=cut(outages),
            api_response_times=cut(times),
            truncated=truncated(api_response_times=times, outages=outages),
            error_rate=ErrorRate(overall=rates.overall, by_endpoint=cut(rates.by_endpoint)),
            over_time=answers.over_time(by_step, latency_by(step, latencies)),
            over_time_in_part=in_part((one.time_us for one in by_step), step, window, begun_us),
            influxdb_query_times=self.query_times(),
            data_freshness_seconds=None if newest_us is None else round((now_us - newest_us) / 1e6, 1),
        )

    def report(self, now_us: int, *, hours: int, limit: int, filters: Filters | None = None) -> Report:
        """Return all three over one window, each as HTTP gives it; of what the filters let through (`_narrowed`)."""
        window, asked = back(now_us, hours), filters or Filters()
        health = self.system_health_history(window, service=asked.service)
        is_narrow = asked != Filters(service=asked.service)
        return Report(
            access_logs=self.access_logs(window, filters=asked, limit=limit),
            dashboard_usage=self._usage_of(window, asked) if asked != Filters() else self.dashboard_usage(window),
            system_health_history=self._narrowed(health, window, asked) if is_narrow else health,
        )

    def _narrowed(self, health: SystemHealth, window: Window, filters: Filters) -> SystemHealth:
        """Return times and errors of what the filters let through: uptime and steps stay those of the service.

        Percentiles are kept by endpoint alone, so under other filters there are none.
        """
        everybody, now_us = Scope.everybody(), window.end_us
        usages = self.timed(lambda: self._store.usage(everybody, window, filters, By.ENDPOINT), now_us)
        has_latency = filters == Filters(endpoint=filters.endpoint, service=filters.service)
        latency = self.timed(lambda: self._store.latency(everybody, window), now_us) if has_latency else []
        rates, times = answers.error_rates(usages), answers.response_times(usages, latency)
        return replace(
            health,
            api_response_times=cut(times),
            error_rate=ErrorRate(overall=rates.overall, by_endpoint=cut(rates.by_endpoint)),
            truncated=truncated(api_response_times=times),
        )

    def query_times(self) -> QueryTimes:
        """How long the store took for the queries of this process, whichever store it is; by hour too."""
        by_hour: dict[int, list[int]] = {}
        times = tuple(self._times)  # other threads add to it
        for asked_us, took_us in times:
            by_hour.setdefault(asked_us // HOUR_US, []).append(took_us)
        return QueryTimes(
            store=self._store_name,
            **_spread([took_us for _, took_us in times]),
            over_time=tuple(
                QueryHour(time=answers.iso(hour * HOUR_US), **_spread(times)) for hour, times in sorted(by_hour.items())
            ),
        )

    def newest_us(self, now_us: int) -> int | None:
        """Return the begin of the newest request up to now: one line of a wrong clock must not look fresh for good."""
        newest_us = self.timed(lambda: self._store.newest_us(Scope.everybody()), now_us)
        if newest_us is None or newest_us <= now_us:
            return newest_us
        past = Window(0, now_us + 1)
        entries = self.timed(lambda: self._store.log(Scope.everybody(), past, Filters(), 1, None), now_us)
        return entries[0].time_us if entries else None

    def is_covered(self, window: Window) -> bool:
        """Return whether a time is stored whole: whether there is anything of the days before it."""
        missing_us = min(HOUR_US, (window.end_us - window.start_us) // COVERED_PART)
        days = Window(window.start_us - COVERED_US, window.start_us + missing_us)
        return self._store.has_any(Scope.everybody(), days)

    def timed(self, query: Callable[[], T], now_us: int) -> T:
        """Ask the store, and remember how long it took."""
        start_ns = time.perf_counter_ns()
        try:
            return query()
        finally:
            asked_us = now_us if self._clock is None else self._clock()
            self._times.append((asked_us, (time.perf_counter_ns() - start_ns) // 1000))


class _Spread(TypedDict):
    count: int
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    max_ms: float | None


def _spread(times_us: list[int]) -> _Spread:
    times = sorted(times_us)
    count = len(times)
    return {
        "count": count,
        "avg_ms": answers.millis(sum(times) / count) if count else None,
        "p50_ms": answers.millis(times[(count - 1) // 2]) if count else None,
        "p95_ms": answers.millis(times[(count - 1) * 95 // 100]) if count else None,
        "max_ms": answers.millis(times[-1]) if count else None,
    }

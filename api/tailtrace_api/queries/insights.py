"""Reads what `insights` needs: the rollups of a window from the store, who is online from the tailnet.

HTTP (`insight_routes`) and MCP call these. The time of now is a parameter. `user` restricts an answer about people to
one of them, by login: what a caller may see is decided before.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

from tailtrace_api.access.roles import scope_of
from tailtrace_api.answers import alerts, insights
from tailtrace_api.answers import requests as answers
from tailtrace_api.answers.insight_records import (
    ActiveUsers,
    Performance,
    Periods,
    Stored,
    StoreState,
    StreamEvent,
    TraceRequests,
    UnusedEndpoints,
    UsageStats,
)
from tailtrace_api.answers.record import LISTED_MAX, cut
from tailtrace_api.queries.requests import Queries, stored_days
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.store.anonymous import Order
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US, By, Filters, LogEntry, Usage, Window

PAGES_MAX = 2000
"""Newest requests that are looked through for what each person looks at now."""
PAGES_ASKED_MAX = 20
"""People who are not among them and are asked for one by one."""
TRACE_REQUESTS_MAX = 5
"""Requests of one trace: an app behind nginx that calls another behind nginx."""
TRACE_HOURS_MAX = 24 * 30
EARLIER_DAYS = 90
"""How far back an endpoint counts as once used."""


class Insights:
    """Asks one store. `declared` gives the (method, route) that the app is known to have."""

    def __init__(
        self,
        store: Store,
        queries: Queries,
        *,
        features: Mapping[str, str],
        declared: Callable[[], Iterable[tuple[str, str]]] = tuple,
        online: Callable[[], Mapping[str, bool]] = dict,
    ) -> None:
        self.queries = queries
        self._store = store
        self._features = features
        self._declared = declared
        self._online = online

    def active_users(self, now_us: int, *, user: str | None = None) -> ActiveUsers:
        """Answer `GET /analytics/active-users`."""
        scope = scope_of(user)
        window = Window(now_us - insights.ACTIVE_US, now_us)
        timed = self.queries.timed
        anonymous = timed(lambda: self._store.anonymous_usage(scope, window, Order.LATEST, LISTED_MAX), now_us)
        activity = timed(lambda: self._store.activity(scope, window, listed=anonymous.first), now_us)
        entries = timed(lambda: self._store.log(scope, window, Filters(), PAGES_MAX, None), now_us)
        pages = insights.newest_pages(entries)
        if len(entries) == PAGES_MAX:
            absent = {one.identity.user for one in activity if answers.person(one.identity) not in pages} - {""}
            for login in sorted(absent)[:PAGES_ASKED_MAX]:
                pages |= insights.newest_pages(self._store.log(scope, window, Filters(user=login), 10, None))
        return insights.active_users(activity, pages, self._online(), self._features, now_us, anonymous)

    def latest(self, now_us: int) -> StreamEvent:
        """Return what an open page is told by `GET /analytics/stream`: few bytes, and cheap to find out."""
        newest_us = self._store.newest_us(Scope.everybody())
        window = Window(now_us - insights.ACTIVE_US, now_us)
        anonymous = self._store.anonymous_usage(Scope.everybody(), window, Order.LATEST, 0)
        activity = self._store.activity(Scope.everybody(), window, listed=())
        active = insights.active_users(activity, {}, self._online(), self._features, now_us, anonymous)
        return StreamEvent(newest=None if newest_us is None else answers.iso(newest_us), active=active.total_active)

    def usage_stats(self, now_us: int, *, days: int, user: str | None = None) -> UsageStats:
        """Answer `GET /analytics/usage-stats`."""
        scope = scope_of(user)
        window = Window(now_us - days * DAY_US, now_us)
        timed = self.queries.timed
        anonymous = timed(lambda: self._store.anonymous_usage(scope, window, Order.SESSIONS, 0), now_us)
        activity = timed(lambda: self._store.activity(scope, window, listed=()), now_us)
        usages = timed(lambda: self._store.usage(scope, window, Filters(), By.ENDPOINT), now_us)
        return insights.usage_stats(days, usages, activity, anonymous, self._features)

    def stored(self, now_us: int, *, user: str | None = None) -> Stored:
        """Answer `GET /analytics/stored`: for who found nothing where they looked."""
        found = self.queries.timed(lambda: stored_days(self._store, scope_of(user), now_us), now_us)
        first, last = found or (None, None)
        return Stored(first_day=first, last_day=last)

    def system_performance(
        self,
        now_us: int,
        *,
        at_us: int | None = None,
        days: int = 7,
        user: str | None = None,
        service: str | None = None,
    ) -> Performance:
        """Answer `GET /analytics/system-performance`. A store that fails is an answer too: it is to blame.

        `at_us` ends the window; the store, how fresh its data is and the alerts are those of now.
        """
        scope = scope_of(user)
        everybody = Scope.everybody()
        times, timed = self.queries.query_times(), self.queries.timed
        store = StoreState(name=times.store, ok=True, p95_ms=times.p95_ms, queries=times.count, problem=None)
        end_us = now_us if at_us is None else at_us
        window = Window(end_us - days * DAY_US, end_us)
        try:
            asked = Filters(service=service)
            usages = timed(lambda: self._store.usage(everybody, window, asked, By.ENDPOINT), now_us)
            latency = timed(lambda: self._store.latency(everybody, window), now_us)
            uptime = timed(lambda: self._store.uptime(everybody, window), now_us)
            uptime = [one for one in uptime if service in {None, one.service}]
            newest_us = self.queries.newest_us(now_us)
            told = alerts.summary(self._store, scope)
        except StoreError as error:
            failed = replace(store, ok=False, problem=str(error))
            return insights.system_performance(days, (), (), (), failed, None, None)
        freshness_s = None if newest_us is None else round((now_us - newest_us) / 1e6, 1)
        # Who asks about a time before the newest request does not wait for a newer one.
        is_past = newest_us is not None and end_us < newest_us
        return insights.system_performance(days, usages, latency, uptime, store, freshness_s, told, is_past=is_past)

    def compare(self, now_us: int, *, days: int, user: str | None = None, service: str | None = None) -> Periods:
        """Answer `GET /analytics/compare`: the last `days` beside the `days` before them.

        Percentiles of one person there are none: they are kept by endpoint, for all.
        """
        scope = scope_of(user)
        middle_us = now_us - days * DAY_US

        def period(window: Window) -> insights.Period:
            timed, mine = self.queries.timed, Filters(service=service)
            return insights.Period(
                window,
                timed(lambda: self._store.usage(scope, window, mine, By.ENDPOINT), now_us),
                timed(lambda: self._store.latency(scope, window), now_us) if user is None else (),
                timed(lambda: self._store.usage(scope, window, mine, By.IDENTITY, listed=()), now_us),
            )

        now, before = period(Window(middle_us, now_us)), period(Window(middle_us - days * DAY_US, middle_us))
        return insights.compare(days, now, before, is_covered=self.queries.is_covered(before.window))

    def unused_endpoints(self, now_us: int, *, days: int, service: str | None = None) -> UnusedEndpoints:
        """Answer `GET /analytics/unused-endpoints`. What an app declares, it declares for no service."""
        start_us = now_us - days * DAY_US

        def used(window: Window) -> list[Usage]:
            return self.queries.timed(
                lambda: self._store.usage(Scope.everybody(), window, Filters(service=service), By.ENDPOINT), now_us
            )

        recent = used(Window(start_us, now_us))
        earlier = used(Window(now_us - EARLIER_DAYS * DAY_US, start_us))
        declared = self._declared() if service is None else ()
        unused, known = insights.unused_endpoints(declared, recent, earlier, self._features)
        return UnusedEndpoints(
            period_days=days, unused_endpoints=cut(unused), total_unused=len(unused), known_endpoints=known
        )

    def explain_request(
        self, now_us: int, *, trace_id: str, hours: int = 24, at_us: int | None = None, user: str | None = None
    ) -> TraceRequests:
        """Answer `GET /analytics/request/{trace_id}`: looked for from the newest hour back, `hours` at most.

        No store has an index of trace ids, so each row on the way is looked at: `at_us`, when it happened, within a
        minute, finds an old one at once.
        """
        found = self.of_trace(now_us, trace_id=trace_id, hours=hours, at_us=at_us, user=user)
        return TraceRequests(
            trace_id=trace_id.lower(),
            searched_hours=hours,
            found=bool(found),
            requests=insights.explain(found, self._features),
        )

    def of_trace(
        self, now_us: int, *, trace_id: str, hours: int, at_us: int | None = None, user: str | None = None
    ) -> list[LogEntry]:
        """Return the lines of a trace; a member has their own."""
        scope = scope_of(user)
        filters = Filters(trace_id=trace_id.lower())
        spans = sorted({min(span, hours) for span in (1, 24, 168, hours)})
        ends_us = [now_us, *(now_us - span * HOUR_US for span in spans)]
        windows = [] if at_us is None else [Window(at_us - MINUTE_US, at_us + MINUTE_US)]
        windows += [Window(start_us, end_us) for end_us, start_us in pairwise(ends_us)]
        for window in windows:
            if found := self._store.log(scope, window, filters, TRACE_REQUESTS_MAX, None):
                return list(found)
        return []

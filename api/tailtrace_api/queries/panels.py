"""Reads what the panels of the dashboard need from the store, and gives it to the pure functions of `panels`.

Each panel has an answer of its own, so that the page can show one while another is still being made. All are of the
same window: it ends now, or where somebody looks at the past.

| a window of | is answered for |
|---|---|
| more than `FINE_US_MAX`, or with requests | the window |
| less, of whose hours no request is kept any more, only the rollups | the whole hours that it touches |
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from itertools import chain, islice

from tailtrace_api.access.roles import scope_of
from tailtrace_api.answers import missing, panels, parts, variants
from tailtrace_api.answers import requests as answers
from tailtrace_api.answers.insight_records import TraceRequests
from tailtrace_api.answers.log_order import LogSort, in_order
from tailtrace_api.answers.panel_records import (
    Cause,
    Choices,
    Endpoints,
    EndpointsParts,
    Health,
    Missing,
    Overview,
    People,
    Requests,
    SortedRequests,
    TraceParts,
)
from tailtrace_api.answers.record import LISTED_MAX, truncated
from tailtrace_api.answers.record import cut as first
from tailtrace_api.answers.request_records import LogLine, Outage
from tailtrace_api.answers.steps import FINE_US_MAX, Cut, Step, cut_of, in_part, whole_hours
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.requests import Queries, stored_us
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.anonymous import AnonymousUsage, Order
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import HOUR_US, Activity, By, Filters, LogEntry, Quarter, Window, back

OUTAGES_EXPLAINED = 5
"""The newest."""
PAGE_ROWS = 1000
"""Requests that are read at once for a file of them, or to be sorted."""
MISSING_ROWS_MAX = 5000
"""Requests answered 404 that are looked at: the newest."""
SORTED_MAX = 10_000
"""Requests that are sorted: no store has an index of anything but their time."""
PARTS_MAX = 2000
"""Requests whose times are looked at: no rollup keeps the upstream's."""
_NOT_APP = (Traffic.STATIC, Traffic.HEALTH, Traffic.BOT, Traffic.CARD)


@dataclass(frozen=True, slots=True)
class Panels:
    """Asks one store."""

    store: Store
    queries: Queries
    insights: Insights
    zone: tzinfo
    features: Mapping[str, str]

    def overview(self, asked: Window, filters: Filters, only: str | None = None) -> Overview:
        """Answer `GET /analytics/panels/overview`; `only` is the login of a member, who sees no others."""
        scope, (window, cut) = scope_of(only), self._kept(asked)
        before = _before(window)
        hours = max((window.end_us - window.start_us) // HOUR_US, panels.HEAT_HOURS_MIN)
        weeks = back(window.end_us, hours)
        newest_us = self._newest_us(scope, Window(before.start_us, max(asked.end_us, window.end_us)))
        anonymous = earlier = None
        if filters == Filters():
            anonymous, earlier = (self.store.anonymous_usage(scope, one, Order.REQUESTS, 0) for one in (window, before))
        now = self._counted(scope, window, filters, anonymous)
        then = self._counted(scope, before, filters, earlier)
        is_covered = self.queries.is_covered(before)
        buckets = self.store.endpoint_buckets(scope, window, cut.bars.bucket_us, filters, By.ALL)
        return Overview(
            window=answers.window(window),
            timezone=str(self.zone),
            totals=panels.totals(now, then, is_covered=is_covered),
            before_covered=is_covered,
            named=panels.named(now),
            step=cut.bars.name,
            series=panels.series(buckets, window, cut.bars),
            series_in_part=self._in_part(window, cut.bars),
            series_before=self._ghost(scope, window, before, filters, cut.bars) if is_covered else (),
            heat_days=hours // 24,
            heat=panels.heat(self._quarters(scope, weeks, filters), self.zone),
            only=only,
            newest=None if newest_us is None else answers.iso(newest_us),
        )

    def choices(self, asked: Window, only: str | None = None) -> Choices:
        """Answer `GET /analytics/panels/choices`: addresses without a name are among them if they asked for most."""
        scope, (window, _) = scope_of(only), self._kept(asked)
        listed = self.store.callers(scope, window, Filters(), LISTED_MAX, usage_only=True).first
        callers, usages = (
            self.store.usage(scope, window, Filters(), by, listed=listed, with_rest=False, requests_only=True)
            for by in (By.IDENTITY, By.ENDPOINT)
        )
        return panels.choices(callers, usages)

    def people(self, asked_window: Window, filters: Filters, only: str | None = None) -> People:
        """Answer `GET /analytics/panels/people`."""
        scope, (window, _) = scope_of(only), self._kept(asked_window)
        callers = self.store.callers(scope, window, filters, LISTED_MAX, usage_only=True)
        usages = self.store.usage(scope, window, filters, By.IDENTITY, listed=callers.first, requests_only=True)
        activity = self._activity(scope, window, filters, callers.first)
        sessions = panels.sessions_of(answers.sessions(activity), usages, filters)
        visits = self.store.visits(scope, window, listed=callers.first)
        views = self.store.visits(scope, window, traffic=Traffic.CARD)
        if filters != Filters():
            asked = {answers.visitor(usage.identity) for usage in usages}
            visits, views = (
                [
                    visit
                    for visit in found
                    if filters.address in {None, visit.identity.address} and answers.visitor(visit.identity) in asked
                ]
                for found in (visits, views)
            )
            views = [view for view in views if panels.is_view_of(filters, view)]
        people = panels.people(sessions, usages, visits, self.features)
        more = {"users": answers.unlisted(callers.anonymous, (one.identity for one in answers.usage_only(usages)))}
        cards = variants.divided(answers.most_viewed_cards(views, self.features), views)
        return People(
            sessions_of_all=not panels.has_sessions(filters),
            users=first(people),
            cards=first(cards),
            truncated=truncated(more, users=people, cards=cards),
        )

    def endpoints(self, asked: Window, filters: Filters, only: str | None = None) -> Endpoints:
        """Answer `GET /analytics/panels/endpoints`."""
        scope, (window, cut) = scope_of(only), self._kept(asked)
        usages = self.store.usage(scope, window, filters, By.ENDPOINT)
        buckets = self.store.endpoint_buckets(scope, window, cut.spark.bucket_us, filters)
        has_latency = filters == Filters(endpoint=filters.endpoint, service=filters.service)
        latency = self.store.latency(scope, window) if has_latency else None
        earlier = _before(window)
        before = None
        if self.queries.is_covered(earlier):
            latency_before = self.store.latency(scope, earlier) if has_latency else ()
            before = self.store.usage(scope, earlier, filters, By.ENDPOINT), latency_before
        rows = panels.endpoints(usages, before, latency, buckets, window, cut.spark, self.features)
        return Endpoints(
            endpoints=first(rows),
            spark_in_part=self._in_part(window, cut.spark),
            truncated=truncated(endpoints=rows),
            has_percentiles=has_latency,
        )

    def health(self, asked: Window, service: str | None = None) -> Health:
        """Answer `GET /analytics/panels/health`: `system-health-history` without its lists of endpoints."""
        window, cut = self._kept(asked)
        whole = self.queries.system_health_history(window, service=service, step=cut.times)
        return panels.health(whole, cut.times.name, [self._why(one) for one in whole.outages[:OUTAGES_EXPLAINED]])

    def requests(
        self,
        window: Window,
        filters: Filters,
        limit: int,
        before: tuple[int, int] | None,
        only: str | None = None,
    ) -> Requests:
        """Answer `GET /analytics/panels/requests`: a page of the log, newest first."""
        page, next_cursor = answers.page(self.store.log(scope_of(only), window, filters, limit + 1, before), limit)
        return Requests(requests=page, next_cursor=next_cursor)

    def missing(self, window: Window, filters: Filters, only: str | None = None) -> Missing:
        """Answer `GET /analytics/panels/missing`."""
        entries = []
        if missing.is_of_missing(filters.status):
            asked = replace(filters, status=missing.NOT_FOUND, without=missing.NOBODYS)
            entries = self.store.log(scope_of(only), window, asked, MISSING_ROWS_MAX + 1, None)
        looked_at = entries[:MISSING_ROWS_MAX]
        paths = missing.missing_paths(looked_at)
        return Missing(
            paths=first(paths),
            requests=len(looked_at),
            has_more=len(entries) > MISSING_ROWS_MAX,
            truncated=truncated(paths=paths),
        )

    def log_pages(self, window: Window, filters: Filters, only: str | None = None) -> Iterator[Sequence[LogLine]]:
        """Return all requests of a window, newest first, some at a time."""
        for entries in self._pages(window, filters, only):
            yield [answers.log_line(entry) for entry in entries]

    def sorted_requests(
        self, window: Window, filters: Filters, by: LogSort, limit: int, only: str | None, *, is_descending: bool
    ) -> SortedRequests:
        """Answer `GET /analytics/panels/requests/sorted`: of the newest requests, the first in an order."""
        newest = list(islice(chain.from_iterable(self._pages(window, filters, only)), SORTED_MAX + 1))
        looked_at = newest[:SORTED_MAX]
        first_ones = in_order(looked_at, by, is_descending=is_descending)[:limit]
        return SortedRequests(
            requests=tuple(map(answers.log_line, first_ones)),
            looked_at=len(looked_at),
            is_all=len(newest) <= SORTED_MAX,
        )

    def parts(self, window: Window, filters: Filters, only: str | None = None) -> EndpointsParts:
        """Answer `GET /analytics/panels/parts`."""
        of_app = replace(filters, without=_NOT_APP)
        found = self.store.log(scope_of(only), window, of_app, PARTS_MAX + 1, None)
        looked_at = found[:PARTS_MAX]
        return EndpointsParts(
            endpoints=parts.by_endpoint(looked_at), looked_at=len(looked_at), is_all=len(found) <= PARTS_MAX
        )

    def trace_parts(self, at_us: int, trace_id: str, hours: int, only: str | None = None) -> TraceParts:
        """Answer `GET /analytics/panels/parts/{trace_id}`."""
        found = self.insights.of_trace(at_us, trace_id=trace_id, hours=hours, user=only)
        return TraceParts(requests=tuple(one for one in map(parts.of_request, found) if one is not None))

    def _pages(self, window: Window, filters: Filters, only: str | None) -> Iterator[Sequence[LogEntry]]:
        scope, before = scope_of(only), None
        while True:
            entries = self.store.log(scope, window, filters, PAGE_ROWS, before)
            yield entries
            if len(entries) < PAGE_ROWS:
                return
            before = entries[-1].time_us, entries[-1].key

    def request(self, at_us: int, trace_id: str, hours: int, only: str | None = None) -> TraceRequests:
        """Answer `GET /analytics/panels/request/{trace_id}`."""
        return self.insights.explain_request(at_us, trace_id=trace_id, hours=hours, user=only)

    def _newest_us(self, scope: Scope, window: Window) -> int | None:
        """Return when the newest request up to the end of a window began; of a member's own, the newest in it."""
        if scope.login is None:
            return self.queries.newest_us(window.end_us)
        entries = self.store.log(scope, Window(window.start_us, window.end_us + 1), Filters(), 1, None)
        return entries[0].time_us if entries else None

    def _ghost(self, scope: Scope, window: Window, before: Window, filters: Filters, step: Step) -> tuple[int, ...]:
        buckets = self.store.endpoint_buckets(scope, before, step.bucket_us, filters, By.ALL)
        return panels.series_before(buckets, window, before, step)

    def _in_part(self, window: Window, step: Step) -> tuple[int, ...]:
        return in_part(step.begins(window), step, window, stored_us(self.store, window, step.bucket_us))

    def _why(self, outage: Outage) -> tuple[Cause, ...]:
        """Return what failed in an outage."""
        window = Window(answers.time_us(outage.start), answers.time_us(outage.end))
        filters = Filters(status="5xx", service=outage.service or "")
        return panels.causes(self.store.usage(Scope.everybody(), window, filters, By.ENDPOINT))

    def _kept(self, window: Window) -> tuple[Window, Cut]:
        """Return the window that can be answered for (see above), and its steps."""
        everybody, hours = Scope.everybody(), whole_hours(window)
        is_gone = (
            window.end_us - window.start_us <= FINE_US_MAX
            and not self.store.log(everybody, hours, Filters(), 1, None)
            and self.store.has_any(everybody, hours)
        )
        return (hours, cut_of(hours, is_fine=False)) if is_gone else (window, cut_of(window))

    def _activity(self, scope: Scope, window: Window, filters: Filters, listed: Collection[str]) -> list[Activity]:
        """Return the usage that sessions are cut from: of an address, what came from there."""
        found = self.store.activity(scope, window, listed=listed)
        return [one for one in found if filters.address in {None, one.identity.address}]

    def _quarters(self, scope: Scope, window: Window, filters: Filters) -> Iterable[Quarter]:
        """Return usage by the quarter, which the store rolls up of everybody; under a filter it has hours."""
        if filters == Filters():
            return self.store.quarters(scope, window)
        return answers.quarters_of(self.store.endpoint_buckets(scope, window, HOUR_US, filters, By.ALL), window)

    def _counted(
        self,
        scope: Scope,
        window: Window,
        filters: Filters,
        anonymous: AnonymousUsage | None,
    ) -> panels.Counted:
        """Count a window. Its anonymous visitors are added up; a filter leaves the one that is asked for, if any."""
        listed = filters.users if filters.address is None else (filters.address,)
        usages = self.store.usage(scope, window, filters, By.IDENTITY, listed=listed, requests_only=True)
        if not panels.has_sessions(filters):
            return panels.Counted(usages, None)
        sessions = answers.sessions(self._activity(scope, window, filters, listed))
        return panels.Counted(usages, answers.session_count(panels.sessions_of(sessions, usages, filters), anonymous))


def _before(window: Window) -> Window:
    """Return as long a time before."""
    return Window(2 * window.start_us - window.end_us, window.start_us)

"""Reads groups of failures and markers from the store, for HTTP, the command line and MCP."""

from collections import Counter
from functools import partial

from tailtrace_api.access.roles import scope_of
from tailtrace_api.answers.deployments import Period, deployments
from tailtrace_api.answers.errors import Mark, Markers, WhatBroke, mark, what_broke
from tailtrace_bridge.core.histogram import percentiles
from tailtrace_bridge.core.records import Marker
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import HOUR_US, By, Filters, Recent, Window

P95 = 0.95


def measure(store: Store, period: Period, service: str) -> Recent:
    """Return the totals of the time before or after a deployment."""
    everybody, (window, is_hour), of = Scope.everybody(), period, service or None
    if not is_hour:
        return store.recent(everybody, window, service=of, rank=P95)
    steps = store.bucket_usage(everybody, window, HOUR_US, of)
    counts: Counter[int] = Counter()
    for one in store.bucket_latency(everybody, window, HOUR_US, of):
        counts[one.bucket] += one.requests
    found = percentiles(counts, (P95,))
    requests, errors = sum(one.requests for one in steps), sum(one.errors for one in steps)
    return Recent(requests, errors, 0, 0, found[0] if found else None)


class Errors:
    """Asks one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def what_broke(self, window: Window, *, only: str | None = None) -> WhatBroke:
        """Answer `GET /analytics/errors`; `only` is the login of a member."""
        scope = scope_of(only)
        groups = self._store.error_groups(scope, window)
        known = self._store.markers(scope, Window(window.start_us - HOUR_US, window.end_us))
        marks = [one for one in known if one.time_us >= window.start_us]
        # Of all traffic: that is for nobody but admins.
        if only is not None:
            return what_broke(groups, marks, window, only=only)
        compared = deployments(known, groups, window, partial(measure, self._store))
        usages = self._store.usage(scope, window, Filters(status="5xx"), By.ENDPOINT)
        return what_broke(groups, marks, window, compared, sum(one.requests for one in usages))

    def mark(self, marker: Marker) -> Mark:
        """Keep a marker, and return it as answers have it."""
        self._store.add_markers([marker])
        return mark(marker)

    def markers(self, window: Window) -> Markers:
        """Return the markers of a window; they are about nobody."""
        found = self._store.markers(Scope.everybody(), window)
        return Markers(markers=tuple(map(mark, found)))

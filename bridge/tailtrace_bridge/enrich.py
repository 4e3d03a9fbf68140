"""A request on its last step before the store: the endpoint it counts under, what it was for, and who stood behind it.

| the request | its endpoint |
|---|---|
| a card view | `/_tailtrace/view?card=NAME`; past `CARDS_MAX` names, `NAME` is `__other__` |
| has a span with a route | the route, which is learned for lines without a span |
| else | the template that `routes` finds for its path |
"""

from collections.abc import Callable

from tailtrace_bridge.access_log import VIEW_PATH
from tailtrace_bridge.records import Access, AppSpan, Identity, Row, Traffic
from tailtrace_bridge.routes import OTHER, Routes
from tailtrace_bridge.traffic import HEALTH_PATHS, classify

CARDS_MAX = 500
"""Distinct card names: they come from the URL, which anyone can write."""


class Enricher:
    """Makes rows. `identify` answers who is behind an address; it is asked once for each row, as of now."""

    def __init__(
        self, identify: Callable[[str], Identity], routes: Routes, health_paths: frozenset[str] = HEALTH_PATHS
    ) -> None:
        self.cards_over_limit = 0
        self._identify = identify
        self._routes = routes
        self._health_paths = health_paths
        self._cards: set[str] = set()

    def row(self, access: Access, span: AppSpan | None = None) -> Row:
        """Make the row of a line, and of its span where there is one."""
        traffic = classify(access, self._health_paths)
        identity = self._identify(access.address)
        if traffic is Traffic.CARD:
            return Row(access, identity, f"{VIEW_PATH}?card={self._card(access.card)}", traffic, None, "")
        if span is None:
            route = self._routes.template(access.method, access.path, access.service, access.status)
            return Row(access, identity, route, traffic, None, "")
        if span.route:
            self._routes.learn(access.method, span.route, access.service)
        route = span.route or self._routes.template(access.method, access.path, access.service, access.status)
        return Row(access, identity, route, traffic, span.duration_us, span.error_type)

    def _card(self, name: str) -> str:
        if name in self._cards:
            return name
        if len(self._cards) >= CARDS_MAX:
            self.cards_over_limit += 1
            return OTHER
        self._cards.add(name)
        return name

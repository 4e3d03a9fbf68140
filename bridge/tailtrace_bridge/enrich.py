"""A request on its last step before the store: the endpoint it counts under, what it was for, and who stood behind it.

| the request | its endpoint |
|---|---|
| a card view | `/_tailtrace/view?card=NAME`; past `CARDS_MAX` names, `NAME` is `__other__` |
| has a span with a route | the route, which is learned for lines without a span |
| else | the template that `routes` finds for its path |
"""

from collections.abc import Callable, Sequence

from tailtrace_bridge.access_log import VIEW_PATH
from tailtrace_bridge.columns import Columns, Places, join_columns
from tailtrace_bridge.records import Access, AppSpan, Identity, Row, Traffic
from tailtrace_bridge.routes import OTHER, UNKNOWN_STATUSES, Routes
from tailtrace_bridge.traffic import HEALTH_PATHS, classify

CARDS_MAX = 500
"""Distinct card names: they come from the URL, which anyone can write."""


class Enricher:
    """Makes rows. `identify` says who is behind an address, as of now: asked for each live row, or once in a batch."""

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
        identity = self._identify(access.address)
        if span is None:
            return Row(access, identity, *self._placed(access), None, "")
        traffic = classify(access, self._health_paths)
        if traffic is Traffic.CARD:
            return Row(access, identity, self._view(access), traffic, None, "")
        if span.route:
            self._routes.learn(access.method, span.route, access.service)
        route = span.route or self._routes.template(access.method, access.path, access.service, access.status)
        return Row(access, identity, route, traffic, span.duration_us, span.error_type)

    def columns(self, accesses: Sequence[Access]) -> Columns:
        """Make the rows of many lines without spans, as `row` does, but what repeats among them is found out once."""
        identities: Places[str] = Places()
        endpoints: Places[tuple[str, str]] = Places()
        routes: dict[tuple[str, str, str, bool], int] = {}
        kinds: dict[tuple[str, str], int] = {}
        identity_places: list[int] = []
        endpoint_places: list[int] = []
        traffics: list[int] = []
        for access in accesses:
            _, _, address, method, path, status, _, _, _, _, service, _, _, agent, card = access
            identity_places.append(identities[address])
            request, sender = (method, path, service, status in UNKNOWN_STATUSES), (path, agent)
            endpoint, kind = routes.get(request), kinds.get(sender)
            if endpoint is None or kind is None or card:
                route, traffic = self._placed(access)
                endpoint, kind = endpoints[(service, route)], int(traffic)
                if not card:  # that of a card depends on its name
                    kinds[sender] = kind
                    if route != OTHER:  # each request that becomes `__other__` is counted
                        routes[request] = endpoint
            endpoint_places.append(endpoint)
            traffics.append(kind)
        none = (None,) * len(accesses)
        return join_columns(
            accesses,
            ([self._identify(address) for address in identities], list(endpoints)),
            (identity_places, endpoint_places, traffics),
            (none, none),
        )

    def _placed(self, access: Access) -> tuple[str, Traffic]:
        traffic = classify(access, self._health_paths)
        if traffic is Traffic.CARD:
            return self._view(access), traffic
        return self._routes.template(access.method, access.path, access.service, access.status), traffic

    def _view(self, access: Access) -> str:
        return f"{VIEW_PATH}?card={self._card(access.card)}"

    def _card(self, name: str) -> str:
        if name in self._cards:
            return name
        if len(self._cards) >= CARDS_MAX:
            self.cards_over_limit += 1
            return OTHER
        self._cards.add(name)
        return name

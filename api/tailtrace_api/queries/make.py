"""Makes what answers of the settings and a store: for `serve`, `report` and `mcp`, none of which needs the others."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from tailtrace_api.queries.cards import Cards
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.panels import Panels
from tailtrace_api.queries.requests import Queries
from tailtrace_api.queries.tailnet import Tailnet
from tailtrace_bridge.core.cards import CARD_PREFIX, split_endpoint
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.identity.control.devices import Device
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.wiring.parts import clock_us, make_identities, make_local

_CARD = "card="
READ_EVERY_US = 60_000_000


class Features(Mapping[str, str]):
    """The human name of a route: by the settings, the app's OpenAPI summary, or the store; else the route itself.

    A card goes by `card=NAME` in the settings, whether it is asked for by that or by the endpoint of its view.
    """

    def __init__(self, routes: Routes, names: Mapping[str, str], stored: "StoredNames | None" = None) -> None:
        self._routes = routes
        self._names = names
        self._stored = stored

    def __getitem__(self, route: str) -> str:
        if route.startswith(_CARD):
            return self._name(route) or route.removeprefix(_CARD)
        if route.startswith(CARD_PREFIX):
            card, _ = split_endpoint(route)
            return self._name(f"{_CARD}{card}") or f"{CARD_PREFIX}{card}"
        name = self._names.get(route) or self._routes.feature(route)
        return name if name != route else self._name(route) or route

    def _name(self, route: str) -> str:
        return self._names.get(route) or (self._stored.get(route) if self._stored is not None else "")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class StoredNames:
    """The names that a bridge keeps in the store, read again after `READ_EVERY_US`."""

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store, self._clock = store, clock
        self._names: dict[str, str] = {}
        self._read_us = -READ_EVERY_US

    def get(self, route: str) -> str:
        """Return the name of a route, or nothing."""
        if self._clock() - self._read_us >= READ_EVERY_US:
            self._read_us = self._clock()
            with suppress(StoreError):  # an answer without names is better than none
                self._names = self._store.features(Scope.everybody())
        return self._names.get(route, "")


def make_features(settings: Settings, store: Store, routes: Routes) -> Features:
    """Make what names features for whoever asks this store."""
    return Features(routes, settings.features, StoredNames(store, clock_us))


def make_queries(settings: Settings, store: Store, routes: Routes) -> Queries:
    """Connect the answers to a store."""
    return Queries(
        store,
        zone=settings.zone,
        features=make_features(settings, store, routes),
        store_name=settings.store.partition(":")[0],
        clock=clock_us,
    )


def make_insights(
    settings: Settings, store: Store, routes: Routes, queries: Queries, tailnet: Tailnet | None = None
) -> Insights:
    """Connect the insights to a store, and to the tailnet for who is online."""
    return Insights(
        store,
        queries,
        features=make_features(settings, store, routes),
        declared=routes.learned,
        online=tailnet.online if tailnet is not None else dict,
    )


def make_panels(settings: Settings, store: Store, routes: Routes, queries: Queries, insights: Insights) -> Panels:
    """Connect the dashboard's panels to a store."""
    return Panels(store, queries, insights, settings.zone, make_features(settings, store, routes))


def make_cards(settings: Settings, store: Store, routes: Routes) -> Cards:
    """Connect the widget and the comparison of variants to a store."""
    return Cards(store, settings.zone, make_features(settings, store, routes))


def make_tailnet(settings: Settings) -> Tailnet:
    """Make what answers about the tailnet. Nothing is asked before the first question."""

    async def load_devices() -> tuple[Device, ...]:
        # Its HTTP client takes some MiB, which most do without.
        from tailtrace_bridge.wiring.devices import make_client  # noqa: PLC0415

        client = make_client(settings, clock_us)
        if client is None:
            return ()
        async with client:
            return await client.load_devices()

    return Tailnet(
        make_local(settings)[0],
        make_identities(settings),
        clock=clock_us,
        load_devices=load_devices if settings.has_control_key else None,
        stale_us=settings.control_stale_s * 1_000_000,
    )

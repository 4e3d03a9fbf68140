"""Makes what answers of the settings and a store: for `serve`, `report` and `mcp`, none of which needs the others."""

from collections.abc import Iterator, Mapping

from tailtrace_api.queries.cards import Cards
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.panels import Panels
from tailtrace_api.queries.requests import Queries
from tailtrace_api.queries.tailnet import Tailnet
from tailtrace_bridge.core.cards import CARD_PREFIX, split_endpoint
from tailtrace_bridge.identity.control.devices import Device
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.wiring.parts import clock_us, make_identities, make_local

_CARD = "card="


class Features(Mapping[str, str]):
    """The human name of a route: from the settings, else from the app's OpenAPI summary, else the route itself.

    A card goes by `card=NAME` in the settings, whether it is asked for by that or by the endpoint of its view.
    """

    def __init__(self, routes: Routes, names: Mapping[str, str]) -> None:
        self._routes = routes
        self._names = names

    def __getitem__(self, route: str) -> str:
        if route.startswith(_CARD):
            return self._names.get(route) or route.removeprefix(_CARD)
        if route.startswith(CARD_PREFIX):
            card, _ = split_endpoint(route)
            return self._names.get(f"{_CARD}{card}") or f"{CARD_PREFIX}{card}"
        return self._names.get(route) or self._routes.feature(route)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def make_queries(settings: Settings, store: Store, routes: Routes) -> Queries:
    """Connect the answers to a store."""
    return Queries(
        store,
        zone=settings.zone,
        features=Features(routes, settings.features),
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
        features=Features(routes, settings.features),
        declared=routes.learned,
        online=tailnet.online if tailnet is not None else dict,
    )


def make_panels(settings: Settings, store: Store, routes: Routes, queries: Queries, insights: Insights) -> Panels:
    """Connect the dashboard's panels to a store."""
    return Panels(store, queries, insights, settings.zone, Features(routes, settings.features))


def make_cards(settings: Settings, store: Store, routes: Routes) -> Cards:
    """Connect the widget and the comparison of variants to a store."""
    return Cards(store, settings.zone, Features(routes, settings.features))


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

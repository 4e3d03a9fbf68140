"""The HTTP side of the widget and of cards' variants, and which pages of other origins may read what.

That a page may read an answer says nothing about who asks: `access.policy` does, by the address that the browser has.

| asked for by a page of another origin | it may read it |
|---|---|
| the scripts of `COMPONENTS` | whatever its origin: they hold no data, and a module comes no other way |
| `/analytics/widget` | if its origin is one of `TAILTRACE_CORS_ORIGINS`; with GET, without credentials |
| anything else | no |
"""

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from tailtrace_api.http.parameters import KNOWN_ONLY, Days, Only, Service
from tailtrace_api.queries.cards import Cards, CardVariants, Widget
from tailtrace_bridge.core.cards import CARD_LENGTH_MAX

COMPONENTS = "/static/js/components/"
WIDGET = "/analytics/widget"
ENDPOINT_LENGTH_MAX = 512
PREFLIGHT_S = 600


class PagesElsewhere:
    """Lets pages of other origins read what the table above says. Outermost, so that refusals can be read too."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._scripts = CORSMiddleware(app, allow_origins=["*"], allow_methods=["GET"], max_age=PREFLIGHT_S)
        self._widget = CORSMiddleware(app, allow_origins=list(origins), allow_methods=["GET"], max_age=PREFLIGHT_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        path = scope.get("path", "")
        if path == WIDGET:
            await self._widget(scope, receive, send)
        elif path.startswith(COMPONENTS):
            await self._scripts(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def card_router(cards: Cards, clock: Callable[[], int]) -> APIRouter:
    """Make the routes. `clock` gives microseconds since the epoch."""
    router = APIRouter(tags=["analytics"], dependencies=[KNOWN_ONLY])

    @router.get(WIDGET)
    def widget(response: Response, *, only: Only, days: Days = 7, service: Service = None) -> Widget:
        """Return what `<tailtrace-widget>` shows: sessions, people, accesses by day, the features used most."""
        response.headers["Cache-Control"] = "no-store"
        return cards.widget(clock(), days=days, user=only, service=service)

    @router.get("/analytics/variants")
    def variants(
        *,
        card: Annotated[str, Query(min_length=1, max_length=CARD_LENGTH_MAX, description="The card's name.")],
        days: Days = 7,
        goal: Annotated[
            str | None,
            Query(max_length=ENDPOINT_LENGTH_MAX, description="An endpoint: which share of the viewers used it later?"),
        ] = None,
    ) -> CardVariants:
        """Compare the variants of a card: views, users, and the share of users who then used the goal."""
        return cards.variants(clock(), card=card, days=days, goal=goal)

    return router

"""The HTTP side of the widget and of cards' variants."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Response

from tailtrace_api.http.cors import WIDGET
from tailtrace_api.http.errors import ERRORS
from tailtrace_api.http.parameters import KNOWN_ONLY, Days, Only, Service
from tailtrace_api.queries.cards import Cards, CardVariants, Widget
from tailtrace_bridge.core.cards import CARD_LENGTH_MAX

ENDPOINT_LENGTH_MAX = 512


def card_router(cards: Cards, clock: Callable[[], int]) -> APIRouter:
    """Make the routes. `clock` gives microseconds since the epoch."""
    router = APIRouter(tags=["analytics"], dependencies=[KNOWN_ONLY], responses=ERRORS)

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

"""The HTTP side of the dashboard's panels. Parameters are checked here, the rest is `panel_queries`."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import StringConstraints

from tailtrace_api.answers.panel_records import (
    Choices,
    Endpoints,
    Health,
    Missing,
    Overview,
    People,
)
from tailtrace_api.http.errors import ERRORS
from tailtrace_api.http.narrowing import narrowed_to_any
from tailtrace_api.http.parameters import (
    KNOWN_ONLY,
    TEXT_MAX,
    Only,
    Service,
    Text,
)
from tailtrace_api.http.windows import window_of
from tailtrace_api.queries.panels import Panels
from tailtrace_bridge.store.values import Filters, Window

ROWS_MAX = 200
USERS_MAX = 20
SLOWER_MS_MAX = 86_400_000


Users = Annotated[
    list[Annotated[str, StringConstraints(max_length=TEXT_MAX)]] | None,
    Query(max_length=USERS_MAX, description="Logins or addresses, as elsewhere; of several, what any of them did."),
]


def filters_of(
    only: Only,
    *,
    user: Users = None,
    device: Text = None,
    endpoint: Text = None,
    status: Annotated[str | None, Query(pattern="^([1-5]xx|[0-9]{3})$", description="A code, or `5xx`.")] = None,
    service: Service = None,
    method: Annotated[str | None, Query(max_length=16)] = None,
) -> Filters:
    """Return the filters that a request of a panel asks for, of a member only their own."""
    rest = Filters(None, device, endpoint, method and method.upper(), status, service=service)
    return narrowed_to_any(user or (), only, rest)


def panel_router(panels: Panels, clock: Callable[[], int]) -> APIRouter:
    """Make the routes. `clock` gives microseconds since the epoch."""
    router = APIRouter(prefix="/analytics/panels", tags=["dashboard"], dependencies=[KNOWN_ONLY], responses=ERRORS)
    window_type = Annotated[Window, Depends(window_of(clock))]
    filters_type = Annotated[Filters, Depends(filters_of)]

    @router.get("/overview")
    def overview(window: window_type, filters: filters_type, only: Only) -> Overview:
        """Return the totals beside those of the period before, the series and the heat map.

        Requests and errors (5xx) are of usage: health checks, bots and static files stay out; `health` has all traffic.
        `only` is whom the answer is restricted to, or null.
        """
        return panels.overview(window, filters, only)

    @router.get("/choices")
    def choices(window: window_type, only: Only) -> Choices:
        """Return what the filters offer: names of all that asked or was asked for in a window, whatever is filtered."""
        return panels.choices(window, only)

    @router.get("/people")
    def people(window: window_type, filters: filters_type, only: Only) -> People:
        """Return who used what, and the cards. Requests and errors (5xx) are of usage."""
        return panels.people(window, filters, only)

    @router.get("/endpoints")
    def endpoints(window: window_type, filters: filters_type, only: Only) -> Endpoints:
        """Return calls, times, errors and a sparkline by endpoint, of requests to the app (`app`)."""
        return panels.endpoints(window, filters, only)

    @router.get("/health")
    def health(window: window_type, *, service: Service = None) -> Health:
        """Return uptime and how it was measured, times over time, errors, the store's query times, freshness.

        Of all traffic, whatever the other filters of the page say.
        """
        return panels.health(window, service)

    @router.get("/missing")
    def missing(window: window_type, filters: filters_type, only: Only) -> Missing:
        """Return the paths that were answered 404, of the newest 5,000 such requests.

        Health checks, bots, scanners and card views stay out; a filter by another status leaves none.
        """
        return panels.missing(window, filters, only)

    return router

"""The HTTP side of the dashboard's panels. Parameters are checked here, the rest is `panel_queries`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import StringConstraints

from tailtrace_api.answers.insight_records import TraceRequests
from tailtrace_api.answers.panel_records import Endpoints, Health, Overview, People, Requests
from tailtrace_api.answers.request_records import LogLine
from tailtrace_api.http.download import TYPES, Download, Format, download
from tailtrace_api.http.errors import PLAIN_ERRORS
from tailtrace_api.http.narrowing import narrowed_to_any
from tailtrace_api.http.parameters import (
    KNOWN_ONLY,
    TEXT_MAX,
    Only,
    Service,
    Text,
    TraceId,
    at_of,
    place,
)
from tailtrace_api.http.windows import window_of
from tailtrace_api.queries.insights import TRACE_HOURS_MAX
from tailtrace_api.queries.panels import Panels
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.values import Filters, Window

ROWS_MAX = 200
USERS_MAX = 20
SLOWER_MS_MAX = 86_400_000


Users = Annotated[
    list[Annotated[str, StringConstraints(max_length=TEXT_MAX)]] | None,
    Query(max_length=USERS_MAX, description="Logins or addresses, as elsewhere; of several, what any of them did."),
]
TrafficName = Literal["app", "static", "health", "bot", "card"]


def _filters(
    only: Only,
    *,
    user: Users = None,
    device: Text = None,
    endpoint: Text = None,
    status: Annotated[str | None, Query(pattern="^([1-5]xx|[0-9]{3})$", description="A code, or `5xx`.")] = None,
    service: Service = None,
    method: Annotated[str | None, Query(max_length=16)] = None,
) -> Filters:
    rest = Filters(None, device, endpoint, method and method.upper(), status, service=service)
    return narrowed_to_any(user or (), only, rest)


def _log_filters(
    filters: Annotated[Filters, Depends(_filters)],
    *,
    slower: Annotated[
        float | None, Query(ge=0, le=SLOWER_MS_MAX, description="Milliseconds: those that took so long, or longer.")
    ] = None,
    path: Annotated[
        str | None, Query(min_length=1, max_length=TEXT_MAX, description="A part of the path, in either case.")
    ] = None,
    without: Annotated[
        list[TrafficName] | None, Query(max_length=5, description="Kinds of traffic that stay out.")
    ] = None,
) -> Filters:
    return replace(
        filters,
        slower_us=None if slower is None else round(slower * 1000),
        path=path,
        without=tuple(Traffic[name.upper()] for name in dict.fromkeys(without or ())),
    )


def panel_router(panels: Panels, clock: Callable[[], int]) -> APIRouter:
    """Make the routes. `clock` gives microseconds since the epoch."""
    router = APIRouter(prefix="/analytics/panels", tags=["dashboard"], dependencies=[KNOWN_ONLY])
    at_type = Annotated[int, Depends(at_of(clock))]
    window_type = Annotated[Window, Depends(window_of(clock))]
    filters_type = Annotated[Filters, Depends(_filters)]
    log_filters_type = Annotated[Filters, Depends(_log_filters)]

    @router.get("/overview")
    def overview(window: window_type, filters: filters_type, only: Only) -> Overview:
        """Return the totals beside those of the period before, the series, the heat map and what filters offer.

        Requests and errors (5xx) are of usage: health checks, bots and static files stay out; `health` has all traffic.
        `only` is whom the answer is restricted to, or null.
        """
        return panels.overview(window, filters, only)

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

    @router.get("/requests")
    def requests(
        window: window_type,
        filters: log_filters_type,
        *,
        only: Only,
        limit: Annotated[int, Query(ge=1, le=ROWS_MAX)] = 50,
        cursor: Annotated[str | None, Query(max_length=40)] = None,
    ) -> Requests:
        """Return a page of requests, newest first: all traffic that the filters let through.

        The rollups keep neither paths nor single times: `path`, `slower` and `without` are of this list alone.
        """
        return panels.requests(window, filters, limit, place(cursor), only)

    @router.get(
        "/requests/file",
        response_class=Download,
        responses={
            **PLAIN_ERRORS,
            200: {"model": list[LogLine], "content": {name.partition(";")[0]: {} for name in TYPES.values()}},
        },
    )
    def requests_file(
        window: window_type,
        filters: log_filters_type,
        *,
        only: Only,
        form: Annotated[Format, Query(alias="format", description="Of the file; parquet needs pyarrow.")] = "json",
    ) -> Response:
        """Return all of them as a file, with the same filters, newest first."""
        return download(panels.log_pages(window, filters, only), form)

    @router.get("/request/{trace_id}")
    def one_request(
        at: at_type,
        trace_id: TraceId,
        *,
        only: Only,
        hours: Annotated[int, Query(ge=1, le=TRACE_HOURS_MAX)] = TRACE_HOURS_MAX,
    ) -> TraceRequests:
        """Tell one request: nginx's line, the app's span, who it was, where the time went."""
        return panels.request(at, trace_id, hours, only)

    return router

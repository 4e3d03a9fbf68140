"""The HTTP side of the panels about single requests: the list, its file, one of them, and where their time went.

Parameters are checked here, the rest is `queries.panels`. Beyond the page's filters these know what no rollup keeps.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response

from tailtrace_api.answers.insight_records import TraceRequests
from tailtrace_api.answers.log_order import LogSort
from tailtrace_api.answers.panel_records import EndpointsParts, Requests, SortedRequests, TraceParts
from tailtrace_api.answers.request_records import LogLine
from tailtrace_api.http.download import TYPES, Download, Format, download, forms
from tailtrace_api.http.errors import ERRORS
from tailtrace_api.http.panels import filters_of
from tailtrace_api.http.parameters import KNOWN_ONLY, TEXT_MAX, Only, TraceId, at_of, place
from tailtrace_api.http.windows import window_of
from tailtrace_api.queries.insights import TRACE_HOURS_MAX
from tailtrace_api.queries.panels import Panels
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.values import Filters, Window

ROWS_MAX = 200
SLOWER_MS_MAX = 86_400_000

TrafficName = Literal["app", "static", "health", "bot", "card"]


def _log_filters(
    filters: Annotated[Filters, Depends(filters_of)],
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


def log_router(panels: Panels, clock: Callable[[], int]) -> APIRouter:
    """Make the routes of the list. `clock` gives microseconds since the epoch."""
    router = APIRouter(prefix="/analytics/panels", tags=["dashboard"], dependencies=[KNOWN_ONLY], responses=ERRORS)
    window_type = Annotated[Window, Depends(window_of(clock))]
    log_filters_type = Annotated[Filters, Depends(_log_filters)]

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

    @router.get("/requests/sorted")
    def sorted_requests(
        window: window_type,
        filters: log_filters_type,
        *,
        only: Only,
        by: Annotated[
            LogSort, Query(description="`path` has the method behind it; `user` is login, device or address.")
        ],
        order: Annotated[Literal["asc", "desc"], Query(description="Which end comes first.")] = "desc",
        limit: Annotated[int, Query(ge=1, le=ROWS_MAX)] = 50,
    ) -> SortedRequests:
        """Return requests in another order, with the same filters: of the newest 10,000, as the answer says."""
        return panels.sorted_requests(window, filters, by, limit, only, is_descending=order == "desc")

    @router.get("/requests/forms")
    def request_forms() -> list[Format]:
        """Return the formats that a file of requests can have here."""
        return forms()

    @router.get(
        "/requests/file",
        response_class=Download,
        responses={
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

    return router


def request_router(panels: Panels, clock: Callable[[], int]) -> APIRouter:
    """Make the routes of one request, and of where the time went. `clock` gives microseconds since the epoch."""
    router = APIRouter(prefix="/analytics/panels", tags=["dashboard"], dependencies=[KNOWN_ONLY], responses=ERRORS)
    window_type = Annotated[Window, Depends(window_of(clock))]
    filters_type = Annotated[Filters, Depends(filters_of)]
    at_type = Annotated[int, Depends(at_of(clock))]

    @router.get("/request/{trace_id}")
    def one_request(
        at: at_type,
        trace_id: TraceId,
        *,
        only: Only,
        hours: Annotated[int, Query(ge=1, le=TRACE_HOURS_MAX)] = TRACE_HOURS_MAX,
    ) -> TraceRequests:
        """Return one request: nginx's line, the app's span, who it was, where the time went."""
        return panels.request(at, trace_id, hours, only)

    @router.get("/parts")
    def parts(window: window_type, filters: filters_type, only: Only) -> EndpointsParts:
        """Return where the time of the newest 2,000 requests to the app went, by endpoint: client, proxy, app.

        No rollup keeps the upstream's time, so this is of single requests, as far as they are kept.
        """
        return panels.parts(window, filters, only)

    @router.get("/parts/{trace_id}")
    def trace_parts(
        at: at_type,
        trace_id: TraceId,
        *,
        only: Only,
        hours: Annotated[int, Query(ge=1, le=TRACE_HOURS_MAX)] = TRACE_HOURS_MAX,
    ) -> TraceParts:
        """Return where the time of each request of a trace went: none for one without all three times."""
        return panels.trace_parts(at, trace_id, hours, only)

    return router

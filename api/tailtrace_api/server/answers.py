"""What answers questions about a store, each part made when it is first needed: a start needs none of it."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from tailtrace_api.server import loading
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.store.protocol import Store

if TYPE_CHECKING:
    from fastapi import APIRouter

    from tailtrace_api.http.event_stream import EventStream
    from tailtrace_api.mcp_server.source import LocalSource
    from tailtrace_api.queries.errors import Errors
    from tailtrace_api.queries.insights import Insights
    from tailtrace_api.queries.requests import Queries
    from tailtrace_api.queries.tailnet import Tailnet
    from tailtrace_api.queries.traces import Traces
    from tailtrace_bridge.settings.table import Settings

BELOW = ("analytics", "tailnet")
"""The first parts of the paths of `Answers.routers`."""


class Answers:
    """Answers of one store, for HTTP and for MCP. Safe to share between threads.

    `clock` gives microseconds since the epoch.
    """

    def __init__(self, settings: "Settings", store: Store, routes: Routes, clock: Callable[[], int]) -> None:
        self._settings, self._store, self._routes, self._clock = settings, store, routes, clock

    @cached_property
    def insights(self) -> "Insights":
        """Return what answers short questions."""
        from tailtrace_api.queries.make import make_insights  # noqa: PLC0415

        return make_insights(self._settings, self._store, self._routes, self._queries, self._tailnet)

    def source(self) -> "LocalSource":
        """Return what answers the tools of MCP."""
        from tailtrace_api.mcp_server.source import LocalSource  # noqa: PLC0415

        return LocalSource(self.insights, self._tailnet, self._clock, self._traces, self._errors)

    def routers(self, stream: "EventStream") -> "Sequence[APIRouter]":
        """Return the routes of every answer."""
        with loading.quickly():
            from tailtrace_api.http.alerts import alert_router  # noqa: PLC0415
            from tailtrace_api.http.broken import error_router  # noqa: PLC0415
            from tailtrace_api.http.cards import card_router  # noqa: PLC0415
            from tailtrace_api.http.event_stream import event_stream_router  # noqa: PLC0415
            from tailtrace_api.http.insights import insight_router, tailnet_router  # noqa: PLC0415
            from tailtrace_api.http.log_panels import log_router, request_router  # noqa: PLC0415
            from tailtrace_api.http.panels import panel_router  # noqa: PLC0415
            from tailtrace_api.http.requests import analytics_router  # noqa: PLC0415
            from tailtrace_api.http.traces import trace_panel_router, trace_router  # noqa: PLC0415
            from tailtrace_api.queries.make import make_cards, make_panels  # noqa: PLC0415

            panels = make_panels(self._settings, self._store, self._routes, self._queries, self.insights)
            return (
                analytics_router(self._queries, self._clock),
                insight_router(self.insights, self._clock),
                tailnet_router(self._tailnet),
                panel_router(panels, self._clock),
                log_router(panels, self._clock),
                request_router(panels, self._clock),
                card_router(make_cards(self._settings, self._store, self._routes), self._clock),
                event_stream_router(stream),
                alert_router(self._store, self._settings.alerts),
                trace_router(self._traces),
                trace_panel_router(self._traces),
                error_router(self._errors, self._clock),
            )

    @cached_property
    def _queries(self) -> "Queries":
        from tailtrace_api.queries.make import make_queries  # noqa: PLC0415

        return make_queries(self._settings, self._store, self._routes)

    @cached_property
    def _tailnet(self) -> "Tailnet":
        from tailtrace_api.queries.make import make_tailnet  # noqa: PLC0415

        return make_tailnet(self._settings)

    @cached_property
    def _traces(self) -> "Traces":
        from tailtrace_api.queries.traces import Traces  # noqa: PLC0415

        return Traces(self._store, self._settings.trace_url)

    @cached_property
    def _errors(self) -> "Errors":
        from tailtrace_api.queries.errors import Errors  # noqa: PLC0415

        return Errors(self._store)

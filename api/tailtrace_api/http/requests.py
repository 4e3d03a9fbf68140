"""The HTTP side of the three answers. Parameters are checked here, the rest is `queries.requests`."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from tailtrace_api.answers.request_records import AccessLogs, DashboardUsage, SystemHealth
from tailtrace_api.http.errors import ERRORS
from tailtrace_api.http.narrowing import narrowed
from tailtrace_api.http.parameters import KNOWN_ONLY, Days, Only, Service, Text, User, place
from tailtrace_api.http.windows import Ends, ends_of
from tailtrace_api.queries.requests import Queries


def analytics_router(queries: Queries, clock: Callable[[], int]) -> APIRouter:
    """Make the routes. `clock` gives microseconds since the epoch."""
    router = APIRouter(prefix="/analytics", tags=["analytics"], dependencies=[KNOWN_ONLY], responses=ERRORS)
    ends_type = Annotated[Ends, Depends(ends_of(clock))]

    @router.get("/access-logs")
    def access_logs(
        ends: ends_type,
        *,
        only: Only,
        hours: Annotated[int, Query(ge=1, le=168, description="How far the window reaches back.")] = 24,
        user: User = None,
        device: Text = None,
        endpoint: Text = None,
        method: Annotated[str | None, Query(max_length=16)] = None,
        status: Annotated[
            str | None, Query(pattern="^([1-5]xx|[0-9]{3})$", description="A code, or a class such as `5xx`.")
        ] = None,
        service: Service = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(max_length=40, description="`next_cursor` of the page before.")] = None,
    ) -> AccessLogs:
        """Return the requests of the window, newest first; `summary` counts all that the filters let through.

        All traffic: health checks, bots and static files too.
        """
        filters = narrowed(
            user,
            only,
            device=device,
            endpoint=endpoint,
            method=method and method.upper(),
            status=status,
            service=service,
        )
        return queries.access_logs(ends.window(hours), filters=filters, limit=limit, before=place(cursor), user=only)

    @router.get("/dashboard-usage")
    def dashboard_usage(ends: ends_type, *, days: Days = 7, service: Service = None) -> DashboardUsage:
        """Return cards, peak hours, sessions by person and calls by endpoint.

        Of usage: health checks, bots and static files stay out, of the errors too. With a service, sessions are those
        of whoever used it, with all that they did in them; their requests are those to it.
        """
        return queries.dashboard_usage(ends.window(24 * days), service=service)

    @router.get("/system-health-history")
    def system_health_history(ends: ends_type, *, days: Days = 7, service: Service = None) -> SystemHealth:
        """Return uptime, response times and error rates, by service, endpoint and over time. Of all traffic."""
        return queries.system_health_history(ends.window(24 * days), service=service)

    return router

"""The HTTP API: three answers, health, readiness and counters. Parameters are checked here, the rest is `queries`."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from tailtrace_api.access.guard import AccessCounters
from tailtrace_api.access.roles import NotYoursError, sees_all
from tailtrace_api.access.tokens_file import TokensError
from tailtrace_api.answers.request_records import AccessLogs, DashboardUsage, SystemHealth
from tailtrace_api.http.document import Api
from tailtrace_api.http.errors import ERRORS, PLAIN_ERRORS
from tailtrace_api.http.hosts import Hosts
from tailtrace_api.http.narrowing import narrowed
from tailtrace_api.http.operation import Keeps, Ready, problems, ready, ready_response
from tailtrace_api.http.parameters import KNOWN_ONLY, Days, Only, Service, Text, User, place
from tailtrace_api.http.ready import TimelyCheck
from tailtrace_api.http.windows import Ends, ends_of
from tailtrace_api.queries.requests import Queries
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.wiring.bridge import Bridge

if TYPE_CHECKING:
    from tailtrace_api.http import metrics


def create_app(
    queries: Queries,
    *,
    clock: Callable[[], int],
    bridge: Bridge | None = None,
    hosts: Sequence[str] = ("*",),
    mcp_counts: Callable[[], Mapping[str, int]] = dict,
    access: AccessCounters | None = None,
    keeps: Keeps | None = None,
) -> FastAPI:
    """Make the app. `clock` gives microseconds since the epoch; without a bridge there are no counters to show.

    `hosts` are the names that a request may have in its Host header. A page of another origin that lets its own name
    lead to loopback (DNS rebinding) is told from a reader by nothing else: it needs no login there. Who may ask at all
    is for the guard before this app to say (`access`). `keeps` says what is stored and how long; `/ready` shows it.
    """
    app = Api(
        title="tailtrace",
        summary="Who used what, when, how fast, and what broke.",
        version=_version(),
        # FastAPI's pages on the API load scripts from a CDN, into the origin of an admin's page.
        docs_url=None,
        redoc_url=None,
        responses=ERRORS,
        openapi_tags=[{"name": "analytics"}, {"name": "dashboard"}, {"name": "access"}, {"name": "operation"}],
    )
    app.add_middleware(Hosts, names=hosts)
    app.add_exception_handler(StoreError, _store_failed)
    app.add_exception_handler(TokensError, _store_failed)
    app.add_exception_handler(NotYoursError, _not_yours)
    app.include_router(_analytics_router(queries, clock))
    counted = access or AccessCounters()

    def render(bridge: Bridge, stream: "metrics.EventStream | None") -> Response:
        from tailtrace_api.http import metrics  # noqa: PLC0415 - a server starts before it is counted

        return Response(metrics.render(bridge, mcp_counts(), counted, stream), media_type=metrics.CONTENT_TYPE)

    _add_operation(app, queries, clock, bridge, render, keeps)
    return app


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415

    return version("tailtrace")


def _store_failed(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": "5"})


def _not_yours(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=403)


def _analytics_router(queries: Queries, clock: Callable[[], int]) -> APIRouter:
    router = APIRouter(prefix="/analytics", tags=["analytics"], dependencies=[KNOWN_ONLY])
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
        of whoever used it, with all that they did in them.
        """
        return queries.dashboard_usage(ends.window(24 * days), service=service)

    @router.get("/system-health-history")
    def system_health_history(ends: ends_type, *, days: Days = 7, service: Service = None) -> SystemHealth:
        """Return uptime, response times and error rates, by service, endpoint and over time. Of all traffic."""
        return queries.system_health_history(ends.window(24 * days), service=service)

    return router


def _add_operation(
    app: FastAPI,
    queries: Queries,
    clock: Callable[[], int],
    bridge: Bridge | None,
    render: "Callable[[Bridge, metrics.EventStream | None], Response]",
    keeps: Keeps | None,
) -> None:
    @app.get("/health", tags=["operation"])
    def health() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    check_store = TimelyCheck(queries.check_store)

    @app.get(
        "/ready",
        tags=["operation"],
        name="ready",
        responses={200: {"model": Ready}, 503: {"description": "Not ready; `problems` says why."}},
    )
    def answer_ready(request: Request) -> Response:
        """Return whether the store answers, the bridge works and its logs can be read. Why not is for admins."""
        found = problems(check_store, bridge, clock())
        return ready_response(ready(found, bridge, keeps, is_shown=sees_all(request.scope)))

    @app.get("/metrics", tags=["operation"], response_class=PlainTextResponse, responses=PLAIN_ERRORS)
    def bridge_metrics() -> Response:
        """Return the bridge's own counters in Prometheus text."""
        if bridge is None:
            raise HTTPException(404, "this process runs no bridge; ask the one that does")
        return render(bridge, getattr(app.state, "event_stream", None))

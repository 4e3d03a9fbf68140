"""The HTTP API without its answers: errors, the check of the Host header, health, readiness and counters."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse

from tailtrace_api.access.guard import AccessCounters
from tailtrace_api.access.roles import NotYoursError, sees_all
from tailtrace_api.access.tokens_file import TokensError
from tailtrace_api.http.api import Api
from tailtrace_api.http.errors import ERRORS, RETRY_AFTER
from tailtrace_api.http.hosts import Hosts
from tailtrace_api.http.operation import Keeps, Ready, problems, ready, ready_response
from tailtrace_api.http.ready import TimelyCheck
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.wiring.bridge import Bridge

if TYPE_CHECKING:
    from tailtrace_api.http import metrics


def create_app(
    check_store: Callable[[], object],
    *,
    clock: Callable[[], int],
    bridge: Bridge | None = None,
    hosts: Sequence[str] = ("*",),
    mcp_counts: Callable[[], Mapping[str, int]] = dict,
    access: AccessCounters | None = None,
    keeps: Keeps | None = None,
) -> Api:
    """Make the app. `clock` gives microseconds since the epoch; without a bridge there are no counters to show.

    `check_store` raises `StoreError` where the store does not answer.

    `hosts` are the names that a request may have in its Host header. A page of another origin that lets its own name
    lead to loopback (DNS rebinding) is told from a reader by nothing else: it needs no login there. Who may ask at all
    is for the guard before this app to say (`access`). `keeps` says what is stored and how long; `/ready` shows it.
    """
    app = Api(
        title="tailtrace",
        summary="Who used what, when, how fast, and what broke.",
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
    app.add_exception_handler(RequestValidationError, _wrong_request)
    counted = access or AccessCounters()

    def render(bridge: Bridge, stream: "metrics.EventStream | None") -> Response:
        from tailtrace_api.http import metrics  # noqa: PLC0415 - a server starts before it is counted

        return Response(metrics.render(bridge, mcp_counts(), counted, stream), media_type=metrics.CONTENT_TYPE)

    _add_operation(app, check_store, clock, bridge, render, keeps)
    return app


def _store_failed(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=503)


def _wrong_request(_request: Request, error: Exception) -> Response:
    """Say what is wrong. FastAPI's own repeats any value; one that no JSON can say (half a surrogate, NaN) is a 500."""
    problems = error.errors() if isinstance(error, RequestValidationError) else ()
    detail = [
        {
            name: value
            for name, value in jsonable_encoder(one).items()
            if name != "input" or isinstance(value, str | int)
        }
        for one in problems
    ]
    said = json.dumps({"detail": detail}, ensure_ascii=False, separators=(",", ":"))
    return Response(said.encode("utf-8", "backslashreplace"), 422, media_type="application/json")


def _not_yours(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=403)


def _add_operation(
    app: FastAPI,
    check_store: Callable[[], object],
    clock: Callable[[], int],
    bridge: Bridge | None,
    render: "Callable[[Bridge, metrics.EventStream | None], Response]",
    keeps: Keeps | None,
) -> None:
    @app.get("/health", tags=["operation"])
    def health() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    check = TimelyCheck(check_store)

    @app.get(
        "/ready",
        tags=["operation"],
        name="ready",
        responses={
            200: {"model": Ready},
            503: {"model": Ready, "description": "Not ready; `problems` says why.", "headers": RETRY_AFTER},
        },
    )
    def answer_ready(request: Request) -> Response:
        """Return whether the store answers, the bridge works and its logs can be read. Why not is for admins."""
        found = problems(check, bridge, clock())
        return ready_response(ready(found, bridge, keeps, is_shown=sees_all(request.scope)))

    @app.get("/metrics", tags=["operation"], response_class=PlainTextResponse)
    def bridge_metrics() -> Response:
        """Return the bridge's own counters in Prometheus text."""
        if bridge is None:
            raise HTTPException(404, "this process runs no bridge; ask the one that does")
        return render(bridge, getattr(app.state, "event_stream", None))

"""The HTTP side of kept traces. The parameter is checked here; the answer is `answers.traces`."""

from collections.abc import Callable
from typing import TypeVar

from fastapi import APIRouter, HTTPException, Response

from tailtrace_api.answers.traces import Trace
from tailtrace_api.http.errors import ERRORS
from tailtrace_api.http.parameters import KNOWN_ONLY, Only, TraceId
from tailtrace_api.queries.traces import NotKeptError, Traces

OTLP_LINES = "application/x-ndjson"
T = TypeVar("T")


class _OtlpLines(Response):
    media_type = OTLP_LINES


def trace_router(traces: Traces) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/analytics/traces", tags=["analytics"], dependencies=[KNOWN_ONLY], responses=ERRORS)

    @router.get("/{trace_id}")
    def kept_trace(trace_id: TraceId, only: Only) -> Trace:
        """Return a kept trace: its requests, who made them, where the time went, and its spans as a waterfall has them.

        404 where it is not kept; a member's are their own.
        """
        return _found(lambda: traces.trace(trace_id, only))

    @router.get("/{trace_id}/otlp", response_class=_OtlpLines)
    def kept_trace_as_otlp(trace_id: TraceId, only: Only) -> Response:
        """Return it as OTLP/JSON, a line for each kept request: what OpenTelemetry's file exporter writes."""
        lines = _found(lambda: traces.otlp(trace_id, only))
        name = f"trace-{trace_id.lower()}.jsonl"
        return _OtlpLines(lines, headers={"content-disposition": f'attachment; filename="{name}"'})

    return router


def trace_panel_router(traces: Traces) -> APIRouter:
    """Make the route of the page, which asks of each request that it shows."""
    router = APIRouter(prefix="/analytics/panels", tags=["dashboard"], dependencies=[KNOWN_ONLY], responses=ERRORS)

    @router.get("/trace/{trace_id}")
    def kept_trace_or_none(trace_id: TraceId, only: Only) -> Trace | None:
        """Return a kept trace; null where it is not kept, or another person's."""
        return traces.find(trace_id, only)

    return router


def _found(question: Callable[[], T]) -> T:
    try:
        return question()
    except NotKeptError as error:
        raise HTTPException(404, str(error)) from None

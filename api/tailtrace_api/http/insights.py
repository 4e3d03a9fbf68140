"""The HTTP side of the insights and of the tailnet: what `tailtrace mcp --url` asks. Parameters are checked here."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Path, Query

from tailtrace_api.answers.insight_records import (
    ActiveUsers,
    Performance,
    Periods,
    Stored,
    TraceRequests,
    UnusedEndpoints,
    UsageStats,
)
from tailtrace_api.http.errors import ERRORS
from tailtrace_api.http.parameters import KNOWN_ONLY, Days, Only, Service, TraceId, at_of, moment_us
from tailtrace_api.queries.insights import TRACE_HOURS_MAX, Insights
from tailtrace_api.queries.tailnet import Devices, FoundDevice, Tailnet, TailnetError, TailnetStatus, Whois
from tailtrace_bridge.core.text import parse_address

T = TypeVar("T")


def insight_router(insights: Insights, clock: Callable[[], int]) -> APIRouter:
    """Make the routes of the insights. `clock` gives microseconds since the epoch."""
    router = APIRouter(prefix="/analytics", tags=["analytics"], dependencies=[KNOWN_ONLY], responses=ERRORS)
    at_type = Annotated[int, Depends(at_of(clock))]

    @router.get("/active-users")
    def active_users(only: Only) -> ActiveUsers:
        """Return who made a request in the last five minutes, and what each looks at."""
        return insights.active_users(clock(), user=only)

    @router.get("/usage-stats")
    def usage_stats(at: at_type, *, only: Only, days: Days = 7) -> UsageStats:
        """Return sessions, people and the features used most: usage, without health checks, bots and static files."""
        return insights.usage_stats(at, days=days, user=only)

    @router.get("/system-performance")
    def system_performance(at: at_type, *, service: Service = None) -> Performance:
        """Return uptime, response times and errors of seven days, and who is to blame.

        Uptime and `error_rate` are of all traffic, the times of requests to the app (`app`). The store, how fresh its
        data is and the alerts are those of now, whatever `at` says.
        """
        return insights.system_performance(clock(), at_us=at, service=service)

    @router.get("/stored")
    def stored(only: Only) -> Stored:
        """Return from when until when there are requests: for who found nothing where they looked."""
        return insights.stored(clock(), user=only)

    @router.get("/compare")
    def compare(at: at_type, *, only: Only, days: Days = 7, service: Service = None) -> Periods:
        """Set the last days beside the days before them.

        Requests, times and `error_rate` are of requests to the app (`app`), `unique_users` of all usage. `endpoints`
        are those asked for in both, `endpoints_new` and `endpoints_gone` those of one side only.
        """
        return insights.compare(at, days=days, user=only, service=service)

    @router.get("/unused-endpoints")
    def unused_endpoints(at: at_type, *, days: Days = 30, service: Service = None) -> UnusedEndpoints:
        """Return the routes that nobody asked for, by service; with one, those that it was asked for earlier."""
        return insights.unused_endpoints(at, days=days, service=service)

    @router.get("/request/{trace_id}")
    def request(
        trace_id: TraceId,
        *,
        only: Only,
        hours: Annotated[int, Query(ge=1, le=TRACE_HOURS_MAX, description="How far back it is looked for.")] = 24,
        at: Annotated[
            str | None, Query(max_length=40, description="Its timestamp, if known: finds an old one at once.")
        ] = None,
    ) -> TraceRequests:
        """Return one request: nginx's line, the app's span, who it was, where the time went."""
        at_us = None if at is None else moment_us(at)
        return insights.explain_request(clock(), trace_id=trace_id, hours=hours, at_us=at_us, user=only)

    return router


def tailnet_router(tailnet: Tailnet) -> APIRouter:
    """Make the routes of the tailnet."""
    router = APIRouter(prefix="/tailnet", tags=["tailnet"], dependencies=[KNOWN_ONLY], responses=ERRORS)

    @router.get("/devices")
    def devices(only: Only) -> Devices:
        """List the tailnet's devices, those online first."""
        return _answered(lambda: tailnet.devices(user=only))

    @router.get("/devices/{device}")
    def device(
        device: Annotated[str, Path(max_length=256, description="Name, address or node id.")], only: Only
    ) -> FoundDevice:
        """Return one device; null if there is none of that name."""
        return _answered(lambda: tailnet.device(device, user=only))

    @router.get("/status")
    def status(only: Only) -> TailnetStatus:
        """Sum up the tailnet, and say what does not answer."""
        return tailnet.status(user=only)

    @router.get("/whois/{address}")
    def whois(
        address: Annotated[str, Path(max_length=64, description="IPv4 or IPv6, without a port.")], only: Only
    ) -> Whois:
        """Return who the bridge would take an address for."""
        if parse_address(address) is None:
            raise HTTPException(422, f"{address!r} is no IP address; write one like 100.64.0.7, without a port")
        return tailnet.whois(address, user=only)

    return router


def _answered(question: Callable[[], T]) -> T:
    try:
        return question()
    except TailnetError as error:
        raise HTTPException(503, str(error)) from None

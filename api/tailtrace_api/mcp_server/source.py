"""Where the answers come from: a store of this machine, or a running API. One verb, `answer`, asked by what it answers.

| what is asked for | of a local store |
|---|---|
| `ActiveUsers`, `UsageStats`, `Performance` | `Insights` |
| `Periods`, `UnusedEndpoints` | `Insights` |
| `Explained` | `Insights`, `Traces` |
| `WhatBroke` | `Errors` |
| `AccessLogs` | `Queries` |
| `Devices`, `FoundDevice`, `TailnetStatus`, `Whois` | `Tailnet` |

`api_source` has the other: a server's own tools ask no API, and load no client of HTTP.
`user` restricts an answer to one person; an API decides that by itself, from who asks it.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tailtrace_api.access.roles import NotYoursError
from tailtrace_api.answers.errors import WhatBroke
from tailtrace_api.answers.insight_records import (
    ActiveUsers,
    Performance,
    Periods,
    Stored,
    UnusedEndpoints,
    UsageStats,
)
from tailtrace_api.answers.record import Record, fields_of
from tailtrace_api.answers.request_records import AccessLogs
from tailtrace_api.answers.requests import time_us
from tailtrace_api.http.narrowing import narrowed
from tailtrace_api.http.windows import Ends
from tailtrace_api.mcp_server.explained import Explained, digest
from tailtrace_api.queries.errors import Errors
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.tailnet import Devices, FoundDevice, Tailnet, TailnetStatus, Whois
from tailtrace_bridge.core.errors import BridgeError

if TYPE_CHECKING:  # it reads protobuf, which an assistant's start does not wait for
    from tailtrace_api.queries.traces import Traces

A = TypeVar("A", bound=Record)


class SourceError(BridgeError):
    """There is no answer; the message says what to do."""


class Source(Protocol):
    """Something that answers. Blocks, and is called in a thread."""

    def answer(self, kind: type[A], arguments: Mapping[str, Any], user: str | None = None) -> A:
        """Return what is asked for, of the table above. Raises `BridgeError`."""


class LocalSource:
    """Asks a store. `clock` gives microseconds since the epoch."""

    def __init__(
        self,
        insights: Insights,
        tailnet: Tailnet,
        clock: Callable[[], int],
        traces: "Traces | None" = None,
        errors: Errors | None = None,
    ) -> None:
        self._insights, self._tailnet, self._clock = insights, tailnet, clock
        self._traces, self._errors = traces, errors

    def answer(self, kind: type[A], arguments: Mapping[str, Any], user: str | None = None) -> A:
        """Answer from the store and the tailnet."""
        now_us, insights, tailnet = self._clock(), self._insights, self._tailnet
        at_us = time_us(arguments["at"]) if "at" in arguments else None
        end_us, service = now_us if at_us is None else at_us, arguments.get("service")
        answers: Mapping[type[Record], Callable[[], Record]] = {
            ActiveUsers: lambda: insights.active_users(now_us, user=user),
            UsageStats: lambda: insights.usage_stats(end_us, days=arguments["days"], user=user),
            Performance: lambda: insights.system_performance(now_us, at_us=at_us, user=user, service=service),
            Stored: lambda: insights.stored(now_us, user=user),
            Periods: lambda: insights.compare(end_us, days=arguments["days"], user=user, service=service),
            UnusedEndpoints: lambda: insights.unused_endpoints(end_us, days=arguments["days"]),
            Explained: lambda: self._explained(now_us, at_us, arguments, user),
            WhatBroke: lambda: self._what_broke(end_us, arguments, user),
            AccessLogs: lambda: self._access_logs(end_us, arguments, user),
            Devices: lambda: tailnet.devices(user=user),
            FoundDevice: lambda: tailnet.device(arguments["device"], user=user),
            TailnetStatus: lambda: tailnet.status(user=user),
            Whois: lambda: tailnet.whois(arguments["address"], user=user),
        }
        answer = answers[kind]()
        assert isinstance(answer, kind)
        return answer

    def _explained(self, now_us: int, at_us: int | None, arguments: Mapping[str, Any], user: str | None) -> Explained:
        trace_id = arguments["trace_id"]
        told = self._insights.explain_request(
            now_us, trace_id=trace_id, hours=arguments["hours"], at_us=at_us, user=user
        )
        found = self._traces.find(trace_id, user) if told.found and self._traces is not None else None
        return Explained(**fields_of(told), trace=None if found is None else digest(found))

    def _what_broke(self, end_us: int, arguments: Mapping[str, Any], user: str | None) -> WhatBroke:
        if self._errors is None:
            raise SourceError("no groups of errors are kept here; ask `list_requests` with status 5xx")
        return self._errors.what_broke(Ends(None, end_us).window(arguments["hours"]), only=user)

    def _access_logs(self, end_us: int, arguments: Mapping[str, Any], user: str | None) -> AccessLogs:
        try:
            filters = narrowed(
                arguments.get("user"),
                user,
                endpoint=arguments.get("endpoint"),
                status=arguments.get("status"),
                service=arguments.get("service"),
            )
        except NotYoursError as error:
            raise SourceError(str(error)) from None
        return self._insights.queries.access_logs(
            Ends(None, end_us).window(arguments["hours"]), filters=filters, limit=arguments["limit"], user=user
        )

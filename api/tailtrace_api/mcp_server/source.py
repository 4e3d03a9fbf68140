"""Where the answers come from: a store of this machine, or a running API. One verb, `answer`, asked by what it answers.

| what is asked for | of a local store | of an API, by GET |
|---|---|---|
| `ActiveUsers`, `UsageStats`, `Performance` | `Insights` | `/analytics/...` |
| `Periods`, `UnusedEndpoints` | `Insights` | `/analytics/...` |
| `Explained` | `Insights`, `Traces` | `/analytics/request/...`, and of a kept trace `/analytics/panels/trace/...` |
| `WhatBroke` | `Errors` | `/analytics/errors` |
| `AccessLogs` | `Queries` | `/analytics/access-logs` |
| `Devices`, `FoundDevice`, `TailnetStatus`, `Whois` | `Tailnet` | `/tailnet/...` |

`user` restricts an answer to one person; an API decides that by itself, from who asks it.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from pydantic import ValidationError

from tailtrace_api.access.roles import NotYoursError
from tailtrace_api.answers.errors import WhatBroke
from tailtrace_api.answers.insight_records import (
    ActiveUsers,
    Performance,
    Periods,
    UnusedEndpoints,
    UsageStats,
)
from tailtrace_api.answers.record import Record, fields_of
from tailtrace_api.answers.request_records import AccessLogs
from tailtrace_api.answers.requests import time_us
from tailtrace_api.http.narrowing import narrowed
from tailtrace_api.http.windows import Ends
from tailtrace_api.mcp_server.explained import Explained, digest
from tailtrace_api.mcp_server.schema import from_json
from tailtrace_api.queries.errors import Errors
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.tailnet import Devices, FoundDevice, Tailnet, TailnetStatus, Whois
from tailtrace_bridge.core.errors import BridgeError, SettingsError

if TYPE_CHECKING:  # it reads protobuf, which an assistant's start does not wait for
    from tailtrace_api.queries.traces import Traces

A = TypeVar("A", bound=Record)
TIMEOUT_S = 30.0
RESPONSE_BYTES_MAX = 8 * 1024 * 1024
_PATHS: Mapping[type[Record], str] = {
    ActiveUsers: "/analytics/active-users",
    UsageStats: "/analytics/usage-stats",
    Performance: "/analytics/system-performance",
    Periods: "/analytics/compare",
    UnusedEndpoints: "/analytics/unused-endpoints",
    Explained: "/analytics/request/{trace_id}",
    WhatBroke: "/analytics/errors",
    AccessLogs: "/analytics/access-logs",
    Devices: "/tailnet/devices",
    FoundDevice: "/tailnet/devices/{device}",
    TailnetStatus: "/tailnet/status",
    Whois: "/tailnet/whois/{address}",
}


_TRACE_PATH = "/analytics/panels/trace/{trace_id}"


class SourceError(BridgeError):
    """The API does not answer; the message says what to do."""


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


class _NoRedirects(HTTPRedirectHandler):
    """An API of ours never redirects; what does would be sent our token, to wherever it says."""

    def redirect_request(self, *_args: Any) -> None:
        """Follow none: the answer stays an error."""


class HttpSource:
    """Asks a running API at `url`. Raises `SettingsError` for a URL that is none.

    urllib, since it is there: an HTTP client of more comfort takes a tenth of a second to import, of each start.
    """

    def __init__(self, url: str, token: str = "", *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
            raise SettingsError(f"--url {url!r} is no address of an API; write one like http://127.0.0.1:8470")
        self._url = url.rstrip("/")
        # No proxy of the environment: the API is on this machine or in the tailnet.
        self._opener: OpenerDirector = build_opener(ProxyHandler({}), _NoRedirects())

    def answer(self, kind: type[A], arguments: Mapping[str, Any], user: str | None = None) -> A:  # noqa: ARG002
        """Ask the API. Raises `SourceError`."""
        answer = self._fetch(kind, _PATHS[kind], arguments)
        if isinstance(answer, Explained) and answer.found:
            from tailtrace_api.answers.traces import Trace  # noqa: PLC0415 - see above

            with suppress(SourceError):  # it is not kept, or one of before knows no traces
                found = self._fetch(Trace, _TRACE_PATH, {"trace_id": arguments["trace_id"]})
                return replace(answer, trace=digest(found))
        return answer

    def _fetch(self, kind: type[A], path: str, arguments: Mapping[str, Any]) -> A:
        in_path = {name: quote(str(value), safe="") for name, value in arguments.items() if f"{{{name}}}" in path}
        rest = {name: value for name, value in arguments.items() if name not in in_path}
        target = self._url + path.format(**in_path) + (f"?{urlencode(rest)}" if rest else "")
        try:
            with self._opener.open(Request(target, headers=self._headers), timeout=TIMEOUT_S) as got:  # noqa: S310 - the scheme is checked above
                body = self._read(got)
        except HTTPError as error:
            with error:
                raise SourceError(self._refused(error)) from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise SourceError(
                f"no answer from {self._url} ({reason}); is tailtrace serve running there? Start it, or mend --url"
            ) from None
        if len(body) > RESPONSE_BYTES_MAX:
            raise SourceError(f"{self._url} answered with more than {RESPONSE_BYTES_MAX} bytes; ask for less")
        return self._parsed(kind, body)

    def _read(self, got: HTTPResponse) -> bytes:
        """Read at most one byte too many. `TIMEOUT_S` bounds each wait, and here all of them together."""
        body = bytearray()
        end_s = self._clock() + TIMEOUT_S
        while len(body) <= RESPONSE_BYTES_MAX and (chunk := got.read1(RESPONSE_BYTES_MAX + 1 - len(body))):
            body += chunk
            if self._clock() > end_s:
                raise TimeoutError(f"it was not done after {TIMEOUT_S:g} s")
        return bytes(body)

    def _parsed(self, kind: type[A], body: bytes) -> A:
        try:
            return from_json(kind, body)
        except ValidationError:
            raise SourceError(
                f"{self._url} gave no answer of tailtrace that this one knows; check that --url is the address of its "
                f"API, and that both are of one version"
            ) from None

    def _refused(self, error: HTTPError) -> str:
        try:
            detail = json.loads(error.read(100_000))["detail"]
        except (ValueError, KeyError, TypeError, OSError):
            detail = error.reason
        if isinstance(detail, list):  # of wrong parameters, each with its message
            detail = "; ".join(str(one.get("msg", one)) if isinstance(one, dict) else str(one) for one in detail)
        if error.code == 404:
            return f"{self._url} does not know this question; is it an older tailtrace? Upgrade it, or mend --url"
        if error.code == 401:
            detail = f"{detail}. TAILTRACE_API_TOKEN (or _FILE) is what this program sends"
        return f"{self._url} answered {error.code}: {detail}"

"""Asks a running API for what the tools answer, by GET.

`/analytics/...` and `/tailnet/...` as `_PATHS` names them; of a request whose trace is kept, that too.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPResponse
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from pydantic import ValidationError

from tailtrace_api.answers.errors import WhatBroke
from tailtrace_api.answers.insight_records import (
    ActiveUsers,
    Performance,
    Periods,
    Stored,
    UnusedEndpoints,
    UsageStats,
)
from tailtrace_api.answers.record import Record
from tailtrace_api.answers.request_records import AccessLogs
from tailtrace_api.mcp_server.explained import Explained, digest
from tailtrace_api.mcp_server.schema import from_json
from tailtrace_api.mcp_server.source import SourceError
from tailtrace_api.queries.tailnet import Devices, FoundDevice, TailnetStatus, Whois
from tailtrace_bridge.core.errors import SettingsError

A = TypeVar("A", bound=Record)
TIMEOUT_S = 30.0
RESPONSE_BYTES_MAX = 8 * 1024 * 1024
_PATHS: Mapping[type[Record], str] = {
    ActiveUsers: "/analytics/active-users",
    UsageStats: "/analytics/usage-stats",
    Performance: "/analytics/system-performance",
    Periods: "/analytics/compare",
    Stored: "/analytics/stored",
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
            from tailtrace_api.answers.traces import Trace  # noqa: PLC0415 - it reads protobuf, which an assistant's start does not wait for

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

"""Where the answers come from: a store of this machine, or a running API. One verb, `answer`.

| the question | of a local store | of an API, by GET |
|---|---|---|
| `active-users`, `usage-stats`, `system-performance` | `Insights` | `/analytics/...` |
| `compare`, `unused-endpoints`, `request` | `Insights` | `/analytics/...` |
| `request`, its spans where they are kept | `Traces` | `/analytics/panels/trace/...` |
| `access-logs` | `Queries` | `/analytics/access-logs` |
| `devices`, `device`, `status`, `whois` | `Tailnet` | `/tailnet/...` |

`user` restricts an answer to one person; an API decides that by itself, from who asks it.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from tailtrace_api.access.roles import NotYoursError
from tailtrace_api.answers.record import Record
from tailtrace_api.answers.request_records import AccessLogs
from tailtrace_api.answers.requests import time_us
from tailtrace_api.http.narrowing import narrowed
from tailtrace_api.mcp_server.explained import digest
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.tailnet import Tailnet
from tailtrace_bridge.core.errors import BridgeError, SettingsError

if TYPE_CHECKING:  # it reads protobuf, which an assistant's start does not wait for
    from tailtrace_api.queries.traces import Traces

TIMEOUT_S = 30.0
RESPONSE_BYTES_MAX = 8 * 1024 * 1024
_PATHS = {
    "active-users": "/analytics/active-users",
    "usage-stats": "/analytics/usage-stats",
    "system-performance": "/analytics/system-performance",
    "compare": "/analytics/compare",
    "unused-endpoints": "/analytics/unused-endpoints",
    "request": "/analytics/request/{trace_id}",
    "access-logs": "/analytics/access-logs",
    "devices": "/tailnet/devices",
    "device": "/tailnet/devices/{device}",
    "status": "/tailnet/status",
    "whois": "/tailnet/whois/{address}",
}


_TRACE_PATH = "/analytics/panels/trace/{trace_id}"


class SourceError(BridgeError):
    """The API does not answer; the message says what to do."""


class Source(Protocol):
    """Something that answers. Blocks, and is called in a thread."""

    def answer(self, question: str, arguments: Mapping[str, Any], user: str | None = None) -> dict[str, Any]:
        """Answer a question of the table above. Raises `BridgeError`."""


class LocalSource:
    """Asks a store. `clock` gives microseconds since the epoch."""

    def __init__(
        self, insights: Insights, tailnet: Tailnet, clock: Callable[[], int], traces: "Traces | None" = None
    ) -> None:
        self._insights, self._tailnet, self._clock, self._traces = insights, tailnet, clock, traces

    def answer(self, question: str, arguments: Mapping[str, Any], user: str | None = None) -> dict[str, Any]:
        """Answer from the store and the tailnet."""
        now_us, insights, tailnet = self._clock(), self._insights, self._tailnet
        at_us = time_us(arguments["at"]) if "at" in arguments else None
        end_us = now_us if at_us is None else at_us
        answers: Mapping[str, Callable[[], Record]] = {
            "active-users": lambda: insights.active_users(now_us, user=user),
            "usage-stats": lambda: insights.usage_stats(end_us, days=arguments["days"], user=user),
            "system-performance": lambda: insights.system_performance(now_us, at_us=at_us, user=user),
            "compare": lambda: insights.compare(end_us, days=arguments["days"], user=user),
            "unused-endpoints": lambda: insights.unused_endpoints(end_us, days=arguments["days"]),
            "request": lambda: insights.explain_request(
                now_us,
                trace_id=arguments["trace_id"],
                hours=arguments["hours"],
                at_us=at_us,
                user=user,
            ),
            "access-logs": lambda: self._access_logs(end_us, arguments, user),
            "devices": lambda: tailnet.devices(user=user),
            "device": lambda: tailnet.device(arguments["device"], user=user),
            "status": lambda: tailnet.status(user=user),
            "whois": lambda: tailnet.whois(arguments["address"], user=user),
        }
        answer = asdict(answers[question]())
        if question == "request" and answer["found"] and self._traces is not None:
            found = self._traces.find(arguments["trace_id"], user)
            return answer if found is None else {**answer, "trace": digest(asdict(found))}
        return answer

    def _access_logs(self, end_us: int, arguments: Mapping[str, Any], user: str | None) -> AccessLogs:
        try:
            filters = narrowed(
                arguments.get("user"), user, endpoint=arguments.get("endpoint"), status=arguments.get("status")
            )
        except NotYoursError as error:
            raise SourceError(str(error)) from None
        return self._insights.queries.access_logs(
            end_us, hours=arguments["hours"], filters=filters, limit=arguments["limit"], user=user
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

    def answer(self, question: str, arguments: Mapping[str, Any], user: str | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Ask the API. Raises `SourceError`."""
        answer = self._asked(_PATHS[question], arguments)
        if answer is None:
            raise SourceError(f"{self._url} gave no answer of tailtrace; check that --url is the address of its API")
        if question == "request" and answer.get("found"):
            with suppress(SourceError):  # one of before knows no traces
                found = self._asked(_TRACE_PATH, {"trace_id": arguments["trace_id"]})
                answer = answer if found is None else {**answer, "trace": digest(found)}
        return answer

    def _asked(self, path: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the answer to one question; None is one that says there is nothing."""
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
        return self._parsed(body)

    def _read(self, got: HTTPResponse) -> bytes:
        """Read at most one byte too many. `TIMEOUT_S` bounds each wait, and here all of them together."""
        body = bytearray()
        end_s = self._clock() + TIMEOUT_S
        while len(body) <= RESPONSE_BYTES_MAX and (chunk := got.read1(RESPONSE_BYTES_MAX + 1 - len(body))):
            body += chunk
            if self._clock() > end_s:
                raise TimeoutError(f"it was not done after {TIMEOUT_S:g} s")
        return bytes(body)

    def _parsed(self, body: bytes) -> dict[str, Any] | None:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = ()
        if not (answer is None or isinstance(answer, dict)):
            raise SourceError(f"{self._url} gave no answer of tailtrace; check that --url is the address of its API")
        return answer

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

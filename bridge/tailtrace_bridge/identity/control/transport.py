"""One GET to the control API: bounded in time, tries and bytes, with errors that say what to do.

| the API | what we do |
|---|---|
| 200 with a JSON object of at most `RESPONSE_BYTES_MAX` | give it |
| 401 | get a new token once, where there is one; else `BadKeyError`, or `ExpiredKeyError` if the key has worked |
| 403 | `MissingScopeError` |
| 404 | `NoSuchTailnetError`, or None where the caller asked for something that may be absent |
| 429, or 503, with Retry-After | wait as told and try again |
| 429 that tells to wait for longer than `TOTAL_S` | `RateLimitedError`, and no call before that time |
| 5xx, no connection, nothing within `ATTEMPT_S` | wait up to twice as long each time (full jitter) and try again |
| anything else, or an answer that is no JSON object | `ControlAnswerError`: it is not the control API |

Only GETs are tried again, at most `TRIES_MAX` times, and none begins later than `TOTAL_S` after the first.
A POST (for a token) is made once.
"""

import json
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import anyio
import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, stop_any
from tenacity.stop import stop_before_delay

from tailtrace_bridge.core.errors import (
    BadKeyError,
    ControlAnswerError,
    ControlApiError,
    ControlUnavailableError,
    ExpiredKeyError,
    MissingScopeError,
    NoSuchTailnetError,
    RateLimitedError,
)
from tailtrace_bridge.core.retry_after import read_retry_after
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.identity.control.auth import Credentials

ATTEMPT_S = 10.0
TOTAL_S = 30.0
TRIES_MAX = 4
BACKOFF_S = 0.5
"""The longest wait after the first failure; twice as long after each further one, up to `BACKOFF_S_MAX`."""
BACKOFF_S_MAX = 8.0
RESPONSE_BYTES_MAX = 64 * 1024 * 1024
"""Ten thousand devices with all fields are some 25 MB."""
SAID_LENGTH_MAX = 200
"""Characters of the API's own words in an error."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cures:
    """What a service's errors tell people to do."""

    key: str
    scope: str
    tailnet: str


@dataclass(slots=True)
class TransportCounts:
    """What happened so far."""

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    """Answers 429 and calls not made because of one."""
    oversized: int = 0
    """Answers longer than `RESPONSE_BYTES_MAX`."""


class Transport:
    """The way to one control API. `clock` gives microseconds since the epoch; `sleep` takes seconds.

    `jitter` gives a number from 0 to 1, at random where it is not a test.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        cures: Cures,
        *,
        clock: Callable[[], int],
        attempt_s: float = ATTEMPT_S,
        total_s: float = TOTAL_S,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = random.random,  # noqa: S311 - spreads calls, guards nothing
        response_bytes_max: int = RESPONSE_BYTES_MAX,
    ) -> None:
        self.counts = TransportCounts()
        self.base_url = base_url.rstrip("/")
        self._credentials = credentials
        self._cures = cures
        self._clock = clock
        self._attempt_s = attempt_s
        self._jitter = jitter
        self._response_bytes_max = response_bytes_max
        self._http = httpx.AsyncClient(timeout=attempt_s, headers={"Accept": "application/json"})
        self._worked = False
        """Whether the key has been good before: then a 401 means that it ended."""
        self._not_before_us = 0
        self._retrying = AsyncRetrying(
            sleep=sleep,
            wait=self._wait_s,
            stop=stop_any(stop_after_attempt(TRIES_MAX), stop_before_delay(total_s)),
            retry=retry_if_exception_type((RateLimitedError, ControlUnavailableError)),
            before_sleep=self._before_sleep,
            reraise=True,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(
        self, path: str, params: Mapping[str, str], *, absent_ok: bool = False
    ) -> Mapping[str, object] | None:
        """Return the JSON object at `path`; None where it is absent and may be. Raises `ControlApiError`."""
        wait_s = (self._not_before_us - self._clock()) / 1_000_000
        if wait_s > 0:
            self.counts.rate_limited += 1
            raise RateLimitedError(self._limited(wait_s), wait_s)
        try:
            answer = await self._authorized(path, params, absent_ok)
        except RateLimitedError as error:
            if error.retry_after_s:
                self._not_before_us = self._clock() + int(error.retry_after_s * 1_000_000)
            raise
        self._worked = True
        return answer

    async def _authorized(self, path: str, params: Mapping[str, str], absent_ok: bool) -> Mapping[str, object] | None:
        try:
            return await self._tries(path, params, absent_ok)
        except BadKeyError:
            if not self._credentials.forget():
                raise
        return await self._tries(path, params, absent_ok)

    async def _tries(self, path: str, params: Mapping[str, str], absent_ok: bool) -> Mapping[str, object] | None:
        headers = {"Authorization": await self._credentials.authorization(self._post)}
        request = self._http.build_request("GET", self.base_url + path, params=params, headers=headers)
        return await self._retrying.copy()(self._attempt, request, absent_ok)

    async def _post(self, path: str, form: Mapping[str, str]) -> Mapping[str, object]:
        answer = await self._attempt(self._http.build_request("POST", self.base_url + path, data=dict(form)), False)
        assert answer is not None
        return answer

    async def _attempt(self, request: httpx.Request, absent_ok: bool) -> Mapping[str, object] | None:
        self.counts.requests += 1
        try:
            # httpx limits each read; an answer that drips would have no end.
            with anyio.fail_after(self._attempt_s):
                response, body = await self._exchange(request)
        except (TimeoutError, httpx.TimeoutException):
            raise ControlUnavailableError(
                f"{self.base_url} did not answer within {self._attempt_s:g} s; check the network"
            ) from None
        except httpx.DecodingError:
            raise ControlAnswerError(f"{self._where(request)} gave what cannot be decoded; {_CHECK_URL}") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            said = self._clean(str(error)) or type(error).__name__
            raise ControlUnavailableError(
                f"{self.base_url} is out of reach ({said}); check the network and TAILSCALE_API_URL"
            ) from None
        if response.status_code == 200:
            return self._read(request, body)
        if response.status_code == 404 and absent_ok:
            return None
        raise self._error(request, response, body)

    async def _exchange(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        """Return the response and its body, cut where it is too long."""
        response = await self._http.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._response_bytes_max:
                    break
            return response, bytes(body)
        finally:
            await response.aclose()

    def _read(self, request: httpx.Request, body: bytes) -> Mapping[str, object]:
        if len(body) > self._response_bytes_max:
            self.counts.oversized += 1
            raise ControlAnswerError(
                f"{self._where(request)} gave more than {self._response_bytes_max} bytes; {_CHECK_URL}"
            )
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ControlAnswerError(f"{self._where(request)} gave no JSON object; {_CHECK_URL}")
        return answer

    def _error(self, request: httpx.Request, response: httpx.Response, body: bytes) -> ControlApiError:
        status, said = response.status_code, self._said(body)
        where = f"{self._where(request)} answered {status}{f' ({said})' if said else ''}"
        retry_after_s = read_retry_after(response.headers.get("Retry-After"), self._clock())
        # Headscale 0.26 answers 500 to a key whose beginning it knows.
        if status == 401 or said.casefold() == "unauthorized" or (status == 400 and request.method == "POST"):
            return self._refused(where, said)
        if status == 403:
            return MissingScopeError(f"{where}: {self._credentials.setting} may not do this; {self._cures.scope}")
        if status == 404:
            return NoSuchTailnetError(f"{where}; {self._cures.tailnet}")
        if status == 429:
            self.counts.rate_limited += 1
            return RateLimitedError(self._limited(retry_after_s), retry_after_s)
        if status >= 500:
            return ControlUnavailableError(f"{where}: the service's fault; it is tried again later", retry_after_s)
        return ControlAnswerError(f"{where}; {_CHECK_URL}")

    def _refused(self, where: str, said: str) -> BadKeyError:
        setting, cure = self._credentials.setting, self._cures.key
        if self._worked or "expired" in said.lower():
            return ExpiredKeyError(f"{where}: {setting} has expired or was revoked; {cure}")
        return BadKeyError(f"{where}: {setting} is wrong, revoked or expired; {cure}")

    def _limited(self, wait_s: float | None) -> str:
        told = f", for {wait_s:.0f} s" if wait_s else ""
        return f"{self.base_url} wants fewer calls (429){told}; it is tried again by itself: who else uses this key?"

    def _said(self, body: bytes) -> str:
        text = body[: self._response_bytes_max].decode("utf-8", "replace")
        try:
            message = json.loads(text)["message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            message = text
        return self._clean(str(message))

    def _clean(self, text: str) -> str:
        return printable(self._credentials.redact(text).strip(), SAID_LENGTH_MAX)

    def _where(self, request: httpx.Request) -> str:
        return f"{self.base_url}{request.url.path.removeprefix(httpx.URL(self.base_url).path.rstrip('/'))}"

    def _wait_s(self, state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        told_s = failure.retry_after_s if isinstance(failure, ControlApiError) and failure.retry_after_s else 0.0
        return told_s + self._jitter() * min(BACKOFF_S_MAX, BACKOFF_S * 2.0 ** (state.attempt_number - 1))

    def _before_sleep(self, state: RetryCallState) -> None:
        self.counts.retries += 1
        failure = state.outcome.exception() if state.outcome else None
        _log.info("control: try %d failed: %s", state.attempt_number, failure)


_CHECK_URL = "check that TAILSCALE_API_URL and TAILTRACE_CONTROL name the same service"

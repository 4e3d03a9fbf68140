"""What stands before every HTTP server of tailtrace: an ASGI app around the app.

| a request | is answered |
|---|---|
| of a peer that asks more often than `TAILTRACE_REQUESTS_PER_S`, or sent more bytes than its share | 429, Retry-After |
| of a trusted proxy | counted for the address that it speaks for |
| whose length is said twice, by Content-Length and Transfer-Encoding | 400, and the connection is closed |
| whose body is longer than `body_bytes_max` | 413: before it is read, where it says its length |
| of nobody, for what is not for all | 401, with why, and what to do; to a browser that opens the page, as one |
| of a member, for what is an admin's | 403 |
| of a session, to change something, from a page of another origin | 403: a browser sends its cookie by itself |
| else | by the app, which finds who asks in the scope (`roles.caller_of`) |
| whose answer is a stream (server-sent events) | until who asks is somebody else, or nobody: see `streams` |
| any | with the headers of `SECURITY_HEADERS`, where the app sets none of the name |
| 503, by whatever of the app | with Retry-After: a client that is told nothing asks at once |

A websocket is closed: there is none. The one cookie is that of a session (`sessions`).
"""

import asyncio
import html
import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from tailtrace_api.access import policy
from tailtrace_api.access.callers import FORWARDED, Callers, Headers
from tailtrace_api.access.cross_origin import CROSS_ORIGIN, is_cross_origin
from tailtrace_api.access.limits import Buckets
from tailtrace_api.access.roles import KEY, KNOWN, Caller, Role
from tailtrace_api.access.streams import Revocable
from tailtrace_bridge.identity.proxies import UNIX, Proxies

BURST_S = 4
"""A peer that was silent may ask for so many seconds' worth at once: a page loads all its parts."""
UNAVAILABLE = 503
RETRY_AFTER_S = 5
"""In a 503. A store that is locked or away is rarely back within less."""
BODY_BYTES_PER_S = 8 * 1024 * 1024
BODY_BYTES_BURST = 64 * 1024 * 1024
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""https://owasp.org/www-project-secure-headers/ ; no HSTS: whoever ends TLS before us sets it."""

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Refusal = tuple[int, str, dict[str, str]]
"""Its status, why, and more headers."""
Judge = Callable[[Caller, str], int]
"""Returns for who asks, and the path, 0 or the status to refuse with."""


@dataclass(slots=True)
class AccessCounters:
    """What was refused before it reached an app."""

    refused: dict[int, int] = field(default_factory=dict)
    """By HTTP status: 400 is a length said twice; 401, 403, 413; 429 is a peer over its limit."""
    closed: dict[str, int] = field(default_factory=dict)
    """Connections, by why they were closed: `connections`."""
    peers_forgotten: dict[str, int] = field(default_factory=lambda: {"requests": 0, "bytes": 0})
    """Peers whose use of a limit was forgotten, since as many as are remembered had come after them; by limit."""


_NOBODY_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>tailtrace</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<h1>You are not logged in</h1>
<p>Open the login link that you were sent. Whoever runs tailtrace makes one: <code>tailtrace token link NAME</code>.</p>
<p>{why}</p></html>
"""


def of_table(caller: Caller, path: str) -> int:
    """Judge by the table of `policy`."""
    if policy.is_allowed(caller.role, policy.reach_of(path)):
        return 0
    return 401 if caller.role is Role.NOBODY else 403


def of_spans(caller: Caller, _path: str) -> int:
    """Judge who may send spans."""
    return 0 if caller.sends_spans else 401 if caller.role is Role.NOBODY else 403


class Guard:
    """The app around `app`. `clock` gives µs and never goes back.

    `requests_per_s` 0 is no limit, nor is `body_bytes_max` 0: then the app bounds what it reads.
    `trusted` are proxies that speak for others. `is_unix`: it listens on a unix socket, whose peers have no address.
    """

    def __init__(
        self,
        app: Any,
        callers: Callers,
        counters: AccessCounters,
        *,
        clock: Callable[[], int],
        requests_per_s: int = 0,
        judge: Judge = of_table,
        body_bytes_max: int = 0,
        trusted: Proxies | None = None,
        is_unix: bool = False,
    ) -> None:
        self._trusted, self._is_unix = trusted or Proxies(), is_unix
        self._body_bytes_max = body_bytes_max
        self.app, self._callers, self.counters, self._judge = app, callers, counters, judge
        self._requests = (
            Buckets(requests_per_s, BURST_S * requests_per_s, clock, self._forgets("requests"))
            if requests_per_s
            else None
        )
        self._bytes = Buckets(BODY_BYTES_PER_S, BODY_BYTES_BURST, clock, self._forgets("bytes"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the app answer."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        peer = UNIX if self._is_unix else scope["client"][0] if scope.get("client") else ""
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        origin = self._origin(peer, headers)
        send = _with_headers(send)
        wait_s = self._requests.wait_s(origin, 1) if self._requests is not None else 0.0
        wait_s = wait_s or self._bytes.wait_s(origin, 0)
        if wait_s:
            retry = {"retry-after": str(math.ceil(wait_s))}
            await self._refuse(send, 429, f"too much from one address: ask again in {math.ceil(wait_s)} s", retry)
            return
        if wrong := self._wrong_body(headers):
            await self._refuse(send, *wrong)
            return
        caller = await asyncio.to_thread(self._callers.who, peer, headers)
        status = self._judge(caller, scope["path"])
        is_forged = caller.way == "session" and scope["method"] not in SAFE_METHODS and is_cross_origin(dict(headers))
        if status or is_forged:
            why = CROSS_ORIGIN if is_forged else caller.why if status == 401 else policy.ADMINS_ONLY
            await self._refuse(
                send, status or 403, why, {"www-authenticate": "Bearer"} if status == 401 else {},
                as_page=status == 401 and scope["path"] == "/" and "text/html" in dict(headers).get("accept", ""),
            )  # fmt: skip
            return
        if (caller.role is not Role.NOBODY or caller.sends_spans) and (know := scope.get("state", {}).get(KNOWN)):
            know()
        receive = self._counted(origin, receive)
        if self._body_bytes_max and any(name == "transfer-encoding" for name, _ in headers):
            # Its length is not said. Whoever reads it would keep it all: of a login, a stranger's.
            whole = await _whole(receive, self._body_bytes_max)
            if whole is None:
                await self._refuse(send, *self._too_long())
                return
            receive = _again(whole, receive)

        async def is_same() -> bool:
            return await asyncio.to_thread(self._callers.who, peer, headers) == caller

        async with Revocable(receive, send, is_same) as stream:
            await self.app({**scope, KEY: caller}, stream.receive, stream.send)

    def _wrong_body(self, headers: Headers) -> Refusal | None:
        """Return what is wrong by the head of a request already."""
        # Two servers in a row may each believe another one, and so another end (RFC 9112, 6.3).
        if {"content-length", "transfer-encoding"} <= {name for name, _ in headers}:
            return 400, "Content-Length and Transfer-Encoding: send one", {"connection": "close"}
        return self._too_long() if self._body_bytes_max and _length(headers) > self._body_bytes_max else None

    def _too_long(self) -> Refusal:
        return 413, f"the body is longer than {self._body_bytes_max} bytes", {"connection": "close"}

    def _origin(self, peer: str, headers: Headers) -> str:
        """Return whom a request is counted for."""
        if peer not in self._trusted:
            return peer
        return self._trusted.forwarded([value for name, value in headers if name == FORWARDED]) or peer

    def _forgets(self, limit: str) -> Callable[[], None]:
        def count() -> None:
            self.counters.peers_forgotten[limit] += 1

        return count

    def _counted(self, peer: str, receive: Receive) -> Receive:
        async def counting() -> Message:
            message = await receive()
            if body := message.get("body"):
                self._bytes.charge(peer, len(body))
            return message

        return counting

    async def _refuse(
        self, send: Send, status: int, why: str, headers: dict[str, str], *, as_page: bool = False
    ) -> None:
        self.counters.refused[status] = self.counters.refused.get(status, 0) + 1
        body = (_NOBODY_PAGE.format(why=html.escape(why)) if as_page else json.dumps({"detail": why})).encode()
        media_type = "text/html; charset=utf-8" if as_page else "application/json"
        head = {"content-type": media_type, "content-length": str(len(body)), **headers}
        pairs = [(name.encode(), value.encode()) for name, value in head.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})


def _length(headers: Headers) -> int:
    """Return the length that a request says its body has; 0: it says none."""
    return next((int(value) for name, value in headers if name == "content-length" and value.isdecimal()), 0)


async def _whole(receive: Receive, bytes_max: int) -> Message | None:
    """Return a body as one message, or that its sender left; None: it is longer."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if len(body) > bytes_max:
            return None
        if not message.get("more_body"):
            return {"type": "http.request", "body": bytes(body), "more_body": False}


def _again(first: Message, receive: Receive) -> Receive:
    given = [first]

    async def receiving() -> Message:
        return given.pop() if given else await receive()

    return receiving


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            has = {bytes(name).lower() for name, _ in given}
            wanted = SECURITY_HEADERS
            if message["status"] == UNAVAILABLE:
                wanted = {**wanted, "retry-after": str(RETRY_AFTER_S)}
            more = [(name.encode(), value.encode()) for name, value in wanted.items() if name.encode() not in has]
            message = {**message, "headers": [*given, *more]}
        await send(message)

    return sending

"""What a request's answer says home in its header, and nothing else: all that a request without a span pays for.

| what | where it comes from |
|---|---|
| time | the clock at the request's arrival and at the answer's start |
| route | the scope that the innermost router works on (`route`), looked at when the answer begins |
| error type | an exception that left the app: its class; else of a 5xx its number |
| invalid | the exception that FastAPI makes an answer of right now (`invalid`) |
| the same, if the exception only says that the client is gone | none |

`receive` is the server's own, and `send` hands on what the server's `send` gives, so neither is a coroutine of ours.
"""

import logging
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tailtrace.header import FORM
from tailtrace.light_span import type_name

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

EXCHANGE_KEY = "tailtrace.exchange"
"""Where a scope has its `Answer`."""

_GONE = frozenset({"ClientDisconnect", "ClientDisconnected", "WebSocketDisconnect"})

logger = logging.getLogger("tailtrace")


class Answer:
    """What is known of a request that has no span."""

    __slots__ = ("_home", "_send", "_started_ns", "_status", "error", "inner", "path", "root_path")

    def __init__(self, home: Any, send: Send, started_ns: int) -> None:
        self._home = home
        self._send = send
        self._started_ns = started_ns
        self.path = self.root_path = ""
        self.inner: Scope | None = None
        """The scope that the innermost router worked on so far, which `route.Watched` notes."""
        self.error: BaseException | None = None

    def send(self, message: Message) -> Awaitable[None]:
        """Pass on what the app sends, its start with our header."""
        if message["type"] == "http.response.start":
            try:
                message = self.with_header(message)
            except Exception:
                logger.debug("an answer's start was not noted whole", exc_info=True)
        return self._send(message)

    def with_header(self, message: Message) -> Message:
        """Return the answer's start with our header; as it is, if the app sends one of this name."""
        home = self._home
        elapsed_us = (home.clock_ns() - self._started_ns) // 1000
        name: bytes = home.header
        length = len(name)
        headers = message.get("headers", ())
        for given, _ in headers:
            if len(given) == length and given.lower() == name:
                return message
        status = message.get("status", 200)
        inner = self.inner
        route = "" if inner is None else home.templates.of(inner, self.path, self.root_path)
        error = sys.exception()
        tail = home.plain_tails.get(route) if error is None and status < 500 else None
        if tail is None:
            self._status = status
            invalid = home.invalid.of(error) if error is not None and 400 <= status < 500 else ""
            tail = home.tail(route, self.error_type(), invalid)
        started = dict(message)
        started["headers"] = [*headers, (name, FORM % (elapsed_us, tail))]
        return started

    def over(self) -> None:
        """Let go of everything that could keep the request alive."""
        self.inner = self.error = None

    def route(self) -> Any:
        """Return the route's template, empty while nothing matched."""
        inner = self.inner
        return "" if inner is None else self._home.templates.of(inner, self.path, self.root_path)

    def error_type(self) -> str:
        """Return `error.type` of what is known when the answer begins, empty for no error."""
        self.look_for_error()
        if self.error is not None:
            return "" if self.is_departure(self.error) else type_name(self.error)
        return str(self._status) if self._status >= 500 else ""

    def look_for_error(self) -> None:
        """Note the exception that Starlette's outermost layer makes an answer of right now.

        It is the one being handled, and the first frame of its traceback is where: one that a handler of the app's own
        made an answer of further inside did not leave the app.
        """
        error = sys.exception()
        frames = None if error is None else error.__traceback__
        if frames is not None and frames.tb_frame.f_code is self._home.outermost:
            self.error = error

    def is_departure(self, error: BaseException) -> bool:
        """Return whether an exception only says that the client is gone."""
        if isinstance(error, BaseExceptionGroup):
            return all(self.is_departure(inner) for inner in error.exceptions)
        return type(error).__name__ in _GONE

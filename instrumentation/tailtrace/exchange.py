"""One request and its answer, seen from outside the app: `receive` and `send` are passed through, and looked at.

| what | when, or what it says |
|---|---|
| end of the span | the last byte of the answer handed to the server: a stream counts whole, background tasks do not |
| `http.route` | the template (`route`), none where nothing matched |
| `error.type` | an exception that left the app: its class; else of a 5xx its number, or `incomplete_response` |
| a client that left | no error, whatever became of the answer then: cancelled, cut off, or `ClientDisconnect` |
| exception event | class and the lines of the stack; never its message, which may quote the user's data |
| websocket | one span for the connection, status 101 or the refusal's; closing it is no error; not in the histogram |
| the response header | with the answer's start, for a request with the marker (`header`) |

An exception on its way out is seen (`Failing`) before the server's error answer is sent: a 5xx need not wait for what
comes after the answer. Whatever goes wrong in here costs the span, never the answer. When the request is over, an
exchange lets go of scope and exception: it is in no cycle, and keeps nothing alive.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tailtrace import header
from tailtrace.light_span import PATH_LENGTH_MAX, LightSpan, exception_attributes, type_name

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

EXCHANGE_KEY = "tailtrace.exchange"

_STARTS = {"http.response.start": 200, "websocket.accept": 101, "websocket.http.response.start": 403}
_ENDS = frozenset({"http.response.body", "http.response.trailers", "http.response.pathsend"})
_LEAVES = frozenset({"http.disconnect", "websocket.disconnect"})
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
_GONE = frozenset({"ClientDisconnect", "ClientDisconnected", "WebSocketDisconnect"})

logger = logging.getLogger("tailtrace")


class Exchange:
    """What is known of a request and its answer so far."""

    __slots__ = (
        "_complete",
        "_elapsed_ns",
        "_ended",
        "_home",
        "_inner",
        "_left",
        "_path",
        "_receive",
        "_root_path",
        "_route",
        "_send",
        "_send_error",
        "_started_ns",
        "_status",
        "_trailers",
        "_websocket",
        "error",
        "marked",
        "mirror",
        "raised",
        "scope",
        "span",
        "start_ns",
    )

    def __init__(self, home: Any, scope: Scope, receive: Receive, send: Send, started_ns: int) -> None:
        self._home = home
        self.scope: Scope | None = scope
        self._receive = receive
        self._send = send
        self._started_ns = started_ns
        self.start_ns = 0
        self._websocket = scope["type"] == "websocket"
        self._inner: Scope | None = None
        self._path = self._root_path = ""
        self._route: str | None = None
        self._status = 0
        self._elapsed_ns = -1
        self._complete = self._ended = self._left = self._trailers = False
        self._send_error: BaseException | None = None
        self.marked = False
        self.span: Any = None
        self.mirror: Send | None = None
        self.error: BaseException | None = None
        self.raised: BaseException | None = None

    def routing(self, scope: Scope) -> None:
        """Note the scope that a router now works on: the last one is the innermost."""
        if self._inner is None:
            self._path = scope.get("path", "")
            self._root_path = scope.get("root_path", "")
        self._inner = scope

    async def receive(self) -> Message:
        """Pass on what the client sends; note that it left."""
        message = await self._receive()
        if message.get("type") in _LEAVES:
            self._left = True
        return message

    async def send(self, message: Message) -> None:
        """Pass on what the app sends; note what it says."""
        kind = message.get("type")
        if kind in _STARTS:
            message = self._start(message, kind)
            if self.mirror is not None and kind == "http.response.start":
                await self._show(message)
        elif kind == "websocket.close" and not self._status:
            self._status = 403
        try:
            await self._send(message)
        except OSError as error:
            self._left = True
            self._send_error = error
            raise
        if kind in _ENDS and not message.get("more_body") and not message.get("more_trailers"):
            self._answered(kind)

    def _start(self, message: Message, kind: str) -> Message:
        try:
            self._status = message.get("status", _STARTS[kind])
            self._trailers = bool(message.get("trailers", False))
            if self.marked and kind == "http.response.start":
                elapsed_us = (self._home.clock_ns() - self._started_ns) // 1000
                message = self._home.with_header(message, elapsed_us, self.route(), self.error_type())
        except Exception:
            logger.debug("an answer's start was not noted whole", exc_info=True)
        return message

    async def _show(self, message: Message) -> None:
        """Let OpenTelemetry capture the answer's headers that the user asked for."""
        try:
            await self.mirror(message)  # type: ignore[misc]
        except Exception:
            logger.debug("the headers of an answer were not captured", exc_info=True)

    def _answered(self, kind: str) -> None:
        if self._complete or (self._trailers and kind == "http.response.body"):
            return
        self._complete = True
        self.end()

    def over(self) -> None:
        """End the span if the answer has not, and let go of everything that could keep the request alive."""
        self.end()
        self._inner = self.scope = None
        self.error = self.raised = self._send_error = None

    def end(self) -> None:
        """End the span, once. Nothing in here may reach the app."""
        if self._ended or (self.span is None and self._home.duration is None):
            return
        self._ended = True
        try:
            self._elapsed_ns = max(self._home.clock_ns() - self._started_ns, 0)
            span = self.span
            if type(span) is LightSpan:
                self._end_light(span)
            else:
                self._end_sdk(span)
        except Exception:
            logger.debug("a span was ended incomplete", exc_info=True)
            if self.span is not None:
                self.span.end()

    def _end_light(self, span: LightSpan) -> None:
        error_type = self.error_type()
        shape = self._home.shape(self.scope, self._status, self.route(), error_type)
        error = self.error if error_type and not error_type.isdigit() else None
        span.close(shape, self.start_ns + self._elapsed_ns, error)
        self._home.worker.put(span)
        self._measure(shape.attributes)

    def _end_sdk(self, span: Any) -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - the light way has no need of it

        error_type = self.error_type()
        shape = self._home.shape(self.scope, self._status, self.route(), error_type)
        if span is not None:
            if span.is_recording():
                scope = self.scope or {}
                span.set_attributes(shape.attributes)
                if getattr(span, "name", None) in {None, "", _method(scope.get("method", "GET")), "HTTP"}:
                    span.update_name(shape.name)
                if len(scope.get("path", "")) > PATH_LENGTH_MAX:
                    span.set_attribute("tailtrace.path_length", len(scope["path"]))
                if error_type:
                    span.set_status(StatusCode.ERROR)
                    if self.error is not None:
                        span.add_event("exception", exception_attributes(self.error))
            span.end(end_time=self.start_ns + self._elapsed_ns)
        self._measure(shape.attributes)

    def _measure(self, attributes: Any) -> None:
        if self._home.duration is not None and not self._websocket:
            self._home.duration.record(self._elapsed_ns / 1e9, attributes)

    def route(self) -> str:
        """Return the route's template, empty while nothing matched."""
        route = self._route
        if not route:
            inner = self._inner
            route = "" if inner is None else self._home.templates.of(inner, self._path, self._root_path)
            self._route = route
        return route

    def error_type(self) -> str:
        """Return `error.type` of what is known so far, empty for no error."""
        error = self.error
        if error is not None and (not self._status or self._status >= 500 or not self._complete):
            if self._is_departure(error):
                return ""
            return type_name(error)
        if self._status >= 500:
            return str(self._status)
        if self._complete or self._left or self._websocket or not self._ended:
            return ""
        return "incomplete_response"

    def _is_departure(self, error: BaseException) -> bool:
        """Return whether an exception only says that the client is gone."""
        if isinstance(error, BaseExceptionGroup):
            return all(self._is_departure(inner) for inner in error.exceptions)
        if type(error).__name__ in _GONE:
            return True
        return self._left and (error is self._send_error or isinstance(error, asyncio.CancelledError))


def _method(method: str) -> str:
    return method if method in _METHODS else "_OTHER"


def method_of(scope: Scope) -> str:
    """Return `http.request.method`: one of the known ones or `_OTHER`. A websocket begins as a GET."""
    return _method(scope.get("method", "GET"))


class Failing:
    """Stands behind the layer that makes an exception an error answer, and notes it before that answer is sent."""

    __slots__ = ("app",)

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; note what leaves."""
        try:
            await self.app(scope, receive, send)
        except BaseException as error:
            exchange = scope.get(EXCHANGE_KEY)
            if exchange is not None:
                exchange.error = error
            raise


__all__ = ["EXCHANGE_KEY", "App", "Exchange", "Failing", "Message", "Receive", "Scope", "Send", "header", "method_of"]

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

An exception on its way out is seen when the error answer begins (`look_for_error`): a 5xx need not wait for what comes
after the answer. Whatever goes wrong in here costs the span, never the answer. When the request is over, an
exchange lets go of scope and exception: it is in no cycle, and keeps nothing alive.
"""

import asyncio
import logging
from typing import Any

from tailtrace.answer import Answer, Message, Receive, Scope, Send
from tailtrace.light_span import PATH_LENGTH_MAX, LightSpan, exception_attributes, type_name

_STARTS = {"http.response.start": 200, "websocket.accept": 101, "websocket.http.response.start": 403}
_ENDS = frozenset({"http.response.body", "http.response.trailers", "http.response.pathsend"})
_LEAVES = frozenset({"http.disconnect", "websocket.disconnect"})
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})

logger = logging.getLogger("tailtrace")


class Exchange(Answer):
    """What is known of a request and its answer so far."""

    __slots__ = (
        "_complete",
        "_elapsed_ns",
        "_ended",
        "_left",
        "_receive",
        "_send_error",
        "_trailers",
        "_websocket",
        "marked",
        "mirror",
        "raised",
        "scope",
        "span",
        "start_ns",
    )

    def __init__(self, home: Any, scope: Scope, receive: Receive, send: Send, started_ns: int) -> None:
        super().__init__(home, send, started_ns)
        self.scope: Scope | None = scope
        self._receive = receive
        self.start_ns = 0
        self._websocket = scope["type"] == "websocket"
        self._status = 0
        self._elapsed_ns = -1
        self._complete = self._ended = self._left = self._trailers = False
        self._send_error: BaseException | None = None
        self.marked = False
        self.span: Any = None
        self.mirror: Send | None = None
        self.raised: BaseException | None = None

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
            self.look_for_error()
            if self.marked and kind == "http.response.start":
                message = self.with_header(message)
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
        super().over()
        self.scope = self.raised = self._send_error = None

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
        if span.is_sampled():
            self._home.worker.put(span)
        else:
            self._home.late.end(span)
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

    def error_type(self) -> str:
        """Return `error.type` of what is known so far, empty for no error."""
        error = self.error
        if error is not None and (not self._status or self._status >= 500 or not self._complete):
            return "" if self.is_departure(error) else type_name(error)
        if self._status >= 500:
            return str(self._status)
        if self._complete or self._left or self._websocket or not self._ended:
            return ""
        return "incomplete_response"

    def is_departure(self, error: BaseException) -> bool:
        """Return whether an exception only says that the client is gone, or comes of its leaving."""
        if self._left and (error is self._send_error or isinstance(error, asyncio.CancelledError)):
            return True
        return super().is_departure(error)


def _method(method: str) -> str:
    return method if method in _METHODS else "_OTHER"


def method_of(scope: Scope) -> str:
    """Return `http.request.method`: one of the known ones or `_OTHER`. A websocket begins as a GET."""
    return _method(scope.get("method", "GET"))

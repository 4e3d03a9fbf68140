"""A SERVER span and a duration for each request, around an app that must not notice.

OpenTelemetry's ASGI middleware starts the span: parent from `traceparent`, stable HTTP attributes, exclusions, headers
that the user asked to capture. It works on a copy. It gets a copy of the scope without the query string, and a `send`
that goes nowhere; the app gets the real ones. So no secret of a query string is in a span, and no fault in telemetry,
nor in what a client sent, can change an answer: the worst is a request without a span.

    server ── Tracing ── OpenTelemetryMiddleware ── _inside ── app
       │      keeps the real scope,      sees the copy      │    gets the real
       └────── receive and send ────────────────────────────┘    ones back

The rules of a span:

| what | when, or what it says |
|---|---|
| end | the last byte of the answer handed to the server: a stream counts whole, background tasks not at all |
| `http.route` | the full template (`route`), none where nothing matched |
| `error.type` | an exception that left the app: its class; else of a 5xx its number, or `incomplete_response` |
| exception event | class and the lines of the stack; never its message, which may quote the user's data |
| websocket | one span for the connection, status 101 or the refusal's; closing it is no error; not in the histogram |
| excluded, or already traced by an outer app | no span, neither from us nor from FastAPI's own telemetry |
"""

import logging
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry.instrumentation._semconv import HTTP_DURATION_HISTOGRAM_BUCKETS_NEW, _StabilityMode
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # type: ignore[import-untyped,unused-ignore]
from opentelemetry.metrics import Histogram, MeterProvider, NoOpMeterProvider
from opentelemetry.trace import Span, StatusCode, TracerProvider, set_span_in_context

from tailtrace import route

SCHEMA_URL = "https://opentelemetry.io/schemas/1.21.0"
PATH_LENGTH_MAX = 2048
"""Characters of `url.path`; the rest of a longer path is cut, and `tailtrace.path_length` says how long it was."""
STACK_FRAMES_MAX = 50
EXCHANGE_KEY = "tailtrace.exchange"
_NATIVE_KEY = "fastapi.telemetry"  # Present in a scope, it keeps FastAPI's own telemetry (0.16x) from a second span.

logger = logging.getLogger("tailtrace")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Tracing:
    """The outermost ASGI layer of an instrumented app; it also flushes when the app's lifespan ends."""

    def __init__(
        self,
        app: App,
        *,
        tracer_provider: TracerProvider,
        meter_provider: MeterProvider,
        excluded_urls: str,
        flush: Callable[[], Awaitable[None]],
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._bare = app
        self._flush = flush
        self._clock_ns = clock_ns
        self._wall_ns = wall_ns
        self._fault_told = False
        tracer = tracer_provider.get_tracer("tailtrace", schema_url=SCHEMA_URL)
        self._duration = meter_provider.get_meter("tailtrace", schema_url=SCHEMA_URL).create_histogram(
            "http.server.request.duration",
            unit="s",
            description="Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=HTTP_DURATION_HISTOGRAM_BUCKETS_NEW,
        )
        # Named `app` because FastAPI looks for the middleware along this name, to leave the tracing to it.
        self.app = OpenTelemetryMiddleware(
            _inside,
            excluded_urls=excluded_urls,
            default_span_details=lambda scope: (scope.get("method", "WS"), {}),
            server_request_hook=_keep_span,
            exclude_spans=["send", "receive"],
            tracer=tracer,
            # Its histogram would count background tasks and know no route: ours replaces it.
            meter=NoOpMeterProvider().get_meter("tailtrace"),
        )
        # The variable that chooses the stable names is read once for the whole process, perhaps before us.
        self.app._sem_conv_opt_in_mode = _StabilityMode.HTTP  # noqa: SLF001

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Trace a request or a websocket; pass on whatever else there is."""
        if scope["type"] == "lifespan":
            await self._bare(scope, receive, self._flushing(send))
            return
        if scope["type"] not in {"http", "websocket"} or EXCHANGE_KEY in scope:
            await self._bare(scope, receive, send)
            return
        exchange = _Exchange(self._bare, scope, receive, send, self._duration, self._clock_ns, self._wall_ns)
        scope[EXCHANGE_KEY] = exchange
        scope[_NATIVE_KEY] = None
        path = scope.get("path", "")
        shadow = {**scope, "query_string": b"", "path": path[:PATH_LENGTH_MAX]}
        try:
            await self.app(shadow, receive, _nowhere)
        except Exception as fault:
            if fault is exchange.error:
                raise
            self._tell(fault)
        if not exchange.entered:
            await self._bare(scope, receive, send)

    def _flushing(self, send: Send) -> Send:
        async def flush_then_send(message: Message) -> None:
            if message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"}:
                await self._flush()
            await send(message)

        return flush_then_send

    def _tell(self, fault: Exception) -> None:
        if not self._fault_told:
            self._fault_told = True
            logger.warning(
                "a request was served but not traced: %s: %s; further ones are not logged", type(fault).__name__, fault
            )


class _Exchange:
    """One request and its answer: what is known of them so far."""

    __slots__ = (
        "_app",
        "_clock_ns",
        "_complete",
        "_duration",
        "_elapsed_ns",
        "_ended",
        "_receive",
        "_root_app",
        "_root_path",
        "_send",
        "_started_ns",
        "_status",
        "_trailers",
        "_wall_ns",
        "_wall_started_ns",
        "entered",
        "error",
        "scope",
        "span",
    )

    def __init__(
        self,
        app: App,
        scope: Scope,
        receive: Receive,
        send: Send,
        duration: Histogram,
        clock_ns: Callable[[], int],
        wall_ns: Callable[[], int],
    ) -> None:
        self._app = app
        self.scope = scope
        self._receive = receive
        self._send = send
        self._duration = duration
        self._clock_ns = clock_ns
        self._started_ns = clock_ns()
        self._wall_started_ns = wall_ns()
        self._root_app = scope.get("app")
        self._root_path = scope.get("root_path", "").rstrip("/")
        self._status = 0
        self._elapsed_ns = 0
        self._complete = False
        self._trailers = False
        self._ended = False
        self.span: Span | None = None
        self.entered = False
        self.error: BaseException | None = None

    async def run(self, mirror: Send) -> None:
        """Run the app with the real scope, receive and send; `mirror` is shown the start of the answer."""
        self.entered = True
        if self.span is None:  # Excluded.
            await self._app(self.scope, self._receive, self._send)
            return

        async def send(message: Message) -> None:
            kind = message["type"]
            if kind in _STARTS:
                self._status = message.get("status", _STARTS[kind])
                self._trailers = bool(message.get("trailers", False))
                if kind == "http.response.start":
                    await self._show(mirror, message)
            elif kind == "websocket.close" and not self._status:
                self._status = 403
            await self._send(message)
            if kind in _ENDS and not message.get("more_body") and not message.get("more_trailers"):
                self._answered(kind)

        try:
            await self._app(self.scope, self._receive, send)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._end()

    async def _show(self, mirror: Send, message: Message) -> None:
        """Let OpenTelemetry capture the answer's headers that the user asked for."""
        try:
            await mirror(message)
        except Exception:
            logger.debug("the headers of an answer were not captured", exc_info=True)

    def _answered(self, kind: str) -> None:
        if self._complete or (self._trailers and kind == "http.response.body"):
            return
        self._complete = True
        self._elapsed_ns = self._clock_ns() - self._started_ns
        if self._status < 500:  # After a 5xx the exception behind it may still come: the span waits for it.
            self._end()

    def _end(self) -> None:
        """End the span, once. Nothing in here may reach the app."""
        if self._ended or self.span is None:
            return
        self._ended = True
        try:
            self._describe(self.span)
        except Exception:
            logger.debug("a span was ended incomplete", exc_info=True)
            self.span.end()

    def _describe(self, span: Span) -> None:
        scope = self.scope
        websocket = scope["type"] == "websocket"
        if not self._complete:
            self._elapsed_ns = self._clock_ns() - self._started_ns
        method = "GET" if websocket else _method(scope["method"])
        attributes: dict[str, str | int] = {"http.request.method": method}
        template = route.template(scope, self._root_app, self._root_path)
        if template:
            attributes["http.route"] = template
        if self._status:
            attributes["http.response.status_code"] = self._status
        error_type = self._error_type(websocket=websocket)
        if error_type:
            attributes["error.type"] = error_type
        if span.is_recording():
            span.set_attributes(attributes)
            span.update_name(f"{'HTTP' if method == '_OTHER' else method} {template}".rstrip())
            if len(scope.get("path", "")) > PATH_LENGTH_MAX:
                span.set_attribute("tailtrace.path_length", len(scope["path"]))
            if error_type:
                span.set_status(StatusCode.ERROR)
                if self.error is not None:
                    span.add_event("exception", _exception_attributes(self.error, error_type))
        span.end(end_time=self._wall_started_ns + self._elapsed_ns)
        if not websocket:
            attributes["url.scheme"] = scope.get("scheme", "http")
            attributes["network.protocol.version"] = scope.get("http_version", "1.1")
            # With the span as context, a sample of the histogram can name its trace.
            self._duration.record(max(self._elapsed_ns, 0) / 1e9, attributes, context=set_span_in_context(span))

    def _error_type(self, *, websocket: bool) -> str:
        if self.error is not None:
            kind = type(self.error)
            if websocket and kind.__name__ == "WebSocketDisconnect":
                return ""
            return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        if self._status >= 500:
            return str(self._status)
        return "" if self._complete or websocket else "incomplete_response"


_STARTS = {"http.response.start": 200, "websocket.accept": 101, "websocket.http.response.start": 403}
_ENDS = frozenset({"http.response.body", "http.response.trailers", "http.response.pathsend"})
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})


def _method(method: str) -> str:
    return method if method in _METHODS else "_OTHER"


def _exception_attributes(error: BaseException, error_type: str) -> dict[str, str]:
    frames = traceback.extract_tb(error.__traceback__)[-STACK_FRAMES_MAX:]
    return {"exception.type": error_type, "exception.stacktrace": "".join(traceback.format_list(frames))}


def _keep_span(span: Span, scope: Scope) -> None:
    scope[EXCHANGE_KEY].span = span


async def _inside(scope: Scope, _receive: Receive, mirror: Send) -> None:
    await scope[EXCHANGE_KEY].run(mirror)


async def _nowhere(_message: Message) -> None:
    """Swallow what OpenTelemetry sends on: the answer is sent by the app itself."""

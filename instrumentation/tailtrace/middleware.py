"""The outermost ASGI layer of an instrumented app: starts a request's span, runs the app below it, never disturbs it.

    server ── Tracing ── ServerErrorMiddleware ── the user's middlewares ── router (watched, see `route`)
               │ Exchange: receive and send, looked at             context: the span, current for the app
               │ Answer: only send

| a request | gets |
|---|---|
| sampled by `traceparent`, or without one | a span, SERVER, child of what `traceparent` names and of nothing else |
| not sampled | no span, an `Answer`; the parent's ids, so that its children are none either |
| not sampled, where such spans are kept (`late`) | a span that is sent for an error or a slow answer alone |
| excluded, or in a process that exports none | no span, an `Answer` |
| with the marker of nginx's include files | the response header, with a span or without (`header`) |
| inside an app that is traced already | nothing of its own |

What context the server called with is not looked at: it may be an earlier request's, or one around the whole server.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanKind

from tailtrace import header, traceparent
from tailtrace.answer import EXCHANGE_KEY, Answer, App, Message, Receive, Scope, Send
from tailtrace.encoding import client_attributes
from tailtrace.exchange import Exchange, method_of
from tailtrace.header import MARKER, MARKER_VALUE
from tailtrace.invalid import Invalid
from tailtrace.light_span import PATH_LENGTH_MAX, LightSpan, Shape, Unsampled, context_of
from tailtrace.route import Templates, watch
from tailtrace.senders import SCHEMA_URL, Origin
from tailtrace.settings import EXCLUDED_PATHS, EXCLUDED_URLS
from tailtrace.traceparent import is_unsampled

CACHED_MAX = 4096
"""Routes by method and status, and ends of the response header, that are kept; further ones are made each time."""
_NATIVE_KEY = "fastapi.telemetry"  # Present in a scope, it keeps FastAPI's own telemetry (0.16x) from a second span.

logger = logging.getLogger("tailtrace")


class Tracing:
    """See above. `pipeline` is None for an app that only sends the response header."""

    def __init__(
        self,
        bare: App,
        app: Any,
        *,
        origin: Origin,
        pipeline: Any,
        excluded_urls: str,
        response_header: str,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._bare = bare
        self._origin = origin
        self._context = dict(origin.context)
        self._pipeline = pipeline
        self._excluded_urls = excluded_urls
        self._excluded_paths = EXCLUDED_PATHS if excluded_urls is EXCLUDED_URLS else frozenset[str]()
        self._users_exclude = excluded_urls not in {"", EXCLUDED_URLS}
        self._excluded: Any = None  # The user's own, once it is asked for.
        self.header = response_header.lower().encode()
        """The response header's name; empty for none."""
        self._marker: object = MARKER_VALUE if self.header else _NEVER
        self._service = origin.text("service.name")
        self._version = origin.text("service.version")
        self.clock_ns = clock_ns
        self._wall_ns = wall_ns
        self._fault_told = False
        self._opened = pipeline is None
        self._sdk_way: Any = None
        self._shapes: dict[tuple[Any, ...], Shape] = {}
        self._tails: dict[tuple[str, str, str], bytes] = {}
        self.plain_tails: dict[str, bytes] = {}
        """Of answers that were no error, `tail` by route."""
        self.invalid = Invalid()
        self.worker = pipeline.worker if pipeline is not None else None
        self.late = pipeline.late if pipeline is not None else None
        self.duration: Any = None
        self.templates = Templates(app, lambda inner: watch(inner, EXCHANGE_KEY))
        watch(app, EXCHANGE_KEY)
        self.outermost = getattr(type(bare).__call__, "__code__", None)
        """Where an exception that leaves the app is made an answer: Starlette's ServerErrorMiddleware."""
        # FastAPI looks along this name for OpenTelemetry's layer, and leaves the tracing to it if it is there.
        self.app: Any = bare if pipeline is None else self._sdk().layer

    def _sdk(self) -> Any:
        if self._sdk_way is None:
            from tailtrace.sdk_way import SdkWay  # noqa: PLC0415

            self._sdk_way = SdkWay(self._excluded_urls)
        return self._sdk_way

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Trace a request or a websocket; pass on whatever else there is."""
        kind = scope["type"]
        if kind in _TRACED and EXCHANGE_KEY not in scope:
            try:
                return self._way(scope, receive, send)
            except Exception as fault:  # noqa: BLE001
                self.tell(fault)
        elif kind == "lifespan":
            send = self._flushing(send)
        return self._bare(scope, receive, send)

    def _way(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Return how a request is run: with a span, the SDK's way, without a span, or as if we were not there."""
        started_ns = self.clock_ns()
        if not self._opened:
            self._open()
        marker, parent, others = _read(scope["headers"])
        marked = marker == self._marker
        span = self._span(scope, parent, others)
        current: Any = None
        if span is not None and span is not _SDK:
            current = Context({**self._context, _SPAN_KEY: span})
            if others:
                current = _with_baggage(current, others)
        if self.duration is None and (span is None or type(span) is Unsampled):
            if span is None and not marked:
                return self._bare(scope, receive, send)
            return self._answer(scope, receive, send, Answer(self, send, started_ns) if marked else None, current)
        exchange = Exchange(self, scope, receive, send, started_ns)
        exchange.marked = marked
        if type(span) is LightSpan:
            exchange.span = span
            exchange.start_ns = span.start_ns
        else:
            exchange.start_ns = self._wall_ns()
        if span is _SDK:
            start = _SdkStart(self, receive, traceparent.parse(parent), others.get(b"tracestate"))
            return self._trace_by_sdk(exchange, scope, start)
        return self._trace(exchange, scope, current)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, answer: Answer | None, current: Any) -> None:
        """Run a request that has no span."""
        if answer is not None:
            scope[EXCHANGE_KEY] = answer
            send = answer.send
        if self._pipeline is not None:
            scope[_NATIVE_KEY] = None
        token = None if current is None else _RUNTIME.attach(current)
        try:
            await self._bare(scope, receive, send)
        except GeneratorExit:  # Closed from outside, in a context that is not ours.
            token = None
            raise
        finally:
            if token is not None:
                _RUNTIME.detach(token)
            if answer is not None:
                answer.inner = answer.error = None  # What `over` does, without the call.
                scope.pop(EXCHANGE_KEY, None)

    async def _trace(self, exchange: Exchange, scope: Scope, current: Any) -> None:
        self._enter(exchange, scope)
        try:
            await self.run(exchange, scope, current)
        finally:
            exchange.over()
            scope.pop(EXCHANGE_KEY, None)

    async def _trace_by_sdk(self, exchange: Exchange, scope: Scope, start: "_SdkStart") -> None:
        self._enter(exchange, scope)
        try:
            if not await self._sdk()(start, exchange, scope):
                await self.run(exchange, scope, None)
        finally:
            exchange.over()
            scope.pop(EXCHANGE_KEY, None)

    def _enter(self, exchange: Exchange, scope: Scope) -> None:
        scope[EXCHANGE_KEY] = exchange
        if self._pipeline is not None:
            scope[_NATIVE_KEY] = None

    async def run(self, exchange: Exchange, scope: Scope, current: Any) -> None:
        """Run the app with a context as its current one, if there is one."""
        token = None if current is None else _RUNTIME.attach(current)
        try:
            await self._bare(scope, exchange.receive, exchange.send)
        except BaseException as error:
            if exchange.error is None:
                exchange.error = error
            exchange.raised = error
            if isinstance(error, GeneratorExit):  # Closed from outside, in a context that is not ours.
                token = None
            raise
        finally:
            exchange.end()
            if token is not None:
                _RUNTIME.detach(token)

    def _span(self, scope: Scope, value: bytes | None, others: Mapping[bytes, bytes]) -> Any:
        """Return the request's span, `Unsampled`, `_SDK` for one that the SDK makes, or None for none."""
        pipeline = self._pipeline
        if pipeline is None:
            return None
        if not pipeline.light:
            return None if self._provider() is None else _SDK
        if self._is_excluded(scope):
            return None
        if value is not None and self.late is None and is_unsampled(value):
            return Unsampled(value, others.get(b"tracestate"))
        return self._light_span(scope, traceparent.parse(value))

    def _light_span(self, scope: Scope, parent: traceparent.Parent | None) -> LightSpan:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        span = LightSpan(self._origin, parent, self._wall_ns())
        span.state = headers.get(b"tracestate") if parent is not None else None
        span.path = scope.get("path", "")
        span.host = headers.get(b"host")
        span.user_agent = headers.get(b"user-agent")
        span.client = scope.get("client")
        return span

    def _is_excluded(self, scope: Scope) -> bool:
        return scope.get("path") in self._excluded_paths or (self._users_exclude and self._users_exclude_it(scope))

    def _users_exclude_it(self, scope: Scope) -> bool:
        if self._excluded is None:
            from opentelemetry.util.http import parse_excluded_urls  # noqa: PLC0415

            self._excluded = parse_excluded_urls(self._excluded_urls)
        host: str = dict(scope["headers"]).get(b"host", b"localhost").decode("latin-1")
        return bool(self._excluded.url_disabled(f"{scope.get('scheme', 'http')}://{host}{scope.get('path', '')}"))

    def _open(self) -> None:
        self._opened = True
        pipeline = self._pipeline
        pipeline.open(self._origin)
        if pipeline.measures:
            from opentelemetry import metrics  # noqa: PLC0415

            self.duration = (
                metrics.get_meter_provider()
                .get_meter("tailtrace", schema_url=SCHEMA_URL)
                .create_histogram(
                    "http.server.request.duration",
                    unit="s",
                    description="Duration of HTTP server requests.",
                    explicit_bucket_boundaries_advisory=_BUCKETS_S,
                )
            )

    def _provider(self) -> Any:
        return self._pipeline.tracer_provider(self._origin)

    def start_sdk_span(self, exchange: Exchange, parent: Any, state: bytes | None) -> Any:
        """Start a span with the user's provider, or with ours where the SDK is asked for."""
        scope: Scope = exchange.scope or {}
        current = self._origin.context
        if parent is not None:
            current = trace.set_span_in_context(NonRecordingSpan(context_of(parent, state)), current)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        client = scope.get("client")
        attributes: dict[str, Any] = {
            "http.request.method": method_of(scope),
            "url.path": scope.get("path", "")[:PATH_LENGTH_MAX],
            "url.scheme": scope.get("scheme", "http"),
            "network.protocol.version": scope.get("http_version", "1.1"),
            **client_attributes(headers.get(b"host"), headers.get(b"user-agent"), client[0] if client else None),
        }
        tracer = self._provider().get_tracer("tailtrace", schema_url=SCHEMA_URL)
        method = method_of(scope)
        return tracer.start_span(
            "HTTP" if method == "_OTHER" else method,
            context=current,
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=exchange.start_ns,
        )

    def shape(self, scope: Scope | None, status: int, route: str, error_type: str) -> Shape:
        """Return what requests of one route, method and status have in common."""
        scope = scope or {}
        key = (scope.get("method"), route, status, error_type, scope.get("scheme"), scope.get("http_version"))
        shape = self._shapes.get(key)
        if shape is None:
            shape = _new_shape(scope, status, route, error_type)
            if len(self._shapes) < CACHED_MAX:
                self._shapes[key] = shape
        return shape

    def tail(self, route: str, error_type: str, invalid: str) -> bytes:
        """Return what answers of one route and error have in common in our header."""
        key = (route, error_type, invalid)
        tail = self._tails.get(key)
        if tail is None:
            tail = header.tail(route, error_type, invalid, self._service, self._version)
            if len(self._tails) < CACHED_MAX:
                self._tails[key] = tail
                if not error_type and not invalid:
                    self.plain_tails[route] = tail
        return tail

    def _flushing(self, send: Send) -> Send:
        async def flush_then_send(message: Message) -> None:
            try:
                if message["type"] == "lifespan.startup.complete" and not self._opened:
                    self._open()
                if message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"} and self.worker:
                    await self.worker.flush()
            except Exception as fault:  # noqa: BLE001
                self.tell(fault)
            await send(message)

        return flush_then_send

    def tell(self, fault: Exception) -> None:
        """Log the first fault of ours."""
        if not self._fault_told:
            self._fault_told = True
            logger.warning(
                "a request was served but not traced: %s: %s; further ones are not logged", type(fault).__name__, fault
            )


_SDK = object()
_RUNTIME: Any = getattr(context, "_RUNTIME_CONTEXT", context)
"""What `context.attach` and `detach` hand on to."""
(_SPAN_KEY,) = trace.set_span_in_context(INVALID_SPAN, Context())
"""Where a context has its span: `set_span_in_context` would copy the context twice."""
_TRACED = frozenset({"http", "websocket"})
_READ = frozenset({MARKER, b"traceparent", b"tracestate", b"baggage"})
_NEVER = object()
_NO_HEADERS: dict[bytes, bytes] = {}
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration"""


class _SdkStart:
    """What the SDK's way needs of the layer, for one request."""

    __slots__ = ("_home", "_parent", "_state", "receive", "tell")

    def __init__(self, home: Tracing, receive: Receive, parent: Any, state: bytes | None) -> None:
        self._home = home
        self._parent = parent
        self._state = state
        self.receive = receive
        self.tell = home.tell

    def start_sdk_span(self, exchange: Exchange) -> Any:
        return self._home.start_sdk_span(exchange, self._parent, self._state)

    async def run(self, exchange: Exchange, scope: Scope) -> None:
        span = exchange.span
        current = None if span is None else trace.set_span_in_context(span, self._home._origin.context)  # noqa: SLF001
        await self._home.run(exchange, scope, current)


def _read(headers: Sequence[tuple[bytes, bytes]]) -> tuple[bytes | None, bytes | None, Mapping[bytes, bytes]]:
    """Return the marker, `traceparent`, and all headers if a tracestate or baggage is among them.

    A dictionary of all would cost more than what most requests are asked here.
    """
    marker: bytes | None = None
    parent: bytes | None = None
    others = _NO_HEADERS
    for pair in headers:
        name = pair[0]
        if name in _READ:
            if name == b"traceparent":
                parent = pair[1] if parent is None else b""  # Twice, it is against the grammar.
            elif name == MARKER:
                marker = pair[1]
            else:
                others = dict(headers)
    return marker, parent, others


def _with_baggage(current: Any, headers: Mapping[bytes, bytes]) -> Any:
    if b"baggage" not in headers:
        return current
    from opentelemetry.baggage.propagation import W3CBaggagePropagator  # noqa: PLC0415

    return W3CBaggagePropagator().extract({"baggage": headers[b"baggage"].decode("latin-1")}, current)


def _new_shape(scope: Scope, status: int, route: str, error_type: str) -> Shape:
    method = method_of(scope)
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
    }
    if route:
        attributes["http.route"] = route
    if status:
        attributes["http.response.status_code"] = status
    if error_type:
        attributes["error.type"] = error_type
    name = f"{'HTTP' if method == '_OTHER' else method} {route}".rstrip()
    return Shape(name, MappingProxyType(attributes), bool(error_type))

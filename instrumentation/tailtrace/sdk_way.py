"""A request's span by the SDK and OpenTelemetry's ASGI middleware, where the user has set up either.

The middleware does what its variables say: exclusion, headers to capture and to sanitise, response propagation. It
works on a copy. It gets a copy of the scope without the query string, and a `send` that goes nowhere; the app gets the
real ones. And what it is given to start spans with is ours:

    middleware ── Tracing ── OpenTelemetryMiddleware ── _inside ── app
                   │           starts a span through │
                   │           `_Tracer`: the user's provider, the parent of `traceparent`, SERVER, stable names
                   └── attaches a context that is no request's, so that no propagator and no leftover has a say

What it then sets on the span by itself are the names of before 2024, unless `OTEL_SEMCONV_STABILITY_OPT_IN` says
otherwise: they are passed on only for `http/dup`, which asks for both.
"""

import os
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # type: ignore[import-untyped,unused-ignore]
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, Span, SpanKind

from tailtrace.answer import EXCHANGE_KEY, Message, Receive, Scope, Send
from tailtrace.exchange import Exchange
from tailtrace.light_span import PATH_LENGTH_MAX

_EXCHANGE = context_api.create_key("tailtrace.exchange")
_STARTED = context_api.create_key("tailtrace.started")


class SdkWay:
    """OpenTelemetry's layer, and how a request goes through it."""

    def __init__(self, excluded_urls: str) -> None:
        self.layer = OpenTelemetryMiddleware(
            _inside,
            excluded_urls=excluded_urls,
            default_span_details=lambda scope: (scope.get("method", "GET"), {}),
            exclude_spans=["send", "receive"],
            tracer=_Tracer("http/dup" in os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "")),
            # Its histogram would count background tasks and know no route.
            meter=NoOpMeterProvider().get_meter("tailtrace"),
        )

    async def __call__(self, start: Any, exchange: Exchange, scope: Scope) -> bool:
        """Run the app below a span of `start`; return whether it was run at all. Raises what the app raised."""
        shadow = {**scope, "query_string": b"", "path": scope.get("path", "")[:PATH_LENGTH_MAX]}
        shadow["headers"] = [pair for pair in scope.get("headers", ()) if _is_text(pair[0]) and _is_text(pair[1])]
        visit = _Visit(start, exchange)
        strange = trace.set_span_in_context(NonRecordingSpan(INVALID_SPAN_CONTEXT), Context())
        token = context_api.attach(context_api.set_value(_EXCHANGE, visit, strange))
        shadow[_EXCHANGE] = visit
        try:
            await self.layer(shadow, start.receive, _nowhere)
        except Exception as fault:
            if fault is exchange.raised:
                raise
            start.tell(fault)
        finally:
            context_api.detach(token)
        return visit.entered


class _Visit:
    """One request's way through the layer."""

    __slots__ = ("entered", "exchange", "start")

    def __init__(self, start: Any, exchange: Exchange) -> None:
        self.start = start
        self.exchange = exchange
        self.entered = False


class _Tracer(trace.Tracer):
    """Starts what OpenTelemetry's layer asks for, but as a request's span has to be."""

    def __init__(self, both_names: bool) -> None:
        self._both_names = both_names

    def start_span(self, name: str, context: Context | None = None, *_: Any, **__: Any) -> Span:  # noqa: ARG002
        """Start the request's span with the user's provider."""
        visit: Any = context_api.get_value(_EXCHANGE, context)
        visit.exchange.span = visit.start.start_sdk_span(visit.exchange)
        return _Facade(visit.exchange.span, self._both_names)

    def start_as_current_span(self, name: str, *_: Any, **__: Any) -> Any:
        """Never asked for: send and receive have no spans."""
        raise NotImplementedError


class _Facade(Span):
    """What OpenTelemetry's layer sees of the span: it adds captured headers, and may not end or name it."""

    kind = SpanKind.SERVER

    def __init__(self, span: Span, both_names: bool) -> None:
        self._span = span
        self._both_names = both_names

    def get_span_context(self) -> trace.SpanContext:
        return self._span.get_span_context()

    def is_recording(self) -> bool:
        return self._span.is_recording()

    def set_attributes(self, attributes: Any) -> None:
        self._span.set_attributes(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        if self._both_names:
            self._span.set_attribute(key, value)

    def end(self, end_time: int | None = None) -> None:
        pass

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        pass

    def update_name(self, name: str) -> None:
        pass

    def set_status(self, status: Any, description: str | None = None) -> None:
        pass

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        pass


async def _inside(scope: Scope, _receive: Receive, mirror: Send) -> None:
    visit = scope[_EXCHANGE]
    visit.entered = True
    exchange: Exchange = visit.exchange
    exchange.mirror = mirror
    await visit.start.run(exchange, scope[EXCHANGE_KEY].scope)


async def _nowhere(_message: Message) -> None:
    """Swallow what OpenTelemetry sends on: the answer is sent by the app itself."""


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True

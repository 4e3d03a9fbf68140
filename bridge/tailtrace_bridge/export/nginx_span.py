"""A row in, nginx's spans out, as OTLP. Pure.

| span | kind | id | parent | from, to |
|---|---|---|---|---|
| the request | SERVER | nginx's own (`$request_id`) | the trusted peer's, or none: the root | as nginx saw it |
| each server that nginx asked | CLIENT | derived from trace, span and its place | the request | see below |

The app's SERVER span hangs below the request too: nginx writes one `traceparent` for all attempts. Ids are a function
of the row, so a line that is read again makes the same spans. A line of a foreign format has no ids: they are derived
from its key and its time.

nginx logs how long each attempt took, not when it began. They are laid one behind the other from the request's begin;
what is left behind them is the answer's way to the client (and, for an upload, the body's way in).

Names are the stable HTTP conventions (https://opentelemetry.io/docs/specs/semconv/http/http-spans/). The person is in
`user.id` and `user.name` (https://opentelemetry.io/docs/specs/semconv/registry/attributes/user/): `enduser.*` was
deprecated in their favour, came back for browsers, and is being left again by instrumentations. What these have no
word for is `tailscale.*` and `nginx.*`.

An attribute repeats from span to span far more often than not. So each is encoded once and remembered, and a span is
its ids and times with the attributes' bytes behind them: concatenated protobuf messages merge
(https://protobuf.dev/programming-guides/encoding/#last-one-wins). `bench/trace_export.py` has what that saves.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from xxhash import xxh3_64, xxh3_128

from tailtrace_bridge.core.records import Access, Identity, Row
from tailtrace_bridge.identity.pseudonyms import Pseudonyms
from tailtrace_bridge.logs.exchange import Attempt, Exchange, attempts, read_exchange
from tailtrace_bridge.spans.otlp import NGINX_SCOPE

CLIENT_CLOSED = 499
ATTEMPTS_MAX = 16
"""Of one request; nginx tries each server of a group once."""
_NS = 1000
_SAMPLED = 1
_SPANS_OF_SCOPE, _SCOPES_OF_RESOURCE, _RESOURCES_OF_REQUEST = 2, 2, 1
"""Numbers of these fields in OTLP's trace.proto and trace_service.proto."""
_Value = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a person leaves the house."""

    names: bool = True
    """False: neither identity nor address, whatever the store has."""
    paths: bool = True
    """False: the route alone, no `url.path`."""
    agents: bool = True
    """False: no `user_agent.original`."""
    pseudonyms: Pseudonyms | None = None
    """Makes pseudonyms of what the store keeps as names."""


def resource(service: str, instance: str, host: str, version: str) -> tuple[Resource, InstrumentationScope]:
    """Return who says it: `service.name` of this nginx, the bridge's source as `service.instance.id`, the host."""
    named = {"service.name": service, "service.instance.id": instance, "host.name": host}
    attributes = [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in named.items() if value]
    return Resource(attributes=attributes), InstrumentationScope(name=NGINX_SCOPE, version=version)


def request_of(who: tuple[Resource, InstrumentationScope], spans: Iterable[bytes]) -> bytes:
    """Return an `ExportTraceServiceRequest` of encoded spans."""
    of_scope = ScopeSpans(scope=who[1]).SerializeToString() + b"".join(_field(_SPANS_OF_SCOPE, one) for one in spans)
    of_resource = ResourceSpans(resource=who[0]).SerializeToString() + _field(_SCOPES_OF_RESOURCE, of_scope)
    return _field(_RESOURCES_OF_REQUEST, of_resource)


def spans_of(row: Row, shown: Shown) -> list[bytes]:
    """Return the request's span, then one for each server asked, as encoded `Span`s."""
    access = row.access
    trace_id, span_id = ids_of(access)
    start_ns = access.time_us * _NS
    exchange = read_exchange(access.exchange)
    attributes = [*_request(row, exchange, shown), *_person(row.identity, access, shown)]
    path = access.path if shown.paths else ""
    made = [
        _span(
            Span(
                trace_id=trace_id,
                span_id=span_id,
                parent_span_id=bytes.fromhex(access.parent_span_id),
                flags=_SAMPLED,
                name=_name(access.method, row.route),
                kind=Span.SPAN_KIND_SERVER,
                start_time_unix_nano=start_ns,
                end_time_unix_nano=start_ns + (access.request_time_us or 0) * _NS,
                status=_ERROR if access.status >= 500 else None,
            ),
            attributes,
        )
    ]
    at_ns = start_ns
    for place, attempt in enumerate(attempts(exchange)[:ATTEMPTS_MAX]):
        end_ns = at_ns + (attempt.response_us or 0) * _NS
        made.append(
            _span(
                Span(
                    trace_id=trace_id,
                    span_id=_derived(trace_id, span_id, place),
                    parent_span_id=span_id,
                    flags=_SAMPLED,
                    name=_name(access.method, ""),
                    kind=Span.SPAN_KIND_CLIENT,
                    start_time_unix_nano=at_ns,
                    end_time_unix_nano=end_ns,
                    status=_ERROR if attempt.status >= 400 else None,
                ),
                _attempt(access.method, path, attempt, place),
            )
        )
        at_ns = end_ns
    return made


def ids_of(access: Access) -> tuple[bytes, bytes]:
    """Return the trace's and the span's id: nginx's, or for a line without ids what follows from the line."""
    if access.trace_id and access.span_id:
        return bytes.fromhex(access.trace_id), bytes.fromhex(access.span_id)
    name = b"%d %d" % (access.key, access.time_us)
    return bytes.fromhex(access.trace_id) or xxh3_128(name).digest(), xxh3_64(name).digest()


def _derived(trace_id: bytes, span_id: bytes, place: int) -> bytes:
    return xxh3_64(trace_id + span_id + bytes([place])).digest()


_ERROR = Status(code=Status.STATUS_CODE_ERROR)


def _name(method: str, route: str) -> str:
    """Return `{method} {http.route}`, or the method alone; `HTTP` for a method that HTTP does not know."""
    verb = "HTTP" if method == "_OTHER" else method
    return f"{verb} {route}" if route else verb


def _request(row: Row, exchange: Exchange, shown: Shown) -> Iterator[tuple[str, _Value]]:
    access = row.access
    yield "http.request.method", access.method
    yield "http.response.status_code", access.status
    yield "url.scheme", exchange.scheme
    if shown.paths:
        yield "url.path", access.path
    yield "http.route", row.route
    host, port = _host(exchange.host)
    yield "server.address", host or access.service
    yield "server.port", port
    yield "network.protocol.name", "http" if exchange.protocol.startswith("HTTP/") else ""
    yield "network.protocol.version", exchange.protocol.removeprefix("HTTP/").removesuffix(".0")
    yield "http.response.size", access.bytes_sent
    yield "http.request.size", _number(exchange.request_length)
    yield "http.response.body.size", _number(exchange.body_bytes_sent)
    if shown.agents:
        yield "user_agent.original", access.user_agent
    if access.status >= 500:
        yield "error.type", row.error_type or str(access.status)
    if access.status == CLIENT_CLOSED:
        yield "nginx.client_closed_request", True
    yield "nginx.upstream_cache_status", exchange.cache_status
    if access.service:
        yield "nginx.server_name", access.service
    if row.app_time_us is not None:
        yield "tailtrace.app.duration", row.app_time_us / 1e6


def _person(identity: Identity, access: Access, shown: Shown) -> Iterator[tuple[str, _Value]]:
    """Who asked. A request of nobody known says the kind, and why."""
    yield "tailscale.kind", identity.kind
    yield "tailscale.identity.reason", identity.reason
    yield "tailscale.tags", tuple(tag for tag in identity.tags.split(",") if tag)
    if not shown.names:
        return
    if shown.pseudonyms is not None:
        identity = shown.pseudonyms.identity(identity)
    yield "client.address", identity.address
    if access.peer and access.peer != "unix:" and shown.pseudonyms is None:
        yield "network.peer.address", access.peer
    yield "user.id", identity.user_id
    yield "user.name", identity.user
    yield "tailscale.user", identity.user
    yield "tailscale.node", identity.device
    yield "tailscale.node.id", identity.node_id
    yield "tailscale.via", identity.via


def _attempt(method: str, path: str, attempt: Attempt, place: int) -> Iterator[tuple[str, _Value]]:
    host, port = _host(attempt.address)
    yield "http.request.method", method
    yield "server.address", host
    yield "server.port", port
    yield "network.peer.address", host if _is_address(host) else ""
    if path and not host.startswith("unix:"):
        yield "url.full", f"http://{attempt.address}{path}"
    yield "http.response.status_code", attempt.status
    if attempt.status >= 400:
        yield "error.type", str(attempt.status)
    if place:
        yield "http.request.resend_count", place
    # Seconds, as nginx's variables have them.
    if attempt.connect_us is not None:
        yield "nginx.upstream_connect_time", attempt.connect_us / 1e6
    if attempt.header_us is not None:
        yield "nginx.upstream_header_time", attempt.header_us / 1e6
    if attempt.response_us is not None:
        yield "nginx.upstream_response_time", attempt.response_us / 1e6


def _span(span: Span, attributes: Iterable[tuple[str, _Value]]) -> bytes:
    """Encode a span; an attribute without a value is left out. 0.0 s is a value."""
    parts = [span.SerializeToString()]
    # `True` and `1`, and `1` and `1.0`, are one key to a cache: hence the type.
    parts += [
        _encoded(key, value, type(value).__name__) for key, value in attributes if value or isinstance(value, float)
    ]
    return b"".join(parts)


@lru_cache(maxsize=16_384)
def _encoded(key: str, value: _Value, kind: str) -> bytes:
    """Return the bytes of a span that has this attribute and nothing else."""
    del kind
    if isinstance(value, bool):
        said = AnyValue(bool_value=value)
    elif isinstance(value, int):
        said = AnyValue(int_value=value)
    elif isinstance(value, float):
        said = AnyValue(double_value=value)
    elif isinstance(value, tuple):
        said = AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=one) for one in value]))
    else:
        said = AnyValue(string_value=value)
    encoded: bytes = Span(attributes=[KeyValue(key=key, value=said)]).SerializeToString()
    return encoded


def _field(number: int, data: bytes) -> bytes:
    """Return a message as a field of another: https://protobuf.dev/programming-guides/encoding/#length-types ."""
    head = bytearray([number << 3 | 2])
    size = len(data)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + data


@lru_cache(maxsize=1024)
def _host(text: str) -> tuple[str, int]:
    """Split `host`, `host:port`, `[v6]:port` or `unix:/path`; 0 is no port."""
    if text.startswith("unix:"):
        return text, 0
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal() and len(port) <= 5):
        return text.strip("[]"), 0
    return host.strip("[]"), int(port)


@lru_cache(maxsize=1024)
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 15 else 0


def decoded(request: bytes) -> Sequence[Span]:
    """Read the spans of a request back; for tests and for who wants to look."""
    return [
        span
        for of_resource in ExportTraceServiceRequest.FromString(request).resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]

"""A row in, nginx's spans out, as OTLP. Pure.

| span | kind | id | parent | from, to |
|---|---|---|---|---|
| the request | SERVER | as the line says (`logs.format`) | the trusted peer's, or none: the root | as nginx saw it |
| each server that nginx asked | CLIENT | derived from trace, span and its place | the request | see below |

The app's SERVER span hangs below the request too: nginx writes one `traceparent` for all attempts. Ids are a function
of the row, so a line that is read again makes the same spans. A line of a foreign format has no ids: they are derived
from its key and its time.

nginx logs how long each attempt took, not when it began. They are laid one behind the other from the request's begin;
what is left behind them is the answer's way to the client (and, for an upload, the body's way in).

| of an attempt nginx has | `http.response.status_code` | `error.type` |
|---|---|---|
| a head of an answer | the server's | the same from 400 on |
| none, and 504 | none: this status is nginx's own | `timeout` |
| none, and another status: refused, reset, no HTTP, no server left | none | `no_response` |
| none, and no status: the client left | none | none: nothing failed |

Names are the stable HTTP conventions (https://opentelemetry.io/docs/specs/semconv/http/http-spans/). The person is in
`user.id` and `user.name` (https://opentelemetry.io/docs/specs/semconv/registry/attributes/user/): `enduser.*` was
deprecated in their favour, came back for browsers, and is being left again by instrumentations. What these have no
word for is `tailscale.*` and `nginx.*`.

Most of a span is the same in many: that is encoded once and remembered. What is each one's own (ids, times, sizes,
paths) `wire` writes. A span is these pieces one behind the other; `bench/trace_export.py` has what it costs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from xxhash import xxh3_64, xxh3_128

from tailtrace_bridge.core.records import Access, Identity, Row
from tailtrace_bridge.export import wire
from tailtrace_bridge.export.wire import field
from tailtrace_bridge.identity.pseudonyms import Pseudonyms
from tailtrace_bridge.logs.exchange import Attempt, Exchange, attempts, digits, read_exchange
from tailtrace_bridge.spans.otlp import NGINX_SCOPE

CLIENT_CLOSED, TIMED_OUT = 499, 504
ATTEMPTS_MAX = 16
"""Of one request; nginx tries each server of a group once."""
PORT_MAX = 65_535
_NS = 1000
_UNIX = "unix:"
_NO_NAME = "_"
"""What people write as `server_name` of a server that has none."""
_VERSIONS = {"HTTP/2.0": "2", "HTTP/3.0": "3"}
"""nginx's names of versions that have but one number: https://opentelemetry.io/docs/specs/semconv/registry/attributes/network/"""
_SAMPLED = 1
_SPANS_OF_SCOPE, _SCOPES_OF_RESOURCE, _RESOURCES_OF_REQUEST = 2, 2, 1
"""Numbers of these fields in OTLP's trace.proto and trace_service.proto."""
_Value = str | int | float | bool | tuple[str, ...]
_RESPONSE_SIZE, _REQUEST_SIZE = wire.Number("http.response.size"), wire.Number("http.request.size")
_BODY_SIZE, _APP_DURATION = wire.Number("http.response.body.size"), wire.Double("tailtrace.app.duration")
_CONNECT_TIME, _HEADER_TIME = wire.Double("nginx.upstream_connect_time"), wire.Double("nginx.upstream_header_time")
_RESPONSE_TIME = wire.Double("nginx.upstream_response_time")
_text = lru_cache(maxsize=16_384)(wire.text)


@dataclass(frozen=True, slots=True)
class Disclosure:
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
    of_scope = ScopeSpans(scope=who[1]).SerializeToString() + b"".join([field(_SPANS_OF_SCOPE, one) for one in spans])
    of_resource = ResourceSpans(resource=who[0]).SerializeToString() + field(_SCOPES_OF_RESOURCE, of_scope)
    return field(_RESOURCES_OF_REQUEST, of_resource)


def spans_of(row: Row, disclosure: Disclosure) -> list[bytes]:
    """Return the request's span, then one for each server asked, as encoded `Span`s."""
    access = row.access
    trace_id, span_id = ids_of(access)
    start_ns = access.time_us * _NS
    exchange = read_exchange(access.exchange)
    path = access.path if disclosure.paths else ""
    end_ns = start_ns + (access.request_time_us or 0) * _NS
    own = wire.head(trace_id, span_id, bytes.fromhex(access.parent_span_id), start_ns, end_ns)
    made = [own + _request(row, exchange, disclosure)]
    at_ns = start_ns
    for place, attempt in enumerate(attempts(exchange)[:ATTEMPTS_MAX]):
        end_ns = at_ns + (attempt.response_us or 0) * _NS
        own = wire.head(trace_id, _derived(trace_id, span_id, place), span_id, at_ns, end_ns)
        made.append(own + _attempt(access.method, path, attempt, place))
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


def _like(kind: Span.SpanKind.ValueType, name: str, *, is_error: bool) -> bytes:
    """Return what many spans have beside their attributes."""
    status = Status(code=Status.STATUS_CODE_ERROR) if is_error else None
    encoded: bytes = Span(flags=_SAMPLED, name=name, kind=kind, status=status).SerializeToString()
    return encoded


def _name(method: str, route: str) -> str:
    """Return `{method} {http.route}`, or the method alone; `HTTP` for a method that HTTP does not know."""
    verb = "HTTP" if method == "_OTHER" else method
    return f"{verb} {route}" if route else verb


def _request(row: Row, exchange: Exchange, disclosure: Disclosure) -> bytes:
    """Return the attributes of the request's span, encoded: what repeats as one piece, then what is each one's own."""
    access = row.access
    error = (row.error_type or str(access.status)) if access.status >= 500 else ""
    parts = [
        _kind_of_request(
            access.method, access.status, row.route, error, access.service,
            exchange.scheme, exchange.host, exchange.protocol, exchange.cache_status,
        ),
        _person(row.identity, access.peer, disclosure),
    ]  # fmt: skip
    if disclosure.paths:
        parts.append(_text("url.path", access.path))
    if disclosure.agents and access.user_agent:
        parts.append(_text("user_agent.original", access.user_agent))
    if access.bytes_sent:
        parts.append(_RESPONSE_SIZE(access.bytes_sent))
    if size := digits(exchange.request_length):
        parts.append(_REQUEST_SIZE(size))
    if size := digits(exchange.body_bytes_sent):
        parts.append(_BODY_SIZE(size))
    if row.app_time_us is not None:
        parts.append(_APP_DURATION(row.app_time_us / 1e6))
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _kind_of_request(
    method: str, status: int, route: str, error: str, service: str, scheme: str, asked: str, protocol: str, cache: str
) -> bytes:
    host, port = _host(asked)
    return _attributes(
        ("http.request.method", method),
        ("http.response.status_code", status),
        ("http.route", route),
        ("error.type", error),
        ("url.scheme", scheme),
        ("server.address", host or (service if service != _NO_NAME else "")),
        ("server.port", port),
        ("network.protocol.name", "http" if protocol.startswith("HTTP/") else ""),
        ("network.protocol.version", _VERSIONS.get(protocol, protocol.removeprefix("HTTP/"))),
        ("nginx.server_name", service),
        ("nginx.upstream_cache_status", cache),
        ("nginx.client_closed_request", status == CLIENT_CLOSED),
    ) + _like(Span.SPAN_KIND_SERVER, _name(method, route), is_error=status >= 500)


@lru_cache(maxsize=4096)
def _person(identity: Identity, peer: str, disclosure: Disclosure) -> bytes:
    """Return who asked. A request of nobody known says the kind, and why."""
    always: list[tuple[str, _Value]] = [
        ("tailscale.kind", identity.kind),
        ("tailscale.identity.reason", identity.reason),
        ("tailscale.tags", tuple(tag for tag in identity.tags.split(",") if tag)),
    ]
    if not disclosure.names:
        return _attributes(*always)
    if disclosure.pseudonyms is not None:
        identity = disclosure.pseudonyms.identity(identity)
    return _attributes(
        *always,
        ("client.address", "" if identity.address == "unix:" else identity.address),
        ("network.peer.address", "" if peer == "unix:" or disclosure.pseudonyms is not None else peer),
        ("user.id", identity.user_id),
        ("user.name", identity.user),
        ("tailscale.user", identity.user),
        ("tailscale.node", identity.device),
        ("tailscale.node.id", identity.node_id),
        ("tailscale.via", identity.via),
    )


def _attempt(method: str, path: str, attempt: Attempt, place: int) -> bytes:
    is_answered = attempt.header_us is not None
    parts = [_kind_of_attempt(method, attempt.address, attempt.status, place, is_answered=is_answered)]
    if path and not attempt.address.startswith(_UNIX):
        parts.append(_text("url.full", f"http://{attempt.address}{path}"))
    # Seconds, as nginx's variables have them.
    if attempt.connect_us is not None:
        parts.append(_CONNECT_TIME(attempt.connect_us / 1e6))
    if attempt.header_us is not None:
        parts.append(_HEADER_TIME(attempt.header_us / 1e6))
    if attempt.response_us is not None:
        parts.append(_RESPONSE_TIME(attempt.response_us / 1e6))
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _kind_of_attempt(method: str, address: str, status: int, place: int, *, is_answered: bool) -> bytes:
    host, port = _host(address)
    is_unix = address.startswith(_UNIX)
    said = str(status) if is_answered else "timeout" if status == TIMED_OUT else "no_response"
    return _attributes(
        ("http.request.method", method),
        ("server.address", host),
        ("server.port", port),
        ("network.peer.address", host if is_unix or _is_address(host) else ""),
        ("network.transport", "unix" if is_unix else ""),
        ("http.response.status_code", status if is_answered else 0),
        ("error.type", said if status >= 400 else ""),
        ("http.request.resend_count", place),
    ) + _like(Span.SPAN_KIND_CLIENT, _name(method, ""), is_error=status >= 400)


def _attributes(*named: tuple[str, _Value]) -> bytes:
    """Encode attributes; those without a value are left out."""
    return b"".join(_attribute(key, value) for key, value in named if value)


def _attribute(key: str, value: _Value) -> bytes:
    """Return the bytes of a span that has this attribute and nothing else."""
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


@lru_cache(maxsize=1024)
def _host(text: str) -> tuple[str, int]:
    """Split `host`, `host:port`, `[v6]:port`, a bare `v6`, or `unix:/path`; 0 is no port."""
    if text.startswith(_UNIX):
        return text.removeprefix(_UNIX), 0
    host, colon, port = text.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= PORT_MAX
    if not colon or not is_port or (":" in host and not host.endswith("]")):
        return text.strip("[]"), 0
    return host.strip("[]"), int(port)


@lru_cache(maxsize=1024)
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def decoded(request: bytes) -> Sequence[Span]:
    """Read the spans of a request back; for tests and for who wants to look."""
    return [
        span
        for of_resource in ExportTraceServiceRequest.FromString(request).resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]

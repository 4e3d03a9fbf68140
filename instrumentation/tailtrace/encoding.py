"""Light spans to OTLP, a batch at a time. Pure: spans in, bytes out.

The form is https://github.com/open-telemetry/opentelemetry-proto `trace.proto`. Protobuf messages that are written one
behind the other are merged by whoever reads them: so what is plain is written here, around parts that are kept, and
what is rare is left to OpenTelemetry's own encoder (`readable`), whose bytes come behind.

| a span | is written |
|---|---|
| with none but texts, numbers and booleans as attributes | here |
| with events, links, lists, or something dropped | by OpenTelemetry's encoder |
"""

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status, StatusCode

from tailtrace.light_span import ATTRIBUTES_MAX, PATH_LENGTH_MAX, LightSpan, trace_state

_CACHED_MAX = 2048
TEXT_LENGTH_MAX = 1024
"""Characters of a client's texts: its user agent, the host that it asked for."""

_times = Struct("<BQBQ")
_FLAGS_LOCAL = b"\x85\x01\x00\x01\x00\x00"  # flags (16): it is known whether the parent is remote: it is not
_FLAGS_REMOTE = b"\x85\x01\x00\x03\x00\x00"  # and: it is
_KIND_SERVER = b"\x30\x02"
_STATUS_ERROR = b"\x7a\x02\x18\x02"
_LITTLE = tuple(bytes((number,)) for number in range(128))


def varint(number: int) -> bytes:
    """Return protobuf's form of a whole number; a negative one is taken as 64 bits."""
    if 0 <= number < 128:
        return _LITTLE[number]
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: bytes) -> bytes:
    """Return a field of bytes, text or a message."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def is_plain(span: LightSpan) -> bool:
    """Return whether `encode` can write the span."""
    return not (span.events or span.links or span.dropped) and (
        span.attributes is None
        or all(isinstance(key, str) and type(value) in _PLAIN for key, value in span.attributes.items())
    )


def encode(spans: Iterable[LightSpan]) -> bytes:
    """Return the `spans` fields of a `ScopeSpans`. Each span must be plain and closed."""
    return b"".join([field(2, _span(span)) for span in spans])


def _span(span: LightSpan) -> bytes:
    trace_id, parent = span.trace_id, span.parent
    parts = [
        b"\x0a\x10",
        trace_id.to_bytes(16, "big") if isinstance(trace_id, int) else bytes.fromhex(trace_id.decode()),
        b"\x12\x08",
        span.span_id.to_bytes(8, "big"),
        _state(span.state) if span.state else b"",
        b"" if parent is None else b"\x22\x08" + bytes.fromhex(parent[1].decode()),
        _times.pack(0x39, span.start_ns, 0x41, max(span.end_ns, span.start_ns)),
        _FLAGS_LOCAL if parent is None else _FLAGS_REMOTE,
    ]
    if span.attributes is None and not span.name and span.status is None:
        assert span.shape is not None
        parts.append(_shape(span.shape.name, tuple(span.shape.attributes.items()), span.shape.failed))
        parts.append(_string("url.path", span.path[:PATH_LENGTH_MAX]))
        if len(span.path) > PATH_LENGTH_MAX:
            parts.append(_attribute("tailtrace.path_length", len(span.path)))
        parts.append(_client(span.host, span.user_agent, span.client[0] if span.client else None))
    else:
        parts.append(field(5, _name(span).encode("utf-8", "replace")) + _KIND_SERVER)
        parts.extend([_attribute(key, value) for key, value in attributes_of(span).items()])
        parts.append(_status(span))
    return b"".join(parts)


@lru_cache(_CACHED_MAX)
def _state(value: bytes) -> bytes:
    header = trace_state(value).to_header()  # Untrusted bytes: read first, so that what is written is a text.
    return field(3, header.encode()) if header else b""


@lru_cache(_CACHED_MAX)
def _shape(name: str, attributes: tuple[tuple[str, str | int], ...], failed: bool) -> bytes:
    fixed = b"".join([_attribute(key, value) for key, value in attributes])
    return field(5, name.encode("utf-8", "replace")) + _KIND_SERVER + fixed + (_STATUS_ERROR if failed else b"")


@lru_cache(_CACHED_MAX)
def _client(host: bytes | None, user_agent: bytes | None, client: Any) -> bytes:
    return b"".join([_attribute(key, value) for key, value in client_attributes(host, user_agent, client).items()])


def client_attributes(host: bytes | None, user_agent: bytes | None, client: Any) -> dict[str, str | int]:
    """Return what the request says of server and client."""
    attributes: dict[str, str | int] = {}
    if host:
        address, port = split_host(host[:TEXT_LENGTH_MAX].decode("latin-1"))
        attributes["server.address"] = address
        if port is not None:
            attributes["server.port"] = port
    if user_agent:
        attributes["user_agent.original"] = user_agent[:TEXT_LENGTH_MAX].decode("latin-1")
    if isinstance(client, str) and client:
        attributes["client.address"] = client[:TEXT_LENGTH_MAX]
    return attributes


def split_host(host: str) -> tuple[str, int | None]:
    """Return address and port of a `Host` header; the port only where it is one."""
    address, colon, port = host.rpartition(":")
    if not colon or "]" in port:  # No port, or the end of an IPv6 address.
        return host.strip("[]"), None
    if port.isascii() and port.isdigit() and len(port) <= 5:
        return address.strip("[]"), int(port)
    return address.strip("[]") or host, None


def attributes_of(span: LightSpan) -> dict[str, Any]:
    """Return all attributes of a closed span: what the answer says of itself wins over what the user set."""
    attributes: dict[str, Any] = {"url.path": span.path[:PATH_LENGTH_MAX]}
    if len(span.path) > PATH_LENGTH_MAX:
        attributes["tailtrace.path_length"] = len(span.path)
    attributes.update(client_attributes(span.host, span.user_agent, span.client[0] if span.client else None))
    attributes.update(span.attributes or {})
    if span.shape is not None:
        attributes.update(span.shape.attributes)
    return attributes


def _name(span: LightSpan) -> str:
    return span.name or (span.shape.name if span.shape is not None else "HTTP")


def _status(span: LightSpan) -> bytes:
    status = _final_status(span)
    if status.status_code is StatusCode.UNSET:
        return b""
    message = field(2, status.description.encode("utf-8", "replace")) if status.description else b""
    return field(15, message + b"\x18" + varint(status.status_code.value))


def _final_status(span: LightSpan) -> Status:
    if span.status is not None:
        return span.status
    return Status(StatusCode.ERROR if span.shape is not None and span.shape.failed else StatusCode.UNSET)


def _string(key: str, value: str) -> bytes:
    text = value.encode("utf-8", "replace")
    return field(9, field(1, key.encode()) + field(2, b"\x0a" + varint(len(text)) + text))


_float = Struct("<d")


def _attribute(key: str, value: str | float) -> bytes:
    if isinstance(value, str):
        return _string(key, value)
    if isinstance(value, bool):
        number = b"\x10" + _LITTLE[value]
    elif isinstance(value, int):
        number = b"\x18" + varint(value)
    else:
        number = b"\x21" + _float.pack(value)
    return field(9, field(1, key.encode("utf-8", "replace")) + field(2, number))


_PLAIN = frozenset({str, bool, int, float})


def readable(span: LightSpan, resource: Any, scope: Any) -> ReadableSpan:
    """Return the SDK's record of a light span, for exporters that know no other."""
    return ReadableSpan(
        name=_name(span),
        context=span.get_span_context(),
        parent=span.parent_context(),
        resource=resource,
        attributes=BoundedAttributes(None, attributes_of(span), immutable=True),
        events=[Event(event.name, _bounded(event.attributes), event.time_ns) for event in span.events or ()],
        links=[Link(context, _bounded(attributes)) for context, attributes in span.links or ()],
        kind=span.kind,
        status=_final_status(span),
        start_time=span.start_ns,
        end_time=max(span.end_ns, span.start_ns),
        instrumentation_scope=scope,
    )


def _bounded(attributes: Any) -> BoundedAttributes:
    return BoundedAttributes(ATTRIBUTES_MAX, attributes or {}, immutable=True)


def wrap(resource: bytes, scope: bytes, schema_url: str, spans: bytes) -> bytes:
    """Return a `resource_spans` field: `resource` and `scope` are encoded messages, `spans` what `encode` returned."""
    url = field(3, schema_url.encode())
    return field(1, field(1, resource) + field(2, field(1, scope) + spans + url) + url)

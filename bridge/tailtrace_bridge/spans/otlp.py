"""An OTLP trace request in, `AppSpan`s and `WholeSpan`s out; and the answers. Pure: bytes in, bytes out.

What becomes of a request (https://opentelemetry.io/docs/specs/otlp/#otlphttp):

| the request | becomes |
|---|---|
| neither protobuf nor JSON by its content type, or an unknown content encoding | `OtlpError` 415 |
| longer than `DECODED_BYTES_MAX` unpacked, or of more than `ELEMENTS_MAX` parts, of JSON objects | `OtlpError` 413 |
| not gzip or deflate though it says so, not protobuf, not JSON, or JSON of another shape | `OtlpError` 400 |
| anything else | `Decoded`, span by span: |

| the span | becomes |
|---|---|
| any kind but SERVER, or nginx's own that we exported and that came back | ignored: counted, not rejected |
| one that protobuf cannot read: a text that is no UTF-8, lists nested some fifty deep | rejected: unreadable |
| SERVER, an id of the wrong length or all zeros | rejected: bad-id |
| SERVER, no start, an end before the start or beyond 64 bits, or longer than `DURATION_US_MAX` | rejected: bad-time |
| SERVER | an `AppSpan`; without a parent its `parent_span_id` is empty |
| of any kind, with ids and times like these, and somebody wants whole spans | a `WholeSpan` as well |
| of any other kind, without, and somebody wants whole spans | rejected: bad-id, bad-time, unreadable |

Every text is untrusted: cut, and made printable.
"""

import base64
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tailtrace_bridge.core.errors import OtlpError
from tailtrace_bridge.core.records import AppSpan, WholeSpan
from tailtrace_bridge.core.text import replaced

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
DECODED_BYTES_MAX = 16 * 1024 * 1024
ELEMENTS_MAX = 500_000
"""Resources, scopes and spans of one request, attributes and events of its SERVER spans. SDKs send 512 spans at a time,
the collector 8192; 16 KiB of gzip can unpack to eight million empty parts, to walk over which takes ten seconds."""
ROUTE_LENGTH_MAX = 256
ERROR_TYPE_LENGTH_MAX = 128
METHOD_LENGTH_MAX = 16
PATH_LENGTH_MAX = 256
"""Enough to tell two requests of one trace apart."""
SERVICE_LENGTH_MAX = 128
DURATION_US_MAX = 30 * 24 * 3600 * 1_000_000
TIME_NS_MAX = 2**64 - 1
"""The year 2554: protobuf's fields of time hold no more, JSON's numbers do."""
OTHER_ERROR = "_OTHER"
"""OpenTelemetry's word: https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/"""
REASONS = ("bad-id", "bad-time", "unreadable")
NGINX_SCOPE = "tailtrace.nginx"
"""Of the spans that `export` makes: no app's."""

_SERVER = (2, "SPAN_KIND_SERVER")
_FAILED = (2, "STATUS_CODE_ERROR")
_SPAN_ATTRIBUTES = frozenset(
    {"http.route", "error.type", "http.response.status_code", "http.status_code"}
    | {"http.request.method", "http.method", "url.path", "http.target", "http.url"}
)
_SERVICE = frozenset({"service.name", "service.version"})
_EXCEPTION_TYPE = frozenset({"exception.type"})
_ORIGIN = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ERROR_CLASS = re.compile(r"([\w.$*/<>,\[\]+#-]+(?:::[\w.$*<>,]+)*)(?:(?:: |\().*|:)?", re.DOTALL)
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one request held: `len(spans) + rejected + ignored` is all of its spans."""

    spans: list[AppSpan]
    rejected: int
    reasons: dict[str, int]
    """How many were rejected for each of `REASONS`."""
    ignored: int
    whole: list[WholeSpan] = field(default_factory=list)
    """Of every kind, the SERVER spans among them."""

    @property
    def message(self) -> str:
        """What to tell the sender of its rejected spans; empty if there are none."""
        if not self.rejected:
            return ""
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(self.reasons.items()))
        return (
            f"{self.rejected} spans rejected ({counts}): ids are 16 and 8 bytes, not all zero; 0 < start <= end; texts "
            "are UTF-8, and lists not nested fifty deep"
        )


class _Budget:
    """Counts the parts of one request as they are walked over."""

    def __init__(self) -> None:
        self._left = ELEMENTS_MAX

    def take(self, parts: Sized) -> None:
        self._count(len(parts))

    def take_object(self, one: dict[str, object]) -> dict[str, object]:
        """Count a JSON object, of whatever depth: protobuf's reader of JSON takes 20 µs for each."""
        self._count(1)
        return one

    def _count(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise OtlpError(f"request has more than {ELEMENTS_MAX} parts: send smaller batches", 413)


class _Resource(NamedTuple):
    """Which app the spans are of."""

    service: str
    version: str


class _RawSpan(NamedTuple):
    """A SERVER span as either encoding gives it: nothing checked but the types."""

    trace_id: str
    span_id: str
    parent_span_id: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, str | int]
    failed: bool
    exception_type: str
    """Of a failed span only: an exception that was handled is no error."""


_Found = tuple[_Resource, _RawSpan | str | None, WholeSpan | str | None]


def media_type(content_type: str) -> str:
    """Return `PROTOBUF` or `JSON`, whichever a Content-Type header names; raise `OtlpError` 415 for any other."""
    name = content_type.partition(";")[0].strip().lower()
    if name not in {PROTOBUF, JSON}:
        raise OtlpError(f"Content-Type {name[:64]!a}: send {PROTOBUF} or {JSON}", 415)
    return name


def unpack(body: bytes, content_encoding: str, bytes_max: int = DECODED_BYTES_MAX) -> bytes:
    """Undo a Content-Encoding, never making more than `bytes_max` bytes and one.

    Raises `OtlpError`: 413 for more than that, 415 for an encoding but gzip and deflate, 400 for one that is broken or
    goes on behind its end (no exporter writes that, and a body of a million empty members would cost their square).
    `deflate` is zlib's form (RFC 9110, 8.4.1.2); the bare form that some send instead is taken too.
    """
    encoding = content_encoding.strip().lower()
    if encoding not in {"", "identity", "gzip", "deflate"}:
        raise OtlpError(f"Content-Encoding {encoding[:64]!a}: send gzip, deflate or none", 415)
    if encoding in {"gzip", "deflate"}:
        unpacker = zlib.decompressobj(wbits=31 if encoding == "gzip" else 15 if _is_zlib(body) else -15)
        try:
            body = unpacker.decompress(body, bytes_max + 1)
        except zlib.error as error:
            raise OtlpError(f"body is not {encoding} ({error}): check Content-Encoding", 400) from None
        if len(body) <= bytes_max and (not unpacker.eof or unpacker.unused_data):
            raise OtlpError(f"{encoding} body is cut short or goes on behind its end: send one whole member", 400)
    if len(body) > bytes_max:
        raise OtlpError(f"body unpacks to more than {bytes_max} bytes: send smaller batches", 413)
    return body


def _is_zlib(body: bytes) -> bool:
    """Return whether a body begins as zlib's form does: method 8, and a multiple of 31."""
    return len(body) >= 2 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0


def decode_traces(body: bytes, content_type: str, *, has_whole: bool = False) -> Decoded:
    """Read an `ExportTraceServiceRequest`, already unpacked; raise `OtlpError` and nothing else.

    `has_whole`: whether whole spans are wanted.
    """
    if len(body) > DECODED_BYTES_MAX:
        raise OtlpError(f"body is longer than {DECODED_BYTES_MAX} bytes: send smaller batches", 413)
    read = _json_spans if media_type(content_type) == JSON else _protobuf_spans
    spans: list[AppSpan] = []
    whole: list[WholeSpan] = []
    reasons: Counter[str] = Counter()
    ignored = 0
    for resource, raw, one in read(body, has_whole):
        if isinstance(one, WholeSpan):
            whole.append(one)
        if raw is not None:
            span = raw if isinstance(raw, str) else _app_span(raw, resource.service)
        elif isinstance(one, str):
            span = one
        else:
            ignored += 1
            continue
        if isinstance(span, AppSpan):
            spans.append(span)
        else:
            reasons[span] += 1
    return Decoded(spans, reasons.total(), dict(reasons), ignored, whole)


def encode_success(media: str, rejected: int = 0, message: str = "") -> bytes:
    """Return the body of a 200: an `ExportTraceServiceResponse`, with `partial_success` only if spans were rejected.

    An empty one is an empty answer for metrics and logs too.
    """
    if media == JSON:
        partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": message}}
        return json.dumps(partial if rejected else {}).encode()
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = message
    body: bytes = response.SerializeToString()
    return body


def encode_error(media: str, message: str) -> bytes:
    """Return the body of a 4xx or 5xx: a `google.rpc.Status`, whose `code` the specification leaves unused."""
    if media == JSON:
        return json.dumps({"message": message}).encode()
    body: bytes = Status(message=message).SerializeToString()
    return body


def error_class(text: str) -> str:
    """Return the class that an app names as an error's type; what it says beyond that may quote the user's data.

    | text | becomes |
    |---|---|
    | `shop.NoStock`, `std::io::Error`, `*net.OpError`, `500`, `timeout` | itself |
    | `KeyError: 'ana'`, `KeyError('ana')` | `KeyError` |
    | any other, such as a sentence | `_OTHER` |
    """
    if not text:
        return ""
    found = _ERROR_CLASS.fullmatch(text)
    return found[1] if found else OTHER_ERROR


def _app_span(raw: _RawSpan, service: str) -> AppSpan | str:
    """Return the record, or one of `REASONS`."""
    parent = raw.parent_span_id
    if not (
        _TRACE_ID.fullmatch(raw.trace_id)
        and _SPAN_ID.fullmatch(raw.span_id)
        and (not parent or _SPAN_ID.fullmatch(parent))
    ):
        return "bad-id"
    duration_us = (raw.end_ns - raw.start_ns) // 1000
    if raw.start_ns <= 0 or raw.end_ns > TIME_NS_MAX or not 0 <= duration_us <= DURATION_US_MAX:
        return "bad-time"
    route = sys.intern(_text(raw.attributes.get("http.route"), ROUTE_LENGTH_MAX))  # few, and in thousands of spans
    method = _text(raw.attributes.get("http.request.method", raw.attributes.get("http.method")), METHOD_LENGTH_MAX)
    return AppSpan(
        raw.trace_id,
        parent,
        route,
        duration_us,
        _error_type(raw),
        service,
        sys.intern(method),
        _path(raw.attributes),
        _status(raw) or 0,
        raw.start_ns // 1000,
    )


def _path(attributes: Mapping[str, str | int]) -> str:
    """Return the path that the app was asked for; before 2024 it was `http.target`, or a part of `http.url`."""
    path = _text(attributes.get("url.path"), PATH_LENGTH_MAX)
    if not path:
        target = _text(attributes.get("http.target"), PATH_LENGTH_MAX)
        if not target:
            target = _text(attributes.get("http.url"), PATH_LENGTH_MAX)
            if origin := _ORIGIN.match(target):
                target = target[origin.end() :]
        path = target.partition("?")[0]
    return path


def _status(raw: _RawSpan) -> int | None:
    """Return the answer's status; the second name is that of before 2024, which is still written by default."""
    status = raw.attributes.get("http.response.status_code", raw.attributes.get("http.status_code"))
    return status if isinstance(status, int) and 100 <= status <= 599 else None


def _error_type(raw: _RawSpan) -> str:
    """Return `error.type`; where a failed span has none, the next best that it says."""
    named = error_class(_text(raw.attributes.get("error.type"), ERROR_TYPE_LENGTH_MAX))
    if named:
        return named
    status = _status(raw)
    if raw.exception_type:
        return error_class(_text(raw.exception_type, ERROR_TYPE_LENGTH_MAX))
    if status is not None and status >= 500:
        return str(status)
    return OTHER_ERROR if raw.failed else ""


def _text(value: object, length_max: int) -> str:
    if not isinstance(value, str):
        return ""
    return replaced(value[:length_max])


def _protobuf_spans(body: bytes, has_whole: bool) -> Iterator[_Found]:
    """Return each span with its app: as a SERVER's or None, and whole or None; or the reason against either."""
    request, unreadable = _protobuf_request(body)
    budget = _Budget()
    budget.take(request.resource_spans)
    for resource_spans in request.resource_spans:
        resource = _resource(_protobuf_attributes(resource_spans.resource.attributes, _SERVICE, budget))
        budget.take(resource_spans.scope_spans)
        for scope_spans in resource_spans.scope_spans:
            budget.take(scope_spans.spans)
            is_ours = scope_spans.scope.name == NGINX_SCOPE
            for span in scope_spans.spans:
                raw = _protobuf_span(span, budget) if span.kind in _SERVER and not is_ours else None
                yield resource, raw, _whole(span, resource) if has_whole and not is_ours else None
    yield from repeat((_Resource("", ""), "unreadable", None), unreadable)


def _protobuf_request(body: bytes) -> tuple[ExportTraceServiceRequest, int]:
    """Return the request, and how many of its spans cannot be read."""
    try:
        return ExportTraceServiceRequest.FromString(body), 0
    except DecodeError:
        from tailtrace_bridge.spans.salvage import salvage  # noqa: PLC0415 - hardly ever

    try:
        return salvage(body, _Budget().take)
    except DecodeError:
        raise OtlpError(
            f"body is no ExportTraceServiceRequest in protobuf, though Content-Type says {PROTOBUF}", 400
        ) from None


def _resource(attributes: Mapping[str, str | int]) -> _Resource:
    return _Resource(
        _text(attributes.get("service.name"), SERVICE_LENGTH_MAX),
        _text(attributes.get("service.version"), SERVICE_LENGTH_MAX),
    )


def _whole(span: Span, resource: _Resource) -> WholeSpan | str:
    """Return a span as it is, or one of `REASONS` for one with ids or times that are none."""
    ids = len(span.trace_id) == 16 and any(span.trace_id) and len(span.span_id) == 8 and any(span.span_id)
    duration_us = (span.end_time_unix_nano - span.start_time_unix_nano) // 1000
    if not ids or len(span.parent_span_id) not in {0, 8}:
        return "bad-id"
    if span.start_time_unix_nano <= 0 or not 0 <= duration_us <= DURATION_US_MAX:
        return "bad-time"
    return WholeSpan(span.trace_id, span.SerializeToString(), *resource)


def _protobuf_span(span: Span, budget: _Budget) -> _RawSpan:
    failed = span.status.code in _FAILED
    exceptions: list[dict[str, str | int]] = []
    if failed:
        budget.take(span.events)
        exceptions = [_protobuf_attributes(event.attributes, _EXCEPTION_TYPE, budget) for event in span.events]
    return _RawSpan(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _protobuf_attributes(span.attributes, _SPAN_ATTRIBUTES, budget),
        failed,
        _last_exception(exceptions),
    )


def _protobuf_attributes(pairs: Sequence[KeyValue], wanted: frozenset[str], budget: _Budget) -> dict[str, str | int]:
    budget.take(pairs)
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in pairs if pair.key in wanted}


def _json_spans(body: bytes, has_whole: bool) -> Iterator[_Found]:
    """Return the same for JSON, whose ids are hex and not protobuf's base64.

    https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: 64-bit integers are strings or numbers, enums
    numbers (names are taken too), unknown fields are ignored.
    """
    try:
        text = body.decode("utf-8", "replace")
        request = json.loads(text, object_hook=_Budget().take_object)
        if _ESCAPED_SURROGATE.search(text):  # half a character, which protobuf's reader takes for no text of its own
            request = json.loads(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", json.dumps(request, ensure_ascii=False)))
    except (ValueError, RecursionError):  # of ValueError: bad JSON, a number of thousands of digits
        raise OtlpError(f"body is no JSON, or nested too deep, though Content-Type says {JSON}") from None
    if not isinstance(request, dict):
        raise OtlpError("body is JSON but no ExportTraceServiceRequest: an object must stand outermost")
    budget = _Budget()
    for resource_spans in _objects(request, "resourceSpans", budget):
        resource = _resource(_json_attributes(_object(resource_spans, "resource"), _SERVICE, budget))
        for scope_spans in _objects(resource_spans, "scopeSpans", budget):
            is_ours = _object(scope_spans, "scope").get("name") == NGINX_SCOPE
            for span in _objects(scope_spans, "spans", budget):
                raw = _json_span(span, budget) if span.get("kind") in _SERVER and not is_ours else None
                yield resource, raw, _json_whole(span, resource) if has_whole and not is_ours else None


def _json_whole(span: dict[str, object], resource: _Resource) -> WholeSpan | str:
    """Return a span in protobuf, or one of `REASONS` for one that does not fit it."""
    from google.protobuf import json_format  # type: ignore[import-untyped]  # noqa: PLC0415 - few senders write JSON

    links = span.get("links")
    try:
        made = json_format.ParseDict(
            {
                **_with_bytes(span, "traceId", "spanId", "parentSpanId"),
                "links": [_with_bytes(link, "traceId", "spanId") for link in links if isinstance(link, dict)]
                if isinstance(links, list)
                else [],
            },
            Span(),
            ignore_unknown_fields=True,
        )
    except (json_format.ParseError, ValueError, OverflowError):  # the last of an enum that is Infinity
        return "unreadable"
    return _whole(made, resource)


def _with_bytes(holder: dict[str, object], *names: str) -> dict[str, object]:
    """Turn ids from OTLP's hex into the base64 that protobuf's own JSON has."""
    ids = {name: bytes.fromhex(value) for name in names if isinstance(value := holder.get(name), str)}
    return {**holder, **{name: base64.b64encode(value).decode() for name, value in ids.items()}}


def _json_span(span: dict[str, object], budget: _Budget) -> _RawSpan:
    failed = _object(span, "status").get("code") in _FAILED
    events = _objects(span, "events", budget) if failed else []
    exceptions = [_json_attributes(event, _EXCEPTION_TYPE, budget) for event in events]
    return _RawSpan(
        _json_id(span.get("traceId")),
        _json_id(span.get("spanId")),
        _json_id(span.get("parentSpanId")),
        _json_integer(span.get("startTimeUnixNano")),
        _json_integer(span.get("endTimeUnixNano")),
        _json_attributes(span, _SPAN_ATTRIBUTES, budget),
        failed,
        _last_exception(exceptions),
    )


def _json_attributes(holder: dict[str, object], wanted: frozenset[str], budget: _Budget) -> dict[str, str | int]:
    values: dict[str, str | int] = {}
    for pair in _objects(holder, "attributes", budget):
        key, value = pair.get("key"), _object(pair, "value")
        if isinstance(key, str) and key in wanted:
            text = value.get("stringValue")
            values[key] = text if isinstance(text, str) else _json_integer(value.get("intValue"))
    return values


def _json_id(value: object) -> str:
    """Return the hex digits in lower case, empty for an absent id, and `?`, which is no id, for what is no text."""
    if value is None:
        return ""
    return value.lower() if isinstance(value, str) and len(value) <= 32 else "?"


def _json_integer(value: object) -> int:
    """Return -1, which no time and no status is, for what cannot be read."""
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit() else -1


def _object(holder: dict[str, object], name: str) -> dict[str, object]:
    value = holder.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise OtlpError(f"JSON field {name}: an object must stand here")
    return value


def _objects(holder: dict[str, object], name: str, budget: _Budget) -> list[dict[str, object]]:
    value = holder.get(name)
    if value is None:
        return []
    if isinstance(value, list):
        budget.take(value)
        if all(isinstance(item, dict) for item in value):
            return value
    raise OtlpError(f"JSON field {name}: a list of objects must stand here")


def _last_exception(events: list[dict[str, str | int]]) -> str:
    """Return the type of the last exception recorded: the one that ended the request."""
    for attributes in reversed(events):
        kind = attributes.get("exception.type")
        if isinstance(kind, str) and kind:
            return kind
    return ""

"""A row and the spans of its request in, one packed trace out; and back. Pure.

A trace is an OTLP `ExportTraceServiceRequest`, so that it can be given out as it is: nginx's spans as `export` makes
them, without the person, and the app's, scrubbed. However much was sent it is bounded: `held.SPANS_MAX` spans, those
that began first; beyond `TRACE_BYTES_MAX` a span keeps ids, times and name. A span that came twice is one.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tailtrace_bridge.core.records import Identity, KeptTrace, Row, WholeSpan
from tailtrace_bridge.export.nginx_span import Disclosure, spans_of
from tailtrace_bridge.spans.otlp import NGINX_SCOPE
from tailtrace_bridge.traces.held import SPANS_MAX
from tailtrace_bridge.traces.scrubbed import bare, scrubbed

TRACE_BYTES_MAX = 256 * 1024
"""Of a trace before it is packed."""
_NOBODY = Disclosure(names=False, agents=False)
_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_STATUS = {0: "unset", 1: "ok", 2: "error"}
Value = str | int | float | bool | list[str | int | float | bool]


class SpanEvent(NamedTuple):
    """Something that happened in a span."""

    time_us: int
    name: str
    attributes: dict[str, Value]


class TraceSpan(NamedTuple):
    """One span of a kept trace. Ids are hex, times microseconds since 1970."""

    span_id: str
    parent_span_id: str
    """Empty: it has none."""
    name: str
    kind: str
    """`server`, `client`, `internal`, `producer`, `consumer` or empty."""
    service: str
    version: str
    is_nginx: bool
    """nginx's own, made of its line."""
    start_us: int
    duration_us: int
    status: str
    """`unset`, `ok` or `error`."""
    message: str
    attributes: dict[str, Value]
    events: list[SpanEvent]
    links: list[str]
    """Trace ids that it names."""


def pack(
    row: Row,
    reason: str,
    sent: Iterable[WholeSpan],
    *,
    service: str,
    has_messages: bool,
    who: Identity | None = None,
) -> KeptTrace:
    """Pack the trace of a request; `service` is nginx's name in it, `who` asked: by default whom the row names."""
    who = who or row.identity
    of_nginx = [Span.FromString(one) for one in spans_of(row, _NOBODY)]
    known = {span.span_id for span in of_nginx}
    found: list[tuple[tuple[str, str, bool], Span]] = [((service, "", True), span) for span in of_nginx]
    for one in sent:
        span = Span.FromString(one.data)
        if span.span_id not in known:
            known.add(span.span_id)
            found.append(((one.service, one.version, False), scrubbed(span, has_messages=has_messages, who=who)))
    app_spans = sorted(found[len(of_nginx) :], key=lambda pair: pair[1].start_time_unix_nano)
    found[len(of_nginx) :] = app_spans[: SPANS_MAX - len(of_nginx)]
    by_service: dict[tuple[str, str, bool], list[Span]] = {}
    size = 0
    for sender, span in found:
        size += span.ByteSize()
        by_service.setdefault(sender, []).append(span if size <= TRACE_BYTES_MAX else bare(span))
    request = ExportTraceServiceRequest()
    for (name, version, is_nginx), spans in by_service.items():
        of_service = request.resource_spans.add(resource=_resource(name, version))
        scope = InstrumentationScope(name=NGINX_SCOPE) if is_nginx else None
        of_service.scope_spans.add(scope=scope).spans.extend(spans)
    packed = zlib.compress(request.SerializeToString(deterministic=True), 9)
    access = row.access
    return KeptTrace(access.time_us, access.key, bytes.fromhex(access.trace_id), reason, len(found), packed)


def unpack(data: bytes) -> list[TraceSpan]:
    """Return the spans of a packed trace; none of one that is damaged."""
    return [
        _span(span, of_resource.resource, is_nginx=of_scope.scope.name == NGINX_SCOPE)
        for of_resource in _request(data).resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def texts_of(data: bytes) -> str:
    """Return all texts of a packed trace, a line each: for who looks for a name in it."""
    texts: list[str] = []
    for span in unpack(data):
        texts += (span.name, span.service, span.version, span.message)
        for attributes in (span.attributes, *(event.attributes for event in span.events)):
            for key, value in attributes.items():
                texts += (key, *map(str, value if isinstance(value, list) else [value]))
        texts += (event.name for event in span.events)
    return "\n".join(texts)


def to_otlp_json(data: bytes) -> dict[str, Any]:
    """Return a packed trace as an OTLP/JSON request, which any OTLP endpoint takes: ids are hex in it."""
    from google.protobuf import json_format  # type: ignore[import-untyped]  # noqa: PLC0415 - few ask for it

    document: dict[str, Any] = json_format.MessageToDict(_request(data), use_integers_for_enums=True)
    for of_resource in document.get("resourceSpans", ()):
        for of_scope in of_resource.get("scopeSpans", ()):
            for span in of_scope.get("spans", ()):
                for holder in (span, *span.get("links", ())):
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if name in holder:
                            holder[name] = base64.b64decode(holder[name]).hex()
    return document


def to_otlp_lines(traces: Sequence[bytes]) -> bytes:
    """Return packed traces as OpenTelemetry's file exporter writes them: a line of OTLP/JSON for each.

    https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/#json-lines-file
    """
    return b"".join(json.dumps(to_otlp_json(data), ensure_ascii=False).encode() + b"\n" for data in traces)


def _request(data: bytes) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(zlib.decompressobj().decompress(data, 4 * TRACE_BYTES_MAX))
    except (zlib.error, DecodeError):
        request.Clear()
    return request


def _resource(name: str, version: str) -> Resource:
    named = {"service.name": name, "service.version": version}
    return Resource(
        attributes=[KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in named.items() if value]
    )


def _span(span: Span, resource: Resource, *, is_nginx: bool) -> TraceSpan:
    who = _values(resource.attributes)
    return TraceSpan(
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        _KINDS.get(span.kind, ""),
        str(who.get("service.name", "")),
        str(who.get("service.version", "")),
        is_nginx,
        span.start_time_unix_nano // 1000,
        (span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
        _STATUS.get(span.status.code, "unset"),
        span.status.message,
        dict(_values(span.attributes)),
        [SpanEvent(one.time_unix_nano // 1000, one.name, dict(_values(one.attributes))) for one in span.events],
        [link.trace_id.hex() for link in span.links],
    )


def _values(pairs: Iterable[KeyValue]) -> Mapping[str, Value]:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_scalar(one) for one in value.array_value.values]
    return _scalar(value)


def _scalar(value: AnyValue) -> str | int | float | bool:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind in {"string_value", "int_value", "double_value", "bool_value"} else ""

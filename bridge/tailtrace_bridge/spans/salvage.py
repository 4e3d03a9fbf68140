"""What can be read of an OTLP request that protobuf refuses as a whole, for one text that is no UTF-8. Pure.

The library stops at the first string that is no UTF-8, and at lists within lists some fifty deep. So the request is
read again with its spans left as bytes, by the same library and messages of the same numbers, and each span by itself:

| part | becomes |
|---|---|
| a span that can be read | itself |
| a span that cannot | counted |
| a resource's attribute that cannot, a scope that cannot | left out |
| no span at all | `DecodeError`: it is no such request |

The numbers: https://github.com/open-telemetry/opentelemetry-proto, `trace.proto`.
"""

from collections.abc import Callable, Sized
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_PACKAGE = "tailtrace.loose"
_MESSAGES = {
    "Request": (("resource_spans", 1, "ResourceSpans"),),
    "ResourceSpans": (("resource", 1, "Resource"), ("scope_spans", 2, "ScopeSpans")),
    "Resource": (("attributes", 1, ""),),
    "ScopeSpans": (("scope", 1, ""), ("spans", 2, "")),
}
"""Fields by name and number; those without a message's name are bytes. All are repeated."""


def salvage(body: bytes, take: Callable[[Sized], None]) -> tuple[ExportTraceServiceRequest, int]:
    """Return what can be read, and how many spans cannot; raise `DecodeError`. `take` is shown what is walked over."""
    loose = _request_class().FromString(body)
    request, unreadable = ExportTraceServiceRequest(), 0
    take(loose.resource_spans)
    for of_resource in loose.resource_spans:
        made = request.resource_spans.add()
        for resource in of_resource.resource:
            take(resource.attributes)
            made.resource.attributes.extend(_readable(KeyValue, resource.attributes))
        take(of_resource.scope_spans)
        for of_scope in of_resource.scope_spans:
            take(of_scope.spans)
            spans = _readable(Span, of_scope.spans)
            scopes = _readable(InstrumentationScope, of_scope.scope)
            made.scope_spans.add(scope=scopes[-1] if scopes else None).spans.extend(spans)
            unreadable += len(of_scope.spans) - len(spans)
    if not unreadable and not any(of_scope.spans for one in request.resource_spans for of_scope in one.scope_spans):
        raise DecodeError("no span")
    return request, unreadable


def _readable(kind: Any, parts: Any) -> list[Any]:
    found: list[Message] = []
    for part in parts:
        try:
            found.append(kind.FromString(part))
        except DecodeError:
            continue
    return found


@cache
def _request_class() -> Any:
    """Make the messages: rarely needed, so not at the start."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="loose.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, number, of_message in fields:
            message.field.add(
                name=field_name,
                number=number,
                label=field.LABEL_REPEATED,
                type=field.TYPE_MESSAGE if of_message else field.TYPE_BYTES,
                type_name=f".{_PACKAGE}.{of_message}" if of_message else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Request"))

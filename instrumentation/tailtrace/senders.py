"""What the worker's thread does with a batch: light spans and the SDK's spans in, OTLP out.

| the protocol | a batch |
|---|---|
| `http/protobuf` | one body: plain light spans as `encoding` writes them, the others by OpenTelemetry's encoder |
| the same, with a credential provider of the user's, and `grpc` | the SDK's records, all of them |

Made on the thread, in the process that sends: neither connection nor import is a request's to pay for.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from tailtrace.encoding import encode, is_plain, readable, wrap
from tailtrace.light_span import LightSpan
from tailtrace.settings import Signal
from tailtrace.transport import BodySession, grpc_class, grpc_options

SCHEMA_URL = "https://opentelemetry.io/schemas/1.21.0"
SCOPE = InstrumentationScope("tailtrace", "", SCHEMA_URL)
_CREDENTIAL_VARIABLES = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)


@dataclass(eq=False)
class Origin:
    """An app whose spans these are. Two apps in one process are two services."""

    resource: Resource
    context: Context = field(default_factory=Context)
    """What the context of each of its requests begins with."""
    wire: list[Any] = field(default_factory=list)
    """The resource and the scope as OTLP messages, once they are encoded."""

    def text(self, name: str) -> str:
        """Return an attribute of the resource, empty if unset."""
        value = self.resource.attributes.get(name)
        return value if isinstance(value, str) else ""


Item = LightSpan | tuple[Origin, ReadableSpan]


def make_sender(signal: Signal) -> Callable[[Sequence[Item]], bool]:
    """Return what sends batches to where the settings say."""
    if signal.protocol == "grpc":
        return _Records(grpc_class("trace_exporter", "OTLPSpanExporter")(**grpc_options(signal)))
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    if any(os.environ.get(name) for name in _CREDENTIAL_VARIABLES):
        return _Records(OTLPSpanExporter(endpoint=signal.endpoint))
    session = BodySession(signal.compression)
    return _Bodies(
        OTLPSpanExporter(endpoint=signal.endpoint, compression=Compression.NoCompression, session=session), session
    )


class _Records:
    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def __call__(self, batch: Sequence[Item]) -> bool:
        spans = [_readable(item) if isinstance(item, LightSpan) else item[1] for item in batch]
        return self._exporter.export(spans) is SpanExportResult.SUCCESS


class _Bodies:
    def __init__(self, exporter: SpanExporter, session: BodySession) -> None:
        self._exporter = exporter
        self._session = session

    def __call__(self, batch: Sequence[Item]) -> bool:
        plain: dict[int, tuple[Origin, list[LightSpan]]] = {}
        rest: dict[int, tuple[Origin, list[ReadableSpan]]] = {}
        for item in batch:
            if not isinstance(item, LightSpan):
                rest.setdefault(id(item[0]), (item[0], []))[1].append(item[1])
            elif is_plain(item):
                plain.setdefault(id(item.origin), (item.origin, []))[1].append(item)
            else:
                rest.setdefault(id(item.origin), (item.origin, []))[1].append(_readable(item))
        parts = [self._plain(origin, spans) for origin, spans in plain.values()]
        parts.extend([self._rest(origin, spans) for origin, spans in rest.values()])
        self._session.body = b"".join(parts)
        try:
            return self._exporter.export(()) is SpanExportResult.SUCCESS
        finally:
            self._session.body = b""

    def _plain(self, origin: Origin, spans: list[LightSpan]) -> bytes:
        resource, scope = _wire(origin)
        return wrap(resource.SerializeToString(), scope.SerializeToString(), SCHEMA_URL, encode(spans))

    def _rest(self, origin: Origin, spans: list[ReadableSpan]) -> bytes:
        request = _encoded(spans)
        for resource_spans in request.resource_spans:  # Children come from the first app's provider, whosever they are.
            resource_spans.resource.CopyFrom(_wire(origin)[0])
        body: bytes = request.SerializePartialToString()
        return body


def _readable(span: LightSpan) -> ReadableSpan:
    return readable(span, span.origin.resource, SCOPE)


def _encoded(spans: Sequence[ReadableSpan]) -> Any:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: PLC0415

    return encode_spans(spans)


def _wire(origin: Origin) -> list[Any]:
    if not origin.wire:
        model = ReadableSpan(
            name="",
            context=SpanContext(1, 1, is_remote=False),
            resource=origin.resource,
            instrumentation_scope=SCOPE,
            start_time=1,
            end_time=1,
        )
        first = _encoded([model]).resource_spans[0]
        origin.wire = [first.resource, first.scope_spans[0].scope]
    return origin.wire

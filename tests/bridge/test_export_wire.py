"""Each hand-written piece of OTLP, against what protobuf makes of the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from tailtrace_bridge.export import wire

NUMBERS = st.one_of(st.integers(0, 300), st.integers(0, 1 << 62))
NS_MAX = (1 << 64) - 1


def attribute(key: str, **value: object) -> Span:
    return Span(attributes=[KeyValue(key=key, value=AnyValue(**value))])


@given(st.text(min_size=1, max_size=300), st.text(max_size=20_000))
def test_a_text(key, value):
    assert wire.text(key, value) == attribute(key, string_value=value).SerializeToString()


@given(st.text(min_size=1, max_size=200), NUMBERS)
@pytest.mark.parametrize("edge", [None, 0, 127, 128, 16_383, 16_384, (1 << 63) - 1])
def test_a_number(edge, key, value):
    value = value if edge is None else edge
    assert wire.Number(key)(value) == attribute(key, int_value=value).SerializeToString()


@given(st.text(min_size=1, max_size=200), st.floats(allow_nan=False))
def test_a_double(key, value):
    assert Span.FromString(wire.Double(key)(value)) == attribute(key, double_value=value)


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=8, max_size=8),
    st.one_of(st.just(b""), st.binary(min_size=8, max_size=8)),
    st.integers(0, NS_MAX),
    st.integers(0, NS_MAX),
)
def test_ids_and_times(trace_id, span_id, parent_id, start_ns, end_ns):
    assert Span.FromString(wire.head(trace_id, span_id, parent_id, start_ns, end_ns)) == Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent_id,
        start_time_unix_nano=start_ns,
        end_time_unix_nano=end_ns,
    )


@given(st.lists(st.text(max_size=200), max_size=5))
def test_fields_of_a_message(names):
    spans = [Span(name=name) for name in names]
    written = b"".join(wire.field(2, span.SerializeToString()) for span in spans)
    assert written == ScopeSpans(spans=spans).SerializeToString()

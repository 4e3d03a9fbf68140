"""Spans of whatever shape: each is refused, or kept and shown by every reader, in bounds."""

import copy
import io
import json

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import TypeAdapter
from rich.console import Console

from tailtrace_api.answers.traces import DEPTH_MAX, Trace, trace
from tailtrace_api.mcp_server.explained import digest
from tailtrace_api.terminal.waterfall import print_trace
from tailtrace_bridge.core.errors import OtlpError
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic, WholeSpan
from tailtrace_bridge.spans.otlp import JSON, decode_traces
from tailtrace_bridge.store.values import LogEntry
from tailtrace_bridge.traces.groups import Grouping, failed
from tailtrace_bridge.traces.held import SPANS_MAX, HeldSpans
from tailtrace_bridge.traces.pack import TRACE_BYTES_MAX, pack, to_otlp_json, unpack
from tailtrace_bridge.traces.scrubbed import ATTRIBUTES_MAX
from tailtrace_bridge.traces.versions import Versions

S = 1_000_000
T0 = 1_759_924_800 * S
TRACE, NGINX = "ab" * 16, "cd" * 8
ANA = Identity("100.64.0.7", "user", "ana@github", "ana-laptop", "n1", "", "localapi", "u1")
ACCESS = Access(
    T0, 1, ANA.address, "GET", "/a", 500, 50_000, 50_000, True, 10, "shop", TRACE, NGINX, "curl", ""
)  # fmt: skip
ROW = Row(ACCESS, ANA, "/a", Traffic.APP, None, "")
ENTRY = LogEntry(T0, 1, ANA, "shop", "/a", "GET", "/a", 500, Traffic.APP, 50_000, None, 10, TRACE, "")
STACK = 'Traceback (most recent call last):\n  File "/srv/shop/a.py", line 1, in f\n    x\nKeyError: 1'
REQUEST = {
    "resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{
            "scope": {"name": "s"},
            "spans": [{
                "traceId": TRACE, "spanId": "12" * 8, "parentSpanId": NGINX, "name": "GET /a", "kind": 2,
                "startTimeUnixNano": str(T0 * 1000), "endTimeUnixNano": str(T0 * 1000 + 9_000), "flags": 1,
                "traceState": "a=b", "droppedAttributesCount": 3, "status": {"code": 2, "message": "m"},
                "attributes": [{"key": "http.route", "value": {"stringValue": "/a"}},
                               {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "7"}]}}}],
                "events": [{"name": "exception", "timeUnixNano": str(T0 * 1000), "attributes": [
                    {"key": "exception.type", "value": {"stringValue": "KeyError"}},
                    {"key": "exception.stacktrace", "value": {"stringValue": STACK}}]}],
                "links": [{"traceId": "ef" * 16, "spanId": "34" * 8}],
            }],
        }],
    }]
}  # fmt: skip
DEEP: dict[str, object] = {"stringValue": "x"}
for _ in range(150):
    DEEP = {"arrayValue": {"values": [DEEP]}}
ODD = [
    None, True, 0, -1, 2**64 - 1, 2**64, 10**400, -(2**63), 1e308, float("inf"), float("nan"), "", "x", "-1", "9" * 20,
    "1e400", "\x00", "\ud800", "\U0010ffff" * 300, "ab" * 16, NGINX, "00" * 8, [], {}, [None], [[]], [{}], {"a": {}},
    {"intValue": "9" * 20}, {"doubleValue": "Infinity"}, DEEP, "SPAN_KIND_SERVER", "9999-12-31T23:59:59Z",
]  # fmt: skip


def shown(spans: list[WholeSpan]) -> Trace:
    """Keep what came of a request, and let every reader have it."""
    held = HeldSpans()
    held.add(spans)
    Versions((), 0.0).changes(spans, 1.0, 1)
    kept = pack(ROW, "error", held.take(bytes.fromhex(TRACE)), service="nginx", has_messages=True)
    json.dumps(to_otlp_json(kept.data), allow_nan=False).encode()
    Grouping().failure(failed(ROW), unpack(kept.data))
    answer = trace(TRACE, [(ENTRY, kept)], None)
    json.loads(TypeAdapter(Trace).dump_json(answer))
    json.dumps([one.own_ms for one in digest(answer).slowest], allow_nan=False)
    print_trace(Console(file=io.StringIO(), width=120), answer)
    return answer


def places(value, path=()):
    """Return every place in a document."""
    found = [path] if path else []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(inner, (*path, key))
    return found


@pytest.mark.long
@pytest.mark.parametrize("place", places(REQUEST), ids=lambda place: ".".join(map(str, place[1:])))
def test_whatever_stands_in_a_request_it_is_refused_or_shown(place):
    outcomes = set()
    for odd in ODD:
        request = copy.deepcopy(REQUEST)
        holder = request
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = odd
        try:
            decoded = decode_traces(json.dumps(request).encode(), JSON, has_whole=True)
        except OtlpError as error:
            outcomes.add(error.status)
            continue
        shown(decoded.whole)
        outcomes.add(len(decoded.whole))
    assert outcomes <= {400, 0, 1}


def span(number, parent, **attributes):
    made = Span(
        trace_id=bytes.fromhex(TRACE), span_id=number.to_bytes(8), parent_span_id=parent.to_bytes(8), name="work",
        start_time_unix_nano=T0 * 1000, end_time_unix_nano=(T0 + 10_000) * 1000,
    )  # fmt: skip
    for key, value in attributes.items():
        made.attributes.add(key=key).value.int_value = value
    return WholeSpan(made.trace_id, made.SerializeToString(), "shop", "1")


def test_of_too_much_some_is_shown():
    """A hundred thousand children of one span, ten thousand attributes, a chain, a thousand times the same id."""
    child = span(2, 1)
    more = (
        child._replace(data=child.data.replace(bytes([0] * 7 + [2]), number.to_bytes(8)))
        for number in range(2, 100_002)
    )
    children = shown([span(1, 0), *more])
    assert len(children.spans) == SPANS_MAX
    assert {one.depth for one in children.spans if not one.nginx} == {0, 1}
    (one,) = [one for one in shown([span(1, 0, **{f"a{n}": n for n in range(2_000)})]).spans if not one.nginx]
    assert len(one.attributes) == ATTRIBUTES_MAX
    assert [one for one in shown([span(1, 0, **{f"a{n}": n for n in range(10_000)})]).spans if not one.nginx] == [], (
        "longer than a span may be"
    )
    chain = shown([span(number, number - 1) for number in range(1, 600)])
    assert (len(chain.spans), max(one.depth for one in chain.spans)) == (SPANS_MAX, DEPTH_MAX)
    assert len([one for one in shown([span(7, 1)] * 1_000).spans if not one.nginx]) == 1
    wide = shown([span(number, 0, **{f"{'k' * 100}{n}": n for n in range(64)}) for number in range(1, 60)])
    assert len(TypeAdapter(Trace).dump_json(wide)) < 8 * TRACE_BYTES_MAX


@pytest.mark.parametrize("parents", [[1], [2, 1], [3, 1, 2], [1, 1, 1]])
def test_a_span_that_is_below_itself_is_shown_once_with_its_time(parents):
    answer = shown([span(number, parent) for number, parent in enumerate(parents, 1)])
    assert sorted(one.id for one in answer.spans if not one.nginx) == [f"{n:016x}" for n in range(1, len(parents) + 1)]
    if parents == [1]:
        assert [one.own_ms for one in digest(answer).slowest] == [10.0], "no child of its own takes its time"

"""OTLP bodies and the spans they hold, side by side."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tailtrace_bridge.core.errors import OtlpError
from tailtrace_bridge.core.records import AppSpan
from tailtrace_bridge.spans import otlp
from tailtrace_bridge.spans.otlp import (
    JSON,
    PATH_LENGTH_MAX,
    PROTOBUF,
    Decoded,
    decode_traces,
    encode_error,
    encode_success,
    error_class,
    unpack,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SPAN = "00f067aa0ba902b7"
START = 1_760_000_000_000_000_000

SERVER = {
    "traceId": TRACE,
    "spanId": SPAN,
    "parentSpanId": PARENT,
    "kind": 2,
    "startTimeUnixNano": str(START),
    "endTimeUnixNano": str(START + 12_345_678),
    "attributes": [
        {"key": "http.route", "value": {"stringValue": "/items/{id}"}},
        {"key": "http.response.status_code", "value": {"intValue": "200"}},
        {"key": "http.request.method", "value": {"stringValue": "GET"}},
    ],
}
JOINABLE = AppSpan(TRACE, PARENT, "/items/{id}", 12_345, "", "shop")


def in_json(*spans: dict) -> bytes:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}).encode()


def in_protobuf(*spans: dict) -> bytes:
    """The same spans, set field by field."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    service = resource_spans.resource.attributes.add()
    service.key, service.value.string_value = "service.name", "shop"
    scope_spans = resource_spans.scope_spans.add()
    for given_span in spans:
        span = scope_spans.spans.add()
        span.trace_id = bytes.fromhex(given_span["traceId"])
        span.span_id = bytes.fromhex(given_span["spanId"])
        span.parent_span_id = bytes.fromhex(given_span.get("parentSpanId", ""))
        span.kind = given_span["kind"]
        span.start_time_unix_nano = int(given_span["startTimeUnixNano"])
        span.end_time_unix_nano = int(given_span["endTimeUnixNano"])
        span.status.code = given_span.get("status", {}).get("code", 0)
        _set_attributes(span, given_span)
        for given_event in given_span.get("events", []):
            _set_attributes(span.events.add(), given_event)
    return request.SerializeToString()


def _set_attributes(message, holder: dict) -> None:
    for pair in holder.get("attributes", []):
        attribute = message.attributes.add()
        attribute.key = pair["key"]
        if "stringValue" in pair["value"]:
            attribute.value.string_value = pair["value"]["stringValue"]
        else:
            attribute.value.int_value = int(pair["value"]["intValue"])


def attribute(key: str, value: str | int) -> dict:
    return {"key": key, "value": {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)}}


HANDLED = [{"name": "exception", "attributes": [attribute("exception.type", "KeyError")]}]
RAISED = [{"name": "exception", "attributes": [attribute("exception.type", "ValueError")]}]

BOTH = [
    ("server", SERVER, JOINABLE),
    ("no parent", {**SERVER, "parentSpanId": ""}, AppSpan(TRACE, "", "/items/{id}", 12_345, "", "shop")),
    ("no route matched", {**SERVER, "attributes": []}, AppSpan(TRACE, PARENT, "", 12_345, "", "shop")),
    (
        "error.type as it is",
        {**SERVER, "status": {"code": 2}, "events": RAISED, "attributes": [attribute("error.type", "KeyError")]},
        AppSpan(TRACE, PARENT, "", 12_345, "KeyError", "shop"),
    ),
    (
        "error.type with what the exception said",
        {**SERVER, "attributes": [attribute("error.type", "shop.NoUser: ana\nis gone")]},
        AppSpan(TRACE, PARENT, "", 12_345, "shop.NoUser", "shop"),
    ),
    (
        "failed, the exception in an event",
        {
            **SERVER,
            "status": {"code": 2},
            "events": RAISED,
            "attributes": [attribute("http.response.status_code", 500)],
        },
        AppSpan(TRACE, PARENT, "", 12_345, "ValueError", "shop"),
    ),
    (
        "failed twice: the last exception ended it",
        {**SERVER, "status": {"code": 2}, "events": [*HANDLED, *RAISED], "attributes": []},
        AppSpan(TRACE, PARENT, "", 12_345, "ValueError", "shop"),
    ),
    (
        "an exception that was handled",
        {**SERVER, "events": RAISED, "attributes": []},
        AppSpan(TRACE, PARENT, "", 12_345, "", "shop"),
    ),
    (
        "5xx by status only",
        {**SERVER, "attributes": [attribute("http.response.status_code", 503)]},
        AppSpan(TRACE, PARENT, "", 12_345, "503", "shop"),
    ),
    (
        "4xx is no error of the server",
        {**SERVER, "attributes": [attribute("http.response.status_code", 404)]},
        AppSpan(TRACE, PARENT, "", 12_345, "", "shop"),
    ),
    (
        "failed, and says no more",
        {**SERVER, "status": {"code": 2}, "attributes": []},
        AppSpan(TRACE, PARENT, "", 12_345, "_OTHER", "shop"),
    ),
    (
        "route too long",
        {**SERVER, "attributes": [attribute("http.route", "/" + "a" * 300)]},
        AppSpan(TRACE, PARENT, "/" + "a" * 255, 12_345, "", "shop"),
    ),
    (
        "route with control characters",
        {**SERVER, "attributes": [attribute("http.route", "/a\x1b[31m\n")]},
        AppSpan(TRACE, PARENT, "/a\ufffd[31m\ufffd", 12_345, "", "shop"),
    ),
    (
        "route of the wrong type",
        {**SERVER, "attributes": [attribute("http.route", 7)]},
        AppSpan(TRACE, PARENT, "", 12_345, "", "shop"),
    ),
]


@pytest.mark.parametrize(("span", "expected"), [case[1:] for case in BOTH], ids=[case[0] for case in BOTH])
def test_a_server_span_is_the_same_in_both_encodings(span, expected):
    assert decode_traces(in_protobuf(span), PROTOBUF) == Decoded([expected], 0, {}, 0)
    assert decode_traces(in_json(span), JSON) == Decoded([expected], 0, {}, 0)


REJECTED = [
    ({**SERVER, "traceId": "00" * 16}, "bad-id"),
    ({**SERVER, "traceId": "0af765"}, "bad-id"),
    ({**SERVER, "traceId": ""}, "bad-id"),
    ({**SERVER, "spanId": ""}, "bad-id"),
    ({**SERVER, "parentSpanId": "00" * 8}, "bad-id"),
    ({**SERVER, "parentSpanId": "b7ad"}, "bad-id"),
    ({**SERVER, "startTimeUnixNano": "0"}, "bad-time"),
    ({**SERVER, "endTimeUnixNano": str(START - 1)}, "bad-time"),
    ({**SERVER, "startTimeUnixNano": "1"}, "bad-time"),
]


@pytest.mark.parametrize(("span", "reason"), REJECTED)
def test_a_bad_span_is_rejected_and_the_rest_taken(span, reason):
    expected = Decoded([JOINABLE], 1, {reason: 1}, 0)
    assert decode_traces(in_protobuf(span, SERVER), PROTOBUF) == expected
    assert decode_traces(in_json(span, SERVER), JSON) == expected


JSON_ONLY = [
    ({**SERVER, "kind": "SPAN_KIND_SERVER"}, Decoded([JOINABLE], 0, {}, 0)),
    ({**SERVER, "traceId": TRACE.upper()}, Decoded([JOINABLE], 0, {}, 0)),
    ({**SERVER, "startTimeUnixNano": START, "endTimeUnixNano": START + 12_345_678}, Decoded([JOINABLE], 0, {}, 0)),
    ({**SERVER, "new_in_2030": {"a": [1]}, "links": [{"traceId": "?"}]}, Decoded([JOINABLE], 0, {}, 0)),
    ({**SERVER, "events": None, "status": None}, Decoded([JOINABLE], 0, {}, 0)),
    ({**SERVER, "traceId": "CvdlGRbNQ92ESOshHIAxnA=="}, Decoded([], 1, {"bad-id": 1}, 0)),  # base64 is not the mapping
    ({**SERVER, "traceId": 5}, Decoded([], 1, {"bad-id": 1}, 0)),
    ({**SERVER, "parentSpanId": 5}, Decoded([], 1, {"bad-id": 1}, 0)),
    ({**SERVER, "endTimeUnixNano": "soon"}, Decoded([], 1, {"bad-time": 1}, 0)),
    ({**SERVER, "kind": [2]}, Decoded([], 0, {}, 1)),
]


@pytest.mark.parametrize(("span", "expected"), JSON_ONLY)
def test_the_json_mapping(span, expected):
    assert decode_traces(in_json(span), "application/json; charset=utf-8") == expected


def test_spans_of_other_kinds_are_ignored_not_rejected():
    spans = [{**SERVER, "kind": kind} for kind in (0, 1, 2, 3, 4, 5)]
    assert decode_traces(in_protobuf(*spans), PROTOBUF) == Decoded([JOINABLE], 0, {}, 5)
    assert decode_traces(in_json(*spans), JSON) == Decoded([JOINABLE], 0, {}, 5)


def test_an_empty_request_is_one():
    assert decode_traces(b"", PROTOBUF) == Decoded([], 0, {}, 0)
    assert decode_traces(b"{}", JSON) == Decoded([], 0, {}, 0)


def any_value(depth: int) -> bytes:
    """An attribute whose list holds a list holds a list …, written on the wire by hand."""
    value = b""
    for _ in range(depth):
        for tag in (b"\x0a", b"\x2a"):  # ArrayValue.values, AnyValue.array_value
            value = tag + _varint(len(value)) + value
    return value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def nested_protobuf(depth: int) -> bytes:
    value = any_value(depth)
    for tag in (b"\x12", b"\x0a", b"\x0a", b"\x0a"):  # KeyValue.value, Resource.attributes, .resource, .resource_spans
        value = tag + _varint(len(value)) + value
    return value


def message(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def with_one_span_more(span: bytes, resource: bytes = b"") -> bytes:
    """A request with a good span, and one that is written on the wire by hand."""
    good = ExportTraceServiceRequest.FromString(in_protobuf(SERVER)).resource_spans[0]
    spans = b"".join(message(2, one) for one in (span, good.scope_spans[0].spans[0].SerializeToString()))
    resource = good.resource.SerializeToString() + resource
    return message(1, message(1, resource) + message(2, message(1, b"\x0a\x01x") + spans))


def one_span() -> bytes:
    request = ExportTraceServiceRequest.FromString(in_protobuf(SERVER))
    body: bytes = request.resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    return body


NO_UTF8 = message(1, b"k") + message(2, message(1, b"caf\xe9"))
UNREADABLE = [
    one_span().replace(b"/items/{id}", b"/caf\xe9/{id}"),
    one_span() + message(5, b"GET \xff"),
    one_span() + message(9, NO_UTF8),
    one_span() + message(9, message(1, b"deep") + message(2, any_value(60))),
    one_span() + message(11, message(3, NO_UTF8)),
    b"\xff\xff",
]


@pytest.mark.parametrize("span", UNREADABLE, ids=range(len(UNREADABLE)))
def test_a_span_that_protobuf_cannot_read_costs_itself_alone(span):
    decoded = decode_traces(with_one_span_more(span), PROTOBUF, has_whole=True)
    assert (decoded.spans, decoded.rejected, decoded.reasons) == ([JOINABLE], 1, {"unreadable": 1})
    assert [one.service for one in decoded.whole] == ["shop"]
    assert decoded.message.startswith("1 spans rejected (1 unreadable)")


def test_a_resources_attribute_that_cannot_be_read_is_left_out():
    body = with_one_span_more(one_span(), message(1, NO_UTF8))
    assert decode_traces(body, PROTOBUF) == Decoded([JOINABLE, JOINABLE], 0, {}, 0)


def test_json_with_a_text_that_is_no_utf8_is_read():
    body = in_json(SERVER, {**SERVER, "attributes": [attribute("http.route", "/caf#")]}).replace(b"#", b"\xe9")
    assert [one.route for one in decode_traces(body, JSON).spans] == ["/items/{id}", "/caf\ufffd"]


@pytest.mark.parametrize("kind", ["stringValue", "arrayValue", "kvlistValue"])
def test_half_a_character_in_json_costs_itself_alone(kind):
    """JSON can escape half of a pair; protobuf's own reader of JSON falls over one in a field's name."""
    half = {"key": "note", "value": {kind: "\ud83d" if kind == "stringValue" else {"\ud83d": "\udfff"}}}
    whole = attribute("shop", "\N{ROCKET}")
    body = in_json({**SERVER, "attributes": [half, whole, attribute("http.route", "/caf\ud83d")]})
    decoded = decode_traces(body, JSON, has_whole=True)
    assert ([one.route for one in decoded.spans], decoded.rejected) == (["/caf\ufffd"], 0)
    assert "\N{ROCKET}".encode() in decoded.whole[0].data


def test_nginxs_own_span_stays_out_though_another_cannot_be_read():
    ours = message(
        1, message(2, message(1, message(1, b"tailtrace.nginx")) + message(2, b"\xff") + message(2, one_span()))
    )
    assert decode_traces(ours, PROTOBUF) == Decoded([], 1, {"unreadable": 1}, 1)


REFUSED = [
    (b"\xff\xff", PROTOBUF, 400),
    (b"<html>", PROTOBUF, 400),
    (nested_protobuf(2000), PROTOBUF, 400),
    (b"", JSON, 400),
    (b"{", JSON, 400),
    (b"[]", JSON, 400),
    (b"\xff", JSON, 400),
    (b"[" * 1_000_000, JSON, 400),
    (b'{"a":' * 200_000, JSON, 400),
    (b"9" * 10_000, JSON, 400),
    (b'{"resourceSpans": 1}', JSON, 400),
    (b'{"resourceSpans": [1]}', JSON, 400),
    (b'{"resourceSpans": [{"resource": []}]}', JSON, 400),
    (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"kind": 2, "attributes": {}}]}]}]}', JSON, 400),
    (b"", "text/plain", 415),
    (b"", "", 415),
    (b"", "application/x-protobufs", 415),
    (b"\x0a\x00" * 500_001, PROTOBUF, 413),  # half a million empty resources
    (b'{"resourceSpans":[' + b"{}," * 500_000 + b"{}]}", JSON, 413),
]


@pytest.mark.parametrize(("body", "content_type", "status"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_request_is_an_otlp_error(body, content_type, status):
    with pytest.raises(OtlpError) as caught:
        decode_traces(body, content_type)
    assert caught.value.status == status
    assert len(str(caught.value)) < 200


def test_nesting_that_protobuf_allows_passes():
    assert decode_traces(nested_protobuf(20), PROTOBUF) == Decoded([], 0, {}, 0)


def test_a_body_too_long_is_not_even_parsed():
    with pytest.raises(OtlpError) as caught:
        decode_traces(bytes(otlp.DECODED_BYTES_MAX + 1), PROTOBUF)
    assert caught.value.status == 413


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(TRACE) | st.just(2),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["resourceSpans", "scopeSpans", "resource", "attributes", "key", "value", *SERVER]), inner
        )
    ),
)


def decodes_or_refuses(body: bytes, content_type: str) -> None:
    try:
        decoded = decode_traces(body, content_type)
    except OtlpError as error:
        assert error.status in {400, 413, 415}  # noqa: PT017
    else:
        assert decoded.rejected == sum(decoded.reasons.values())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("shop.NoStock", "shop.NoStock"), ("std::io::Error", "std::io::Error"), ("*net.OpError", "*net.OpError"),
        ("500", "500"), ("_OTHER", "_OTHER"), ("Base[int].<locals>.Gone", "Base[int].<locals>.Gone"),
        ("KeyError: 'ana'", "KeyError"), ("KeyError('ana')", "KeyError"), ("a.E:\nana", "_OTHER"), ("a.E:", "a.E"),
        ("no such user: ana", "_OTHER"), ("ana@example.com", "_OTHER"), ("E::", "_OTHER"), ("", ""),
    ],
)  # fmt: skip
def test_of_an_errors_type_the_class_is_kept(text, kept):
    assert error_class(text) == kept


@given(body=st.binary(), content_type=st.sampled_from([JSON, PROTOBUF]) | st.text())
def test_any_bytes(body, content_type):
    decodes_or_refuses(body, content_type)


@settings(max_examples=60)
@given(place=st.integers(0, 300), noise=st.binary(min_size=1, max_size=8))
def test_any_bytes_inside_a_real_request(place, noise):
    for body, content_type in ((in_protobuf(SERVER), PROTOBUF), (in_json(SERVER), JSON)):
        decodes_or_refuses(body[:place] + noise + body[place + len(noise) :], content_type)


@settings(max_examples=60)
@given(span=json_values, scope=json_values, resource=json_values)
def test_any_json(span, scope, resource):
    decodes_or_refuses(json.dumps(span).encode(), JSON)
    request = {
        "resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [{"kind": 2, "events": span}]}, scope]}]
    }
    decodes_or_refuses(json.dumps(request).encode(), JSON)


@given(body=st.binary())
def test_any_bytes_unpacked(body):
    assert unpack(gzip.compress(body, mtime=0), "GZIP") == body
    assert unpack(body, "identity") == unpack(body, "") == body
    try:
        unpack(body, "gzip")
    except OtlpError as error:
        assert error.status == 400  # noqa: PT017


UNPACKED = [
    (b"not gzip", "gzip", 400),
    (gzip.compress(b"cut short", mtime=0)[:-1], "gzip", 400),
    (gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0), "gzip", 400),
    (gzip.compress(b"one", mtime=0) + b"\0", "gzip", 400),
    (gzip.compress(bytes(1001), mtime=0), "gzip", 413),
    (bytes(1001), "", 413),
    (b"", "br", 415),
    (b"", "gzip, gzip", 415),
]


@pytest.mark.parametrize(("body", "encoding", "status"), UNPACKED)
def test_what_does_not_unpack(body, encoding, status):
    with pytest.raises(OtlpError) as caught:
        unpack(body, encoding, 1000)
    assert caught.value.status == status


def test_the_limit_itself_unpacks():
    assert unpack(gzip.compress(bytes(1000), mtime=0), "gzip", 1000) == bytes(1000)


def test_answers():
    assert encode_success(PROTOBUF) == b""
    assert encode_success(JSON) == b"{}"
    assert encode_success(JSON, 2, "why") == b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "why"}}'
    response = ExportTraceServiceResponse.FromString(encode_success(PROTOBUF, 2, "why"))
    assert (response.partial_success.rejected_spans, response.partial_success.error_message) == (2, "why")
    assert encode_error(JSON, "why") == b'{"message": "why"}'
    assert encode_error(PROTOBUF, "why") == b"\x12\x03why"  # google.rpc.Status: field 2, a string


def test_the_message_says_what_was_wrong():
    decoded = decode_traces(in_json(REJECTED[0][0], REJECTED[6][0], REJECTED[7][0]), JSON)
    assert decoded.message == (
        "3 spans rejected (1 bad-id, 2 bad-time): ids are 16 and 8 bytes, not all zero; 0 < start <= end; texts are "
        "UTF-8, and lists not nested fifty deep"
    )
    assert decode_traces(b"{}", JSON).message == ""


@pytest.mark.parametrize(
    ("attributes", "method", "path", "status"),
    [
        ([attribute("http.request.method", "PUT"), attribute("url.path", "/a/7"), attribute("http.response.status_code", 404)], "PUT", "/a/7", 404),
        ([attribute("http.method", "GET"), attribute("http.target", "/a/7?token=x"), attribute("http.status_code", 200)], "GET", "/a/7", 200),
        ([attribute("http.url", "https://shop.example:8443/a/7?token=x")], "", "/a/7", 0),
        ([attribute("http.url", "https://shop.example")], "", "", 0),
        ([attribute("url.path", "/" + "a" * 999)], "", "/" + "a" * (PATH_LENGTH_MAX - 1), 0),
        ([attribute("http.request.method", 7), attribute("url.path", 7), attribute("http.status_code", "200")], "", "", 0),
        ([attribute("http.response.status_code", 0)], "", "", 0),
        ([attribute("http.response.status_code", 700)], "", "", 0),
        ([attribute("http.response.status_code", -1)], "", "", 0),
        ([], "", "", 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("encode", "media"), [(in_json, JSON), (in_protobuf, PROTOBUF)])
def test_what_the_app_was_asked_for(encode, media, attributes, method, path, status):
    (span,) = decode_traces(encode({**SERVER, "attributes": attributes}), media).spans
    assert (span.method, span.path, span.status, span.start_us) == (method, path, status, START // 1000)


def test_json_objects_are_bounded_however_deep_and_of_whatever_kind_of_span():
    """Else protobuf's reader of JSON takes a minute over what 16 KiB of gzip unpack to."""
    values = ",".join(["{}"] * otlp.ELEMENTS_MAX)
    body = '{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":1,"attributes":[{"key":"a","value":'
    body += f'{{"arrayValue":{{"values":[{values}]}}}}}}]}}]}}]}}]}}'
    with pytest.raises(OtlpError) as refused:
        otlp.decode_traces(body.encode(), otlp.JSON, has_whole=True)
    assert refused.value.status == 413

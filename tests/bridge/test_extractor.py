"""Which value of a line becomes which field: where a format has several, where one is missing, where one is none."""

import json

import pytest

from tailtrace_bridge.core.records import Access, RejectedLine
from tailtrace_bridge.logs.extractor import ESCAPED_LENGTH_MAX, REQUEST_LENGTH_MAX, _short
from tailtrace_bridge.logs.format import unescape_default, unescape_json
from tailtrace_bridge.logs.parser import make_parser

ID = "5af7183fb1d4cf5ff0b5a2d7d4b3c1aa"
BEGIN_US = 1_759_933_935_000_000
"""2025-10-08T14:32:15Z."""


def parsed(log_format: str, *values: str) -> Access | RejectedLine:
    """A line of the values between bars, read by a format of the same variables between bars."""
    return make_parser("|".join(log_format.split())).parse("|".join(values).encode(), "a.log", 0)


@pytest.mark.parametrize(
    ("server_name", "http_host", "service"),
    [("shop", "b.example", "shop"), ("-", "b.example", "b.example"), ("", "b.example", "b.example"), ("-", "-", "")],
)
def test_the_first_variable_that_has_a_value(server_name, http_host, service):
    found = parsed("$msec $remote_addr $server_name $http_host", "1759933935.000", "100.64.0.7", server_name, http_host)
    assert found.service == service


@pytest.mark.parametrize(
    ("real_ip", "forwarded", "address"),
    [("203.0.113.7", "203.0.113.9", "203.0.113.7"), ("nobody", "203.0.113.9", "203.0.113.9"), ("-", "-", "")],
)
def test_an_address_that_is_none_is_passed_over(real_ip, forwarded, address):
    found = parsed("$msec $http_x_real_ip $http_x_forwarded_for", "1759933935.000", real_ip, forwarded)
    assert found.address == address


@pytest.mark.parametrize(
    ("real_ip", "forwarded", "address"),
    [("203.0.113.7", "203.0.113.9", "203.0.113.7"), ("nobody", "203.0.113.9", "203.0.113.9")],
)
def test_nor_in_a_line_of_json(real_ip, forwarded, address):
    line = {
        "msec": "1759933935.000",
        "http_x_real_ip": real_ip,
        "http_x_forwarded_for": forwarded,
        "request": "GET /",
        "status": 200,
    }
    assert make_parser().parse(json.dumps(line).encode(), "a.log", 0).address == address


def test_the_trace_id_is_of_the_first_variable_that_the_format_has():
    log_format = "$msec $remote_addr $tailtrace_trace_id $request_id"
    assert parsed(log_format, "1759933935.000", "100.64.0.7", "-", ID).trace_id == ""


@pytest.mark.parametrize(("port", "expected"), [("65535", 65_535), ("655350", 0), ("", 0), ("-", 0)])
def test_a_port(port, expected):
    found = parsed("$msec $remote_addr $remote_port", "1759933935.000", "100.64.0.7", port)
    assert found.peer_port == expected


@pytest.mark.parametrize(
    ("method", "target", "line", "asked"),
    [
        ("GET", "/a", "POST /b HTTP/1.1", ("GET", "/a")), ("-", "/a", "POST /b HTTP/1.1", ("POST", "/b")),
        ("GET", "", "POST /b HTTP/1.1", ("POST", "/b")), ("", "/a", "POST /b HTTP/1.1", ("POST", "/b")),
        ("-", "/a", "", ("_OTHER", "/a")), ("GET", "", "", ("_OTHER", "")),
    ],
)  # fmt: skip
def test_method_and_target_or_else_the_request_line(method, target, line, asked):
    log_format = "$msec $remote_addr $request_method $request_uri $request"
    found = parsed(log_format, "1759933935.000", "100.64.0.7", method, target, line)
    assert (found.method, found.path) == asked


@pytest.mark.parametrize(
    ("size", "expected"),
    [("9" * 13, 10**13 - 1), ("0", 0), ("-", 0), ("9" * 14, "bad-number"), ("x", "bad-number"), ("-1", "bad-number")],
)
def test_a_size(size, expected):
    found = parsed("$msec $remote_addr $bytes_sent", "1759933935.000", "100.64.0.7", size)
    assert (found.reason if isinstance(found, RejectedLine) else found.bytes_sent) == expected


@pytest.mark.parametrize(("trace_id", "kept"), [(ID, ID), (ID.upper(), ""), (ID[:-1], ""), ("-", ""), ("", "")])
def test_a_trace_id_has_32_digits_and_a_span_id_16(trace_id, kept):
    log_format = "$msec $remote_addr $tailtrace_trace_id $tailtrace_span_id"
    found = parsed(log_format, "1759933935.000", "100.64.0.7", trace_id, trace_id[:16])
    assert found.trace_id == kept
    assert found.span_id == ("" if trace_id in {ID.upper(), "-", ""} else trace_id[:16])


@pytest.mark.parametrize("seconds", [0, 2])
def test_traefik_says_when_a_request_began(seconds):
    line = {
        "ClientHost": "100.64.0.7", "StartUTC": "2025-10-08T14:32:15Z", "Duration": seconds * 10**9,
        "RequestMethod": "GET", "RequestPath": "/a", "DownstreamStatus": 200, "DownstreamContentSize": 5,
    }  # fmt: skip
    found = make_parser().parse(json.dumps(line).encode(), "a.log", 0)
    assert (found.time_us, found.request_time_us) == (BEGIN_US, seconds * 1_000_000)


def test_caddy_says_when_it_ended():
    line = {
        "ts": 1759933935.0, "duration": 2.0, "status": 200, "size": 5,
        "request": {"remote_ip": "100.64.0.7", "method": "GET", "uri": "/a", "host": "shop"},
    }  # fmt: skip
    found = make_parser().parse(json.dumps(line).encode(), "a.log", 0)
    assert (found.time_us, found.request_time_us) == (BEGIN_US - 2_000_000, 2_000_000)


@pytest.mark.parametrize(("address", "is_read"), [("100.64.0.7", True), ("nobody", False)])
def test_a_format_reads_a_line_that_fits_and_whose_values_can_be_read(address, is_read):
    parser = make_parser("$msec|$remote_addr")
    found = parser.format_of(f"1759933935.000|{address}".encode())
    assert found == (parser.formats[0] if is_read else None)


@pytest.mark.parametrize(("request_id", "is_one"), [(ID, True), ("-", False), ("abc", False)])
def test_only_a_whole_request_id_names_a_line_wherever_it_stands(request_id, is_one):
    line = f"1759933935.000|100.64.0.7|{request_id}".encode()
    parser = make_parser("$msec|$remote_addr|$request_id")
    keys = {parser.parse(line, "a.log", offset).key for offset in (0, 500)}
    assert len(keys) == (1 if is_one else 2)


@pytest.mark.parametrize("unit", ["a", "\\x22", "a\\x22", "\\xC3\\xA9", "\\xF0\\x9F\\x98\\x80", "\\\\", "\\x2"])
@pytest.mark.parametrize("before", ["", "b", "bb", "bbb"])
def test_of_a_long_escaped_text_the_beginning_is_unescaped(unit, before):
    text = before + unit * 20_000
    short = _short(text)
    assert len(short) <= ESCAPED_LENGTH_MAX
    assert unescape_default(short)[:REQUEST_LENGTH_MAX] == unescape_default(text)[:REQUEST_LENGTH_MAX]


@pytest.mark.parametrize("unit", ["\\u0001", "\\ud83d\\ude00", "\\n", "\\u00e9"])
@pytest.mark.parametrize("before", ["", "b", "bb", "bbb", "bbbb", "bbbbb"])
def test_of_a_long_text_in_json_too(unit, before):
    text = before + unit * 20_000
    assert unescape_json(_short(text))[:REQUEST_LENGTH_MAX] == unescape_json(text)[:REQUEST_LENGTH_MAX]

"""What an app said of its answer: each row of the table, and whatever else a stranger could write there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtrace_bridge.core.records import Access
from tailtrace_bridge.rows.app_header import (
    ROUTE_LENGTH_MAX,
    TEXT_LENGTH_MAX,
    AppAnswer,
    last_attempt_us,
    last_status,
    needs_span,
    read,
)

MS = 1000


def line(app: str, *, request_ms: int = 400, upstream_ms: int = 300, **more) -> Access:
    plain = Access(
        0, 1, "::1", "GET", "/", 200, request_ms * MS, upstream_ms * MS, True, 9, "", "a" * 32, "b" * 16, "", ""
    )
    return plain._replace(app=app, **more)


def exchange(header_s: str, response_s: str, *, status: str = "200", length: str = "9", announced: str = "9") -> str:
    """As nginx writes it (`format.TAILTRACE_EXCHANGE`)."""
    times = ("127.0.0.1:8000", response_s, status, "0.000", header_s, length, announced)
    return "\t".join(("", *times, "HTTP/1.1", "http", "80", "9", "shop"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", None),
        ("1", AppAnswer(None)),
        ("1;t=5", AppAnswer(5)),
        ("1;t=5;r=/items/{item_id};e=ValueError;s=shop;v=1.4.0", AppAnswer(5, "/items/{item_id}", "ValueError", "shop", "1.4.0")),
        ("1;t=5;r=/a;i=body.price:missing", AppAnswer(5, "/a", "invalid body.price: missing")),
        ("1;t=5;r=/a;e=KeyError;i=body.price:missing", AppAnswer(5, "/a", "KeyError")),
        ("1;t=5;r=/a;i=body", AppAnswer(5, "/a")),
        ("1;v=2;r=/a;t=7", AppAnswer(7, "/a", "", "", "2")),
        ("1;t=5;r=/a;later=x;x-1=y", AppAnswer(5, "/a")),
        ("1;t=5;r=/caf%C3%A9/%7Bx%7D;e=503", AppAnswer(5, "/café/{x}", "503")),
        ("1;t=5;e=%1B[31m".replace("[", "%5B"), AppAnswer(5, "", "\\x1b[31m")),
        ("1;t=5;s=" + "s" * 900, AppAnswer(5, "", "", "s" * TEXT_LENGTH_MAX)),
        ("1;t=5;r=/" + "r" * 900, AppAnswer(5, "/" + "r" * (ROUTE_LENGTH_MAX - 1))),
        ("1;t=500000", AppAnswer(500_000)),
        ("1;t=500001", "implausible"),
        ("1;t=9999999999999", "implausible"),
        ("1;t=99999999999999", "malformed"),
        ("1;r=/a;t=9999999999999", "implausible"),
        ("1;r=/a;t=99999999999999", "malformed"),
        ("1;t=-5", "malformed"),
        ("1;t=5.0", "malformed"),
        ("1;t=", "malformed"),
        ("1;t=5;t=6", "malformed"),
        ("1;r=/a;t=5;r=/b", "malformed"),
        ("1;t=5;r=items", "malformed"),
        ("1;t=5;r=/%ff", "malformed"),
        ("1;t=5;r=/%4", "malformed"),
        ("1;t=5;r=/a b", "malformed"),
        ('1;t=5;r=/a"', "malformed"),
        ("1;t=5;", "malformed"),
        ("1;t=٥", "malformed"),
        ("2;t=5", "malformed"),
        ("t=5", "malformed"),
        ("1, 1", "malformed"),
        ("1;t=5;s=" + "s" * 1017, "malformed"),
    ],
)  # fmt: skip
def test_a_value(value, said):
    assert read(line(value)) == said


def test_a_line_without_a_time_believes_the_app():
    assert read(line("1;t=9999999")._replace(request_time_us=None)) == AppAnswer(9_999_999)


@pytest.mark.parametrize(
    ("header_s", "response_s", "time_us"),
    [("0.005", "0.104", 4000), ("0.005", "0.105", 104_000), ("0.005", "0.300", 299_000), ("-", "0.300", 4000)],
)
def test_an_answer_that_goes_on_ends_later(header_s, response_s, time_us):
    assert read(line("1;t=4000", exchange=exchange(header_s, response_s))) == AppAnswer(time_us)


@pytest.mark.parametrize(
    ("told", "method", "needs"),
    [
        ({}, "GET", False),
        ({"length": "9", "announced": "9"}, "POST", False),
        ({"length": "8"}, "GET", True),
        ({"length": "0"}, "GET", False),
        ({"announced": ""}, "GET", True),
        ({"announced": "", "status": "304"}, "GET", False),
        ({"announced": "", "status": "204"}, "GET", False),
        ({"announced": "500", "length": "0"}, "HEAD", False),
        ({"status": "101"}, "GET", True),
        ({"status": "502, 200", "length": "0, 9"}, "GET", False),
    ],
)
def test_whether_a_span_may_know_more(told, method, needs):
    said = exchange("0.005", "0.006", **told)
    assert needs_span(line("1;t=5", exchange=said, method=method)) == needs


def test_a_stream_may_have_a_span_that_knows_more():
    assert needs_span(line("1;t=5", exchange=exchange("0.005", "0.200")))
    assert not needs_span(line("1;t=5"))


@given(st.one_of(st.text(), st.text("1;=trev/%aA0 {}9").map("1;t=1".__add__)))
def test_any_text_is_an_answer_or_a_reason(value):
    said = read(line(value))
    assert said in {None, "malformed", "implausible"} or isinstance(said, AppAnswer)
    if isinstance(said, AppAnswer):
        assert (said.route + said.error_type + said.service + said.version).isprintable()


def test_a_header_as_long_as_may_be_is_read():
    value = "1;t=5;s=" + "s" * (1024 - len("1;t=5;s="))
    assert (read(line(value)), read(line(value + "s"))) == (AppAnswer(5, "", "", "s" * TEXT_LENGTH_MAX), "malformed")


def test_the_last_server_that_was_asked_tells():
    two = "\ta:1, b:2\t0.001, 0.240\t502, 404\t-, 0.0\t-, 0.2\t0, 9\t9\tHTTP/1.1\thttp\t80\t9\tx"
    assert (last_attempt_us(line("", exchange=two)), last_status(line("", exchange=two))) == (240 * MS, 404)
    assert (last_attempt_us(line("")), last_status(line(""))) == (300 * MS, 200), "the line does not tell"
    none = exchange("-", "-", status="-")
    assert last_status(line("", exchange=none)) == 200, "nor does an attempt without a status"


@pytest.mark.parametrize(("header_s", "is_stream"), [("0.199", True), ("0.200", True), ("0.201", False)])
def test_how_long_an_answer_goes_on_to_be_a_stream(header_s, is_stream):
    went_on = line("1;t=5", exchange=exchange(header_s, "0.300"))
    assert needs_span(went_on) is is_stream
    assert read(went_on) == AppAnswer(5 + (300_000 - int(float(header_s) * 1e6 + 0.5) if is_stream else 0))


def test_what_took_a_server_just_as_long_may_be_a_stream():
    whole = line("1;t=5", upstream_ms=100, exchange=exchange("0.000", "0.100"))
    assert read(whole) == AppAnswer(100_005)


def test_where_no_server_was_asked_no_span_is_to_come():
    nobody = "\t\t\t\t\t\t\t\tHTTP/1.1\thttp\t80\t9\tshop"
    assert needs_span(line("", exchange=nobody)) is False

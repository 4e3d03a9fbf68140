"""The end of a line of our own format: each field as nginx may write it, and what comes of it."""

import pytest

from tailtrace_bridge.logs.exchange import (
    Attempt,
    Exchange,
    attempts,
    digits,
    read_exchange,
    scheme_of,
    streamed_us,
    streamed_us_of,
)

ONE = Exchange(
    upstream_addr="127.0.0.1:8000", upstream_status="200", upstream_connect_time="0.001", upstream_header_time="0.230",
    upstream_response_time="0.240", upstream_response_length="1200",
)  # fmt: skip
MADE = Attempt("127.0.0.1:8000", 200, 1_000, 230_000, 240_000, 1200)


def test_fields_in_their_order():
    texts = [str(number) for number in range(len(Exchange._fields))]
    assert read_exchange("\t".join(texts)) == Exchange(*texts)


@pytest.mark.parametrize("count", [0, 1, len(Exchange._fields) - 1, len(Exchange._fields) + 1])
def test_another_number_of_fields_says_nothing(count):
    assert read_exchange("\t".join("x" * count)) == Exchange()


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("a.example:8080", "a.example:8080"), ("", ""), (r"a\u00e9\"b", 'aé"b'), (r"a\u0007b", "a\ufffdb"),
        ("a\x07b", "a\ufffdb"), ("é", "é"),
    ],
)  # fmt: skip
def test_a_strangers_text_is_unescaped_and_printable(written, host):
    text = "\t" * (len(Exchange._fields) - 1) + written
    assert read_exchange(text).host == host


def test_one_server():
    assert attempts(ONE) == [MADE]
    assert attempts(ONE._replace(upstream_addr="")) == [], "nginx answered itself"


@pytest.mark.parametrize("between", [", ", " : "])
def test_two_servers(between):
    def both(first, second):
        return f"{first}{between}{second}"

    exchange = Exchange(
        upstream_addr=both("a:1", "b:2"), upstream_status=both("502", "200"), upstream_connect_time=both("-", "0.001"),
        upstream_header_time=both("-", "0.230"), upstream_response_time=both("0.001", "0.240"),
        upstream_response_length=both("0", "1200"),
    )  # fmt: skip
    assert attempts(exchange) == [Attempt("a:1", 502, None, None, 1_000, 0), MADE._replace(address="b:2")]


def test_a_server_of_which_a_column_says_nothing():
    assert attempts(ONE._replace(upstream_addr="127.0.0.1:8000, b:2")) == [MADE, Attempt("b:2", 0, None, None, None, 0)]


@pytest.mark.parametrize(
    ("written", "status"), [("200", 200), ("999", 999), ("20", 0), ("2000", 0), ("2x0", 0), ("-", 0), ("٢٠٠", 0)]
)
def test_a_status_has_three_digits(written, status):
    assert attempts(ONE._replace(upstream_status=written)) == [MADE._replace(status=status)]


@pytest.mark.parametrize(
    ("written", "time_us"),
    [("0.000", 0), ("12.345", 12_345_000), ("-", None), ("", None), ("1", None), ("1.2345", None), ("-1.000", None)],
)
def test_a_time_has_milliseconds(written, time_us):
    assert attempts(ONE._replace(upstream_header_time=written)) == [MADE._replace(header_us=time_us)]


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("0", 0), ("1200", 1200), ("9" * 15, 10**15 - 1), ("9" * 16, None), ("", None), ("-", None), ("1.5", None),
        ("١٢", None), ("12a", None),
    ],
)  # fmt: skip
def test_a_number_of_bytes(written, number):
    assert digits(written) == number
    assert attempts(ONE._replace(upstream_response_length=written)) == [MADE._replace(length=number or 0)]


def test_the_scheme_is_read_without_the_rest():
    text = "\t".join(Exchange(protocol="HTTP/1.1", scheme="https", request_length="80"))
    assert scheme_of(text) == "https"
    assert [scheme_of(short) for short in ("", "https", text.partition("https")[0] + "https")] == ["", "", ""]


@pytest.mark.parametrize(
    ("tried", "time_us"),
    [
        ([MADE], 10_000),
        ([MADE._replace(header_us=0), MADE], 10_000),
        ([MADE, MADE._replace(header_us=1_000)], 239_000),
        ([MADE._replace(header_us=None)], 0),
        ([MADE._replace(response_us=None)], 0),
        ([], 0),
    ],
)
def test_how_long_the_last_answer_went_on_behind_its_head(tried, time_us):
    assert streamed_us(tried) == time_us


def test_the_same_of_a_line():
    assert streamed_us_of("\t".join(ONE)) == 10_000

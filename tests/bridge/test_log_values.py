"""Single values of a log line, at the edges of what each may be."""

from datetime import UTC

import pytest

from tailtrace_bridge.core.records import Access
from tailtrace_bridge.logs.addresses import client_of
from tailtrace_bridge.logs.numbers import SIZE_DIGITS_MAX, duration_us, status_of
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.logs.rejected import UnreadableError
from tailtrace_bridge.logs.times import TIME_US_MAX, epoch_us, iso_reader, local_reader, seconds_us

BAD = "cannot be read"


def read(reader, text):
    """What is read of a text, or that it cannot be."""
    try:
        return reader(text)
    except UnreadableError:
        return BAD


@pytest.mark.parametrize(
    ("listed", "client"),
    [
        ("203.0.113.7", "203.0.113.7"), ("203.0.113.7:443", "203.0.113.7"), ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"), ("203.0.113.7, 127.0.0.1", "203.0.113.7"), ("203.0.113.7, ::1", "203.0.113.7"),
        ("203.0.113.7, unix:", "203.0.113.7"), ("203.0.113.7, 10.1.2.3", "203.0.113.7"), ("10.1.2.3, ::1", "10.1.2.3"),
        ("127.0.0.1", "127.0.0.1"), ("unix:", "unix:"), ("198.51.100.9, 203.0.113.7", "203.0.113.7"), ("-", ""), ("", ""),
        ("unknown, 203.0.113.7", "203.0.113.7"), ("203.0.113.7, unknown", ""), ("203.0.113.7, _hidden", ""),
        ("203.0.113.7, unknown, 10.1.2.3", "10.1.2.3"), ("203.0.113.7,", "203.0.113.7"), ("unknown", ""),
    ],
)  # fmt: skip
def test_the_client_in_a_list_of_proxies(listed, client):
    assert client_of(listed) == client


MS_DIGITS_MAX = SIZE_DIGITS_MAX - 3
"""With `ms` one character less than may not be."""


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("-", None), ("0", 0), ("0.001", 1_000), ("9999999999", 9_999_999_999_000_000), ("12345678901", BAD),
        ("12ms", 12_000), ("9" * MS_DIGITS_MAX + "ms", int("9" * MS_DIGITS_MAX) * 1000),
        ("9" * (MS_DIGITS_MAX + 1) + "ms", BAD), ("ms", BAD), ("x2ms", BAD), ("-2ms", BAD), ("１２ms", BAD), ("12us", BAD),
    ],
)  # fmt: skip
def test_a_duration(text, time_us):
    assert read(duration_us, text) == time_us


@pytest.mark.parametrize(
    ("text", "status"),
    [("200", 200), ("-", 0), ("000", 0), ("0", 0), ("20", BAD), ("2000", BAD), ("2x0", BAD), ("٢٠٠", BAD), ("", BAD)],
)
def test_a_status(text, status):
    assert read(status_of, text) == status


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("0", BAD), ("0.000001", 1), ("4102444799.999999", TIME_US_MAX - 1), ("4102444800", BAD), ("1e9", BAD), ("", BAD),
    ],
)  # fmt: skip
def test_seconds_since_the_epoch(text, time_us):
    assert read(epoch_us, text) == time_us


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("1970-01-01T00:00:00Z", BAD), ("1970-01-01T00:00:00.000001Z", 1), ("2099-12-31T23:59:59.999999Z", TIME_US_MAX - 1),
        ("2100-01-01T00:00:00Z", BAD), ("2100-01-01T00:00:00+01:00", TIME_US_MAX - 3_600_000_000), ("yesterday", BAD),
        ("1970-01-01T00:01:60Z", 120_000_000), ("1970-01-01T01:59:60.5+01:00", 3_600_500_000), ("1970-01-01T00:01:61Z", BAD),
    ],
)  # fmt: skip
def test_a_time_in_iso_8601(text, time_us):
    assert read(iso_reader(UTC), text) == time_us


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("01/Jan/1970:00:00:00 +0000", BAD), ("01/Jan/1970:00:01:01 +0000", 61_000_000),
        ("01/Jan/1970:01:01:01 +0100", 61_000_000), ("01/Jan/1970:00:01:01 -0001", 121_000_000),
        ("01/Jan/1970:00:01:60 +0000", 120_000_000),  # a leap second is the next minute's first to the epoch
        ("01/Jan/2100:00:00:00 +0000", BAD), ("01/Jan/1970:00:01:61 +0000", BAD), ("01/Xyz/1970:00:01:01 +0000", BAD),
        ("01/Jan/1970:00:01:01 +0000 ", BAD), ("01/JAN/1970:00:01:01 +0000", 61_000_000),
        ("01/jan/1970:00:01:01 +0000", 61_000_000), ("01/Ja\u0131/1970:00:01:01 +0000", BAD),
    ],
)  # fmt: skip
def test_a_time_of_nginx(text, time_us):
    assert read(local_reader(UTC), text) == time_us


@pytest.mark.parametrize(
    ("login", "funnel", "serve"),
    [
        ("", "", ""),
        ("-", "-", ""),
        ("ana@example.com", "-", "ana@example.com"),
        ("-", "?1", "?1"),
        ("ana@example.com", "?1", "?1"),  # through Funnel comes nobody that is known
        ("", "?1, ?1", "?1"),
        ("", "?0", ""),
    ],
)
def test_what_serve_says(login, funnel, serve):
    log_format = '$remote_addr [$time_local] "$http_tailscale_user_login" "$http_tailscale_funnel_request"'
    line = f'127.0.0.1 [10/Mar/2024:10:00:00 +0000] "{login}" "{funnel}"'
    record = make_parser(log_format).parse(line.encode(), "f", 0)
    assert isinstance(record, Access), record
    assert record.serve == serve


@pytest.mark.parametrize(
    ("digits", "time_us"),
    [
        (b"1", 1_000_000), (b"0", BAD), (b"%d" % (TIME_US_MAX // 1_000_000 - 1), TIME_US_MAX - 1_000_000),
        (b"%d" % (TIME_US_MAX // 1_000_000), BAD),
    ],
)  # fmt: skip
def test_whole_seconds(digits, time_us):
    assert read(seconds_us, digits) == time_us

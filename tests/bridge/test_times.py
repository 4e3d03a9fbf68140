"""Times as texts: each way of writing one, and what is none."""

from datetime import timedelta, timezone

import pytest

from tailtrace_bridge.core.times import go_time_us, parse_time, since_epoch_us


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01", 0), ("1970-01-01T00:00:01", 1), ("1970-01-01T00:00:01Z", 1), ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59.5Z", -0.5), ("2025-10-08T14:32:15.000001Z", 1_759_933_935.000001),
    ],
)  # fmt: skip
def test_a_time_without_a_zone_is_utc(text, seconds):
    assert since_epoch_us(parse_time(text)) == round(seconds * 1e6)


def test_a_time_without_a_zone_is_of_the_zone_given():
    east = timezone(timedelta(hours=2))
    assert since_epoch_us(parse_time("1970-01-01T02:00:00", east)) == 0
    assert since_epoch_us(parse_time("1970-01-01T02:00:00Z", east)) == 7_200_000_000


@pytest.mark.parametrize("text", ["", "now", "08/Oct/2025:14:32:15 +0000", "2025-13-01", "1760000000"])
def test_no_time(text):
    with pytest.raises(ValueError, match=r"Invalid isoformat string|must be in"):
        parse_time(text)
    assert go_time_us(text) is None


@pytest.mark.parametrize(
    ("value", "time_us"),
    [
        ("2024-01-02T03:04:05.123456789Z", 1_704_164_645_123_456), ("1970-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00Z", None),  # Go's zero time
        ("2024-01-02T03:04:05", None), (None, None), (1_704_164_645, None), ({}, None),
    ],
)  # fmt: skip
def test_a_time_in_json_that_go_wrote(value, time_us):
    assert go_time_us(value) == time_us

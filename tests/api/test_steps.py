"""How a window is cut: which steps for which length, where months begin, what is added up to them."""

from datetime import UTC, datetime

import pytest

from tailtrace_api.answers.steps import (
    DAYS,
    HOURS,
    MINUTES,
    MONTHS,
    cut_of,
    in_part,
    latency_by,
    place_in,
    usage_by,
    whole_hours,
)
from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US, BucketLatency, BucketUsage, Window


def us(*when):
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000


NOON = us(2025, 10, 8, 12)


@pytest.mark.parametrize(
    ("length_us", "bars", "spark", "times"),
    [
        (15 * MINUTE_US, "minute", "minute", "minute"),
        (2 * HOUR_US, "minute", "minute", "minute"),
        (2 * HOUR_US + 1, "ten_minutes", "ten_minutes", "ten_minutes"),
        (12 * HOUR_US, "ten_minutes", "ten_minutes", "ten_minutes"),
        (DAY_US, "hour", "hour", "hour"),
        (7 * DAY_US, "hour", "six_hours", "day"),
        (30 * DAY_US, "day", "day", "day"),
        (90 * DAY_US, "day", "day", "day"),
        (365 * DAY_US, "month", "month", "month"),
    ],
)
def test_the_longer_the_window_the_longer_its_steps(length_us, bars, spark, times):
    cut = cut_of(Window(NOON - length_us, NOON))
    assert (cut.bars.name, cut.spark.name, cut.times.name) == (bars, spark, times)
    assert len(cut.bars.begins(Window(NOON - length_us, NOON))) <= 200


def test_without_requests_nothing_is_shorter_than_an_hour():
    assert cut_of(Window(NOON - HOUR_US, NOON), is_fine=False).bars is HOURS
    assert cut_of(Window(NOON - 30 * DAY_US, NOON), is_fine=False).bars is DAYS
    assert whole_hours(Window(NOON - 90 * MINUTE_US, NOON + 1)) == Window(NOON - 2 * HOUR_US, NOON + HOUR_US)
    assert whole_hours(Window(NOON - HOUR_US, NOON)) == Window(NOON - HOUR_US, NOON)


def test_months_begin_with_the_calendars():
    window = Window(us(2023, 11, 15), us(2024, 3, 1))
    begins = [us(2023, 11, 1), us(2023, 12, 1), us(2024, 1, 1), us(2024, 2, 1)]
    assert MONTHS.begins(window) == begins
    assert MONTHS.begins(Window(window.start_us, window.end_us + 1)) == [*begins, us(2024, 3, 1)]
    assert [MONTHS.begin(one) for one in (us(2024, 2, 29), us(2024, 2, 1), us(1970, 1, 1))] == [
        us(2024, 2, 1), us(2024, 2, 1), 0,
    ]  # fmt: skip
    assert [place_in(begins, one) for one in (us(2023, 10, 31), us(2023, 11, 1), us(2024, 1, 31), us(2024, 2, 9))] == [
        None, 0, 2, 3,
    ]  # fmt: skip


def test_days_are_added_up_to_months():
    days = [BucketUsage(us(2024, 1, 31), 3, 1, 2, 10), BucketUsage(us(2024, 2, 1), 5, 0, 5, 20)]
    assert usage_by(MONTHS, [days[1], BucketUsage(us(2024, 1, 2), 1, 1, 1, 1), days[0]]) == [
        BucketUsage(us(2024, 1, 1), 4, 2, 3, 11),
        BucketUsage(us(2024, 2, 1), 5, 0, 5, 20),
    ]
    assert usage_by(DAYS, days) == days
    assert latency_by(MONTHS, [BucketLatency(us(2024, 1, 31), 7, 3)]) == [BucketLatency(us(2024, 1, 1), 7, 3)]


@pytest.mark.parametrize(
    ("step", "window", "stored_us", "expected"),
    [
        (DAYS, Window(us(2025, 10, 6, 12), us(2025, 10, 8, 12)), None, (0, 2)),
        (DAYS, Window(us(2025, 10, 6), us(2025, 10, 9)), None, ()),
        (DAYS, Window(us(2025, 10, 6), us(2025, 10, 9)), us(2025, 10, 7, 14), (1,)),
        (DAYS, Window(us(2025, 10, 6), us(2025, 10, 8, 0, 1)), us(2025, 10, 6), (0, 2)),
        (HOURS, Window(us(2025, 10, 8, 9), us(2025, 10, 8, 11, 30)), None, (2,)),
        (MINUTES, Window(us(2025, 10, 8, 9), us(2025, 10, 8, 9, 3)), us(2025, 10, 8, 9, 1), (1,)),
        (MONTHS, Window(us(2025, 1, 31), us(2025, 3, 1)), None, (0,)),
        (MONTHS, Window(us(2025, 1, 1), us(2025, 3, 1, 1)), None, (2,)),
    ],
)
def test_what_is_cut_is_there_in_part(step, window, stored_us, expected):
    assert in_part(step.begins(window), step, window, stored_us) == expected

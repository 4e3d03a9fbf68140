"""Months: where they begin in a zone, and what they are compared with."""

from zoneinfo import ZoneInfo

import pytest

from tailtrace_api.monthly.month import Month, MonthError, month_of, parse_month, span

H = 3_600_000_000
MADRID = ZoneInfo("Europe/Madrid")
OCTOBER_US = 1_759_269_600_000_000  # 2025-09-30T22:00:00Z
NOVEMBER_US = 1_761_951_600_000_000  # 2025-10-31T23:00:00Z: an hour more, as clocks went back
SEPTEMBER_US = 1_756_677_600_000_000  # 2025-08-31T22:00:00Z


def test_parse():
    assert parse_month("2025-10") == Month(2025, 10)
    assert str(Month(2025, 1)) == "2025-01"


@pytest.mark.parametrize(
    "text", ["2025-13", "2025-00", "2025-1", "25-10", "2025-10-01", "1969-10", "9999-12", "", "октябрь", "２０２５-10"]
)
def test_no_month(text):
    with pytest.raises(MonthError, match="write one like 2025-10"):
        parse_month(text)


def test_neighbours_and_days():
    assert (Month(2025, 1).before, Month(2025, 12).after) == (Month(2024, 12), Month(2026, 1))
    assert (len(Month(2024, 2).days), len(Month(2025, 2).days), len(Month(2025, 10).days)) == (29, 28, 31)


def test_a_month_that_is_over():
    assert span(Month(2025, 10), MADRID, NOVEMBER_US) == (
        (OCTOBER_US, NOVEMBER_US), (SEPTEMBER_US, OCTOBER_US), None,
    )  # fmt: skip
    assert NOVEMBER_US - OCTOBER_US == (31 * 24 + 1) * H


def test_the_month_of_now_is_compared_with_as_much_of_the_one_before():
    now_us = OCTOBER_US + 50 * H
    assert span(Month(2025, 10), MADRID, now_us) == (
        (OCTOBER_US, now_us), (SEPTEMBER_US, SEPTEMBER_US + 50 * H), now_us,
    )  # fmt: skip
    late_us = NOVEMBER_US - H  # September was shorter
    assert span(Month(2025, 10), MADRID, late_us).before == (SEPTEMBER_US, OCTOBER_US)


def test_a_month_to_come():
    with pytest.raises(MonthError, match="2025-11 has not begun in Europe/Madrid"):
        span(Month(2025, 11), MADRID, NOVEMBER_US)
    assert span(Month(2025, 11), MADRID, NOVEMBER_US + 1).until_us == NOVEMBER_US + 1


def test_the_month_of_a_time():
    assert month_of(OCTOBER_US, MADRID) == Month(2025, 10)
    assert month_of(OCTOBER_US - 1, MADRID) == Month(2025, 9)

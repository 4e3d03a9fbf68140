"""A month of the calendar in a time zone, and the month that it is compared with. Pure.

| the month | its window | is compared with |
|---|---|---|
| is over | from its first midnight to that of the next month | the whole month before |
| is not over | to now: `until_us` | as much of the month before, that like stands beside like |
| has not begun | none: `MonthError` | |
"""

import re
from calendar import monthrange
from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

from tailtrace_bridge.core.errors import BridgeError
from tailtrace_bridge.store.values import Window

YEARS = range(1971, 2100)
_FORM = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class MonthError(BridgeError):
    """No month, or one that there can be no report of."""


class Month(NamedTuple):
    """A year and a month of it, 1 to 12."""

    year: int
    number: int

    @property
    def first(self) -> date:
        """Return its first day."""
        return date(self.year, self.number, 1)

    @property
    def days(self) -> list[date]:
        """Return all of its days."""
        return [self.first + timedelta(days=n) for n in range(monthrange(self.year, self.number)[1])]

    @property
    def before(self) -> "Month":
        """Return the month before."""
        return Month(self.year - 1, 12) if self.number == 1 else Month(self.year, self.number - 1)

    @property
    def after(self) -> "Month":
        """Return the next month."""
        return Month(self.year + 1, 1) if self.number == 12 else Month(self.year, self.number + 1)

    def start_us(self, zone: tzinfo) -> int:
        """Return its first midnight in `zone`: µs since the epoch."""
        return round(datetime(self.year, self.number, 1, tzinfo=zone).timestamp()) * 1_000_000

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


class Span(NamedTuple):
    """The windows of a report."""

    window: Window
    before: Window
    until_us: int | None
    """Now, where the month is not over."""


def parse_month(text: str) -> Month:
    """`2025-10` → the month. Raises `MonthError`."""
    found = _FORM.fullmatch(text)
    if found is None or int(found[1]) not in YEARS:
        raise MonthError(f"{text!r} is no month: write one like 2025-10")
    return Month(int(found[1]), int(found[2]))


def month_of(time_us: int, zone: tzinfo) -> Month:
    """Return the month in which a time falls."""
    day = datetime.fromtimestamp(time_us / 1e6, zone)
    return Month(day.year, day.month)


def span(month: Month, zone: tzinfo, now_us: int) -> Span:
    """Return the windows: see the head of this file. Raises `MonthError` for a month that has not begun."""
    start_us, end_us = month.start_us(zone), month.after.start_us(zone)
    if now_us <= start_us:
        raise MonthError(f"{month} has not begun in {zone}: there is nothing to report yet")
    before_us = month.before.start_us(zone)
    if now_us >= end_us:
        return Span(Window(start_us, end_us), Window(before_us, start_us), None)
    as_much_us = min(before_us + now_us - start_us, start_us)
    return Span(Window(start_us, now_us), Window(before_us, as_much_us), now_us)

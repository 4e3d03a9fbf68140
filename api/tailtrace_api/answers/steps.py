"""How a window is cut into bars and points: of a chart, a sparkline, the response times. Pure. Times are UTC's.

| a window of up to | bars of requests | points of a sparkline | points of response times |
|---|---|---|---|
| two hours | a minute | a minute | a minute |
| twelve hours | ten minutes | ten minutes | ten minutes |
| two days | an hour | an hour | an hour |
| eight days | an hour | six hours | a day |
| a hundred days | a day | a day | a day |
| more | a month | a month | a month |

A step is there in part where the window cuts it (today is not over) or where what is stored begins in it (`in_part`).

Steps of less than an hour are made of the requests themselves, so they end where a store has removed these
(`TAILTRACE_RETENTION_DAYS`); hours, days and months are kept for good. Who looks at such a time is shown whole hours
(`whole_hours`).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import Literal

from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US, BucketLatency, BucketUsage, Window

StepName = Literal["minute", "ten_minutes", "hour", "six_hours", "day", "month"]
_US: dict[StepName, int] = {
    "minute": MINUTE_US,
    "ten_minutes": 10 * MINUTE_US,
    "hour": HOUR_US,
    "six_hours": 6 * HOUR_US,
    "day": DAY_US,
}


@dataclass(frozen=True, slots=True)
class Step:
    """A step of time; `bucket_us` is what a store is asked in, of which each step is made."""

    name: StepName
    bucket_us: int

    def begin(self, time_us: int) -> int:
        """Return when the step began that a time is in, µs."""
        if self.name != "month":
            return time_us // _US[self.name] * _US[self.name]
        at = datetime.fromtimestamp(time_us // 1_000_000, UTC)
        return _month_us(at.year, at.month)

    def begins(self, window: Window) -> list[int]:
        """Return when the steps of a window begin, µs; the first and the last may be cut by it."""
        first_us = self.begin(window.start_us)
        if self.name != "month":
            return list(range(first_us, window.end_us, _US[self.name]))
        return list(takewhile(lambda month_us: month_us < window.end_us, _months(first_us)))

    def end(self, begin_us: int) -> int:
        """Return when the step ends that begins then, µs."""
        return begin_us + _US[self.name] if self.name != "month" else next(islice(_months(begin_us), 1, None))


@dataclass(frozen=True, slots=True)
class Cut:
    """The steps of a window: of bars, of sparklines, of response times."""

    bars: Step
    spark: Step
    times: Step


MINUTES, TEN_MINUTES = Step("minute", MINUTE_US), Step("ten_minutes", 10 * MINUTE_US)
HOURS, SIX_HOURS = Step("hour", HOUR_US), Step("six_hours", HOUR_US)
DAYS, MONTHS = Step("day", DAY_US), Step("month", DAY_US)
_CUTS = (
    (2 * HOUR_US, Cut(MINUTES, MINUTES, MINUTES)),
    (12 * HOUR_US, Cut(TEN_MINUTES, TEN_MINUTES, TEN_MINUTES)),
    (2 * DAY_US, Cut(HOURS, HOURS, HOURS)),
    (8 * DAY_US, Cut(HOURS, SIX_HOURS, DAYS)),
    (100 * DAY_US, Cut(DAYS, DAYS, DAYS)),
)
FINE_US_MAX = 12 * HOUR_US
"""A longer window needs no step of less than an hour."""


def cut_of(window: Window, *, is_fine: bool = True) -> Cut:
    """Return the steps of a window; unless it `is_fine`, none of less than an hour."""
    length_us = window.end_us - window.start_us
    found = next((cut for length_us_max, cut in _CUTS if length_us <= length_us_max), Cut(MONTHS, MONTHS, MONTHS))
    return found if is_fine or found.bars.bucket_us >= HOUR_US else Cut(HOURS, HOURS, HOURS)


def whole_hours(window: Window) -> Window:
    """Return the whole hours that a window touches."""
    return Window(window.start_us // HOUR_US * HOUR_US, -(-window.end_us // HOUR_US) * HOUR_US)


def in_part(begins: Iterable[int], step: Step, window: Window, stored_us: int | None) -> tuple[int, ...]:
    """Return the places of the steps that are not whole; `stored_us`: when the data begins, where in the window."""
    return tuple(
        place
        for place, begin_us in enumerate(begins)
        if begin_us < window.start_us
        or step.end(begin_us) > window.end_us
        or (stored_us is not None and begin_us <= stored_us < step.end(begin_us))
    )


def place_in(begins: list[int], time_us: int) -> int | None:
    """Return the place of the step that a time is in; None: it lies before all."""
    place = bisect_right(begins, time_us) - 1
    return place if place >= 0 else None


def usage_by(step: Step, buckets: Iterable[BucketUsage]) -> list[BucketUsage]:
    """Add buckets up to steps, in order."""
    totals: dict[int, list[int]] = {}
    for time_us, *sums in buckets:
        known = totals.setdefault(step.begin(time_us), [0] * len(sums))
        known[:] = map(sum, zip(known, sums, strict=True))
    return [BucketUsage(begin_us, *totals[begin_us]) for begin_us in sorted(totals)]


def latency_by(step: Step, buckets: Iterable[BucketLatency]) -> list[BucketLatency]:
    """Put the histograms of buckets down to steps, which whoever reads them adds up."""
    return [one._replace(time_us=step.begin(one.time_us)) for one in buckets]


def _month_us(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000_000


def _months(first_us: int) -> Iterator[int]:
    at = datetime.fromtimestamp(first_us // 1_000_000, UTC)
    number = at.year * 12 + at.month - 1
    while True:
        yield _month_us(number // 12, number % 12 + 1)
        number += 1

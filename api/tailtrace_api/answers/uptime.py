"""When services were up and when down, as pure functions of their minutes: `store.uptime` says which is which."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypedDict, TypeVar

from tailtrace_api.answers.request_records import Outage, UptimeDay, UptimeService
from tailtrace_api.answers.requests import iso
from tailtrace_bridge.store.uptime import MINUTES
from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US, UptimeHour

METHOD = (
    "traffic: minutes in which a service was not down over minutes with answers, each service by itself; it is down "
    "where more than half of five answers or more, or all of fewer, are 5xx"
)
OUTAGE_GAP_US = HOUR_US
"""A service that nobody asked for so long may have been up again meanwhile."""
Key = TypeVar("Key", int, str)


class Minutes(NamedTuple):
    """Minutes with answers, of each service by itself; those with server errors; those in which it was down."""

    all: int
    partial: int
    down: int


class UptimeFields(TypedDict):
    """What each record of `Uptime` has."""

    uptime_percentage: float | None
    minutes_with_traffic: int
    minutes_partial: int
    minutes_down: int


def minutes_of(hours: Iterable[UptimeHour]) -> Minutes:
    """Count the minutes of some hours."""
    counts = [(one.minutes.bit_count(), one.partial.bit_count(), one.down.bit_count()) for one in hours]
    return Minutes(*map(sum, zip(*counts, strict=True))) if counts else Minutes(0, 0, 0)


def uptime(hours: Iterable[UptimeHour]) -> UptimeFields:
    """Return how long services were up in some hours."""
    minutes = minutes_of(hours)
    share = (minutes.all - minutes.down) / minutes.all if minutes.all else None
    return {
        "uptime_percentage": None if share is None else round(100 * share, 3),
        "minutes_with_traffic": minutes.all,
        "minutes_partial": minutes.partial,
        "minutes_down": minutes.down,
    }


def uptime_by_day(hours: Iterable[UptimeHour]) -> tuple[UptimeDay, ...]:
    """Return the uptime of each UTC day that has any minute with answers, in order."""
    return tuple(
        UptimeDay(time=iso(day_us), **uptime(theirs))
        for day_us, theirs in _groups((one.hour_us // DAY_US * DAY_US, one) for one in hours)
    )


def uptime_by_service(hours: Iterable[UptimeHour]) -> tuple[UptimeService, ...]:
    """Return the uptime of each service, in order of name."""
    return tuple(
        UptimeService(service=service or None, **uptime(theirs))
        for service, theirs in _groups((one.service, one) for one in hours)
    )


def outages(hours: Iterable[UptimeHour]) -> list[Outage]:
    """Return when services were down, the newest first: `request_records.Outage`."""
    found: list[tuple[int, Outage]] = []
    for service, theirs in _groups((one.service, one) for one in hours):
        for run in _runs(sorted(theirs)):
            end_us = run[-1] + MINUTE_US
            outage = Outage(service=service or None, start=iso(run[0]), end=iso(end_us), minutes=len(run))
            found.append((end_us, outage))
    return [outage for _, outage in sorted(found, key=lambda one: (-one[0], one[1].service or ""))]


def _runs(hours: Iterable[UptimeHour]) -> Iterator[list[int]]:
    """Return the beginnings of minutes that were down one after another, of one service in order of time."""
    run: list[int] = []
    for one in hours:
        for place in range(MINUTES):
            bit, minute_us = 1 << place, one.hour_us + place * MINUTE_US
            if run and (minute_us - run[-1] > OUTAGE_GAP_US or one.minutes & bit & ~one.down):
                yield run
                run = []
            if one.down & bit:
                run.append(minute_us)
    if run:
        yield run


def _groups(pairs: Iterable[tuple[Key, UptimeHour]]) -> list[tuple[Key, list[UptimeHour]]]:
    found: dict[Key, list[UptimeHour]] = defaultdict(list)
    for key, one in pairs:
        found[key].append(one)
    return sorted(found.items())

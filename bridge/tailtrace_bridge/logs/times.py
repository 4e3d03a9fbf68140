"""Times as access logs write them, in microseconds since the epoch."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from tailtrace_bridge.core.times import parse_time, since_epoch_us
from tailtrace_bridge.logs.numbers import SECONDS
from tailtrace_bridge.logs.rejected import UnreadableError

TIME_LENGTH_MAX = 40
TIME_US_MAX = 4_102_444_800_000_000
"""2100-01-01: a later time is a broken line."""
_MONTH_NAMES = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_MONTHS = {name: i for i, name in enumerate(_MONTH_NAMES, start=1)}
_MINUTE_LOCAL = re.compile(
    r"([0-9]{2})/([A-Za-z]{3})/([0-9]{4}):([0-9]{2}):([0-9]{2}):(?: ([+-])([0-9]{2})([0-5][0-9]))?"
)
_SECOND_US = {f"{second:02}": second * 1_000_000 for second in range(61)}
"""60 is a leap second's, which is no other time to the epoch than the next minute's first."""
_LEAP = re.compile(r"(.{16}:)60(.*)")


def epoch_us(value: str) -> int:
    """Read `$msec`. Raises `UnreadableError`."""
    match = SECONDS.fullmatch(value)
    if match is None:
        raise UnreadableError("bad-time")
    time_us = int(match[1]) * 1_000_000 + int(((match[2] or "") + "000000")[:6])
    if not 0 < time_us < TIME_US_MAX:
        raise UnreadableError("bad-time")
    return time_us


def seconds_us(digits: bytes) -> int:
    """Read the whole seconds of `$msec`. Raises `UnreadableError`."""
    time_us = int(digits) * 1_000_000
    if not 0 < time_us < TIME_US_MAX:
        raise UnreadableError("bad-time")
    return time_us


def iso_reader(zone: tzinfo) -> Callable[[str], int]:
    """Return what reads `$time_iso8601`, of `zone` where it names none."""

    @lru_cache(maxsize=1024)
    def read(value: str) -> int:
        leap = _LEAP.fullmatch(value)
        try:
            if leap is not None:
                return _in_range(parse_time(f"{leap[1]}59{leap[2]}", zone) + timedelta(seconds=1))
            return _in_range(parse_time(value, zone))
        except (ValueError, OverflowError):
            raise UnreadableError("bad-time") from None

    return read


def local_reader(zone: tzinfo) -> Callable[[str], int]:
    """Return what reads `$time_local`, of `zone` where it names none."""

    @lru_cache(maxsize=1024)
    def read_minute(value: str) -> int:
        match = _MINUTE_LOCAL.fullmatch(value)
        if match is None:
            raise UnreadableError("bad-time")
        day, month, year, hour, minute, sign, zone_hours, zone_minutes = match.groups()
        try:
            own = zone
            if sign:
                east = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
                own = timezone(east if sign == "+" else -east)
            return _in_range(
                datetime(int(year), _MONTHS[month.capitalize()], int(day), int(hour), int(minute), tzinfo=own)
            )
        except (ValueError, KeyError, OverflowError):
            raise UnreadableError("bad-time") from None

    def read(value: str) -> int:
        second_us = _SECOND_US.get(value[18:20])
        if second_us is None or len(value) > TIME_LENGTH_MAX:
            raise UnreadableError("bad-time")
        # A busy log has many lines in a minute, and few in a second.
        return read_minute(value[:18] + value[20:]) + second_us

    return read


def _in_range(time: datetime) -> int:
    time_us = since_epoch_us(time)
    if not 0 < time_us < TIME_US_MAX:
        raise ValueError
    return time_us

"""When a service was down: what its answers of one minute say. Pure, and the one place where that is decided.

| of the answers of a service in a minute | the minute is |
|---|---|
| more than half are server errors (5xx), of `ANSWERS_MIN` at least | down |
| all are server errors, of fewer | down |
| some are | partial: up, and not for everybody |
| none is | up |

A 4xx and a 499 are answers. A request without a status is none: of a minute without answers nothing is known.
"""

from collections.abc import Iterable, Mapping

from tailtrace_bridge.store.values import HOUR_US, MINUTE_US, UptimeHour, Window

ANSWERS_MIN = 5
"""Of fewer, half of them may be one that had bad luck."""
MINUTES = 60


def minute_number(minute: int, *, is_error: bool) -> int:
    """Return under which number an answer is counted in its hour."""
    return minute % MINUTES << 1 | is_error


MINUTE_NUMBER = f"(time_us / {MINUTE_US} % {MINUTES} << 1 | (status >= 500))"
"""`minute_number` in SQL."""


def is_down(answers: int, errors: int) -> bool:
    """Return whether a service was down in a minute with so many answers, one at least."""
    return errors * 2 > answers if answers >= ANSWERS_MIN else errors == answers


def uptime_hour(hour: int, service: str, counts: Mapping[int, int]) -> UptimeHour:
    """Return the minutes of an hour since the epoch; `counts` has answers by `minute_number`."""
    minutes = partial = down = 0
    for number, count in counts.items():
        bit = 1 << (number >> 1)
        if number & 1:
            if is_down(count + counts.get(number - 1, 0), count):
                down |= bit
            else:
                partial |= bit
        minutes |= bit
    return UptimeHour(hour * HOUR_US, service, minutes, partial, down)


def minutes_within(hours: Iterable[UptimeHour], window: Window) -> list[UptimeHour]:
    """Return what a window touches, in order of time and service: a minute that it cuts counts whole."""
    first, end = window.start_us // MINUTE_US, -(-window.end_us // MINUTE_US)
    found: list[UptimeHour] = []
    for one in hours:
        start = one.hour_us // MINUTE_US
        mask = (1 << max(0, min(MINUTES, end - start))) - (1 << max(0, min(MINUTES, first - start)))
        if one.minutes & mask:
            found.append(one._replace(minutes=one.minutes & mask, partial=one.partial & mask, down=one.down & mask))
    return sorted(found)

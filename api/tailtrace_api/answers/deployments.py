"""What a deployment changed: traffic, errors and p95 before and after it. Pure.

| side | is of |
|---|---|
| before | the hour before the marker, less where another marker lies in it |
| after | the hour from the marker on, less where the window ends, or another marker follows |
| either, a day ago or more | the whole hour beside the one with the marker: by the minute the store has no more |

The minute of the marker is of neither; a side without a minute is none. Numbers are of all traffic: of the marker's
service where nginx has one of this name, else of all services.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, NamedTuple

from tailtrace_api.answers.meaning import meaning
from tailtrace_api.answers.record import Record, record
from tailtrace_api.answers.requests import iso
from tailtrace_bridge.core.records import Marker
from tailtrace_bridge.store.values import HOUR_US, ErrorGroup, Recent, Window

SHOWN_MAX = 5
"""The newest; each is read from the store."""
MINUTE_US = 60_000_000

MINUTES_KEPT_US = 22 * HOUR_US
"""The store has rollups by minute for a day, which a window that ends a little in the past begins before."""


class Period(NamedTuple):
    """The time before or after a marker: whole minutes, or a whole hour."""

    window: Window
    is_hour: bool


Measure = Callable[[Period, str], Recent]
"""Returns what the store has of such a time and a service; of all where that is empty."""


@record
class Side(Record):
    """The time before or after a deployment."""

    minutes: float
    requests: int
    requests_per_minute: float
    error_rate: Annotated[float | None, meaning("5xx over all requests, 0 to 1; null without requests.")]
    p95_ms: Annotated[float | None, meaning("nginx's time.")]


@record
class Deployment(Record):
    """A marker, and what was before and after it."""

    time: str
    kind: Annotated[str, meaning("`version` or `note`, as of the markers.")]
    service: str | None
    text: str
    of: Annotated[str | None, meaning("Whose requests are compared; null: those of all services.")]
    before: Side | None
    after: Side | None
    new_errors: Annotated[int, meaning("Groups of errors first seen after it, before the next marker.")]


def deployments(
    markers: Sequence[Marker], groups: Iterable[ErrorGroup], window: Window, measure: Measure
) -> tuple[Deployment, ...]:
    """Compare the newest markers of a window, the oldest of them first. `markers`: an hour more."""
    seen = [group.first_us for group in groups]
    times = sorted(one.time_us for one in markers)
    shown = [one for one in markers if one.time_us >= window.start_us][-SHOWN_MAX:]
    return tuple(_deployment(one, times, seen, window, measure) for one in shown)


def sides(at_us: int, times: Sequence[int], window: Window) -> tuple[Period, Period]:
    """Return the time before and after a marker; `times` are those of all markers, in order."""
    if at_us < window.end_us - MINUTES_KEPT_US:
        hour_us = at_us // HOUR_US * HOUR_US
        begins = hour_us - HOUR_US, hour_us + HOUR_US
        before, after = (Period(Window(one, one + HOUR_US), is_hour=True) for one in begins)
        return before, after
    earlier = [one for one in times if one < at_us]
    later = [one for one in times if one > at_us]
    before = _whole_minutes(max([at_us - HOUR_US, *earlier[-1:]]), at_us)
    return before, _whole_minutes(at_us, min([at_us + HOUR_US, window.end_us, *later[:1]]))


def _whole_minutes(start_us: int, end_us: int) -> Period:
    first_us = -(-start_us // MINUTE_US) * MINUTE_US
    return Period(Window(first_us, max(first_us, end_us // MINUTE_US * MINUTE_US)), is_hour=False)


def _deployment(
    marker: Marker, times: Sequence[int], seen: Sequence[int], window: Window, measure: Measure
) -> Deployment:
    periods = sides(marker.time_us, times, window)
    of = marker.service
    before, after = (measure(one, of) for one in periods)
    if of and not (before.requests or after.requests):
        of = ""
        before, after = (measure(one, of) for one in periods)
    is_known = bool(before.requests or after.requests)
    later = [one for one in times if one > marker.time_us]
    end_us = min([*later[:1], window.end_us])
    return Deployment(
        time=iso(marker.time_us),
        kind=marker.kind,
        service=marker.service or None,
        text=marker.text,
        of=of or None,
        before=_side(periods[0].window, before) if is_known else None,
        after=_side(periods[1].window, after) if is_known else None,
        new_errors=sum(marker.time_us <= one < end_us for one in seen),
    )


def _side(window: Window, recent: Recent) -> Side | None:
    length_us = window.end_us - window.start_us
    if not length_us:
        return None
    return Side(
        minutes=round(length_us / MINUTE_US, 1),
        requests=recent.requests,
        requests_per_minute=round(recent.requests * MINUTE_US / length_us, 2),
        error_rate=round(recent.errors / recent.requests, 4) if recent.requests else None,
        p95_ms=None if recent.quantile_us is None else round(recent.quantile_us / 1000, 1),
    )

"""Which window of time an answer is asked of.

| asked for | the window |
|---|---|
| nothing, or `at`, or `to`, which says the same | ends now, or then; begins as `period`, `hours` or `days` say |
| `from`, and `to` (default: now) | is between these |
| `at` and `to`; `from` and a length; a `from` not before `to`; more than `LENGTH_US_MAX` | 422 |

Times are ISO 8601, UTC where they name no zone.
"""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

from fastapi import Depends, Query, Request

from tailtrace_api.http.parameters import moment_us, wrong
from tailtrace_bridge.store.values import DAY_US, HOUR_US, QUARTER_US, Window, back

LENGTH_US_MAX = 30 * 366 * DAY_US
"""Between `from` and `to`: what was logged since nginx is used."""
PERIODS_US = {
    "15m": QUARTER_US,
    "1h": HOUR_US,
    "6h": 6 * HOUR_US,
    "24h": DAY_US,
    "7d": 7 * DAY_US,
    "30d": 30 * DAY_US,
    "90d": 90 * DAY_US,
    "1y": 365 * DAY_US,
}
"""Lengths of time that the page offers; any other has a begin and an end."""
PeriodName = Literal["15m", "1h", "6h", "24h", "7d", "30d", "90d", "1y"]
_LENGTHS = ("period", "hours", "days")


class Ends(NamedTuple):
    """Where a window begins and ends, µs; no begin: so far back as `period`, `days` or `hours` says."""

    start_us: int | None
    end_us: int

    def window(self, hours: int) -> Window:
        """Return the window; of so many hours where no begin was asked for."""
        return back(self.end_us, hours) if self.start_us is None else Window(self.start_us, self.end_us)


def ends_of(clock: Callable[[], int]) -> Callable[..., Ends]:
    """Make what gives the ends of a window, for `Depends`. `clock` gives microseconds since the epoch."""

    async def ends(
        request: Request,
        at: Annotated[
            str | None,
            Query(max_length=40, description="End of the window: ISO 8601, UTC where it names no zone. Default: now."),
        ] = None,
        from_: Annotated[
            str | None,
            Query(alias="from", max_length=40, description="Begin of the window, instead of its length. ISO 8601."),
        ] = None,
        to: Annotated[str | None, Query(max_length=40, description="End of the window, as `at`.")] = None,
    ) -> Ends:
        if at is not None and to is not None:
            raise wrong("at", "`at` and `to` both say where the window ends: leave one out.", at, "time")
        end, name = (at, "at") if to is None else (to, "to")
        end_us = clock() if end is None else moment_us(end, name)
        if from_ is None:
            return Ends(None, end_us)
        if length := next((one for one in _LENGTHS if one in request.query_params), None):
            raise wrong(
                "from", f"`from` and `{length}` both say where the window begins: leave one out.", from_, "time"
            )
        start_us = moment_us(from_, "from")
        if start_us >= end_us:
            raise wrong("from", "`from` is not before the end of the window (`to`, or now).", from_, "time")
        if end_us - start_us > LENGTH_US_MAX:
            raise wrong("from", f"That is more than {LENGTH_US_MAX // DAY_US} days: ask for less.", from_, "time")
        return Ends(start_us, end_us)

    return ends  # type: ignore[return-value]  # a coroutine, which FastAPI awaits


def window_of(clock: Callable[[], int]) -> Callable[..., Window]:
    """Make what gives the window of a panel, for `Depends`: `period`, or `from`, says where it begins."""

    async def window(
        ends: Annotated[Ends, Depends(ends_of(clock))],
        period: Annotated[PeriodName | None, Query(description="How far it reaches back, instead of `from`.")] = None,
    ) -> Window:
        if ends.start_us is not None:
            return Window(ends.start_us, ends.end_us)
        if period is None:
            raise wrong("period", f"Say how far it reaches back: {', '.join(PERIODS_US)}; or `from`.", "", "missing")
        return Window(ends.end_us - PERIODS_US[period], ends.end_us)

    return window  # type: ignore[return-value]

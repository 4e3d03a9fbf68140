"""What of a window is read from which rollups, so that it is all of its requests and no others, from few rows. Pure.

| of a window | is read from |
|---|---|
| the whole days in it | the rollups by day |
| the whole hours before and after these | the rollups by hour |
| the ragged minutes at its ends | the rows |
| whoever came for a moment, in whole days and hours | `brief` |

So an answer is exact, and its cost does not grow with the traffic. Days and hours are UTC's. A window that reaches past
the newest row, as one that ends now does, may as well reach to the end of that day (`widened`): then its last day is
one step, too.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from tailtrace_bridge.store.rollups import SUMS
from tailtrace_bridge.store.sqlite.totals import KEY_BITS, USAGE, VISIT_NUMBER, row_key
from tailtrace_bridge.store.values import DAY_US, HOUR_US, Window

STEPS_US = (DAY_US, HOUR_US)
_SUFFIX = {DAY_US: "_day", HOUR_US: ""}
STEPS_LISTED_MAX = 10_000
"""More than a year of hours: such a list takes less time than what it spares."""
NUMBER = f"key & {(1 << KEY_BITS) - 1}"
"""The identity or the endpoint of a row's key, in SQL."""
_OF_REQUESTS = {
    ("visit", "visits"): f"{{}} | identity_id, packed_numbers({VISIT_NUMBER})",
    ("visit", "runs"): "{} | identity_id AS key, packed_times(time_us) AS runs",
    ("latency", "proxy, app"): "{} | endpoint_id, packed_durations(request_time_us), packed_durations(app_time_us)",
    ("latency_all", "proxy"): "{}, packed_durations(request_time_us)",
}
"""How to make of the requests what the table has of whole hours; `{}`: the step of a request."""
_OF_BRIEF = {"visits": VISIT_NUMBER, "runs": "time_us"}
"""The same, of one request: its number or its time, as it is."""
_KEY_COLUMNS = "identity_id, endpoint_id, method, status, traffic"


class Piece(NamedTuple):
    """A part of a window; `bucket_us` 0 means that it is read from the rows."""

    bucket_us: int
    start_us: int
    end_us: int


def pieces(window: Window, steps_us: Sequence[int]) -> Iterator[Piece]:
    """Cut a window, in order of time, into whole steps of the first size, the rest into those of the next."""
    start_us, end_us = window
    if start_us >= end_us:
        return
    if not steps_us:
        yield Piece(0, start_us, end_us)
        return
    bucket_us, finer = steps_us[0], steps_us[1:]
    low_us, high_us = -(-start_us // bucket_us) * bucket_us, end_us // bucket_us * bucket_us
    if low_us >= high_us:
        yield from pieces(window, finer)
        return
    yield from pieces(Window(start_us, low_us), finer)
    yield Piece(bucket_us, low_us, high_us)
    yield from pieces(Window(high_us, end_us), finer)


def widened(window: Window, newest_us: int | None) -> Window:
    """Return a window with the same rows, that ends with a day if it can."""
    if newest_us is None or newest_us >= window.end_us or window.start_us >= window.end_us:
        return window
    return Window(window.start_us, -(-window.end_us // DAY_US) * DAY_US)


def usage(
    window: Window,
    table: str,
    bucket_us_max: int = DAY_US,
    sums: Collection[str] = tuple(SUMS),
    *,
    listed: str | None = None,
) -> tuple[str, list[int | str]]:
    """Return SQL, and its values, of rows like those of `table`, with `time_us` in the place of the step.

    `table` is one of the tables of usage. No row stands for more time than `bucket_us_max`: a day, an hour or less.
    `sums` are those of its totals that are wanted: each costs its time, used or not. `listed` is a JSON
    array of identities: of rollups, theirs alone, to which the key (step, identity) leads in each step.
    """
    columns = f"{_KEY_COLUMNS}, {', '.join(sums)}"
    of_row = f"{_KEY_COLUMNS}, {', '.join(f'{SUMS[name]} AS {name}' for name in sums)}"
    parts: list[str] = []
    values: list[int | str] = []
    for bucket_us, start_us, end_us in pieces(window, _steps_us(bucket_us_max)):
        if bucket_us:
            asked, bounds = _asked_steps(range(start_us // bucket_us, end_us // bucket_us), listed)
            parts.append(
                f"SELECT step * {bucket_us} AS time_us, {columns} FROM {table}{_SUFFIX[bucket_us]} WHERE {asked}"  # noqa: S608  # only our own texts are put together; values are bound
            )
            values += bounds
        else:
            parts.append(f"SELECT time_us, {of_row} FROM access WHERE time_us >= ? AND time_us < ?")  # noqa: S608
            values += (start_us, end_us)
    brief_us = rolled_up(window, bucket_us_max)
    if brief_us and table != "usage_endpoint":
        theirs, more = _of_listed(listed)
        parts.append(f"SELECT time_us, {of_row} FROM brief WHERE time_us >= ? AND time_us < ? {theirs}")  # noqa: S608
        values += (*brief_us, *more)
    if not parts:  # an empty window selects nothing, under the right names
        return f"SELECT step AS time_us, {columns} FROM {table} WHERE 0", []  # noqa: S608
    return " UNION ALL ".join(parts), values


def _of_listed(listed: str | None) -> tuple[str, tuple[str, ...]]:
    if listed is None:
        return "", ()
    return "AND identity_id IN (SELECT value FROM json_each(?))", (listed,)


def _asked_steps(steps: range, listed: str | None) -> tuple[str, list[int | str]]:
    if listed is None:
        return "step >= ? AND step < ?", [steps.start, steps.stop]
    theirs = "identity_id IN (SELECT value FROM json_each(?))"
    if len(steps) > STEPS_LISTED_MAX:
        return f"step >= ? AND step < ? AND {theirs}", [steps.start, steps.stop, listed]
    return f"step IN (SELECT value FROM json_each(?)) AND {theirs}", [json.dumps(list(steps)), listed]  # noqa: S608  # our own words


def _steps_us(bucket_us_max: int) -> list[int]:
    return [bucket_us for bucket_us in STEPS_US if bucket_us <= bucket_us_max]


def rolled_up(window: Window, bucket_us_max: int = DAY_US) -> Window | None:
    """Return the part of a window that is read from rollups: one, without a gap."""
    found = [piece for piece in pieces(window, _steps_us(bucket_us_max)) if piece.bucket_us]
    return Window(found[0].start_us, found[-1].end_us) if found else None


class Query(NamedTuple):
    """SQL and its values; the keys of the rows that it gives are made of steps of `bucket_us`."""

    bucket_us: int
    text: str
    values: tuple[int | str, ...]


def packed(
    window: Window, table: str, columns: str, bucket_us_max: int = DAY_US, listed: str | None = None
) -> Iterator[Query]:
    """Return queries for `key` and `columns` of a table of packed cells.

    `listed` is a JSON array of identities: of `visit`, theirs alone.
    """
    of_key = of_rows = ""
    fine_us = min(bucket_us_max, HOUR_US)
    of_requests = _OF_REQUESTS[(table, columns)].format(f"time_us / {fine_us} << {KEY_BITS}")
    more: tuple[str, ...] = ()
    if listed is not None:
        of_key, of_rows = (f"AND {who} IN (SELECT value FROM json_each(?))" for who in (NUMBER, "identity_id"))  # noqa: S608
        more = (listed,)
    for bucket_us, start_us, end_us in pieces(window, _steps_us(bucket_us_max)):
        if bucket_us:
            text = f"SELECT key, {columns} FROM {table}{_SUFFIX[bucket_us]} WHERE key >= ? AND key < ? {of_key}"  # noqa: S608
            yield Query(bucket_us, text, (row_key(start_us // bucket_us), row_key(end_us // bucket_us), *more))
        else:
            usage_only = f"AND traffic IN {USAGE}" if table == "visit" else ""
            text = (
                f"SELECT {of_requests} FROM access"  # noqa: S608
                f" WHERE time_us >= ? AND time_us < ? {usage_only} {of_rows} GROUP BY 1 ORDER BY 1"
            )
            yield Query(fine_us, text, (start_us, end_us, *more))


def brief(window: Window, columns: str, listed: str | None = None) -> Iterator[Query]:
    """Return the query that gives of `brief` what `packed` gives of `visit`: a row for each request, not packed."""
    brief_us = rolled_up(window)
    if brief_us is None:
        return
    theirs, more = _of_listed(listed)
    text = f"""
        SELECT time_us / {HOUR_US} << {KEY_BITS} | identity_id, {_OF_BRIEF[columns]} FROM brief
        WHERE time_us >= ? AND time_us < ? AND traffic IN {USAGE} {theirs} ORDER BY identity_id
    """  # noqa: S608
    yield Query(HOUR_US, text, (*brief_us, *more))

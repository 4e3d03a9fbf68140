"""SQL that reads the requests of a window, no more and no less, from as few rows as there can be. Pure.

| of a window | is read from |
|---|---|
| the whole days in it | the sums by day |
| the whole hours before and after these | the sums by hour |
| the ragged minutes at its ends | the rows |

So an answer is exact, and its cost does not grow with the traffic. Days and hours are UTC's.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tailtrace_bridge.store.protocol import DAY_US, HOUR_US, MINUTE_US, Window
from tailtrace_bridge.store.sums import APP, PROXY, USAGE_TRAFFIC

_USAGE = tuple(map(int, USAGE_TRAFFIC))
_ACTIVITY = """
    SELECT identity_id, first_us, last_us, requests FROM activity WHERE minute >= ? AND minute < ?
    ORDER BY minute, identity_id
"""
_ACTIVITY_OF_ROWS = f"""
    SELECT identity_id, min(time_us), max(time_us), count(*) FROM access
    WHERE time_us >= ? AND time_us < ? AND traffic IN {_USAGE}
    GROUP BY time_us / {MINUTE_US}, identity_id ORDER BY time_us / {MINUTE_US}, identity_id
"""  # noqa: S608  # only our own numbers are put in; values are bound
_TABLES = {DAY_US: ("usage_day", "latency_day"), HOUR_US: ("usage", "latency")}


class Piece(NamedTuple):
    """A part of a window; `step_us` 0 means that it is read from the rows."""

    step_us: int
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
    step_us, finer = steps_us[0], steps_us[1:]
    low_us, high_us = -(-start_us // step_us) * step_us, end_us // step_us * step_us
    if low_us >= high_us:
        yield from pieces(window, finer)
        return
    yield from pieces(Window(start_us, low_us), finer)
    yield Piece(step_us, low_us, high_us)
    yield from pieces(Window(high_us, end_us), finer)


def usage(window: Window, step_us_max: int = DAY_US) -> tuple[str, list[int]]:
    """Give SQL, and its values, of rows like those of the table `usage`, with `time_us` in the place of the step.

    No row stands for more time than `step_us_max`, `DAY_US` or `HOUR_US`.
    """
    parts: list[str] = []
    values: list[int] = []
    for step_us, start_us, end_us in pieces(window, _steps_up_to(step_us_max)):
        if step_us:
            parts.append(
                f"SELECT step * {step_us} AS time_us, identity_id, endpoint_id, method, status, traffic, requests,"  # noqa: S608
                f" timed, request_time_us, app_timed, app_time_us, bytes_sent FROM {_TABLES[step_us][0]}"
                " WHERE step >= ? AND step < ?"
            )
            values += (start_us // step_us, end_us // step_us)
        else:
            parts.append(
                "SELECT time_us, identity_id, endpoint_id, method, status, traffic, 1 AS requests,"
                " request_time_us IS NOT NULL AS timed, ifnull(request_time_us, 0) AS request_time_us,"
                " app_time_us IS NOT NULL AS app_timed, ifnull(app_time_us, 0) AS app_time_us, bytes_sent"
                " FROM access WHERE time_us >= ? AND time_us < ?"
            )
            values += (start_us, end_us)
    return _union(parts, "usage"), values


def latency(window: Window, sides: Sequence[int] = (PROXY, APP), step_us_max: int = DAY_US) -> tuple[str, list[int]]:
    """Give SQL, and its values, of rows `time_us, endpoint_id, side, bucket, requests`."""
    parts: list[str] = []
    values: list[int] = []
    for step_us, start_us, end_us in pieces(window, _steps_up_to(step_us_max)):
        for side in sides:
            if step_us:
                parts.append(
                    f"SELECT step * {step_us} AS time_us, endpoint_id, side, bucket, requests"  # noqa: S608
                    f" FROM {_TABLES[step_us][1]} WHERE side = {side} AND step >= ? AND step < ?"
                )
                values += (start_us // step_us, end_us // step_us)
                continue
            column = "request_time_us" if side == PROXY else "app_time_us"
            parts.append(
                f"SELECT time_us, endpoint_id, {side} AS side, bucket_of({column}) AS bucket, 1 AS requests"  # noqa: S608
                f" FROM access WHERE time_us >= ? AND time_us < ? AND {column} IS NOT NULL"
            )
            values += (start_us, end_us)
    return _union(parts, "latency"), values


def activity(window: Window) -> Iterator[tuple[str, tuple[int, int]]]:
    """Give queries for `identity_id, first_us, last_us, requests`, to be asked in this order, which is that of time."""
    for step_us, start_us, end_us in pieces(window, (MINUTE_US,)):
        if step_us:
            yield _ACTIVITY, (start_us // step_us, end_us // step_us)
        else:
            yield _ACTIVITY_OF_ROWS, (start_us, end_us)


def _steps_up_to(step_us_max: int) -> list[int]:
    return [step_us for step_us in _TABLES if step_us <= step_us_max]


def _union(parts: list[str], table: str) -> str:
    """Put selects together; an empty window selects nothing of `table`, under the right names."""
    if parts:
        return " UNION ALL ".join(parts)
    return f"SELECT step AS time_us, * FROM {table} WHERE 0"  # noqa: S608

"""Rollups that an older tailtrace made, put into the form of now where their rows have expired.

| an hour of before has | it becomes |
|---|---|
| `usage` and its kin with six totals | all rollups: `encoding` says how |
| `hours`: which minutes had a request, and which an answer other than 5xx | `uptime`: one answer of each minute |

Its service is the one that the hour's endpoints have; none where they have several. Where the rows are there, the
roller makes all of it anew from them.
"""

from collections.abc import Mapping

from tailtrace_bridge.store.influx.rollups.encoding import SUMS, Kind, Row, Tables
from tailtrace_bridge.store.influx.rollups.reader import RollupReader
from tailtrace_bridge.store.uptime import MINUTES

_REQUESTS = 3
"""The place of their number in a row of `usage_endpoint`."""


def without_loss(
    rollups: RollupReader, source: str, hour_us: int, made: Mapping[Kind, list[Row]], tables: Tables
) -> Mapping[Kind, list[Row]]:
    """Return the totals of an hour: `made` from its rows, or those of before where these knew of more requests."""
    before = rollups.kept(Kind.USAGE_ENDPOINT, hour_us, source, tables) or []
    if _requests(before) <= _requests(made[Kind.USAGE_ENDPOINT]):
        return made
    kept: dict[Kind, list[Row]] = {
        kind: rollups.kept(kind, hour_us, source, tables) or [] for kind in SUMS if kind is not Kind.UPTIME
    }
    services = {list(tables.endpoints)[row[0]][0] for row in before}
    where = tables.endpoints[(services.pop() if len(services) == 1 else "", "")]
    hours = rollups.kept(Kind.HOURS, hour_us, source, tables) or []
    kept[Kind.UPTIME] = [row for one in hours for row in _uptime(where, *one)]
    return kept


def _uptime(where: int, hour: int, minutes: int, answered: int) -> list[Row]:
    return [
        (where, hour * MINUTES + place, answered >> place & 1, 1 - (answered >> place & 1))
        for place in range(MINUTES)
        if minutes >> place & 1
    ]


def _requests(rows: list[Row]) -> int:
    return sum(row[_REQUESTS] for row in rows)

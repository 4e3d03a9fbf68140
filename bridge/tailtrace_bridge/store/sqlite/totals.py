"""The rollups of a batch in the form of SQLite's tables, by hour and by day. Pure.

| table | a row for each | holds |
|---|---|---|
| `usage` | identity, endpoint, method, status, traffic | totals; for filters |
| `usage_identity` | identity, status, traffic | the same totals; the rest of the key is blank |
| `usage_endpoint` | endpoint, status, traffic | the same totals; the rest of the key is blank |
| `visit` | identity | usage only: counts by endpoint and traffic, and runs (`packed`) |
| `latency` | endpoint | counts by histogram bucket, of both sides (`packed`) |
| `latency_all` | | counts by histogram bucket, of nginx's times for all endpoints (`packed`) |
| `uptime` (no days) | service | its answers by minute, and whether they were server errors (`packed`) |
| `hour` (no days) | | usage of its four quarters |

Each but the last two has a twin by day, `usage_day`. Of whoever came for a moment (`brief`) those by identity have no
row. A step is an hour or a day since the epoch. In `visit` and `latency`, step and number share the row's one key
(`row_key`): a row with a long cell is kept in one page that way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import add
from typing import Any

from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.packed import join_runs, pack_counts, pack_runs
from tailtrace_bridge.store.rollups import APP, PROXY, USAGE_TRAFFIC, Rollups, Usage
from tailtrace_bridge.store.values import Run

HOURS_OF_DAY = 24
KEY_BITS = 32
_MINUTES_OF_QUARTER = 15
USAGE = tuple(map(int, USAGE_TRAFFIC))
_CARD = int(Traffic.CARD)
VISIT_NUMBER = f"(endpoint_id << 1 | (traffic = {_CARD}))"
"""Under which an endpoint is counted, in SQL: a card's view and a call of the app are two."""
Counts = dict[int, int]
Key = tuple[int, int]


def row_key(step: int, number: int = 0) -> int:
    """Return the key of a row; those of a step lie between its own and the next step's."""
    return step << KEY_BITS | number


def step_of(key: int) -> int:
    """Return the step of a row's key."""
    return key >> KEY_BITS


def number_of(key: int) -> int:
    """Return the identity or the endpoint of a row's key."""
    return key & ((1 << KEY_BITS) - 1)


def visit_of(number: int) -> tuple[int, Traffic]:
    """Return endpoint and traffic of a `VISIT_NUMBER`."""
    return number >> 1, Traffic.CARD if number & 1 else Traffic.APP


@dataclass(slots=True)
class Totals:
    """Rollups of steps of one size in packed cells, unpacked. Keys are step, and identity or endpoint."""

    visits: dict[Key, Counts] = field(default_factory=dict)
    runs: dict[Key, list[Run]] = field(default_factory=dict)
    latency: Mapping[Key, tuple[Counts, Counts]] = field(default_factory=dict)
    """Of nginx, of the app."""
    latency_all: dict[Key, Counts] = field(default_factory=dict)


def by_hour(rollups: Rollups) -> Totals:
    """Put the rollups of a batch into the form of the tables."""
    totals = Totals(latency=rollups.latency)
    visits, runs = totals.visits, totals.runs
    for (step, identity_id, endpoint_id, _, _, traffic), values in rollups.usage.items():
        if traffic in USAGE_TRAFFIC:
            counts = visits.get((step, identity_id))
            if counts is None:
                counts = visits[(step, identity_id)] = {}
            number = endpoint_id << 1 | (traffic == _CARD)
            counts[number] = counts.get(number, 0) + values[0]
    for (minute, identity_id), run in rollups.activity.items():
        runs.setdefault((minute // 60, identity_id), []).append(tuple(run))  # type: ignore[arg-type]  # three numbers
    totals.runs = {key: join_runs(theirs) for key, theirs in runs.items()}
    for (step, _), sides in rollups.latency.items():
        _add(totals.latency_all.setdefault((step, 0), {}), sides[PROXY])
    return totals


def by_day(hours: Totals) -> Totals:
    """Add up hours to days."""
    latency: dict[Key, tuple[Counts, Counts]] = {}
    runs: dict[Key, list[Run]] = {}
    days = Totals(latency=latency)
    for (step, number), counts in hours.visits.items():
        _add(days.visits.setdefault((step // HOURS_OF_DAY, number), {}), counts)
    for (step, number), theirs in hours.runs.items():
        runs.setdefault((step // HOURS_OF_DAY, number), []).extend(theirs)
    days.runs = {key: join_runs(theirs) for key, theirs in runs.items()}
    for (step, number), (proxy, app) in hours.latency.items():
        of_day = latency.setdefault((step // HOURS_OF_DAY, number), ({}, {}))
        _add(of_day[PROXY], proxy)
        _add(of_day[APP], app)
    for (step, number), counts in hours.latency_all.items():
        _add(days.latency_all.setdefault((step // HOURS_OF_DAY, number), {}), counts)
    return days


def usage_rows(usage: Usage) -> list[tuple[Any, ...]]:
    """Return the rows of `usage`, by hour."""
    return [(*key, *values) for key, values in usage.items()]


def identity_rows(usage: Usage) -> list[tuple[Any, ...]]:
    """Return the rows of `usage_identity`, by hour."""
    totals = _less(((step, who, status, traffic), sums) for (step, who, _, _, status, traffic), sums in usage.items())
    return [(step, who, 0, "", status, traffic, *sums) for (step, who, status, traffic), sums in totals.items()]


def endpoint_rows(usage: Usage) -> list[tuple[Any, ...]]:
    """Return the rows of `usage_endpoint`, by hour."""
    totals = _less(
        ((step, where, status, traffic), sums) for (step, _, where, _, status, traffic), sums in usage.items()
    )
    return [(step, 0, where, "", status, traffic, *sums) for (step, where, status, traffic), sums in totals.items()]


def _less(usage: Iterable[tuple[tuple[int, ...], list[int]]]) -> dict[tuple[int, ...], list[int]]:
    totals: dict[tuple[int, ...], list[int]] = {}
    for key, values in usage:
        known = totals.get(key)
        totals[key] = values if known is None else list(map(add, known, values))
    return totals


def visit_rows(totals: Totals) -> list[tuple[int, bytes, bytes]]:
    """Return rows of `visit`: key, visits, runs. Whoever has the one has the other."""
    return [(row_key(*key), pack_counts(counts), pack_runs(totals.runs[key])) for key, counts in totals.visits.items()]


def latency_rows(totals: Totals) -> list[tuple[int, bytes, bytes]]:
    """Return rows of `latency`: key, nginx's counts, the app's."""
    return [
        (row_key(*key), pack_counts(sides[PROXY]), pack_counts(sides[APP])) for key, sides in totals.latency.items()
    ]


def latency_all_rows(totals: Totals) -> list[tuple[int, bytes]]:
    """Return rows of `latency_all`: key, nginx's counts."""
    return [(row_key(*key), pack_counts(counts)) for key, counts in totals.latency_all.items()]


def uptime_rows(rollups: Rollups, service_of: Mapping[int, str]) -> list[tuple[int, str, bytes]]:
    """Return rows of `uptime`: step, service, answers."""
    return [(*key, pack_counts(counts)) for key, counts in rollups.answers(service_of).items()]


def hour_rows(rollups: Rollups) -> list[tuple[int, ...]]:
    """Return rows of `hour`: step, usage of each quarter."""
    hours: dict[int, list[int]] = {}
    for (minute, _), (_, _, requests) in rollups.activity.items():
        hours.setdefault(minute // 60, [0, 0, 0, 0])[minute % 60 // _MINUTES_OF_QUARTER] += requests
    return [(step, *values) for step, values in hours.items()]


def _add(total: Counts, counts: Counts) -> None:
    if not total:
        total.update(counts)
        return
    known = total.get
    for number, count in counts.items():
        total[number] = known(number, 0) + count

"""Sums of one step of time as texts, and back. Pure.

A step's sums go by identity, address and all: as tags these would be a series for each. So a step is kept as a table
of its own, complete in itself: JSON columns, compressed, cut into texts that a string field can hold. Its rows:

| kind | row | two with the same key become one by |
|---|---|---|
| usage | **identity, endpoint, method, status, traffic**, the six sums of `protocol.Usage` | adding up |
| usage_identity | **identity, status, traffic**, the six sums | adding up |
| usage_endpoint | **endpoint, status, traffic**, the six sums | adding up |
| visits | **identity, endpoint, traffic**, requests; usage only | adding up |
| latency | **side, endpoint, bucket**, requests | adding up |
| runs | **identity**, first_us, last_us, requests; usage only | `packed.join_runs` |
| quarters | **start of the quarter, µs**, requests; usage only | adding up |
| hours | **hour**, minutes with traffic, minutes with an answer: a bit for each | either |

Identity and endpoint are places in tables: the step's own in a text, the reader's in what `decode` gives.
"""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Any

from tailtrace_bridge.columns import Places
from tailtrace_bridge.records import Identity
from tailtrace_bridge.store.packed import join_runs
from tailtrace_bridge.store.protocol import MINUTE_US, QUARTER_US, Run
from tailtrace_bridge.store.sums import USAGE_TRAFFIC, Sums

TEXT_LENGTH_MAX = 32_000
"""A string field holds 64 KiB."""
_IDENTITY_VALUES = attrgetter(
    "address", "kind", "user", "device", "node_id", "tags", "provider", "user_id", "via", "reason", "expired"
)
_MINUTES_OF_HOUR = 60
Row = Sequence[Any]


class Kind(StrEnum):
    """What is summed up; also the measurement."""

    USAGE = "usage"
    USAGE_IDENTITY = "usage_identity"
    USAGE_ENDPOINT = "usage_endpoint"
    VISITS = "visits"
    LATENCY = "latency"
    RUNS = "runs"
    QUARTERS = "quarters"
    HOURS = "hours"


_IDENTITY_COLUMN = {Kind.USAGE: 0, Kind.USAGE_IDENTITY: 0, Kind.VISITS: 0, Kind.RUNS: 0}
_ENDPOINT_COLUMN = {Kind.USAGE: 1, Kind.USAGE_ENDPOINT: 0, Kind.VISITS: 1, Kind.LATENCY: 1}
_USAGE_KEY_WIDTH = {Kind.USAGE: 5, Kind.USAGE_IDENTITY: 3, Kind.USAGE_ENDPOINT: 3}


class Tables:
    """The places of identities and endpoints for one reader."""

    def __init__(self) -> None:
        self.identities: Places[Identity] = Places()
        self.endpoints: Places[tuple[str, str]] = Places()


def encode(kind: Kind, rows: Sequence[Row], tables: Tables) -> list[str]:
    """Write rows of one step."""
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    document: dict[str, Any] = {"columns": columns}
    if columns and (place := _IDENTITY_COLUMN.get(kind)) is not None:
        identities = list(tables.identities)
        used: Places[int] = Places()
        columns[place] = [used[one] for one in columns[place]]
        document["identities"] = [_IDENTITY_VALUES(identities[one]) for one in used]
    if columns and (place := _ENDPOINT_COLUMN.get(kind)) is not None:
        endpoints = list(tables.endpoints)
        used = Places()
        columns[place] = [used[one] for one in columns[place]]
        document["endpoints"] = [endpoints[one] for one in used]
    packed = b64encode(zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 6)).decode()
    return [packed[start : start + TEXT_LENGTH_MAX] for start in range(0, len(packed), TEXT_LENGTH_MAX)]


def decode(kind: Kind, texts: Iterable[str], tables: Tables) -> list[Row]:
    """Read rows of one step back. Raises ValueError where the texts are not whole."""
    try:
        document = json.loads(zlib.decompress(b64decode("".join(texts))))
    except zlib.error as error:
        raise ValueError(str(error)) from error
    columns = document["columns"]
    if not columns:
        return []
    if (place := _IDENTITY_COLUMN.get(kind)) is not None:
        here = [tables.identities[Identity(*values)] for values in document["identities"]]
        columns[place] = map(here.__getitem__, columns[place])
    if (place := _ENDPOINT_COLUMN.get(kind)) is not None:
        here = [tables.endpoints[(service, route)] for service, route in document["endpoints"]]
        columns[place] = map(here.__getitem__, columns[place])
    return list(zip(*columns, strict=True))


def rows_of(kind: Kind, sums: Sums) -> list[tuple[int, Row]]:
    """Give the rows of sums, each with the hour it belongs to. Keys may come twice: `merged` makes them one."""
    return list(_ROWS_OF[kind](sums))


def merged(kind: Kind, parts: Iterable[Iterable[Row]]) -> list[Row]:
    """Make one of rows with the same key, by the table above. The hot loop of an answer."""
    if kind is Kind.RUNS:
        return _merged_runs(parts)
    if kind is Kind.HOURS:
        return _merged_hours(parts)
    if (width := _USAGE_KEY_WIDTH.get(kind)) is not None:
        return _merged_usage(parts, width)
    counts: dict[Row, int] = {}
    for rows in parts:
        for *key, requests in rows:
            place = tuple(key)
            counts[place] = counts.get(place, 0) + requests
    return [(*key, requests) for key, requests in counts.items()]


def _merged_usage(parts: Iterable[Iterable[Row]], width: int) -> list[Row]:
    totals: dict[Row, list[int]] = {}
    for rows in parts:
        for row in rows:
            key = row[:width]
            known = totals.get(key)
            if known is None:
                totals[key] = list(row[width:])
                continue
            a, b, c, d, e, f = row[width:]
            known[0] += a
            known[1] += b
            known[2] += c
            known[3] += d
            known[4] += e
            known[5] += f
    return [(*key, *values) for key, values in totals.items()]


def _merged_runs(parts: Iterable[Iterable[Row]]) -> list[Row]:
    runs: dict[int, list[Run]] = {}
    for rows in parts:
        for identity, first_us, last_us, requests in rows:
            runs.setdefault(identity, []).append((first_us, last_us, requests))
    return [(identity, *run) for identity, theirs in runs.items() for run in join_runs(theirs)]


def _merged_hours(parts: Iterable[Iterable[Row]]) -> list[Row]:
    totals: dict[int, tuple[int, int]] = {}
    for rows in parts:
        for hour, minutes, answered in rows:
            known = totals.get(hour, (0, 0))
            totals[hour] = (known[0] | minutes, known[1] | answered)
    return [(hour, *totals[hour]) for hour in sorted(totals)]


def _hour_rows(sums: Sums) -> Iterator[tuple[int, Row]]:
    for minute, (_, answered) in sums.minutes.items():
        hour, bit = minute // _MINUTES_OF_HOUR, 1 << minute % _MINUTES_OF_HOUR
        yield hour, (hour, bit, bit if answered else 0)


_ROWS_OF: dict[Kind, Callable[[Sums], Iterable[tuple[int, Row]]]] = {
    Kind.USAGE: lambda sums: ((key[0], (*key[1:], *v)) for key, v in sums.usage.items()),
    Kind.USAGE_IDENTITY: lambda sums: (
        (hour, (who, status, traffic, *v)) for (hour, who, _, _, status, traffic), v in sums.usage.items()
    ),
    Kind.USAGE_ENDPOINT: lambda sums: (
        (hour, (where, status, traffic, *v)) for (hour, _, where, _, status, traffic), v in sums.usage.items()
    ),
    Kind.VISITS: lambda sums: (
        (hour, (who, where, traffic, v[0]))
        for (hour, who, where, _, _, traffic), v in sums.usage.items()
        if traffic in USAGE_TRAFFIC
    ),
    Kind.LATENCY: lambda sums: (
        (hour, (side, endpoint, bucket, n))
        for (hour, endpoint), sides in sums.latency.items()
        for side, counts in enumerate(sides)
        for bucket, n in counts.items()
    ),
    Kind.RUNS: lambda sums: ((minute // _MINUTES_OF_HOUR, (who, *run)) for (minute, who), run in sums.activity.items()),
    Kind.QUARTERS: lambda sums: (
        (minute // _MINUTES_OF_HOUR, (minute * MINUTE_US // QUARTER_US * QUARTER_US, n))
        for (minute, _), (_, _, n) in sums.activity.items()
    ),
    Kind.HOURS: _hour_rows,
}

"""Rollups that fill one cell of a table: counters by number, and runs of requests, as little-endian arrays. Pure.

| packed | is | two become one by |
|---|---|---|
| counts | the numbers, then the count of each; 32 bits | adding up the counts of a number |
| runs | first, last (µs) and requests of each; 64 bits | joining those with no pause over 30 minutes between them |

Either way the order of the batches does not matter: what is kept of a bucket of time is always that of all its
requests. One cell instead of a row for each number: a histogram's buckets are read and written in one go.
"""

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping
from operator import itemgetter

from tailtrace_bridge.core.histogram import bucket_of
from tailtrace_bridge.store.values import SESSION_GAP_US, Run

RUN_BYTES = 24
"""Of a packed run."""
_FIRST = itemgetter(0)


def pack_counts(counts: Mapping[int, int]) -> bytes:
    """Pack counters. Raises OverflowError from 2^32 requests of one number in a step: 49,000 a second for a day."""
    return _bytes(array("I", [*counts, *counts.values()]))


def add_counts(totals: MutableMapping[int, int], packed: bytes | int) -> None:
    """Count what `packed` has into `totals`; a number is that of one request."""
    if isinstance(packed, int):
        totals[packed] = totals.get(packed, 0) + 1
        return
    cells = _array("I", packed)
    half = len(cells) // 2
    if not totals:
        totals.update(zip(cells[:half], cells[half:], strict=True))
        return
    known = totals.get
    for number, count in zip(cells[:half], cells[half:], strict=True):
        totals[number] = known(number, 0) + count


def merged_counts(one: bytes, other: bytes) -> bytes:
    """Make one of two; for SQL."""
    totals: dict[int, int] = {}
    add_counts(totals, one)
    add_counts(totals, other)
    return pack_counts(totals)


class Numbers:
    """Counts numbers; an aggregate for SQL."""

    def __init__(self) -> None:
        self._seen: list[int] = []
        self.step = self._seen.append  # no line of Python runs for a row

    def finalize(self) -> bytes:
        """Return packed counts."""
        return pack_counts(Counter(self._seen))


class Durations:
    """Counts durations by bucket, those that are known; an aggregate for SQL."""

    def __init__(self) -> None:
        self._seen: list[int | None] = []
        self.step = self._seen.append

    def finalize(self) -> bytes:
        """Return packed counts."""
        return pack_counts(Counter(bucket_of(one) for one in self._seen if one is not None))


class Times:
    """Joins requests into runs; an aggregate for SQL."""

    def __init__(self) -> None:
        self._seen: list[int] = []
        self.step = self._seen.append

    def finalize(self) -> bytes:
        """Return packed runs."""
        return pack_runs(join_runs((time_us, time_us, 1) for time_us in self._seen))


def join_runs(runs: Iterable[Run]) -> list[Run]:
    """Join runs of one identity, or of one visitor, that come in any order; in order of time."""
    in_order = sorted(runs, key=_FIRST)
    if len(in_order) < 2:  # most of a public log's addresses
        return in_order
    joined: list[Run] = []
    end_us = None
    for first_us, last_us, requests in in_order:
        if end_us is not None and first_us - end_us <= SESSION_GAP_US:
            before = joined[-1]
            end_us = max(end_us, last_us)
            joined[-1] = (before[0], end_us, before[2] + requests)
        else:
            joined.append((first_us, last_us, requests))
            end_us = last_us
    return joined


def joined_runs(parts: Iterable[bytes | int]) -> list[Run]:
    """Join the packed runs of one identity; no line of Python runs for a run, where no two parts overlap."""
    arrays = [array("q", (part, part, 1)) if isinstance(part, int) else run_values(part) for part in parts]
    whole: array[int] = array("q")
    for cells in sorted(arrays, key=_FIRST):
        if whole and cells[0] < whole[-2]:
            return join_runs(run for one in arrays for run in _runs_in(one))
        if whole and cells[0] - whole[-2] <= SESSION_GAP_US:
            whole[-2] = cells[1]
            whole[-1] += cells[2]
            whole.extend(cells[3:])
        else:
            whole.extend(cells)
    return _runs_in(whole)


def pack_runs(runs: Iterable[Run]) -> bytes:
    """Pack what `join_runs` gave."""
    return _bytes(array("q", [value for run in runs for value in run]))


def unpack_runs(packed: bytes | int) -> list[Run]:
    """Return the runs, in order of time; a number is the time of one request."""
    if isinstance(packed, int):
        return [(packed, packed, 1)]
    return _runs_in(run_values(packed))


def run_values(packed: bytes) -> "array[int]":
    """Return the three values of each run, one run's after another's."""
    return _array("q", packed)


def merged_runs(one: bytes, other: bytes) -> bytes:
    """Make one of two; for SQL."""
    before, after = _array("q", one), _array("q", other)
    if not (before and after) or after[0] < before[-2]:  # a log that is read late, or back to front
        return pack_runs(join_runs([*unpack_runs(one), *unpack_runs(other)]))
    if after[0] - before[-2] <= SESSION_GAP_US:
        before[-2] = after[1]
        before[-1] += after[2]
        after = after[3:]
    return _bytes(before + after)


def _runs_in(values: "array[int]") -> list[Run]:
    cells = iter(values)
    return list(zip(cells, cells, cells, strict=True))


def _array(code: str, packed: bytes) -> "array[int]":
    cells = array(code, packed)
    if sys.byteorder == "big":
        cells.byteswap()
    return cells


def _bytes(cells: "array[int]") -> bytes:
    if sys.byteorder == "big":
        cells.byteswap()
    return cells.tobytes()

"""Kept traces in InfluxDB, at most so many bytes of each source: the oldest go first.

Measurement `kept_trace`, in the bucket of the rows: tags source and reason; fields time_us, key, trace_id, spans, size,
and the packed trace as base64, in `data0` and as many more as it is long. Trace ids are a field, as in `api_access`: as
a tag each would be a series.

| a trace | what happens |
|---|---|
| its request is stored by this source | it is kept, at the time of the request's point |
| its request is not, or no longer | it is not kept |
| it is kept already | nothing |
| there is no more room | the oldest go, `SPARE` of the room at once: a delete is dear |
| the same, and the server cannot delete | it is not kept, until the bucket's retention has made room |
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from tailtrace_bridge.core.records import KeptTrace
from tailtrace_bridge.store.influx import log
from tailtrace_bridge.store.influx.beside import Beside, bounds, near
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.delete import EVER_NS, Deleter
from tailtrace_bridge.store.values import Filters, LogEntry, Window

MEASUREMENT = "kept_trace"
SPARE = 1 / 8
OF_ONE_ID_MAX = 16
"""Requests of one trace that are given: an app behind nginx that calls another behind nginx."""
PARTS_MAX = 12
PART_LENGTH = 60_000
"""A string field holds 64 KiB; a packed trace has less than 500."""
SIZES_AT_ONCE = 5_000
BYTES_AT_ONCE = 8 * 1024 * 1024
"""Of packed traces that are looked through."""
_PARTS = [f"data{place}" for place in range(PARTS_MAX)]
_SELECT = 'SELECT "time_us", "key", "trace_id", "reason", "spans", ' + ", ".join(f'"{one}"' for one in _PARTS)


class KeptTraces:
    """Those of one source."""

    def __init__(self, beside: Beside) -> None:
        self._beside = beside
        self._bytes: int | None = None
        """As far as this process knows: what others erased, or has expired, is not taken off."""

    def keep(self, traces: Sequence[KeptTrace], bytes_max: int) -> int:
        """Keep traces, let the oldest go; return how many are new. Raises `StoreError`."""
        with self._beside.lock:
            fresh = self._fresh(traces) if bytes_max else []
            if not self._beside.can_delete:
                fresh = self._fitting(fresh, bytes_max)
            self._beside.write_raw([self._point(one, slot_ns) for slot_ns, one in fresh])
            added = sum(len(one.data) for _, one in fresh)
            self._bytes = self._size() if self._bytes is None else self._bytes + added
            if self._bytes > bytes_max:
                self._bytes = self._size()
                if self._bytes > bytes_max:
                    self._make_room(bytes_max - int(bytes_max * SPARE))
        return len(fresh)

    def _fresh(self, traces: Sequence[KeptTrace]) -> list[tuple[int, KeptTrace]]:
        """Return those to be written, and when: of stored requests, and not kept yet."""
        reads, source = self._beside.reads, self._beside.source
        by_name = {(one.time_us, one.key): one for one in traces if len(one.data) <= PARTS_MAX * PART_LENGTH * 3 // 4}
        text = f'SELECT "time_us", "key" FROM "{MEASUREMENT}" WHERE "source" = $source AND {{span}}'  # noqa: S608
        there = {(time_us, key) for _, time_us, key in near(reads, text, by_name, {"source": source})}
        stored = self._beside.slots(by_name.keys() - there)
        return sorted((stored[name], one) for name, one in by_name.items() if name in stored)

    def _fitting(self, fresh: list[tuple[int, KeptTrace]], bytes_max: int) -> list[tuple[int, KeptTrace]]:
        room = bytes_max - self._size()
        fitting: list[tuple[int, KeptTrace]] = []
        for slot_ns, one in fresh:
            if len(one.data) <= room:
                room -= len(one.data)
                fitting.append((slot_ns, one))
        return fitting

    def _point(self, one: KeptTrace, slot_ns: int) -> bytes:
        text = base64.b64encode(one.data).decode()
        parts = {name: text[place * PART_LENGTH :][:PART_LENGTH] for place, name in enumerate(_PARTS)}
        fields = {
            "time_us": one.time_us, "key": one.key, "trace_id": one.trace_id.hex(), "spans": one.spans,
            "size": len(one.data), **parts,
        }  # fmt: skip
        return lines.point(MEASUREMENT, {"source": self._beside.source, "reason": one.reason}, fields, slot_ns)

    def _size(self) -> int:
        rows = self._ask('sum("size")', "")
        return int(rows[0][1]) if rows else 0

    def _make_room(self, bytes_max: int) -> None:
        """Let the oldest go until at most so many bytes are left."""
        left = self._size()
        while left > bytes_max:
            oldest = self._ask('"size"', f" ORDER BY time LIMIT {SIZES_AT_ONCE}")
            sums = accumulate(size for _, size in oldest)
            enough = (row[0] for row, gone in zip(oldest, sums, strict=True) if left - gone <= bytes_max)
            newest_ns = next(enough, oldest[-1][0])
            bucket = self._beside.reads.buckets.raw
            self._beside.delete(bucket, {"_measurement": MEASUREMENT, "source": self._beside.source}, (0, newest_ns))
            left = self._size()
        self._bytes = left

    def _ask(self, what: str, how: str) -> list[list[Any]]:
        text = f'SELECT {what} FROM "{MEASUREMENT}" WHERE "source" = $source{how}'  # noqa: S608  # our own names
        reads = self._beside.reads
        return reads.influx.rows(reads.buckets.raw, text, {"source": self._beside.source})


def choose(reads: Reads, is_chosen: Callable[[bytes], bool]) -> list[tuple[str, int]]:
    """Return source and time of the points of the traces whose data a function chooses. Raises `StoreError`."""
    raw, chosen = reads.buckets.raw, []
    sizes = f'SELECT "size" FROM "{MEASUREMENT}"'  # noqa: S608  # our own names
    text = f'{_SELECT} FROM "{MEASUREMENT}" WHERE "source" = $source AND time >= $first AND time <= $last'
    for row in reads.influx.rows(raw, f'SHOW TAG VALUES FROM "{MEASUREMENT}" WITH KEY = "source"'):
        source = row[1]
        there = reads.influx.pages(raw, sizes, ' AND "source" = $source', {"source": source}, EVER_NS)
        for first_ns, last_ns in _some(there):
            values = {"source": source, "first": first_ns, "last": last_ns}
            for slot_ns, *parts in reads.influx.rows(raw, text, values):
                if is_chosen(_kept(parts).data):
                    chosen.append((source, slot_ns))
    return chosen


def drop(reads: Reads, delete: Deleter, chosen: Iterable[tuple[str, int]]) -> None:
    """Remove the traces at these points. Raises `StoreError`."""
    for source, slot_ns in chosen:
        delete(reads.buckets.raw, {"_measurement": MEASUREMENT, "source": source}, (slot_ns, slot_ns))


def _some(there: Iterable[list[Any]]) -> Iterator[tuple[int, int]]:
    """Return first and last time of points of `BYTES_AT_ONCE` together, or of one that is larger."""
    first_ns = last_ns = left = 0
    for slot_ns, size in there:
        if left < size and first_ns:
            yield first_ns, last_ns
            first_ns = 0
        if not first_ns:
            first_ns, left = slot_ns, BYTES_AT_ONCE
        last_ns, left = slot_ns, left - size
    if first_ns:
        yield first_ns, last_ns


def find(reads: Reads, filters: Filters, trace_id: str, window: Window | None) -> list[tuple[LogEntry, KeptTrace]]:
    """Return the kept requests of a trace that the filters let through, the oldest first."""
    # First where it is: `data` is read of these alone.
    text = f'SELECT "time_us", "source" FROM "{MEASUREMENT}" WHERE "trace_id" = $trace'  # noqa: S608
    values: dict[str, object] = {"trace": trace_id}
    if window is not None:
        text += " AND time >= $start AND time < $end"
        values |= bounds(window)
    there = reads.influx.rows(reads.buckets.raw, f"{text} LIMIT {OF_ONE_ID_MAX}", values)
    found: list[tuple[LogEntry, KeptTrace]] = []
    for slot_ns, time_us, source in there:
        text = f'{_SELECT} FROM "{MEASUREMENT}" WHERE "source" = $source AND time = $slot'
        for values_of in reads.influx.rows(reads.buckets.raw, text, {"source": source, "slot": slot_ns}):
            kept = _kept(values_of[1:])
            page = log.page(reads, Window(time_us, time_us + 1), filters, OF_ONE_ID_MAX, None)
            found += ((entry, kept) for entry in page if entry.key == kept.key)
    return found


def slots(reads: Reads, window: Window) -> set[tuple[str, int]]:
    """Return source and time of the points of all that is kept of a window."""
    text = f'SELECT "spans", "source" FROM "{MEASUREMENT}" WHERE time >= $start AND time < $end'  # noqa: S608
    rows = reads.influx.rows(reads.buckets.raw, text, bounds(window))
    return {(source, slot_ns) for slot_ns, _, source in rows}


def _kept(values: Sequence[Any]) -> KeptTrace:
    time_us, key, trace_id, reason, spans, *parts = values
    try:
        data = base64.b64decode("".join(part or "" for part in parts), validate=True)
    except binascii.Error:
        data = b""
    return KeptTrace(time_us, key, bytes.fromhex(trace_id), reason, spans, data)

"""What is kept beside the rows: it is written with a lock and a writer of its own, so that storing never waits for it.

It belongs to rows, and goes by their points: where a row's point is, what is kept of its request has the same time and
source. So it expires with the row, and whoever erases the one finds the other.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.delete import Deleter
from tailtrace_bridge.store.influx.wire.kind import Erases
from tailtrace_bridge.store.influx.wire.setup import DAY_S, Bucket, ensure
from tailtrace_bridge.store.influx.wire.write import Timing, Writer, plain_post
from tailtrace_bridge.store.values import Window

Name = tuple[int, int]
"""Time and key of a request, which name it."""
QUESTIONS_MAX = 200
"""In one call."""
NEAR_MS, SPAN_MS_MAX = 1_000, 5_000
"""Requests so near to each other are asked for in one question: it costs by the series that it looks through, and each
person at each endpoint is one."""
_FAILED = ("status_code", "trace_id", "ip", "endpoint", "user", "user_id", "device", "node_id")


class Stored(NamedTuple):
    """What a failed request's row says of it, as InfluxDB has it."""

    slot_ns: int
    """The time of its point."""
    status: int
    trace_id: str
    address: str
    endpoint: str
    user: str
    user_id: str
    device: str
    node_id: str


class Beside:
    """Writes to one server for one source. Hold `lock` over a look and the write that follows from it."""

    def __init__(self, config: InfluxConfig, reads: Reads, delete: Deleter, timing: Timing) -> None:
        self.reads, self.delete, self.source = reads, delete, config.source
        self.lock = threading.Lock()
        self._config = config
        self._writer = Writer(config.server.url, plain_post(reads.influx, config.server.org), timing)
        self._has_rollups = False

    @property
    def can_delete(self) -> bool:
        """Whether what is too much can go: else it is not taken. Raises `StoreError`."""
        return self.reads.influx.kind.erases is not Erases.NOTHING

    def write_raw(self, points: Sequence[bytes]) -> None:
        """Write to the bucket of the rows, which is there: what is written belongs to one. Raises `StoreError`."""
        self._writer.write(self.reads.buckets.raw, points)

    def write_rollups(self, points: Sequence[bytes]) -> None:
        """Write to the bucket of the rollups. Raises `StoreError`."""
        server, name = self._config.server, self.reads.buckets.rollups
        if not self._has_rollups:
            ensure(self.reads.influx, server.url, server.org, Bucket(name, self._config.rollup_days * DAY_S))
            self._has_rollups = True
        self._writer.write(name, points)

    def slots(self, names: Collection[Name]) -> dict[Name, int]:
        """Return the times of the points of those requests that this source has stored, ns. Raises `StoreError`."""
        return {name: slot_ns for name, (slot_ns, *_) in self._rows(names, (), "").items()}

    def failed(self, names: Collection[Name]) -> dict[Name, Stored]:
        """Return the same of failed requests, with what their rows say. Raises `StoreError`."""
        found = self._rows(names, _FAILED, " AND \"status_class\" = '5xx'")
        found |= self._rows(
            [name for name in names if name not in found], _FAILED, ""
        )  # errors that an app told of a 200
        return {
            name: Stored(slot_ns, status, trace_id or "", address or "", *map(lines.untag, tags))
            for name, (slot_ns, status, trace_id, address, *tags) in found.items()
        }

    def _rows(self, names: Collection[Name], columns: Sequence[str], clause: str) -> dict[Name, list[Any]]:
        selected = ", ".join(f'"{one}"' for one in ("time_us", "key", *columns))
        text = f'SELECT {selected} FROM "{lines.RAW}" WHERE "source" = $source{clause} AND {{span}}'  # noqa: S608
        rows = near(self.reads, text, names, {"source": self.source})
        found = {(time_us, key): [slot_ns, *values] for slot_ns, time_us, key, *values in rows}
        return {name: found[name] for name in names if name in found}


def near(reads: Reads, text: str, names: Collection[Name], values: Mapping[str, object]) -> list[list[Any]]:
    """Ask the bucket of the rows about the milliseconds of requests, and some between them; return rows.

    `text` has a place for a `{span}`. Raises `StoreError`.
    """
    spans = _spans(names)
    found: list[list[Any]] = []
    for start in range(0, len(spans), QUESTIONS_MAX):
        some = spans[start : start + QUESTIONS_MAX]
        asked = [text.format(span=f"time >= $start{place} AND time < $end{place}") for place in range(len(some))]
        bounds = {f"start{place}": one.start_us * 1000 for place, one in enumerate(some)}
        bounds |= {f"end{place}": one.end_us * 1000 for place, one in enumerate(some)}
        for results in reads.influx.query_all(reads.buckets.raw, asked, {**values, **bounds}):
            found += (row for result in results for row in result.rows)
    return found


def bounds(window: Window) -> dict[str, object]:
    """Return a window as values to be bound: whole milliseconds, since points have no more."""
    start_ms, end_ms = window.start_us // lines.MS_US, -(-window.end_us // lines.MS_US)
    return {"start": start_ms * lines.MS_NS, "end": end_ms * lines.MS_NS}


def _spans(names: Collection[Name]) -> list[Window]:
    """Return whole milliseconds that these requests lie in, those that are near to each other put together."""
    spans: list[Window] = []
    for ms in sorted({time_us // lines.MS_US for time_us, _ in names}):
        start_us, end_us = ms * lines.MS_US, (ms + 1) * lines.MS_US
        is_near = spans and start_us - spans[-1].end_us <= NEAR_MS * lines.MS_US
        if is_near and end_us - spans[-1].start_us <= SPAN_MS_MAX * lines.MS_US:
            spans[-1] = Window(spans[-1].start_us, end_us)
        else:
            spans.append(Window(start_us, end_us))
    return spans

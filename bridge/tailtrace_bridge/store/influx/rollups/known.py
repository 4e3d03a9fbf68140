"""What a source has stored already, around the times of a batch: so that each request is written once.

| a step of time | what is read |
|---|---|
| nobody has announced it (`rollups`) | nothing: it has no rows |
| is touched for the first time since the writer began | its batches; its rows in `api_access`, by time and key |
| has rows in `api_access` that no batch has: a writer died | these rows, whole; written again, and as a batch |
| is of the first rows that this writer is given | its batches are written again as they are |
| was touched before | which batches there are, and those that are not our own |

Why again: a writer died, perhaps while the server's disk was full. What the server shows then may be in its memory
alone (`write`), and the writer that knew what it had answered to is gone. Another writer of a log goes on where that
one was sure: what it finds stored there is what nobody is sure of.

At most `NAMES_MAX` requests are kept in mind, and always the two steps touched last, as a line may come late; a step
that is forgotten is read anew.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import TypeVar

from tailtrace_bridge.core.columns import columns_of
from tailtrace_bridge.core.records import Row
from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups.batches import BUCKET_US
from tailtrace_bridge.store.influx.rollups.encoding import Tables
from tailtrace_bridge.store.influx.rollups.reader import Buckets, RollupReader
from tailtrace_bridge.store.influx.rollups.seen import SECOND_US, Name, Seen
from tailtrace_bridge.store.influx.rollups.spans import joined
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.query import InfluxQL
from tailtrace_bridge.store.values import Window

NAMES_MAX = 20_000
ROWS_AT_ONCE = 2_500
"""Held at once while a step is read: some MB, where all of a busy step are tens."""
WHOLE_ROWS_AT_ONCE = 2_000
"""With paths and user agents: 2 kB each."""
T = TypeVar("T")


class _Step:
    """What is known of one step."""

    def __init__(self) -> None:
        self.batches: set[int] = set()
        """The times of the batches that were read, or written by ourselves."""
        self.seen = Seen()
        self._shifts: dict[Name, int] = {}
        """How far the time of a request's point lies from `lines.first_slot`, ns, where it is not that."""

    def add(self, name: Name, slot_ns: int) -> None:
        """Take a request and the time of its point."""
        self.seen.add(name)
        if (shift := slot_ns - lines.first_slot(*name)) != 0:
            self._shifts[name] = shift

    def slot_ns(self, name: Name) -> int:
        """Return the time of the point of a request that is here."""
        return lines.first_slot(*name) + self._shifts.get(name, 0)


class Known:
    """Knows one source. `write` takes points for the bucket of the rows."""

    def __init__(
        self,
        influx: InfluxQL,
        buckets: Buckets,
        rollups: RollupReader,
        source: str,
        write: Callable[[list[bytes]], object],
    ) -> None:
        self.found_count = 0
        """Requests that were in `api_access` and in no batch."""
        self._influx, self._raw, self._rollups = influx, buckets.raw, rollups
        self._source, self._write = source, write
        self._steps: dict[int, _Step] = {}

    def around(self, times_us: Sequence[int]) -> dict[Name, int]:
        """Return the requests of the milliseconds that these times lie in, and the time of each one's point, ns.

        Requests of other milliseconds have neither the name nor the slot of one of these.
        """
        touched = sorted({time_us // BUCKET_US * BUCKET_US for time_us in times_us})
        is_sure = bool(self._steps)
        first = [us for us in touched if us not in self._steps]
        announced = {us for _, us in self._rollups.untils(_spans(first), BUCKET_US, self._source)} if first else set()
        read = [us for us in touched if us in announced or us in self._steps]
        for us in touched:  # those touched last are the last to go
            self._steps[us] = self._steps.pop(us) if us in self._steps else _Step()
        self._forget(len(touched))
        self._read_batches(read, is_sure=is_sure)
        self.find([us for us in first if us in announced])
        wanted = {time_us // lines.MS_US for time_us in times_us}
        seconds = {time_us // SECOND_US for time_us in times_us}
        return {
            name: step.slot_ns(name)
            for second in seconds
            for step in (self._step(second * SECOND_US),)
            for name in step.seen.of(second)
            if name[0] // lines.MS_US in wanted
        }

    def add(self, slots: Iterable[tuple[Name, int]], points: Iterable[bytes]) -> None:
        """Remember what was written: requests, and batches."""
        for name, slot_ns in slots:
            self._step(name[0]).add(name, slot_ns)
        for point in points:
            time_ns = int(point.rpartition(b" ")[2])
            self._step(time_ns // batches.NS).batches.add(time_ns)

    def _step(self, time_us: int) -> _Step:
        return self._steps[time_us // BUCKET_US * BUCKET_US]

    def _forget(self, kept_count: int) -> None:
        """Let go of the steps touched longest ago, but for the last `kept_count`."""
        names = sum(step.seen.count for step in self._steps.values())
        for us in list(self._steps)[: -max(2, kept_count)]:
            if names <= NAMES_MAX:
                break
            names -= self._steps.pop(us).seen.count

    def _read_batches(self, steps: list[int], *, is_sure: bool) -> None:
        where = f' FROM "{batches.MEASUREMENT}" WHERE "source" = $source AND time >= {{start}} AND time < {{end}}'
        values, wanted = {"source": self._source}, set(steps)

        def is_new(time_ns: int) -> bool:
            us = time_ns // batches.NS // BUCKET_US * BUCKET_US
            return us in wanted and time_ns not in self._steps[us].batches

        there = self._rollups.each(self._raw, (f'SELECT "rows"{where}',), _spans(steps), values)[0]
        new = ((time_ns, count) for result in there for time_ns, count in result.rows if is_new(time_ns))
        text = f'SELECT "data"{where}'.format(start="$start", end="$end")
        for start_ns, end_ns in batches.spans(new, ROWS_AT_ONCE):
            page = self._influx.rows(self._raw, text, {**values, "start": start_ns, "end": end_ns})
            if not is_sure:
                self._write([batches.point(data, self._source, time_ns) for time_ns, data in page])
            for time_ns, data in page:
                if is_new(time_ns):
                    step = self._step(time_ns // batches.NS)
                    step.batches.add(time_ns)
                    for one in batches.read([data], Tables()):
                        name = one.time_us, one.key
                        step.add(name, lines.first_slot(*name) + one.shift)

    def find(self, times_us: Iterable[int]) -> None:
        """Write again, and as a batch, what `api_access` has, of the steps that these times lie in, and no batch."""
        steps = sorted({time_us // BUCKET_US * BUCKET_US for time_us in times_us})
        select, where = f'SELECT "time_us", "key" FROM "{lines.RAW}"', ' AND "source" = $source'  # noqa: S608
        names = (  # a page at a time: a step has 120,000 rows at 200 a second
            (time_us, key)
            for span in _spans(steps)
            for _, time_us, key in self._influx.pages(
                self._raw,
                select,
                where,
                {"source": self._source},
                (span.start_us * batches.NS, span.end_us * batches.NS),
            )
        )
        lost = {name[0] // BUCKET_US * BUCKET_US for name in self._new(names, lambda name: name)}
        for span in _spans(sorted(lost & set(steps))):
            found = self._new(self._whole(span), lambda pair: (pair[1].access.time_us, pair[1].access.key))
            while part := list(islice(found, ROWS_AT_ONCE)):
                self._adopt(part)

    def _adopt(self, found: Sequence[tuple[int, Row]]) -> None:
        """Write rows, each given with the time of its point, ns: as they are, then as a batch."""
        columns, tables = columns_of([row for _, row in found]), Tables()
        routes = [route for _, route in columns.endpoints]
        fresh = [(slot_ns, number) for number, (slot_ns, _) in enumerate(found)]
        maker = lines.LineMaker(columns, columns.identities, routes, self._source)
        self._write([maker.line(number, slot_ns) for slot_ns, number in fresh])
        points = batches.points(
            batches.requests_of(columns, columns.identities, routes, fresh, tables), tables, self._source
        )
        self._write(points)
        self.add((((row.access.time_us, row.access.key), slot_ns) for slot_ns, row in found), points)
        self.found_count += len(found)

    def _new(self, things: Iterable[T], name_of: Callable[[T], Name]) -> Iterator[T]:
        """Return those whose name is not known, of the steps that are."""
        for bucket_us, of_step in groupby(things, lambda thing: name_of(thing)[0] // BUCKET_US * BUCKET_US):
            if (step := self._steps.get(bucket_us)) is not None:
                yield from step.seen.new(of_step, name_of)

    def _whole(self, span: Window) -> Iterator[tuple[int, Row]]:
        reader = lines.RowReader()
        for values in self._influx.pages(
            self._raw, lines.SELECT_ROWS, ' AND "source" = $source', {"source": self._source},
            (span.start_us * batches.NS, span.end_us * batches.NS), WHOLE_ROWS_AT_ONCE,
        ):  # fmt: skip
            yield values[0], reader.row(values)


def _spans(steps: list[int]) -> list[Window]:
    return joined(Window(us, us + BUCKET_US) for us in steps)

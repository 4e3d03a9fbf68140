"""Sums by step of time (`STEP_US`, hour, day), so that a month is read from few points; true whatever happens.

Two things are kept in the bucket of the rollups, for each source by itself:

| point | at | says |
|---|---|---|
| `step` | each `STEP_US` with rows | `until_us`: rows of this step may come until then |
| `usage`, `latency` and the other kinds | each step, hour, day | its sums (`chunks`), `asof_us`: as of when |

**Sums are valid if as of then or later than `until_us` of all steps in them.** Everything follows from this:

| what happens | `until_us` | so |
|---|---|---|
| the first row of a step is about to be written | end of the step + `GRACE_US` | the step is open: read from its rows |
| a row comes late, or by an import | before its write: later than now | not valid: rows are read, summed up again |
| the writer dies after that, row written or not | passes | summed up again by who comes next |
| another process writes while a step is summed up | later than `asof_us` | not valid: summed up again |
| a replay | unchanged: no row is new | the sums stay |
| a step without the point `step` | | has no rows: nothing is read |

Sums are made of all rows that the step has, never added to; so to make them twice changes nothing.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from tailtrace_bridge.store.influx import lines
from tailtrace_bridge.store.influx.chunks import Kind, Row, Tables, decode, encode, merged, rows_of
from tailtrace_bridge.store.influx.query import InfluxQL
from tailtrace_bridge.store.protocol import DAY_US, HOUR_US, MINUTE_US, Window
from tailtrace_bridge.store.sums import Stored, Sums

STEP_US = 10 * MINUTE_US
SIZES = {DAY_US: "1d", HOUR_US: "1h", STEP_US: "10m"}
GRACE_US = 2 * MINUTE_US
"""How long after its end a step waits for rows: for lines that wait for their span, and their write."""
WRITE_US = MINUTE_US
"""How long a write takes at most, tries and all."""
QUERIES_MAX = 16
"""For the chunks of one size: with more gaps than that, what lies in the smaller gaps is read as well."""
BATCH_POINTS = 500
"""Of sums, written at once."""
_STEPS = "step"
_NS = 1000


class Part(NamedTuple):
    """Sums of one kind of a step of time that begins at `start_us`."""

    start_us: int
    size_us: int
    """0: read from rows, of the hour that begins then."""
    rows: list[Row]


class Buckets(NamedTuple):
    """Where rows are, and where sums are."""

    raw: str
    rollups: str


class Rollups:
    """Reads sums of all sources."""

    def __init__(self, influx: InfluxQL, buckets: Buckets) -> None:
        self._influx, self._buckets = influx, buckets

    def parts(self, window: Window, kind: Kind, tables: Tables, size_us_max: int = DAY_US) -> Iterator[Part]:
        """Give the sums of a window, no more and no less, from as few points as there can be; in no order."""
        sizes = [size_us for size_us in SIZES if size_us <= size_us_max]
        for source, untils in self.untils(window).items():
            yield from self.of_source(source, untils, window, kind, tables, sizes)

    def untils(self, window: Window, source: str | None = None) -> dict[str, dict[int, int]]:
        """Give, for each source, the steps with rows and until when rows may come."""
        if window.start_us >= window.end_us:
            return {}
        values: dict[str, object] = {"start": window.start_us // STEP_US * STEP_US * _NS, "end": window.end_us * _NS}
        where = "time >= $start AND time < $end"
        if source is not None:
            where, values = where + ' AND "source" = $source', {**values, "source": source}
        text = f'SELECT "until_us" FROM "{_STEPS}" WHERE {where} GROUP BY "source"'  # noqa: S608  # our own names
        return {
            result.tags.get("source", ""): {time_ns // _NS: until_us for time_ns, until_us in result.rows}
            for result in self._influx.ask(self._buckets.rollups, text, values)
        }

    def newest_step_us(self) -> int | None:
        """Give the beginning of the newest step with rows."""
        text = f'SELECT last("until_us") FROM "{_STEPS}"'  # noqa: S608
        return max((row[0] // _NS for row in self._influx.rows(self._buckets.rollups, text)), default=None)

    def of_source(
        self, source: str, untils: Mapping[int, int], window: Window, kind: Kind, tables: Tables, sizes: Sequence[int]
    ) -> Iterator[Part]:
        """Give the sums of one source: of the largest steps that are valid, and of the rows where none is."""
        spans = [window]
        for size_us in sizes:
            needed: dict[int, int] = {}
            for step_us, until_us in untils.items():
                start_us = step_us // size_us * size_us
                needed[start_us] = max(needed.get(start_us, 0), until_us)
            whole = [span for span in (_whole(span, size_us) for span in spans) if span is not None]
            found = self._chunks(source, size_us, kind, whole)
            rest = [edge for span in spans for edge in _edges(span, size_us)]
            for start_us in sorted(needed):
                if not any(span.start_us <= start_us < span.end_us for span in whole):
                    continue
                rows = _valid(kind, found.get(start_us, []), needed[start_us], tables)
                if rows is None:
                    rest.append(Window(start_us, start_us + size_us))
                else:
                    yield Part(start_us, size_us, rows)
            spans = _joined(rest)
        steps = sorted(untils)
        sums = Sums()
        for span in spans:
            for start_us, end_us in _with_rows(span, steps):
                sums.add(self.stored(source, Window(start_us, end_us), tables))
        by_hour: dict[int, list[Row]] = {}
        for hour, row in rows_of(kind, sums):
            by_hour.setdefault(hour, []).append(row)
        for hour, rows in by_hour.items():
            yield Part(hour * HOUR_US, 0, rows)

    def stored(self, source: str, window: Window, tables: Tables) -> Iterator[Stored]:
        """Give the rows of one source, in order of time, as `Sums` takes them."""
        reader = lines.RowReader()
        span_ns = (window.start_us // lines.MS_US * lines.MS_NS, -(-window.end_us // lines.MS_US) * lines.MS_NS)
        for values in self._influx.pages(
            self._buckets.raw, lines.SELECT_SUMS, ' AND "source" = $source', {"source": source}, span_ns
        ):
            (time_us, route, service, method, status, traffic, request_ms, app_ms, sent) = values[
                1 + lines.IDENTITY_WIDTH :
            ]
            if window.start_us <= time_us < window.end_us:
                identity = tables.identities[reader.identity(values[1:])]
                endpoint = tables.endpoints[(lines.untag(service), lines.untag(route))]
                yield (
                    time_us, 0, identity, endpoint, 0, lines.untag(method), "", status, traffic,
                    lines.to_us(request_ms), None, lines.to_us(app_ms), sent, None, None, None, 0,
                )  # fmt: skip

    def asofs(self, size_us: int, source: str) -> dict[int, int]:
        """Give what was summed up already, and as of when."""
        text = f'SELECT "asof_us" FROM "{Kind.HOURS}" WHERE "source" = $source AND "size" = $size'  # noqa: S608
        rows = self._influx.rows(self._buckets.rollups, text, {"source": source, "size": SIZES[size_us]})
        return {time_ns // _NS // size_us * size_us: asof_us for time_ns, asof_us in rows}

    def _chunks(self, source: str, size_us: int, kind: Kind, spans: Sequence[Window]) -> dict[int, list[list[Any]]]:
        text = (
            f'SELECT "asof_us", "parts", "data" FROM "{kind}"'  # noqa: S608
            ' WHERE "source" = $source AND "size" = $size AND time >= $start AND time < $end'
        )
        found: dict[int, list[list[Any]]] = {}
        for start_us, end_us in groups(spans, QUERIES_MAX):
            values = {"source": source, "size": SIZES[size_us], "start": start_us * _NS, "end": end_us * _NS}
            for row in self._influx.rows(self._buckets.rollups, text, values):
                found.setdefault(row[0] // _NS // size_us * size_us, []).append(row)
        return found


class Roller:
    """Sums up what one source has written. Its `write` takes points for the bucket of the rollups."""

    def __init__(
        self, rollups: Rollups, source: str, write: Callable[[list[bytes]], object], clock: Callable[[], int]
    ) -> None:
        self.rolled = 0
        """Steps, hours and days summed up."""
        self._rollups, self._source, self._write, self._clock = rollups, source, write, clock
        self._untils: dict[int, int] = {}
        self._asofs: dict[int, dict[int, int]] = {size_us: {} for size_us in SIZES}

    def load(self) -> None:
        """Read what is there, of this process and others of the same source."""
        ever = Window(0, 2**53)
        self._untils.update(self._rollups.untils(ever, self._source).get(self._source, {}))
        for size_us, known in self._asofs.items():
            known.update(self._rollups.asofs(size_us, self._source))

    def announce(self, times_us: Iterable[int]) -> list[bytes]:
        """Give the points to write before rows of these times are."""
        now_us = self._clock()
        steps = {time_us // STEP_US * STEP_US for time_us in times_us}
        # An open step is announced once. One that is over is each time: another process may have settled it since.
        return [
            self._point(step_us, max(now_us + WRITE_US, step_us + STEP_US + GRACE_US))
            for step_us in sorted(steps)
            if self._untils.get(step_us, 0) < now_us + WRITE_US or _is_over(step_us, STEP_US, now_us)
        ]

    def settle(self) -> list[bytes]:
        """Give the points that say that this process writes no more to steps that are over.

        What another process of this source announced since is left alone: it may still be writing.
        """
        now_us = self._clock()
        mine = {us: until_us for us, until_us in self._untils.items() if until_us > now_us}
        if not mine:
            return []
        said = self._rollups.untils(Window(min(mine), max(mine) + STEP_US), self._source).get(self._source, {})
        return [
            self._point(step_us, now_us)
            for step_us, until_us in mine.items()
            if said.get(step_us) == until_us and _is_over(step_us, STEP_US, now_us)
        ]

    def roll_day(self) -> bool:
        """Sum up what is due within the oldest day that has something due. False: nothing is, or can be for now."""
        now_us, rolled = self._clock(), self.rolled
        due = [
            (step_us, size_us)
            for size_us in (STEP_US, HOUR_US, DAY_US)
            for step_us, until_us in self._needed(size_us).items()
            if self._asofs[size_us].get(step_us, -1) < until_us <= now_us and _is_over(step_us, size_us, now_us)
        ]
        for day_us in sorted({us // DAY_US * DAY_US for us, _ in due}):
            steps = [us for us, size_us in due if size_us == STEP_US and us // DAY_US * DAY_US == day_us]
            for span in _joined(Window(us, us + STEP_US) for us in steps):
                self._roll_rows(span)
            for size_us, finer_us in ((HOUR_US, STEP_US), (DAY_US, HOUR_US)):
                self._roll_up(day_us, size_us, finer_us, now_us)
            if self.rolled > rolled:
                return True
        return False

    def _point(self, step_us: int, until_us: int) -> bytes:
        # Later than all sums that there are, also where the clock was set back since.
        asof_us = max(known.get(step_us // size_us * size_us, 0) for size_us, known in self._asofs.items())
        until_us = max(until_us, asof_us + 1)
        self._untils[step_us] = until_us
        return lines.point(_STEPS, {"source": self._source}, {"until_us": until_us}, step_us * _NS)

    def _needed(self, size_us: int) -> dict[int, int]:
        needed: dict[int, int] = {}
        for step_us, until_us in list(self._untils.items()):
            start_us = step_us // size_us * size_us
            needed[start_us] = max(needed.get(start_us, 0), until_us)
        return needed

    def _roll_rows(self, span: Window) -> None:
        """Sum up steps from their rows, which come in order of time: one step at a time is held."""
        asof_us = self._clock()
        empty = dict.fromkeys(range(span.start_us, span.end_us, STEP_US))  # announced, and perhaps no row came
        tables, batch = Tables(), _Batch(self._keep)
        for step_us, rows in groupby(self._rollups.stored(self._source, span, tables), _step_of):
            empty.pop(step_us, None)
            batch.add(STEP_US, step_us, asof_us, self._points(STEP_US, step_us, asof_us, _summed(rows), tables))
        for step_us in empty:
            batch.add(STEP_US, step_us, asof_us, self._points(STEP_US, step_us, asof_us, _summed(()), tables))
        batch.flush()

    def _roll_up(self, day_us: int, size_us: int, finer_us: int, now_us: int) -> None:
        """Sum up the hours, or the day, from sums of the next finer size; what is not valid there waits."""
        needed = {
            start_us: until_us
            for start_us, until_us in self._needed(size_us).items()
            if day_us <= start_us < day_us + DAY_US
            and self._asofs[size_us].get(start_us, -1) < until_us <= now_us
            and _is_over(start_us, size_us, now_us)
        }
        if not needed:
            return
        asof_us = self._clock()
        # Asked anew: another process of this source may have announced rows.
        day = Window(day_us, day_us + DAY_US)
        untils = {
            step_us: until_us
            for step_us, until_us in self._rollups.untils(day, self._source).get(self._source, {}).items()
            if step_us // size_us * size_us in needed
        }
        tables = Tables()
        sums: dict[int, dict[Kind, list[list[Row]]]] = {}
        from_rows: set[int] = set()
        for kind in Kind:
            for part in self._rollups.of_source(self._source, untils, day, kind, tables, (finer_us,)):
                start_us = part.start_us // size_us * size_us
                sums.setdefault(start_us, {one: [] for one in Kind})[kind].append(part.rows)
                if not part.size_us:
                    from_rows.add(start_us)
        batch = _Batch(self._keep)
        for start_us in sums.keys() - from_rows:
            totals = {kind: merged(kind, parts) for kind, parts in sums[start_us].items()}
            batch.add(size_us, start_us, asof_us, self._points(size_us, start_us, asof_us, totals, tables))
        batch.flush()

    def _points(
        self, size_us: int, start_us: int, asof_us: int, sums: Mapping[Kind, Sequence[Row]], tables: Tables
    ) -> list[bytes]:
        tags = {"size": SIZES[size_us], "source": self._source}
        return [
            lines.point(kind, tags, {"asof_us": asof_us, "parts": len(texts), "data": text}, start_us * _NS + place)
            for kind, rows in sums.items()
            for texts in (encode(kind, rows, tables),)
            for place, text in enumerate(texts)
        ]

    def _keep(self, points: list[bytes], rolled: Sequence[tuple[int, int, int]]) -> None:
        self._write(points)
        for size_us, start_us, asof_us in rolled:
            self._asofs[size_us][start_us] = asof_us
        self.rolled += len(rolled)


class _Batch:
    """Points of several steps, kept together: a write for each would take most of the time."""

    def __init__(self, keep: Callable[[list[bytes], Sequence[tuple[int, int, int]]], None]) -> None:
        self._keep = keep
        self._points: list[bytes] = []
        self._rolled: list[tuple[int, int, int]] = []

    def add(self, size_us: int, start_us: int, asof_us: int, points: list[bytes]) -> None:
        """Take the points of one step; keep what there is when it is enough."""
        self._points += points
        self._rolled.append((size_us, start_us, asof_us))
        if len(self._points) >= BATCH_POINTS:
            self.flush()

    def flush(self) -> None:
        """Keep what there is."""
        if self._rolled:
            self._keep(self._points, self._rolled)
        self._points, self._rolled = [], []


def _step_of(row: Stored) -> int:
    return row[0] // STEP_US * STEP_US


def _summed(rows: Iterable[Stored]) -> dict[Kind, list[Row]]:
    sums = Sums()
    sums.add(rows)
    return {kind: merged(kind, [[row for _, row in rows_of(kind, sums)]]) for kind in Kind}


def _is_over(start_us: int, size_us: int, now_us: int) -> bool:
    return start_us + size_us + GRACE_US <= now_us


def groups(spans: Sequence[Window], count_max: int) -> list[Window]:
    """Cover spans, in order, with at most `count_max` of them: those with the smallest gaps between are joined."""
    joined = _joined(spans)
    if len(joined) <= count_max:
        return joined
    gaps = sorted(range(1, len(joined)), key=lambda at: joined[at].start_us - joined[at - 1].end_us, reverse=True)
    cuts = [0, *sorted(gaps[: count_max - 1]), len(joined)]
    return [Window(joined[a].start_us, joined[b - 1].end_us) for a, b in pairwise(cuts)]


def _joined(spans: Iterable[Window]) -> list[Window]:
    joined: list[Window] = []
    for span in sorted(spans):
        if joined and span.start_us <= joined[-1].end_us:
            joined[-1] = Window(joined[-1].start_us, max(joined[-1].end_us, span.end_us))
        else:
            joined.append(span)
    return joined


def _whole(span: Window, size_us: int) -> Window | None:
    low_us, high_us = -(-span.start_us // size_us) * size_us, span.end_us // size_us * size_us
    return Window(low_us, high_us) if low_us < high_us else None


def _edges(span: Window, size_us: int) -> list[Window]:
    whole = _whole(span, size_us)
    if whole is None:
        return [span] if span.start_us < span.end_us else []
    edges = [Window(span.start_us, whole.start_us), Window(whole.end_us, span.end_us)]
    return [edge for edge in edges if edge.start_us < edge.end_us]


def _valid(kind: Kind, points: list[list[Any]], until_us: int, tables: Tables) -> list[Row] | None:
    """Give the rows that points of one step hold, if these are whole, of one making, and recent enough."""
    if not points:
        return None
    _, asof_us, parts, _ = points[0]
    mine = points[:parts]  # what is behind these is left of a longer text of before
    if asof_us < until_us or len(mine) < parts or any(point[1:3] != [asof_us, parts] for point in mine):
        return None
    try:
        return decode(kind, (point[3] for point in mine), tables)
    except ValueError:
        return None


def _with_rows(span: Window, steps: Sequence[int]) -> list[Window]:
    """Give what of a span lies in steps that have rows."""
    first = bisect_left(steps, span.start_us // STEP_US * STEP_US)
    last = bisect_left(steps, span.end_us)
    return _joined(
        Window(max(span.start_us, step_us), min(span.end_us, step_us + STEP_US)) for step_us in steps[first:last]
    )

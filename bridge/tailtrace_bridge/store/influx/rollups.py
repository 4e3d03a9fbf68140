"""Sums by hour and by day, so that a month is read from few points; true whatever happens.

Three things are kept, for each source by itself; the last in the bucket of the rows, the others in that of the rollups:

| point | at | says |
|---|---|---|
| `step` | each `STEP_US` with rows | `until_us`: rows of this step may come until then |
| `usage`, `latency` and the other kinds | each hour, day | its sums (`chunks`), `asof_us`: as of when |
| `rows` | a step that was written in many batches | its requests in one, and `asof_us`; else see `batches` |

**Sums are valid if as of then or later than `until_us` of all steps in them.** Everything follows from this:

| what happens | `until_us` | so |
|---|---|---|
| the first row of a step is about to be written | end of the step + `GRACE_US` | open: read from its batches |
| a row comes late, or by an import | before its write: later than now | not valid: batches are read, summed up again |
| the writer dies after that, row written or not | passes | summed up again by who comes next |
| another process writes while a step is summed up | later than `asof_us` | not valid: summed up again |
| a replay | unchanged: no row is new | the sums stay |
| a step without the point `step` | | has no rows: nothing is read |

Sums are made of all rows that the step has, never added to; so to make them twice changes nothing.

A window is read from the days in it, then the hours at its ends, then the steps at theirs: for each of these, whatever
the number of sources and steps, one call says until when and one gives the sums.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from tailtrace_bridge.store.influx import batches, lines
from tailtrace_bridge.store.influx.batches import STEP_US
from tailtrace_bridge.store.influx.chunks import SUMS, Kind, Row, Tables, decode, encode, merged, rows_of
from tailtrace_bridge.store.influx.query import InfluxQL, Result
from tailtrace_bridge.store.protocol import DAY_US, HOUR_US, MINUTE_US, Window
from tailtrace_bridge.store.sums import Sums

SIZES = {DAY_US: "1d", HOUR_US: "1h", STEP_US: "10m"}
SUM_SIZES = (DAY_US, HOUR_US)
GRACE_US = 2 * MINUTE_US
"""How long after its end a step waits for rows: for lines that wait for their span, and their write."""
WRITE_US = MINUTE_US
"""How long a write takes at most, tries and all."""
QUERIES_MAX = 16
"""For the points of one size: with more gaps than that, what lies in the smaller gaps is read as well."""
BATCH_POINTS = 500
"""Of sums, written at once."""
BATCHES_MAX = 8
"""Of one step: where there are more, they are put into one when the step is summed up."""
STEPS_MAX = 36
"""Whose requests are fetched in one call."""
_STEPS = "step"
_NS = 1000
Place = tuple[str, int]
"""A source, and the start of a step of time, µs."""


class Part(NamedTuple):
    """Sums of one kind of a step of time that begins at `start_us`."""

    start_us: int
    size_us: int
    """0: made of rows, of the hour that begins then."""
    rows: list[Row]


class Buckets(NamedTuple):
    """Where rows are, and where sums are."""

    raw: str
    rollups: str


class Rollups:
    """Reads sums of all sources."""

    def __init__(self, influx: InfluxQL, buckets: Buckets) -> None:
        self._influx, self._buckets = influx, buckets

    def parts(
        self,
        window: Window,
        kind: Kind,
        tables: Tables,
        sizes: Sequence[int] = SUM_SIZES,
        source: str | None = None,
    ) -> Iterator[Part]:
        """Give the sums of a window, no more and no less, from as few points as there can be; in no order."""
        if window.start_us >= window.end_us:
            return
        if sizes and sizes[0] == DAY_US:
            window = self._widened(window)
        rest: dict[str | None, list[Window]] = {source: [window]}  # None: of every source
        for size_us in sizes:
            whole = {one: [w for w in (_whole(span, size_us) for span in spans) if w] for one, spans in rest.items()}
            rest = {one: [edge for span in spans for edge in _edges(span, size_us)] for one, spans in rest.items()}
            untils, found = self._sums(kind, size_us, whole)
            for (one, start_us), until_us in untils.items():
                if not any(w.start_us <= start_us < w.end_us for w in (*whole.get(one, ()), *whole.get(None, ()))):
                    continue
                rows = _valid(kind, found.get((one, start_us), []), until_us, tables)
                if rows is None:
                    rest.setdefault(one, []).append(Window(start_us, start_us + size_us))
                else:
                    yield Part(start_us, size_us, rows)
        sums = Sums()
        for _, _, requests in self.requests(rest, tables):
            sums.add(map(batches.stored, requests))
        by_hour: dict[int, list[Row]] = defaultdict(list)
        for hour, row in rows_of(kind, sums):
            by_hour[hour].append(row)
        for hour, rows in by_hour.items():
            yield Part(hour * HOUR_US, 0, rows)

    def requests(
        self, spans: Mapping[str | None, Sequence[Window]], tables: Tables
    ) -> Iterator[tuple[Place, int, Iterable[batches.Request]]]:
        """Give the requests of spans of time (of a source; None: of each), by step, with the number of batches.

        In order of time.
        """
        spans_of = {one: joined(theirs) for one, theirs in spans.items()}
        source = next(iter(spans_of)) if len(spans_of) == 1 else None
        untils = self.untils(
            joined(_steps_around(span) for theirs in spans_of.values() for span in theirs), STEP_US, source
        )
        wanted: dict[Place, list[Window]] = {}
        for place in sorted(untils, key=lambda place: place[1]):
            step, asked = _step(place), (*spans_of.get(place[0], ()), *spans_of.get(None, ()))
            if cut := [c for span in asked if (c := _cut(span, step))]:
                wanted[place] = cut
        places = list(wanted)
        for start in range(0, len(places), STEPS_MAX):
            some = places[start : start + STEPS_MAX]
            found = self._requests({place: untils[place] for place in some}, tables, source)
            for place in some:
                count, requests = found(place)
                cut = wanted[place]
                if cut != [_step(place)]:
                    requests = [one for one in requests if any(w.start_us <= one.time_us < w.end_us for w in cut)]
                yield place, count, requests

    def _requests(
        self, untils: Mapping[Place, int], tables: Tables, source: str | None
    ) -> Callable[[Place], tuple[int, Iterable[batches.Request]]]:
        """Fetch the requests of steps; give what gives those of one, and their number of batches."""
        where, values = _of_source(source)
        text = _chunks_text(Kind.ROWS, STEP_US, where)
        chunks = _chunks(self.each(self._buckets.raw, (text,), joined(map(_step, untils)), values)[0], STEP_US)
        whole = {place: texts for place in untils if (texts := _valid_texts(chunks.get(place, []), untils[place]))}
        loose = self._batches(joined(_step(place) for place in untils if place not in whole), source)

        def of(place: Place) -> tuple[int, Iterable[batches.Request]]:
            if place in whole:
                return 1, map(batches.Request._make, decode(Kind.ROWS, whole[place], tables))
            texts = loose.get(place, [])
            return len(texts), batches.read(texts, tables)

        return of

    def untils(self, spans: Sequence[Window], size_us: int, source: str | None = None) -> dict[Place, int]:
        """Give until when rows may come, of each step of a size that has any in these spans."""
        where, values = _of_source(source)
        return _untils(self.each(self._buckets.rollups, (_untils_text(size_us, where),), spans, values)[0])

    def all_untils(self, source: str) -> dict[int, int]:
        """Give until when rows of a source may come, of each step that has any."""
        text = f'SELECT "until_us" FROM "{_STEPS}" WHERE "source" = $source'  # noqa: S608
        rows = self._influx.rows(self._buckets.rollups, text, {"source": source})
        return {time_ns // _NS: until_us for time_ns, until_us in rows}

    def newest_step_us(self) -> int | None:
        """Give the beginning of the newest step with rows."""
        text = f'SELECT last("until_us") FROM "{_STEPS}"'  # noqa: S608
        return max((row[0] // _NS for row in self._influx.rows(self._buckets.rollups, text)), default=None)

    def asofs(self, size_us: int, source: str) -> dict[int, int]:
        """Give what was summed up already, and as of when."""
        text = f'SELECT "asof_us" FROM "{Kind.HOURS}" WHERE "source" = $source AND "size" = $size'  # noqa: S608
        rows = self._influx.rows(self._buckets.rollups, text, {"source": source, "size": SIZES[size_us]})
        return {time_ns // _NS // size_us * size_us: asof_us for time_ns, asof_us in rows}

    def _widened(self, window: Window) -> Window:
        """Give a window with the same rows, that ends with a day if it can: so its last day is one step, too."""
        end_us = -(-window.end_us // DAY_US) * DAY_US
        if end_us == window.end_us:
            return window
        newest_us = self.newest_step_us()
        return window if newest_us is None or newest_us + STEP_US > window.end_us else Window(window.start_us, end_us)

    def _sums(
        self, kind: Kind, size_us: int, spans: Mapping[str | None, Sequence[Window]]
    ) -> tuple[dict[Place, int], dict[Place, list[list[Any]]]]:
        """Give until when rows may come, and the points of the sums: in one call."""
        where, values = _of_source(next(iter(spans)) if len(spans) == 1 else None)
        untils, chunks = self.each(
            self._buckets.rollups,
            (_untils_text(size_us, where), _chunks_text(kind, size_us, where)),
            joined(span for theirs in spans.values() for span in theirs),
            values,
        )
        return _untils(untils), _chunks(chunks, size_us)

    def _batches(self, spans: Sequence[Window], source: str | None) -> dict[Place, list[str]]:
        where, values = _of_source(source)
        text = (
            f'SELECT "data" FROM "{batches.MEASUREMENT}"'  # noqa: S608
            f' WHERE time >= {{start}} AND time < {{end}}{where} GROUP BY "source"'
        )
        found: dict[Place, list[str]] = defaultdict(list)
        for result in self.each(self._buckets.raw, (text,), spans, values)[0]:
            one = result.tags.get("source", "")
            for time_ns, data in result.rows:
                found[(one, time_ns // _NS // STEP_US * STEP_US)].append(data)
        return found

    def each(
        self, bucket: str, texts: Sequence[str], spans: Sequence[Window], values: Mapping[str, object]
    ) -> list[list[Result]]:
        """Ask each of `texts` of several spans of time, in one call; they have places for `start` and `end`."""
        covering = groups(spans, QUERIES_MAX)
        asked = [text.format(start=f"$start{n}", end=f"$end{n}") for text in texts for n in range(len(covering))]
        bounds = {f"start{n}": span.start_us * _NS for n, span in enumerate(covering)}
        bounds |= {f"end{n}": span.end_us * _NS for n, span in enumerate(covering)}
        found = iter(self._influx.ask_all(bucket, asked, {**values, **bounds}))
        return [[one for _ in covering for one in next(found)] for _ in texts]


class Roller:
    """Sums up what one source has written."""

    def __init__(
        self,
        rollups: Rollups,
        source: str,
        write: Callable[[list[bytes]], object],
        write_raw: Callable[[list[bytes]], object],
        clock: Callable[[], int],
    ) -> None:
        self.rolled = 0
        """Hours and days summed up."""
        self._rollups, self._source, self._clock = rollups, source, clock
        self._write, self._write_raw = write, write_raw
        self._untils: dict[int, int] = {}
        self._asofs: dict[int, dict[int, int]] = {size_us: {} for size_us in SUM_SIZES}
        self._joined: dict[int, int] = {}
        """As of when the batches of a step were put into one, or were few; those of an hour that is not summed up."""

    def load(self) -> None:
        """Read what is there, of this process and others of the same source."""
        self._untils.update(self._rollups.all_untils(self._source))
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
        said = self._said([Window(min(mine), max(mine) + STEP_US)])
        return [
            self._point(step_us, now_us)
            for step_us, until_us in mine.items()
            if said.get(step_us) == until_us and _is_over(step_us, STEP_US, now_us)
        ]

    def roll_day(self) -> bool:
        """Sum up what is due within the oldest day that has something due. False: nothing is, or can be for now.

        Then the steps of the hour that is not over yet are put together.
        """
        now_us, rolled = self._clock(), self.rolled
        due = {us // DAY_US * DAY_US for size_us in SUM_SIZES for us in self._due(size_us, now_us)}
        for day_us in sorted(due):
            self._roll_hours(day_us, now_us)
            self._roll_day(day_us, now_us)
            if self.rolled > rolled:
                return True
        self._join_batches(now_us)
        return False

    def _due(self, size_us: int, now_us: int) -> list[int]:
        return [
            start_us
            for start_us, until_us in self._needed(size_us).items()
            if self._asofs[size_us].get(start_us, -1) < until_us <= now_us and _is_over(start_us, size_us, now_us)
        ]

    def _said(self, spans: Sequence[Window]) -> dict[int, int]:
        """Ask until when rows of this source may come; other processes of it write, too."""
        return {us: until_us for (_, us), until_us in self._rollups.untils(spans, STEP_US, self._source).items()}

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

    def _roll_hours(self, day_us: int, now_us: int) -> None:
        """Sum up the hours of a day from their rows: one hour at a time is held, and its sums."""
        due = [us for us in self._due(HOUR_US, now_us) if day_us <= us < day_us + DAY_US]
        spans = [Window(us, us + HOUR_US) for us in due]
        asof_us, tables, batch = self._clock(), Tables(), _Batch(self._keep)
        with_rows: set[int] = set()
        steps = self._rollups.requests({self._source: spans}, tables)
        for hour_us, of_hour in groupby(steps, lambda step: step[0][1] // HOUR_US * HOUR_US):
            with_rows.add(hour_us)
            sums = Sums()
            for (_, step_us), count, requests in of_hour:
                of_step = list(requests)
                sums.add(map(batches.stored, of_step))
                self._join_step(step_us, asof_us, count, of_step, tables)
            self._add_hour(batch, hour_us, asof_us, sums, tables)
        for hour_us in set(due) - with_rows:  # announced elsewhere meanwhile, or never: it has no rows
            self._add_hour(batch, hour_us, asof_us, Sums(), tables)
        batch.flush()

    def _join_batches(self, now_us: int) -> None:
        """Put the batches of each step that is over into one; those of an hour that was summed up are, already."""
        hours = self._asofs[HOUR_US]
        waiting = {
            us: until_us
            for us, until_us in list(self._untils.items())
            if until_us > hours.get(us // HOUR_US * HOUR_US, -1)
        }
        self._joined = {us: asof_us for us, asof_us in self._joined.items() if us in waiting}
        asof_us, tables = self._clock(), Tables()
        due = [
            us
            for us, until_us in waiting.items()
            if self._joined.get(us, -1) < until_us <= now_us and _is_over(us, STEP_US, now_us)
        ]
        spans = [Window(us, us + STEP_US) for us in due]
        for (_, step_us), count, requests in self._rollups.requests({self._source: spans}, tables):
            self._join_step(step_us, asof_us, count, requests, tables)
        self._joined |= dict.fromkeys(due, asof_us)

    def _join_step(
        self, step_us: int, asof_us: int, count: int, requests: Iterable[batches.Request], tables: Tables
    ) -> None:
        if count > BATCHES_MAX:
            self._write_raw(self._points(STEP_US, step_us, asof_us, {Kind.ROWS: list(requests)}, tables))

    def _add_hour(self, batch: "_Batch", hour_us: int, asof_us: int, sums: Sums, tables: Tables) -> None:
        totals: dict[Kind, Sequence[Row]] = {
            kind: merged(kind, [[row for _, row in rows_of(kind, sums)]]) for kind in SUMS
        }
        batch.add(HOUR_US, hour_us, asof_us, self._points(HOUR_US, hour_us, asof_us, totals, tables))

    def _roll_day(self, day_us: int, now_us: int) -> None:
        """Sum up a day from its hours, if all of these are valid; else it waits."""
        if day_us not in self._due(DAY_US, now_us):
            return
        asof_us, tables, day = self._clock(), Tables(), Window(day_us, day_us + DAY_US)
        totals: dict[Kind, Sequence[Row]] = {}
        for kind in SUMS:
            parts = list(self._rollups.parts(day, kind, tables, (HOUR_US,), self._source))
            if not all(part.size_us for part in parts):
                return
            totals[kind] = merged(kind, (part.rows for part in parts))
        self._keep(self._points(DAY_US, day_us, asof_us, totals, tables), [(DAY_US, day_us, asof_us)])

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


def _is_over(start_us: int, size_us: int, now_us: int) -> bool:
    return start_us + size_us + GRACE_US <= now_us


def groups(spans: Sequence[Window], count_max: int) -> list[Window]:
    """Cover spans, in order, with at most `count_max` of them: those with the smallest gaps between are joined."""
    apart = joined(spans)
    if len(apart) <= count_max:
        return apart
    gaps = sorted(range(1, len(apart)), key=lambda at: apart[at].start_us - apart[at - 1].end_us, reverse=True)
    cuts = [0, *sorted(gaps[: count_max - 1]), len(apart)]
    return [Window(apart[a].start_us, apart[b - 1].end_us) for a, b in pairwise(cuts)]


def joined(spans: Iterable[Window]) -> list[Window]:
    """Join spans that touch; in order."""
    apart: list[Window] = []
    for span in sorted(spans):
        if apart and span.start_us <= apart[-1].end_us:
            apart[-1] = Window(apart[-1].start_us, max(apart[-1].end_us, span.end_us))
        else:
            apart.append(span)
    return apart


def _whole(span: Window, size_us: int) -> Window | None:
    low_us, high_us = -(-span.start_us // size_us) * size_us, span.end_us // size_us * size_us
    return Window(low_us, high_us) if low_us < high_us else None


def _edges(span: Window, size_us: int) -> list[Window]:
    whole = _whole(span, size_us)
    if whole is None:
        return [span] if span.start_us < span.end_us else []
    edges = [Window(span.start_us, whole.start_us), Window(whole.end_us, span.end_us)]
    return [edge for edge in edges if edge.start_us < edge.end_us]


def _valid(kind: Kind, points: Sequence[list[Any]], until_us: int, tables: Tables) -> list[Row] | None:
    """Give the rows that points of one step hold, if these are valid."""
    texts = _valid_texts(points, until_us)
    if texts is None:
        return None
    try:
        return decode(kind, texts, tables)
    except ValueError:
        return None


def _valid_texts(points: Sequence[list[Any]], until_us: int) -> list[str] | None:
    """Give the texts of points of one step, if they are whole, of one making, and recent enough."""
    if not points:
        return None
    _, asof_us, parts, _ = points[0]
    mine = points[:parts]  # what is behind these is left of a longer text of before
    if asof_us < until_us or len(mine) < parts or any(point[1:3] != [asof_us, parts] for point in mine):
        return None
    return [point[3] for point in mine]


def _untils_text(size_us: int, where: str) -> str:
    return (
        f'SELECT max("until_us") FROM "{_STEPS}" WHERE time >= {{start}} AND time < {{end}}{where}'  # noqa: S608
        f' GROUP BY "source", time({SIZES[size_us]}) fill(none)'
    )


def _untils(results: Iterable[Result]) -> dict[Place, int]:
    found: dict[Place, int] = {}
    for result in results:
        one = result.tags.get("source", "")
        for time_ns, until_us in result.rows:
            place = (one, time_ns // _NS)
            found[place] = max(found.get(place, 0), until_us)
    return found


def _chunks_text(kind: Kind, size_us: int, where: str) -> str:
    return (
        f'SELECT "asof_us", "parts", "data" FROM "{kind}"'  # noqa: S608
        f' WHERE "size" = \'{SIZES[size_us]}\' AND time >= {{start}} AND time < {{end}}{where} GROUP BY "source"'
    )


def _chunks(results: Iterable[Result], size_us: int) -> dict[Place, list[list[Any]]]:
    found: dict[Place, list[list[Any]]] = defaultdict(list)
    for result in results:
        one = result.tags.get("source", "")
        for row in result.rows:
            found[(one, row[0] // _NS // size_us * size_us)].append(row)
    return found


def _of_source(source: str | None) -> tuple[str, dict[str, object]]:
    return ("", {}) if source is None else (' AND "source" = $source', {"source": source})


def _step(place: Place) -> Window:
    return Window(place[1], place[1] + STEP_US)


def _steps_around(span: Window) -> Window:
    return Window(span.start_us // STEP_US * STEP_US, -(-span.end_us // STEP_US) * STEP_US)


def _cut(span: Window, step: Window) -> Window | None:
    low_us, high_us = max(span.start_us, step.start_us), min(span.end_us, step.end_us)
    return Window(low_us, high_us) if low_us < high_us else None

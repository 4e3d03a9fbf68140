"""Rollups by hour and by day, so that a month is read from few points; true whatever happens.

Three things are kept, for each source by itself; the last in the bucket of the rows, the others in that of the rollups:

| point | at | says |
|---|---|---|
| `step` | each `BUCKET_US` with rows | `until_us`: rows of this step may come until then |
| `usage`, `latency` and the other kinds | each hour, day | its rollups (`chunks`), `asof_us`: as of when |
| `rows` | a step that was written in many batches | its requests in one, and `asof_us`; else see `batches` |

**Rollups are valid if as of then or later than `until_us` of all steps in them.** Everything follows from this:

| what happens | `until_us` | so |
|---|---|---|
| the first row of a step is about to be written | end of the step + `GRACE_US` | open: read from its batches |
| a row comes late, or by an import | before its write: later than now | not valid: batches are read, rolled up again |
| the writer dies after that, row written or not | passes | rolled up again by who comes next |
| another process writes while a step is rolled up | later than `asof_us` | not valid: rolled up again |
| a replay | unchanged: no row is new | the rollups stay |
| a step without the point `step` | | has no rows: nothing is read |

Rollups are made of all rows that the step has, never added to; so to make them twice changes nothing.

A window is read from the days in it, then the hours at its ends, then the steps at theirs. Whatever the number of
sources and steps, one call says of all of them until when and as of when (`_Survey`), and one for each size gives the
rollups. Where some are not valid, more is asked: of what is smaller in their place.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups.batches import BUCKET_US
from tailtrace_bridge.store.influx.rollups.encoding import (
    TEXT_LENGTH_MAX,
    Kind,
    Row,
    Sought,
    Tables,
    chosen,
    decode,
    identities_of,
    merged,
    rows_of,
    translated,
    with_hour,
)
from tailtrace_bridge.store.influx.rollups.lru import LruCache
from tailtrace_bridge.store.influx.rollups.owners import can_be_named, may_have
from tailtrace_bridge.store.influx.rollups.spans import cut, edges, groups, joined, whole
from tailtrace_bridge.store.influx.rollups.whose import Find
from tailtrace_bridge.store.influx.wire.query import InfluxQL, Result
from tailtrace_bridge.store.rollups import Rollups
from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US, Window

SIZES = {DAY_US: "1d", HOUR_US: "1h", BUCKET_US: "10m"}
SUM_SIZES = (DAY_US, HOUR_US)
GRACE_US = 2 * MINUTE_US
"""How long after its end a step waits for rows: for lines that wait for their span, and their write."""
QUERIES_MAX = 16
"""For the points of one size: with more gaps than that, what lies in the smaller gaps is read as well."""
TEXTS_MAX = 200
"""That one call names; the server writes an answer ten times as long as it takes to look through what it has."""
STEPS_MAX = 36
"""That are looked at in one call."""
FETCHED_LENGTH = 500_000
"""Characters of requests fetched in one call, unless one step has more: of 20,000, or so."""
REQUEST_LENGTH = 30
"""Characters that a request takes in a batch, or so."""
KEPT_CELLS_MAX = 500_000
"""Of rollups, in all that is kept: some 15 MB. An answer over a month needs 20,000 to 250,000."""
KEPT_REQUESTS_MAX = 60_000
"""Whose rollups are kept, of the steps at the ends of windows: some 15 MB at most."""
STEPS = "step"
_NEWEST_TEXT = f'SELECT last("until_us") FROM "{STEPS}"'  # noqa: S608
_NS = 1000
Place = tuple[str, int]
"""A source, and the start of a step of time, µs."""
Spans = Mapping[str | None, Sequence[Window]]
"""Of a source; None: of each."""


class Part(NamedTuple):
    """Rollups of one kind of a step of time that begins at `start_us`."""

    start_us: int
    size_us: int
    """0: made of rows, of a step of `BUCKET_US` that begins then, or of less."""
    rows: list[Row]


class Buckets(NamedTuple):
    """Where rows are, and where rollups are."""

    raw: str
    rollups: str


class Kept(NamedTuple):
    """Rollups of one kind of a step that are valid."""

    asof_us: int
    texts: int
    """How many they are cut into."""


class _Survey(NamedTuple):
    """What was found out at once of a window and its steps of each size: what is needed where all that is due is valid.

    Another size, or a span that is not in `spans`, is asked for by itself.
    """

    newest_us: int | None
    """The beginning of the newest step with rows, wherever."""
    spans: Mapping[int, Sequence[Window]]
    untils: Mapping[int, Mapping[Place, int]]
    points: Mapping[int, Mapping[Place, list[list[Any]]]]

    def has(self, size_us: int, spans: Iterable[Window]) -> bool:
        """Return whether it says of all steps of a size in these spans."""
        known = self.spans.get(size_us, ())
        return all(any(one.start_us <= span.start_us and span.end_us <= one.end_us for one in known) for span in spans)


class _Level(NamedTuple):
    """The rollups of one kind in steps of one size."""

    places: frozenset[Place]
    """Which steps; all sources of a step are one part."""
    tables: Tables
    parts: list[Part]


class _Step(NamedTuple):
    """The rollups of requests of one step."""

    tables: Tables
    rollups: Rollups


class _Version(NamedTuple):
    """What the requests of a step are made of."""

    asof_us: int | None
    """As of when they were put into one; None: they are in batches."""
    points: tuple[tuple[int, int], ...]
    """The times of its points, ns, and how many characters each has, or so."""

    @property
    def length(self) -> int:
        """How many characters they are together."""
        return sum(length for _, length in self.points)


class _Texts:
    """The texts of a step of more than `FETCHED_LENGTH`, which are fetched as they are read. Raises `StoreError`."""

    def __init__(self, version: _Version, fetch: Callable[[int, int], Iterable[str]]) -> None:
        self._version, self._fetch = version, fetch

    def __len__(self) -> int:
        return len(self._version.points)

    def __iter__(self) -> Iterator[str]:
        for start_ns, end_ns in batches.spans(self._version.points, FETCHED_LENGTH):
            yield from self._fetch(start_ns, end_ns)


class _Fetched(NamedTuple):
    """The requests of some steps, still as texts."""

    whole: Mapping[Place, Iterable[str]]
    """Of steps whose batches were put into one."""
    loose: Mapping[Place, batches.Texts]

    def requests(self, place: Place, tables: Tables, *, is_kept: bool) -> Iterator[batches.Request]:
        """Return the requests of a step."""
        if place in self.whole:
            return batches.read_whole(self.whole[place], tables)
        return batches.read(self.loose.get(place, ()), tables, is_kept=is_kept)

    def identities(self) -> Iterator[Identity]:
        """Return who sent requests of these steps, some more than once."""
        for texts in (*self.whole.values(), *([text] for theirs in self.loose.values() for text in theirs)):
            yield from identities_of(texts)


def sizes_up_to(bucket_us: int) -> list[int]:
    """Return the sizes of rollups that a bucket of time can be made of."""
    return [size_us for size_us in SUM_SIZES if size_us <= bucket_us]


class RollupReader:
    """Reads rollups of all sources. Safe to share between threads."""

    def __init__(self, influx: InfluxQL, buckets: Buckets) -> None:
        self._influx, self._buckets = influx, buckets
        self._levels: LruCache[_Level] = LruCache(KEPT_CELLS_MAX)
        self._steps: LruCache[_Step] = LruCache(KEPT_REQUESTS_MAX)

    def forget(self) -> None:
        """Keep nothing of what was read."""
        self._levels.clear()
        self._steps.clear()

    def merged(self, window: Window, kind: Kind, tables: Tables, sought: Sought | None = None) -> list[Row]:
        """Return the totals of a window as one, those that are sought."""
        parts = self.parts(window, kind, tables, sought=sought, is_apart=False)
        return merged(kind, (part.rows for part in parts))

    def parts(
        self,
        window: Window,
        kind: Kind,
        tables: Tables,
        sizes: Sequence[int] = SUM_SIZES,
        source: str | None = None,
        *,
        sought: Sought | None = None,
        is_apart: bool = True,
    ) -> Iterator[Part]:
        """Return the totals of a window, no more and no less, from as few points as there can be; in no order.

        Unless they are to be apart, all of one size are one part.
        """
        if window.start_us >= window.end_us:
            return
        survey = self._survey(window, kind, sizes, source)
        if sizes and sizes[0] == DAY_US:
            window = _widened(window, survey.newest_us)
        levels, rest = self._rolled_up(window, kind, sizes, source, survey, sought=sought, is_apart=is_apart)
        while levels:
            level = levels.pop(0)
            for part in level.parts:
                yield part._replace(rows=translated(kind, part.rows, level.tables, tables))
        yield from self._ends(kind, rest, tables, sought, survey)

    def identities(self, window: Window, source: str) -> Iterator[Identity]:
        """Return who is in a window of whole days of a source, some more than once.

        Of requests that no rollups are there for, the heads of their documents say it: no request is looked at.
        """
        kind = Kind.USAGE_IDENTITY
        survey = self._survey(window, kind, SUM_SIZES, source)
        levels, rest = self._rolled_up(window, kind, SUM_SIZES, source, survey, sought=None, is_apart=True)
        for level in levels:
            yield from level.tables.identities
        untils, wanted = self._wanted(rest, survey)
        for versions in self._versions(untils, list(wanted), source):
            for some in _fetches({place: version.length for place, version in versions.items()}):
                yield from self._fetch(some, versions, untils, source).identities()

    def by_bucket(
        self, window: Window, kind: Kind, tables: Tables, bucket_us: int, sought: Sought | None = None
    ) -> Iterator[Part]:
        """Return the totals of a window in parts that each lie in one bucket of time, what is not sought among it."""
        if bucket_us >= BUCKET_US:
            yield from self.parts(window, kind, tables, sizes_up_to(bucket_us), sought=sought)
            return
        for _, requests in self.requests({None: [window]}, tables, is_kept=True):
            buckets: dict[int, list[batches.Request]] = {}
            for one in requests:
                buckets.setdefault(one.time_us // bucket_us * bucket_us, []).append(one)
            for start_us, theirs in buckets.items():
                rollups = Rollups()
                rollups.add(batches.counted(theirs))
                yield Part(start_us, 0, list(rows_of(kind, rollups, tables)))

    def _rolled_up(
        self,
        window: Window,
        kind: Kind,
        sizes: Sequence[int],
        source: str | None,
        survey: _Survey,
        *,
        sought: Sought | None,
        is_apart: bool,
    ) -> tuple[list[_Level], dict[str | None, list[Window]]]:
        """Return the totals of a window of which there are rollups, by size, and where it has none."""
        levels: list[_Level] = []
        rest: dict[str | None, list[Window]] = {source: [window]}
        for size_us in sizes:
            inner = {one: [w for w in (whole(span, size_us) for span in spans) if w] for one, spans in rest.items()}
            rest = {one: [edge for span in spans for edge in edges(span, size_us)] for one, spans in rest.items()}
            places, kept = self._found(kind, size_us, inner, survey)
            level = self._level(kind, size_us, kept, source, sought=sought, is_apart=is_apart)
            levels.append(level)
            for one, start_us in places - level.places:
                rest.setdefault(one, []).append(Window(start_us, start_us + size_us))
        return levels, rest

    def _level(
        self,
        kind: Kind,
        size_us: int,
        asofs: Mapping[Place, Kept],
        source: str | None,
        *,
        sought: Sought | None,
        is_apart: bool,
    ) -> _Level:
        """Return the totals of steps that are valid as of then, or later."""
        name = (kind, size_us, sought, is_apart, frozenset(asofs.items()))
        if (kept := self._levels.get(name)) is not None:
            return kept
        if not asofs:
            return _Level(frozenset(), Tables(), [])
        if not is_apart and sought is not None and sought.whose is not None:
            # Few rows: they are kept apart, too, for who asks for the same by bucket of time.
            apart = self._level(kind, size_us, asofs, source, sought=sought, is_apart=True)
            level = apart._replace(parts=_as_one(kind, apart.parts))
            self._keep(name, level, asofs, source)
            return level
        whose = sought.whose if sought is not None else None
        find, stored = whose.finder() if whose is not None else None, _stored(kind, size_us)
        if whose is not None and find is not None and any(one.texts > 1 for one in asofs.values()):
            texts = self._texts_of(
                stored, size_us, asofs, source, partial(may_have, find=find, by_address=whose.by_address)
            )
        else:
            texts = self._texts(stored, size_us, asofs, source)
        tables, parts, places = Tables(), [], set()
        for place, of_place in texts.items():
            rows = _decoded(stored, of_place, tables, find)
            if rows is not None:
                rows = chosen(stored, rows, tables, sought) if sought else rows
                places.add(place)
                parts.append(Part(place[1], size_us, rows if kind is stored else with_hour(rows, place[1] // HOUR_US)))
        level = _Level(frozenset(places), tables, parts if is_apart else _as_one(kind, parts))
        self._keep(name, level, asofs, source)
        return level

    def _texts(
        self, kind: Kind, size_us: int, asofs: Mapping[Place, Kept], source: str | None
    ) -> dict[Place, list[str]]:
        """Fetch the texts of rollups that are valid as of then, or later."""
        where, values = _of_source(source)
        spans = joined(Window(start_us, start_us + size_us) for _, start_us in asofs)
        text = _sums_text(kind, size_us, where, '"asof_us", "parts", "data"')
        points = _points(self.each(self._buckets.rollups, (text,), spans, values)[0], size_us)
        found = {place: _valid_texts(points.get(place, []), one.asof_us) for place, one in asofs.items()}
        return {place: texts for place, texts in found.items() if texts is not None}

    def _texts_of(
        self,
        kind: Kind,
        size_us: int,
        asofs: Mapping[Place, Kept],
        source: str | None,
        is_wanted: Callable[[Sequence[Any]], bool],
    ) -> dict[Place, list[str]]:
        """Do the same for those texts alone that are wanted: it is asked first whose rows each has."""
        where, values = _of_source(source)
        spans = joined(Window(start_us, start_us + size_us) for _, start_us in asofs)
        text = _sums_text(kind, size_us, where, '"asof_us", "parts", "who", "who_asof_us"')
        points = _points(self.each(self._buckets.rollups, (text,), spans, values)[0], size_us)
        valid = {place: points[place] for place, one in asofs.items() if _is_valid(points.get(place, ()), one.asof_us)}
        wanted = {place: [one for one in theirs[: theirs[0][2]] if is_wanted(one)] for place, theirs in valid.items()}
        unnamed = {place: asofs[place] for place, theirs in wanted.items() if not all(map(can_be_named, theirs))}
        whole = self._texts(kind, size_us, unnamed, source) if unnamed else {}
        made = {place: {one[0]: one[1:3] for one in wanted[place]} for place in wanted.keys() - unnamed.keys()}
        found: dict[Place, list[str]] = {place: [] for place in made}
        times_ns = sorted({time_ns for of_place in made.values() for time_ns in of_place})
        for start in range(0, len(times_ns), TEXTS_MAX):
            some = times_ns[start : start + TEXTS_MAX]
            named = " OR ".join(f'"at_ns" = {time_ns}' for time_ns in some)
            text = _sums_text(kind, size_us, f"{where} AND ({named})", '"asof_us", "parts", "data"')
            span = Window(some[0] // _NS, some[-1] // _NS + 1)
            for place, theirs in _points(self.each(self._buckets.rollups, (text,), [span], values)[0], size_us).items():
                if place in found:
                    found[place] += (data for ns, *as_of, data in theirs if made[place].get(ns) == as_of)
        # One that was made anew meanwhile counts as none.
        return {**whole, **{place: texts for place, texts in found.items() if len(texts) == len(made[place])}}

    def _keep(self, name: Hashable, level: _Level, asofs: Mapping[Place, Kept], source: str | None) -> None:
        if source is None and len(level.places) == len(asofs):  # who rolls up reads what it reads once
            self._levels.put(name, level, sum(len(part.rows) * len(part.rows[0]) for part in level.parts if part.rows))

    def _ends(self, kind: Kind, spans: Spans, tables: Tables, sought: Sought | None, survey: _Survey) -> Iterator[Part]:
        """Return the totals of what no rollups are there for, a few steps at a time; in no order."""
        source = _only(spans)
        untils, wanted = self._wanted(spans, survey)
        for versions in self._versions(untils, list(wanted), source):
            names = {
                place: (place, tuple(wanted[place]), version.asof_us, version.points)
                for place, version in versions.items()
            }
            kept = {place: step for place, name in names.items() if (step := self._steps.get(name)) is not None}
            for place, step in kept.items():
                yield _part(kind, place, step, tables, sought)
            for some in _fetches({place: version.length for place, version in versions.items() if place not in kept}):
                found = self._fetch(some, versions, untils, source)
                for place in some:
                    step = _Step(Tables(), Rollups())
                    requests, count = _within(found.requests(place, step.tables, is_kept=True), place, wanted[place]), 0
                    for piece in batches.pieces(requests):
                        step.rollups.add(batches.counted(piece))
                        count += len(piece)
                    self._steps.put(names[place], step, count)
                    yield _part(kind, place, step, tables, sought)

    def requests(
        self, spans: Spans, tables: Tables, *, is_kept: bool = False, loose_over: int | None = None
    ) -> Iterator[tuple[Place, Iterable[batches.Request]]]:
        """Return the requests of spans of time by step. In order of time.

        `is_kept`: who answers reads the same small batches again; who rolls up does not. `loose_over`: of those steps
        alone that are in more batches than that.
        """
        source = _only(spans)
        untils, wanted = self._wanted(spans)
        for versions in self._versions(untils, list(wanted), source):
            lengths = {
                place: version.length
                for place, version in versions.items()
                if loose_over is None or (version.asof_us is None and len(version.points) > loose_over)
            }
            for some in _fetches(lengths):
                found = self._fetch(some, versions, untils, source)
                for place in some:
                    yield place, _within(found.requests(place, tables, is_kept=is_kept), place, wanted[place])

    def _wanted(
        self, spans: Spans, survey: _Survey | None = None
    ) -> tuple[Mapping[Place, int], dict[Place, list[Window]]]:
        """Return until when rows may come, and what is asked for of each step, in order of time."""
        spans_of = {one: joined(theirs) for one, theirs in spans.items()}
        around = joined(_steps_around(span) for theirs in spans_of.values() for span in theirs)
        if survey is not None and survey.has(BUCKET_US, around):
            untils = survey.untils.get(BUCKET_US, {})
        else:
            untils = self.untils(around, BUCKET_US, _only(spans))
        wanted: dict[Place, list[Window]] = {}
        for place in sorted(untils, key=_start_us):
            step, asked = _step(place), (*spans_of.get(place[0], ()), *spans_of.get(None, ()))
            if shared := [c for span in asked if (c := cut(span, step))]:
                wanted[place] = shared
        return untils, wanted

    def _versions(
        self, untils: Mapping[Place, int], places: Sequence[Place], source: str | None
    ) -> Iterator[dict[Place, _Version]]:
        """Return what those of the places that have requests are made of, some places at a time, in their order."""
        where, values = _of_source(source)
        text = _sums_text(Kind.ROWS, BUCKET_US, where, '"asof_us", "parts"')
        for start in range(0, len(places), STEPS_MAX):
            some = places[start : start + STEPS_MAX]
            points = _points(self.each(self._buckets.raw, (text,), joined(map(_step, some)), values)[0], BUCKET_US)
            versions = {
                place: _Version(theirs[0][1], tuple((point[0], TEXT_LENGTH_MAX) for point in theirs[: theirs[0][2]]))
                for place in some
                if _is_valid(theirs := points.get(place, []), untils[place])
            }
            loose = joined(_step(place) for place in some if place not in versions)
            for place, rows in self._batches("rows", loose, source).items():
                versions.setdefault(place, _Version(None, tuple((us, count * REQUEST_LENGTH) for us, count in rows)))
            yield {place: versions[place] for place in some if place in versions}

    def _fetch(
        self, some: Sequence[Place], versions: Mapping[Place, _Version], untils: Mapping[Place, int], source: str | None
    ) -> _Fetched:
        """Fetch the requests of steps: at once, or as they are read."""
        if len(some) == 1 and versions[some[0]].length > FETCHED_LENGTH:
            return self._fetch_later(some[0], versions[some[0]])
        where, values = _of_source(source)
        text = _sums_text(Kind.ROWS, BUCKET_US, where, '"asof_us", "parts", "data"')
        put_together = joined(_step(place) for place in some if versions[place].asof_us is not None)
        points = _points(self.each(self._buckets.raw, (text,), put_together, values)[0], BUCKET_US)
        whole = {place: texts for place in some if (texts := _valid_texts(points.get(place, []), untils[place]))}
        loose = self._batches("data", joined(_step(place) for place in some if place not in whole), source)
        return _Fetched(whole, {place: [text for _, text in rows] for place, rows in loose.items()})

    def _fetch_later(self, place: Place, version: _Version) -> _Fetched:
        of_source = ' FROM "{}" WHERE "source" = $source AND time >= $start AND time < $end'

        def rows(text: str, start_ns: int, end_ns: int) -> list[list[Any]]:
            return self._influx.rows(self._buckets.raw, text, {"source": place[0], "start": start_ns, "end": end_ns})

        def of_whole(start_ns: int, end_ns: int) -> Iterator[str]:
            for _, asof_us, data in rows(f'SELECT "asof_us", "data"{of_source.format(Kind.ROWS)}', start_ns, end_ns):
                if asof_us != version.asof_us:
                    raise StoreError("store: a step was put together anew while it was read; it is read again")
                yield data

        def of_batches(start_ns: int, end_ns: int) -> Iterator[str]:
            return (data for _, data in rows(f'SELECT "data"{of_source.format(batches.MEASUREMENT)}', start_ns, end_ns))

        if version.asof_us is None:
            return _Fetched({}, {place: _Texts(version, of_batches)})
        return _Fetched({place: _Texts(version, of_whole)}, {})

    def untils(self, spans: Sequence[Window], size_us: int, source: str | None = None) -> dict[Place, int]:
        """Return until when rows may come, of each step of a size that has any in these spans."""
        where, values = _of_source(source)
        return _untils(self.each(self._buckets.rollups, (_untils_text(size_us, where),), spans, values)[0])

    def all_untils(self, source: str) -> dict[int, int]:
        """Return until when rows of a source may come, of each step that has any."""
        text = f'SELECT "until_us" FROM "{STEPS}" WHERE "source" = $source'  # noqa: S608
        rows = self._influx.rows(self._buckets.rollups, text, {"source": source})
        return {time_ns // _NS: until_us for time_ns, until_us in rows}

    def newest_bucket_us(self) -> int | None:
        """Return the beginning of the newest step with rows."""
        return _newest_us(self._influx.query(self._buckets.rollups, _NEWEST_TEXT))

    def kept(self, kind: Kind, hour_us: int, source: str, tables: Tables) -> list[Row] | None:
        """Return the totals of an hour of a source, whether valid or not; None where there are none."""
        where, values = _of_source(source)
        text = _sums_text(kind, HOUR_US, where, '"asof_us", "parts", "data"')
        found = self.each(self._buckets.rollups, (text,), [Window(hour_us, hour_us + HOUR_US)], values)[0]
        points = _points(found, HOUR_US).get((source, hour_us), [])
        return _valid(kind, points, points[0][1], tables) if points else None

    def hours(self, day: Window, kind: Kind, source: str) -> dict[Place, Kept] | None:
        """Return which totals a day's hours have, of those with rows; None where those of one are not valid."""
        places, found = self._found(kind, HOUR_US, {source: [day]})
        return found if places == found.keys() else None

    def by_hour(
        self, hours: Mapping[Place, Kept], kind: Kind, tables: Tables, find: Find | None
    ) -> Iterator[list[Row]]:
        """Return the totals of hours of one source, one hour's at a time, or those of some identities.

        Raises ValueError where an hour was made anew since it was looked at, or is not whole.
        """
        where, values = _of_source(next(iter(hours))[0] if hours else None)
        stored = _stored(kind, HOUR_US)
        text = _sums_text(stored, HOUR_US, where, '"asof_us", "parts", "data"')
        for some in _fetches({place: one.texts * TEXT_LENGTH_MAX for place, one in hours.items()}):
            spans = joined(Window(us, us + HOUR_US) for _, us in some)
            points = _points(self.each(self._buckets.rollups, (text,), spans, values)[0], HOUR_US)
            for place in some:
                texts = _valid_texts(points.pop(place, ()), hours[place].asof_us)
                if texts is None:
                    raise ValueError("an hour was rolled up anew")
                rows = decode(stored, texts, tables, find)
                yield rows if kind is stored else with_hour(rows, place[1] // HOUR_US)

    def asofs(self, size_us: int, source: str, kind: Kind = Kind.UPTIME) -> dict[int, int]:
        """Return what was rolled up already, and as of when; `kind` is the one that is written last."""
        text = f'SELECT "asof_us" FROM "{kind}" WHERE "source" = $source AND "size" = $size'  # noqa: S608
        rows = self._influx.rows(self._buckets.rollups, text, {"source": source, "size": SIZES[size_us]})
        return {time_ns // _NS // size_us * size_us: asof_us for time_ns, asof_us in rows}

    def _survey(self, window: Window, kind: Kind, sizes: Sequence[int], source: str | None) -> _Survey:
        """Find out what is needed of a window where all rollups that are due are valid, in one call."""
        where, values = _of_source(source)
        spans: dict[int, list[Window]] = {}
        rest = [Window(window.start_us, _day_end_us(window)) if sizes and sizes[0] == DAY_US else window]
        for size_us in sizes:
            spans[size_us] = [inner for span in rest if (inner := whole(span, size_us))]
            rest = [edge for span in ([window] if size_us == DAY_US else rest) for edge in edges(span, size_us)]
        spans[BUCKET_US] = joined(map(_steps_around, rest))
        asked = [(_untils_text(size_us, where), of_size) for size_us, of_size in spans.items()]
        asked += [(_asofs_text(kind, size_us, where), spans[size_us]) for size_us in sizes]
        newest, *found = self._ask(self._buckets.rollups, [(_NEWEST_TEXT, [window]), *asked], values)
        return _Survey(
            _newest_us(newest),
            spans,
            dict(zip(spans, map(_untils, found), strict=False)),
            {size_us: _points(of_size, size_us) for size_us, of_size in zip(sizes, found[len(spans) :], strict=True)},
        )

    def _found(
        self, kind: Kind, size_us: int, spans: Spans, survey: _Survey | None = None
    ) -> tuple[set[Place], dict[Place, Kept]]:
        """Return the steps with rows, and the rollups of those where they are valid: at most in one call."""
        together = joined(span for theirs in spans.values() for span in theirs)
        if survey is not None and survey.has(size_us, together):
            untils, found = survey.untils.get(size_us, {}), survey.points.get(size_us, {})
        else:
            where, values = _of_source(_only(spans))
            texts = (_untils_text(size_us, where), _asofs_text(kind, size_us, where))
            until, points = self.each(self._buckets.rollups, texts, together, values)
            untils, found = _untils(until), _points(points, size_us)
        places = {
            (one, start_us): until_us
            for (one, start_us), until_us in untils.items()
            if any(w.start_us <= start_us < w.end_us for w in (*spans.get(one, ()), *spans.get(None, ())))
        }
        kept = {
            place: Kept(*found[place][0][1:3]) for place in places if _is_valid(found.get(place, ()), places[place])
        }
        return set(places), kept

    def _batches(self, field: str, spans: Sequence[Window], source: str | None) -> dict[Place, list[tuple[int, Any]]]:
        """Return a field of the batches of each step, with their times, ns."""
        where, values = _of_source(source)
        text = (
            f'SELECT "{field}" FROM "{batches.MEASUREMENT}"'  # noqa: S608
            f' WHERE time >= {{start}} AND time < {{end}}{where} GROUP BY "source"'
        )
        found: dict[Place, list[tuple[int, Any]]] = defaultdict(list)
        for result in self.each(self._buckets.raw, (text,), spans, values)[0]:
            one = result.tags.get("source", "")
            for time_ns, value in result.rows:
                found[(one, time_ns // _NS // BUCKET_US * BUCKET_US)].append((time_ns, value))
        return found

    def each(
        self, bucket: str, texts: Sequence[str], spans: Sequence[Window], values: Mapping[str, object]
    ) -> list[list[Result]]:
        """Ask each of `texts` of several spans of time, in one call; they have places for `start` and `end`."""
        return self._ask(bucket, [(text, spans) for text in texts], values)

    def _ask(
        self, bucket: str, asked: Sequence[tuple[str, Sequence[Window]]], values: Mapping[str, object]
    ) -> list[list[Result]]:
        """Ask each text of spans of its own, in one call."""
        covering = [groups(spans, QUERIES_MAX) for _, spans in asked]
        bounds = {span: n for n, span in enumerate(dict.fromkeys(chain.from_iterable(covering)))}
        texts = [
            text.format(start=f"$start{bounds[span]}", end=f"$end{bounds[span]}")
            for (text, _), spans in zip(asked, covering, strict=True)
            for span in spans
        ]
        bound = {f"start{n}": span.start_us * _NS for span, n in bounds.items()}
        bound |= {f"end{n}": span.end_us * _NS for span, n in bounds.items()}
        found = iter(self._influx.query_all(bucket, texts, {**values, **bound}))
        return [[one for _ in spans for one in next(found)] for spans in covering]


def _as_one(kind: Kind, parts: Sequence[Part]) -> list[Part]:
    if not parts:
        return []
    first = min(parts, key=attrgetter("start_us"))
    return [first._replace(rows=merged(kind, (part.rows for part in parts)))]


def _fetches(lengths: Mapping[Place, int]) -> Iterator[list[Place]]:
    """Return which steps to fetch in one call: such as have `FETCHED_LENGTH` together, or one that is longer."""
    some: list[Place] = []
    held = 0
    for place, length in lengths.items():
        if some and held + length > FETCHED_LENGTH:
            yield some
            some, held = [], 0
        some.append(place)
        held += length
    if some:
        yield some


def _stored(kind: Kind, size_us: int) -> Kind:
    """Return the kind that rollups of a size hold this one in."""
    return Kind.USAGE_IDENTITY if kind is Kind.USAGE_HOURS and size_us < DAY_US else kind


def _part(kind: Kind, place: Place, step: _Step, tables: Tables, sought: Sought | None) -> Part:
    """Return the totals of one kind of a step."""
    rows = list(rows_of(kind, step.rollups, step.tables))
    rows = chosen(kind, rows, step.tables, sought) if sought else rows
    return Part(place[1], 0, translated(kind, rows, step.tables, tables))


def _valid(kind: Kind, points: Sequence[list[Any]], asof_us: int, tables: Tables) -> list[Row] | None:
    """Return the rows that points of one step hold, if these are valid."""
    texts = _valid_texts(points, asof_us)
    return None if texts is None else _decoded(kind, texts, tables)


def _decoded(kind: Kind, texts: Sequence[str], tables: Tables, find: Find | None = None) -> list[Row] | None:
    """Return the rows of texts, or those of some identities; None where they are broken."""
    try:
        return decode(kind, texts, tables, find) if texts else []
    except ValueError:
        return None


def _valid_texts(points: Sequence[list[Any]], until_us: int) -> list[str] | None:
    """Return the texts of points of one step, if they are valid."""
    return [point[3] for point in points[: points[0][2]]] if _is_valid(points, until_us) else None


def _is_valid(points: Sequence[list[Any]], until_us: int) -> bool:
    """Return whether points of one step are whole, of one making, and recent enough."""
    if not points:
        return False
    _, asof_us, parts = points[0][:3]
    mine = points[:parts]  # what is behind these is left of a longer text of before
    return asof_us >= until_us and len(mine) == parts and all(point[1:3] == [asof_us, parts] for point in mine)


def _day_end_us(window: Window) -> int:
    return -(-window.end_us // DAY_US) * DAY_US


def _widened(window: Window, newest_us: int | None) -> Window:
    """Return a window with the same rows, that ends with a day if it can: so its last day is one step, too."""
    is_newest_in = newest_us is not None and newest_us + BUCKET_US <= window.end_us
    return Window(window.start_us, _day_end_us(window)) if is_newest_in else window


def _newest_us(results: Iterable[Result]) -> int | None:
    return max((row[0] // _NS for result in results for row in result.rows), default=None)


def _asofs_text(kind: Kind, size_us: int, where: str) -> str:
    return _sums_text(_stored(kind, size_us), size_us, where, '"asof_us", "parts"')


def _untils_text(size_us: int, where: str) -> str:
    return (
        f'SELECT max("until_us") FROM "{STEPS}" WHERE time >= {{start}} AND time < {{end}}{where}'  # noqa: S608
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


def _sums_text(kind: Kind, size_us: int, where: str, fields: str) -> str:
    return (
        f'SELECT {fields} FROM "{kind}"'  # noqa: S608
        f' WHERE "size" = \'{SIZES[size_us]}\' AND time >= {{start}} AND time < {{end}}{where} GROUP BY "source"'
    )


def _points(results: Iterable[Result], size_us: int) -> dict[Place, list[list[Any]]]:
    found: dict[Place, list[list[Any]]] = defaultdict(list)
    for result in results:
        one = result.tags.get("source", "")
        for row in result.rows:
            found[(one, row[0] // _NS // size_us * size_us)].append(row)
    return found


def _within(requests: Iterable[batches.Request], place: Place, spans: Sequence[Window]) -> Iterable[batches.Request]:
    if list(spans) == [_step(place)]:
        return requests
    return (one for one in requests if any(w.start_us <= one.time_us < w.end_us for w in spans))


def _only(spans: Spans) -> str | None:
    return next(iter(spans)) if len(spans) == 1 else None


def _of_source(source: str | None) -> tuple[str, dict[str, object]]:
    return ("", {}) if source is None else (' AND "source" = $source', {"source": source})


def _start_us(place: Place) -> int:
    return place[1]


def _step(place: Place) -> Window:
    return Window(place[1], place[1] + BUCKET_US)


def _steps_around(span: Window) -> Window:
    return Window(span.start_us // BUCKET_US * BUCKET_US, -(-span.end_us // BUCKET_US) * BUCKET_US)

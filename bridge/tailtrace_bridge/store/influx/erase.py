"""Forget a person in InfluxDB: in the buckets of rows, of rollups, and of raw spans.

| what | how it goes |
|---|---|
| rows | by the tags of an identity, where these are of nobody else; else point by point, by time and source |
| batches, from which rollups are made | those of the steps of their rows are written anew, without theirs |
| rollups of a day that still has all of its rows | all are deleted and made anew, of the rows that stay |
| rollups of a day whose rows have expired | theirs are taken out; counts by duration and by quarter, of nobody, stay |
| names, rejected lines, what alerts told | point by point |
| raw spans | by the trace ids of their rows, many at a time |
| kept traces, failures | at the times of their rows; those that lie one behind the other at once |

`/api/v2/delete` knows no OR and no fields, which is why there are so many calls; each takes some 20 ms. Deleted points
leave the disk when InfluxDB next compacts a shard.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx import directory, failures
from tailtrace_bridge.store.influx import traces as kept_traces
from tailtrace_bridge.store.influx.alerts import EVENTS
from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups.batches import BUCKET_US
from tailtrace_bridge.store.influx.rollups.encoding import DAY_SUMS, Kind, Tables, decode, encode
from tailtrace_bridge.store.influx.rollups.reader import SIZES, SUM_SIZES, Buckets, RollupReader
from tailtrace_bridge.store.influx.rollups.writer import Roller
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.delete import EVER_NS, Deleter
from tailtrace_bridge.store.influx.wire.query import InfluxQL
from tailtrace_bridge.store.person import (
    Erased,
    IsTheirs,
    Person,
    make_is_their_event,
    make_is_their_line,
    make_is_theirs,
)
from tailtrace_bridge.store.values import DAY_US, Window

_NS = 1000
_OF_SOMEBODY = {Kind.USAGE: 0, Kind.USAGE_IDENTITY: 0, Kind.USAGE_HOURS: 0, Kind.VISITS: 0, Kind.RUNS: 0}
"""Kinds whose rows name an identity, and in which column."""
_SELECT = (
    'SELECT "ip", "kind", "user", "device", "node_id", "id_tags", "provider", "user_id", "via", "reason", "expired",'  # noqa: S608
    f' "time_us", "trace_id" FROM "{lines.RAW}"'
)

Write = Callable[[list[bytes]], object]


class _Point(NamedTuple):
    """One of their rows."""

    identity: Identity
    source: str
    time_ns: int
    time_us: int
    trace_id: str


class _Beside(NamedTuple):
    """Points of what is kept beside the rows."""

    measurement: str
    points: int
    spans_ns: list[tuple[str, tuple[int, int]]]
    """Sources, and first and last time of those that lie one behind the other."""


@dataclass(frozen=True, slots=True)
class Eraser:
    """Forgets people in one InfluxDB. `write` takes points for the rollups, `write_raw` for the bucket of rows."""

    influx: InfluxQL
    delete: Deleter
    buckets: Buckets
    spans_bucket: str
    write: Write
    write_raw: Write
    clock: Callable[[], int]

    def erase(self, person: Person, where: tuple[str, Mapping[str, object]], *, is_dry: bool) -> Erased:
        """Forget a person; `where` is InfluxQL for their rows, and its values."""
        named = list(directory.read(self.influx, self.buckets.rollups))
        is_theirs = make_is_theirs(person, named)
        sources = [row[1] for row in self.influx.rows(self.buckets.rollups, 'SHOW TAG VALUES WITH KEY = "source"')]
        found = (point for source in dict.fromkeys(sources) for point in self._points(source, where))
        points = [point for point in found if is_theirs(point.identity)]
        days = {source: self._days(source, is_theirs) for source in dict.fromkeys(sources)}
        seen = {identity for found, _ in days.values() for identity in found}
        theirs = {point.identity for point in points} | {one for one in named if is_theirs(one)} | seen
        others = [one for one in named if not is_theirs(one)]
        lines_gone = self._rejected(make_is_their_line(theirs, others))
        events = self._events(make_is_their_event(theirs, others))
        traces = self._traces(points)
        kept = self._beside(kept_traces.MEASUREMENT, points)
        failed = self._beside(failures.FAILURE, points)
        requests = max(len(points), sum(count for _, of_days in days.values() for count in of_days.values()))
        times_us = [point.time_us for point in points]
        erased = Erased(
            requests, len(points), len(lines_gone), tuple(sorted(theirs, key=repr)),
            min(times_us, default=None), max(times_us, default=None), max(len(traces), kept.points), len(events),
        )  # fmt: skip
        if is_dry:
            return erased
        # What is found by their rows and names goes before these: so one that is cut off is finished by another.
        for beside in (kept, failed):
            for source, span_ns in beside.spans_ns:
                self.delete(self.buckets.raw, {"_measurement": beside.measurement, "source": source}, span_ns)
        self.delete.any_of(self.spans_bucket, "trace_id", traces)
        for time_ns, source in lines_gone:
            self.delete(self.buckets.rollups, {"_measurement": "refusal", "source": source}, (time_ns, time_ns))
        for time_ns in events:
            self.delete(self.buckets.rollups, {"_measurement": EVENTS}, (time_ns, time_ns))
        for source in days:
            of_source = [point for point in points if point.source == source]
            self._forget(source, of_source, days[source][1], is_theirs, named)
        for one in theirs:
            self.delete(self.buckets.rollups, {"_measurement": directory.MEASUREMENT, "id": directory.id_of(one)})
        return erased

    def _points(self, source: str, where: tuple[str, Mapping[str, object]]) -> Iterable[_Point]:
        text, values = where
        reader = lines.RowReader()
        for row in self.influx.pages(
            self.buckets.raw, _SELECT, f'{text} AND "source" = $source', {**values, "source": source}, EVER_NS
        ):
            yield _Point(reader.identity(row[1:]), source, row[0], row[-2], row[-1] or "")

    def _days(self, source: str, is_theirs: IsTheirs) -> tuple[set[Identity], dict[int, int]]:
        """Return who of theirs is in the rollups of a source, and the days with them: start → requests, where known."""
        found: set[Identity] = set()
        days: dict[int, int] = {}
        for size_us in SUM_SIZES:
            of_size: dict[int, int] = {}
            for start_us, texts in self._texts(source, size_us, Kind.USAGE_IDENTITY).items():
                tables = Tables()
                rows = decode(Kind.USAGE_IDENTITY, texts[1], tables)
                mine = {place: one for place, one in enumerate(tables.identities) if is_theirs(one)}
                if mine:
                    found |= set(mine.values())
                    count = sum(row[3] for row in rows if row[0] in mine)
                    day_us = start_us // DAY_US * DAY_US
                    of_size[day_us] = of_size.get(day_us, 0) + count
            days |= {day_us: max(count, days.get(day_us, 0)) for day_us, count in of_size.items()}
        return found, days

    def _texts(
        self, source: str, size_us: int, kind: Kind, span_us: tuple[int, int] | None = None
    ) -> dict[int, tuple[int, list[str]]]:
        """Return the stored texts of rollups that are whole: start → as of when, parts."""
        start_us, end_us = span_us or (0, 2**53)
        rows = self.influx.rows(
            self.buckets.rollups,
            f'SELECT "asof_us", "parts", "data" FROM "{kind}"'  # noqa: S608
            ' WHERE "source" = $source AND "size" = $size AND time >= $start AND time < $end',
            {"source": source, "size": SIZES[size_us], "start": start_us * _NS, "end": end_us * _NS},
        )
        found: dict[int, list[list[Any]]] = {}
        for row in rows:
            found.setdefault(row[0] // _NS // size_us * size_us, []).append(row)
        whole: dict[int, tuple[int, list[str]]] = {}
        for begin_us, points in found.items():
            mine = points[: points[0][2]]
            if len(mine) == points[0][2] and len({tuple(point[1:3]) for point in mine}) == 1:
                whole[begin_us] = (points[0][1], [point[3] for point in mine])
        return whole

    def _forget(
        self,
        source: str,
        points: Sequence[_Point],
        days: Mapping[int, int],
        is_theirs: IsTheirs,
        named: Sequence[Identity],
    ) -> None:
        """Remove rows of one source, and mend its rollups: while that goes on, answers are made of the rows."""
        rollups = RollupReader(self.influx, self.buckets)
        with_rows = {point.time_us // DAY_US * DAY_US for point in points}
        rebuilt = {day_us for day_us in with_rows | days.keys() if self._has_all_rows(source, day_us)}
        roller = Roller(rollups, source, self.write, self.write_raw, self.clock)
        roller.load()
        if announced := roller.announce(
            point.time_us for point in points if point.time_us // DAY_US * DAY_US in rebuilt
        ):
            self.write(announced)
        for bucket_us in sorted({point.time_us // BUCKET_US * BUCKET_US for point in points}):
            self._write_step_anew(rollups, source, bucket_us, is_theirs)
        for day_us in rebuilt:
            for kind in DAY_SUMS:
                span_ns = (day_us * _NS, (day_us + DAY_US) * _NS - 1)
                self.delete(self.buckets.rollups, {"_measurement": kind, "source": source}, span_ns)
        for day_us in days.keys() - rebuilt:
            self._take_out(source, day_us, is_theirs)
        roller = Roller(rollups, source, self.write, self.write_raw, self.clock)
        roller.load()
        if settled := roller.settle():
            self.write(settled)
        while roller.roll_day():
            pass
        self._delete_points(points, is_theirs, named)

    def _has_all_rows(self, source: str, day_us: int) -> bool:
        """Whether none of a day's rows has expired. A day that was never rolled up is read from its rows anyway."""
        texts = self._texts(source, DAY_US, Kind.USAGE_ENDPOINT, (day_us, day_us + DAY_US)).get(day_us)
        if texts is None:
            hours = self._texts(source, min(SUM_SIZES), Kind.USAGE_ENDPOINT, (day_us, day_us + DAY_US))
            summed = sum(row[3] for one in hours.values() for row in decode(Kind.USAGE_ENDPOINT, one[1], Tables()))
        else:
            summed = sum(row[3] for row in decode(Kind.USAGE_ENDPOINT, texts[1], Tables()))
        rows = self.influx.rows(
            self.buckets.raw,
            f'SELECT count("key") FROM "{lines.RAW}" WHERE "source" = $source AND time >= $start AND time < $end',  # noqa: S608
            {"source": source, "start": day_us * _NS, "end": (day_us + DAY_US) * _NS},
        )
        return bool((rows[0][1] if rows else 0) >= summed)

    def _delete_points(self, points: Sequence[_Point], is_theirs: IsTheirs, named: Sequence[Identity]) -> None:
        by_tags: set[tuple[tuple[str, str], ...]] = set()
        for point in points:
            tags = _tags(point.identity)
            is_of_others = any(tags.items() <= _tags(one).items() and not is_theirs(one) for one in named)
            if (point.identity.user or point.identity.device) and not is_of_others:
                by_tags.add((*tags.items(), ("source", point.source)))
            else:
                predicate = {"_measurement": lines.RAW, "source": point.source}
                self.delete(self.buckets.raw, predicate, (point.time_ns, point.time_ns))
        for one in by_tags:
            self.delete(self.buckets.raw, {"_measurement": lines.RAW, **dict(one)})

    def _write_step_anew(self, rollups: RollupReader, source: str, bucket_us: int, is_theirs: IsTheirs) -> None:
        """Write the requests of a step again as batches, without theirs, in the place of those that there are."""
        tables = Tables()
        spans: dict[str | None, list[Window]] = {source: [Window(bucket_us, bucket_us + BUCKET_US)]}
        requests = [one for _, found in rollups.requests(spans, tables) for one in found]
        mine = {place for place, one in enumerate(tables.identities) if is_theirs(one)}
        kept = [one for one in requests if one.identity not in mine]
        span_ns = (bucket_us * _NS, (bucket_us + BUCKET_US) * _NS - 1)
        for measurement in (batches.MEASUREMENT, Kind.ROWS):
            self.delete(self.buckets.raw, {"_measurement": measurement, "source": source}, span_ns)
        if kept:
            self.write_raw(batches.points(kept, tables, source))

    def _take_out(self, source: str, day_us: int, is_theirs: IsTheirs) -> None:
        for size_us in SUM_SIZES:
            size = SIZES[size_us]
            span_us = (day_us, day_us + DAY_US)
            usages = self._texts(source, size_us, Kind.USAGE, span_us)
            for kind in (*_OF_SOMEBODY, Kind.USAGE_ENDPOINT):
                for start_us, (asof_us, texts) in self._texts(source, size_us, kind, span_us).items():
                    tables = Tables()
                    rows = decode(kind, texts, tables)
                    if kind is Kind.USAGE_ENDPOINT:
                        kept = _without(rows, usages.get(start_us, (0, []))[1], tables, is_theirs)
                    else:
                        mine = {place for place, one in enumerate(tables.identities) if is_theirs(one)}
                        kept = [row for row in rows if row[_OF_SOMEBODY[kind]] not in mine]
                    if kept == rows:
                        continue
                    tags = {"size": size, "source": source}
                    made = encode(kind, kept, tables)
                    start_ns = start_us * _NS
                    self.delete(self.buckets.rollups, {"_measurement": kind, **tags}, (start_ns, start_ns + len(texts)))
                    self.write([
                        lines.point(
                            # Later, so that who keeps what was there (`kept`) sees that it is another.
                            kind, tags, {"asof_us": asof_us + 1, "parts": len(made), "data": text}, start_ns + place
                        )
                        for place, text in enumerate(made)
                    ])  # fmt: skip

    def _rejected(self, is_theirs: Callable[[str], bool]) -> list[tuple[int, str]]:
        found = self.influx.rows(self.buckets.rollups, 'SELECT "text", "source" FROM "refusal"')
        return [(time_ns, source or "") for time_ns, text, source in found if is_theirs(text or "")]

    def _events(self, is_theirs: Callable[[str], bool]) -> list[int]:
        found = self.influx.rows(self.buckets.rollups, f'SELECT "subject", "text" FROM "{EVENTS}"')  # noqa: S608
        return [time_ns for time_ns, subject, text in found if is_theirs(f"{subject} {text}")]

    def _beside(self, measurement: str, points: Sequence[_Point]) -> "_Beside":
        """Return where the points of a measurement lie that are at the times of these rows."""
        found = _Beside(measurement, 0, [])
        for source in dict.fromkeys(point.source for point in points):
            theirs = {point.time_ns for point in points if point.source == source}
            select, values = f'SELECT "key" FROM "{measurement}"', {"source": source}  # noqa: S608
            there = self.influx.pages(self.buckets.raw, select, ' AND "source" = $source', values, EVER_NS)
            for is_theirs, run in groupby((row[0] for row in there), theirs.__contains__):
                if is_theirs:
                    times_ns = list(run)
                    found.spans_ns.append((source, (times_ns[0], times_ns[-1])))
                    found = found._replace(points=found.points + len(times_ns))
        return found

    def _traces(self, points: Sequence[_Point]) -> list[str]:
        """Return the trace ids whose spans may still be there, in order of time; none where there is no such bucket."""
        ids = [point.trace_id for point in sorted(points, key=lambda point: point.time_us) if point.trace_id]
        if not ids or not self.spans_bucket:
            return []
        try:
            kept = self.influx.query(self.spans_bucket, 'SHOW TAG VALUES WITH KEY = "trace_id"')
        except StoreError:
            return []
        there = {row[1] for result in kept for row in result.rows}
        return [one for one in dict.fromkeys(ids) if one in there]


def _without(rows: Sequence[Any], usage: Sequence[str], tables: Tables, is_theirs: IsTheirs) -> list[Any]:
    """Return totals by endpoint less theirs, which `usage` has by identity too."""
    theirs = Tables()
    theirs.endpoints = tables.endpoints  # the same places
    less: dict[tuple[Any, ...], list[int]] = {}
    if usage:
        found = decode(Kind.USAGE, usage, theirs)
        mine = {place for place, one in enumerate(theirs.identities) if is_theirs(one)}
        for identity, endpoint, _, status, traffic, *values in found:
            if identity in mine:
                known = less.setdefault((endpoint, status, traffic), [0] * len(values))
                less[(endpoint, status, traffic)] = [a + b for a, b in zip(known, values, strict=True)]
    kept = []
    for row in rows:
        gone = less.get(tuple(row[:3]))
        values = list(row[3:]) if gone is None else [a - b for a, b in zip(row[3:], gone, strict=True)]
        if values[0] > 0:
            kept.append((*row[:3], *values))
    return kept


def _tags(one: Identity) -> dict[str, str]:
    tags = {"user": one.user, "user_id": one.user_id, "device": one.device, "node_id": one.node_id, "kind": one.kind}
    return {name: value for name, value in tags.items() if value}

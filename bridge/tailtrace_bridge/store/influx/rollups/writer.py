"""Rolls up what one source has written: hours from their requests, days from their hours. See `rollups` for when.

An hour's rollups are made of requests that are read once, a few steps at a time, and a day's of an hour at a time; so a
writer that rolls up a year holds no more than one that rolls up an hour.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby, islice
from threading import Event
from typing import TypeVar

from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups.batches import BUCKET_US
from tailtrace_bridge.store.influx.rollups.encoding import (
    BY_IDENTITY,
    DAY_SUMS,
    SUMS,
    Kind,
    Row,
    Tables,
    Text,
    cut,
    document,
    document_of,
    merged,
    rows_of,
    shares,
    texts_of,
    usage_columns,
)
from tailtrace_bridge.store.influx.rollups.older import without_loss
from tailtrace_bridge.store.influx.rollups.reader import GRACE_US, SIZES, STEPS, SUM_SIZES, RollupReader
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.rollups import Rollups
from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US, Window

WRITE_US = MINUTE_US
"""How long a write takes at most, tries and all."""
BATCH_POINTS = 500
"""Of rollups, written at once."""
RAW_POINTS = 16
"""Of requests put together, written at once: half a MB."""
BATCHES_MAX = 8
"""Of one step: where there are more, they are put into one once the step is over."""
SHARES_MAX = 8
"""Of a day's identities: each takes a look at all its hours."""
_NS = 1000
_T = TypeVar("_T")


class RollStoppedError(Exception):
    """The process is to end: what was being rolled up is not, and will be by whoever comes next."""


class Roller:
    """Rolls up what one source has written. While `stop` is set, `roll_day` raises `RollStoppedError` before long."""

    def __init__(
        self,
        rollups: RollupReader,
        source: str,
        write: Callable[[list[bytes]], object],
        write_raw: Callable[[list[bytes]], object],
        clock: Callable[[], int],
        stop: Event | None = None,
    ) -> None:
        self._stop = stop or Event()
        self.rolled = 0
        """Hours and days rolled up."""
        self._rollups, self._source, self._clock = rollups, source, clock
        self._write, self._write_raw = write, write_raw
        self._untils: dict[int, int] = {}
        self._announced: set[int] = set()
        """By ourselves: what another one did that died may be in the server's memory alone (`known`)."""
        self._asofs: dict[int, dict[int, int]] = {size_us: {} for size_us in SUM_SIZES}
        self._joined: dict[int, int] = {}
        """As of when the batches of a step were put into one, or were few; those of an hour that is not rolled up."""
        self._older: AbstractSet[int] | None = None
        """Hours with rollups of an older tailtrace alone; None: nobody has looked yet."""
        self._of_before: set[int] = set()
        """Days that an older tailtrace rolled up: without `usage_hours`, or made since these were."""

    def load(self) -> None:
        """Read what is there, of this process and others of the same source."""
        self._untils.update(self._rollups.all_untils(self._source))
        for size_us, known in self._asofs.items():
            known.update(self._rollups.asofs(size_us, self._source))
        if self._older is None:
            self._older = self._rollups.asofs(HOUR_US, self._source, Kind.HOURS).keys() - self._asofs[HOUR_US].keys()
            of_now = self._rollups.asofs(DAY_US, self._source, Kind.USAGE_HOURS)
            self._of_before = {us for us, asof_us in self._asofs[DAY_US].items() if of_now.get(us, -1) < asof_us}

    def announce(self, times_us: Iterable[int]) -> list[bytes]:
        """Return the points to write before rows of these times are."""
        now_us = self._clock()
        steps = {time_us // BUCKET_US * BUCKET_US for time_us in times_us}
        # An open step is announced once. One that is over is each time: another process may have settled it since.
        points = [
            self._point(bucket_us, max(now_us + WRITE_US, bucket_us + BUCKET_US + GRACE_US))
            for bucket_us in sorted(steps)
            if bucket_us not in self._announced
            or self._untils.get(bucket_us, 0) < now_us + WRITE_US
            or _is_over(bucket_us, BUCKET_US, now_us)
        ]
        self._announced = steps | {us for us in self._announced if not _is_over(us, BUCKET_US, now_us)}
        return points

    def settle(self) -> list[bytes]:
        """Return the points that say that this process writes no more to steps that are over.

        What another process of this source announced since is left alone: it may still be writing.
        """
        now_us = self._clock()
        mine = {us: until_us for us, until_us in self._untils.items() if until_us > now_us}
        if not mine:
            return []
        said = self._said([Window(min(mine), max(mine) + BUCKET_US)])
        return [
            self._point(bucket_us, now_us)
            for bucket_us, until_us in mine.items()
            if said.get(bucket_us) == until_us and _is_over(bucket_us, BUCKET_US, now_us)
        ]

    def roll_day(self) -> bool:
        """Roll up what is due within the oldest day that has something due. False: nothing is, or can be for now.

        Steps of many batches are put together first, also those of the hour that is not over yet: of what is whole
        nothing comes twice, so an hour's steps are read without keeping in mind what was in them.
        """
        now_us, rolled = self._clock(), self.rolled
        due = {us // DAY_US * DAY_US for size_us in SUM_SIZES for us in self._due(size_us, now_us)}
        for day_us in sorted(due):
            self._join_batches(now_us, Window(day_us, day_us + DAY_US))
            self._roll_hours(day_us, now_us)
            self._roll_day(day_us, now_us)
            if self.rolled > rolled:
                return True
        self._join_batches(now_us, Window(0, now_us))
        self._renew_day()
        return False

    def keep_hour(self, hour_us: int, rollups: Rollups, tables: Tables) -> None:
        """Keep rollups of an hour as those of now, without a look at its rows; for who made both."""
        batch = _Batch(self._keep)
        self._add_hour(batch, hour_us, self._clock(), rollups, tables)
        batch.flush()

    def _due(self, size_us: int, now_us: int) -> list[int]:
        return [
            start_us
            for start_us, until_us in self._needed(size_us).items()
            if self._asofs[size_us].get(start_us, -1) < until_us <= now_us and _is_over(start_us, size_us, now_us)
        ]

    def _said(self, spans: Sequence[Window]) -> dict[int, int]:
        """Ask until when rows of this source may come; other processes of it write, too."""
        return {us: until_us for (_, us), until_us in self._rollups.untils(spans, BUCKET_US, self._source).items()}

    def _point(self, bucket_us: int, until_us: int) -> bytes:
        # Later than all rollups that there are, also where the clock was set back since.
        asof_us = max(known.get(bucket_us // size_us * size_us, 0) for size_us, known in self._asofs.items())
        until_us = max(until_us, asof_us + 1)
        self._untils[bucket_us] = until_us
        return lines.point(STEPS, {"source": self._source}, {"until_us": until_us}, bucket_us * _NS)

    def _needed(self, size_us: int) -> dict[int, int]:
        needed: dict[int, int] = {}
        for bucket_us, until_us in list(self._untils.items()):
            start_us = bucket_us // size_us * size_us
            needed[start_us] = max(needed.get(start_us, 0), until_us)
        return needed

    def _roll_hours(self, day_us: int, now_us: int) -> None:
        """Roll up the hours of a day from their rows: one hour at a time is held, and its rollups."""
        due = [us for us in self._due(HOUR_US, now_us) if day_us <= us < day_us + DAY_US]
        spans = [Window(us, us + HOUR_US) for us in due]
        asof_us, tables, batch = self._clock(), Tables(), _Batch(self._keep)
        with_rows: set[int] = set()
        steps = self._rollups.requests({self._source: spans}, tables)
        for hour_us, of_hour in groupby(steps, lambda step: step[0][1] // HOUR_US * HOUR_US):
            with_rows.add(hour_us)
            rollups = Rollups()
            for _, requests in of_hour:
                for some in self._until_stopped(batches.pieces(requests)):
                    rollups.add(batches.counted(some))
            self._add_hour(batch, hour_us, asof_us, rollups, tables)
        for hour_us in set(due) - with_rows:  # announced elsewhere meanwhile, or never: it has no rows
            self._add_hour(batch, hour_us, asof_us, Rollups(), tables)
        batch.flush()

    def _join_batches(self, now_us: int, within: Window) -> None:
        """Put the batches of each step that is over into one where there are many, unless its hour was rolled up."""
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
            if within.start_us <= us < within.end_us
            and self._joined.get(us, -1) < until_us <= now_us
            and _is_over(us, BUCKET_US, now_us)
        ]
        spans = [Window(us, us + BUCKET_US) for us in due]
        for (_, bucket_us), requests in self._rollups.requests({self._source: spans}, tables, loose_over=BATCHES_MAX):
            self._join_step(bucket_us, asof_us, requests, tables)
        self._joined |= dict.fromkeys(due, asof_us)

    def _join_step(self, bucket_us: int, asof_us: int, requests: Iterable[batches.Request], tables: Tables) -> None:
        """Put the requests of a step together."""
        documents = (document(Kind.ROWS, some, tables) for some in self._until_stopped(batches.pieces(requests)))
        points = self._points(BUCKET_US, bucket_us, asof_us, {Kind.ROWS: list(map(Text, cut(documents)))})
        while some_points := list(islice(points, RAW_POINTS)):  # until the last is there, none counts
            self._write_raw(some_points)

    def _add_hour(self, batch: "_Batch", hour_us: int, asof_us: int, rollups: Rollups, tables: Tables) -> None:
        def merged_rows(kind: Kind) -> list[Row]:
            return merged(kind, [rows_of(kind, rollups, tables)])

        def encoded(kind: Kind) -> list[Text]:
            if kind is Kind.USAGE:
                return [Text(text) for text in cut([document_of(kind, usage_columns(rollups), tables)])]
            return texts_of(kind, [merged_rows(kind)], tables)

        # One kind at a time, and of the longest a column at a time: as rows they take ten times what their texts do.
        texts: dict[Kind, list[Text]]
        if hour_us in (self._older or ()):
            all_made: Mapping[Kind, list[Row]] = {kind: merged_rows(kind) for kind in SUMS}
            made = without_loss(self._rollups, self._source, hour_us, all_made, tables)
            texts = {kind: texts_of(kind, [made[kind]], tables) for kind in SUMS}
        else:
            texts = {kind: encoded(kind) for kind in self._until_stopped(SUMS)}
        batch.add(HOUR_US, hour_us, asof_us, self._points(HOUR_US, hour_us, asof_us, texts))

    def _roll_day(self, day_us: int, now_us: int) -> None:
        """Roll up a day from its hours, if all of these are valid; else it waits."""
        if day_us in self._due(DAY_US, now_us):
            self._make_day(day_us)

    def _renew_day(self) -> None:
        """Roll up anew a day of an older tailtrace, the newest first: one a round, as there may be years of them."""
        if self._of_before:
            self._make_day(max(self._of_before))

    def _make_day(self, day_us: int) -> None:
        self._of_before.discard(day_us)
        asof_us, tables, day = self._clock(), Tables(), Window(day_us, day_us + DAY_US)
        texts: dict[Kind, list[Text]] = {}
        for kind in DAY_SUMS:
            of_kind = self._day_texts(kind, day, tables)
            if of_kind is None:
                return
            texts[kind] = of_kind
        self._keep(list(self._points(DAY_US, day_us, asof_us, texts)), [(DAY_US, day_us, asof_us)])

    def _day_texts(self, kind: Kind, day: Window, tables: Tables) -> list[Text] | None:
        """Return what a day's hours add up to; None where not all of them are valid.

        An hour at a time is held, and of many rows those of some identities.
        """
        hours = self._rollups.hours(day, kind, self._source)
        if hours is None:
            return None
        longest = max((one.texts for one in hours.values()), default=1)
        some = shares(min(longest, SHARES_MAX) if kind in BY_IDENTITY else 1)
        added_up = (
            merged(kind, self._rollups.by_hour(hours, kind, tables, find)) for find in self._until_stopped(some)
        )
        try:
            return texts_of(kind, added_up, tables)
        except ValueError:  # an hour is being rolled up anew
            return None

    def _until_stopped(self, each: Iterable[_T]) -> Iterator[_T]:
        for one in each:
            if self._stop.is_set():
                raise RollStoppedError
            yield one

    def _points(
        self, size_us: int, start_us: int, asof_us: int, texts: Mapping[Kind, Sequence[Text]]
    ) -> Iterator[bytes]:
        tags = {"size": SIZES[size_us], "source": self._source}

        def point(kind: Kind, parts: int, at_ns: int, text: Text) -> bytes:
            fields: dict[str, str | int] = {"asof_us": asof_us, "parts": parts, "data": text.data}
            if text.who:
                fields |= {"who": text.who, "who_asof_us": asof_us, "at_ns": at_ns}
            return lines.point(kind, tags, fields, at_ns)

        return (
            point(kind, len(of_kind), start_us * _NS + place, text)
            for kind, of_kind in texts.items()
            for place, text in enumerate(of_kind)
        )

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

    def add(self, size_us: int, start_us: int, asof_us: int, points: Iterable[bytes]) -> None:
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

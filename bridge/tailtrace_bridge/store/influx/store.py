"""`Store` in InfluxDB. Any number of bridges write, each under its own source; any number of processes read.

| a batch | what happens |
|---|---|
| its identities | those that are new, or found out anew, go to the directory |
| a row whose (time, key) this source has stored (`known`) | a duplicate, and not written: what was first stays |
| a row older than the raw bucket keeps | counted as refused: InfluxDB would drop it |
| a new row | its step is announced (`rollups`), then it is written: to `api_access`, then to a batch (`batches`) |
| InfluxDB fails on the way | `StoreError`; the caller keeps the batch and gives it again |
| the next call after that | all lines of the batch that failed are written again first (`Kept`) |
| a row of such a batch | known by its key, and counted as stored |

A thread that starts with the first write rolls up what is due. `prune` has nothing to do: retention is the buckets'.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import xxhash

from tailtrace_bridge.core.columns import Columns, InterningTable, columns_of
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import OTHER, Identity, KeptTrace, RejectedLine, Row, Traffic
from tailtrace_bridge.store.influx import alerts, directory
from tailtrace_bridge.store.influx.erase import Eraser
from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups import encoding as chunks
from tailtrace_bridge.store.influx.rollups.batches import BUCKET_US
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Sought, Tables, merged
from tailtrace_bridge.store.influx.rollups.known import Known
from tailtrace_bridge.store.influx.rollups.reader import SUM_SIZES, Buckets, RollupReader
from tailtrace_bridge.store.influx.rollups.writer import Roller
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.delete import Deleter
from tailtrace_bridge.store.influx.wire.query import InfluxQL, Server, names
from tailtrace_bridge.store.influx.wire.setup import DAY_S, HOUR_S, ROLLUPS_SUFFIX, Bucket, ensure
from tailtrace_bridge.store.influx.wire.write import BATCH_LINES_MAX, Kept, Timing, WriteCounters, Writer, client_post
from tailtrace_bridge.store.names import Named, names_of_now
from tailtrace_bridge.store.packed import join_runs
from tailtrace_bridge.store.person import Erased, Person
from tailtrace_bridge.store.rollups import APP, PROXY
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    Activity,
    AlertEvent,
    BucketLatency,
    BucketUsage,
    By,
    EndpointBucket,
    Filters,
    Latency,
    LogEntry,
    Quarter,
    Recent,
    Run,
    Uptime,
    Usage,
    Visits,
    Window,
    Written,
    smallest_bucket_rollups,
    smallest_rollups,
)

ENDPOINTS_MAX = 5_000
REJECTED_MAX = 10_000
EXPIRY_MARGIN_US = 2 * HOUR_US
"""Before the raw bucket's retention ends: a step that is rolled up again must still have all of its rows."""
ROLL_EVERY_S = 5.0
LOAD_EVERY = 120
"""Rounds of the thread between two looks at what other processes of this source have announced."""
PAGE_EXTRA = 16
SERIES_AT_ONCE = 200
"""Whose rows are asked for in one call."""
_REFUSALS = "refusal"
_USAGE_KIND = {By.ALL: Kind.USAGE, By.IDENTITY: Kind.USAGE_IDENTITY, By.ENDPOINT: Kind.USAGE_ENDPOINT}
_SIDES = {PROXY: "proxy", APP: "app"}
_SERIES = ("source", "user", "device", "service", "endpoint", "method", "status_class")
_LOG_SPANS_US = (HOUR_US, DAY_US, 7 * DAY_US)
"""How far back a page of the log is looked for, before all of the window is: the newest rows are asked for most."""
NO_TRACES = (
    "store influxdb: it keeps no traces; the collector's bucket (TAILTRACE_TRACES_BUCKET) has raw spans for some days, "
    "TAILTRACE_EXPORT_ENDPOINT sends nginx's to a tracing backend, and the SQLite store keeps traces"
)
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InfluxConfig:
    """Where to keep what, and under which name. Retention in days; 0 is for ever."""

    server: Server
    bucket: str
    source: str
    raw_days: int = 0
    rollup_days: int = 0
    spans_bucket: str = ""
    """Where the collector keeps raw spans; asked only when a person is erased."""
    spans_hours: int = 0
    """How long that one keeps points; 0: it is somebody else's, and not made here."""


@dataclass(slots=True)
class InfluxCounters:
    """What hit a limit, or was not taken."""

    expired: int = 0
    """Rows older than the raw bucket keeps."""
    rejected: int = 0
    """Rows that InfluxDB did not take."""
    endpoints_over_limit: int = 0
    refusals_over_limit: int = 0
    roll_failures: int = 0


class InfluxStore:
    """Keeps rows in one InfluxDB. Nothing is sent before the first call of a verb."""

    def __init__(self, config: InfluxConfig, timing: Timing, *, is_rolling: bool = True) -> None:
        self.counters = InfluxCounters()
        self.write_counters = {"rows": WriteCounters(), "rollups": WriteCounters()}
        """Of each of the two writers: by thread, so that neither loses a count of the other's."""
        self._config, self._timing = config, timing
        self._clock = timing.wall_us
        self._influx = InfluxQL(config.server)
        self._buckets = Buckets(config.bucket, config.bucket + ROLLUPS_SUFFIX)
        self._rollups = RollupReader(self._influx, self._buckets)
        self._delete = Deleter(self._influx, config.server.url, config.server.org)
        self._lock = threading.Lock()
        self._is_rolling = is_rolling
        self._session: _Session | None = None
        self._unsure: set[tuple[int, int]] = set()
        """(time, key) of the new rows of a batch that failed on the way: some may have been stored."""
        self._kept = Kept()
        """All lines of that batch, and of the one that is being written."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def store_id(self) -> str:
        """Name the bucket and where it is: nothing is asked of the server, so that one that was emptied is the same."""
        server = self._config.server
        return xxhash.xxh3_64_hexdigest(f"{server.url}\n{server.org}\n{self._config.bucket}".encode())

    def write(self, rows: Sequence[Row], refusals: Sequence[RejectedLine] = ()) -> Written:
        """Keep rows and refusals."""
        return self.write_columns(columns_of(rows), refusals)

    def settle_refusals(self, file: str, places: Sequence[int]) -> int:  # noqa: ARG002
        """Keep them: a delete for each would cost more than it is worth, and their retention ends them."""
        return 0

    def write_columns(self, columns: Columns, refusals: Sequence[RejectedLine] = ()) -> Written:
        """Keep rows, given as columns, and refusals."""
        with self._lock:
            session = self._open()
            try:
                written = self._write_rows(session, columns)
                self._write_refusals(session, refusals)
            except StoreError:
                self._session = None  # what it believes to have written, it may not have
                session.close()
                raise
            self._kept.calls.clear()
        return written

    def prune(self, before_us: int) -> int:  # noqa: ARG002
        """Do nothing: InfluxDB lets go of what is older than the bucket's retention."""
        return 0

    @property
    def writes(self) -> int:
        """0: a bucket does not count its writes, and who restores one removes the checkpoint."""
        return 0

    def remember(self, text: str) -> None:
        """Do nothing."""

    def remembered(self) -> str:
        """Return nothing."""
        return ""

    def begin_erase(self, person: Person) -> None:
        """Do nothing: what a crash left undone, the same command does."""

    def unfinished_erase(self) -> Person | None:
        """Return None: InfluxDB lets go of the bytes itself, when it compacts its files."""
        return None

    def erase(self, person: Person, *, is_dry: bool) -> Erased:
        """Forget a person, of all sources."""
        with self._lock:
            session = self._open()
            eraser = Eraser(
                self._influx, self._delete, self._buckets, self._config.spans_bucket,
                session.write_rollups, session.write_raw, self._clock,
            )  # fmt: skip
            filters = Filters(user=person.user, device=person.device)
            where = (' AND "ip" = $ip', {"ip": person.address}) if person.address else self._where(filters)
            try:
                erased = eraser.erase(person, where, is_dry=is_dry)
            finally:
                self._kept.calls.clear()  # one that failed is begun again, not gone on with
            if not is_dry:
                self._rollups.forget()
                self._session = None  # what it knows of names and sums is of before
                session.close()
            return erased

    def log(
        self, scope: Scope, window: Window, filters: Filters, limit: int, before: tuple[int, int] | None
    ) -> list[LogEntry]:
        """Return a page of the log, newest first."""
        filters = scope.narrowed(filters)
        last = min(before or (window.end_us, -1), (window.end_us, -1))
        if filters == Filters() and (newest := self._newest(window, last, limit)) is not None:
            return newest
        where, values = self._where(filters)
        found: list[LogEntry] = []
        newest_us = last[0]
        for span_us in (*_LOG_SPANS_US, newest_us - window.start_us):
            start_us = max(window.start_us, newest_us - span_us)
            span, asked = Window(start_us, last[0]), _Asked((start_us, -1), last)
            page = self._scan(span, asked, where, values, limit - len(found), is_newest_first=True)
            found += [_entry(row, key_time) for row, key_time in page]
            last = min(last, (start_us, -1))
            if len(found) >= limit or start_us <= window.start_us:
                break
        return found[:limit]

    def rows(self, scope: Scope, window: Window, after: tuple[int, int] | None, limit: int) -> list[Row]:
        """Return a page of whole rows, oldest first."""
        scope.require_everybody("rows")
        start_us, key = max(after or (window.start_us, -1), (window.start_us, -1))
        found = self._scan(Window(start_us, window.end_us), _Asked((start_us, key), (window.end_us, -1)), "", {}, limit)
        return [row for row, _ in found[:limit]]

    def endpoints(self, scope: Scope) -> list[str]:
        """Return none."""
        scope.require_everybody("endpoints")
        return []

    def named(self, scope: Scope) -> list[Named]:
        """Return everybody with a name, oldest first."""
        scope.require_everybody("named")
        known = directory.read(self._influx, self._buckets.rollups)
        return list(directory.numbered(known, ()).values())

    def refused(self, scope: Scope, after: tuple[str, int] | None, limit: int) -> list[RejectedLine]:
        """Return a page of the kept refusals."""
        scope.require_everybody("refused")
        text = f'SELECT "file", "position", "reason", "text" FROM "{_REFUSALS}"'  # noqa: S608  # our own names
        rows = self._influx.rows(self._buckets.rollups, text)
        kept = {
            (file, position): RejectedLine(reason, file, position, said or "")
            for _, file, position, reason, said in rows
        }
        return [kept[place] for place in sorted(kept) if after is None or place > after][:limit]

    def usage(self, scope: Scope, window: Window, filters: Filters, by: By = By.ALL) -> list[Usage]:
        """Return sums by identity, endpoint, method, status and traffic, or by less of these."""
        filters = scope.narrowed(filters)
        tables = Tables()
        kind = _USAGE_KIND[smallest_rollups(filters, by)]
        rows = self._rollups.merged(window, kind, tables, _sought(filters) if kind is Kind.USAGE else None)
        if not rows:
            return []
        known = directory.read(self._influx, self._buckets.rollups) if kind is not Kind.USAGE_ENDPOINT else {}
        identities, endpoints = list(tables.identities), list(tables.endpoints)
        is_asked = _matches(filters, known, identities, endpoints)
        rows = [row for row in _in_full(kind, rows) if is_asked(row[0], row[1], row[2], row[3])]
        if by is By.IDENTITY:
            rows = merged(Kind.USAGE, [[(row[0], -1, "", *row[3:]) for row in rows]])
        elif by is By.ENDPOINT:
            rows = merged(Kind.USAGE, [[(-1, row[1], "", *row[3:]) for row in rows]])
        now = [*_names(known, identities), Identity("")]
        places = [*endpoints, ("", "")]
        return [Usage(now[row[0]], *places[row[1]], row[2], row[3], Traffic(row[4]), *row[5:]) for row in rows]

    def visits(self, scope: Scope, window: Window) -> list[Visits]:
        """Return usage by identity, endpoint and traffic."""
        tables = Tables()
        rows = self._rollups.merged(window, Kind.VISITS, tables)
        now, endpoints = self._names_of_now(tables), list(tables.endpoints)
        return [
            Visits(now[who], endpoints[where][1], Traffic(traffic), n)
            for who, where, traffic, n in rows
            if scope.has(now[who])
        ]

    def steps(self, scope: Scope, window: Window, bucket_us: int) -> list[BucketUsage]:
        """Return sums by step of time."""
        scope.require_everybody("steps")
        totals: dict[int, list[int]] = {}
        for part in self._rollups.parts(window, Kind.USAGE_ENDPOINT, Tables(), _sizes(bucket_us)):
            total = totals.setdefault(part.start_us // bucket_us * bucket_us, [0, 0, 0, 0])
            for _, status, _, requests, timed, request_time_us, _, _, _ in part.rows:
                total[0] += requests
                total[1] += requests if status >= 500 else 0
                total[2] += timed
                total[3] += request_time_us
        # A step may be announced and have no rows: they were not written in the end, or a person was erased.
        return [BucketUsage(start_us, *totals[start_us]) for start_us in sorted(totals) if totals[start_us][0]]

    def endpoint_buckets(
        self, scope: Scope, window: Window, bucket_us: int, filters: Filters, by: By = By.ENDPOINT
    ) -> list[EndpointBucket]:
        """Return sums by step of time, endpoint and traffic."""
        filters = scope.narrowed(filters)
        tables = Tables()
        kind = _USAGE_KIND[smallest_bucket_rollups(filters, by)]
        parts = list(self._rollups.parts(window, kind, tables, _sizes(bucket_us)))
        known = directory.read(self._influx, self._buckets.rollups) if kind is not Kind.USAGE_ENDPOINT else {}
        endpoints = list(tables.endpoints)
        is_asked = _matches(filters, known, list(tables.identities), endpoints)
        totals: dict[tuple[int, str, int], list[int]] = {}
        for part in parts:
            start_us = part.start_us // bucket_us * bucket_us
            for who, where, method, status, traffic, requests, *_ in _in_full(kind, part.rows):
                if is_asked(who, where, method, status):
                    route = endpoints[where][1] if by is By.ENDPOINT else ""
                    total = totals.setdefault((start_us, route, traffic), [0, 0])
                    total[0] += requests
                    total[1] += requests if status >= 500 else 0
        return [
            EndpointBucket(us, route, Traffic(traffic), *totals[us, route, traffic])
            for us, route, traffic in sorted(totals)
        ]

    def latency(self, scope: Scope, window: Window) -> list[Latency]:
        """Return histograms by endpoint and side."""
        scope.require_everybody("latency")
        tables = Tables()
        rows = self._rollups.merged(window, Kind.LATENCY, tables)
        routes = [route for _, route in tables.endpoints]
        totals: dict[tuple[str, int, int], int] = {}
        for side, endpoint, bucket, requests in rows:
            key = (routes[endpoint], side, bucket)
            totals[key] = totals.get(key, 0) + requests
        return [Latency(route, _SIDES[side], bucket, n) for (route, side, bucket), n in totals.items()]

    def bucket_latency(self, scope: Scope, window: Window, bucket_us: int) -> list[BucketLatency]:
        """Return histograms by step of time."""
        scope.require_everybody("bucket_latency")
        totals: dict[tuple[int, int], int] = {}
        for part in self._rollups.parts(window, Kind.LATENCY_ALL, Tables(), _sizes(bucket_us)):
            start_us = part.start_us // bucket_us * bucket_us
            for bucket, requests in part.rows:
                totals[(start_us, bucket)] = totals.get((start_us, bucket), 0) + requests
        return [BucketLatency(*key, totals[key]) for key in sorted(totals)]

    def activity(self, scope: Scope, window: Window) -> list[Activity]:
        """Return usage in runs."""
        tables = Tables()
        rows = self._rollups.merged(window, Kind.RUNS, tables)
        now = self._names_of_now(tables)
        runs: dict[Identity, list[Run]] = {}
        for who, first_us, last_us, requests in rows:
            runs.setdefault(now[who], []).append((first_us, last_us, requests))
        return [Activity(identity, join_runs(theirs)) for identity, theirs in runs.items() if scope.has(identity)]

    def quarters(self, scope: Scope, window: Window) -> list[Quarter]:
        """Return usage by quarter of an hour."""
        scope.require_everybody("quarters")
        return [Quarter(*row) for row in sorted(self._rollups.merged(window, Kind.QUARTERS, Tables()), key=tuple)]

    def uptime(self, scope: Scope, window: Window) -> list[Uptime]:
        """Return the minutes with traffic by day; a minute that the window cuts counts whole."""
        scope.require_everybody("uptime")
        whole = Window(window.start_us // MINUTE_US * MINUTE_US, -(-window.end_us // MINUTE_US) * MINUTE_US)
        totals: dict[int, list[int]] = {}
        for hour, minutes, answered in self._rollups.merged(whole, Kind.HOURS, Tables()):
            total = totals.setdefault(hour * HOUR_US // DAY_US * DAY_US, [0, 0])
            total[0] += minutes.bit_count()
            total[1] += answered.bit_count()
        return [Uptime(day_us, *totals[day_us]) for day_us in sorted(totals)]

    def newest_us(self, scope: Scope) -> int | None:
        """Return the time of the newest row."""
        scope.require_everybody("newest_us")
        bucket_us = self._rollups.newest_bucket_us()
        if bucket_us is None:
            return None
        text = f'SELECT max("newest_us") FROM "{batches.MEASUREMENT}" WHERE time >= $start'  # noqa: S608  # our own names
        for start_us in (bucket_us, 0):  # a step may have been announced, and its rows not written
            rows = self._influx.rows(self._buckets.raw, text, {"start": start_us * 1000})
            if rows:
                return int(rows[0][1])
        return None

    def recent(
        self,
        scope: Scope,
        window: Window,
        *,
        endpoint: str | None = None,
        service: str | None = None,
        rank: float | None = None,
    ) -> Recent:
        """Return sums of the minutes that a window touches."""
        scope.require_everybody("recent")
        sums = alerts.recent(self._influx, self._buckets.raw, window, endpoint, service, rank)
        if rank is None or window.end_us - window.start_us <= alerts.SORTED_US_MAX:
            return sums
        quantile_us = alerts.quantile_of_sums(self._rollups, window, endpoint, service, rank)
        return sums._replace(quantile_us=quantile_us)

    def add_alert_events(self, events: Sequence[AlertEvent]) -> None:
        """Keep events, the newest of them, for as long as the sums are kept."""
        with self._lock:
            self._open().write_rollups(alerts.event_points(events))
        try:
            alerts.delete_old_events(self._influx, self._buckets.rollups, self._delete)
        except StoreError as error:  # they are not shown anyway
            _LOGGER.debug("old alert events stay: %s", error)

    def alert_events(self, scope: Scope, limit: int) -> list[AlertEvent]:
        """Return the newest events first."""
        events = alerts.newest_events(self._influx, self._buckets.rollups, limit)
        return [one for one in events if scope.login is None or not one.subject]

    keeps_traces = False

    def keep_traces(self, kept: Sequence[KeptTrace], bytes_max: int) -> int:  # noqa: ARG002
        """Raise `StoreError`: InfluxDB keeps no traces."""
        raise StoreError(NO_TRACES)

    def traces(self, scope: Scope, trace_id: str) -> list[tuple[LogEntry, KeptTrace]]:  # noqa: ARG002
        """Raise `StoreError`: InfluxDB keeps no traces."""
        raise StoreError(NO_TRACES)

    def refusals(self) -> dict[str, int]:
        """Count the kept refusals by reason."""
        text = f'SELECT count("place") FROM "{_REFUSALS}" GROUP BY "reason"'  # noqa: S608
        results = self._influx.ask(self._buckets.rollups, text)
        return {result.tags["reason"]: int(result.rows[0][1]) for result in results}

    def settle(self) -> None:
        """Sum up all that can be, now; for an importer that is done."""
        with self._lock:
            session = self._open()
            session.write_rollups(session.roller.settle())
        while session.roller.roll_day():
            pass

    def close(self) -> None:
        """Sum up what was written, and close the connections. What cannot be rolled up now is read from its rows."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._session is not None:
            try:
                self.settle()
            except StoreError as error:
                _LOGGER.warning("%s; the sums are made at the next start", error)
            self._session.close()
            self._session = None
        self._influx.close()

    # How it is done.

    def _open(self) -> "_Session":
        if self._session is None:
            self._session = self._make_session()
            if self._is_rolling and self._thread is None:
                self._thread = threading.Thread(target=self._roll, name="influx-rollups", daemon=True)
                self._thread.start()
        return self._session

    def _make_session(self) -> "_Session":
        config = self._config
        for bucket, days in ((self._buckets.raw, config.raw_days), (self._buckets.rollups, config.rollup_days)):
            ensure(self._influx, config.server.url, config.server.org, Bucket(bucket, days * DAY_S))
        if config.spans_bucket and config.spans_hours:
            spans = Bucket(config.spans_bucket, config.spans_hours * HOUR_S)
            ensure(self._influx, config.server.url, config.server.org, spans)
        post, close = client_post(config.server)
        writer, rolling = (
            Writer(config.server.url, post, self._timing, counters) for counters in self.write_counters.values()
        )
        try:
            self._kept.write_again(writer)
        except StoreError:
            close()
            raise
        known = directory.read(self._influx, self._buckets.rollups, config.source)
        routes = self._influx.rows(self._buckets.raw, f'SHOW TAG VALUES FROM "{lines.RAW}" WITH KEY = "endpoint"')
        refused = self._influx.rows(
            self._buckets.rollups,
            f'SELECT "place" FROM "{_REFUSALS}" WHERE "source" = $source LIMIT {REJECTED_MAX}',  # noqa: S608
            {"source": config.source},
        )
        roller = Roller(
            self._rollups, config.source, lambda points: rolling.write(self._buckets.rollups, points),
            lambda points: rolling.write(self._buckets.raw, points), self._clock,
        )  # fmt: skip
        known_rows = Known(
            self._influx, self._buckets, self._rollups, config.source,
            lambda points: self._kept.write(writer, self._buckets.raw, points),
        )  # fmt: skip
        session = _Session(
            writer=writer, kept=self._kept, buckets=self._buckets, roller=roller, known=known_rows, close=close,
            directory=directory.Directory(known, config.source),
            routes={lines.untag(row[1]) for row in routes}, refused={row[1] for row in refused},
        )  # fmt: skip
        try:
            roller.load()
        except StoreError:
            close()
            raise
        return session

    def _roll(self) -> None:
        """Sum up what is due, until the store is closed."""
        rounds = 0
        while not self._stop.wait(ROLL_EVERY_S):
            session, rounds = self._session, rounds + 1
            if session is None:
                continue
            try:
                if rounds % LOAD_EVERY == 0:
                    session.roller.load()
                while not self._stop.is_set() and session.roller.roll_day():
                    pass
            except StoreError as error:
                self.counters.roll_failures += 1
                _LOGGER.warning("%s; sums wait, answers are made of the rows", error)

    def _write_rows(self, session: "_Session", columns: Columns) -> Written:
        found = zip(columns.identities, columns.identified_us, strict=True)
        identities, points = session.directory.take(found, self._clock())
        session.write_rollups(points)
        known = session.known.around(columns.time_us)
        taken = set(known.values())
        oldest_us = self._oldest_us()
        fresh: list[tuple[int, int]] = []
        stored = duplicate = expired = 0
        for row, name in enumerate(zip(columns.time_us, columns.key, strict=True)):
            if name in known:
                was_unsure = name in self._unsure
                self._unsure.discard(name)
                stored += was_unsure
                duplicate += not was_unsure
            elif name[0] < oldest_us:
                expired += 1
            else:
                slot_ns = lines.first_slot(*name)
                while slot_ns in taken:
                    slot_ns = lines.next_slot(slot_ns)
                taken.add(slot_ns)
                known[name] = slot_ns
                fresh.append((slot_ns, row))
        self._unsure.update((columns.time_us[row], columns.key[row]) for _, row in fresh)
        rejected = self._write_fresh(session, columns, identities, fresh)
        self._unsure.clear()
        self.counters.expired += expired
        self.counters.rejected += rejected
        return Written(stored + len(fresh) - rejected, duplicate, expired + rejected)

    def _write_fresh(
        self, session: "_Session", columns: Columns, identities: Sequence[Identity], fresh: Sequence[tuple[int, int]]
    ) -> int:
        routes = [self._route(session, route) for _, route in columns.endpoints]
        maker = lines.LineMaker(columns, identities, routes, self._config.source, session.heads)
        rejected = 0
        for start in range(0, len(fresh), BATCH_LINES_MAX):
            part = fresh[start : start + BATCH_LINES_MAX]
            session.write_rollups(session.roller.announce(columns.time_us[row] for _, row in part))
            dropped = session.write_raw([maker.line(row, time_ns) for time_ns, row in part])
            tables = Tables()
            requests = batches.requests_of(columns, identities, routes, part, tables)
            if dropped:  # which of them, InfluxDB does not say
                rejected += dropped
                session.known.find({one.time_us for one in requests})
                continue
            points = batches.points(requests, tables, self._config.source)
            session.write_raw(points)
            slots = (slot_ns for slot_ns, _ in part)
            session.known.add(zip(((one.time_us, one.key) for one in requests), slots, strict=True), points)
        return rejected

    def _oldest_us(self) -> int:
        days = self._config.raw_days
        return self._clock() - days * DAY_US + EXPIRY_MARGIN_US if days else -(2**62)

    def _route(self, session: "_Session", route: str) -> str:
        if route in session.routes:
            return route
        if len(session.routes) >= ENDPOINTS_MAX:
            self.counters.endpoints_over_limit += 1
            return OTHER
        session.routes.add(route)
        return route

    def _write_refusals(self, session: "_Session", refusals: Sequence[RejectedLine]) -> None:
        now_ns = self._clock() * 1000
        points: list[bytes] = []
        for one in refusals:
            place = xxhash.xxh3_64_intdigest(f"{one.offset}:{one.file}".encode(errors="backslashreplace")) >> 1
            if place in session.refused:
                continue
            if len(session.refused) >= REJECTED_MAX:
                self.counters.refusals_over_limit += 1
                continue
            session.refused.add(place)
            file = one.file.encode(errors="backslashreplace").decode()
            fields = {"place": place, "file": file, "position": one.offset, "text": one.text}
            tags = {"reason": one.reason, "source": self._config.source}
            points.append(lines.point(_REFUSALS, tags, fields, now_ns + place % lines.MS_NS))
        session.write_rollups(points)

    def _where(self, filters: Filters) -> tuple[str, dict[str, object]]:
        clauses: list[str] = []
        values: dict[str, object] = {}
        asked = (("user", "user_id", filters.user), ("device", "node_id", filters.device))
        known = list(directory.read(self._influx, self._buckets.rollups)) if filters.user or filters.device else []
        for name, stable, value in asked:
            if value is None:
                continue
            ids, called = _aliases(known, name, stable, value)
            bound_ids = names(name + "Id", [lines.tag(one) for one in sorted(ids)])
            bound_names = names(name + "Name", [lines.tag(one) for one in sorted(called)])
            same = [f'"{name}" = ${name}']
            same += [f'"{stable}" = ${one}' for one in bound_ids]
            same += [f'("{stable}" = \'\' AND "{name}" = ${one})' for one in bound_names]
            clauses.append(f" AND ({' OR '.join(same)})")
            values |= {name: lines.tag(value), **bound_ids, **bound_names}
        for column, value in (("endpoint", filters.endpoint), ("method", filters.method)):
            if value is not None:
                clauses.append(f' AND "{column}" = ${column}')
                values[column] = lines.tag(value)
        if filters.address is not None:
            clauses.append(' AND "ip" = $ip')
            values["ip"] = filters.address
        if filters.trace_id is not None:
            clauses.append(' AND "trace_id" = $trace')
            values["trace"] = filters.trace_id
        if filters.status is not None:
            is_class = filters.status.endswith("xx")
            clauses.append(' AND "status_class" = $status' if is_class else ' AND "status_code" = $status')
            values["status"] = filters.status if is_class else int(filters.status)
        return "".join(clauses), values

    def _newest(self, window: Window, before: tuple[int, int], limit: int) -> list[LogEntry] | None:
        """Return a page without filters: batches say which series its requests are in. None: they are too far apart."""
        for span_us in (BUCKET_US, HOUR_US):
            start_us = max(window.start_us, before[0] - span_us)
            tables = Tables()
            found = [
                (one[2:4], source, one)
                for (source, _), _, requests in self._rollups.requests(
                    {None: [Window(start_us, before[0] + 1)]}, tables, is_kept=True
                )
                for one in requests
                if one[2:4] < before
            ]
            if len(found) >= limit or start_us <= window.start_us:
                page = sorted(found, key=lambda one: one[:2], reverse=True)[:limit]
                return self._entries([(source, one) for _, source, one in page], tables)
        return None

    def _entries(self, page: Sequence[tuple[str, batches.Request]], tables: Tables) -> list[LogEntry]:
        """Return requests as they are in `api_access`: one question for each series, many in one call."""
        identities, endpoints, reader = list(tables.identities), list(tables.endpoints), lines.RowReader()
        series: dict[tuple[str, ...], list[int]] = {}
        for source, one in page:
            who, (service, route) = identities[one.identity], endpoints[one.endpoint]
            tags: tuple[str, ...] = (source, who.user, who.device, service, route, one.method, f"{one.status // 100}xx")
            series.setdefault(tags, []).append(lines.first_slot(one.time_us, one.key) + one.shift)
        places: InterningTable[str] = InterningTable()
        asked: list[tuple[str, str]] = []
        for values, slots in series.items():
            where = "".join(
                f' AND "{name}" = $v{places[lines.tag(value)]}' for name, value in zip(_SERIES, values, strict=True)
            )
            asked.append((values[0], f"{lines.SELECT_ROWS} WHERE time >= {min(slots)} AND time <= {max(slots)}{where}"))
        bound = {f"v{place}": value for value, place in places.items()}
        wanted = {(source, one.time_us, one.key) for source, one in page}
        entries: list[LogEntry] = []
        for start in range(0, len(asked), SERIES_AT_ONCE):
            some = asked[start : start + SERIES_AT_ONCE]
            answers = self._influx.ask_all(self._buckets.raw, [text for _, text in some], bound)
            for (source, _), results in zip(some, answers, strict=True):
                for row in (reader.row(values) for result in results for values in result.rows):
                    name = (row.access.time_us, row.access.key)
                    if (source, *name) in wanted:
                        entries.append(_entry(row, name))
        return sorted(entries, key=lambda one: one[:2], reverse=True)

    def _scan(
        self,
        span: Window,
        asked: "_Asked",
        where: str,
        values: dict[str, object],
        limit: int,
        *,
        is_newest_first: bool = False,
    ) -> list[tuple[Row, tuple[int, int]]]:
        """Return the first requests of a span, with times and keys; it may be some more than `limit`.

        A millisecond is read whole: within one, points are in another order than requests.
        """
        reader = lines.RowReader()
        low_ns = span.start_us // lines.MS_US * lines.MS_NS
        high_ns = (span.end_us // lines.MS_US + 1) * lines.MS_NS
        text = f"{lines.SELECT_ROWS} WHERE time >= $low AND time < $high{where}"
        order = " ORDER BY time DESC" if is_newest_first else ""
        found: list[tuple[Row, tuple[int, int]]] = []
        while len(found) < limit and low_ns < high_ns:
            rows_max = limit - len(found) + PAGE_EXTRA
            bounds = {**values, "low": low_ns, "high": high_ns}
            points = self._influx.rows(self._buckets.raw, f"{text}{order} LIMIT {rows_max}", bounds)
            if len(points) == rows_max:
                cut_ns = points[-1][0] // lines.MS_NS * lines.MS_NS
                after_ns = cut_ns + lines.MS_NS
                whole = [one for one in points if not cut_ns <= one[0] < after_ns]
                if whole:  # most often there are enough of them
                    points = whole
                    low_ns, high_ns = (low_ns, after_ns) if is_newest_first else (cut_ns, high_ns)
                else:
                    points = self._influx.rows(self._buckets.raw, text, {**values, "low": cut_ns, "high": after_ns})
                    low_ns, high_ns = (low_ns, cut_ns) if is_newest_first else (after_ns, high_ns)
            else:
                high_ns = low_ns
            page = [(row, (row.access.time_us, row.access.key)) for row in map(reader.row, points)]
            page = [one for one in page if asked.after < one[1] < asked.before]
            found += sorted(page, key=lambda one: one[1], reverse=is_newest_first)
        return found

    def _names_of_now(self, tables: Tables) -> list[Identity]:
        known = directory.read(self._influx, self._buckets.rollups) if tables.identities else {}
        return _names(known, list(tables.identities))


class _Asked(NamedTuple):
    """Which requests: (time, key) after the one and before the other."""

    after: tuple[int, int]
    before: tuple[int, int]


@dataclass(slots=True)
class _Session:
    """What the store knows while it writes; made anew after a failure."""

    writer: Writer
    kept: Kept
    buckets: Buckets
    roller: Roller
    known: Known
    directory: directory.Directory
    routes: set[str]
    refused: set[int]
    close: Callable[[], None]
    heads: dict[lines.Head, str] = field(default_factory=dict)

    def write_raw(self, points: list[bytes]) -> int:
        """Write points to the bucket of the rows; return how many were rejected."""
        return self.kept.write(self.writer, self.buckets.raw, points)

    def write_rollups(self, points: list[bytes]) -> None:
        """Write points to the bucket of the rollups."""
        if points:
            self.kept.write(self.writer, self.buckets.rollups, points)


def _entry(row: Row, name: tuple[int, int]) -> LogEntry:
    access = row.access
    return LogEntry(
        *name, row.identity, access.service, row.route, access.method, access.path, access.status, row.traffic,
        access.request_time_us, row.app_time_us, access.bytes_sent, access.trace_id, row.error_type, row.identified_us,
        access.upstream_time_us, access.span_id, access.user_agent,
    )  # fmt: skip


def _sizes(bucket_us: int) -> list[int]:
    return [size_us for size_us in SUM_SIZES if size_us <= bucket_us]


def _in_full(kind: Kind, rows: list[chunks.Row]) -> list[chunks.Row]:
    """Return rows in the form of `Kind.USAGE`, with -1 for what is blank."""
    if kind is Kind.USAGE_IDENTITY:
        return [(row[0], -1, "", *row[1:]) for row in rows]
    if kind is Kind.USAGE_ENDPOINT:
        return [(-1, row[0], "", *row[1:]) for row in rows]
    return rows


def _names(known: dict[Identity, tuple[int, int]], identities: Sequence[Identity]) -> list[Identity]:
    """Return identities with the ids and names of now, in the same order."""
    numbered = directory.numbered(known, identities)
    renamed = names_of_now(numbered)
    now = {named.identity: renamed[number] for number, named in numbered.items()}
    return [now[identity] for identity in identities]


def _aliases(known: Iterable[Identity], name: str, stable: str, value: str) -> tuple[set[str], set[str]]:
    """Return the ids of whoever has or had a name, and all names that these have had."""
    known = list(known)
    ids = {getattr(one, stable) for one in known if getattr(one, name) == value} - {""}
    return ids, {getattr(one, name) for one in known if getattr(one, stable) in ids} - {""}


def _matches(
    filters: Filters,
    known: Iterable[Identity],
    identities: Sequence[Identity],
    endpoints: Sequence[tuple[str, str]],
) -> Callable[[int, int, str, int], bool]:
    """Return what tells whether sums of an identity, endpoint, method and status are asked for."""
    who = set(range(-1, len(identities)))  # -1: blank
    for name, stable, value in (("user", "user_id", filters.user), ("device", "node_id", filters.device)):
        if value is not None:
            ids, called = _aliases(known, name, stable, value)
            who &= {
                place
                for place, one in enumerate(identities)
                if getattr(one, name) == value
                or getattr(one, stable) in ids
                or (not getattr(one, stable) and getattr(one, name) in called)
            }
    if filters.address is not None:
        who &= {place for place, one in enumerate(identities) if one.address == filters.address}
    where = {-1} | {
        place for place, (_, route) in enumerate(endpoints) if filters.endpoint is None or route == filters.endpoint
    }
    low, high = _statuses(filters.status)

    def is_asked(identity: int, endpoint: int, method: str, status: int) -> bool:
        return (
            identity in who
            and endpoint in where
            and (filters.method is None or method == filters.method)
            and low <= status <= high
        )

    return is_asked


def _sought(filters: Filters) -> Sought | None:
    """Return what can be told of a row by itself: most are left out before they are added up."""
    if filters.endpoint is None and filters.method is None and filters.status is None:
        return None
    return Sought(filters.endpoint, filters.method, *_statuses(filters.status))


def _statuses(status: str | None) -> tuple[int, int]:
    if status is None:
        return 0, 1_000_000
    return (int(status[0]) * 100, int(status[0]) * 100 + 99) if status.endswith("xx") else (int(status), int(status))

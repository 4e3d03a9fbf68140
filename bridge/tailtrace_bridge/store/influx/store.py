"""`Store` in InfluxDB. Any number of bridges write, each under its own source; any number of processes read.

| a batch | what happens |
|---|---|
| its identities | those that are new, or found out anew, go to the directory |
| a row whose (time, key) this source has stored (`known`) | a duplicate, and not written: what was first stays |
| a row older than the raw bucket keeps | counted as rejected: InfluxDB would drop it |
| a new row | its step is announced (`rollups`), then it is written: to `api_access`, then to a batch (`batches`) |
| the bucket lacks writes that it acknowledged (`progress`) | `StoreRestoredError`; the logs are read again |
| InfluxDB fails on the way | `StoreError`; the caller keeps the batch and gives it again |
| the next call after that | all lines of the batch that failed are written again first (`WriteLog`) |
| a row of such a batch | known by its key, and counted as stored |

A thread that starts with the first write rolls up what is due. `prune` has nothing to do: retention is the buckets'.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence

import xxhash

from tailtrace_bridge.core.columns import Columns, columns_of
from tailtrace_bridge.core.errors import StoreError, StoreRestoredError
from tailtrace_bridge.core.records import Failure, KeptTrace, Marker, RejectedLine, Row, Traffic
from tailtrace_bridge.store.anonymous import (
    AnonymousUsage,
    Callers,
    Order,
    anonymous_usage_of,
    callers_of,
    folded,
    is_listed,
)
from tailtrace_bridge.store.influx import (
    alerts,
    directory,
    failures,
    features,
    latency,
    log,
    markers,
    presence,
    rejected,
    traces,
    usage,
)
from tailtrace_bridge.store.influx.batch import BatchWriter
from tailtrace_bridge.store.influx.beside import Beside
from tailtrace_bridge.store.influx.config import InfluxConfig, InfluxCounters
from tailtrace_bridge.store.influx.erase import Eraser
from tailtrace_bridge.store.influx.filters import where
from tailtrace_bridge.store.influx.progress import Progress
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.rollups.reader import Buckets, RollupReader
from tailtrace_bridge.store.influx.rollups.writer import RollStoppedError
from tailtrace_bridge.store.influx.session import Session, open_session
from tailtrace_bridge.store.influx.wire.delete import Deleter
from tailtrace_bridge.store.influx.wire.query import InfluxQL
from tailtrace_bridge.store.influx.wire.setup import ROLLUPS_SUFFIX
from tailtrace_bridge.store.influx.wire.write import Timing, WriteCounters, WriteLog
from tailtrace_bridge.store.names import Named
from tailtrace_bridge.store.person import Erased, Person
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.tally import Tally
from tailtrace_bridge.store.values import (
    DAY_US,
    Activity,
    AlertEvent,
    BucketLatency,
    BucketUsage,
    By,
    EndpointBucket,
    ErrorGroup,
    Filters,
    Latency,
    LogEntry,
    Quarter,
    Recent,
    UptimeHour,
    Usage,
    Visits,
    Window,
    Written,
)

ROLL_EVERY_S = 5.0
LOAD_EVERY = 120
"""Rounds of the thread between two looks at what other processes of this source have announced."""
_LOGGER = logging.getLogger(__name__)


class InfluxStore:
    """Keeps rows in one InfluxDB. Nothing is sent before the first call of a verb."""

    def __init__(self, config: InfluxConfig, timing: Timing, *, is_rolling: bool = True) -> None:
        self.counters = InfluxCounters()
        self.write_counters = {"rows": WriteCounters(), "rollups": WriteCounters()}
        """Of each of the two writers: by thread, so that neither loses a count of the other's."""
        self._config, self._timing = config, timing
        influx, buckets = InfluxQL(config.server), Buckets(config.bucket, config.bucket + ROLLUPS_SUFFIX)
        reader = directory.DirectoryReader(influx, buckets.rollups, timing.monotonic_us)
        self._reads = Reads(influx, buckets, RollupReader(influx, buckets), reader)
        self._delete = Deleter(influx, config.server.url, config.server.org)
        self._batches = BatchWriter(config, timing.wall_us, self.counters)
        self._beside = Beside(config, self._reads, self._delete, timing)
        self._traces = traces.KeptTraces(self._beside)
        self._lock = threading.Lock()
        self._is_rolling = is_rolling
        self._to_remember = ""
        """An importer remembers nothing, and its writes are not counted: it would be taken for the bridge."""
        self._progress: Progress | None = None
        self._session: Session | None = None
        self._write_log = WriteLog()
        """All lines of a batch that failed on the way, and of the one that is being written."""
        self._stop = threading.Event()
        self._stop_rolling = threading.Event()
        """Also in the middle of it."""
        self._thread: threading.Thread | None = None

    @property
    def store_id(self) -> str:
        """Name the bucket and where it is: nothing is asked of the server, so that one that was emptied is the same."""
        server = self._config.server
        return xxhash.xxh3_64_hexdigest(f"{server.url}\n{server.org}\n{self._config.bucket}".encode())

    def write(self, rows: Sequence[Row], rejected_lines: Sequence[RejectedLine] = ()) -> Written:
        """Keep rows and rejected lines."""
        return self.write_columns(columns_of(rows), rejected_lines)

    def settle_rejected(self, file: str, places: Sequence[int]) -> int:  # noqa: ARG002
        """Keep them: a delete for each would cost more than it is worth, and their retention ends them."""
        return 0

    def write_columns(
        self,
        columns: Columns,
        rejected_lines: Sequence[RejectedLine] = (),
        counted: Tally | None = None,  # noqa: ARG002 - its rollups are of other steps
    ) -> Written:
        """Keep rows, given as columns, and rejected lines."""
        with self._lock:
            session = self._open()
            now = Progress(session.progress.writes + 1, self._to_remember)
            try:
                written = self._batches.write(session, columns)
                session.write_rollups(
                    rejected.points_of(
                        rejected_lines, session.rejected, self._config.source, self._timing.wall_us(), self.counters
                    )
                )
                if self._to_remember:
                    session.write_raw([now.point(self._config.source, self._timing.wall_us())])
                    session.progress = self._progress = now
            except StoreError:
                self._session = None  # what it believes to have written, it may not have
                session.close()
                raise
            self._write_log.calls.clear()
        return written

    def prune(self, before_us: int) -> int:  # noqa: ARG002
        """Do nothing: InfluxDB lets go of what is older than the bucket's retention."""
        return 0

    @property
    def writes(self) -> int:
        """How many writes of this source there were since it was to remember anything. Raises `StoreError`."""
        return self._read_progress().writes

    def remember(self, text: str) -> None:
        """Keep a text with each write from the next one on."""
        self._to_remember = text

    def remembered(self) -> str:
        """Return the text that was kept last, or nothing. Raises `StoreError`."""
        return self._read_progress().text

    def about(self) -> str:
        """Return what the server is and can; raise `StoreError` where it is none for us."""
        influx = self._reads.influx
        influx.query(self._config.bucket, "SHOW MEASUREMENTS LIMIT 1")
        kind = influx.kind
        makes = "buckets and mappings" if kind.has_buckets else "databases"
        return f"{kind}: makes {makes}, writes by {kind.write_path}, erases by {kind.erases or 'nothing'}"

    def begin_erase(self, person: Person) -> None:
        """Do nothing: what a crash left undone, the same command does."""

    def unfinished_erase(self) -> Person | None:
        """Return None: InfluxDB lets go of the bytes itself, when it compacts its files."""
        return None

    def erase(self, person: Person, *, is_dry: bool) -> Erased:
        """Forget a person, of all sources."""
        with self._lock:
            if not is_dry:
                self._delete.require()
            session = self._open()
            eraser = Eraser(
                self._reads.influx, self._delete, self._reads.buckets, self._config.spans_bucket,
                session.write_rollups, session.write_raw, self._timing.wall_us,
            )  # fmt: skip
            filters = Filters(user=person.user, device=person.device)
            theirs = (' AND "ip" = $ip', {"ip": person.address}) if person.address else where(self._reads, filters)
            try:
                erased = eraser.erase(person, theirs, is_dry=is_dry)
            finally:
                self._write_log.calls.clear()  # one that failed is begun again, not gone on with
            if not is_dry:
                self._reads.forget()
                self._session = None  # what it knows of names and rollups is of before
                session.close()
            return erased

    def log(
        self, scope: Scope, window: Window, filters: Filters, limit: int, before: tuple[int, int] | None
    ) -> list[LogEntry]:
        """Return a page of the log, newest first."""
        return log.page(self._reads, window, scope.narrowed(filters), limit, before)

    def rows(self, scope: Scope, window: Window, after: tuple[int, int] | None, limit: int) -> list[Row]:
        """Return a page of whole rows, oldest first."""
        scope.require_everybody("rows")
        return log.rows(self._reads, window, after, limit)

    def endpoints(self, scope: Scope) -> list[str]:
        """Return all endpoints that the bucket of the rows has."""
        scope.require_everybody("endpoints")
        with self._lock:
            return sorted(self._open().routes)

    def named(self, scope: Scope) -> list[Named]:
        """Return everybody with a name, oldest first."""
        scope.require_everybody("named")
        return self._reads.people().in_order()

    def rejected_lines(self, scope: Scope, after: tuple[str, int] | None, limit: int) -> list[RejectedLine]:
        """Return a page of the kept rejected lines."""
        scope.require_everybody("rejected_lines")
        return rejected.page(self._reads, after, limit)

    def usage(
        self,
        scope: Scope,
        window: Window,
        filters: Filters,
        by: By = By.ALL,
        *,
        listed: Collection[str] | None = None,
        with_rest: bool = True,
        requests_only: bool = False,  # noqa: ARG002  # all totals stand in one rollup
    ) -> list[Usage]:
        """Return totals by identity, endpoint, method, status and traffic, or by less of these."""
        found = usage.usage(self._reads, window, scope.narrowed(filters), by)
        if by is By.ENDPOINT:
            return found
        return folded(found, listed) if with_rest else [one for one in found if is_listed(one.identity, listed)]

    def visits(
        self,
        scope: Scope,
        window: Window,
        *,
        listed: Collection[str] | None = None,
        traffic: Traffic | None = None,
    ) -> list[Visits]:
        """Return usage by identity, endpoint and traffic."""
        found = [one for one in usage.visits(self._reads, window) if traffic in {None, one.traffic}]
        return [one for one in found if scope.has(one.identity) and is_listed(one.identity, listed)]

    def bucket_usage(
        self, scope: Scope, window: Window, bucket_us: int, service: str | None = None
    ) -> list[BucketUsage]:
        """Return totals by bucket of time."""
        scope.require_everybody("bucket_usage")
        return usage.buckets(self._reads, window, bucket_us, service)

    def has_any(self, scope: Scope, window: Window) -> bool:
        """Return whether anything was asked for in a window."""
        scope.require_everybody("has_any")
        return bool(usage.buckets(self._reads, window, DAY_US))

    def endpoint_buckets(
        self, scope: Scope, window: Window, bucket_us: int, filters: Filters, by: By = By.ENDPOINT
    ) -> list[EndpointBucket]:
        """Return totals by bucket of time, endpoint and traffic."""
        return usage.endpoint_buckets(self._reads, window, bucket_us, scope.narrowed(filters), by)

    def latency(self, scope: Scope, window: Window) -> list[Latency]:
        """Return histograms by endpoint and side."""
        scope.require_everybody("latency")
        return latency.latency(self._reads, window)

    def bucket_latency(
        self, scope: Scope, window: Window, bucket_us: int, service: str | None = None
    ) -> list[BucketLatency]:
        """Return histograms by bucket of time."""
        scope.require_everybody("bucket_latency")
        return latency.bucket_latency(self._reads, window, bucket_us, service)

    def activity(self, scope: Scope, window: Window, *, listed: Collection[str] | None = None) -> list[Activity]:
        """Return usage in runs."""
        found = presence.activity(self._reads, window)
        return [one for one in found if scope.has(one.identity) and is_listed(one.identity, listed)]

    def anonymous_usage(self, scope: Scope, window: Window, order: Order, limit: int) -> AnonymousUsage:
        """Return all anonymous visitors by their usage, and who of them come first."""
        return (
            AnonymousUsage()
            if scope.login is not None
            else anonymous_usage_of(self.activity(scope, window), order, limit)
        )

    def callers(self, scope: Scope, window: Window, filters: Filters, limit: int, *, usage_only: bool) -> Callers:
        """Return how many addresses asked, and the anonymous visitors among them."""
        return callers_of(self.usage(scope, window, filters, By.IDENTITY), limit, usage_only=usage_only)

    def quarters(self, scope: Scope, window: Window) -> list[Quarter]:
        """Return usage by quarter of an hour."""
        scope.require_everybody("quarters")
        return presence.quarters(self._reads, window)

    def uptime(self, scope: Scope, window: Window) -> list[UptimeHour]:
        """Return the minutes with answers by hour and service; a minute that the window cuts counts whole."""
        scope.require_everybody("uptime")
        return presence.uptime(self._reads, window)

    def newest_us(self, scope: Scope) -> int | None:
        """Return the time of the newest row."""
        scope.require_everybody("newest_us")
        return presence.newest_us(self._reads)

    def recent(
        self,
        scope: Scope,
        window: Window,
        *,
        endpoint: str | None = None,
        service: str | None = None,
        rank: float | None = None,
    ) -> Recent:
        """Return totals of the minutes that a window touches."""
        scope.require_everybody("recent")
        return alerts.recent(self._reads, window, endpoint, service, rank)

    def add_alert_events(self, events: Sequence[AlertEvent]) -> None:
        """Keep events, the newest of them, for as long as the rollups are kept."""
        with self._lock:
            self._open().write_rollups(alerts.event_points(events))
        try:
            alerts.delete_old_events(self._reads, self._delete)
        except StoreError as error:  # they are not shown anyway
            _LOGGER.debug("old alert events stay: %s", error)

    def alert_events(self, scope: Scope, limit: int) -> list[AlertEvent]:
        """Return the newest events first."""
        events = alerts.newest_events(self._reads, limit)
        return [one for one in events if scope.login is None or not one.subject]

    def keep_traces(self, kept: Sequence[KeptTrace], bytes_max: int) -> int:
        """Keep traces; those of each source have `bytes_max` at the most."""
        return self._traces.keep(kept, bytes_max)

    def drop_traces(self, is_chosen: Callable[[bytes], bool], *, is_dry: bool) -> int:
        """Remove chosen traces, of all sources."""
        chosen = traces.choose(self._reads, is_chosen)
        if chosen and not is_dry:
            traces.drop(self._reads, self._delete, chosen)
        return len(chosen)

    def traces(self, scope: Scope, trace_id: str, window: Window | None = None) -> list[tuple[LogEntry, KeptTrace]]:
        """Return the kept requests of a trace."""
        return traces.find(self._reads, scope.narrowed(Filters(trace_id=trace_id)), trace_id, window)

    def add_failures(self, found: Sequence[Failure]) -> int:
        """Keep failures, each in its group."""
        return failures.add(self._beside, found)

    def error_groups(self, scope: Scope, window: Window) -> list[ErrorGroup]:
        """Return the groups with failures in a window, those last seen first."""
        return failures.groups(self._reads, scope, window)

    def failures_of(self, scope: Scope, requests: Sequence[tuple[int, int]]) -> list[Failure]:
        """Return the failures of requests, each given by time and key."""
        scope.require_everybody("failures_of")
        return failures.of_requests(self._reads, requests)

    def resolve_error(self, fingerprint: str, now_us: int) -> bool:
        """Note that a group is mended."""
        return failures.resolve(self._beside, fingerprint, now_us)

    def add_markers(self, found: Sequence[Marker]) -> None:
        """Keep markers, the newest of them, for as long as the rollups are kept."""
        markers.add(self._beside, found)

    def markers(self, scope: Scope, window: Window) -> list[Marker]:  # noqa: ARG002 - they are about nobody
        """Return the markers of a window, the oldest first."""
        return markers.within(self._reads, window)

    def drop_markers(self, found: Sequence[Marker]) -> None:
        """Remove markers."""
        markers.drop(self._beside, found)

    def keep_features(self, names: Mapping[str, str]) -> None:
        """Keep what features are called, by route."""
        features.keep(self._beside, names, self._timing.wall_us())

    def features(self, scope: Scope) -> dict[str, str]:  # noqa: ARG002 - they are about nobody
        """Return what features are called, by route."""
        return features.kept(self._reads)

    def rejected_by_reason(self) -> dict[str, int]:
        """Count the kept rejected lines by reason."""
        return rejected.by_reason(self._reads)

    def settle(self) -> None:
        """Roll up all that can be, now; for an importer that is done."""
        with self._lock:
            session = self._open()
            session.write_rollups(session.roller.settle())
        while not self._stop_rolling.is_set() and session.roller.roll_day():
            pass

    def close(self, *, soon: bool = False) -> None:
        """Roll up what was written, and close the connections. What cannot be rolled up now is read from its rows.

        `soon`: nothing more is rolled up, as an hour of a busy machine takes longer than a server has to end. Whoever
        follows it does that.
        """
        self._stop.set()
        if soon:
            self._stop_rolling.set()
        if self._thread is not None:
            self._thread.join()
        if self._session is not None:
            try:
                self.settle()
            except StoreError as error:
                _LOGGER.warning("%s; the rollups are made at the next start", error)
            self._session.close()
            self._session = None
        self._reads.influx.close()

    # How it is done.

    def _open(self) -> Session:
        if self._session is None:
            had = self._progress or Progress()
            try:
                self._session = open_session(
                    self._config,
                    self._timing,
                    self._reads,
                    self._write_log,
                    self.write_counters,
                    had.writes,
                    self._stop_rolling,
                )
            except StoreRestoredError:  # what was not written yet is read again, too
                self._progress = None
                self._write_log.calls.clear()
                self._reads.forget()
                raise
            self._progress = self._session.progress
            if self._is_rolling and self._thread is None:
                self._thread = threading.Thread(target=self._roll, name="influx-rollups", daemon=True)
                self._thread.start()
        return self._session

    def _read_progress(self) -> Progress:
        if self._progress is None:
            with self._lock:
                self._progress = self._open().progress
        return self._progress

    def _roll(self) -> None:
        """Roll up what is due, until the store is closed."""
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
            except RollStoppedError:
                return
            except StoreError as error:
                self.counters.roll_failures += 1
                _LOGGER.warning("%s; rollups wait, answers are made of the rows", error)

"""The default store: one SQLite file in WAL mode, one writer, any number of readers.

| a batch | what happens |
|---|---|
| all rows are new (the usual case) | one `executemany`, rollups of all, one commit |
| no row is new (a replay) | the same `executemany`, which changes nothing |
| some rows are new | undone to the savepoint, then row by row: only new rows are rolled up |
| rows are older than one that was pruned | rejected: whether they are in the rollups already cannot be told any more |
| the disk is full, the file is locked or broken | rolled back whole, `StoreError`; the caller keeps its batch |
| the file cannot be written, and was opened for reading (`read_only`) | `StoreError` |

The file and its errors stand in `database`, its tables in `schema`, the way of a batch in `batch`; reads in `log`,
`usage`, `latency` and `presence`, which `windows` plans. Whose rows a caller may see is decided here, for every verb.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tailtrace_bridge.core.columns import Columns, columns_of
from tailtrace_bridge.core.records import Failure, KeptTrace, Marker, RejectedLine, Row, Traffic
from tailtrace_bridge.store.anonymous import AnonymousUsage, Callers, Order
from tailtrace_bridge.store.names import Named
from tailtrace_bridge.store.person import Erased, Person
from tailtrace_bridge.store.rollups import SUMS
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite import (
    alert_events,
    batch,
    erase,
    failures,
    latency,
    log,
    presence,
    rejected,
    traces,
    usage,
)
from tailtrace_bridge.store.sqlite.anonymous import read_anonymous
from tailtrace_bridge.store.sqlite.brief import brief_rows
from tailtrace_bridge.store.sqlite.connections import Connections
from tailtrace_bridge.store.sqlite.distinct import DISTINCT_MAX, Distinct
from tailtrace_bridge.store.sqlite.identities import named
from tailtrace_bridge.store.sqlite.ids import Ids
from tailtrace_bridge.store.sqlite.minutes import Minutes, recent
from tailtrace_bridge.store.sqlite.prune import forget_requests, prune_some
from tailtrace_bridge.store.sqlite.read_only import is_writable
from tailtrace_bridge.store.sqlite.reads import newest_us, widened
from tailtrace_bridge.store.sqlite.transaction import transaction
from tailtrace_bridge.store.sqlite.upserts import add_rollups
from tailtrace_bridge.store.tally import Tally, rolled_up, tally
from tailtrace_bridge.store.values import (
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

WRITER_CACHE_KIB = 8000
"""The rollups are updated all over their tables; an import with 2 MB took 3% longer."""
_NAMED = "UPDATE identity SET named_us = ?1 WHERE id = ?2 AND named_us < ?1"
_META = "SELECT value FROM meta WHERE name = ?"
_COUNT_WRITE = "INSERT INTO meta VALUES ('writes', 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value"


class SqliteStore:
    """`Store` in a SQLite file. Safe to share between threads: a read borrows a connection that no other has.

    `clock` gives microseconds since the epoch, to tell which rows are of the last minutes; without it no row is. With
    `reading`, a file that cannot be written is opened all the same, and writing to it raises `StoreError`.
    """

    def __init__(
        self,
        path: Path | str,
        clock: Callable[[], int] | None = None,
        *,
        reading: bool = False,
        distinct_max: int = DISTINCT_MAX,
    ) -> None:
        distinct = Distinct(distinct_max)
        self.counters = distinct.counters
        self._connections = Connections(str(path), is_read_only=reading and not is_writable(str(path)))
        self._clock = clock
        self._minutes = Minutes()
        self._write_lock = threading.Lock()
        self._version = 0
        """SQLite's count of what other connections changed."""
        with self._connections.translated():
            self._writer = self._connections.open(WRITER_CACHE_KIB)
            self._store_id: str = self._writer.execute(_META, ("id",)).fetchone()[0]
            self._writes: int = (self._writer.execute(_META, ("writes",)).fetchone() or (0,))[0]
        self._ids = Ids(self._writer, distinct)
        self._to_remember = ""

    @property
    def store_id(self) -> str:
        """Return what tells this file's rows from those of any other, also of one that takes its place."""
        return self._store_id

    @property
    def writes(self) -> int:
        """How many writes the file has had, as of our last one."""
        return self._writes

    def remember(self, text: str) -> None:
        """Keep a text with the next write."""
        self._to_remember = text

    def remembered(self) -> str:
        """Return the text that was kept last."""
        with self._writing() as writer:
            return str((writer.execute(_META, ("remembered",)).fetchone() or ("",))[0])

    def write(self, rows: Sequence[Row], rejected_lines: Sequence[RejectedLine] = ()) -> Written:
        """Keep rows and rejected lines in one transaction."""
        return self.write_columns(columns_of(rows), rejected_lines)

    def write_columns(
        self, columns: Columns, rejected_lines: Sequence[RejectedLine] = (), counted: Tally | None = None
    ) -> Written:
        """Keep rows, given as columns, and rejected lines in one transaction."""
        with self._writing() as writer:
            try:
                with transaction(writer):
                    kept, fresh, writes = self._write(writer, columns, rejected_lines, counted)
            except BaseException:
                self._ids.forget()  # those given in this transaction are gone with it
                raise
            self._writes, self._to_remember = writes, ""
        return Written(fresh, kept - fresh, len(columns.key) - kept)

    def settle_rejected(self, file: str, places: Sequence[int]) -> int:
        """Remove the rejected lines of a log whose line was stored since."""
        with self._writing() as writer:
            return rejected.settle(writer, file, places)

    def prune(self, before_us: int) -> int:
        """Remove old rows, a bounded number in each transaction, which also keeps how far it came."""
        removed = 0
        with self._writing() as writer:
            while batch := prune_some(writer, before_us):
                removed += batch
            if removed:
                forget_requests(writer)
                self._ids.forget()
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    def begin_erase(self, person: Person) -> None:
        """Note that a person is to be forgotten."""
        with self._writing() as writer:
            erase.begin(writer, person)

    def unfinished_erase(self) -> Person | None:
        """Return whom an erase of before was to forget."""
        with self._writing() as writer:
            return erase.unfinished(writer)

    def erase(self, person: Person, *, is_dry: bool) -> Erased:
        """Forget a person."""
        with self._writing() as writer:
            self._ids.forget()
            return erase.erase(writer, self._connections.path, person, is_dry=is_dry)

    def log(
        self, scope: Scope, window: Window, filters: Filters, limit: int, before: tuple[int, int] | None
    ) -> list[LogEntry]:
        """Return a page of the log, newest first."""
        with self._connections.lent() as connection:
            return log.page(connection, window, scope.narrowed(filters), limit, before)

    def rows(self, scope: Scope, window: Window, after: tuple[int, int] | None, limit: int) -> list[Row]:
        """Return a page of whole rows, oldest first."""
        scope.require_everybody("rows")
        with self._connections.lent() as connection:
            return log.rows(connection, window, after, limit)

    def endpoints(self, scope: Scope) -> list[str]:
        """Return all endpoints."""
        scope.require_everybody("endpoints")
        return [route for (route,) in self._connections.read("SELECT DISTINCT route FROM endpoint", ())]

    def named(self, scope: Scope) -> list[Named]:
        """Return everybody with a name, oldest first."""
        scope.require_everybody("named")
        with self._connections.lent() as connection:
            return named(connection)

    def rejected_lines(self, scope: Scope, after: tuple[str, int] | None, limit: int) -> list[RejectedLine]:
        """Return a page of the kept rejected lines."""
        scope.require_everybody("rejected_lines")
        with self._connections.lent() as connection:
            return rejected.page(connection, after, limit)

    def usage(
        self,
        scope: Scope,
        window: Window,
        filters: Filters,
        by: By = By.ALL,
        *,
        listed: Collection[str] | None = None,
        with_rest: bool = True,
        requests_only: bool = False,
    ) -> list[Usage]:
        """Return totals by identity, endpoint, method, status and traffic, or by less of these."""
        sums = ("requests",) if requests_only else tuple(SUMS)
        with self._connections.reading() as connection:
            return usage.usage(connection, window, scope.narrowed(filters), by, listed, with_rest=with_rest, sums=sums)

    def visits(
        self,
        scope: Scope,
        window: Window,
        *,
        listed: Collection[str] | None = None,
        traffic: Traffic | None = None,
    ) -> list[Visits]:
        """Return usage by identity, endpoint and traffic."""
        with self._connections.reading() as connection:
            if traffic is None:
                found = usage.visits(connection, window, listed)
            else:
                found = usage.visits_of(connection, window, traffic, listed)
        return [one for one in found if scope.has(one.identity)]

    def bucket_usage(
        self, scope: Scope, window: Window, bucket_us: int, service: str | None = None
    ) -> list[BucketUsage]:
        """Return totals by bucket of time."""
        scope.require_everybody("bucket_usage")
        with self._connections.reading() as connection:
            return usage.buckets(connection, window, bucket_us, service)

    def has_any(self, scope: Scope, window: Window) -> bool:
        """Return whether anything was asked for in a window."""
        scope.require_everybody("has_any")
        with self._connections.reading() as connection:
            return usage.has_any(connection, window)

    def endpoint_buckets(
        self, scope: Scope, window: Window, bucket_us: int, filters: Filters, by: By = By.ENDPOINT
    ) -> list[EndpointBucket]:
        """Return totals by bucket of time, endpoint and traffic."""
        with self._connections.reading() as connection:
            return usage.endpoint_buckets(connection, window, bucket_us, scope.narrowed(filters), by)

    def latency(self, scope: Scope, window: Window) -> list[Latency]:
        """Return histograms by endpoint and side."""
        scope.require_everybody("latency")
        with self._connections.reading() as connection:
            return latency.latency(connection, window)

    def bucket_latency(
        self, scope: Scope, window: Window, bucket_us: int, service: str | None = None
    ) -> list[BucketLatency]:
        """Return nginx's histograms by bucket of time."""
        scope.require_everybody("bucket_latency")
        with self._connections.reading() as connection:
            return latency.bucket_latency(connection, window, bucket_us, service)

    def activity(self, scope: Scope, window: Window, *, listed: Collection[str] | None = None) -> list[Activity]:
        """Return usage in runs."""
        with self._connections.reading() as connection:
            found = presence.activity(connection, window, listed)
        return [one for one in found if scope.has(one.identity)]

    def anonymous_usage(self, scope: Scope, window: Window, order: Order, limit: int) -> AnonymousUsage:
        """Return all anonymous visitors by their usage, and who of them come first."""
        if scope.login is not None:
            return AnonymousUsage()
        with self._connections.reading() as connection:
            return read_anonymous(connection, widened(connection, window), order, limit)

    def callers(self, scope: Scope, window: Window, filters: Filters, limit: int, *, usage_only: bool) -> Callers:
        """Return how many addresses asked, and the anonymous visitors among them."""
        with self._connections.reading() as connection:
            return usage.callers(connection, window, scope.narrowed(filters), limit, usage_only=usage_only)

    def quarters(self, scope: Scope, window: Window) -> list[Quarter]:
        """Return usage by quarter of an hour."""
        scope.require_everybody("quarters")
        with self._connections.reading() as connection:
            return presence.quarters(connection, window)

    def uptime(self, scope: Scope, window: Window) -> list[UptimeHour]:
        """Return the minutes with answers by hour and service; a minute that the window cuts counts whole."""
        scope.require_everybody("uptime")
        with self._connections.lent() as connection:
            return presence.uptime(connection, window)

    def newest_us(self, scope: Scope) -> int | None:
        """Return the time of the newest row."""
        scope.require_everybody("newest_us")
        with self._connections.lent() as connection:
            return newest_us(connection)

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
        with self._connections.reading() as connection:
            return recent(connection, window, endpoint, service, rank)

    def add_alert_events(self, events: Sequence[AlertEvent]) -> None:
        """Keep events."""
        with self._writing() as writer:
            alert_events.add(writer, events)

    def alert_events(self, scope: Scope, limit: int) -> list[AlertEvent]:
        """Return the newest events first."""
        with self._connections.lent() as connection:
            events = alert_events.newest(connection, limit)
        return [one for one in events if scope.login is None or not one.subject]

    def keep_traces(self, kept: Sequence[KeptTrace], bytes_max: int) -> int:
        """Keep traces."""
        with self._writing() as writer:
            return traces.keep(writer, kept, bytes_max)

    def drop_traces(self, is_chosen: Callable[[bytes], bool], *, is_dry: bool) -> int:
        """Remove chosen traces. Looking at them takes seconds: no writer waits for that."""
        with self._connections.lent() as connection:
            chosen = traces.choose(connection, is_chosen)
        if chosen and not is_dry:
            with self._writing() as writer:
                traces.drop(writer, chosen)
        return len(chosen)

    def traces(self, scope: Scope, trace_id: str, window: Window | None = None) -> list[tuple[LogEntry, KeptTrace]]:
        """Return the kept requests of a trace."""
        filters = scope.narrowed(Filters(trace_id=trace_id))
        with self._connections.lent() as connection:
            return traces.find(connection, filters, bytes.fromhex(trace_id), window)

    def add_failures(self, found: Sequence[Failure]) -> int:
        """Keep failures, each in its group."""
        with self._writing() as writer:
            return failures.add(writer, found)

    def error_groups(self, scope: Scope, window: Window) -> list[ErrorGroup]:
        """Return the groups with failures in a window, those last seen first."""
        with self._connections.reading() as connection:
            return failures.groups(connection, scope, window)

    def failures_of(self, scope: Scope, requests: Sequence[tuple[int, int]]) -> list[Failure]:
        """Return the failures of requests, each given by time and key."""
        scope.require_everybody("failures_of")
        with self._connections.lent() as connection:
            return failures.of_requests(connection, requests)

    def resolve_error(self, fingerprint: str, now_us: int) -> bool:
        """Note that a group is mended."""
        with self._writing() as writer:
            return failures.resolve(writer, fingerprint, now_us)

    def add_markers(self, found: Sequence[Marker]) -> None:
        """Keep markers."""
        with self._writing() as writer:
            failures.add_markers(writer, found)

    def markers(self, scope: Scope, window: Window) -> list[Marker]:
        """Return the markers of a window, the oldest first; they are about nobody."""
        del scope
        with self._connections.lent() as connection:
            return failures.markers(connection, window)

    def drop_markers(self, found: Sequence[Marker]) -> None:
        """Remove markers."""
        with self._writing() as writer:
            failures.drop_markers(writer, found)

    def keep_features(self, names: Mapping[str, str]) -> None:
        """Keep what features are called, by route, in place of what was kept before."""
        with self._writing() as writer, transaction(writer):
            writer.execute("INSERT OR REPLACE INTO meta VALUES ('features', ?)", (json.dumps(dict(names)),))

    def features(self, scope: Scope) -> dict[str, str]:
        """Return what features are called, by route; they are about nobody."""
        del scope
        with self._connections.lent() as connection:
            kept: dict[str, str] = json.loads((connection.execute(_META, ("features",)).fetchone() or ("{}",))[0])
        return kept

    def rejected_by_reason(self) -> dict[str, int]:
        """Count the kept rejected lines by reason."""
        with self._connections.lent() as connection:
            return rejected.by_reason(connection)

    def close(self, *, soon: bool = False) -> None:  # noqa: ARG002 - there is nothing to wait for
        """Close every connection."""
        self._connections.close()

    # How it is done.

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock, self._connections.translated():
            yield self._writer

    def _write(
        self,
        writer: sqlite3.Connection,
        columns: Columns,
        rejected_lines: Sequence[RejectedLine],
        counted: Tally | None,
    ) -> tuple[int, int, int]:
        """Return how many rows are not older than what was pruned, how many of these are new, and the writes so far."""
        # Another process may have erased a person, and with them the ids that we remember.
        version = writer.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._ids.forget()
            self._version = version
        (last_known,) = writer.execute("SELECT ifnull(max(id), 0) FROM identity").fetchone()
        identity_ids = self._ids.of("identity", columns.identities)
        found = zip(columns.identified_us, identity_ids, columns.identities, strict=True)
        writer.executemany(_NAMED, [(when, number) for when, number, who in found if who.user or who.device])
        kept = batch.not_pruned(writer, columns)
        fresh = batch.insert(writer, kept, self._ids, identity_ids)
        if counted is None or len(fresh.key) < len(columns.key):
            counted = tally(fresh)
        endpoint_ids = self._ids.of("endpoint", columns.endpoints)
        services = (service for service, _ in columns.endpoints)
        rollups = rolled_up(counted, identity_ids, endpoint_ids)
        brief = brief_rows(fresh, identity_ids, endpoint_ids, last_known)
        add_rollups(writer, rollups, dict(zip(endpoint_ids, services, strict=True)), brief)
        if self._clock is not None:
            self._minutes.add(writer, fresh, endpoint_ids, self._clock())
        rejected.add(writer, rejected_lines)
        (writes,) = writer.execute(_COUNT_WRITE).fetchone()
        if self._to_remember:
            writer.execute("INSERT OR REPLACE INTO meta VALUES ('remembered', ?)", (self._to_remember,))
        return len(kept.key), len(fresh.key), writes

"""The default store: one SQLite file in WAL mode, one writer, any number of readers.

| a batch | what happens |
|---|---|
| all rows are new (the usual case) | one `executemany`, sums of all, one commit |
| no row is new (a replay) | the same `executemany`, which changes nothing |
| some rows are new | undone to the savepoint, then row by row: only new rows are summed |
| rows are older than one that was pruned | refused: whether they are in the sums already cannot be told any more |
| the disk is full, the file is locked or broken | rolled back whole, `StoreError`; the caller keeps its batch |
| the file cannot be written, and was opened for reading (`read_only`) | `StoreError` |

The file and its errors stand in `database`, its tables in `schema`, what they sum up in `totals`, how the reads of a
window are put together in `windows`.
"""

import json
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from operator import itemgetter
from pathlib import Path
from typing import Any

from tailtrace_bridge.core.columns import Columns, columns_of
from tailtrace_bridge.core.records import Access, Identity, RejectedLine, Row, Traffic
from tailtrace_bridge.store.names import Named, names_of_now
from tailtrace_bridge.store.packed import (
    Durations,
    Numbers,
    Times,
    add_counts,
    extend_runs,
    merged_counts,
    merged_runs,
    unpack_runs,
)
from tailtrace_bridge.store.person import Erased, Person
from tailtrace_bridge.store.rollups import APP, PROXY, Rollups, Stored
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite import alert_events, erase, windows
from tailtrace_bridge.store.sqlite.database import connect, translated
from tailtrace_bridge.store.sqlite.distinct import DISTINCT_MAX, Distinct, Texts
from tailtrace_bridge.store.sqlite.minutes import Minutes, recent
from tailtrace_bridge.store.sqlite.read_only import connect_read_only, is_writable, unchanged
from tailtrace_bridge.store.sqlite.totals import (
    USAGE,
    number_of,
    step_of,
    visit_of,
)
from tailtrace_bridge.store.sqlite.upserts import add_rollups
from tailtrace_bridge.store.values import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    QUARTER_US,
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

CACHED_IDS_MAX = 50_000
REJECTED_MAX = 100_000
PRUNE_ROWS_MAX = 20_000
"""Rows removed in one transaction: a reader never waits for more."""
WRITER_CACHE_KIB = 8000
"""The sums are updated all over their tables; an import with 2 MB took 3% longer."""
READER_CACHE_KIB = 2000
"""Of each reader: a long read passes over its pages once."""
_SIDES = {PROXY: "proxy", APP: "app"}
_IDENTITY_COLUMNS = "address, kind, user, device, node_id, tags, provider, user_id, via, reason, expired"
"""In the order of `Identity`."""
_IDENTITY = ", ".join(f"i.{name}" for name in _IDENTITY_COLUMNS.split(", "))

_WIDTH = 17
"""Columns of `access`."""
_NULLABLE = {
    9: "request_time_us", 10: "upstream_time_us", 11: "app_time_us", 13: "trace_id", 14: "span_id", 15: "error_type",
}  # fmt: skip
"""Columns of `access` that may be NULL, by their place: each stands under its name in `Columns`."""
_NUMBERED = {"identity": _IDENTITY_COLUMNS, "endpoint": "service, route", "agent": "text"}
"""Tables whose rows are known by a number, and the columns that tell them apart."""
_NAMED = "UPDATE identity SET named_us = ?1 WHERE id = ?2 AND named_us < ?1"
_BY_NAME = """
    AND identity_id IN (
        SELECT id FROM identity WHERE {name} = ?
        OR {id} IN (SELECT {id} FROM identity WHERE {name} = ? AND {id} <> '')
        OR {id} = '' AND {name} IN (
            SELECT {name} FROM identity WHERE {name} <> ''
            AND {id} IN (SELECT {id} FROM identity WHERE {name} = ? AND {id} <> '')
        )
    )
"""
"""Any name that whoever has or had this one has had."""
_META = "SELECT value FROM meta WHERE name = ?"
_COUNT_WRITE = "INSERT INTO meta VALUES ('writes', 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value"
_PRUNE_UP_TO = "SELECT max(time_us) FROM (SELECT time_us FROM access WHERE time_us < ? ORDER BY time_us LIMIT ?)"
_NEWEST = "SELECT max(time_us) FROM access"
_QUARTERS = "SELECT step, usage_0, usage_15, usage_30, usage_45 FROM hour WHERE step >= ? AND step < ?"
_COUNT_USAGE = f"""
    SELECT count(*) FROM access WHERE time_us >= ? AND time_us < ? AND traffic IN {USAGE}
"""  # noqa: S608  # our own numbers
_USAGE_TABLE = {By.ALL: "usage", By.IDENTITY: "usage_identity", By.ENDPOINT: "usage_endpoint"}
_COLUMNS_BY = {
    By.ALL: ("identity_id", "endpoint_id", "method", "status", "traffic"),
    By.IDENTITY: ("identity_id", "status", "traffic"),
    By.ENDPOINT: ("endpoint_id", "status", "traffic"),
}
_NOBODY = Identity("")
_TIME = itemgetter(0)


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
        self._path = str(path)
        self._distinct = Distinct(distinct_max)
        self.counters = self._distinct.counters
        self._is_read_only = reading and not is_writable(self._path)
        self._clock = clock
        self._minutes = Minutes()
        self._is_closed = False
        self._idle_readers: deque[sqlite3.Connection] = deque()
        self._open_connections: list[sqlite3.Connection] = []
        self._write_lock = threading.Lock()
        self._version = 0
        """SQLite's count of what other connections changed."""
        self._ids: dict[str, dict[Texts, int]] = {table: {} for table in _NUMBERED}
        with self._translated():
            self._writer = self._connect(WRITER_CACHE_KIB)
            self._store_id: str = self._writer.execute(_META, ("id",)).fetchone()[0]
            self._writes: int = (self._writer.execute(_META, ("writes",)).fetchone() or (0,))[0]
        self._to_remember = ""

    @property
    def store_id(self) -> str:
        """Tell this file's rows from those of any other, also of one that takes its place."""
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
        with self._write_lock, self._translated():
            return str((self._writer.execute(_META, ("remembered",)).fetchone() or ("",))[0])

    def write(self, rows: Sequence[Row], refusals: Sequence[RejectedLine] = ()) -> Written:
        """Keep rows and refusals in one transaction."""
        return self.write_columns(columns_of(rows), refusals)

    def write_columns(self, columns: Columns, refusals: Sequence[RejectedLine] = ()) -> Written:
        """Keep rows, given as columns, and refusals in one transaction."""
        with self._write_lock, self._translated():
            writer = self._writer
            writer.execute("BEGIN IMMEDIATE")
            # Another process may have erased a person, and with them the ids that we remember.
            version = writer.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._forget_ids()
                self._version = version
            try:
                identity_ids = self._ids_of("identity", columns.identities)
                named = zip(columns.identified_us, identity_ids, columns.identities, strict=True)
                writer.executemany(_NAMED, [(when, number) for when, number, who in named if who.user or who.device])
                kept = self._not_pruned(self._values(columns, identity_ids))
                fresh = self._insert(kept, _absent(columns))
                sums = Rollups()
                sums.add(fresh)
                add_rollups(writer, sums)
                if self._clock is not None:
                    self._minutes.add(writer, fresh, self._clock())
                _add_refusals(writer, refusals)
                (writes,) = writer.execute(_COUNT_WRITE).fetchone()
                if self._to_remember:
                    writer.execute("INSERT OR REPLACE INTO meta VALUES ('remembered', ?)", (self._to_remember,))
                writer.execute("COMMIT")
            except BaseException:
                self._forget_ids()  # those given in this transaction are gone with it
                if writer.in_transaction:  # SQLite rolls back by itself when the disk is full
                    writer.execute("ROLLBACK")
                raise
            self._writes, self._to_remember = writes, ""
        return Written(len(fresh), len(kept) - len(fresh), len(columns.key) - len(kept))

    def settle_refusals(self, file: str, places: Sequence[int]) -> int:
        """Remove the refusals of a log whose line was stored since."""
        with self._write_lock, self._translated():
            found = self._writer.execute("SELECT position FROM refusal WHERE file = ?", (_storable(file),)).fetchall()
            gone = {position for (position,) in found} - set(places)
            self._writer.executemany(
                "DELETE FROM refusal WHERE file = ? AND position = ?", [(_storable(file), place) for place in gone]
            )
        return len(gone)

    def prune(self, before_us: int) -> int:
        """Remove old rows, a bounded number in each transaction, which also keeps how far it came."""
        removed = 0
        with self._write_lock, self._translated():
            while batch := self._prune(before_us):
                removed += batch
            if removed:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    def begin_erase(self, person: Person) -> None:
        """Note that a person is to be forgotten."""
        with self._write_lock, self._translated():
            erase.begin(self._writer, person)

    def unfinished_erase(self) -> Person | None:
        """Return whom an erase of before was to forget."""
        with self._write_lock, self._translated():
            return erase.unfinished(self._writer)

    def erase(self, person: Person, *, is_dry: bool) -> Erased:
        """Forget a person."""
        with self._write_lock, self._translated():
            self._forget_ids()
            return erase.erase(self._writer, self._path, person, is_dry=is_dry)

    def log(
        self, scope: Scope, window: Window, filters: Filters, limit: int, before: tuple[int, int] | None
    ) -> list[LogEntry]:
        """Return a page of the log, newest first."""
        filters = scope.narrowed(filters)
        where, values = _where(filters)
        end_us, key = min(before or (window.end_us, -1), (window.end_us, -1))
        query = f"""
            SELECT a.time_us, a.key, e.service, e.route, a.method, a.path, a.status, a.traffic, a.request_time_us,
                   a.app_time_us, a.bytes_sent, a.trace_id, a.error_type, a.identified_us, a.upstream_time_us,
                   a.span_id, g.text, {_IDENTITY}
            FROM access a JOIN identity i ON i.id = a.identity_id JOIN endpoint e ON e.id = a.endpoint_id
                 JOIN agent g ON g.id = a.agent_id
            WHERE a.time_us >= ? AND (a.time_us, a.key) < (?, ?) {where}
            ORDER BY a.time_us DESC, a.key DESC LIMIT ?
        """  # noqa: S608  # only our own texts are put together; values are bound
        return [
            LogEntry(
                row[0], row[1], _identity(row[17:]), row[2], row[3], row[4], row[5], row[6], Traffic(row[7]),
                row[8], row[9], row[10], row[11].hex() if row[11] else "", row[12] or "", row[13],
                row[14], row[15].hex() if row[15] else "", row[16],
            )
            for row in self._read(query, (window.start_us, end_us, key, *values, limit))
        ]  # fmt: skip

    def rows(self, scope: Scope, window: Window, after: tuple[int, int] | None, limit: int) -> list[Row]:
        """Return a page of whole rows, oldest first."""
        scope.require_everybody("rows")
        start_us, key = max(after or (window.start_us, -1), (window.start_us, -1))
        query = f"""
            SELECT a.time_us, a.key, i.address, a.method, a.path, a.status, a.request_time_us, a.upstream_time_us,
                   0, a.bytes_sent, e.service, a.trace_id, a.span_id, g.text,
                   e.route, a.traffic, a.app_time_us, a.error_type, a.identified_us, {_IDENTITY}
            FROM access a JOIN identity i ON i.id = a.identity_id JOIN endpoint e ON e.id = a.endpoint_id
                 JOIN agent g ON g.id = a.agent_id
            WHERE (a.time_us, a.key) > (?, ?) AND a.time_us < ? ORDER BY a.time_us, a.key LIMIT ?
        """  # noqa: S608
        return [
            Row(
                Access(*[
                    *row[:8], False, *row[9:11], row[11].hex() if row[11] else "", row[12].hex() if row[12] else "",
                    row[13], "",
                ]),
                _identity(row[19:]), row[14], Traffic(row[15]), row[16], row[17] or "", row[18],
            )
            for row in self._read(query, (start_us, key, window.end_us, limit))
        ]  # fmt: skip

    def endpoints(self, scope: Scope) -> list[str]:
        """Return all endpoints."""
        scope.require_everybody("endpoints")
        return [route for (route,) in self._read("SELECT DISTINCT route FROM endpoint", ())]

    def named(self, scope: Scope) -> list[Named]:
        """Return everybody with a name, oldest first."""
        scope.require_everybody("named")
        query = f"SELECT i.named_us, {_IDENTITY} FROM identity i WHERE i.user <> '' OR i.device <> '' ORDER BY i.id"  # noqa: S608
        return [Named(_identity(row[1:]), row[0]) for row in self._read(query)]

    def refused(self, scope: Scope, after: tuple[str, int] | None, limit: int) -> list[RejectedLine]:
        """Return a page of the kept refusals."""
        scope.require_everybody("refused")
        query = """
            SELECT reason, file, position, text FROM refusal WHERE (file, position) > (?, ?)
            ORDER BY file, position LIMIT ?
        """
        return [RejectedLine(*row) for row in self._read(query, (*(after or ("", -1)), limit))]

    def usage(self, scope: Scope, window: Window, filters: Filters, by: By = By.ALL) -> list[Usage]:
        """Return sums by identity, endpoint, method, status and traffic, or by less of these."""
        filters = scope.narrowed(filters)
        where, values = _where(filters)
        columns = _COLUMNS_BY[by]
        with self._reading() as connection:
            facts, bounds = windows.usage(
                self._widened(connection, window), _USAGE_TABLE[smallest_rollups(filters, by)]
            )
            query = f"""
                SELECT {", ".join(columns)}, sum(requests), sum(timed), sum(request_time_us), sum(app_timed),
                       sum(app_time_us), sum(bytes_sent)
                FROM ({facts}) WHERE 1 {where} GROUP BY {", ".join(columns)}
            """  # noqa: S608
            rows = connection.execute(query, (*bounds, *values)).fetchall()
            identities = _identities(connection, {row[0] for row in rows}) if by is not By.ENDPOINT else {}
            endpoints = _endpoints(connection) if rows and by is not By.IDENTITY else {}
        if by is By.IDENTITY:
            return [Usage(identities[row[0]], "", "", "", row[1], Traffic(row[2]), *row[3:]) for row in rows]
        if by is By.ENDPOINT:
            return [Usage(_NOBODY, *endpoints[row[0]], "", row[1], Traffic(row[2]), *row[3:]) for row in rows]
        return [
            Usage(identities[row[0]], *endpoints[row[1]], row[2], row[3], Traffic(row[4]), *row[5:]) for row in rows
        ]

    def visits(self, scope: Scope, window: Window) -> list[Visits]:
        """Return usage by identity, endpoint and traffic."""
        totals: dict[int, dict[int, int]] = {}
        with self._reading() as connection:
            for _, identity_id, counts in self._packed(connection, window, "visit", "visits"):
                add_counts(totals.setdefault(identity_id, {}), counts)
            identities = _identities(connection, totals)
            endpoints = _endpoints(connection) if totals else {}
        visits: list[Visits] = []
        for identity_id, numbers in totals.items():
            identity = identities[identity_id]
            for number, requests in numbers.items():
                endpoint_id, traffic = visit_of(number)
                visits.append(Visits(identity, endpoints[endpoint_id][1], traffic, requests))
        return [one for one in visits if scope.has(one.identity)]

    def steps(self, scope: Scope, window: Window, bucket_us: int) -> list[BucketUsage]:
        """Return sums by step of time."""
        scope.require_everybody("steps")
        with self._reading() as connection:
            facts, bounds = windows.usage(self._widened(connection, window), "usage_endpoint", bucket_us)
            query = f"""
                SELECT time_us / {bucket_us} * {bucket_us} AS bucket_us, sum(requests), sum(requests * (status >= 500)),
                       sum(timed), sum(request_time_us)
                FROM ({facts}) GROUP BY bucket_us ORDER BY bucket_us
            """  # noqa: S608
            return [BucketUsage(*row) for row in connection.execute(query, bounds)]

    def endpoint_buckets(
        self, scope: Scope, window: Window, bucket_us: int, filters: Filters, by: By = By.ENDPOINT
    ) -> list[EndpointBucket]:
        """Return sums by step of time, endpoint and traffic."""
        filters = scope.narrowed(filters)
        where, values = _where(filters)
        with self._reading() as connection:
            table = _USAGE_TABLE[smallest_bucket_rollups(filters, by)]
            facts, bounds = windows.usage(self._widened(connection, window), table, bucket_us)
            route, of_route = ("route", "JOIN endpoint e ON e.id = endpoint_id") if by is By.ENDPOINT else ("''", "")
            query = f"""
                SELECT time_us / {bucket_us} * {bucket_us} AS bucket_us, {route} AS name, traffic,
                       sum(requests), sum(requests * (status >= 500))
                FROM ({facts}) {of_route}
                WHERE 1 {where} GROUP BY bucket_us, name, traffic ORDER BY bucket_us
            """  # noqa: S608
            rows = connection.execute(query, (*bounds, *values))
            return [EndpointBucket(row[0], row[1], Traffic(row[2]), *row[3:]) for row in rows]

    def latency(self, scope: Scope, window: Window) -> list[Latency]:
        """Return histograms by endpoint and side."""
        scope.require_everybody("latency")
        totals: dict[str, tuple[dict[int, int], dict[int, int]]] = {}
        with self._reading() as connection:
            endpoints = _endpoints(connection)
            for _, endpoint_id, proxy, app in self._packed(connection, window, "latency", "proxy, app"):
                sides = totals.setdefault(endpoints[endpoint_id][1], ({}, {}))
                add_counts(sides[PROXY], proxy)
                add_counts(sides[APP], app)
        return [
            Latency(route, name, bucket, requests)
            for route, sides in totals.items()
            for side, name in _SIDES.items()
            for bucket, requests in sides[side].items()
        ]

    def bucket_latency(self, scope: Scope, window: Window, bucket_us: int) -> list[BucketLatency]:
        """Return nginx's histograms by step of time."""
        scope.require_everybody("bucket_latency")
        totals: dict[int, dict[int, int]] = {}
        with self._reading() as connection:
            for time_us, _, proxy in self._packed(connection, window, "latency_all", "proxy", bucket_us):
                add_counts(totals.setdefault(time_us // bucket_us * bucket_us, {}), proxy)
        return [
            BucketLatency(start_us, bucket, requests)
            for start_us in sorted(totals)
            for bucket, requests in sorted(totals[start_us].items())
        ]

    def activity(self, scope: Scope, window: Window) -> list[Activity]:
        """Return usage in runs."""
        totals: dict[int, list[Run]] = {}
        with self._reading() as connection:
            for _, identity_id, runs in self._packed(connection, window, "visit", "runs"):
                extend_runs(totals.setdefault(identity_id, []), unpack_runs(runs))
            identities = _identities(connection, totals)
        return [
            Activity(identities[identity_id], runs)
            for identity_id, runs in totals.items()
            if scope.has(identities[identity_id])
        ]

    def quarters(self, scope: Scope, window: Window) -> list[Quarter]:
        """Return usage by quarter of an hour."""
        scope.require_everybody("quarters")
        totals: dict[int, int] = {}
        with self._reading() as connection:
            for bucket_us, start_us, end_us in windows.pieces(self._widened(connection, window), (QUARTER_US,)):
                if not bucket_us:
                    requests = connection.execute(_COUNT_USAGE, (start_us, end_us)).fetchone()[0]
                    totals[start_us // QUARTER_US * QUARTER_US] = requests
                    continue
                bounds = (start_us // HOUR_US, -(-end_us // HOUR_US))
                for step, *of_hour in connection.execute(_QUARTERS, bounds):
                    for place, requests in enumerate(of_hour):
                        time_us = step * HOUR_US + place * QUARTER_US
                        if start_us <= time_us < end_us:
                            totals[time_us] = requests
        return [Quarter(time_us, requests) for time_us, requests in sorted(totals.items()) if requests]

    def uptime(self, scope: Scope, window: Window) -> list[Uptime]:
        """Return the minutes with traffic by day; a minute that the window cuts counts whole."""
        scope.require_everybody("uptime")
        first, end = window.start_us // MINUTE_US, -(-window.end_us // MINUTE_US)
        totals: dict[int, list[int]] = {}
        bounds = (window.start_us // HOUR_US, -(-window.end_us // HOUR_US))
        for step, minutes, answered in self._read(
            "SELECT step, minutes, answered FROM hour WHERE step >= ? AND step < ?", bounds
        ):
            hour = step * 60
            inside = (1 << max(0, min(60, end - hour))) - (1 << max(0, min(60, first - hour)))
            if minutes & inside:
                total = totals.setdefault(step // 24 * DAY_US, [0, 0])
                total[0] += (minutes & inside).bit_count()
                total[1] += (answered & inside).bit_count()
        return [Uptime(day_us, *totals[day_us]) for day_us in sorted(totals)]

    def newest_us(self, scope: Scope) -> int | None:
        """Return the time of the newest row."""
        scope.require_everybody("newest_us")
        return next(iter(self._read(_NEWEST)))[0]  # type: ignore[no-any-return]

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
        with self._reading() as connection:
            return recent(connection, window, endpoint, service, rank)

    def add_alert_events(self, events: Sequence[AlertEvent]) -> None:
        """Keep events."""
        with self._write_lock, self._translated():
            alert_events.add(self._writer, events)

    def alert_events(self, scope: Scope, limit: int) -> list[AlertEvent]:
        """Return the newest events first."""
        with self._lent() as connection:
            events = alert_events.newest(connection, limit)
        return [one for one in events if scope.login is None or not one.subject]

    def refusals(self) -> dict[str, int]:
        """Count the kept refusals by reason."""
        return dict(self._read("SELECT reason, count(*) FROM refusal GROUP BY reason"))

    def close(self) -> None:
        """Close every connection."""
        self._is_closed = True
        for connection in self._open_connections:
            connection.close()
        self._open_connections.clear()

    # How it is done.

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        if self._is_closed:
            raise sqlite3.ProgrammingError("it was closed")
        connection = (connect_read_only if self._is_read_only else connect)(self._path, cache_kib)
        for merge in (merged_counts, merged_runs):
            connection.create_function(merge.__name__, 2, merge, deterministic=True)
        for name, aggregate in (("numbers", Numbers), ("durations", Durations), ("times", Times)):
            # typeshed believes that all aggregates give integers
            connection.create_aggregate(f"packed_{name}", 1, aggregate)  # type: ignore[arg-type]
        self._open_connections.append(connection)
        return connection

    def _read(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lent() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for several queries, which all see the store as of one moment."""
        with self._lent() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:  # SQLite ends it by itself where the disk fails
                    connection.execute("ROLLBACK")

    @contextmanager
    def _lent(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection: a web server's threads come and go, and each would leave one of its own behind."""
        with self._translated(), unchanged(self._path) if self._is_read_only else nullcontext():
            try:
                connection = self._idle_readers.pop()
            except IndexError:
                connection = self._connect(READER_CACHE_KIB)
            try:
                yield connection
            finally:
                if self._is_read_only:
                    self._open_connections.remove(connection)
                    connection.close()
                else:
                    self._idle_readers.append(connection)

    def _widened(self, connection: sqlite3.Connection, window: Window) -> Window:
        return windows.widened(window, connection.execute(_NEWEST).fetchone()[0])

    def _packed(
        self, connection: sqlite3.Connection, window: Window, table: str, columns: str, bucket_us_max: int = DAY_US
    ) -> Iterator[tuple[Any, ...]]:
        """Return time, identity or endpoint, and `columns` of the rows of a window."""
        for bucket_us, text, values in windows.packed(self._widened(connection, window), table, columns, bucket_us_max):
            for key, *cells in connection.execute(text, values):
                yield step_of(key) * bucket_us, number_of(key), *cells

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._path)

    def _prune(self, before_us: int) -> int:
        """Remove the oldest rows in one transaction."""
        writer = self._writer
        writer.execute("BEGIN IMMEDIATE")
        try:
            (newest_us,) = writer.execute(_PRUNE_UP_TO, (before_us, PRUNE_ROWS_MAX)).fetchone()
            removed = 0
            if newest_us is not None:
                removed = writer.execute("DELETE FROM access WHERE time_us <= ?", (newest_us,)).rowcount
                writer.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'pruned_us'", (newest_us + 1,))
            writer.execute("COMMIT")
        except BaseException:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise
        return removed

    def _not_pruned(self, rows: list[Stored]) -> list[Stored]:
        """Leave out rows of a time whose rows were removed: one of them that comes again would count twice."""
        (pruned_us,) = self._writer.execute(_META, ("pruned_us",)).fetchone()
        if not rows or min(map(_TIME, rows)) >= pruned_us:
            return rows
        return [row for row in rows if row[0] >= pruned_us]

    def _values(self, columns: Columns, identity_ids: Sequence[int]) -> list[Stored]:
        """Return the rows of `access`: the columns, with the ids of this store for their places in the tables."""
        endpoint_ids = self._ids_of("endpoint", columns.endpoints)
        agent_ids = self._ids_of("agent", [(agent,) for agent in columns.agents])
        return list(
            # Put together in C: no line of Python runs for a row.
            zip(
                columns.time_us,
                columns.key,
                map(identity_ids.__getitem__, columns.identity),
                map(endpoint_ids.__getitem__, columns.endpoint),
                map(agent_ids.__getitem__, columns.agent),
                columns.method,
                columns.path,
                columns.status,
                columns.traffic,
                columns.request_time_us,
                columns.upstream_time_us,
                columns.app_time_us,
                columns.bytes_sent,
                columns.trace_id,
                columns.span_id,
                columns.error_type,
                map(columns.identified_us.__getitem__, columns.identity),
                strict=True,
            )
        )

    def _ids_of(self, table: str, wanted: Sequence[Texts]) -> list[int]:
        """Return the number of each, also of those that have none yet."""
        ids, writer = self._ids[table], self._writer
        if len(ids) > CACHED_IDS_MAX:
            ids.clear()
        missing = [one for one in dict.fromkeys(wanted) if one not in ids]
        if missing:
            names = _NUMBERED[table]
            marks = ", ".join("?" * len(missing[0]))
            find = f"SELECT id FROM {table} WHERE ({names}) = ({marks})"  # noqa: S608  # our own names
            folded = self._distinct.as_stored(
                writer, table, missing, lambda one: writer.execute(find, one).fetchone() is not None
            )
            missing = list(dict.fromkeys(folded.get(one, one) for one in missing)) if folded else missing
            (last,) = writer.execute(f"SELECT ifnull(max(id), 0) FROM {table}").fetchone()  # noqa: S608  # our own names
            given = range(last + 1, last + 1 + len(missing))
            insert = f"INSERT OR IGNORE INTO {table} (id, {names}) VALUES (?, {marks})"  # noqa: S608
            rows = [(number, *one) for number, one in zip(given, missing, strict=True)]
            if writer.executemany(insert, rows).rowcount == len(rows):  # all at once: most logs are of strangers
                ids.update(zip(missing, given, strict=True))
            else:
                ids.update((one, writer.execute(find, one).fetchone()[0]) for one in missing)
            ids.update((one, ids[stored]) for one, stored in folded.items())
        return [ids[one] for one in wanted]

    def _forget_ids(self) -> None:
        self._distinct.forget()
        for ids in self._ids.values():
            ids.clear()

    def _insert(self, rows: list[Stored], absent: frozenset[int]) -> list[Stored]:
        """Insert what is new and give it. `absent` are the places of columns that are None in all rows.

        The statement has these as NULL: Python's sqlite3 looks for an adapter of each None that it binds, and the rows
        of a combined log, a third of whose columns are absent, took twice the time.
        """
        writer = self._writer
        marks = ", ".join("NULL" if at in absent else "?" for at in range(_WIDTH))
        insert = f"INSERT OR IGNORE INTO access VALUES ({marks})"  # noqa: S608  # our own words
        given = itemgetter(*(at for at in range(_WIDTH) if at not in absent))
        writer.execute("SAVEPOINT batch")
        inserted = writer.executemany(insert, map(given, rows)).rowcount
        if inserted == len(rows):
            return rows
        if inserted == 0:
            return []
        writer.execute("ROLLBACK TO batch")
        return [row for row in rows if writer.execute(insert, given(row)).rowcount]


def _absent(columns: Columns) -> frozenset[int]:
    """Return the places in `access` of the columns that no row has."""
    rows = len(columns.key)
    return frozenset(at for at, name in _NULLABLE.items() if getattr(columns, name).count(None) == rows)


def _identities(connection: sqlite3.Connection, numbers: Collection[int]) -> dict[int, Identity]:
    """Return the identities with these numbers, with the names of now; everybody's name has a say in these."""
    if not numbers:
        return {}
    query = f"""
        SELECT i.id, i.named_us, {_IDENTITY} FROM identity i
        WHERE i.user <> '' OR i.device <> '' OR i.id IN (SELECT value FROM json_each(?))
    """  # noqa: S608
    rows = connection.execute(query, (json.dumps(list(numbers)),))
    return names_of_now({row[0]: Named(_identity(row[2:]), row[1]) for row in rows})


def _endpoints(connection: sqlite3.Connection) -> dict[int, tuple[str, str]]:
    """Return service and route of all endpoints."""
    return {row[0]: row[1:] for row in connection.execute("SELECT id, service, route FROM endpoint")}


def _add_refusals(writer: sqlite3.Connection, refusals: Sequence[RejectedLine]) -> None:
    if refusals and writer.execute("SELECT count(*) FROM refusal").fetchone()[0] < REJECTED_MAX:
        writer.executemany(
            "INSERT OR IGNORE INTO refusal VALUES (?, ?, ?, ?)",
            [(_storable(one.file), one.offset, one.reason, one.text) for one in refusals],
        )


def _storable(path: str) -> str:
    """Write a file's name, which may be any bytes, as SQLite's text, which may not."""
    return path.encode(errors="backslashreplace").decode()


def _identity(values: Sequence[Any]) -> Identity:
    return Identity(*[*values[:-1], bool(values[-1])])


def _where(filters: Filters) -> tuple[str, list[object]]:
    clauses: list[str] = []
    values: list[object] = []
    if filters.user is not None:
        clauses.append(_BY_NAME.format(name="user", id="user_id"))
        values.extend([filters.user] * 3)
    if filters.device is not None:
        clauses.append(_BY_NAME.format(name="device", id="node_id"))
        values.extend([filters.device] * 3)
    if filters.address is not None:
        clauses.append("AND identity_id IN (SELECT id FROM identity WHERE address = ?)")
        values.append(filters.address)
    if filters.endpoint is not None:
        clauses.append("AND endpoint_id IN (SELECT id FROM endpoint WHERE route = ?)")
        values.append(filters.endpoint)
    if filters.method is not None:
        clauses.append("AND method = ?")
        values.append(filters.method)
    if filters.trace_id is not None:
        clauses.append("AND trace_id = ?")
        values.append(bytes.fromhex(filters.trace_id))
    if filters.status is not None:
        low = int(filters.status[0]) * 100 if filters.status.endswith("xx") else int(filters.status)
        high = low + 99 if filters.status.endswith("xx") else low
        clauses.append("AND status BETWEEN ? AND ?")
        values.extend((low, high))
    return " ".join(clauses), values

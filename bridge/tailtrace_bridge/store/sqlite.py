"""The default store: one SQLite file in WAL mode, one writer, any number of readers.

| a batch | what happens |
|---|---|
| all rows are new (the usual case) | one `executemany`, sums of all, one commit |
| no row is new (a replay) | the same `executemany`, which changes nothing |
| some rows are new | undone to the savepoint, then row by row: only new rows are summed |
| the disk is full, the file is locked or broken | rolled back whole, `StoreError`; the caller keeps its batch |

How the reads of a window are put together stands in `windows`.
"""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

from tailtrace_bridge.columns import Columns, columns_of
from tailtrace_bridge.errors import StoreError
from tailtrace_bridge.histogram import bucket_of
from tailtrace_bridge.records import Identity, Refusal, Row, Traffic
from tailtrace_bridge.store import windows
from tailtrace_bridge.store.names import Named, names_of_now
from tailtrace_bridge.store.protocol import (
    MINUTE_US,
    Activity,
    Filters,
    Latency,
    LogEntry,
    Minute,
    StepLatency,
    StepUsage,
    Usage,
    Window,
    Written,
)
from tailtrace_bridge.store.schema import MIGRATIONS
from tailtrace_bridge.store.sums import APP, PROXY, Stored, Sums, by_day

BUSY_TIMEOUT_S = 10
CACHED_IDS_MAX = 50_000
REFUSALS_MAX = 100_000
PRUNE_ROWS_MAX = 20_000
"""Rows removed in one transaction: a reader never waits for more."""
WRITER_CACHE_KIB = 8000
"""The sums are updated all over their tables; an import with 2 MB took 3% longer."""
READER_CACHE_KIB = 2000
"""Of each reader: a long read passes over its pages once."""
_PRAGMAS = (
    "PRAGMA synchronous=NORMAL",
    "PRAGMA temp_store=MEMORY",
)
_SIDES = {PROXY: "proxy", APP: "app"}
_IDENTITY_COLUMNS = "address, kind, user, device, node_id, tags, provider, user_id, via, reason, expired"
"""In the order of `Identity`."""
_IDENTITY_VALUES = attrgetter(*_IDENTITY_COLUMNS.split(", "))
_IDENTITY = ", ".join(f"i.{name}" for name in _IDENTITY_COLUMNS.split(", "))

_INSERT = "INTO access VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NAMED = "UPDATE identity SET named_us = ?1 WHERE id = ?2 AND named_us < ?1"
_BY_NAME = """
    AND (
        i.{name} = ?
        OR i.{id} IN (SELECT {id} FROM identity WHERE {name} = ? AND {id} <> '')
        OR i.{id} = '' AND i.{name} IN (
            SELECT {name} FROM identity WHERE {name} <> ''
            AND {id} IN (SELECT {id} FROM identity WHERE {name} = ? AND {id} <> '')
        )
    )
"""
"""Any name that whoever has or had this one has had."""
_ADD_USAGE = """
    INSERT INTO {} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, timed = timed + excluded.timed,
        request_time_us = request_time_us + excluded.request_time_us, app_timed = app_timed + excluded.app_timed,
        app_time_us = app_time_us + excluded.app_time_us, bytes_sent = bytes_sent + excluded.bytes_sent
"""
_ADD_LATENCY = """
    INSERT INTO {} VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests
"""
_ADD_ACTIVITY = """
    INSERT INTO activity VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET first_us = min(first_us, excluded.first_us), last_us = max(last_us, excluded.last_us),
        requests = requests + excluded.requests
"""
_ADD_MINUTES = """
    INSERT INTO minutes VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, answered = answered + excluded.answered
"""


class SqliteStore:
    """`Store` in a SQLite file. Safe to share between threads: a read borrows a connection that no other has."""

    def __init__(self, path: Path | str) -> None:
        self._path = str(path)
        self._is_closed = False
        self._idle_readers: deque[sqlite3.Connection] = deque()
        self._open_connections: list[sqlite3.Connection] = []
        self._write_lock = threading.Lock()
        self._ids: dict[tuple[str, Identity | tuple[str, ...]], int] = {}
        with self._translated():
            self._writer = self._connect(WRITER_CACHE_KIB)
            try:
                _migrate(self._writer, self._path)
            except BaseException:
                self.close()
                raise

    def write(self, rows: Sequence[Row], refusals: Sequence[Refusal] = ()) -> Written:
        """Keep rows and refusals in one transaction."""
        return self.write_columns(columns_of(rows), refusals)

    def write_columns(self, columns: Columns, refusals: Sequence[Refusal] = ()) -> Written:
        """Keep rows, given as columns, and refusals in one transaction."""
        with self._write_lock, self._translated():
            writer = self._writer
            writer.execute("BEGIN IMMEDIATE")
            try:
                identity_ids = [self._id("identity", identity) for identity in columns.identities]
                named = zip(columns.identified_us, identity_ids, columns.identities, strict=True)
                writer.executemany(_NAMED, [(when, number) for when, number, who in named if who.user or who.device])
                fresh = self._insert(self._values(columns, identity_ids))
                sums = Sums()
                sums.add(fresh)
                _add_sums(writer, sums)
                _add_refusals(writer, refusals)
                writer.execute("COMMIT")
            except BaseException:
                self._ids.clear()  # ids given in this transaction are gone with it
                if writer.in_transaction:  # SQLite rolls back by itself when the disk is full
                    writer.execute("ROLLBACK")
                raise
        return Written(len(fresh), len(columns.key) - len(fresh))

    def prune(self, before_us: int) -> int:
        """Remove old rows, a bounded number in each transaction."""
        removed = 0
        statement = (
            "DELETE FROM access WHERE (time_us, key) IN"
            " (SELECT time_us, key FROM access WHERE time_us < ? ORDER BY time_us LIMIT ?)"
        )
        with self._write_lock, self._translated():
            while batch := self._writer.execute(statement, (before_us, PRUNE_ROWS_MAX)).rowcount:
                removed += batch
            if removed:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    def log(self, window: Window, filters: Filters, limit: int, before: tuple[int, int] | None) -> list[LogEntry]:
        """Give a page of the log, newest first."""
        where, values = _where(filters)
        end_us, key = min(before or (window.end_us, -1), (window.end_us, -1))
        query = f"""
            SELECT a.time_us, a.key, e.service, e.route, a.method, a.path, a.status, a.traffic, a.request_time_us,
                   a.app_time_us, a.bytes_sent, a.trace_id, a.error_type, a.identified_us, {_IDENTITY}
            FROM access a JOIN identity i ON i.id = a.identity_id JOIN endpoint e ON e.id = a.endpoint_id
            WHERE a.time_us >= ? AND (a.time_us, a.key) < (?, ?) {where}
            ORDER BY a.time_us DESC, a.key DESC LIMIT ?
        """  # noqa: S608  # only our own texts are put together; values are bound
        return [
            LogEntry(
                row[0], row[1], _identity(row[14:]), row[2], row[3], row[4], row[5], row[6], Traffic(row[7]),
                row[8], row[9], row[10], row[11].hex() if row[11] else "", row[12] or "", row[13],
            )
            for row in self._read(query, (window.start_us, end_us, key, *values, limit))
        ]  # fmt: skip

    def usage(self, window: Window, filters: Filters) -> list[Usage]:
        """Give sums by identity, endpoint, method, status and traffic."""
        where, values = _where(filters)
        facts, bounds = windows.usage(window)
        query = f"""
            SELECT a.identity_id, e.service, e.route, a.method, a.status, a.traffic, requests, timed,
                   request_time_us, app_timed, app_time_us, bytes_sent
            FROM (
                SELECT identity_id, endpoint_id, method, status, traffic, sum(requests) AS requests,
                       sum(timed) AS timed, sum(request_time_us) AS request_time_us, sum(app_timed) AS app_timed,
                       sum(app_time_us) AS app_time_us, sum(bytes_sent) AS bytes_sent
                FROM ({facts}) GROUP BY identity_id, endpoint_id, method, status, traffic
            ) a JOIN identity i ON i.id = a.identity_id JOIN endpoint e ON e.id = a.endpoint_id WHERE 1 {where}
        """  # noqa: S608
        rows = self._read(query, (*bounds, *values))
        identities = self._identities() if rows else {}
        return [Usage(identities[row[0]], row[1], row[2], row[3], row[4], Traffic(row[5]), *row[6:]) for row in rows]

    def steps(self, window: Window, step_us: int) -> list[StepUsage]:
        """Give sums by step of time."""
        facts, bounds = windows.usage(window, step_us)
        query = f"""
            SELECT time_us / {step_us} * {step_us} AS step_us, sum(requests), sum(requests * (status >= 500)),
                   sum(timed), sum(request_time_us)
            FROM ({facts}) GROUP BY step_us ORDER BY step_us
        """  # noqa: S608
        return [StepUsage(*row) for row in self._read(query, bounds)]

    def latency(self, window: Window) -> list[Latency]:
        """Give histograms by endpoint and side."""
        facts, bounds = windows.latency(window)
        query = f"""
            SELECT e.route, side, bucket, requests FROM (
                SELECT endpoint_id, side, bucket, sum(requests) AS requests
                FROM ({facts}) GROUP BY endpoint_id, side, bucket
            ) JOIN endpoint e ON e.id = endpoint_id
        """  # noqa: S608
        return [Latency(row[0], _SIDES[row[1]], row[2], row[3]) for row in self._read(query, bounds)]

    def step_latency(self, window: Window, step_us: int) -> list[StepLatency]:
        """Give histograms by step of time."""
        facts, bounds = windows.latency(window, (PROXY,), step_us)
        query = f"""
            SELECT time_us / {step_us} * {step_us} AS step_us, bucket, sum(requests)
            FROM ({facts}) GROUP BY step_us, bucket
        """  # noqa: S608
        return [StepLatency(*row) for row in self._read(query, bounds)]

    def activity(self, window: Window) -> list[Activity]:
        """Give usage by identity and minute."""
        seen: list[Any] = []
        for query, values in windows.activity(window):
            seen += self._read(query, values)
        # One object for each identity, not for each minute of it.
        identities = self._identities() if seen else {}
        for place, (identity_id, first_us, last_us, requests) in enumerate(seen):  # in place: a month is many minutes
            seen[place] = Activity(identities[identity_id], first_us, last_us, requests)
        return seen

    def minutes(self, window: Window) -> list[Minute]:
        """Give the minutes with traffic; a minute that the window cuts counts whole."""
        query = f"""
            SELECT minute * {MINUTE_US}, requests, answered FROM minutes
            WHERE minute >= ? AND minute < ? ORDER BY minute
        """  # noqa: S608
        bounds = (window.start_us // MINUTE_US, -(-window.end_us // MINUTE_US))
        return [Minute(*row) for row in self._read(query, bounds)]

    def _identities(self) -> dict[int, Identity]:
        """Give all identities, with the names of now. They only grow: asked after rows, those of all are there."""
        query = f"SELECT i.id, i.named_us, {_IDENTITY} FROM identity i"  # noqa: S608
        return names_of_now({row[0]: Named(_identity(row[2:]), row[1]) for row in self._read(query)})

    def newest_us(self) -> int | None:
        """Give the time of the newest row."""
        return next(iter(self._read("SELECT max(time_us) FROM access")))[0]  # type: ignore[no-any-return]

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
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        _use_wal(connection)
        connection.execute(f"PRAGMA cache_size=-{cache_kib}")
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        connection.create_function("bucket_of", 1, bucket_of, deterministic=True)
        self._open_connections.append(connection)
        return connection

    def _read(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._translated():
            # Lent, not owned by threads: a web server's threads come and go, and each would leave its own behind.
            try:
                connection = self._idle_readers.pop()
            except IndexError:
                connection = self._connect(READER_CACHE_KIB)
            try:
                return connection.execute(query, values).fetchall()
            finally:
                self._idle_readers.append(connection)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"store sqlite:{self._path}: {error}; is the folder there and writable, and the disk not full?"
            ) from error

    def _values(self, columns: Columns, identity_ids: Sequence[int]) -> list[Stored]:
        """Give the values of `_INSERT`: the columns, with the ids of this store for their places in the tables."""
        if len(self._ids) > CACHED_IDS_MAX:
            self._ids.clear()
        endpoint_ids = [self._id("endpoint", endpoint) for endpoint in columns.endpoints]
        agent_ids = [self._id("agent", (agent,)) for agent in columns.agents]
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

    def _id(self, table: str, values: Identity | tuple[str, ...]) -> int:
        if (known := self._ids.get((table, values))) is not None:
            return known
        texts = _IDENTITY_VALUES(values) if isinstance(values, Identity) else values
        names = {"identity": _IDENTITY_COLUMNS, "endpoint": "service, route"}.get(table, "text")
        marks = ", ".join("?" * len(texts))
        inserted = self._writer.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", texts)  # noqa: S608
        found = inserted.lastrowid if inserted.rowcount else None
        if found is None:
            query = f"SELECT id FROM {table} WHERE ({names}) = ({marks})"  # noqa: S608
            found = self._writer.execute(query, texts).fetchone()[0]
        self._ids[(table, values)] = found
        return found

    def _insert(self, rows: list[Stored]) -> list[Stored]:
        """Insert what is new and give it."""
        writer = self._writer
        writer.execute("SAVEPOINT batch")
        inserted = writer.executemany(f"INSERT OR IGNORE {_INSERT}", rows).rowcount
        if inserted == len(rows):
            return rows
        if inserted == 0:
            return []
        writer.execute("ROLLBACK TO batch")
        return [row for row in rows if writer.execute(f"INSERT OR IGNORE {_INSERT}", row).rowcount]


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. SQLite does not wait here for another process that does the same just now, so we do."""
    for pause_s in (0.01, 0.05, 0.2, 1.0, None):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if pause_s is None:
                raise
            time.sleep(pause_s)
        else:
            return


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StoreError(
            f"store sqlite:{path}: made by a newer tailtrace (schema {version}, this one knows {len(MIGRATIONS)}); "
            "upgrade tailtrace or name another file in TAILTRACE_STORE"
        )
    for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
        try:
            connection.executescript(f"BEGIN IMMEDIATE;{migration};PRAGMA user_version = {number};COMMIT;")
        except sqlite3.OperationalError:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            # Another process opened the same new store at the same moment, and was first.
            if connection.execute("PRAGMA user_version").fetchone()[0] < number:
                raise


def _add_sums(writer: sqlite3.Connection, sums: Sums) -> None:
    for suffix, usage, latency in (("", sums.usage, sums.latency), ("_day", *by_day(sums))):
        writer.executemany(_ADD_USAGE.format("usage" + suffix), [(*key, *values) for key, values in usage.items()])
        writer.executemany(_ADD_LATENCY.format("latency" + suffix), [(*key, value) for key, value in latency.items()])
    writer.executemany(_ADD_ACTIVITY, [(*key, *values) for key, values in sums.activity.items()])
    writer.executemany(_ADD_MINUTES, [(key, *values) for key, values in sums.minutes.items()])


def _add_refusals(writer: sqlite3.Connection, refusals: Sequence[Refusal]) -> None:
    if refusals and writer.execute("SELECT count(*) FROM refusal").fetchone()[0] < REFUSALS_MAX:
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
    for column, value in (("e.route", filters.endpoint), ("a.method", filters.method)):
        if value is not None:
            clauses.append(f"AND {column} = ?")
            values.append(value)
    if filters.status is not None:
        low = int(filters.status[0]) * 100 if filters.status.endswith("xx") else int(filters.status)
        high = low + 99 if filters.status.endswith("xx") else low
        clauses.append("AND a.status BETWEEN ? AND ?")
        values.extend((low, high))
    return " ".join(clauses), values

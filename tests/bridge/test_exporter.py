"""Out of one store and into another: the tables are the same, the second time changes nothing."""

import csv
import gzip
import io
import itertools
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime

import pytest

from tailtrace_api.queries.requests import Queries
from tailtrace_bridge.core.errors import BridgeError
from tailtrace_bridge.core.records import Access, Identity, RejectedLine, Row, Traffic
from tailtrace_bridge.identity.chain import Holder
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.names import Named
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, HOUR_US, Filters, Window
from tailtrace_bridge.transfer import exporter
from tailtrace_bridge.transfer.exporter import ALL_TIME, Export, Exported, write_csv, write_ndjson, write_parquet
from tailtrace_bridge.transfer.format import NAMES, values_of
from tailtrace_bridge.transfer.importer import Imported, ImportJob, import_logs, store_chunks
from tailtrace_bridge.transfer.worker import ImportWorker

S = 1_000_000
T0 = 1_759_924_800 * S  # 2025-10-08T12:00:00Z, a whole hour
OLD = Identity("100.64.0.7", "user", "ana@old.example", "mac", "n1", "", "localapi", "u1")
NEW = Identity("100.64.0.7", "user", "ana@new.example", "ana-mac", "n1", "", "localapi", "u1")
KINDS = (
    OLD,
    NEW,
    Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", provider="static"),
    Identity("fd7a:115c:a1e0::9", "tagged", "", "runner", "n3", "tag:ci,tag:server", "localapi", expired=True),
    Identity("10.8.0.20", "subnet", provider="snapshot", via="office-router"),
    Identity("100.64.0.9", "unknown", reason="address-reused-or-unknown-then"),
    Identity("203.0.113.9", "external"),
)
REFUSALS = [
    RejectedLine("no-format", "/var/log/a.log", 9, "\x1b[31m\x00 =cmd|' /C calc'!A0 \u2028"),
    RejectedLine("bad-time", "/var/log/a.log", 10, "x"),
    RejectedLine("too-long", "/var/log/b.log", 0, "y" * 200),
]


def make_row(n: int) -> Row:
    who = KINDS[n % len(KINDS)]
    access = Access(
        T0 + n * 40 * S // 3 // (1 + n % 2), (n * 0x9E3779B97F4A7C15) % (1 << 63), who.address,
        ("GET", "POST", "_OTHER")[n % 3], f"/a/{n}\\\"'<b>", (200, 204, 404, 500, 0)[n % 5], None if n % 4 == 0 else n * 7,
        None if n % 3 else n, False, n * 11, ("", "shop")[n % 2], "" if n % 6 else f"{n + 1:032x}",
        "" if n % 6 else f"{n + 1:016x}", ("curl/8", "=1+1", 'агент, "x"')[n % 3], "",
    )  # fmt: skip
    return Row(
        access, who, ("/a/{id}", "/b", "")[n % 3], list(Traffic)[n % 5], n if n % 7 == 0 else None,
        "TimeoutError" if n % 11 == 0 else "", T0 + n if who.user else 0,
    )  # fmt: skip


ROWS = [make_row(n) for n in range(700)]


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "from.db")
    # Out of order, and known once more later: names depend on what the rows no longer say.
    made.write(ROWS[350:])
    made.write(ROWS[:350], REFUSALS)
    made.write([ROWS[0]._replace(identified_us=T0 + 10**9)])
    yield made
    made.close()


@pytest.fixture
def other(tmp_path):
    made = SqliteStore(tmp_path / "to.db")
    yield made
    made.close()


def exported(store, write=write_ndjson, **options) -> bytes:
    file = io.BytesIO()
    write(Export(store, "sqlite:from.db", **options), file)
    return file.getvalue()


def load(store, path) -> Imported:
    enricher = Enricher(lambda address: Holder(Identity(address)), Routes())
    return import_logs([path], make_parser=make_parser, enricher=enricher, store=store)


def everything(store):
    """What a store holds, and what it answers: over all, and over windows that cut hours and days."""
    queries = Queries(store, zone=UTC, features={}, store_name="")
    reports = [
        asdict(queries.report(T0 + at_us, hours=hours, limit=1_000))
        for at_us, hours in (
            (3 * HOUR_US, 30 * 24),
            (HOUR_US + 7 * S + 1, 1),
            (2 * HOUR_US - 1, 2),
            (30 * DAY_US, 30 * 24),
        )
    ]
    for report in reports:
        report["system_health_history"].pop("influxdb_query_times")  # how long it took
    latency: Counter[tuple[str, str, int]] = Counter()  # an endpoint of two services may come once or twice
    for one in store.latency(Scope.everybody(), ALL_TIME):
        latency[one.endpoint, one.side, one.bucket] += one.requests
    return {
        "rows": store.rows(Scope.everybody(), ALL_TIME, None, 1_000),
        "named": store.named(Scope.everybody()),
        "refused": store.rejected_lines(Scope.everybody(), None, 1_000),
        "refusals": store.rejected_by_reason(),
        "log": store.log(Scope.everybody(), ALL_TIME, Filters(), 1_000, None),
        "usage": sorted(store.usage(Scope.everybody(), ALL_TIME, Filters()), key=repr),
        "hours": store.bucket_usage(Scope.everybody(), ALL_TIME, HOUR_US),
        "days": store.bucket_usage(Scope.everybody(), ALL_TIME, DAY_US),
        "latency": latency,
        "bucket_latency": sorted(store.bucket_latency(Scope.everybody(), ALL_TIME, HOUR_US)),
        "newest_us": store.newest_us(Scope.everybody()),
        "reports": json.loads(json.dumps(reports, default=str)),
    }


@pytest.mark.parametrize("is_gzipped", [False, True])
def test_from_one_store_to_another_and_twice(store, other, tmp_path, is_gzipped):
    data = exported(store)
    path = tmp_path / "any-name"
    path.write_bytes(gzip.compress(data) if is_gzipped else data)
    assert load(other, path) == Imported(
        703, 700, 0, 3, {"no-format": 1, "bad-time": 1, "too-long": 1}, []
    )  # fmt: skip
    held = everything(store)
    assert {name for name, part in held.items() if not part} == set()
    assert everything(other) == held
    assert exported(other) == data
    again = load(other, path)
    assert (again.stored, again.duplicate, again.rejected, again.problems) == (0, 700, 3, [])
    assert everything(other) == held


@pytest.fixture
def influx(influxdb):
    ticks = itertools.count(T0 + 30 * DAY_US)
    timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, lambda: 0.5, lambda: next(ticks))
    server = Server(influxdb.url, influxdb.org, influxdb.token)
    made = InfluxStore(InfluxConfig(server, influxdb.new_bucket(), "a"), timing, is_rolling=False)
    yield made
    made.close()


@pytest.mark.influxdb
def test_from_sqlite_to_influxdb_and_back(store, influx, other, tmp_path, monkeypatch):
    data = exported(store)
    (tmp_path / "out").write_bytes(data)
    done = load(influx, tmp_path / "out")
    assert (done.stored, done.duplicate, done.rejected, done.problems) == (700, 0, 3, [])
    assert everything(influx) == everything(store)
    assert exported(influx) == data
    with monkeypatch.context() as patch:
        patch.setattr(exporter, "PAGE_ROWS", 7)
        assert exported(influx) == data
    window = Window(T0 + 60 * S + 1, T0 + HOUR_US)
    assert exported(influx, window=window) == exported(store, window=window)
    again = load(influx, tmp_path / "out")
    assert (again.stored, again.duplicate, again.rejected) == (0, 700, 3)
    (tmp_path / "back").write_bytes(exported(influx))
    assert load(other, tmp_path / "back").stored == 700
    assert everything(other) == everything(store)


def test_small_pages_and_a_worker_give_the_same(store, other, tmp_path, monkeypatch):
    data = exported(store)
    monkeypatch.setattr(exporter, "PAGE_ROWS", 2)
    assert exported(store) == data
    path = tmp_path / "x.ndjson"
    path.write_bytes(data)
    job = ImportJob((path,), "auto", UTC, None, Routes(), frozenset())
    with ImportWorker() as worker:
        done = store_chunks(worker.chunks(job), other)
    assert (done.stored, done.rejected, done.problems) == (700, 3, [])
    assert everything(other) == everything(store)


def test_names_of_now_move_even_where_no_row_tells_of_them(store, other, tmp_path):
    """The row's own time says that the new name was found out last; that the old one was seen again, only the list."""
    assert {
        usage.identity.user for usage in store.usage(Scope.everybody(), ALL_TIME, Filters(user="ana@new.example"))
    } == {"ana@old.example"}
    (tmp_path / "x").write_bytes(exported(store))
    load(other, tmp_path / "x")
    assert {
        usage.identity.user for usage in other.usage(Scope.everybody(), ALL_TIME, Filters(user="ana@new.example"))
    } == {"ana@old.example"}


def test_a_window_is_start_included_and_end_not(store):
    times_us = sorted(row.access.time_us for row in ROWS)
    window = Window(times_us[10], times_us[20])
    lines = exported(store, window=window).splitlines()
    assert [int(line.split(b":")[1].split(b",")[0]) for line in lines[1:-1]] == [
        time_us for time_us in times_us if window.start_us <= time_us < window.end_us
    ]
    assert b'"refusals":0,"identities":0' in lines[-1]


def test_progress_and_sums(store, monkeypatch):
    monkeypatch.setattr(exporter, "PAGE_ROWS", 300)
    told = []
    assert write_ndjson(Export(store, "s", on_rows=told.append), io.BytesIO()) == Exported(700, 3, 4)
    assert told == [300, 300, 100]


def test_rows_gives_all_of_a_row_in_order(store):
    page = store.rows(Scope.everybody(), ALL_TIME, None, 1_000)
    assert page == sorted(ROWS, key=lambda row: row[0][:2])
    last = page[99].access
    assert store.rows(Scope.everybody(), ALL_TIME, (last.time_us, last.key), 50) == page[100:150]
    assert store.rows(Scope.everybody(), Window(last.time_us, ALL_TIME.end_us), (0, 0), 1) == [
        next(row for row in page if row.access.time_us >= last.time_us)
    ]
    assert store.named(Scope.everybody()) == [
        Named(KINDS[0], T0 + 10**9), Named(KINDS[1], T0 + 694), Named(KINDS[2], T0 + 695), Named(KINDS[3], 0),
    ]  # fmt: skip
    assert store.rejected_lines(Scope.everybody(), None, 2) == REFUSALS[:2]
    assert store.rejected_lines(Scope.everybody(), ("/var/log/a.log", 10), 2) == REFUSALS[2:]


def test_a_cut_export_is_told_and_what_is_there_is_stored(store, other, tmp_path):
    data = exported(store)
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    done = load(other, tmp_path / "cut")
    assert 0 < done.stored < 700
    assert [problem.split(":")[1] for problem in done.problems] == [" the export is cut"]
    assert done.rejected_by_reason["no-format"] == 1  # the exported one; half a line is no line yet
    (tmp_path / "cut.gz").write_bytes(gzip.compress(data)[:-10])
    assert "damaged gzip" in load(other, tmp_path / "cut.gz").problems[0]
    (tmp_path / "whole").write_bytes(data)
    done = load(other, tmp_path / "whole")
    assert done.stored + done.duplicate == 700
    there, here = everything(other), everything(store)
    there["refused"] = [one for one in there["refused"] if one.file.startswith("/var/log")]  # without the half lines
    assert there == here


def test_bad_lines_in_an_export_are_refused_with_their_place(store, other, tmp_path):
    lines = exported(store).splitlines(keepends=True)
    path = tmp_path / "bad.ndjson"
    path.write_bytes(b"".join([*lines[:8], b"garbage\n", lines[8].replace(b'"time_us":', b'"time_us":-'), *lines[9:]]))
    done = load(other, path)
    assert (done.stored, done.rejected) == (699, 5)
    assert done.rejected_by_reason == {"no-format": 2, "bad-time": 2, "too-long": 1}
    assert "was changed on its way" in done.problems[0]
    offset = len(b"".join(lines[:8]))
    assert [(one.reason, one.offset) for one in other.rejected_lines(Scope.everybody(), None, 9) if one.file == str(path)] == [
        ("no-format", offset), ("bad-time", offset + 8),
    ]  # fmt: skip


def test_an_export_of_a_newer_version_is_not_imported(store, other, tmp_path):
    (tmp_path / "new").write_bytes(exported(store).replace(b'"tailtrace_export":1', b'"tailtrace_export":2', 1))
    done = load(other, tmp_path / "new")
    assert (done.lines, done.stored) == (0, 0)
    assert "reads version 1. Upgrade tailtrace." in done.problems[0]


def test_csv(store):
    text = exported(store, write_csv).decode()
    lines = list(csv.reader(io.StringIO(text, newline="")))
    assert lines[0] == ["time", *NAMES]
    assert len(lines) == 701
    assert {len(line) for line in lines} == {len(NAMES) + 1}
    agent, time = lines[0].index("user_agent"), lines[0].index("time_us")
    assert {line[agent] for line in lines[1:]} == {"curl/8", "'=1+1", 'агент, "x"'}
    for line in lines[1:]:
        assert datetime.fromisoformat(line[0]).timestamp() == pytest.approx(int(line[time]) / S, abs=1e-5)
    assert lines[1][:6] == ["2025-10-08T12:00:00.000000+00:00", str(T0), "0", "100.64.0.7", "user", "ana@old.example"]
    assert text.count("\r\n") == 701


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_csv_holds_no_formula(other, start):
    who = Identity("100.64.0.7", "user", start + "HYPERLINK()", start + "1", via=start)
    row = ROWS[0]
    other.write([row._replace(identity=who, route=start + "r", error_type=start + "e")])
    lines = list(csv.reader(io.StringIO(exported(other, write_csv).decode(), newline="")))
    assert not [value for value in lines[1] if value.startswith(start)]
    assert lines[1].count("'" + start + "r") == 1


def test_parquet(store):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(exported(store, write_parquet)))
    assert table.column_names == list(NAMES)
    assert table.to_pylist() == [
        dict(zip(NAMES, values_of(row), strict=True)) for row in sorted(ROWS, key=lambda row: row[0][:2])
    ]
    assert str(table.schema.field("time_us").type) == "int64"
    assert str(table.schema.field("expired").type) == "bool"


def test_parquet_without_pyarrow_says_what_to_install(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BridgeError, match=r"pip install 'tailtrace\[parquet\]'"):
        exported(store, write_parquet)


def test_an_empty_store(other, tmp_path):
    (tmp_path / "x").write_bytes(exported(other))
    assert load(other, tmp_path / "x") == Imported(0, 0, 0, 0, {}, [])
    assert exported(other, write_csv).count(b"\r\n") == 1

"""`tailtrace backup`, and what docs/backup.md says of it, on real files."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time

import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.settings.table import load
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.schema import MIGRATIONS
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import Filters, Window
from tailtrace_bridge.wiring.bridge import make_bridge

pytestmark = pytest.mark.usefixtures("own_folder")
ALL = Window(0, 2**53)
T0_S = 1_759_924_800


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def row(number):
    access = Access(
        T0_S * 10**6 + number, number, "100.64.0.7", "GET", "/a", 200, 1, None, True, 1, "", "", "", "x", ""
    )
    return Row(access, Identity("100.64.0.7"), "/a", Traffic.APP, None, "")


def paths_in(path):
    store = SqliteStore(path)
    found = sorted(entry.path for entry in store.log(Scope.everybody(), ALL, Filters(), 100_000, None))
    store.close()
    return found


def test_a_copy_is_a_store_whole_and_its_owners_alone(tmp_path):
    store = SqliteStore(tmp_path / "tailtrace.db")
    store.write([row(n) for n in range(3000)])
    told = json.loads(run("backup", "copy.db", "--json").stdout)
    store.close()
    assert told == {"file": "copy.db", "bytes": (tmp_path / "copy.db").stat().st_size}
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert len(paths_in(tmp_path / "copy.db")) == 3000
    assert not list(tmp_path.glob("*.part"))
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    copy.close()


def test_it_is_of_one_moment_while_others_write(tmp_path, monkeypatch):
    monkeypatch.setattr("tailtrace_bridge.store.sqlite.backup.PAGES_AT_ONCE", 1)
    store, is_done = SqliteStore(tmp_path / "tailtrace.db"), threading.Event()
    store.write([row(n) for n in range(20_000)])

    def write():
        number = 20_000
        while not is_done.is_set():
            store.write([row(number), row(number + 1)])
            number += 2
            time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert run("backup", "copy.db").exit_code == 0
    finally:
        is_done.set()
        writer.join()
        store.close()
    rows = len(paths_in(tmp_path / "copy.db"))
    assert rows >= 20_000
    assert rows % 2 == 0, "no half of a write"


def left_beside(path):
    """Serve a store, and be killed: a WAL with a row of its own is left."""
    store = SqliteStore(path)
    store.write([row(n) for n in range(7)])
    kept = {ending: path.with_name(path.name + ending).read_bytes() for ending in ("", "-wal")}
    store.close()
    for ending, content in kept.items():
        path.with_name(path.name + ending).write_bytes(content)
    assert kept["-wal"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_wal_of_another_file_gets_into_no_copy(tmp_path, is_there):
    store = SqliteStore(tmp_path / "tailtrace.db")
    store.write([row(n) for n in range(3000)])
    left_beside(tmp_path / "copy.db")
    if not is_there:
        (tmp_path / "copy.db").unlink()
    assert run("backup", "copy.db", *(["--force"] if is_there else [])).exit_code == 0
    store.close()
    assert len(paths_in(tmp_path / "copy.db")) == 3000


def test_a_copy_that_is_stopped_leaves_nothing(tmp_path):
    with sqlite3.connect(tmp_path / "tailtrace.db") as db:
        SqliteStore(tmp_path / "tailtrace.db").close()
        db.execute("CREATE TABLE much (zeros BLOB)")
        db.executemany("INSERT INTO much VALUES (zeroblob(1000000))", [()] * 200)
    db.close()
    copying = subprocess.Popen([sys.executable, "-m", "tailtrace_api.main", "backup", "copy.db"])
    while not ((part := tmp_path / ".copy.db.part").exists() and part.stat().st_size):
        assert copying.poll() is None
        time.sleep(0.005)
    copying.send_signal(signal.SIGTERM)
    assert copying.wait(30) == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["there.db"], 1, "there.db is there already; name another file, or add --force"),
        (["tailtrace.db", "--force"], 1, "is the store itself"),
        (["tailtrace.db-wal", "--force"], 1, "is the store itself"),
        (["copy.db", "--store", "sqlite:empty.db"], 1, "nothing is in it yet"),
        (["nowhere/copy.db"], 1, "nowhere/copy.db: cannot be written"),
        (["copy.db", "--store", "influxdb"], 2, "influx backup"),
        (["copy.db", "--store", "sqlite:none.db"], 1, "none.db"),
    ],
)
def test_what_cannot_be_is_said(tmp_path, words, code, says):
    SqliteStore(tmp_path / "tailtrace.db").close()
    (tmp_path / "there.db").write_text("mine")
    (tmp_path / "empty.db").touch()
    (tmp_path / "tailtrace.db-wal").touch()
    result = run("backup", *words)
    assert (result.exit_code, says in result.stderr) == (code, True), result.stderr
    assert (tmp_path / "there.db").read_text() == "mine"
    assert run("backup", "there.db", "--force").exit_code == 0


def test_a_device_or_a_pipe_stays_what_it_is(tmp_path):
    SqliteStore(tmp_path / "tailtrace.db").close()
    os.mkfifo(tmp_path / "pipe")
    result = run("backup", "pipe", "--force")
    assert (result.exit_code, "pipe is no plain file" in result.stderr) == (1, True), result.stderr
    assert (tmp_path / "pipe").is_fifo()


def bridge_until(settings, count, path):
    bridge = make_bridge(settings)
    bridge.start()
    try:
        end_s = time.monotonic() + 30
        while bridge.pipeline.counters.lines < count:
            assert time.monotonic() < end_s, bridge.pipeline.counters
            time.sleep(0.02)
    finally:
        bridge.stop()
    return paths_in(path)


def test_a_restored_backup_has_all_that_the_log_still_has(tmp_path, caplog):
    log, store = tmp_path / "access.log", tmp_path / "tailtrace.db"

    def write(first, last):
        with log.open("a") as out:
            for n in range(first, last):
                at = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(T0_S + n))
                out.write(f'100.64.0.7 - - [{at}] "GET /{n:02} HTTP/1.1" 200 5 "-" "curl"\n')

    settings = load(log=str(log), span_wait_ms=0, poll_ms=20)
    write(0, 10)
    bridge_until(settings, 10, store)
    write(10, 20)
    bridge_until(settings, 10, store)
    assert run("backup", "copy.db").exit_code == 0
    write(20, 30)
    assert len(bridge_until(settings, 10, store)) == 30
    for beside in ("", "-wal", "-shm"):
        store.with_name(store.name + beside).unlink(missing_ok=True)
    (tmp_path / "copy.db").rename(store)
    caplog.clear()
    assert bridge_until(settings, 10, store) == [f"/{n:02}" for n in range(30)], "once each, the newest too"
    assert "is ahead of its store" in caplog.text


def test_a_store_of_an_older_schema_is_brought_up_and_a_newer_one_is_left(tmp_path):
    old = sqlite3.connect(tmp_path / "old.db")
    old.executescript(MIGRATIONS[0] + ";PRAGMA application_id = 1414550640; PRAGMA user_version = 1;")
    made = SqliteStore(tmp_path / "tailtrace.db")
    made.close()
    with sqlite3.connect(tmp_path / "tailtrace.db") as db:
        mark = db.execute("PRAGMA application_id").fetchone()[0]
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    old.execute(f"PRAGMA application_id = {mark}")
    old.close()
    store = SqliteStore(tmp_path / "old.db")
    assert store.write([row(1)]).stored == 1
    store.close()
    before = (tmp_path / "tailtrace.db").read_bytes()
    with pytest.raises(StoreError, match="made by a newer tailtrace"):
        SqliteStore(tmp_path / "tailtrace.db")
    assert (tmp_path / "tailtrace.db").read_bytes() == before

"""A store opened for reading that cannot be written: what it refuses, and what it does not believe.

That nothing can be written is pretended here, since root may; `tests/end_to_end/test_read_only.py` has the real thing.
"""

import sqlite3

import pytest

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite import store as sqlite
from tailtrace_bridge.store.sqlite.read_only import connect_read_only, unchanged
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import AlertEvent, By, Filters, Window

ALL = Window(0, 2**53)


def row(number):
    who = Identity("100.64.0.7", "user", "ana@example.com")
    access = Access(number, number, who.address, "GET", "/a", 200, 5000, None, True, 10, "", "", "", "curl", "")
    return Row(access, who, "/a", Traffic.APP, None, "")


@pytest.fixture
def path(tmp_path):
    store = SqliteStore(tmp_path / "t.db")
    store.write([row(1)])
    store.close()
    return tmp_path / "t.db"


@pytest.fixture
def read_only(monkeypatch):
    monkeypatch.setattr(sqlite, "is_writable", lambda _path: False)


@pytest.mark.usefixtures("read_only")
def test_what_writes_is_refused(path):
    before = path.read_bytes()
    store = SqliteStore(path, reading=True)
    event = AlertEvent(1, "a", "p95", "started", "", None, "")
    for write in (
        lambda: store.write([row(2)]),
        lambda: store.prune(10),
        lambda: store.erase(Person(user="ana@example.com"), is_dry=False),
        lambda: store.add_alert_events([event]),
    ):
        with pytest.raises(StoreError, match="attempt to write a readonly database; this user may not write the file"):
            write()
    assert [entry.key for entry in store.log(Scope.everybody(), ALL, Filters(), 10, None)] == [1]
    assert store.usage(Scope.everybody(), ALL, Filters(), By.ALL)[0].requests == 1
    store.close()
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["t.db"]


def test_what_can_be_written_is_opened_as_ever(path):
    store = SqliteStore(path, reading=True)
    assert store.write([row(2)]).stored == 1
    store.close()


@pytest.mark.usefixtures("read_only")
def test_each_read_sees_what_was_written_since(path):
    store = SqliteStore(path, reading=True)
    for number in range(2, 6):
        writer = SqliteStore(path)
        writer.write([row(number)])
        if number % 2:
            assert len(store.log(Scope.everybody(), ALL, Filters(), 10, None)) == number  # while the -wal has it
        writer.close()
        assert len(store.log(Scope.everybody(), ALL, Filters(), 10, None)) == number
    store.close()


def test_what_was_written_while_it_was_read_is_not_given(path):
    def write_within():
        with unchanged(str(path)):
            writer = SqliteStore(path)
            writer.write([row(2)])
            writer.close()

    with pytest.raises(StoreError, match=r"t\.db: it was written while it was read; ask again"):
        write_within()
    with unchanged(str(path)):
        connect_read_only(str(path), 100).close()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "PRAGMA user_version = 1",
            r"it was made by an older tailtrace \(schema 1, this one knows \d+\), and cannot be",
        ),
        ("PRAGMA user_version = 999", r"made by a newer tailtrace \(schema 999,"),
        ("PRAGMA application_id = 7", "this is the database of another program"),
    ],
)
def test_what_is_no_store_of_this_version(path, statement, says):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.close()
    with pytest.raises(StoreError, match=says):
        connect_read_only(str(path), 100)


def test_an_empty_file(tmp_path):
    (tmp_path / "t.db").touch()
    with pytest.raises(StoreError, match="it is empty, and cannot be written here; open it once where it can"):
        connect_read_only(str(tmp_path / "t.db"), 100)


def test_a_name_that_is_no_part_of_an_address(tmp_path):
    path = tmp_path / "a b?mode=rwc#%20.db"
    store = SqliteStore(path)
    store.write([row(1)])
    store.close()
    connection = connect_read_only(str(path), 100)
    assert connection.execute("SELECT count(*) FROM access").fetchone() == (1,)
    connection.close()

"""Positions follow acknowledgements and survive crashes."""

import json
import logging
import sqlite3
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.core.records import RejectedLine
from tailtrace_bridge.logs.checkpoint import BEFORE_ALL, Checkpoint, Ledger, Position, TailLine
from tailtrace_bridge.store.sqlite.store import SqliteStore

PLACE = Position(inode=7, fingerprint=11, offset=0, mtime_ns=5)


def line(offset: int, seed: int = 11) -> TailLine:
    return TailLine(b"x", "a.log", offset, offset + 2, seed)


def offsets(ledger: Ledger) -> list[tuple[int, int]]:
    return [(place.fingerprint, place.offset) for place in ledger.positions()["a.log"]]


def test_the_position_is_the_first_line_that_is_not_acknowledged():
    ledger = Ledger()
    ledger.begin("a.log", PLACE)
    for offset in (0, 2, 4):
        ledger.opened(line(offset))
    assert offsets(ledger) == [(11, 0)]
    ledger.done(line(2))
    assert offsets(ledger) == [(11, 0)]
    ledger.done(line(0))
    assert offsets(ledger) == [(11, 4)]
    ledger.done(line(4))
    assert offsets(ledger) == [(11, 6)]
    assert ledger.held_lines == 0


def test_acknowledging_twice_or_what_is_unknown_changes_nothing():
    ledger = Ledger()
    ledger.begin("a.log", PLACE)
    ledger.opened(line(0))
    for unknown in (line(8), line(0, seed=99), line(0)._replace(file="b.log")):
        ledger.done(unknown)
    assert (ledger.held_lines, offsets(ledger)) == (1, [(11, 0)])
    ledger.done(line(0))
    ledger.done(line(0))
    assert (ledger.held_lines, offsets(ledger)) == (0, [(11, 2)])


def test_a_finished_file_stays_until_acknowledged_and_followed():
    ledger = Ledger()
    ledger.begin("a.log", PLACE)
    ledger.opened(line(0))
    ledger.finished("a.log", 11)
    assert offsets(ledger) == [(11, 0)]
    ledger.begin("a.log", Position(8, 22, 0, 6))
    assert offsets(ledger) == [(11, 0), (22, 0)]
    ledger.done(line(0))
    assert offsets(ledger) == [(22, 0)]


def test_the_newest_file_stays_though_finished():
    ledger = Ledger()
    ledger.begin("a.log", PLACE)
    ledger.finished("a.log", 11)
    assert offsets(ledger) == [(11, 0)]


def test_a_hundred_thousand_lines_are_quick():
    ledger = Ledger()
    ledger.begin("a.log", PLACE)
    lines = [line(offset) for offset in range(0, 200_000, 2)]
    begin = time.perf_counter()
    for one in lines:
        ledger.opened(one)
    for one in reversed(lines):
        ledger.done(one)
    assert time.perf_counter() - begin < 5  # quadratic would be minutes
    assert offsets(ledger) == [(11, 200_000)]


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "positions.json"
    Checkpoint(path).save({"a.log": [PLACE], "b\udcff.log": []})
    assert Checkpoint(path).positions == {"a.log": (PLACE,), "b\udcff.log": ()}
    assert [file.name for file in path.parent.iterdir()] == ["positions.json"]


def test_saving_some_keeps_the_others(tmp_path):
    path = tmp_path / "p.json"
    Checkpoint(path).save({"a.log": [PLACE]})
    Checkpoint(path).save({"b.log": [PLACE]})
    assert set(Checkpoint(path).positions) == {"a.log", "b.log"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 2, "logs": {}}',
        b'{"version": 1, "logs": {"a": [{"inode": 1}]}}',
        b'{"version": 1, "logs": {"a": [{"inode": 1, "fingerprint": 1, "offset": -1, "mtime_ns": 1}]}}',
        b'{"version": 1, "logs": 5}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_is_kept_aside(tmp_path, caplog, content):
    path = tmp_path / "p.json"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert Checkpoint(path).positions == {}
    assert "p.json is damaged" in caplog.text
    assert (tmp_path / "p.json.corrupt").read_bytes() == content
    assert not path.exists()


def test_a_failed_save_says_so_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "p.json"
    checkpoint = Checkpoint(path)
    checkpoint.save({"a.log": [PLACE]})
    (tmp_path / "p.json.new").mkdir()
    with pytest.raises(LogFileError, match=r"p\.json: positions cannot be saved"):
        checkpoint.save({"a.log": [Position(7, 11, 10, 5)]})
    assert json.loads(path.read_bytes())["logs"]["a.log"][0]["offset"] == 0


def test_positions_of_another_store_begin_anew_and_the_log_says_so_once(tmp_path, caplog):
    path = tmp_path / "p.json"
    Checkpoint(path, "one").save({"a.log": [PLACE], "b.log": [PLACE]})
    assert Checkpoint(path, "one").positions == {"a.log": (PLACE,), "b.log": (PLACE,)}
    assert caplog.text == ""
    other = Checkpoint(path, "two")
    assert other.positions == {"a.log": (BEFORE_ALL,), "b.log": (BEFORE_ALL,)}
    assert "p.json is of another store" in caplog.text
    caplog.clear()
    other.save({"b.log": [PLACE]})  # a.log may not be there yet: it begins anew when it is
    assert Checkpoint(path, "two").positions == {"a.log": (BEFORE_ALL,), "b.log": (PLACE,)}
    assert caplog.text == ""
    assert Checkpoint(path, "one").positions == {"a.log": (BEFORE_ALL,), "b.log": (BEFORE_ALL,)}


def test_the_id_is_saved_though_no_position_changed(tmp_path):
    path = tmp_path / "p.json"
    Checkpoint(path, "one").save({"a.log": [BEFORE_ALL]})
    other = Checkpoint(path, "two")
    other.save({"a.log": [BEFORE_ALL]})
    assert json.loads(path.read_bytes())["store"] == "two"


def test_positions_without_an_id_are_taken_over(tmp_path, caplog):
    path = tmp_path / "p.json"
    Checkpoint(path).save({"a.log": [PLACE]})
    checkpoint = Checkpoint(path, "one")
    assert (checkpoint.positions, caplog.text) == ({"a.log": (PLACE,)}, "")
    checkpoint.save({"a.log": [PLACE]})
    assert json.loads(path.read_bytes())["store"] == "one"


def test_killed_at_any_moment_the_file_is_whole(tmp_path):
    path = tmp_path / "p.json"
    program = (
        "import sys; from pathlib import Path; from tailtrace_bridge.logs.checkpoint import Checkpoint, Position\n"
        "c = Checkpoint(Path(sys.argv[1])); i = 0\n"
        "while True:\n"
        "    i += 1; c.save({f'{n}.log': [Position(1, 2, i, 3)] for n in range(50)})\n"
        "    if i == 1: print('on', flush=True)\n"
    )
    for round_number in range(5):
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.02 + round_number * 0.007)
            process.kill()
        positions = Checkpoint(path).positions
        assert len(positions) == 50
        assert len({places[0].offset for places in positions.values()}) == 1
    assert not (tmp_path / "p.json.corrupt").exists()


def at(offset):
    return Position(5, 77, offset, 9)


def test_a_store_of_an_earlier_time_has_its_logs_read_again_from_where_it_ends(tmp_path, caplog):
    """A backup that was put back: it is the same store, and the file of positions is ahead of it."""
    path, live, copy = tmp_path / "c.json", tmp_path / "live.db", tmp_path / "copy.db"
    store = SqliteStore(live)
    checkpoint = Checkpoint(path, store.store_id, store)
    for number in range(1, 4):
        store.write([], [RejectedLine("empty", "a.log", number, "?")])
        if number == 2:
            with sqlite3.connect(live) as source, sqlite3.connect(copy) as target:
                source.backup(target)
            source.close()
            target.close()
        checkpoint.save({"a.log": [at(number * 100)]})
    assert Checkpoint(path, store.store_id, store).positions == {"a.log": (at(300),)}, "nothing is ahead"
    store.close()
    again = SqliteStore(live)
    assert Checkpoint(path, again.store_id, again).positions == {"a.log": (at(300),)}
    again.close()
    assert not caplog.records
    restored = SqliteStore(copy)
    checkpoint = Checkpoint(path, restored.store_id, restored)
    assert checkpoint.positions == {"a.log": (at(100),)}, "as saved before its last write: what it has is known by key"
    assert "is ahead of its store" in caplog.text
    # A log that it knows nothing of is read whole; and what is saved from now on counts again.
    restored.write([], [RejectedLine("empty", "a.log", 9, "?")])
    checkpoint.save({"a.log": [at(900)]})
    caplog.clear()
    assert Checkpoint(path, restored.store_id, restored).positions == {"a.log": (at(900),)}
    assert not caplog.records
    restored.close()


def test_a_backup_that_has_never_heard_of_a_log_has_it_read_whole(tmp_path):
    path, empty = tmp_path / "c.json", SqliteStore(tmp_path / "a.db")
    path.write_text(
        json.dumps({"version": 1, "store": empty.store_id, "writes": 5, "logs": {"a.log": [asdict(at(7))]}})
    )
    assert Checkpoint(path, empty.store_id, empty).positions == {"a.log": (BEFORE_ALL,)}
    empty.close()

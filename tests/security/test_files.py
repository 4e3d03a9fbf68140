"""What is written about people is for its owner alone; what somebody gave another mode keeps it."""

import gzip
import os

import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_bridge.alerts.state import AlertCounters, Outbox
from tailtrace_bridge.core.files.atomic import replace_file
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.logs.checkpoint import Checkpoint, Position
from tailtrace_bridge.store.sqlite.store import SqliteStore

ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "nANA", "", "static")
ACCESS = Access(1_760_000_000_000_000, 1, ANA.address, "GET", "/a", 200, 1, None, True, 1, "", "", "", "", "")


@pytest.fixture(autouse=True)
def _umask(tmp_path, monkeypatch):
    """The most that a umask lets others do."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TAILTRACE_", "TAILSCALE_"))]:
        monkeypatch.delenv(name)
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder):
    return {path.name: f"{path.stat().st_mode & 0o777:o}" for path in sorted(folder.iterdir())}


def test_a_new_store_and_what_sqlite_puts_beside_it(tmp_path):
    store = SqliteStore(str(tmp_path / "t.db"))
    store.write([Row(ACCESS, ANA, "/a", Traffic.APP, None, "")])
    assert modes(tmp_path) == {"t.db": "600", "t.db-shm": "600", "t.db-wal": "600"}
    store.close()


def test_a_store_keeps_the_mode_that_somebody_gave_it(tmp_path):
    SqliteStore(str(tmp_path / "t.db")).close()
    (tmp_path / "t.db").chmod(0o640)
    SqliteStore(str(tmp_path / "t.db")).close()
    assert modes(tmp_path) == {"t.db": "640"}


def test_a_store_behind_a_link(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "t.db").symlink_to(tmp_path / "data" / "real.db")
    SqliteStore(str(tmp_path / "t.db")).close()
    assert modes(tmp_path / "data") == {"real.db": "600"}


def test_the_checkpoint(tmp_path):
    Checkpoint(tmp_path / "c.json").save({"access.log": (Position(1, 2, 3, 4),)})
    assert modes(tmp_path) == {"c.json": "600"}


def test_the_state_of_alerts(tmp_path):
    Outbox(tmp_path / "a.json", AlertCounters()).save()
    assert modes(tmp_path) == {"a.json": "600"}


@pytest.mark.parametrize(("output", "opened"), [("ana.json", open), ("ana.json.gz", gzip.open)])
def test_what_a_person_is_given(tmp_path, output, opened):
    store = SqliteStore(str(tmp_path / "tailtrace.db"))
    store.write([Row(ACCESS, ANA, "/a", Traffic.APP, None, "")])
    store.close()
    done = CliRunner().invoke(app, ["export", "--user", "ana@example.com", "--output", output])
    assert (done.exit_code, modes(tmp_path)[output]) == (0, "600")
    with opened(tmp_path / output, "rt") as file:
        assert "ana-laptop" in file.read()


def test_a_link_in_the_way_of_a_new_file_is_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"kept")
    (tmp_path / "state.json.new").symlink_to(tmp_path / "precious")
    replace_file(tmp_path / "state.json", b"new")
    assert ((tmp_path / "precious").read_bytes(), (tmp_path / "state.json").read_bytes()) == (b"kept", b"new")
    assert not (tmp_path / "state.json").is_symlink()


def test_what_a_crash_left_lends_no_mode(tmp_path):
    (tmp_path / "state.json.new").write_bytes(b"half")
    (tmp_path / "state.json.new").chmod(0o666)
    replace_file(tmp_path / "state.json", b"new")
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_the_monthly_report(tmp_path):
    SqliteStore(str(tmp_path / "t.db")).close()
    (tmp_path / "there.html").touch(0o644)
    for name in ("new.html", "there.html"):
        run = CliRunner().invoke(app, ["report", "--store", "sqlite:t.db", "--month", "2025-10", "--html", name])
        assert (run.exit_code, run.output) == (0, f"wrote {name}\n")
    assert {name: mode for name, mode in modes(tmp_path).items() if name.endswith("html")} == {
        "new.html": "600",
        "there.html": "644",
    }


def test_nobody_else_writes_what_nginx_includes(tmp_path):
    done = CliRunner().invoke(app, ["nginx", "made/here", "--behind-serve"])
    assert done.exit_code == 0, done.output
    assert set(modes(tmp_path / "made" / "here").values()) == {"644"}
    assert modes(tmp_path / "made") == {"here": "755"}

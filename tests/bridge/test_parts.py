"""What the settings name is made, or refused with what to do."""

import pytest

from tailtrace_bridge.core.errors import BusyError, SettingsError, StoreError
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.wiring.parts import lock_checkpoint, open_store, require_store


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("sqlite::memory:", "sqlite::memory: would lose all at the end; write sqlite:PATH"),
        ("sqlite:", "'sqlite:' is no store; write sqlite:PATH or influxdb"),
        ("postgres:x", "'postgres:x' is no store; write sqlite:PATH or influxdb"),
    ],
)
def test_what_is_no_store(store, said):
    with pytest.raises(SettingsError, match="TAILTRACE_STORE: ") as refused:
        open_store(settings.load(store=store))
    assert said in str(refused.value)


@pytest.mark.parametrize("kind", ["", "influxdb:", "sqlite:"])
@pytest.mark.parametrize("opens", [open_store, require_store])
def test_the_address_of_a_server_has_a_setting_of_its_own(kind, opens, tmp_path):
    with pytest.raises(SettingsError, match="in INFLUXDB_V2_URL") as refused:
        opens(settings.load(store=f"{kind}HTTP://ana:secret@127.0.0.1:8086"))
    assert "secret" not in str(refused.value)
    assert not any(tmp_path.iterdir())


def test_a_path_that_holds_something_else(tmp_path):
    (tmp_path / "notes.txt").write_text("no database\n")
    with pytest.raises(
        StoreError, match=r"notes\.txt: file is not a database; this is no SQLite database; name another"
    ):
        open_store(settings.load(store="sqlite:notes.txt"))
    assert (tmp_path / "notes.txt").read_text() == "no database\n"


def test_stores_are_told_apart_by_their_id(monkeypatch):
    monkeypatch.setenv("INFLUXDB_V2_TOKEN", "secret")
    made = [
        open_store(settings.load(store="sqlite:a.db")),
        open_store(settings.load(store="sqlite:b.db")),
        open_store(settings.load(store="influxdb")),
        open_store(settings.load(store="influxdb", influxdb_v2_bucket="other")),
        open_store(settings.load(store="influxdb", influxdb_v2_url="http://127.0.0.1:9")),  # nobody is asked
    ]
    again = [open_store(settings.load(store="sqlite:a.db")), open_store(settings.load(store="influxdb", source="b"))]
    ids = [store.store_id for store in made]
    assert len(set(ids)) == 5
    assert all(ids)
    assert [store.store_id for store in again] == [ids[0], ids[2]]
    for store in (*made, *again):
        store.close()


def test_a_checkpoint_in_a_folder_that_is_missing(tmp_path):
    path = tmp_path / "missing" / "c.json"
    with pytest.raises(SettingsError, match=f"TAILTRACE_CHECKPOINT: {path}: there is no folder {path.parent}; make it"):
        lock_checkpoint(path)
    assert not path.parent.exists()


def test_a_checkpoint_has_one_bridge(tmp_path):
    lock = lock_checkpoint(tmp_path / "c.json")
    with pytest.raises(BusyError, match=r"c\.json: process \d+ reads the logs from there already; end it"):
        lock_checkpoint(tmp_path / "c.json")
    other = lock_checkpoint(tmp_path / "other.json")
    lock.release()
    lock_checkpoint(tmp_path / "c.json").release()
    other.release()


def test_a_lock_that_cannot_be_made(tmp_path):
    (tmp_path / "c.json.lock").mkdir()
    with pytest.raises(BusyError, match=r"c\.json: its lock: Is a directory; mend"):
        lock_checkpoint(tmp_path / "c.json")

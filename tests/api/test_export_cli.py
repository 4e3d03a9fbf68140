"""`tailtrace export` as a user runs it: what it writes and where, what it says, and its exit status."""

import gzip
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_bridge.transfer import exporter
from tailtrace_bridge.transfer.format import Lines

COMBINED = str(Path(__file__).parents[1] / "samples" / "combined.log")
AT = ["--at", "2025-10-08T15:00:00Z"]


pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def filled(run):
    assert run("import", COMBINED, "--max-rejected", 20).exit_code == 0
    return run


def test_there_and_back_with_the_same_answers(filled):
    result = filled("export", "--output", "all.ndjson.gz", "--json")
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary.pop("seconds") >= 0
    assert summary == {"requests": 10, "refusals": 2, "identities": 0, "pruned": 0}
    for stored, duplicate in ((10, 0), (0, 10)):
        done = json.loads(filled("import", "all.ndjson.gz", "--store", "sqlite:b.db", "--json").stdout)
        assert (done["lines"], done["stored"], done["duplicate"], done["refused"]) == (12, stored, duplicate, 2)
    there, here = (
        json.loads(filled("report", *AT, "--json", "--store", store).stdout)
        for store in ("sqlite:b.db", "sqlite:tailtrace.db")
    )
    for answer in (there, here):
        answer["system_health_history"].pop("influxdb_query_times")  # how long it took
    assert there == here
    assert len(here["access_logs"]["logs"]) == 10


def test_it_prints_by_default_and_the_summary_goes_elsewhere(filled):
    result = filled("export")
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert next(iter(lines[0])) == "tailtrace_export"
    assert lines[0]["store"] == "sqlite:tailtrace.db"
    assert lines[-1]["tailtrace_end"]["requests"] == 10 == len([line for line in lines if "time_us" in line])
    assert "10 requests, 2 rejected lines, 0 names in " in result.stderr


def test_the_same_store_gives_the_same_bytes(filled):
    for name in ("a.gz", "b.gz"):
        assert filled("export", "-o", name).exit_code == 0
    assert Path("a.gz").read_bytes() == Path("b.gz").read_bytes()
    assert gzip.decompress(Path("a.gz").read_bytes()).decode() == filled("export").stdout


def test_since_and_until(filled):
    whole = [json.loads(line)["time_us"] for line in filled("export").stdout.splitlines() if '"time_us"' in line[:12]]
    words = ("export", "--since", "2025-10-08T12:00:00Z", "--until", "2025-10-08T16:00:00+02:00")
    some = [json.loads(line)["time_us"] for line in filled(*words).stdout.splitlines()[1:-1]]
    assert some == [time_us for time_us in whole if 1_759_924_800_000_000 <= time_us < 1_759_932_000_000_000]
    assert filled("export", "--since", "2026-01-01").stdout.count("\n") == 2


def test_csv_and_parquet(filled):
    lines = filled("export", "--format", "csv").stdout.splitlines()
    assert lines[0].startswith("time,time_us,key,address,")
    assert len(lines) == 11
    parquet = pytest.importorskip("pyarrow.parquet")
    assert filled("export", "--format", "parquet", "--output", "t.parquet").exit_code == 0
    assert parquet.read_table("t.parquet").num_rows == 10


def test_a_file_is_replaced_whole_and_is_its_owners_alone(filled, monkeypatch):
    Path("real.ndjson").write_text("before")
    Path("link.ndjson").symlink_to("real.ndjson")
    with monkeypatch.context() as patch:
        patch.setattr(Lines, "last", lambda _: exec("raise OSError(28, 'No space left on device')"))
        result = filled("export", "--output", "link.ndjson")
    assert result.exit_code == 1
    assert "link.ndjson: cannot be written: No space left on device" in result.stderr
    assert Path("real.ndjson").read_text() == "before"
    assert filled("export", "--output", "link.ndjson").exit_code == 0
    assert Path("link.ndjson").is_symlink()
    assert Path("real.ndjson").read_text().startswith('{"tailtrace_export":1')
    assert stat.S_IMODE(Path("real.ndjson").stat().st_mode) == 0o600
    assert not list(Path().glob(".*.part"))


def test_a_device_is_written_to_and_not_replaced(filled):
    assert filled("export", "--output", "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()


def test_pruned_requests_are_told(filled):
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    store = SqliteStore("tailtrace.db")
    assert store.prune(1 << 60) == 10
    store.close()
    result = filled("export", "--output", "x.ndjson")
    assert result.stdout.startswith("0 requests, 2 rejected lines, 0 names in ")
    assert "10 more are only in the rollups of this store" in result.stderr


def test_a_cut_export_fails_after_it_is_in(filled):
    assert filled("export", "-o", "all.ndjson").exit_code == 0
    data = Path("all.ndjson").read_bytes()
    Path("cut.ndjson").write_bytes(data[: data.rindex(b'{"tailtrace_end"')])
    result = filled("import", "cut.ndjson", "--store", "sqlite:b.db", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["stored"] == 10
    assert "cut.ndjson: the export is cut" in result.stderr


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--format", "xml"], 2, "'xml' is not one of 'ndjson', 'csv',"),
        (["--since", "yesterday"], 2, "--since 'yesterday': write a time like"),
        (["--until", "x"], 2, "--until 'x': write a time like"),
        (["--store", "sqlite:none.db"], 1, "store sqlite:none.db: there is no such file"),
        (["--output", "no/such/folder.ndjson"], 1, "no/such/folder.ndjson: cannot be written"),
        (["--output", "."], 1, "cannot be written"),
        (["--output", ""], 2, "--output is empty: name a file, or write - to print"),
        (["--since", "2025-10-09", "--until", "2025-10-08"], 2, "--since is not before --until"),
        (["--user", ""], 2, "say who: one of --user, --device, --address"),  # an empty variable is not everybody
        (["--user", "ana@example.com", "--format", "parquet"], 2, "leave out --since, --until and --format parquet"),
    ],
)
def test_wrong_use(filled, words, status, says):
    result = filled("export", *words)
    assert result.exit_code == status
    assert says in " ".join(result.stderr.replace("│", " ").split())


def test_a_reader_that_goes_away_ends_it_quietly(filled, monkeypatch):
    monkeypatch.setattr(exporter, "PAGE_ROWS", 1)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "tailtrace_api.main", "export"],
        check=False,
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    os.close(writer)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr

"""Whole logs in: every line is stored, known already, or refused; the second time changes nothing."""

import gzip
import shutil
from pathlib import Path

import pytest

from tailtrace_bridge import importer
from tailtrace_bridge.access_log import make_parser
from tailtrace_bridge.enrich import Enricher
from tailtrace_bridge.importer import Imported, import_logs
from tailtrace_bridge.records import Identity
from tailtrace_bridge.routes import Routes
from tailtrace_bridge.store.protocol import Filters, Window
from tailtrace_bridge.store.sqlite import SqliteStore

SAMPLES = Path(__file__).parents[1] / "samples"
ALL = Window(0, 1 << 60)


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    yield made
    made.close()


def run(store, *paths, **options) -> Imported:
    return import_logs(
        paths, make_parser=make_parser, enricher=Enricher(Identity, Routes()), store=store, **options
    )  # fmt: skip


def sums(store):
    return (
        store.usage(ALL, Filters()),
        store.steps(ALL, 3_600_000_000),
        store.activity(ALL),
        store.minutes(ALL),
        store.refusals(),
    )


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("combined.log", Imported(12, 10, 0, 2, {"bad-time": 1, "no-format": 1})),
        ("short.log", Imported(3, 3, 0, 0, {})),
        ("tailtrace.log", Imported(3, 3, 0, 0, {})),
    ],
)
def test_samples(store, sample, expected):
    assert run(store, SAMPLES / sample) == expected
    before = sums(store)
    assert sum(usage.requests for usage in before[0]) == expected.stored
    again = run(store, SAMPLES / sample)
    assert (again.lines, again.stored, again.duplicate) == (expected.lines, 0, expected.stored)
    assert sums(store) == before


def test_a_log_under_another_name_or_gzipped_is_the_same_log(store, tmp_path):
    run(store, SAMPLES / "combined.log")
    shutil.copy(SAMPLES / "combined.log", tmp_path / "access.log.1")
    (tmp_path / "access.log.2.gz").write_bytes(gzip.compress((SAMPLES / "combined.log").read_bytes()))
    again = run(store, tmp_path / "access.log.1", tmp_path / "access.log.2.gz")
    assert (again.lines, again.stored, again.duplicate, again.refused) == (24, 0, 20, 4)


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_imported(store, tmp_path):
    broken = tmp_path / "cut.gz"
    broken.write_bytes(gzip.compress((SAMPLES / "short.log").read_bytes() * 2000)[:-10])
    done = run(store, tmp_path / "missing.log", broken, SAMPLES / "short.log")
    assert [problem.split(":")[0] for problem in done.problems] == [str(tmp_path / "missing.log"), str(broken)]
    assert done.lines == done.stored + done.duplicate + done.refused
    assert done.lines > 3


def test_small_batches_give_the_same(store, tmp_path, monkeypatch):
    run(store, SAMPLES / "combined.log", SAMPLES / "tailtrace.log")
    monkeypatch.setattr(importer, "BATCH_ROWS", 1)
    other = SqliteStore(tmp_path / "other.db")
    assert run(other, SAMPLES / "combined.log", SAMPLES / "tailtrace.log").stored == 13
    assert sums(other)[1:] == sums(store)[1:]
    other.close()


def test_progress_is_told_in_bytes_of_the_files(store):
    counts = []
    run(store, SAMPLES / "combined.log", SAMPLES / "short.log", on_bytes=counts.append)
    assert sum(counts) == sum((SAMPLES / name).stat().st_size for name in ("combined.log", "short.log"))


@pytest.mark.shared
def test_a_real_log_adds_up(store, shared_data):
    logs = sorted((shared_data / "nginx-access").glob("*.gz"))
    assert logs, f"no logs in {shared_data}"
    # Counted without us: address first, status first behind the request in quotes.
    lines, errors, addresses = 0, 0, set()
    for log in logs:
        for text in gzip.decompress(log.read_bytes()).decode("utf-8", "replace").split("\n")[:-1]:
            lines += 1
            addresses.add(text.split(" ", 1)[0])
            errors += text.split('"')[2].split()[0].startswith("5")
    done = run(store, *logs)
    assert done.problems == []
    assert done.lines == lines == done.stored + done.duplicate + done.refused
    assert (done.stored, done.refused) == (lines, 0)
    before = sums(store)
    usages = before[0]
    assert sum(usage.requests for usage in usages) == lines
    assert sum(usage.requests for usage in usages if usage.status >= 500) == errors
    assert {usage.identity.address for usage in usages} == addresses
    again = run(store, *logs)
    assert (again.lines, again.stored, again.duplicate) == (lines, 0, lines)
    assert sums(store) == before

"""Whole logs in: every line is stored, known already, or refused; the second time changes nothing."""

import gzip
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from tailtrace_bridge.core.errors import BridgeError, FormatError, IdentityError
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.chain import Holder
from tailtrace_bridge.identity.control.devices import Device, DeviceIndex
from tailtrace_bridge.identity.history import Held
from tailtrace_bridge.identity.history_file import write
from tailtrace_bridge.logs.files import GROWING_S, read_lines
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.logs.understood import understand
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.rows.traffic import HEALTH_PATHS
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import By, Filters, Window
from tailtrace_bridge.transfer import importer
from tailtrace_bridge.transfer.importer import Imported, ImportJob, import_logs, store_chunks
from tailtrace_bridge.transfer.worker import ImportWorker, Sender
from tailtrace_bridge.wiring.recall import recalled

SAMPLES = Path(__file__).parents[1] / "samples"
ALL = Window(0, 1 << 60)


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    yield made
    made.close()


def run(store, *paths, **options) -> Imported:
    return import_logs(
        paths, make_parser=make_parser, enricher=Enricher(lambda address: Holder(Identity(address)), Routes()), store=store, **options
    )  # fmt: skip


def sums(store):
    return (
        store.usage(Scope.everybody(), ALL, Filters()),
        store.bucket_usage(Scope.everybody(), ALL, 3_600_000_000),
        store.activity(Scope.everybody(), ALL),
        store.uptime(Scope.everybody(), ALL),
        store.rejected_by_reason(),
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
    assert (again.lines, again.stored, again.duplicate, again.rejected) == (24, 0, 20, 4)


@pytest.mark.parametrize(
    ("cut", "age_s", "expected"),
    [
        (0, 0, Imported(11, 9, 0, 2, {"bad-time": 1, "no-format": 1})),  # nginx may be writing it now
        (0, GROWING_S + 60, Imported(12, 10, 0, 2, {"bad-time": 1, "no-format": 1})),
        (9, 0, Imported(11, 9, 0, 2, {"bad-time": 1, "no-format": 1})),
        (9, GROWING_S + 60, Imported(12, 9, 0, 3, {"bad-time": 1, "no-format": 2})),
    ],
)
def test_the_last_line_of_an_old_file_is_whole_or_rejected(store, tmp_path, cut, age_s, expected):
    """Nobody writes on: `import it again` would be no advice, and a line that is not counted is lost."""
    log = tmp_path / "access.log"
    log.write_bytes((SAMPLES / "combined.log").read_bytes().rstrip(b"\n")[: -cut or None])
    then_s = time.time() - age_s
    os.utime(log, (then_s, then_s))
    done = run(store, log)
    assert (done.lines, done.stored, done.rejected_by_reason) == (
        expected.lines,
        expected.stored,
        expected.rejected_by_reason,
    )
    assert [("no newline" in note) for note in done.notes] == [True] * (not age_s)


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_imported(store, tmp_path):
    broken = tmp_path / "cut.gz"
    broken.write_bytes(gzip.compress((SAMPLES / "short.log").read_bytes() * 2000)[:-10])
    done = run(store, tmp_path / "missing.log", broken, SAMPLES / "short.log")
    assert [problem.split(":")[0] for problem in done.problems] == [str(tmp_path / "missing.log"), str(broken)]
    assert done.lines == done.stored + done.duplicate + done.rejected
    assert done.lines > 3


def test_small_batches_give_the_same(store, tmp_path, monkeypatch):
    run(store, SAMPLES / "combined.log", SAMPLES / "tailtrace.log")
    monkeypatch.setattr(importer, "BATCH_ROWS", 1)
    other = SqliteStore(tmp_path / "other.db")
    assert run(other, SAMPLES / "combined.log", SAMPLES / "tailtrace.log").stored == 13
    assert sums(other)[1:] == sums(store)[1:]
    other.close()


def test_an_address_is_asked_about_once_however_long_an_import_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(importer, "BATCH_ROWS", 1)
    for name in ("_monotonic_us", "_wall_us"):  # a minute passes between any two looks
        monkeypatch.setattr(importer, name, partial(next, iter(range(10**15, 10**18, 60_000_000))))
    log = tmp_path / "access.log"
    line = '203.0.113.9 - - [24/Apr/2018:06:25:{:02} +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'
    log.write_text("".join(map(line.format, range(60))))
    monkeypatch.setattr("tailtrace_bridge.logs.packed.CHUNK_BYTES", 3 * len(line))
    chunks = list(job(log).chunks())
    assert sum(len(one.columns.key) for one in chunks) == 60
    assert len(chunks) > 3
    assert len({when for one in chunks for when in one.columns.identified_us}) == 1


def test_progress_is_told_in_bytes_of_the_files(store):
    counts = []
    run(store, SAMPLES / "combined.log", SAMPLES / "short.log", on_bytes=counts.append)
    assert sum(counts) == sum((SAMPLES / name).stat().st_size for name in ("combined.log", "short.log"))


def job(*paths, **changed) -> ImportJob:
    parts = {"log_format": "auto", "zone": UTC, "identities": None, "routes": Routes(), "health_paths": HEALTH_PATHS}
    return ImportJob(paths, **(parts | changed))


@pytest.fixture(scope="session")
def generated(tmp_path_factory) -> Path:
    """Lines of all kinds in five days: timed, cards, bots, health checks, unknown paths, refused and repeated ones."""
    dice, start = random.Random(11), datetime(2026, 3, 1, tzinfo=UTC)
    paths = ["/a", "/a/{}", "/b/{}/c", "/x.css", "/healthz", "/_tailtrace/view?card=c{}", "/gone/{}"]
    agents = ["Mozilla/5.0", "curl/8.5", "Googlebot/2.1", "kube-probe/1.29"]
    lines = []
    for n in range(30_000):
        when = (start + timedelta(seconds=15 * n)).strftime("%d/%b/%Y:%H:%M:%S +0000")
        path = dice.choice(paths).format(dice.randrange(50))
        status = 204 if "card=" in path else 404 if "gone" in path else dice.choice((200, 200, 304, 500))
        lines.append(
            f'100.64.0.{dice.randrange(200)} - - [{when}] "GET {path} HTTP/1.1" {status} {dice.randrange(9999)} "-" '
            f'"{dice.choice(agents)}" 0.{dice.randrange(999):03} 0.001'
            if n % 1000
            else "no log line"
        )
    path = tmp_path_factory.mktemp("generated") / "access.log"
    path.write_text("\n".join(lines) + "\n")
    return path


def tables(path: Path) -> dict[str, list]:
    """Everything that a store holds, with its texts in the place of its ids."""
    connection = sqlite3.connect(path)
    try:
        names = {
            "identity_id": dict(connection.execute("SELECT id, address || '|' || user FROM identity")),
            "endpoint_id": dict(connection.execute("SELECT id, service || '|' || route FROM endpoint")),
            "agent_id": dict(connection.execute("SELECT id, text FROM agent")),
        }
        found = {}
        for table in (
            "access",
            "usage",
            "usage_day",
            "latency",
            "latency_day",
            "visit",
            "visit_day",
            "hour",
            "refusal",
        ):
            rows = connection.execute(f"SELECT * FROM {table}")
            columns = [column[0] for column in rows.description]
            if table == "access":  # the last column is the time of the import
                assert columns.pop() == "identified_us"
            found[table] = sorted(
                repr(
                    [
                        names[column][value] if column in names else value
                        for column, value in zip(columns, row, strict=False)
                    ]
                )
                for row in rows
            )
        return found
    finally:
        connection.close()


def test_a_worker_stores_what_one_process_stores_row_by_row(tmp_path, generated):
    results, bytes_read = [], []
    for name in ("worker", "here", "rows"):
        store = SqliteStore(tmp_path / f"{name}.db")
        if name == "worker":
            with ImportWorker() as worker:
                results.append(store_chunks(worker.chunks(job(generated)), store, bytes_read.append))
            with ImportWorker() as worker:
                again = store_chunks(worker.chunks(job(generated)), store)
        elif name == "here":
            results.append(store_chunks(job(generated).chunks(), store))
        else:
            sample = [line for line, *_ in islice(read_lines(generated), 1000)]
            parser, _ = understand(make_parser(), str(generated), sample)
            parse, enricher = parser.parse, Enricher(lambda address: Holder(Identity(address)), Routes())
            records = [parse(line, str(generated), *place) for line, *place in read_lines(generated)]
            rows = [enricher.row(record) for record in records if not hasattr(record, "reason")]
            store.write(rows, [record for record in records if hasattr(record, "reason")])
        store.close()
    assert results[0] == results[1] == Imported(30_000, 29_970, 0, 30, {"no-format": 30})
    assert (again.stored, again.duplicate, again.rejected) == (0, 29_970, 30)
    assert sum(bytes_read) == generated.stat().st_size
    stored = tables(tmp_path / "worker.db")
    assert {name: len(rows) for name, rows in stored.items() if not rows} == {}
    assert stored == tables(tmp_path / "here.db") == tables(tmp_path / "rows.db")


def test_a_worker_tells_of_files_that_cannot_be_read(store, tmp_path):
    broken = tmp_path / "cut.gz"
    broken.write_bytes(gzip.compress((SAMPLES / "short.log").read_bytes() * 2000)[:-10])
    paths = tmp_path / "missing.log", broken, SAMPLES / "short.log"
    with ImportWorker() as worker:
        done = store_chunks(worker.chunks(job(*paths)), store)
    assert [problem.split(":")[0] for problem in done.problems] == [str(tmp_path / "missing.log"), str(broken)]
    assert done.lines == done.stored + done.duplicate + done.rejected > 3


def test_a_worker_raises_what_is_wrong_with_its_job(tmp_path):
    with ImportWorker() as worker, pytest.raises(FormatError, match="no \\$variable"):
        list(worker.chunks(job(SAMPLES / "short.log", log_format="words")))
    (tmp_path / "who.json").write_text("{")
    with ImportWorker() as worker, pytest.raises(IdentityError, match=r"who\.json"):
        list(worker.chunks(job(SAMPLES / "short.log", identities=tmp_path / "who.json")))


def test_a_worker_that_is_killed_is_told_and_what_it_gave_stays(store, generated):
    with ImportWorker() as worker:
        chunks = worker.chunks(job(*[generated] * 50))

        def killed_after_the_first():
            yield next(chunks)
            os.kill(worker.pid, signal.SIGKILL)
            yield from chunks

        with pytest.raises(BridgeError, match=r"ended too early \(exit status -9\)"):
            store_chunks(killed_after_the_first(), store)
    assert sum(usage.requests for usage in store.usage(Scope.everybody(), ALL, Filters())) >= 999


def test_an_importer_that_ends_early_takes_its_worker_along(generated):
    with ImportWorker() as worker:
        next(worker.chunks(job(*[generated] * 50)))
        os.kill(worker.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the writing end of a pipe what waits in it")
def test_an_importer_is_behind_until_the_pipe_is_empty():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as theirs, os.fdopen(writing, "wb") as ours:
        sender = Sender(ours)
        assert not sender.is_behind
        sender.send(b"a chunk")
        sender.close()  # by now all is written, and nothing read
        assert sender.is_behind
        assert theirs.read(1000).endswith(b"a chunk")
        assert not sender.is_behind


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
    assert done.lines == lines == done.stored + done.duplicate + done.rejected
    assert (done.stored, done.rejected) == (lines, 0)
    before = sums(store)
    usages = before[0]
    assert sum(usage.requests for usage in usages) == lines
    assert sum(usage.requests for usage in usages if usage.status >= 500) == errors
    assert {usage.identity.address for usage in usages} == addresses
    again = run(store, *logs)
    assert (again.lines, again.stored, again.duplicate) == (lines, 0, lines)
    assert sums(store) == before


def test_an_old_line_is_named_only_if_its_address_was_seen_then(store, tmp_path):
    """That a device is older than a line proves nothing; that a bridge saw it before the line, and we see it now, does."""
    created_us = 1_759_924_800_000_000  # 2025-10-08T12:00:00Z
    device = Device(
        "n1", "", "ana-laptop", "ana-laptop", ("100.64.0.7",), "ana@example.com", (), False, None, None,
        created_us - 10**15, None, "nodekey:1",
    )  # fmt: skip
    unseen = replace(device, node_id="n2", addresses=("100.64.0.8",))
    gone = Identity("100.64.0.9", "user", "ben@example.com", "ben-phone", "n3")
    history = tmp_path / "checkpoint.history.json"
    seen = [
        Held(device.identity("100.64.0.7", 0), "nodekey:1", created_us, created_us),
        Held(gone, "nodekey:3", created_us, created_us + 7_200_000_000, created_us + 7_300_000_000),
    ]
    write(history, seen, created_us + 60_000_000)
    log = tmp_path / "access.log"
    log.write_text(
        '100.64.0.7 - - [08/Oct/2025:11:00:00 +0000] "GET /before HTTP/1.1" 200 1\n'
        '100.64.0.7 - - [08/Oct/2025:13:00:00 +0000] "GET /after HTTP/1.1" 200 1\n'
        '100.64.0.8 - - [08/Oct/2025:13:00:00 +0000] "GET /unseen HTTP/1.1" 200 1\n'
        '100.64.0.9 - - [08/Oct/2025:13:00:00 +0000] "GET /then HTTP/1.1" 200 1\n'
        '100.64.0.9 - - [08/Oct/2025:15:00:00 +0000] "GET /later HTTP/1.1" 200 1\n'
        '8.8.8.8 - - [08/Oct/2025:11:00:00 +0000] "GET /public HTTP/1.1" 200 1\n'
    )
    index = DeviceIndex([device, unseen], as_of_us=created_us)
    with ImportWorker() as worker:
        store_chunks(worker.chunks(job(log, devices=index, history=history)), store)
    assert {
        entry.path: (entry.identity.user, entry.identity.reason)
        for entry in store.log(Scope.everybody(), ALL, Filters(), 9, None)
    } == {
        "/before": ("", "address-reused-or-unknown-then"),
        "/after": ("ana@example.com", ""),
        "/unseen": ("", "address-reused-or-unknown-then"),
        "/then": ("ben@example.com", ""),
        "/later": ("", "no-such-node"),
        "/public": ("", ""),
    }
    assert all(entry.identified_us > created_us for entry in store.log(Scope.everybody(), ALL, Filters(), 9, None))


COMBINED = '100.64.0.7 - - [24/Apr/2026:06:25:{:02} +0000] "GET /a/{} HTTP/1.1" 200 32 "-" "Dalvik/2.1.0"'
OURS = (
    "t3\t1777012000.0{:02}\t0b3510b0b46ee1da317017a62057{:04}\t\t\t01\t100.64.0.2\t9992\t\t\tGET\t/c\t200\t82\t0.117"
    "\tfactory\tMozilla/5.0\t\t\t\t\t127.0.0.1:8000\t0.117\t200\t\t\t\t\tHTTP/1.1\thttp\t\t\tfactory"
)
GOES_ON = {
    "main": (COMBINED + ' "203.0.113.9"', ["combined", "main"]),
    "words that nobody knows": (COMBINED + " eu-west frontend", ["combined", "combined, and more"]),
    "JSON": (
        '{{"time":"2026-04-24T06:26:{:02}+00:00","client_ip":"100.64.0.8","method":"GET","uri":"/b/{}","status":200}}',
        ["combined", "json"],
    ),
    "ours": (OURS, ["combined", "tailtrace"]),
}
"""A log that went on when nginx's configuration was changed: its later lines, and what it is read as."""


def gone_on(path: Path, kind: str, lines: int, before: int = 2000) -> Path:
    later = GOES_ON[kind][0]
    texts = [COMBINED.format(at % 60, at % 7) for at in range(before)]
    path.write_text("".join(f"{one}\n" for one in [*texts, *(later.format(at % 60, at) for at in range(lines))]))
    return path


@pytest.mark.parametrize("kind", GOES_ON)
@pytest.mark.parametrize("lines", [4, 9000])
def test_a_log_that_goes_on_in_another_format_is_read_to_its_end_and_that_is_told(store, tmp_path, kind, lines):
    done = run(store, gone_on(tmp_path / "access.log", kind, lines))
    assert (done.lines, done.stored, done.rejected) == (2000 + lines, 2000 + lines, 0)
    first, *later = done.understood
    assert [fmt.name for one in (first, *later) for fmt in one.formats] == GOES_ON[kind][1][: 1 + len(later)]
    if kind != "ours":  # which is known without a look
        assert [(one.from_line, one.looked_at) for one in later] == [(2001, min(lines, 1000))]
    again = run(store, tmp_path / "access.log")
    assert (again.duplicate, again.stored) == (2000 + lines, 0)


def test_lines_that_are_of_no_format_do_not_end_the_search_for_one(store, tmp_path):
    log = gone_on(tmp_path / "access.log", "words that nobody knows", 3000)
    texts = log.read_text().splitlines()
    texts[2000:2000] = ["a hole in the disk"] * 3000
    log.write_text("".join(f"{one}\n" for one in texts))
    done = run(store, log)
    assert (done.lines, done.rejected_by_reason) == (8000, {"no-format": 3000})
    assert done.first_rejected_line == {"no-format": 2001}
    assert all(one.is_sure for one in done.understood)


@pytest.mark.parametrize("kind", GOES_ON)
def test_a_worker_finds_it_too(store, tmp_path, kind):
    log = gone_on(tmp_path / "access.log", kind, 9000)
    expected = run(store, log).understood
    with ImportWorker() as worker:
        assert [one for chunk in worker.chunks(job(log)) for one in chunk.understood] == expected


def test_hosts_that_clients_made_up_are_one_service(store, tmp_path):
    log = tmp_path / "a.log"
    log.write_text("".join(
        f'h{n}.example:443 100.64.0.7 - - [10/Mar/2024:10:00:00 +0000] "GET /a HTTP/1.1" 200 {n} "-" "curl/8"\n'
        for n in range(1_300)
    ))  # fmt: skip
    done = run(store, log)
    assert done.stored == 1_300
    assert f"{log}: 300 requests are of the service __other__" in done.notes[0]
    services = {usage.service for usage in store.usage(Scope.everybody(), ALL, Filters(), By.ENDPOINT)}
    assert (len(services), "__other__" in services) == (1_001, True)
    again = run(store, log)  # a bridge that starts anew, or another import, knows them from the store
    known = recalled(store, 1_710_064_800_000_000)[2]
    assert (again.duplicate, set(known)) == (1_300, services)

"""`tailtrace erase` and `tailtrace export --user` on real files, searched byte by byte."""

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from typer.testing import CliRunner

from tailtrace_api.answers.requests import iso
from tailtrace_api.commands.cli import app
from tailtrace_api.commands.privacy import neutral
from tailtrace_bridge.alerts.state import AlertCounters, Message, Outbox
from tailtrace_bridge.core.records import Access, Failure, Identity, Marker, RejectedLine, Row, Traffic, WholeSpan
from tailtrace_bridge.identity.pseudonyms import Pseudonyms
from tailtrace_bridge.settings.table import load
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, HOUR_US, AlertEvent, By, Filters, Window
from tailtrace_bridge.traces.pack import pack, to_otlp_json
from tailtrace_bridge.wiring.bridge import make_bridge
from tailtrace_bridge.wiring.parts import lock_checkpoint

S = 1_000_000
T0 = 1_759_924_800 * S
ALL = Window(0, 2**53)
ANA = Identity("100.64.0.7", "user", "ana.unique@example.com", "anas-own-laptop", "nodeANA", "", "localapi", "uidANA")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "nodeBEN", "", "localapi", "uidBEN")
NEEDLES = (b"ana.unique", b"anas-own-laptop", b"100.64.0.7", b"nodeANA", b"uidANA", b"/only-anas", b"AnasBrowser")


pytestmark = pytest.mark.usefixtures("own_folder")


def row(at_us, key, who, route="/a", agent="curl", status=200):
    access = Access(
        at_us, key, who.address, "GET", route, status, 5_000 + key, None, True, 10, "", "", "", agent, ""
    )  # fmt: skip
    return Row(access, who, route, Traffic.APP, None, "")


def rows(count=400, days=3):
    made = []
    for n in range(count):
        at_us = T0 + n * (days * DAY_US // count)
        made.append(row(at_us, 2 * n, ANA, "/only-anas" if n % 3 else "/a", "AnasBrowser/1", 200 if n % 5 else 503))
        made.append(row(at_us + 7, 2 * n + 1, BEN, status=200 if n % 7 else 500))
    return made


REFUSALS = [
    RejectedLine("no-format", "a.log", 0, "odd 100.64.0.7"),
    RejectedLine("no-format", "a.log", 9, "odd 100.64.0.8"),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tailtrace.db"


@pytest.fixture
def filled(path):
    store = SqliteStore(path)
    for n in range(0, 800, 100):
        store.write(rows()[n : n + 100], REFUSALS)
    store.close()
    return path


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def found_in(folder):
    """Which needles are in any file there, byte by byte."""
    files = [one for one in folder.iterdir() if one.is_file()]
    assert files
    return {needle for needle in NEEDLES for one in files if needle in one.read_bytes()}


def sums(path):
    store = SqliteStore(path)
    try:
        return (
            store.log(Scope.everybody(), ALL, Filters(user=BEN.user), 10_000, None),
            sorted(store.usage(Scope.everybody(), ALL, Filters(user=BEN.user)), key=repr),
            [one for one in store.activity(Scope.everybody(), ALL) if one.identity == BEN],
            [one for one in store.visits(Scope.everybody(), ALL) if one.identity == BEN],
        )
    finally:
        store.close()


def test_no_byte_of_them_is_left(filled, tmp_path):
    assert found_in(tmp_path) == set(NEEDLES)
    before = sums(filled)
    shown = run("erase", "--user", ANA.user)
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[0] == (
        "would remove 400 requests (400 of them one by one, 2025-10-08T12:00:00.000Z to 2025-10-11T11:49:12.000Z), "
        "1 names, 1 rejected lines, 0 alerts, spans of 0 traces:"
    )
    assert "add --yes" in shown.stdout
    assert sums(filled) == before
    assert found_in(tmp_path) == set(NEEDLES)
    done = json.loads(run("erase", "--user", ANA.user, "--yes", "--json").stdout)
    assert (done["erased"], done["requests"], done["refused_lines"], done["identities"][0]["device"]) == (
        True, 400, 1, "anas-own-laptop",
    )  # fmt: skip
    assert found_in(tmp_path) == set()
    assert sums(filled) == before
    connection = sqlite3.connect(filled)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT position FROM refusal").fetchall() == [(9,)]
    connection.close()


def test_sums_of_pruned_days_lose_them_too(filled, tmp_path):
    store = SqliteStore(filled)
    store.prune(T0 + DAY_US + HOUR_US // 2)
    store.close()
    before = sums(filled)
    done = json.loads(run("erase", "--user", ANA.user, "--yes", "--json").stdout)
    assert (done["requests"], done["rows"] < 300) == (400, True)
    assert sums(filled) == before
    assert found_in(tmp_path) == set()
    store = SqliteStore(filled)
    by_endpoint = {
        one.endpoint: one.requests
        for one in store.usage(Scope.everybody(), ALL, Filters(), By.ENDPOINT)
        if one.status == 200
    }
    steps = store.bucket_usage(Scope.everybody(), ALL, DAY_US)
    uptime = store.uptime(Scope.everybody(), ALL)
    store.close()
    assert by_endpoint == {"/a": 342}
    assert sum(one.requests for one in steps) == 400
    days = Counter()
    for one in uptime:
        days[one.hour_us // DAY_US * DAY_US] += one.minutes.bit_count()
    assert [days[day_us] for day_us in sorted(days)] == [67, 133, 134, 66]


def test_a_bridge_that_runs_goes_on_and_may_meet_them_again(filled, tmp_path):
    """The ids that its store remembers are gone with the person: a new request makes a new one."""
    bridge = SqliteStore(filled)
    bridge.write([row(T0 + 10 * DAY_US, 90_001, ANA), row(T0 + 10 * DAY_US, 90_002, BEN)])
    stop, written = threading.Event(), []

    def work():
        n = 0
        while not stop.is_set():
            n += 1
            written.append(bridge.write([row(T0 + 11 * DAY_US + n, 100_000 + n, BEN)]).stored)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert run("erase", "--user", ANA.user, "--yes").exit_code == 0
    finally:
        stop.set()
        thread.join()
    assert bridge.log(Scope.everybody(), ALL, Filters(user=ANA.user), 10, None) == []
    assert sum(written) == len(written) > 0
    bridge.write([row(T0 + 12 * DAY_US, 90_003, ANA)])
    assert [one.identity for one in bridge.log(Scope.everybody(), ALL, Filters(user=ANA.user), 10, None)] == [ANA]
    bridge.close()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say who"),
        (["--user", "a", "--device", "b"], "say who"),
        (["--user", ""], "say who"),
        (["--address", "100.64.0.7:80"], "no IP address"),
    ],
)
def test_it_must_be_said_who(filled, words, message):
    result = run("erase", *words)
    assert (result.exit_code, message in result.stderr) == (2, True)


@pytest.mark.parametrize("command", [["erase"], ["erase", "--yes"], ["erase", "--yes", "--json"], ["export"]])
@pytest.mark.parametrize(
    ("who", "says"),
    [
        (
            ["--user", "ana.uniqe@example.com"],
            "the login 'ana.uniqe@example.com'; did you mean ana.unique@example.com?",
        ),
        (["--user", "zoe"], "the login 'zoe'; `tailtrace report` shows who there is"),
        (["--device", "bens-phone"], "the device 'bens-phone'; did you mean ben-phone?"),
        (["--address", "9.9.9.9"], "the address '9.9.9.9'; `tailtrace report` shows who there is"),
    ],
)
def test_nobody_is_no_success(filled, tmp_path, command, who, says):
    before = filled.read_bytes()
    output = ["--output", "theirs.ndjson"] if command == ["export"] else []
    result = run(*command, *who, *output)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (f"tailtrace: nobody by that name: the store sqlite:tailtrace.db has nothing of {says}\n")
    assert not (tmp_path / "theirs.ndjson").exists()
    if "--yes" not in command:
        assert filled.read_bytes() == before


def test_a_file_of_somebody_else_is_left_where_there_is_nobody(filled, tmp_path):
    (tmp_path / "old.ndjson").write_text("of before")
    assert run("export", "--user", "zoe", "--output", "old.ndjson").exit_code == 1
    assert (tmp_path / "old.ndjson").read_text() == "of before"


def test_a_person_gets_all_that_is_theirs_and_nothing_else(filled):
    result = run("export", "--user", ANA.user)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    kinds = {kind: [one for one in records if one["record"] == kind] for kind in {one["record"] for one in records}}
    assert {kind: len(ones) for kind, ones in kinds.items()} == {
        "name": 1,
        "request": 400,
        "total": 4,
        "refused line": 1,
    }
    assert {one["user"] for one in kinds["request"]} == {ANA.user}
    assert sum(one["requests"] for one in kinds["total"]) == 400
    assert "ben" not in result.stdout
    assert result.stderr == "801 records\n".replace("801", str(len(records)))


def test_who_reads_no_further_is_not_told_of_a_broken_pipe(filled, tmp_path):
    """`tailtrace export --user … | head -1`."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "tailtrace_api.main", "export", "--user", BEN.user],
        stdout=write, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_by_address_and_by_device(filled):
    for words in (("--address", "100.64.0.8"), ("--device", "ben-phone")):
        records = [json.loads(line) for line in run("export", *words).stdout.splitlines()]
        assert sum(one["record"] == "request" for one in records) == 400
        assert {one["user"] for one in records if one["record"] != "refused line"} == {BEN.user}


def test_csv_holds_no_formula(path, tmp_path):
    evil = Identity("100.64.0.9", "user", "=cmd|' /C calc'!A0", "+1-laptop", "n", "", "static")
    store = SqliteStore(path)
    store.write([row(T0, 1, evil, "@SUM(A1)"), row(T0 + 1, 2, evil, "-2+3"), row(T0 + 2, 3, evil, 'a,"b"\n=x')])
    store.close()
    assert run("export", "--user", evil.user, "--format", "csv", "--output", "mine.csv").exit_code == 0
    cells = [cell for line in csv.reader(io.StringIO((tmp_path / "mine.csv").read_text())) for cell in line]
    assert [cell for cell in cells if cell[:1] in {"=", "+", "-", "@", "\t", "\r"}] == []
    assert {"'=cmd|' /C calc'!A0", "'+1-laptop", "'@SUM(A1)", "'-2+3", 'a,"b"\n=x'} <= set(cells)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1", "'=1"),
        ("\t=1", "'\t=1"),
        ("\r", "'\r"),
        (-5, -5),
        (None, None),
        (["@a", "b"], "'@a,b"),
        ("a=1", "a=1"),
        ("＝1", "'＝1"),
    ],
)
def test_what_a_spreadsheet_would_run(value, shown):
    assert neutral(value) == shown


def test_pseudonyms_from_the_log_to_the_command(tmp_path, monkeypatch, path):
    (tmp_path / "names.toml").write_text(
        '"100.64.0.7" = { user = "ana.unique@example.com", device = "anas-own-laptop" }\n'
    )
    (tmp_path / "key").write_text("k" * 32)
    line = '{} - - [08/Oct/2025:12:00:0{} +0000] "GET /a HTTP/1.1" 200 5 "-" "curl"\n'
    (tmp_path / "a.log").write_text(line.format("100.64.0.7", 1) + line.format("100.64.0.7", 2) + "odd 100.64.0.7\n")
    monkeypatch.setenv("TAILTRACE_PSEUDONYMS", "true")
    assert "TAILTRACE_PSEUDONYMS_KEY_FILE" in run("import", "a.log").stderr
    monkeypatch.setenv("TAILTRACE_PSEUDONYMS_KEY_FILE", str(tmp_path / "key"))
    done = json.loads(run("import", "a.log", "--identities", "names.toml", "--json").stdout)
    assert (done["stored"], done["refused"]) == (2, 1)
    raw = b"".join(one.read_bytes() for one in tmp_path.glob("tailtrace.db*"))
    assert [needle for needle in NEEDLES if needle in raw] == []
    store = SqliteStore(path)
    (entry, _) = store.log(Scope.everybody(), ALL, Filters(), 10, None)
    (activity,) = store.activity(Scope.everybody(), ALL)
    store.close()
    who = entry.identity
    assert (who.user[:5], who.device[:7], who.address[:9], who.kind) == ("user-", "device-", "2001:db8:", "user")
    assert activity.requests == 2
    exported = run("export", "--user", "ana.unique@example.com").stdout
    assert exported.count('"record": "request"') == 2
    assert json.loads(run("erase", "--user", "ana.unique@example.com", "--yes", "--json").stdout)["rows"] == 2
    # An export of it, moved elsewhere with the same key, stays what it is.
    assert Person(user=who.user).user == who.user


def test_with_pseudonyms_what_names_them_goes_by_the_name_that_they_have(tmp_path, monkeypatch, path):
    (tmp_path / "key").write_text("k" * 32)
    monkeypatch.setenv("TAILTRACE_PSEUDONYMS", "true")
    monkeypatch.setenv("TAILTRACE_PSEUDONYMS_KEY_FILE", str(tmp_path / "key"))
    pseudonyms = Pseudonyms("k" * 32)
    store = SqliteStore(path)
    store.write([row(T0, 1, pseudonyms.identity(ANA))])
    keep(store, 9001, pseudonyms.identity(BEN), note="ordered for anas-own-laptop")
    other = keep(store, 9002, pseudonyms.identity(BEN), note="ordered for nobody")
    store.close()
    done = json.loads(run("erase", "--device", ANA.device, "--yes", "--json").stdout)
    assert (done["rows"], done["traces_naming_them"]) == (1, 1)
    assert kept_in(path) == {other.data}


def test_what_alerts_told_and_still_have_to_tell_goes_too(filled, tmp_path):
    about_ana = AlertEvent(T0, "n", "new_user", "seen", ANA.user, None, f"New user: {ANA.user} on {ANA.device}")
    about_ben = AlertEvent(T0 + 1, "n", "new_device", "seen", BEN.device, None, f"New device: {BEN.device}")
    store = SqliteStore(filled)
    store.add_alert_events([about_ana, about_ben])
    store.close()
    state = tmp_path / "tailtrace.alerts.json"
    outbox = Outbox(state, AlertCounters())
    outbox.state.held += [about_ana, about_ben]
    outbox.put(Message(about_ana.text, "", T0), ["1:json"])
    outbox.put(Message(about_ben.text, "", T0), ["1:json"])
    outbox.save()
    reports = tmp_path / "tailtrace-reports"
    reports.mkdir()
    (reports / "tailtrace-2025-10.pdf").write_bytes(b"names everybody")
    done = json.loads(run("erase", "--user", ANA.user, "--yes", "--json").stdout)
    assert done["alerts"] == 1
    assert found_in(tmp_path) == set()
    assert not reports.exists()
    left = Outbox(state, AlertCounters()).state
    assert (left.held, [message.title for message in left.outbox]) == ([about_ben], [about_ben.text])
    store = SqliteStore(filled)
    assert store.alert_events(Scope.everybody(), 10) == [about_ben]
    store.close()


def keep(store, key, who, **attributes):
    """Keep a trace with a span of the app's; return it."""
    one = row(T0 + key, key, who)
    one = one._replace(access=one.access._replace(trace_id=f"{key:032x}"))
    span = Span(
        trace_id=key.to_bytes(16), span_id=key.to_bytes(8), start_time_unix_nano=T0 * 1000, end_time_unix_nano=T0 * 1000
    )
    for name, text in attributes.items():
        span.attributes.add(key=name).value.string_value = text
    event = span.events.add(name="order")
    event.attributes.add(key="rows").value.array_value.values.add().string_value = attributes.get("listed", "")
    sent = [WholeSpan(span.trace_id, span.SerializeToString(), "shop", "1")]
    kept = pack(one, "error", sent, service="nginx", has_messages=False)
    store.write([one])
    assert store.keep_traces([kept], 1 << 20) == 1
    return kept


def test_a_trace_of_somebody_else_that_names_them_goes_too(filled, tmp_path):
    store = SqliteStore(filled)
    naming = [
        keep(store, 9001, BEN, note="ordered for anas-own-laptop"),
        keep(store, 9002, BEN, note="fetched from http://100.64.0.7/box"),
        keep(store, 9003, BEN, listed="to Anas-Own-Laptop, tomorrow"),
    ]
    others = [
        keep(store, 9004, BEN, note="ordered for anas-own-laptop2"),
        keep(store, 9005, BEN, note="by 100.64.0.71"),
    ]
    theirs = keep(store, 9006, ANA, note="a cake")
    store.close()
    shown = run("erase", "--user", ANA.user)
    assert "  3 kept traces, of whomever, whose spans name them" in shown.stdout.splitlines()
    assert {one.data for one in (*naming, theirs, *others)} == kept_in(filled), "nothing goes unless it is told to"
    done = json.loads(run("erase", "--user", ANA.user, "--yes", "--json").stdout)
    assert (done["traces"], done["traces_naming_them"]) == (1, 3)
    assert kept_in(filled) == {one.data for one in others}
    files = [one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()]
    assert not [one for one in (*naming, theirs) for each in files if one.data[-60:] in each], "nor in a free page"
    assert all(any(one.data[-60:] in each for each in files) for one in others), "it would be found"


def test_what_names_them_goes_when_they_themselves_are_gone_already(filled):
    assert run("erase", "--user", ANA.user, "--yes").exit_code == 0
    store = SqliteStore(filled)
    keep(store, 9001, BEN, note="ordered for anas-own-laptop")
    store.close()
    assert json.loads(run("erase", "--device", ANA.device, "--yes", "--json").stdout)["traces_naming_them"] == 1
    assert kept_in(filled) == set()


def test_a_note_that_names_them_goes_and_is_theirs_to_have(filled, tmp_path):
    store = SqliteStore(filled)
    store.add_markers([
        theirs := Marker(T0, "note", "", f"{ANA.user.title()}: shop 1.4 deployed"),
        Marker(T0, "note", "", "deployed from anas-own-laptop2"),
        Marker(T0 + 1, "version", "shop", "1.4"),
        on_theirs := Marker(T0 + 2, "version", "anas-own-laptop", "1.4"),
    ])  # fmt: skip
    store.close()
    written = run("export", "--user", ANA.user, "--output", str(tmp_path / "ana.ndjson"))
    assert written.exit_code == 0, written.output
    records = [json.loads(line) for line in (tmp_path / "ana.ndjson").read_text().splitlines()]
    assert [one["text"] for one in records if one["record"] == "note"] == [theirs.text, on_theirs.text]
    (tmp_path / "ana.ndjson").unlink()
    assert "  2 notes of `tailtrace mark` that name them" in run("erase", "--user", ANA.user).stdout.splitlines()
    assert json.loads(run("erase", "--user", ANA.user, "--yes", "--json").stdout)["notes_naming_them"] == 2
    store = SqliteStore(filled)
    assert [one.text for one in store.markers(Scope.everybody(), ALL)] == ["deployed from anas-own-laptop2", "1.4"]
    store.add_markers([theirs])
    store.close()
    said = run("erase", "--user", ANA.user, "--yes")
    assert (said.exit_code, "1 notes of" in said.stdout) == (0, True), "when they are gone from the rows already"
    assert not [one for one in tmp_path.rglob("*") if one.is_file() and b"shop 1.4 deployed" in one.read_bytes()]


def kept_in(path):
    connection = sqlite3.connect(path)
    try:
        ((said,),) = connection.execute("SELECT value FROM meta WHERE name = 'trace_bytes'").fetchall()
        kept = {data for (data,) in connection.execute("SELECT data FROM trace")}
    finally:
        connection.close()
    assert int(said) == sum(map(len, kept))
    return kept


def test_while_a_bridge_runs_its_file_is_its_own(filled, tmp_path):
    outbox = Outbox(tmp_path / "tailtrace.alerts.json", AlertCounters())
    outbox.put(Message(f"New user: {ANA.user}", "", T0), ["1:json"])
    outbox.save()
    lock = lock_checkpoint(tmp_path / "tailtrace.checkpoint.json")
    try:
        said = run("erase", "--user", ANA.user, "--yes").stdout
    finally:
        lock.release()
    assert "A bridge is running: alerts of this person that still wait" in said
    assert len(Outbox(tmp_path / "tailtrace.alerts.json", AlertCounters()).state.outbox) == 1
    # As it says: again, once the bridge has ended; by then nobody in the store is called so.
    assert run("erase", "--user", ANA.user, "--yes").exit_code == 0
    assert Outbox(tmp_path / "tailtrace.alerts.json", AlertCounters()).state.outbox == []
    assert run("erase", "--user", ANA.user, "--yes").exit_code == 1


def test_while_a_reader_holds_the_store_it_says_what_is_left_and_the_same_again_finishes(filled, tmp_path, monkeypatch):
    monkeypatch.setattr("tailtrace_bridge.store.sqlite.database.BUSY_TIMEOUT_S", 0.2)
    monkeypatch.setattr("tailtrace_bridge.store.sqlite.erase.BUSY_TIMEOUT_S", 1)
    monkeypatch.setattr("tailtrace_bridge.store.sqlite.erase.WAIT_S", 2)
    reader = sqlite3.connect(filled)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM access").fetchone()
    result = run("erase", "--user", ANA.user, "--yes")
    assert result.exit_code == 1
    assert "not all is gone yet" in result.stderr
    assert f"{filled.name}-wal" in result.stderr
    assert found_in(tmp_path) != set(), "and so it is"
    again = run("erase", "--user", ANA.user, "--yes", "--json")
    assert (again.exit_code, json.loads(again.stdout)["erased"]) == (1, False)
    reader.close()
    result = run("erase", "--user", ANA.user, "--yes")
    assert (result.exit_code, found_in(tmp_path)) == (0, set())
    assert "An erase of before was cut off, and is finished now." in result.stdout
    assert run("erase", "--user", ANA.user, "--yes").exit_code == 1, "nobody by that name"


CUT_OFF = """
import os, signal, sys
from tailtrace_api.answers.requests import iso
from tailtrace_api.commands.cli import app
from tailtrace_bridge.store.sqlite import erase
from tailtrace_bridge.wiring import erasing

module, name = {"rows": (erase, "hour_rows"), "pages": (erase, "_clean_up"), "beside": (erasing, "erase_history")}[sys.argv[1]]
setattr(module, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
app(sys.argv[2:])
"""


LEFT_OVER = """
import os, signal, sys
from pathlib import Path
from tailtrace_bridge.core.files import atomic

atomic.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
atomic.replace_file(Path(sys.argv[1]), sys.argv[2].encode())
"""
BESIDE = ("tailtrace.alerts.json", "tailtrace.checkpoint.history.json")


@pytest.fixture
def left_over(filled, tmp_path):
    """What kills in the middle of writing left beside the checkpoint, and a damaged state of alerts that was put aside."""
    for name in BESIDE:
        done = subprocess.run(
            [sys.executable, "-c", LEFT_OVER, tmp_path / name, f"{ANA.user} {ANA.device}"], check=False
        )
        assert done.returncode == -signal.SIGKILL
        assert ANA.user in (tmp_path / f"{name}.new").read_text()
    return [tmp_path / f"{name}.new" for name in BESIDE]


def test_what_a_kill_left_of_a_file_goes_too(left_over, tmp_path):
    damaged = tmp_path / "tailtrace.alerts.json.corrupt"
    damaged.write_text(f"{{ {ANA.user}")
    run("erase", "--user", ANA.user)
    assert [path.exists() for path in (*left_over, damaged)] == [True] * 3, "it was not said --yes"
    run("erase", "--user", ANA.user, "--yes")
    assert found_in(tmp_path) == set()
    assert [path.exists() for path in (*left_over, damaged)] == [False] * 3


def test_a_start_removes_what_a_kill_left_of_a_file(left_over, tmp_path):
    (tmp_path / "access.log").touch()
    make_bridge(load(log=str(tmp_path / "access.log"))).stop()
    assert [path.exists() for path in left_over] == [False, False]


@pytest.mark.parametrize("where", ["rows", "pages", "beside"])
def test_a_kill_in_the_middle_is_finished_at_the_next_start(filled, tmp_path, where):
    done = subprocess.run([sys.executable, "-c", CUT_OFF, where, "erase", "--user", ANA.user, "--yes"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert found_in(tmp_path) != set()
    (tmp_path / "access.log").touch()
    bridge = make_bridge(load(log=str(tmp_path / "access.log")))
    bridge.stop()
    assert found_in(tmp_path) == set()
    store = SqliteStore(filled)
    assert store.unfinished_erase() is None
    assert len(store.log(Scope.everybody(), ALL, Filters(), 1000, None)) == 400, "Ben's rows stay"
    store.close()


OF_NOBODY = "numbers that tables name each other by, sums of everybody, or what is about no person"
TIME, MS, HEX, PLAIN, TRAFFIC, PACKED = "time", "ms", "hex", "plain", "traffic", "packed"
STORED = {
    "meta": dict.fromkeys(("name", "value"), OF_NOBODY),
    "identity": {
        "id": OF_NOBODY, **dict.fromkeys(("address", "kind", "user", "device", "node_id", "tags", "provider"), PLAIN),
        **dict.fromkeys(("user_id", "via", "reason"), PLAIN), "expired": PLAIN, "named_us": OF_NOBODY,
        "found_us": TIME,
    },
    "endpoint": {"id": OF_NOBODY, "service": PLAIN, "route": PLAIN},
    "agent": {"id": OF_NOBODY, "text": PLAIN},
    "access": {
        "time_us": TIME, "key": OF_NOBODY, **dict.fromkeys(("identity_id", "endpoint_id", "agent_id"), OF_NOBODY),
        "method": PLAIN, "path": PLAIN, "status": PLAIN, "traffic": TRAFFIC, "request_time_us": MS,
        "upstream_time_us": MS, "app_time_us": MS, "bytes_sent": PLAIN, "trace_id": HEX, "span_id": HEX,
        "error_type": PLAIN, "identified_us": TIME,
    },
    "trace": {
        "time_us": TIME, "key": OF_NOBODY, "trace_id": HEX, "reason": PLAIN, "spans": PLAIN, "data": PACKED,
    },
    "failure": {"time_us": TIME, "key": OF_NOBODY, "group_id": OF_NOBODY, "version": PLAIN},
    "error_group": OF_NOBODY, "marker": OF_NOBODY,
    "refusal": {"file": PLAIN, "position": PLAIN, "reason": PLAIN, "text": PLAIN},
    "alert_event": {
        "time_us": TIME, "rule": PLAIN, "kind": PLAIN, "what": PLAIN, "subject": PLAIN, "value": PLAIN, "text": PLAIN,
    },
    "hour": OF_NOBODY, "uptime": OF_NOBODY, "minute": OF_NOBODY, "latency": OF_NOBODY, "latency_all": OF_NOBODY,
    "usage_endpoint": OF_NOBODY,
    # A person's: made of the rows that are given one by one, and given as totals.
    "usage": OF_NOBODY, "usage_identity": OF_NOBODY, "visit": OF_NOBODY, "brief": OF_NOBODY,
    # Together they are the view `access`, which stands above.
    "entry": OF_NOBODY, "request": OF_NOBODY,
    # Numbers of `identity` alone.
    "shared_address": OF_NOBODY,
}  # fmt: skip
"""Every table and column of the store: how its value stands in what a person gets, or why it is not theirs."""


def test_every_column_about_a_person_is_given_to_them(path, tmp_path):
    who = ANA._replace(tags="tag:one", via="via-unix", reason="odd-reason", expired=True)
    access = Access(
        T0 + 123_000, 77, who.address, "PATCH", "/only-anas/5", 418, 51_000, 41_000, True, 4321, "shop",
        "ab" * 16, "cd" * 8, "AnasBrowser/1", "",
    )  # fmt: skip
    store = SqliteStore(path)
    row = Row(access, who, "/only-anas/{id}", Traffic.APP, 31_000, "OddError", T0 + 456_000)
    store.write([row], [RejectedLine("bad-time", "odd.log", 909, f"odd {ANA.user}")])
    assert store.keep_traces([pack(row, "error", [], service="nginx", has_messages=False)], 10_000) == 1
    assert store.add_failures([Failure(T0 + 123_000, 77, "f" * 16, "OddError", "total", "", "odd-version")]) == 1
    store.add_alert_events(
        [AlertEvent(T0 + 9_000, "rule-x", "kind-y", "seen", ANA.user, 8.25, f"New user: {ANA.user}")]
    )
    store.close()
    given = [json.loads(line) for line in run("export", "--user", ANA.user).stdout.splitlines()]
    values = [
        value for record in given for one in record.values() for value in (one if isinstance(one, list) else [one])
    ]
    with sqlite3.connect(path) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")]
        for table in tables:
            how = STORED[table.removesuffix("_day")]
            columns = [column for _, column, *_ in db.execute(f"PRAGMA table_info({table})")]
            if how == OF_NOBODY:
                continue
            assert set(columns) == set(how), f"{table}: say of each column how a person gets it, or why not"
            for column in columns:
                if how[column] == OF_NOBODY:
                    continue
                for (value,) in db.execute(f"SELECT {column} FROM {table}"):
                    shown = {
                        TIME: iso, MS: lambda one: one / 1000, HEX: lambda one: one.hex(),
                        TRAFFIC: lambda one: Traffic(one).name.lower(), PLAIN: lambda one: one,
                        PACKED: to_otlp_json,
                    }[how[column]](value)  # fmt: skip
                    assert shown in values, f"{table}.{column}: {shown!r} is stored, and not given"
    db.close()
    run("erase", "--user", ANA.user, "--yes")
    assert found_in(tmp_path) == set()

"""What was seen of an address, and whom a line of each time is named for; the file beside the checkpoint."""

import json

import pytest

from tailtrace_bridge.core.records import Access, Identity
from tailtrace_bridge.identity.chain import Found, Identities, NotFound, Unavailable
from tailtrace_bridge.identity.history import LATENCY_US, WATCHED_CHANGE_US, History, times_of
from tailtrace_bridge.identity.history_file import HistoryFile, erase, read, write
from tailtrace_bridge.identity.pseudonyms import Pseudonyms
from tailtrace_bridge.testing import FakeClock, FakeProvider

S = 1_000_000
NOW = 1_759_924_800 * S
IP = "100.64.0.7"
ANA = Identity(IP, "user", "ana@example.com", "ana-laptop", "n1", "", "snapshot")
BEN = Identity(IP, "user", "ben@example.com", "ben-phone", "n2", "", "snapshot")
THEN, CHANGED = "address-reused-or-unknown-then", "changed-hands"


def found(identity, key="nodekey:1"):
    return Found(identity, 1, identity.address, key)


def names(history, now, ask_us, *lines):
    """Whom lines, each (begin, end), are named for by a chain that is asked at `ask_us`, when `now` is the answer."""
    wall = FakeClock(ask_us)
    provider = FakeProvider("localapi", default=now)
    holder = Identities([provider], clock=FakeClock(), wall=wall, history=history).holder(IP)
    said = [holder.at(*line) for line in lines]
    return [one.user or one.reason for one in said]


@pytest.mark.parametrize(
    ("before", "after", "inside", "since"),
    [
        (found(ANA), found(ANA), "ana@example.com", "ana@example.com"),
        (found(ANA), found(ANA._replace(device="new-name")), "ana@example.com", "ana@example.com"),
        (found(ANA), found(ANA._replace(expired=True), "nodekey:spoilt"), "ana@example.com", "ana@example.com"),
        # logged in anew: it may have been somebody else's in between
        (found(ANA), found(ANA, "nodekey:2"), THEN, "ana@example.com"),
        (found(ANA), found(ANA._replace(user="cleo@example.com")), THEN, "cleo@example.com"),
        (found(ANA), found(BEN, "nodekey:3"), THEN, "ben@example.com"),
        (None, found(BEN), THEN, "ben@example.com"),
    ],
)
def test_an_outage(before, after, inside, since):
    history = History()
    history.observe({IP: before} if before else {"100.64.0.99": found(BEN)}, NOW)
    history.lose()
    history.observe({IP: after}, NOW + 60 * S)
    line = (NOW + 30 * S, NOW + 31 * S)
    later = (NOW + 61 * S, NOW + 61 * S)
    assert names(history, after, NOW + 62 * S, line, later) == [inside, since]


def test_a_line_is_named_only_where_one_holder_covers_its_whole_time():
    history = History()
    history.observe({IP: found(ANA)}, NOW)
    history.confirm(NOW + 10 * S)
    history.change({IP: found(BEN, "nodekey:2")}, NOW + 10 * S + WATCHED_CHANGE_US)
    until, since = NOW + 10 * S - LATENCY_US, NOW + 10 * S + WATCHED_CHANGE_US
    lines = [
        (NOW - 1, NOW - 1),
        (NOW, until),
        (NOW, until + 1),  # it ended in the change
        (until + 1, since - 1),
        (until - S, since + S),  # a long one: both had the address while it lasted
        (since - 1, since + S),
        (since, since + S),
    ]
    assert names(history, found(BEN, "nodekey:2"), since + 2 * S, *lines) == [
        THEN, "ana@example.com", CHANGED, CHANGED, CHANGED, CHANGED, "ben@example.com",
    ]  # fmt: skip


def test_who_is_gone_or_cannot_be_asked_for_still_had_it():
    history = History()
    history.observe({IP: found(ANA)}, NOW)
    history.confirm(NOW + 10 * S)
    during, after = (NOW + S, NOW + 2 * S), (NOW + 12 * S, NOW + 12 * S)
    history.lose()
    away = names(history, Unavailable("away"), NOW + 13 * S, during, after)
    assert away == ["ana@example.com", "provider-unavailable"]
    history.observe({}, NOW + 20 * S)
    gone = names(history, NotFound(is_certain=True), NOW + 22 * S, during, after, (NOW + 21 * S, NOW + 21 * S))
    assert gone == ["ana@example.com", "no-such-node", "no-such-node"]


def test_a_change_that_whois_knows_before_the_bus_names_nobody_wrongly():
    history = History()
    history.observe({IP: found(ANA)}, NOW)
    history.confirm(NOW + 10 * S)
    lines = [(NOW + S, NOW + S), (NOW + 10 * S, NOW + 10 * S)]
    assert names(history, found(BEN), NOW + 10 * S + 1, *lines) == ["ana@example.com", THEN]


def test_settled_is_what_ended_well_before_the_last_look():
    history = History()
    assert not history.is_settled(NOW)
    history.observe({}, NOW)
    assert history.is_settled(NOW - LATENCY_US)
    assert not history.is_settled(NOW - LATENCY_US + 1)
    history.lose()
    assert not history.is_settled(NOW - LATENCY_US)


def test_limits_are_kept_and_counted():
    history = History(entries_max=2, keep_us=100 * S)
    for number in range(4):
        history.observe({IP: found(ANA, f"nodekey:{number}")}, NOW + number * S)
    assert (history.counters.changes, history.counters.dropped, len(history)) == (3, 1, 3)
    history.observe({IP: found(ANA, "nodekey:3")}, NOW + 103 * S)
    assert (history.counters.expired, len(history)) == (1, 2), "retention: what ended longer ago than rows are kept"
    many = History(holders_max=1)
    many.observe({IP: found(ANA), "100.64.0.8": found(BEN)}, NOW)
    assert (many.counters.dropped, len(many)) == (1, 1)


def test_a_wall_clock_that_is_set_back_proves_nothing_of_the_future():
    history = History()
    history.observe({IP: found(ANA)}, NOW)
    history.observe({IP: found(BEN)}, NOW + 3600 * S)
    history.confirm(NOW + 10 * S)
    assert history.seen_us == NOW + 10 * S
    assert names(history, found(BEN), NOW + 12 * S, (NOW + 11 * S, NOW + 11 * S), (NOW + S, NOW + S)) == [
        "ben@example.com", THEN,
    ]  # fmt: skip


def test_the_file_keeps_it_for_its_owner_alone(tmp_path):
    path = tmp_path / "cp.history.json"
    history = History()
    file = HistoryFile(path, history)
    history.observe({IP: found(ANA)}, NOW)
    history.confirm(NOW + 10 * S)
    history.observe({IP: found(BEN, "nodekey:2")}, NOW + 10 * S)
    file.save(NOW + 10 * S)
    assert path.stat().st_mode & 0o777 == 0o600
    again = History()
    HistoryFile(path, again)
    assert (again.entries(), again.seen_us) == (history.entries(), NOW + 10 * S)
    assert not again.is_current
    again.observe({IP: found(BEN, "nodekey:2")}, NOW + 60 * S)
    lines = [(NOW, NOW + 9 * S), (NOW + 30 * S, NOW + 40 * S)]
    assert names(again, found(BEN, "nodekey:2"), NOW + 61 * S, *lines) == ["ana@example.com", "ben@example.com"]


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 2}', '{"version": 1, "seen_us": 1, "held": [[1]]}'])
def test_a_damaged_file_is_nobody_seen_and_keeps_no_name(tmp_path, content):
    path = tmp_path / "cp.history.json"
    path.write_text(content)
    assert read(path) == ([], 0)
    assert not path.exists()


def test_an_erasure_is_heeded_by_a_bridge_that_runs(tmp_path):
    path = tmp_path / "cp.history.json"
    history = History()
    file = HistoryFile(path, history)
    history.observe({IP: found(ANA)}, NOW)
    history.observe(
        {IP: found(BEN, "nodekey:2"), "100.64.0.8": found(ANA._replace(address="100.64.0.8"))}, NOW + 10 * S
    )
    file.save(NOW + 10 * S)
    assert erase(path, lambda one: one.user == "ana@example.com", is_dry=True) == 2
    assert "ana@example.com" in path.read_text()
    assert erase(path, lambda one: one.user == "ana@example.com") == 2
    assert "ana@example.com" not in path.read_text()
    history.confirm(NOW + 20 * S)
    file.save(NOW + 20 * S)
    kept = [(held.identity.user, held.from_us) for held in read(path)[0]]
    assert kept == [("ben@example.com", NOW + 10 * S), ("ana@example.com", NOW + 20 * S)], "who is there is seen anew"


def test_with_pseudonyms_it_has_no_names_and_still_names(tmp_path):
    path, pseudonyms = tmp_path / "cp.history.json", Pseudonyms("a key of sixteen characters")
    write(path, [*History().entries()], 0)
    history = History(pseudonyms=pseudonyms)
    file = HistoryFile(path, history)
    history.observe({IP: found(ANA)}, NOW)
    history.confirm(NOW + 10 * S)
    history.observe({IP: found(BEN, "nodekey:2")}, NOW + 10 * S)
    file.save(NOW + 10 * S)
    text = path.read_text()
    assert [word for word in ("ana", "ben", IP, "nodekey", "n1") if f'"{word}' in text] == []
    assert history.changed() == {IP}, "the cache goes by addresses as they are"
    user = pseudonyms.user("ana@example.com")
    assert names(history, found(BEN, "nodekey:2"), NOW + 12 * S, (NOW + S, NOW + S))[0] == user


def test_names_that_were_kept_before_pseudonyms_were_turned_on_go(tmp_path):
    path = tmp_path / "cp.history.json"
    history = History()
    history.observe({IP: found(ANA)}, NOW)
    write(path, history.entries(), NOW)
    file = HistoryFile(path, History(pseudonyms=Pseudonyms("a key of sixteen characters")))
    file.save(NOW + S)
    assert "ana" not in json.dumps(json.loads(path.read_text())["held"])


def test_the_time_of_a_line():
    line = Access(NOW, 1, IP, "GET", "/", 200, 5 * S, None, False, 1, "", "", "", "", "")
    assert times_of(line) == (NOW, NOW + 5 * S)
    assert times_of(line._replace(request_time_us=None)) == (NOW - S, NOW + S), "to the second, and of no known length"

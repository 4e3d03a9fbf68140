"""Rows in, sums out: replays change nothing, windows are exact, a failed write leaves no trace."""

import itertools
import random
import sqlite3
import subprocess
import sys
import threading
from collections import defaultdict

import pytest

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.histogram import bucket_of
from tailtrace_bridge.core.records import OTHER, ROOT_SPAN_ID, Access, Identity, RejectedLine, Row, Traffic
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite import database, prune
from tailtrace_bridge.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import (
    DAY_US,
    Activity,
    BucketLatency,
    BucketUsage,
    By,
    Filters,
    Latency,
    Quarter,
    UptimeHour,
    Usage,
    Visits,
    Window,
    Written,
)

S = 1_000_000
MINUTE, HOUR = 60 * S, 3600 * S
T0 = 1_759_924_800 * S  # 2025-10-08T12:00:00Z, a whole hour
DAY = Window(T0 - 24 * HOUR, T0 + 24 * HOUR)
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "static")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "static")
CI = Identity("fd7a:115c:a1e0::9", "tagged", "", "runner", "n3", "tag:ci,tag:server", "localapi")


def row(
    at_us, key, who=ANA, route="/a", status=200, *, method="GET", traffic=Traffic.APP, took_us=5_000, app_us=None,
    sent=10, error="", trace="", service="factory",
):  # fmt: skip
    access = Access(
        at_us,
        key,
        who.address,
        method,
        route,
        status,
        took_us,
        None,
        True,
        sent,
        service,
        trace,
        trace[:16],
        "curl",
        "",
    )
    return Row(access, who, route, traffic, app_us, error)


ROWS = [
    row(T0, 1, app_us=4_000, trace="ab" * 16),
    row(T0 + 10 * S, 2, took_us=7_000),
    row(T0 + 70 * S, 3, BEN, "/b", 503, method="POST", error="TimeoutError", sent=3),
    row(T0 + HOUR, 4, CI, "/health", traffic=Traffic.HEALTH, took_us=None),
]


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    yield made
    made.close()


def everything(store):
    return (
        store.log(Scope.everybody(), DAY, Filters(), 1_000, None),
        store.usage(Scope.everybody(), DAY, Filters()),
        store.bucket_usage(Scope.everybody(), DAY, HOUR),
        store.latency(Scope.everybody(), DAY),
        store.bucket_latency(Scope.everybody(), DAY, HOUR),
        store.visits(Scope.everybody(), DAY),
        store.activity(Scope.everybody(), DAY),
        store.quarters(Scope.everybody(), DAY),
        store.uptime(Scope.everybody(), DAY),
        store.rejected_by_reason(),
    )


def test_rows_in_sums_out(store):
    assert store.write(ROWS, [RejectedLine("no-format", "a.log", 7, "x")]) == Written(4, 0)
    assert store.usage(Scope.everybody(), DAY, Filters()) == [
        Usage(ANA, "factory", "/a", "GET", 200, Traffic.APP, 2, 2, 12_000, 1, 4_000, 20, 1, 1_000),
        Usage(BEN, "factory", "/b", "POST", 503, Traffic.APP, 1, 1, 5_000, 0, 0, 3),
        Usage(CI, "factory", "/health", "GET", 200, Traffic.HEALTH, 1, 0, 0, 0, 0, 10),
    ]
    assert store.bucket_usage(Scope.everybody(), DAY, HOUR) == [
        BucketUsage(T0, 3, 1, 3, 17_000),
        BucketUsage(T0 + HOUR, 1, 0, 0, 0),
    ]
    assert store.bucket_latency(Scope.everybody(), DAY, HOUR) == [
        BucketLatency(T0, bucket_of(5_000), 2),
        BucketLatency(T0, bucket_of(7_000), 1),
    ]
    assert sorted(store.latency(Scope.everybody(), DAY)) == [
        Latency("/a", "app", bucket_of(4_000), 1, "factory"),
        Latency("/a", "proxy", bucket_of(5_000), 1, "factory"),
        Latency("/a", "proxy", bucket_of(7_000), 1, "factory"),
        Latency("/b", "proxy", bucket_of(5_000), 1, "factory"),
    ]
    assert store.visits(Scope.everybody(), DAY) == [
        Visits(ANA, "/a", Traffic.APP, 2, "factory"),
        Visits(BEN, "/b", Traffic.APP, 1, "factory"),
    ]
    assert store.activity(Scope.everybody(), DAY) == [
        Activity(ANA, [(T0, T0 + 10 * S, 2)]),
        Activity(BEN, [(T0 + 70 * S, T0 + 70 * S, 1)]),
    ]
    assert store.quarters(Scope.everybody(), DAY) == [Quarter(T0, 3)]
    assert store.uptime(Scope.everybody(), DAY) == [
        UptimeHour(T0, "factory", 0b11, 0, 0b10),
        UptimeHour(T0 + HOUR, "factory", 0b1, 0, 0),
    ]
    assert store.newest_us(Scope.everybody()) == T0 + HOUR
    assert store.rejected_by_reason() == {"no-format": 1}
    newest, _, _, oldest = store.log(Scope.everybody(), DAY, Filters(), 10, None)
    assert tuple(newest) == (
        T0 + HOUR, 4, CI, "factory", "/health", "GET", "/health", 200, Traffic.HEALTH, None, None, 10, "", "", 0, None, "", "curl",
    )  # fmt: skip
    assert tuple(oldest) == (
        T0, 1, ANA, "factory", "/a", "GET", "/a", 200, Traffic.APP, 5_000, 4_000, 10, "ab" * 16, "", 0, None, "ab" * 8, "curl",
    )  # fmt: skip


def test_an_empty_store(store):
    assert everything(store) == ([], [], [], [], [], [], [], [], [], {})
    assert store.newest_us(Scope.everybody()) is None
    assert store.write([]) == Written(0, 0)


def test_a_replay_changes_nothing(store):
    rejected_lines = [RejectedLine("empty", "a.log", 9, "")]
    store.write(ROWS, rejected_lines)
    before = everything(store)
    assert store.write(ROWS, rejected_lines) == Written(0, 4)
    assert everything(store) == before


def test_only_what_is_new_of_a_replay_is_summed(store, tmp_path):
    store.write(ROWS[:2])
    assert store.write([*ROWS, ROWS[3]]) == Written(2, 3)
    other = SqliteStore(tmp_path / "once.db")
    other.write(ROWS)
    assert everything(store) == everything(other)
    other.close()


def test_a_row_twice_in_one_batch_counts_once(store):
    assert store.write([ROWS[0], ROWS[0], ROWS[0]]) == Written(1, 2)
    assert [usage.requests for usage in store.usage(Scope.everybody(), DAY, Filters())] == [1]
    assert [cell.requests for cell in store.latency(Scope.everybody(), DAY)] == [1, 1]
    assert store.activity(Scope.everybody(), DAY) == [Activity(ANA, [(T0, T0, 1)])]
    assert store.uptime(Scope.everybody(), DAY) == [UptimeHour(T0, "factory", 1, 0, 0)]


def test_equal_times_with_other_keys_are_other_requests(store):
    assert store.write([row(T0, 1), row(T0, 2), row(T0 + 1, 1)]) == Written(3, 0)


def test_what_was_written_is_there_after_opening_again(store, tmp_path):
    store.write(ROWS)
    before = everything(store)
    again = SqliteStore(tmp_path / "t.db")
    assert again.write(ROWS) == Written(0, 4)
    assert everything(again) == before
    again.close()


@pytest.mark.parametrize("seed", range(12))
def test_windows_cut_anywhere_equal_a_count_of_the_rows(store, seed):
    dice = random.Random(seed)
    hours = 5 if seed % 2 else 80
    rows = [
        row(
            T0 + offset_us(dice, hours), key, dice.choice([ANA, BEN, CI]), dice.choice(["/a", "/b"]),
            dice.choice([200, 404, 499, 500, 0]), traffic=dice.choice(list(Traffic)),
            took_us=dice.choice([None, dice.randrange(10**6)]), app_us=dice.choice([None, dice.randrange(10**6)]),
        )
        for key in range(400)
    ]  # fmt: skip
    for place in range(0, 400, 150):
        store.write(rows[place : place + 150])
    for _ in range(12):
        start = T0 + dice.randrange(-HOUR, hours * HOUR)
        window = Window(
            start,
            start + dice.choice([1, MINUTE, 59 * MINUTE, HOUR, 2 * HOUR + 7, 9 * HOUR, 50 * HOUR + 1, 200 * HOUR]),
        )
        assert_window(store, window, rows)


def offset_us(dice, hours):
    """Two in three come in bursts, so that there are sessions of many requests and pauses of all lengths."""
    if dice.random() < 0.3:
        return dice.randrange(hours * HOUR)
    return dice.randrange(hours) * HOUR + dice.choice([0, 29 * MINUTE, 59 * MINUTE]) + dice.randrange(3 * MINUTE)


def runs_of(times):
    runs = []
    for time_us in sorted(times):
        if runs and time_us - runs[-1][1] <= 30 * MINUTE:
            runs[-1] = (runs[-1][0], time_us, runs[-1][2] + 1)
        else:
            runs.append((time_us, time_us, 1))
    return runs


def uptime_of(window, rows):
    minutes = defaultdict(list)
    for one in rows:
        minute = one.access.time_us // MINUTE
        if one.access.status and window.start_us // MINUTE <= minute < -(-window.end_us // MINUTE):
            minutes[minute].append(one.access.status)
    hours = defaultdict(lambda: [0, 0, 0])
    for minute, statuses in minutes.items():
        errors = sum(status >= 500 for status in statuses)
        is_down = errors > len(statuses) / 2 if len(statuses) >= 5 else errors == len(statuses)
        for place, is_so in enumerate((True, errors and not is_down, is_down)):
            hours[minute // 60][place] |= bool(is_so) << minute % 60
    return [UptimeHour(hour * HOUR, "factory", *bits) for hour, bits in sorted(hours.items())]


def assert_window(store, window, all_rows):
    rows = [one for one in all_rows if window.start_us <= one.access.time_us < window.end_us]
    assert [entry.key for entry in store.log(Scope.everybody(), window, Filters(), 1_000, None)] == [
        one.access.key for one in sorted(rows, key=lambda one: (-one.access.time_us, -one.access.key))
    ]
    usage = defaultdict(lambda: [0] * 8)
    hours = defaultdict(lambda: [0, 0, 0, 0])
    latency, bucket_latency = defaultdict(int), defaultdict(int)
    by_identity, by_endpoint = defaultdict(int), defaultdict(int)
    activity, visits, quarters = defaultdict(list), defaultdict(int), defaultdict(int)
    for one in rows:
        access = one.access
        hour = access.time_us // HOUR * HOUR
        timed, took = access.request_time_us is not None, access.request_time_us or 0
        app_timed, app = one.app_time_us is not None, one.app_time_us or 0
        sums = usage[(one.identity.user, one.route, access.status, one.traffic)]
        both = timed and app_timed
        outside = took - app if both else 0
        for place, value in enumerate((1, timed, took, app_timed, app, access.bytes_sent, both, outside)):
            sums[place] += value
        for place, value in enumerate((1, access.status >= 500, timed, took)):
            hours[hour][place] += value
        if timed:
            latency[(one.route, "proxy", bucket_of(took))] += 1
            bucket_latency[(hour, bucket_of(took))] += 1
        if app_timed:
            latency[(one.route, "app", bucket_of(app))] += 1
        if one.traffic in {Traffic.APP, Traffic.CARD}:
            activity[one.identity].append(access.time_us)
            visits[(one.identity, one.route, one.traffic)] += 1
            quarters[access.time_us // (15 * MINUTE) * 15 * MINUTE] += 1
        by_identity[(one.identity, access.status, one.traffic)] += access.bytes_sent
        by_endpoint[(one.route, access.status, one.traffic)] += access.bytes_sent
    got = store.usage(Scope.everybody(), window, Filters())
    assert {(u.identity.user, u.endpoint, u.status, u.traffic): list(u[6:]) for u in got} == usage
    assert len(got) == len(usage)
    assert {step.time_us: list(step[1:]) for step in store.bucket_usage(Scope.everybody(), window, HOUR)} == hours
    assert {
        tuple(cell[:2]): cell.requests for cell in store.bucket_latency(Scope.everybody(), window, HOUR)
    } == bucket_latency
    assert [
        sum(column)
        for column in zip(*(step[1:] for step in store.bucket_usage(Scope.everybody(), window, DAY_US)), strict=True)
    ] == [sum(column) for column in zip(*hours.values(), strict=True)]
    assert {tuple(cell[:3]): cell.requests for cell in store.latency(Scope.everybody(), window)} == latency
    assert dict(store.activity(Scope.everybody(), window)) == {who: runs_of(times) for who, times in activity.items()}
    assert {tuple(one[:3]): one.requests for one in store.visits(Scope.everybody(), window)} == visits
    assert dict(store.quarters(Scope.everybody(), window)) == quarters
    assert store.uptime(Scope.everybody(), window) == uptime_of(window, all_rows)
    got = store.usage(Scope.everybody(), window, Filters(), By.IDENTITY)
    assert {(u.identity, u.status, u.traffic): u.bytes_sent for u in got} == by_identity
    got = store.usage(Scope.everybody(), window, Filters(), By.ENDPOINT)
    assert {(u.endpoint, u.status, u.traffic): u.bytes_sent for u in got} == by_endpoint


@pytest.mark.parametrize("seed", range(6))
def test_whatever_order_rows_come_in_the_sums_are_the_same(store, tmp_path, seed):
    dice = random.Random(seed)
    rows = [
        row(T0 + 11 * HOUR + dice.randrange(3 * HOUR), key, dice.choice([ANA, BEN]), took_us=key * 100, app_us=key * 90)
        for key in range(60)
    ]
    store.write(sorted(rows))
    other = SqliteStore(tmp_path / "shuffled.db")
    dice.shuffle(rows)
    while rows:
        count = dice.randrange(1, 9)
        other.write(rows[:count])
        rows = rows[count:]
    assert [sorted(map(repr, one)) for one in everything(other)] == [
        sorted(map(repr, one)) for one in everything(store)
    ]
    other.close()


@pytest.mark.parametrize(
    ("times", "runs"),
    [
        ([0, 60], [(0, 0, 1), (60, 60, 1)]),
        ([0, 60, 30], [(0, 60, 3)]),  # the late one joins two runs
        ([60, 0, 90, 30], [(0, 90, 4)]),
        ([0, 31, 62], [(0, 0, 1), (31, 31, 1), (62, 62, 1)]),
        ([11 * 60 + 45, 12 * 60 + 15], [(11 * 60 + 45, 12 * 60 + 15, 2)]),  # over midnight
        ([11 * 60 + 44, 12 * 60 + 15], [(11 * 60 + 44, 11 * 60 + 44, 1), (12 * 60 + 15, 12 * 60 + 15, 1)]),
    ],
)
def test_runs_join_as_rows_come(store, times, runs):
    for key, minute in enumerate(times):
        store.write([row(T0 + minute * MINUTE, key)])
    expected = [(T0 + first * MINUTE, T0 + last * MINUTE, requests) for first, last, requests in runs]
    assert store.activity(Scope.everybody(), DAY) == [Activity(ANA, expected)]
    assert store.activity(Scope.everybody(), Window(T0 - 7, T0 + 13 * HOUR + 1)) == [Activity(ANA, expected)]


def test_a_card_and_a_call_of_one_name_are_two(store):
    store.write([row(T0, 1), row(T0, 2, traffic=Traffic.CARD), row(T0, 3, traffic=Traffic.BOT)])
    assert sorted(store.visits(Scope.everybody(), DAY)) == sorted(
        [Visits(ANA, "/a", Traffic.APP, 1, "factory"), Visits(ANA, "/a", Traffic.CARD, 1, "factory")]
    )


def test_a_row_later_than_the_window_is_not_in_it_though_its_day_is(store):
    """A window that ends now is read up to the end of the day, if that changes nothing."""
    store.write([row(T0, 1), row(T0 + 5 * HOUR, 2, BEN)])
    for end_us, requests in ((T0 + 5 * HOUR, 1), (T0 + 5 * HOUR + 1, 2), (T0 + 6 * HOUR, 2)):
        window = Window(T0 - 30 * DAY_US, end_us)
        for by in By:
            assert sum(usage.requests for usage in store.usage(Scope.everybody(), window, Filters(), by)) == requests
        assert sum(one.requests for one in store.visits(Scope.everybody(), window)) == requests
        assert sum(one.requests for one in store.activity(Scope.everybody(), window)) == requests
        assert sum(one.requests for one in store.quarters(Scope.everybody(), window)) == requests
        assert sum(one.requests for one in store.latency(Scope.everybody(), window)) == requests
        assert sum(one.requests for one in store.bucket_usage(Scope.everybody(), window, DAY_US)) == requests


@pytest.mark.parametrize(
    ("start_us", "end_us", "minutes"),
    [
        (T0 + 59 * S, T0 + 60 * S, [(1, 1)]),
        (T0 + 59 * S, T0 + 60 * S + 1, [(2, 1)]),
        (T0 + 60 * S, T0 + 61 * S, [(1, 0)]),
        (T0 - 60 * S, T0, []),
        (T0, T0, []),
    ],
)
def test_a_minute_that_the_window_cuts_counts_whole(store, start_us, end_us, minutes):
    store.write(ROWS)
    found = store.uptime(Scope.everybody(), Window(start_us, end_us))
    assert [(one.minutes.bit_count(), (one.minutes & ~one.down).bit_count()) for one in found] == minutes


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        (Filters(), [4, 3, 2, 1]),
        (Filters(user="ana@example.com"), [2, 1]),
        (Filters(user=""), [4]),
        (Filters(device="runner"), [4]),
        (Filters(endpoint="/b"), [3]),
        (Filters(method="GET"), [4, 2, 1]),
        (Filters(status="503"), [3]),
        (Filters(status="2xx"), [4, 2, 1]),
        (Filters(status="5xx", user="ana@example.com"), []),
        (Filters(user="' OR 1=1 --"), []),
        (Filters("ana@example.com", "ana-laptop", "/a", "GET", "200"), [2, 1]),
    ],
)
def test_filters(store, filters, keys):
    store.write(ROWS)
    assert [entry.key for entry in store.log(Scope.everybody(), DAY, filters, 10, None)] == keys
    assert sum(usage.requests for usage in store.usage(Scope.everybody(), DAY, filters)) == len(keys)
    ragged = Window(T0 - 1, T0 + HOUR + 1)
    for by in By:
        assert sum(usage.requests for usage in store.usage(Scope.everybody(), DAY, filters, by)) == len(keys)
        assert sum(usage.requests for usage in store.usage(Scope.everybody(), ragged, filters, by)) == len(keys)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_have_no_gap_and_no_double(store, limit):
    store.write([row(T0 + number // 5, number) for number in range(23)])  # five share each time
    keys, before = [], None
    while page := store.log(Scope.everybody(), DAY, Filters(), limit, before):
        keys += [entry.key for entry in page]
        before = (page[-1].time_us, page[-1].key)
    assert keys == list(range(22, -1, -1))


def test_a_cursor_beyond_the_window_shows_no_more_than_the_window(store):
    store.write(ROWS)
    window = Window(T0, T0 + 10 * S)
    assert [entry.key for entry in store.log(Scope.everybody(), window, Filters(), 10, (T0 + 2 * HOUR, 0))] == [1]


def test_prune_removes_rows_and_keeps_sums(store, monkeypatch):
    monkeypatch.setattr(prune, "PRUNE_ROWS_MAX", 2)
    store.write(ROWS)
    _, *sums = everything(store)
    assert store.prune(T0 + HOUR) == 3
    assert [entry.key for entry in store.log(Scope.everybody(), DAY, Filters(), 10, None)] == [4]
    assert list(everything(store)[1:]) == sums
    assert store.prune(T0 + HOUR) == 0


def test_a_store_of_a_newer_tailtrace_is_refused(store, tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(
        StoreError, match=r"t\.db: made by a newer tailtrace \(schema 99, this one knows \d+\); upgrade"
    ):
        SqliteStore(tmp_path / "t.db")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("text.db", "file is not a database; this is no SQLite database; name another file in TAILTRACE_STORE"),
        ("short.db", "file is not a database; this is no SQLite database; name another file in TAILTRACE_STORE"),
        (
            "missing/t.db",
            "unable to open database file; is this a file, its folder there, and may this user write in it?",
        ),
        ("folder", "unable to open database file; is this a file, its folder there, and may this user write in it?"),
    ],
)
def test_what_is_no_store_is_refused(tmp_path, path, said):
    (tmp_path / "text.db").write_text("this is a text and no database\n" * 100)
    (tmp_path / "short.db").write_text("xy")
    (tmp_path / "folder").mkdir()
    before = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    with pytest.raises(StoreError) as rejected:
        SqliteStore(tmp_path / path)
    assert str(rejected.value) == f"store sqlite:{tmp_path / path}: {said}"
    assert {file.name: file.stat().st_size for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE notes (text)",
        "CREATE TABLE access (x); PRAGMA user_version = 1",  # of a tailtrace before 0.1, whose sums were others
        "PRAGMA application_id = 77",
    ],
)
def test_the_database_of_another_program_is_refused_and_left_as_it_is(tmp_path, script):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="database of another program, or of a tailtrace before"):
        SqliteStore(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["other.db"]


def test_a_store_of_an_older_schema_is_brought_up_to_this_one_or_left_whole(store, tmp_path, monkeypatch):
    store.write(ROWS)
    before, path = everything(store), tmp_path / "t.db"
    store.close()
    wrong = (*MIGRATIONS, "CREATE TABLE extra (x); CREATE TABLE entry (x)")
    monkeypatch.setattr(database, "MIGRATIONS", wrong)
    with pytest.raises(StoreError, match="table entry already exists"):
        SqliteStore(path)
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE extra (x); INSERT INTO extra VALUES (1)"))
    for _ in range(2):
        again = SqliteStore(path)
        assert everything(again) == before
        again.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT x FROM extra").fetchall() == [(1,)]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    connection.close()


def test_a_store_keeps_its_id_and_another_in_its_place_has_another(store, tmp_path):
    again = SqliteStore(tmp_path / "t.db")
    assert again.store_id == store.store_id != ""
    again.close()
    store.close()
    for file in tmp_path.glob("t.db*"):
        file.unlink()
    other = SqliteStore(tmp_path / "t.db")
    assert other.store_id != store.store_id
    other.close()


def test_what_was_pruned_and_comes_again_counts_once(store):
    """Its row, which would tell, is gone: an import of an old log after the retention had taken it doubled the sums."""
    store.write(ROWS)
    _, *sums = everything(store)
    assert store.prune(T0 + 30 * S) == 2
    assert store.write(ROWS) == Written(0, 2, 2)
    assert list(everything(store)[1:]) == sums
    # What is as old as the retention, and later than all that went, still comes in.
    assert store.write([row(T0 + 10 * S + 1, 77), row(T0 - 5, 78)]) == Written(1, 0, 1)
    assert sum(usage.requests for usage in store.usage(Scope.everybody(), DAY, Filters())) == 5


def test_a_store_where_nothing_was_pruned_takes_any_age(store):
    assert store.prune(T0 + DAY_US) == 0
    assert store.write([row(T0 - 365 * DAY_US, 1)]) == Written(1, 0)


WRITE_FOR_EVER = """
import sys
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.sqlite.store import SqliteStore

store = SqliteStore(sys.argv[1])
who = Identity("100.64.0.7", "user", "ana@example.com")
n = 0
while True:
    batch = []
    for n in range(n, n + 100):
        access = Access(
            int(sys.argv[2]) + n * 1_000_000, n, who.address, "GET", "/a", 200, 5, None, True, 10, "s", "", "", "curl", ""
        )
        batch.append(Row(access, who, "/a", Traffic.APP, 3, ""))
    n += 1
    store.write(batch)
    if n % 1000 == 0:
        store.prune(int(sys.argv[2]) + (n - 500) * 1_000_000)
    print(n, flush=True)
"""


def write_for_ever(path):
    return subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(path), str(T0)], stdout=subprocess.PIPE)


@pytest.mark.parametrize("batches", [1, 9, 10, 11, 25])
def test_killed_at_any_moment_the_sums_are_those_of_whole_batches(tmp_path, batches):
    with write_for_ever(tmp_path / "t.db") as process:
        for _ in range(batches):
            acknowledged = int(process.stdout.readline())
        process.kill()
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
    store = SqliteStore(tmp_path / "t.db")
    window = Window(T0, T0 + 30 * DAY_US)
    total = sum(usage.requests for usage in store.usage(Scope.everybody(), window, Filters()))
    assert total in {acknowledged, acknowledged + 100}
    assert sum(one.requests for one in store.visits(Scope.everybody(), window)) == total
    assert sum(one.requests for one in store.activity(Scope.everybody(), window)) == total
    assert sum(one.requests for one in store.quarters(Scope.everybody(), window)) == total
    assert sum(one.requests for one in store.bucket_latency(Scope.everybody(), window, HOUR)) == total
    assert sum(one.requests for one in store.latency(Scope.everybody(), window)) == 2 * total
    kept = [entry.key for entry in store.log(Scope.everybody(), window, Filters(), 10_000, None)]
    assert kept == list(range(total - 1, total - 1 - len(kept), -1))
    # The batch that was not acknowledged comes again.
    again = [row(T0 + n * S, n, Identity("100.64.0.7", "user", "ana@example.com")) for n in range(total - 100, total)]
    assert store.write(again) == Written(0, 100)
    store.close()


def test_another_process_reads_while_one_writes(tmp_path):
    with write_for_ever(tmp_path / "t.db") as process:
        process.stdout.readline()
        reader = SqliteStore(tmp_path / "t.db")
        window, totals = Window(T0, T0 + 30 * DAY_US), []
        while len(set(totals)) < 20:
            usage = sum(one.requests for one in reader.usage(Scope.everybody(), window, Filters()))
            assert usage % 100 == 0, "half a batch"
            totals.append(usage)
            assert len(totals) < 100_000, "it sees nothing new"
        process.kill()
        reader.close()
    assert totals == sorted(totals)


@pytest.mark.parametrize("table", ["usage", "visit_day", "brief", "hour", "refusal"])
def test_a_failed_write_leaves_no_trace_and_the_next_one_works(store, tmp_path, table):
    store.write(ROWS[:1])
    before = everything(store)
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute(f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    rejected_lines = [RejectedLine("empty", "a.log", 0, "")]
    with pytest.raises(StoreError, match="disk full"):
        store.write(ROWS, rejected_lines)
    assert everything(store) == before
    with connection:
        connection.execute("DROP TRIGGER full")
    connection.close()
    # Identities and endpoints that came first with the failed batch must not keep the ids of that batch.
    assert store.write([row(T0 + 5, 50, CI, "/z")]) == Written(1, 0)
    assert store.write(ROWS, rejected_lines) == Written(3, 1)
    assert {
        (u.identity.user or u.identity.device, u.endpoint): u.requests
        for u in store.usage(Scope.everybody(), DAY, Filters())
    } == {
        ("ana@example.com", "/a"): 2,
        ("ben@example.com", "/b"): 1,
        ("runner", "/health"): 1,
        ("runner", "/z"): 1,
    }


def test_a_write_that_sqlite_itself_rolled_back(store, tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON usage_endpoint BEGIN SELECT RAISE(ROLLBACK, 'rolled back'); END"
        )
    with pytest.raises(StoreError, match="rolled back"):
        store.write(ROWS)
    with connection:
        connection.execute("DROP TRIGGER full")
    connection.close()
    assert store.write(ROWS) == Written(4, 0)
    assert sum(usage.requests for usage in store.usage(Scope.everybody(), DAY, Filters())) == 4


def test_a_file_whose_name_is_no_text(store):
    store.write([], [RejectedLine("empty", "caf\udce9.log", 0, "")])
    assert store.rejected_by_reason() == {"empty": 1}


def test_a_closed_store_says_so(store):
    store.write(ROWS)
    store.newest_us(Scope.everybody())
    store.close()
    with pytest.raises(StoreError):
        store.newest_us(Scope.everybody())
    with pytest.raises(StoreError):
        store.write(ROWS)


def test_threads_read_while_one_writes(store):
    seen, failures = [], []
    done = threading.Event()

    def read():
        try:
            while not done.is_set():
                total = sum(usage.requests for usage in store.usage(Scope.everybody(), DAY, Filters()))
                assert total % 100 == 0  # never half a batch
                seen.append(total)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for batch in range(20):
        store.write([row(T0 + batch * 100 + number, number) for number in range(100)])
    done.set()
    for reader in readers:
        reader.join(10)
    assert failures == []
    assert seen
    assert sum(usage.requests for usage in store.usage(Scope.everybody(), DAY, Filters())) == 2_000


def test_two_threads_write_the_same_rows_once(store):
    rows = [row(T0 + number, number) for number in range(500)]
    written = []

    def write():
        written.extend(store.write(rows[place : place + 50]) for place in range(0, 500, 50))

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(10)
    assert sum(one.stored for one in written) == 500
    assert sum(one.duplicate for one in written) == 500
    assert sum(usage.requests for usage in store.usage(Scope.everybody(), DAY, Filters())) == 500


def test_threads_that_come_and_go_leave_no_connection_behind(store):
    def read():
        store.newest_us(Scope.everybody())

    for _ in range(20):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(10)
    assert store._connections.open_count == 2  # the writer and one reader


def test_a_new_store_may_be_opened_by_several_at_once(tmp_path):
    """As `tailtrace serve` and `tailtrace import` do, each in its process."""
    failures = []
    together = threading.Barrier(4)

    def open_and_read(path):
        together.wait(10)
        try:
            opened = SqliteStore(path)
            opened.newest_us(Scope.everybody())
            opened.close()
        except StoreError as error:
            failures.append(str(error))

    for attempt in range(10):
        threads = [threading.Thread(target=open_and_read, args=(tmp_path / f"{attempt}.db",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert failures == []


def named(user, user_id, device, node_id, address="100.64.0.7", **more):
    return Identity(address, "user", user, device, node_id, "", "localapi", user_id=user_id, **more)


OLD = named("ana@old.example", "71", "mac", "n1")
NEW = named("ana@new.example", "71", "ana-mac", "n1")
NEXT = named("ben@example.com", "72", "pc", "n2")


@pytest.fixture
def renamed(store):
    """Ana on an address; then under her new login and her device's new name; then Ben on that address."""
    for n, who in enumerate((OLD, NEW, NEXT)):
        store.write([row(T0 + n * MINUTE, n, who)._replace(identified_us=T0 + n * MINUTE + 5)])
    return store


def test_the_log_keeps_the_names_of_its_time_and_sums_go_by_the_names_of_now(renamed):
    assert [
        (entry.identity, entry.identified_us) for entry in renamed.log(Scope.everybody(), DAY, Filters(), 9, None)
    ] == [
        (NEXT, T0 + 2 * MINUTE + 5),
        (
            OLD.__class__("100.64.0.7", "user", "ana@new.example", "ana-mac", "n1", "", "localapi", "71"),
            T0 + MINUTE + 5,
        ),
        (OLD, T0 + 5),
    ]
    assert [usage.identity.user for usage in renamed.usage(Scope.everybody(), DAY, Filters())] == [
        "ana@new.example", "ana@new.example", "ben@example.com",
    ]  # fmt: skip
    for given in (renamed.activity(Scope.everybody(), DAY), renamed.visits(Scope.everybody(), DAY)):
        assert [(one.identity.user, one.identity.device) for one in given] == [
            ("ana@new.example", "ana-mac"), ("ana@new.example", "ana-mac"), ("ben@example.com", "pc"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        (Filters(user="ana@old.example"), [1, 0]),
        (Filters(user="ana@new.example"), [1, 0]),
        (Filters(user="ben@example.com"), [2]),
        (Filters(device="mac"), [1, 0]),
        (Filters(device="ana-mac"), [1, 0]),
        (Filters(device="pc"), [2]),
        (Filters(user="ana@old.example", device="pc"), []),
        (Filters(user=""), []),
    ],
)
def test_a_filter_takes_any_name_that_somebody_has_had(renamed, filters, keys):
    assert [entry.key for entry in renamed.log(Scope.everybody(), DAY, filters, 9, None)] == keys
    assert sum(usage.requests for usage in renamed.usage(Scope.everybody(), DAY, filters)) == len(keys)


def test_a_filter_finds_what_the_file_named_before_there_were_ids(renamed):
    renamed.write([row(T0 - HOUR, 9, Identity("100.64.0.7", "user", "ana@old.example", "mac", provider="static"))])
    assert [entry.key for entry in renamed.log(Scope.everybody(), DAY, Filters(user="ana@new.example"), 9, None)] == [
        1,
        0,
        9,
    ]


def test_renamed_and_renamed_back(renamed):
    renamed.write([row(T0 + 3 * MINUTE, 3, OLD)._replace(identified_us=T0 + 3 * MINUTE)])
    assert {
        usage.identity.user for usage in renamed.usage(Scope.everybody(), DAY, Filters(user="ana@new.example"))
    } == {"ana@old.example"}


def test_all_of_an_identity_comes_back(store):
    known = [
        named("ana@example.com", "71", "mac", "n1", expired=True),
        Identity("10.8.0.20", "subnet", provider="snapshot", via="office-router"),
        Identity("100.64.0.9", "unknown", reason="address-reused-or-unknown-then"),
        Identity("127.0.0.1", "funnel", provider="serve"),
    ]
    store.write([row(T0 + n, n, who) for n, who in enumerate(known)])
    assert [entry.identity for entry in reversed(store.log(Scope.everybody(), DAY, Filters(), 9, None))] == known
    assert store.log(Scope.everybody(), DAY, Filters(), 9, None)[-1].identity.expired is True


def test_addresses_and_agents_without_a_name_have_a_bound_over_restarts(tmp_path):
    def row(number, who, agent):
        access = Access(T0 + number, number, who.address, "GET", "/a", 200, 1, None, True, 1, "", "", "", agent, "")
        return Row(access, who, "/a", Traffic.APP, None, "")

    strangers = [Identity(f"203.0.113.{n}", reason="public-address") for n in range(8)]
    named = [Identity(f"100.64.0.{n}", "user", f"u{n}@example.com", f"d{n}") for n in range(8)]
    number = itertools.count()
    for batch in (strangers[:2], [*strangers[:3], *named[:4]], [*strangers, *named], [strangers[0], strangers[7]]):
        store = SqliteStore(tmp_path / "t.db", distinct_max=3)
        store.write([row(next(number), who, f"agent/{who.address}") for who in batch])
        counted = store.counters
        store.close()
    store = SqliteStore(tmp_path / "t.db", distinct_max=3)
    rows = store.rows(Scope.everybody(), Window(0, 2**53), None, 100)
    kept = {one.identity.address for one in rows if not one.identity.user}
    assert kept == {"203.0.113.0", "203.0.113.1", "203.0.113.2", OTHER}
    assert {one.identity.user for one in rows} == {"", *(who.user for who in named)}, "a person never folds"
    assert {one.identity.reason for one in rows if one.identity.address == OTHER} == {"public-address"}
    assert len({one.access.user_agent for one in rows}) == 4
    assert len(rows) == next(number), "and nothing is lost"
    assert (counted.addresses_over_limit, counted.agents_over_limit) == (1, 1)
    store.close()


def test_what_comes_past_the_limit_is_looked_up_at_once(tmp_path):
    store = SqliteStore(tmp_path / "t.db", distinct_max=3)
    store.write([row(T0, 0)])
    asked = []
    store._writer.set_trace_callback(asked.append)
    strangers = [Identity(f"203.0.113.{n}", reason="public-address") for n in range(200)]
    folded = Identity(OTHER, reason="public-address")
    rows = [row(T0 + n, n, who) for n, who in enumerate([*strangers, folded], start=1)]
    rows = [one._replace(access=one.access._replace(path=f"/{n}", user_agent=f"a{n}")) for n, one in enumerate(rows)]
    assert store.write(rows) == Written(201, 0)
    selects = [one for one in asked if one.lstrip().startswith("SELECT")]
    assert len(selects) < len(strangers) / 4
    store._writer.set_trace_callback(None)
    store.close()
    with sqlite3.connect(tmp_path / "t.db") as connection:
        kept = connection.execute("SELECT address, count(*) FROM identity GROUP BY address").fetchall()
        paths = connection.execute("SELECT path, count(*) FROM request GROUP BY path").fetchall()
    connection.close()
    assert (OTHER, 1) in kept
    assert len(kept) <= 5
    assert ("", 1) in paths


def with_path(number, path, at_us=T0):
    made = row(at_us + number, number, route="/{id}")
    return made._replace(access=made.access._replace(path=path))


def paths_of(store):
    return [one.access.path for one in store.rows(Scope.everybody(), Window(0, 2**53), None, 100)]


def test_paths_past_the_limit_stand_in_their_rows_and_are_as_whole(tmp_path):
    paths = ["/1", "/2", "", "/3", "/4", "/1", "/5", "/3", ""]
    for distinct_max in (3, 100):
        store = SqliteStore(tmp_path / f"{distinct_max}.db", distinct_max=distinct_max)
        for start in (0, 4):
            store.write([with_path(n, path) for n, path in list(enumerate(paths))[start : start + 5]])
        assert paths_of(store) == paths
        assert store.write([with_path(n, path) for n, path in enumerate(paths)]) == Written(0, 9)
        store.close()


def test_a_path_goes_with_its_last_row(store, tmp_path):
    store.write([with_path(1, "/secret/1"), with_path(2, "/secret/2", T0 + DAY_US)])
    assert store.prune(T0 + HOUR) == 1
    assert store.write([with_path(0, "/secret/3"), with_path(4, "/secret/1", T0 + DAY_US)]) == Written(1, 0, 1)
    assert paths_of(store) == ["/secret/2", "/secret/1"]
    store.close()
    with sqlite3.connect(tmp_path / "t.db") as connection:
        assert connection.execute("SELECT path FROM request ORDER BY path").fetchall() == [
            ("/secret/1",),
            ("/secret/2",),
        ]
    connection.close()


def test_a_row_says_when_its_own_identity_was_found_out(store):
    store.write([row(T0 + n, n)._replace(identified_us=when) for n, when in enumerate((T0, T0, T0 + S, T0))])
    store.write([row(T0 + 9, 9)._replace(identified_us=0)])
    rows = store.rows(Scope.everybody(), DAY, None, 9)
    assert [one.identified_us for one in rows] == [T0, T0, T0 + S, T0, 0]


def test_nginx_s_own_span_id_takes_no_room_and_is_read_in_older_rows(tmp_path):
    path = tmp_path / "t.db"
    store = SqliteStore(path)
    ids = (ROOT_SPAN_ID, "fedcba9876543210", "", ROOT_SPAN_ID)
    written = [row(T0 + n, n, trace="ab" * 16) for n in range(len(ids))]
    written = [one._replace(access=one.access._replace(span_id=span)) for one, span in zip(written, ids, strict=True)]
    store.write(written)
    expected = store.rows(Scope.everybody(), DAY, None, 9)
    assert tuple(one.access.span_id for one in expected) == ids
    store.close()
    kept = "SELECT span_id FROM entry ORDER BY key"
    with sqlite3.connect(path) as older:
        own = bytes.fromhex(ids[1])
        assert older.execute(kept).fetchall() == [(0,), (own,), (None,), (0,)]
        older.execute("UPDATE entry SET span_id = ? WHERE span_id = 0", (bytes.fromhex(ROOT_SPAN_ID),))
        version = next(at for at, step in enumerate(MIGRATIONS) if step.startswith("DROP VIEW access;"))
        older.executescript("DROP VIEW access; CREATE VIEW access AS SELECT * FROM entry")
        older.executescript("DROP TABLE shared_address; DROP INDEX brief_by_identity")
        older.execute(f"PRAGMA user_version = {version}")
    older.close()
    store = SqliteStore(path)
    assert store.rows(Scope.everybody(), DAY, None, 9) == expected
    assert store.write(written) == Written(0, 4), "they are the same rows"
    store.close()


def test_a_store_of_schema_2_keeps_its_rows(tmp_path):
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as old:
        old.executescript(MIGRATIONS[0] + MIGRATIONS[1])
        old.execute("INSERT INTO identity VALUES (1, '100.64.0.7', 'user', 'ana', '', '', '', '', '', '', '', 0, 5)")
        old.execute("INSERT INTO endpoint VALUES (1, 'factory', '/items/{id}')")
        old.execute("INSERT INTO agent VALUES (1, 'curl')")
        values = [(T0 + n, n, f"/items/{n}", 200 + n % 2, bytes([n]) * 16) for n in range(3)]
        old.executemany(
            "INSERT INTO access VALUES (?, ?, 1, 1, 1, 'GET', ?, ?, 0, 7, NULL, 5, 10, ?, NULL, 'E', 99)", values
        )
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 2")
    old.close()
    store = SqliteStore(path)
    who = Identity("100.64.0.7", "user", "ana")
    assert store.rows(Scope.everybody(), DAY, None, 9) == [
        Row(
            Access(T0 + n, n, who.address, "GET", f"/items/{n}", 200 + n % 2, 7, None, False, 10, "factory",
                   f"{n:02}" * 16, "", "curl", ""),
            who, "/items/{id}", Traffic.APP, 5, "E", 99,
        )
        for n in range(3)
    ]  # fmt: skip
    again = store.rows(Scope.everybody(), DAY, None, 9)
    assert store.write(again) == Written(0, 3), "they are the same rows"
    store.close()

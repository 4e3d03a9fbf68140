"""The store against a real InfluxDB 2: set-up, tokens, retention, limits, failures on the way."""

import itertools
import re
import time
from collections import Counter
from contextlib import closing
from threading import Event, Thread

import httpx
import pytest

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.identity.chain import Holder
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.store.anonymous import Order
from tailtrace_bridge.store.influx import batch, directory, session
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups import known as known_module
from tailtrace_bridge.store.influx.rollups import reader as rollups
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Tables
from tailtrace_bridge.store.influx.rollups.lru import LruCache
from tailtrace_bridge.store.influx.rollups.reader import FETCHED_LENGTH, _fetches
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.write import Answered, Timing
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, HOUR_US, Filters, Window, Written
from tailtrace_bridge.wiring.recall import Recall

pytestmark = pytest.mark.influxdb
EVER = Window(0, 2**53)
ALL = Filters()
BUCKETS = itertools.count()


def clock_us():
    return time.time_ns() // 1000


def row(at_us, key, user="ana", route="/a"):
    who = Identity("100.64.0.7", "user", user, f"{user}-laptop", "", "", "static")
    access = Access(at_us, key, who.address, "GET", route, 200, 5, None, True, 1, "", "", "", "", "")
    return Row(access, who, route, Traffic.APP, None, "")


@pytest.fixture
def influx_bucket():
    """A name that no other test has."""
    return f"store-{next(BUCKETS)}"


@pytest.fixture
def make(influxdb, influx_bucket):
    made = []

    def make_store(
        token=influxdb.token,
        url=influxdb.url,
        monotonic_us=lambda: time.monotonic_ns() // 1000,
        wall_us=clock_us,
        **config,
    ):
        timing = Timing(monotonic_us, lambda _: None, lambda: 0.5, wall_us)
        config = InfluxConfig(Server(url, influxdb.org, token), influx_bucket, "a", **config)
        made.append(InfluxStore(config, timing, is_rolling=False))
        return made[-1]

    yield make_store
    for store in made:
        store.close()


def make_token(server, *permissions):
    org = server.call("GET", "/api/v2/orgs", params={"org": server.org}).json()["orgs"][0]["id"]
    body = {
        "orgID": org,
        "permissions": [{"action": a, "resource": {"type": "buckets", "orgID": org}} for a in permissions],
    }
    return server.call("POST", "/api/v2/authorizations", json=body).json()


def test_buckets_are_made_with_their_retention_and_changed_with_it(make, influxdb, influx_bucket):
    def kept():
        found = influxdb.call("GET", "/api/v2/buckets", params={"limit": 100}).json()["buckets"]
        return {
            b["name"].removeprefix(influx_bucket): b["retentionRules"][0]["everySeconds"]
            for b in found
            if b["name"].startswith(influx_bucket)
        }

    make(raw_days=7).write([])
    assert kept() == {"": 7 * 86_400, "_rollups": 0}
    make(raw_days=9, rollup_days=400).write([])
    assert kept() == {"": 9 * 86_400, "_rollups": 400 * 86_400}


def test_the_bucket_of_raw_spans_is_made_where_its_retention_is_said(make, influxdb, influx_bucket):
    def kept_s():
        params = {"name": f"{influx_bucket}-spans", "org": influxdb.org}
        answer = httpx.get(
            f"{influxdb.url}/api/v2/buckets", params=params, headers={"Authorization": f"Token {influxdb.token}"}
        )
        return [rule["everySeconds"] for one in answer.json().get("buckets", ()) for rule in one["retentionRules"]]

    make(spans_bucket=f"{influx_bucket}-spans").write([])
    assert kept_s() == []
    make(spans_bucket=f"{influx_bucket}-spans", spans_hours=72).write([])
    assert kept_s() == [72 * 3600]
    make(spans_bucket=f"{influx_bucket}-spans", spans_hours=24).write([])
    assert kept_s() == [24 * 3600]


def test_a_token_that_may_make_no_bucket_says_which_command_would(make, influxdb, influx_bucket):
    with pytest.raises(
        StoreError, match=f"influx bucket create --org tailtrace --name {influx_bucket} --retention 168h"
    ):
        make(make_token(influxdb, "read")["token"], raw_days=7).write([])


def test_a_revoked_token_is_said_and_a_new_one_goes_on(make, influxdb):
    now_us = clock_us()
    make().write([])  # the buckets are there
    given = make_token(influxdb, "read", "write")
    store = make(given["token"])
    assert store.write([row(now_us, 1)]) == Written(1, 0)
    influxdb.call("DELETE", f"/api/v2/authorizations/{given['id']}")
    with pytest.raises(StoreError, match=r"401 .*INFLUXDB_V2_TOKEN is wrong, revoked"):
        store.write([row(now_us, 2)])
    assert make().write([row(now_us, 1), row(now_us, 2)]) == Written(1, 1)


def test_a_reader_of_a_bucket_that_is_not_there_is_told(make):
    with pytest.raises(StoreError, match="influx bucket create --name"):
        make().usage(Scope.everybody(), EVER, ALL)


def test_a_server_that_is_away_is_said(make):
    with pytest.raises(StoreError, match="is InfluxDB running, and is INFLUXDB_V2_URL its address"):
        make(url="http://127.0.0.1:9").newest_us(Scope.everybody())


def test_rows_older_than_the_bucket_keeps_are_counted_and_do_not_block(make):
    store, now_us = make(raw_days=2), clock_us()
    assert store.write([row(now_us, 1), row(now_us - 3 * DAY_US, 2)]) == Written(1, 0, 1)
    assert store.counters.expired == 1


@pytest.mark.parametrize(("failing_call", "written"), [(1, 0), (2, 10), (3, 10), (4, 20), (6, 30)])
def test_what_was_written_before_a_failure_counts_as_stored_when_it_comes_again(
    make, monkeypatch, failing_call, written
):
    """Odd calls are rows, even ones their batch: what is in no batch yet is found, and counts once."""
    store, now_us = make(), clock_us()
    rows = [row(now_us + key * 1000, key) for key in range(30)]
    monkeypatch.setattr(batch, "BATCH_LINES_MAX", 10)
    store.write([])
    write, calls = store._session.writer.write, []

    def failing(bucket, batch):
        calls.append(bucket)
        if calls.count(store._reads.buckets.raw) == failing_call:
            raise StoreError("down")
        return write(bucket, batch)

    monkeypatch.setattr(store._session.writer, "write", failing)
    with pytest.raises(StoreError, match="down"):
        store.write(rows)
    assert len(store.log(Scope.everybody(), EVER, ALL, 99, None)) == written
    assert store.write(rows) == Written(30, 0)
    assert store.write(rows) == Written(0, 30)
    assert (
        len(store.log(Scope.everybody(), EVER, ALL, 99, None))
        == sum(one.requests for one in store.usage(Scope.everybody(), EVER, ALL))
        == 30
    )


def test_the_number_of_routes_is_bounded_and_that_of_people_is_not(make, monkeypatch):
    monkeypatch.setattr(batch, "ENDPOINTS_MAX", 2)
    store, now_us = make(), clock_us()
    store.write([row(now_us + key, key, f"u{key}", f"/r{key}") for key in range(4)])
    assert [(one.identity.user, one.endpoint) for one in store.log(Scope.everybody(), EVER, ALL, 9, None)] == [
        ("u3", "__other__"), ("u2", "__other__"), ("u1", "/r1"), ("u0", "/r0"),
    ]  # fmt: skip
    assert store.counters.endpoints_over_limit == 2


def test_a_reader_learns_what_others_wrote_since_and_asks_for_no_more(make, monkeypatch):
    def named(store):
        return [one.identity.user for one in store.named(Scope.everybody())]

    seconds = 0
    writer, reader, now_us = make(), make(monotonic_us=lambda: seconds * 1_000_000), clock_us()
    ana = row(now_us, 1, "ana@old.example")
    ana = ana._replace(identity=ana.identity._replace(user_id="u1"), identified_us=now_us)
    writer.write([ana])
    assert [one.identity.user for one in reader.activity(Scope.everybody(), EVER)] == ["ana@old.example"]
    asked = []
    query = reader._reads.influx.query
    monkeypatch.setattr(reader._reads.influx, "query", lambda *said: asked.append(said) or query(*said))
    renamed = ana.identity._replace(user="ana@new.example")
    writer.write([row(now_us + 1, 2)._replace(identity=renamed, identified_us=now_us + 1)])
    assert {one.identity.user for one in reader.activity(Scope.everybody(), EVER)} == {"ana@new.example"}
    assert named(reader) == ["ana@old.example", "ana@new.example"]
    of_names = [text for _, text, *_ in asked if f'"{directory.MEASUREMENT}"' in text]
    assert len(of_names) == 2
    assert all("time >= $start" in text for text in of_names)
    writer.erase(Person(user="ana@new.example"), is_dry=False)
    seconds = directory.ALL_AGAIN_US // 1_000_000
    assert named(reader) == named(writer) == []


def test_the_number_of_addresses_without_a_name_is_bounded(make):
    store, now_us = make(distinct_max=2), clock_us()
    strangers = [row(now_us + key, key, "", "/a") for key in range(4)]
    rows = [
        one._replace(identity=Identity(f"203.0.113.{n}", "unknown", reason="no-whois"))
        for n, one in enumerate(strangers)
    ]
    store.write([*rows, row(now_us + 9, 9, "ana", "/a")])
    store.write([rows[0]._replace(access=rows[0].access._replace(key=5))])  # known already
    named, *stored = (one.identity for one in store.log(Scope.everybody(), EVER, ALL, 9, None))
    assert named.user == "ana"
    assert sorted(one.address for one in stored) == ["203.0.113.0"] * 2 + ["203.0.113.1"] + ["__other__"] * 2
    assert {(one.kind, one.reason) for one in stored} == {("unknown", "no-whois")}
    assert store.counters.addresses_over_limit == 2
    assert store.anonymous_usage(Scope.everybody(), EVER, Order.SESSIONS, 9).addresses == 4


@pytest.mark.parametrize("age_us", [0, 3 * DAY_US, 40 * DAY_US], ids=["now", "rolled up", "long ago"])
def test_the_number_of_addresses_holds_over_restarts(make, age_us):
    now_us = clock_us()

    def stranger(at_us, key, number):
        who = Identity(f"203.0.113.{number}", "unknown", reason="no-whois")
        return row(at_us, key, "")._replace(identity=who)

    before = make(distinct_max=2)
    before.write([stranger(now_us - age_us, 1, 1), stranger(now_us - age_us, 2, 2)])
    before.close()
    after = make(distinct_max=2)
    after.write([stranger(now_us, 3, 3), stranger(now_us, 4, 2), row(now_us, 5, "ana")])
    newest = {one.key: one.identity.address for one in after.log(Scope.everybody(), EVER, ALL, 3, None)}
    assert newest == {3: "203.0.113.3" if age_us > 30 * DAY_US else "__other__", 4: "203.0.113.2", 5: "100.64.0.7"}


def test_the_endpoints_of_the_store_are_told_to_the_next_bridge(make):
    store, now_us = make(), clock_us()
    store.write([row(now_us, 1, "ana", "/a"), row(now_us, 2, "ana", "/b/{id}")])
    assert make().endpoints(Scope.everybody()) == ["/a", "/b/{id}"]


def test_the_limit_of_paths_holds_where_the_store_was_away_at_the_start(make_influxdb):
    server, now_us = make_influxdb(), clock_us()
    config = InfluxConfig(Server(server.url, server.org, server.token), "away", "a")
    timing = Timing(lambda: time.monotonic_ns() // 1000, lambda _s: None, lambda: 0.5, clock_us)

    def routed(before, path):
        with closing(InfluxStore(config, timing, is_rolling=False)) as store:
            enricher = Enricher(lambda address: Holder(Identity(address), 0), Routes(limit=2))
            before()
            recall = Recall(store, enricher, clock_us)
            server.start()
            recall.offer([])
            made = enricher.row(
                Access(now_us, ord(path[1]), "::1", "GET", path, 200, 1, None, True, 1, "", "", "", "", "")
            )
            store.write([made])
            server.kill()
            return made.route

    server.kill()
    assert [routed(server.kill, f"/{name}") for name in "abcb"] == ["/a", "/b", "__other__", "/b"]


def test_a_late_row_is_seen_at_once_and_after_its_hour_was_summed_up_again(make):
    store, day_us = make(), clock_us() // DAY_US * DAY_US - 3 * DAY_US
    store.write([row(day_us + 60_000_000 * key, key) for key in range(300)])
    store.settle()
    window = Window(day_us, day_us + DAY_US)
    for count, settles in ((301, False), (301, True)):
        store.write([row(day_us + 5, 999)])
        if settles:
            store.settle()
        assert sum(one.requests for one in store.usage(Scope.everybody(), window, ALL)) == count
    # Nothing is read from rows now: they could be gone.
    sums = store._reads.rollups.parts(window, Kind.USAGE, Tables())
    assert [part.size_us for part in sums] == [DAY_US]


def test_a_store_that_is_to_end_soon_leaves_its_rollups_to_whoever_comes_next(make):
    store, hour_us = make(), clock_us() // HOUR_US * HOUR_US - 5 * HOUR_US
    store.write([row(hour_us + 1_000_000 * key, key) for key in range(300)])
    roller, begun = store._session.roller, Event()
    store._session.write_rollups(roller.settle())
    roller._until_stopped, until_stopped = lambda each: until_stopped(endless(each, begun)), roller._until_stopped
    store._thread = Thread(target=store._roll, daemon=True)
    store._thread.start()
    assert begun.wait(30)
    store.close(soon=True)  # would wait for ever, and then roll up
    after, window = make(), Window(hour_us, hour_us + HOUR_US)
    for sizes in ([0], [HOUR_US]):  # of its rows first
        assert sum(one.requests for one in after.usage(Scope.everybody(), window, ALL)) == 300
        assert [part.size_us for part in after._reads.rollups.parts(window, Kind.USAGE, Tables())] == sizes
        after.settle()


def endless(each, begun):
    """Work that goes on and on."""
    one = next(iter(each))
    begun.set()
    while True:
        time.sleep(0.01)
        yield one


@pytest.mark.parametrize("length_max", [32_000, 150])
def test_a_day_is_added_up_of_its_hours_some_people_at_a_time_where_there_is_much(make, monkeypatch, length_max):
    monkeypatch.setattr("tailtrace_bridge.store.influx.rollups.encoding.TEXT_LENGTH_MAX", length_max)
    store, day_us = make(), clock_us() // DAY_US * DAY_US - 3 * DAY_US
    rows = [row(day_us + 600_000_000 * key, key, f"person{key % 7}", f"/{key % 3}") for key in range(140)]
    held, by_hour = [], store._reads.rollups.by_hour
    monkeypatch.setattr(
        store._reads.rollups, "by_hour",
        lambda *a: (held.append((a[1], len(hour))) or hour for hour in by_hour(*a)),
    )  # fmt: skip
    store.write(rows)
    store.settle()
    window, expected = Window(day_us, day_us + DAY_US), Counter((r.identity.user, r.route) for r in rows)
    parts = list(store._reads.rollups.parts(window, Kind.USAGE, Tables()))
    assert [part.size_us for part in parts] == [DAY_US]
    found = store.usage(Scope.everybody(), window, ALL)
    assert {(one.identity.user, one.endpoint): one.requests for one in found} == expected
    assert len(parts[0].rows) == 21, "no key is there twice"
    of_usage = [n for kind, n in held if kind is Kind.USAGE]
    is_some_at_a_time = length_max < 1_000
    assert (len(of_usage) > 24, max(of_usage) < 6) == (is_some_at_a_time, is_some_at_a_time)


DAY_AGO_US = clock_us() // DAY_US * DAY_US - 3 * DAY_US
RAGGED = Window(DAY_AGO_US + 3_000_000, DAY_AGO_US + DAY_US - 1_000_000)
"""Cut from steps at both ends."""


def count(store, window=RAGGED):
    return sum(one.requests for one in store.usage(Scope.everybody(), window, ALL))


def minutes(first, last):
    return [row(DAY_AGO_US + 60_000_000 * key, key) for key in range(first, last)]


def test_what_another_process_writes_is_seen_by_a_writer_that_knows_the_step(make):
    one, other = make(), make()
    assert one.write(minutes(1, 5)) == Written(4, 0)
    assert other.write(minutes(1, 8)) == Written(3, 4)
    assert one.write(minutes(3, 9)) == Written(1, 5)
    assert (count(one), len(one.log(Scope.everybody(), EVER, ALL, 99, None))) == (8, 8)


def test_rows_of_a_process_that_died_before_their_batch_are_found_by_who_comes_next(make, monkeypatch):
    dying, other = make(), make()
    other.write([])
    monkeypatch.setattr(batches, "points", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dying.write(minutes(1, 8))
    monkeypatch.undo()
    assert count(other) == 0
    # The same requests, some under another name by now: what was stored first stays, and there is one point for each.
    assert other.write([row(DAY_AGO_US + 60_000_000 * key, key, "ben") for key in range(5, 10)]) == Written(2, 3)
    assert other._session.known.found_count == 7
    assert (count(other), len(other.log(Scope.everybody(), EVER, ALL, 99, None))) == (9, 9)
    assert {one.identity.user: one.requests for one in other.usage(Scope.everybody(), EVER, ALL)} == {
        "ana": 7,
        "ben": 2,
    }


def test_two_processes_that_write_the_same_at_the_same_moment_count_it_once(make, monkeypatch):
    one, other = make(), make()
    one.write(minutes(1, 8))
    other.write([])
    monkeypatch.setattr(other._session.known, "around", lambda _: {})  # asked before the first had written
    monkeypatch.setattr(other._session.known, "add", lambda *_: None)
    assert other.write(minutes(2, 9)) == Written(7, 0)
    assert count(one) == 8
    one.settle()
    assert count(one) == 8


def test_a_writer_that_forgets_reads_anew(make, monkeypatch):
    monkeypatch.setattr(known_module, "NAMES_MAX", 10)
    store = make()
    for first in range(0, 600, 50):
        assert store.write(minutes(first, first + 50)) == Written(50, 0)
    assert len(store._session.known._steps) < 10
    assert store.write(minutes(0, 600)) == Written(0, 600)


def test_steps_are_read_and_written_again_some_batches_at_a_time(make, monkeypatch):
    first, written = make(), []
    rows = [row(DAY_AGO_US + 4_000_000 * key, key) for key in range(196)]  # of two steps
    for start, end in ((0, 30), (30, 60), (60, 160), (160, 170), (170, 195)):
        first.write(rows[start:end])
    monkeypatch.setattr(known_module, "ROWS_AT_ONCE", 40)
    second = make()
    second.write([])
    known = second._session.known
    write = known._write
    monkeypatch.setattr(known, "_write", lambda points: (written.append(points), write(points)))
    assert second.write(rows) == Written(1, 195)
    held = [sum(int(re.search(rb"rows=(\d+)i", point)[1]) for point in points) for points in written]
    assert sum(held) == 195
    assert all(count <= 40 or len(points) == 1 for count, points in zip(held, written, strict=True))
    assert sum(one.requests for one in make().usage(Scope.everybody(), EVER, ALL)) == 196


def test_a_late_line_finds_the_step_before_in_mind(make, monkeypatch):
    monkeypatch.setattr(known_module, "NAMES_MAX", 10)
    store = make()
    first = row(DAY_AGO_US + 599_000_000, 99)
    store.write([*minutes(0, 10), first])
    store.write([row(DAY_AGO_US + 600_000_000, 100)])
    asked = []
    monkeypatch.setattr(store._session.known, "find", asked.extend)
    assert store.write([row(DAY_AGO_US + 598_000_000, 98), first]) == Written(1, 1)
    assert asked == []
    store.write(minutes(30, 40))
    store.write(minutes(40, 50))
    store.write([first])
    assert asked, "but not for ever"


def test_a_reader_that_stays_sees_what_others_write_and_sum_up(make):
    writer, reader, written = make(), make(), 0
    for last in (200, 201, 700):
        assert writer.write(minutes(1, last)) == Written(last - 1 - written, written)
        written = last - 1
        assert count(reader) == written
        writer.settle()
        assert count(reader) == written


def test_a_step_of_many_batches_is_put_into_one(make, monkeypatch):
    monkeypatch.setattr("tailtrace_bridge.store.influx.rollups.batches.REQUESTS_AT_ONCE", 4)  # in three documents
    store = make()
    for key in range(1, 10):
        store.write([row(DAY_AGO_US + key * 1_000_000, key)])
    store.settle()

    def batches_read():
        asked = []
        query_all = store._reads.influx.query_all
        monkeypatch.setattr(store._reads.influx, "query_all", lambda *a: asked.append(a[1]) or query_all(*a))
        requests = count(store)
        monkeypatch.setattr(store._reads.influx, "query_all", query_all)
        return requests, sum('SELECT "data" FROM "batch"' in text for texts in asked for text in texts)

    assert batches_read() == (7, 0)  # those of the first two seconds lie before the window
    store.write([row(DAY_AGO_US + 10_000_000, 10)])
    assert batches_read() == (8, 1)  # one that comes late: the batches count again
    store.settle()
    assert batches_read() == (8, 0)


def test_what_was_read_is_not_read_again_until_it_changes(make, monkeypatch):
    writer, reader = make(), make()
    writer.write(minutes(1, 1440))
    writer.settle()
    asked = []
    query_all = reader._reads.influx.query_all
    monkeypatch.setattr(reader._reads.influx, "query_all", lambda *a: asked.append("; ".join(a[1])) or query_all(*a))

    def read(window=RAGGED):
        asked.clear()
        requests = count(reader, window)
        return requests, sum('"asof_us", "parts", "data"' in text or '"data" FROM "batch"' in text for text in asked)

    hours, batches_of_ends = 1, 1  # calls
    assert read() == (1439, hours + batches_of_ends)
    assert read() == (1439, 0)
    other_end = Window(RAGGED.start_us, RAGGED.end_us - 60_000_000)
    assert read(other_end) == (1438, batches_of_ends), "one step is cut elsewhere; no hour is read"
    writer.write([row(DAY_AGO_US + 5 * HOUR_US, 10_000)])
    assert read() == (1440, hours + batches_of_ends), "the other hours, and the steps of this one"
    assert read() == (1440, 0)
    reader._reads.rollups.forget()
    assert read() == (1440, hours + batches_of_ends)


def test_busy_steps_are_fetched_few_at_a_time():
    lengths = [FETCHED_LENGTH // 2, FETCHED_LENGTH // 2, 1, 0, 2 * FETCHED_LENGTH, 1, FETCHED_LENGTH]
    fetched = _fetches({("", number): length for number, length in enumerate(lengths)})
    assert [[number for _, number in some] for some in fetched] == [[0, 1], [2, 3], [4], [5], [6]]
    assert list(_fetches({})) == []


def test_what_is_kept_is_bounded():
    kept = LruCache(10)
    kept.put("a", 1, 5)
    kept.put("b", 2, 5)
    kept.get("a")
    kept.put("c", 3, 5)
    kept.put("d", 4, 11)
    assert [kept.get(name) for name in "abcd"] == [1, None, 3, None]
    kept.put("c", 5, 1)
    kept.put("e", 6, 4)
    assert [kept.get(name) for name in "ace"] == [1, 5, 6]
    kept.clear()
    assert kept.get("a") is None


@pytest.mark.parametrize("is_joined", [False, True])
def test_a_step_that_is_long_is_fetched_as_it_is_read(make, monkeypatch, is_joined):
    now_us, fetched = [DAY_AGO_US + 5 * 60_000_000], []
    store = make(wall_us=lambda: now_us[0])
    rows = [row(DAY_AGO_US + 4_000_000 * key, key) for key in range(1, 141)]
    for start in range(0, 140, 10):
        store.write([*rows[start : start + 10], rows[start // 2]])
    if is_joined:
        monkeypatch.setattr("tailtrace_bridge.store.influx.rollups.batches.REQUESTS_AT_ONCE", 9)
        monkeypatch.setattr("tailtrace_bridge.store.influx.rollups.encoding.TEXT_LENGTH_MAX", 70)
        now_us[0] += 10 * 60_000_000
        store.settle()
    monkeypatch.setattr(rollups, "TEXT_LENGTH_MAX", 70)
    monkeypatch.setattr(rollups, "FETCHED_LENGTH", 700)
    reader = make(wall_us=lambda: now_us[0])
    rows_of = reader._reads.influx.rows
    monkeypatch.setattr(
        reader._reads.influx,
        "rows",
        lambda bucket, text, values=None: [fetched.append(text), rows_of(bucket, text, values)][1],
    )
    assert count(reader) == 140
    measurement = "rows" if is_joined else "batch"
    assert sum(f'"data" FROM "{measurement}"' in text for text in fetched) > 3
    assert len(reader.log(Scope.everybody(), EVER, ALL, 200, None)) == 140


def test_a_step_that_is_put_together_anew_while_it_is_read_is_an_error_and_no_wrong_number(make, monkeypatch):
    now_us = [DAY_AGO_US + 20 * 60_000_000]
    store = make(wall_us=lambda: now_us[0])
    for key in range(20):
        store.write([row(DAY_AGO_US + key, key)])
    store.settle()
    monkeypatch.setattr(rollups, "FETCHED_LENGTH", 1)
    reader = make()
    rows_of = reader._reads.influx.rows

    def later(bucket, text, values=None):
        found = rows_of(bucket, text, values)
        return [[one[0], one[1] + 1, *one[2:]] for one in found] if '"asof_us", "data"' in text else found

    monkeypatch.setattr(reader._reads.influx, "rows", later)
    with pytest.raises(StoreError, match="put together anew"):
        count(reader)


def test_any_number_of_steps_is_read_in_pieces(make, monkeypatch):
    store = make()
    store.write(minutes(0, 300))
    monkeypatch.setattr(rollups, "STEPS_MAX", 4)
    assert count(store) == 299


def test_a_millisecond_with_more_requests_than_a_page_is_read_whole(make):
    store = make()
    store.write([row(DAY_AGO_US + key, key) for key in range(100)] + [row(DAY_AGO_US + 1_000_000, 100)])
    page = store.log(Scope.everybody(), EVER, ALL, 5, None)
    assert [one.key for one in page] == [100, 99, 98, 97, 96]
    assert [one.key for one in store.log(Scope.everybody(), EVER, ALL, 3, page[-1][:2])] == [95, 94, 93]
    assert [one.access.key for one in store.rows(Scope.everybody(), EVER, None, 3)] == [0, 1, 2]


def test_a_step_of_the_hour_that_goes_on_is_put_into_one_when_it_is_over(make, monkeypatch):
    now_us = [DAY_AGO_US + 14 * 60_000_000]  # the step is over, its hour is not
    store = make(wall_us=lambda: now_us[0])
    for key in range(4, 14):
        store.write([row(DAY_AGO_US + key * 1_000_000, key)])
    store.settle()
    window = Window(DAY_AGO_US + 3_000_000, now_us[0])
    asked = []
    query_all = store._reads.influx.query_all
    monkeypatch.setattr(store._reads.influx, "query_all", lambda *a: asked.append(a[1]) or query_all(*a))
    assert count(store, window) == 10
    assert [text for texts in asked for text in texts if 'FROM "batch"' in text] == []


@pytest.fixture
def sent_while_full(monkeypatch, failing_call):
    """What is sent to a server that answers 500 from that call on, 20 times: longer than one `write` goes on trying.

    With its disk full it keeps the points in memory, shows them to whoever asks, and loses them later.
    """
    client_post, sent = session.client_post, []

    def failing_post(server):
        post, close = client_post(server)

        def write(bucket, body):
            sent.append((bucket, body))
            post(bucket, body)
            if failing_call <= len(sent) < failing_call + 20:
                raise Answered(500, "no space left on device")

        return write, close

    monkeypatch.setattr(session, "client_post", failing_post)
    monkeypatch.setattr(batch, "BATCH_LINES_MAX", 20)
    return sent


def lines_of(sent):
    return {line for _, body in sent for line in body.splitlines()}


@pytest.mark.parametrize("failing_call", range(1, 6))
def test_what_influxdb_answered_500_to_is_sent_again_though_a_query_finds_it(make, sent_while_full):
    sent = sent_while_full
    ticks = itertools.count(0, 5_000_000)
    store, now_us = make(monotonic_us=lambda: next(ticks)), clock_us()
    rows = [row(now_us + key * 1000, key) for key in range(40)]
    failures = 0
    while True:
        began = len(sent)
        try:
            written = store.write(rows)
        except StoreError:
            failures += 1
            continue
        break
    assert failures > 1
    assert written == Written(40, 0)
    assert lines_of(sent[:began]) <= lines_of(sent[began:])
    assert store.write(rows) == Written(0, 40)
    assert sum(one.requests for one in store.usage(Scope.everybody(), EVER, ALL)) == 40


@pytest.mark.parametrize("failing_call", range(2, 7))
def test_what_a_writer_was_answered_500_to_before_it_died_is_sent_again_by_the_next(
    make, sent_while_full, monkeypatch, failing_call
):
    """The first call has names, which are written again whenever they are found out again."""
    sent, ticks = sent_while_full, itertools.count(0, 5_000_000)
    dying, now_us = make(monotonic_us=lambda: next(ticks)), clock_us()
    rows = [row(now_us + key * 1000, key) for key in range(40)]
    with pytest.raises(StoreError):
        dying.write(rows)
    refused = lines_of(sent[failing_call - 1 :])
    monkeypatch.undo()  # its disk has room
    sent.clear()
    post_of_client = session.client_post

    def noting_post(server):
        post, close = post_of_client(server)
        return lambda bucket, body: (sent.append((bucket, body)), post(bucket, body))[1], close

    monkeypatch.setattr(session, "client_post", noting_post)
    following = make()
    written = following.write(rows)
    assert written.stored + written.duplicate == 40
    assert refused <= lines_of(sent)
    assert sum(one.requests for one in following.usage(Scope.everybody(), EVER, ALL)) == 40
    assert len(following.log(Scope.everybody(), EVER, ALL, 99, None)) == 40

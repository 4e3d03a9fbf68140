"""The store against a real InfluxDB 2: set-up, tokens, retention, limits, failures on the way."""

import itertools
import time

import pytest

from tailtrace_bridge.errors import StoreError
from tailtrace_bridge.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.influx import directory
from tailtrace_bridge.store.influx import store as module
from tailtrace_bridge.store.influx.query import Server
from tailtrace_bridge.store.influx.store import InfluxConfig, InfluxStore
from tailtrace_bridge.store.influx.write import Timing
from tailtrace_bridge.store.protocol import DAY_US, Filters, Window, Written

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

    def make_store(token=influxdb.token, url=influxdb.url, **config):
        timing = Timing(lambda: time.monotonic_ns() // 1000, lambda _: None, lambda: 0.5, clock_us)
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
        make().usage(EVER, ALL)


def test_a_server_that_is_away_is_said(make):
    with pytest.raises(StoreError, match="is InfluxDB running, and is INFLUXDB_V2_URL its address"):
        make(url="http://127.0.0.1:9").newest_us()


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
    monkeypatch.setattr(module, "BATCH_LINES_MAX", 10)
    store.write([])
    write, calls = store._session.writer.write, []

    def failing(bucket, batch):
        calls.append(bucket)
        if calls.count(store._buckets.raw) == failing_call:
            raise StoreError("down")
        return write(bucket, batch)

    monkeypatch.setattr(store._session.writer, "write", failing)
    with pytest.raises(StoreError, match="down"):
        store.write(rows)
    assert len(store.log(EVER, ALL, 99, None)) == written
    assert store.write(rows) == Written(30, 0)
    assert store.write(rows) == Written(0, 30)
    assert len(store.log(EVER, ALL, 99, None)) == sum(one.requests for one in store.usage(EVER, ALL)) == 30


def test_the_number_of_names_and_routes_is_bounded(make, monkeypatch):
    monkeypatch.setattr(directory, "IDENTITIES_MAX", 2)
    monkeypatch.setattr(module, "ENDPOINTS_MAX", 2)
    store, now_us = make(), clock_us()
    store.write([row(now_us + key, key, f"u{key}", f"/r{key}") for key in range(4)])
    assert [(one.identity.user, one.endpoint) for one in store.log(EVER, ALL, 9, None)] == [
        ("__other__", "__other__"), ("__other__", "__other__"), ("u1", "/r1"), ("u0", "/r0"),
    ]  # fmt: skip
    assert store.counters.endpoints_over_limit == 2


def test_a_late_row_is_seen_at_once_and_after_its_hour_was_summed_up_again(make):
    store, day_us = make(), clock_us() // DAY_US * DAY_US - 3 * DAY_US
    store.write([row(day_us + 60_000_000 * key, key) for key in range(300)])
    store.settle()
    window = Window(day_us, day_us + DAY_US)
    for count, settles in ((301, False), (301, True)):
        store.write([row(day_us + 5, 999)])
        if settles:
            store.settle()
        assert sum(one.requests for one in store.usage(window, ALL)) == count
    # Nothing is read from rows now: they could be gone.
    sums = store._rollups.parts(window, module.Kind.USAGE, module.Tables())
    assert [part.size_us for part in sums] == [DAY_US]

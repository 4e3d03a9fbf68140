"""A bucket that an older tailtrace filled: its sums are made anew from rows, and kept where these have expired."""

import itertools
import time

import pytest

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Tables, encode
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, HOUR_US, By, Filters, UptimeHour, Window

pytestmark = pytest.mark.influxdb
S = 1_000_000
T0 = 1_759_924_800 * S
ALL = Window(T0 - DAY_US, T0 + 2 * DAY_US)
BUCKETS = itertools.count()
EVERYBODY = Scope.everybody()
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "static")
USAGE = {Kind.USAGE: 5, Kind.USAGE_IDENTITY: 3, Kind.USAGE_ENDPOINT: 3}
"""Kinds whose rows were six sums behind a key of so many columns."""


def row(at_us, key, who=ANA, route="/a", status=200, app_us=None, service="shop"):
    access = Access(at_us, key, who.address, "GET", route, status, 9_000, None, True, 10, service, "", "", "curl", "")
    return Row(access, who, route, Traffic.APP, app_us, "", 0)


ROWS = [
    *(row(T0 + n, n, app_us=4_000) for n in range(6)), row(T0 + 60 * S, 10, BEN, status=500),
    row(T0 + 60 * S + 1, 11, app_us=5_000),
    *(row(T0 + HOUR_US + n, 20 + n, app_us=4_000) for n in range(3)), row(T0 + HOUR_US + 9, 30),
    *(row(T0 + HOUR_US + 60 * S + n, 40 + n, status=500) for n in range(3)), row(T0 + HOUR_US + 60 * S + 9, 50),
]  # fmt: skip
"""The first hour has both times in whole groups, the second in a part of one; in its second minute 3 of 4 failed."""


@pytest.fixture
def make(influxdb):
    made, bucket = [], f"older-{next(BUCKETS)}"

    def make_store():
        timing = Timing(
            lambda: time.monotonic_ns() // 1000, lambda _: None, lambda: 0.5, lambda: time.time_ns() // 1000
        )
        config = InfluxConfig(Server(influxdb.url, influxdb.org, influxdb.token), bucket, "a")
        made.append(InfluxStore(config, timing, is_rolling=False))
        return made[-1]

    yield make_store
    for store in made:
        store.close()


def make_older(store, rows):
    """Put the sums of hours into the form of before."""
    reads, delete = store._reads, store._delete
    points = []
    for hour_us in (T0, T0 + HOUR_US):
        bits = [0, 0]
        for one in rows:
            if one.access.time_us // HOUR_US * HOUR_US == hour_us:
                minute = one.access.time_us // (60 * S) % 60
                bits[0] |= 1 << minute
                bits[1] |= (one.access.status < 500) << minute
        older = {Kind.HOURS: ([(hour_us // HOUR_US, *bits)], Tables())}
        for kind, width in USAGE.items():
            tables = Tables()
            older[kind] = ([one[: width + 6] for one in reads.rollups.kept(kind, hour_us, "a", tables)], tables)
        asof_us = reads.rollups.asofs(HOUR_US, "a")[hour_us]
        for kind, (of_kind, tables) in older.items():
            for place, text in enumerate(encode(kind, of_kind, tables)):
                fields = {"asof_us": asof_us, "parts": 1, "data": text}
                points.append(lines.point(kind, {"size": "1h", "source": "a"}, fields, hour_us * 1000 + place))
    store._open().write_rollups(points)
    delete(reads.buckets.rollups, {"_measurement": Kind.UPTIME})
    reads.rollups.forget()


def sums(store):
    found = store.usage(EVERYBODY, ALL, Filters(), By.ENDPOINT)
    return sorted((one.status, one.requests, one.app_timed, one.both_timed, one.outside_us) for one in found)


UP = [UptimeHour(T0, "shop", 0b11, 0b10, 0), UptimeHour(T0 + HOUR_US, "shop", 0b11, 0b10, 0)]


def test_with_its_rows_an_hour_is_summed_up_anew(make):
    store = make()
    store.write(ROWS)
    store.settle()
    assert (sums(store), store.uptime(EVERYBODY, ALL)) == ([(200, 12, 10, 10, 49_000), (500, 4, 0, 0, 0)], UP)
    make_older(store, ROWS)
    again = make()
    again.write([row(T0 + 30 * HOUR_US, 99)])
    again.settle()
    again._reads.rollups.forget()
    day = Window(T0, T0 + DAY_US)
    assert again.uptime(EVERYBODY, day) == UP
    assert sum(one.outside_us for one in again.usage(EVERYBODY, day, Filters())) == 49_000
    assert again._reads.rollups.asofs(HOUR_US, "a").keys() >= {T0, T0 + HOUR_US}, "all of it is in the form of now"


def test_of_rows_that_have_expired_what_is_known_stays(make):
    store = make()
    store.write(ROWS)
    store.settle()
    make_older(store, ROWS)
    for measurement in (lines.RAW, batches.MEASUREMENT, Kind.ROWS):
        store._delete(store._reads.buckets.raw, {"_measurement": measurement})
    again = make()
    again.write([row(T0 + 30 * HOUR_US, 99)])
    again.settle()
    again._reads.rollups.forget()
    day = Window(T0, T0 + DAY_US)
    found = again.usage(EVERYBODY, day, Filters())
    assert sum(one.requests for one in found) == len(ROWS)
    # Ana's of the first hour all have both; of the second hour it is not known which.
    assert (sum(one.both_timed for one in found), sum(one.outside_us for one in found)) == (7, 34_000)
    # As it was told then: in the second minute of each hour some answer was good.
    assert again.uptime(EVERYBODY, day) == [one._replace(partial=0) for one in UP]


def hours_of_ana(store):
    day_us = T0 // DAY_US * DAY_US
    window = Window(day_us, day_us + DAY_US)
    found = store.endpoint_buckets(EVERYBODY, window, HOUR_US, Filters(user=ANA.user), By.ALL)
    return [(one.time_us - T0, one.requests, one.errors) for one in found]


def test_a_day_of_before_is_given_its_hours(make):
    store = make()
    store.write([*ROWS, row(T0 + 30 * HOUR_US, 99)])
    store.settle()
    expected = [(0, 7, 0), (HOUR_US, 8, 3)]
    day_us, reads = T0 // DAY_US * DAY_US, store._reads
    as_of = reads.rollups.asofs(DAY_US, "a")[day_us]
    assert hours_of_ana(store) == expected
    store._delete(reads.buckets.rollups, {"_measurement": Kind.USAGE_HOURS})
    reads.rollups.forget()
    assert hours_of_ana(store) == expected, "a reader of now reads the hours of a store of before"
    again = make()
    again.write([row(T0 + 30 * HOUR_US + 1, 100)])
    again.settle()
    made = again._reads.rollups.asofs(DAY_US, "a", Kind.USAGE_HOURS)[day_us]
    assert made > as_of
    following = make()
    following.write([row(T0 + 30 * HOUR_US + 2, 101)])
    following.settle()
    assert following._reads.rollups.asofs(DAY_US, "a", Kind.USAGE_HOURS)[day_us] == made, "once"
    again._delete(reads.buckets.rollups, {"_measurement": Kind.USAGE_IDENTITY, "size": "1h"})
    for measurement in (lines.RAW, batches.MEASUREMENT, Kind.ROWS):
        again._delete(reads.buckets.raw, {"_measurement": measurement})
    again._reads.rollups.forget()
    assert hours_of_ana(again) == expected, "the day alone knows them now"

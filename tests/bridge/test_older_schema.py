"""A store that an older tailtrace made gets the sums of now: from its rows, and where these are gone from what it had."""

import random
import sqlite3

import pytest
from tests.bridge.test_store_contract import ANA, BEN, CI, T0, row

from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.both_times import MIGRATION
from tailtrace_bridge.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US, By, Filters, Window

ALL = Window(T0 - DAY_US, T0 + 10 * DAY_US)
SAME = (
    "identity", "endpoint", "agent", "request", "entry", "visit", "visit_day", "latency", "latency_day",
    "latency_all", "latency_all_day",
)  # fmt: skip
USAGE = ("usage", "usage_day", "usage_identity", "usage_identity_day", "usage_endpoint", "usage_endpoint_day")
BEFORE = (
    "step, identity_id, endpoint_id, method, status, traffic, requests, timed, request_time_us, app_timed, app_time_us,"
    " bytes_sent"
)


def rows(services=("factory", "shop")):
    dice = random.Random(3)
    return [
        row(
            T0 + dice.randrange(3 * DAY_US) // MINUTE_US * MINUTE_US // 7, key, dice.choice((ANA, BEN, CI)),
            dice.choice(("/a", "/b")), dice.choice((200, 200, 404, 500, 0)), traffic=dice.choice(list(Traffic)),
            took_us=dice.choice((None, 9_000)), app_us=dice.choice((None, 4_000, 7_000)), service=dice.choice(services),
        )
        for key in range(600)
    ]  # fmt: skip


def make_older(new, path, bits):
    """Write what the older schema had of a store; `bits` are its minutes, by hour."""
    assert MIGRATIONS[-1] == MIGRATION or MIGRATION in MIGRATIONS
    with sqlite3.connect(path) as db:
        version = MIGRATIONS.index(MIGRATION)
        for statement in ";".join(MIGRATIONS[:version]).split(";"):
            db.execute(statement)
        db.execute("ATTACH ? AS new", (str(new),))
        for table in SAME:
            db.execute(f"INSERT INTO main.{table} SELECT * FROM new.{table}")
        for table in USAGE:
            db.execute(f"INSERT INTO main.{table} SELECT {BEFORE} FROM new.{table}")
        quarters = dict.fromkeys(bits, (0, 0, 0, 0)) | {
            step: of_hour for step, *of_hour in db.execute("SELECT * FROM new.hour")
        }
        db.executemany(
            "INSERT INTO main.hour VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(hour, *bits.get(hour, (0, 0)), *of_hour) for hour, of_hour in quarters.items()],
        )
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {version}")
    db.close()


def minutes_of(rows):
    """Return which minutes had a request, and which an answer other than 5xx, as the older schema kept them."""
    bits = {}
    for one in rows:
        minute = one.access.time_us // MINUTE_US
        known = bits.setdefault(minute // 60, [0, 0])
        known[0] |= 1 << minute % 60
        known[1] |= (0 < one.access.status < 500) << minute % 60
    return bits


def sums(store):
    return [
        sorted(store.usage(Scope.everybody(), window, Filters(), by), key=repr)
        for window in (ALL, Window(T0 + 1, T0 + 5 * HOUR_US))
        for by in By
    ] + [store.uptime(Scope.everybody(), ALL), store.quarters(Scope.everybody(), ALL)]


@pytest.fixture
def paths(tmp_path):
    new = SqliteStore(tmp_path / "new.db")
    new.write(rows())
    new.close()
    make_older(tmp_path / "new.db", tmp_path / "old.db", minutes_of(rows()))
    return tmp_path / "new.db", tmp_path / "old.db"


def test_with_all_rows_the_sums_are_those_of_a_new_store(paths):
    new, old = map(SqliteStore, paths)
    assert sums(old) == sums(new)
    for store in (old, new):
        store.write([row(T0 + 9, 9_000, took_us=5_000, app_us=4_000)])
    assert sums(old) == sums(new)
    new.close()
    old.close()


def test_of_rows_that_are_gone_what_is_known_stays(paths):
    pruned_us = T0 + 6 * HOUR_US + 20 * MINUTE_US
    with sqlite3.connect(paths[1]) as db:
        db.execute("DELETE FROM entry WHERE time_us < ?", (pruned_us,))
        db.execute("UPDATE meta SET value = ? WHERE name = 'pruned_us'", (pruned_us,))
    db.close()
    new, old = map(SqliteStore, paths)
    kept = Window(T0 + 7 * HOUR_US, ALL.end_us)
    everybody = Scope.everybody()
    assert old.usage(everybody, kept, Filters()) == new.usage(everybody, kept, Filters())
    assert old.uptime(everybody, kept) == new.uptime(everybody, kept)
    gone = Window(T0, T0 + 6 * HOUR_US)
    groups = {one[:6]: one for one in new.usage(everybody, gone, Filters())}
    exact = 0
    for one in old.usage(everybody, gone, Filters()):
        assert one[:12] == groups[one[:6]][:12]
        # Several hours are one group here: each of them is exact, or not known.
        assert one.both_timed <= groups[one[:6]].both_timed
        exact += one.both_timed > 0
    assert exact > 0
    bits = minutes_of(rows())
    for one in old.uptime(everybody, gone):
        with_request, answered = bits[one.hour_us // HOUR_US]
        assert (one.service, one.minutes, one.partial, one.down) == ("", with_request, 0, with_request & ~answered)
    assert len(old.uptime(everybody, gone)) == 6
    new.close()
    old.close()


def test_a_store_of_one_service_keeps_its_name(tmp_path):
    only = [one._replace(access=one.access._replace(service="factory")) for one in rows()]
    new = SqliteStore(tmp_path / "new.db")
    new.write(only)
    new.close()
    make_older(tmp_path / "new.db", tmp_path / "old.db", minutes_of(only))
    with sqlite3.connect(tmp_path / "old.db") as db:
        db.execute("DELETE FROM entry")
        db.execute("UPDATE meta SET value = ? WHERE name = 'pruned_us'", (ALL.end_us,))
    db.close()
    old = SqliteStore(tmp_path / "old.db")
    found = old.uptime(Scope.everybody(), ALL)
    assert {one.service for one in found} == {"factory"}
    assert sum(one.minutes.bit_count() for one in found) == sum(
        bits[0].bit_count() for bits in minutes_of(only).values()
    )
    old.close()

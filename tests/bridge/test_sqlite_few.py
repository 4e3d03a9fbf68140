"""What few people did is found by their key in each step of the rollups, and is what a look at everybody's finds."""

import pytest

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite import usage, windows
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, HOUR_US, By, Filters, Window

NOON_US = 1_764_001_800_000_000
FIVE_DAYS = Window(NOON_US - 5 * DAY_US - 1_234_567, NOON_US - HOUR_US // 3)
WHO = [
    Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n7", "", "static", "u1"),
    Identity("100.64.0.8", "user", "ana@example.com", "ana-phone", "n8", "", "static", "u1"),
    Identity("100.64.0.9", "user", "ben@example.com", "ben-pc", "n9", "", "static", "u2"),
    Identity("203.0.113.5"),
]
ASKED = [
    Filters(user="ana@example.com"),
    Filters(device="ana-phone", status="5xx"),
    Filters(users=("ana@example.com", "203.0.113.5"), endpoint="/area1"),
    Filters(address="100.64.0.9"),
    Filters(own="ben@example.com"),
    Filters(user="nobody@example.com"),
    Filters(user=""),
]


def row(number):
    who, route = WHO[number % 4], f"/area{number % 3}"
    time_us = NOON_US - number * 7 * HOUR_US // 5
    status = 500 if number % 5 == 0 else 200
    access = Access(time_us, number, who.address, "GET", route, status, 900 + number, 500, True, 10, "", "", "", "", "")
    return Row(access, who, route, Traffic.APP, 400, "")


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    made.write([row(number) for number in range(120)])
    yield made
    made.close()


def answers(store, filters):
    everybody = Scope.everybody()
    found = [sorted(map(repr, store.usage(everybody, FIVE_DAYS, filters, by))) for by in By]
    buckets = store.endpoint_buckets(everybody, FIVE_DAYS, HOUR_US, filters)
    return *found, sorted(map(repr, buckets))


@pytest.mark.parametrize("filters", ASKED)
def test_few_and_everybody_s_way_find_the_same(store, filters, monkeypatch):
    found = answers(store, filters)
    assert any(found) == (filters != Filters(user="nobody@example.com"))
    monkeypatch.setattr(windows, "STEPS_LISTED_MAX", 1)
    assert answers(store, filters) == found
    monkeypatch.setattr(usage, "FEW_MAX", -1)
    assert answers(store, filters) == found


def test_of_each_step_only_theirs_is_read(store):
    with store._connections.reading() as connection:
        facts, values = usage._facts(connection, FIVE_DAYS, Filters(user="ana@example.com"), By.ALL)
        plan = [text for *_, text in connection.execute(f"EXPLAIN QUERY PLAN {facts}", values)]
    rolled_up = [text for text in plan if "SEARCH usage" in text]
    assert len(rolled_up) == 3  # hours, days, hours
    assert all("(step=? AND identity_id=?)" in text for text in rolled_up)

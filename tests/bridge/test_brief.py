"""Whoever came for a moment stands in one table in the place of six: every answer is what it is with the six."""

import random
import sqlite3

import pytest
from tests.bridge.test_anonymous import ALL, ANA, CI, T0, anonymous, row

from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.anonymous import Order
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.sqlite import brief
from tailtrace_bridge.store.sqlite.functions import add_functions
from tailtrace_bridge.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US, By, Filters, Window

VISITORS = [ANA, CI, *(anonymous(n) for n in range(60)), *(anonymous(n, "unknown", "no-whois") for n in range(50, 70))]
LONG_AGO_US = T0 - 40 * DAY_US


def batches(seed):
    """Most visitors come once, some again later; a batch may be older than the one before."""
    dice = random.Random(seed)
    found = [
        [
            row(
                T0 + dice.randrange(3 * DAY_US), key * 100 + number, dice.choice(VISITORS), dice.choice(list(Traffic)),
                dice.choice([200, 404, 502]), dice.choice(["/a", "/b", "/card/x#1"]),
            )
            for number in range(dice.choice([1, 2, 40]))
        ]
        for key in range(5)
    ]  # fmt: skip
    return [[one._replace(app_time_us=dice.choice([None, 3_000])) for one in rows] for rows in found]


def filled(path, of_batches, known=()):
    store = SqliteStore(path)
    if known:
        store.write([row(LONG_AGO_US, 10_000 + key, who) for key, who in enumerate(known)])
    for rows in of_batches:
        store.write(rows)
    return store


def rows_of(path, table):
    with sqlite3.connect(path) as db:
        found = db.execute(f"SELECT * FROM {table}").fetchall()
    db.close()
    return found


def answers(store, dice):
    windows = [Window(T0, T0 + 4 * DAY_US), Window(T0 + HOUR_US, T0 + HOUR_US + 50 * MINUTE_US)]
    windows += [Window(start, start + dice.randrange(2 * DAY_US)) for start in dice.sample(range(T0, T0 + DAY_US), 2)]
    for window in windows:
        for filters in (Filters(), Filters(status="2xx"), Filters(endpoint="/b"), Filters(address="203.0.113.3")):
            for by in By:
                for listed in (None, {"203.0.113.3"}):
                    yield sorted(store.usage(ALL, window, filters, by, listed=listed), key=repr)
            yield store.callers(ALL, window, filters, 3, usage_only=True)
            yield store.endpoint_buckets(ALL, window, HOUR_US, filters)
        for listed in (None, {"203.0.113.3"}):
            yield sorted(store.activity(ALL, window, listed=listed), key=repr)
            yield sorted(store.visits(ALL, window, listed=listed), key=repr)
            yield sorted(store.visits(ALL, window, listed=listed, traffic=Traffic.CARD), key=repr)
        for order in Order:
            yield store.anonymous_usage(ALL, window, order, 3)
        yield store.quarters(ALL, window)
        yield store.bucket_usage(ALL, window, HOUR_US)


@pytest.fixture
def both(tmp_path, request):
    """A store, and one with the same rows that knew every visitor long before: all is in its rollups."""
    made = batches(request.param)
    stores = filled(tmp_path / "brief.db", made), filled(tmp_path / "known.db", made, [*VISITORS, *VISITORS])
    assert rows_of(tmp_path / "brief.db", "brief")
    assert not rows_of(tmp_path / "known.db", "brief")
    yield stores
    for store in stores:
        store.close()


@pytest.mark.parametrize("both", range(3), indirect=True)
def test_every_answer_is_the_same(both):
    one, other = (list(answers(store, random.Random(9))) for store in both)
    assert one == other


@pytest.mark.parametrize("both", [7], indirect=True)
@pytest.mark.parametrize(
    "person", [Person(address="203.0.113.3"), Person(address="203.0.113.55"), Person(user=ANA.user)]
)
def test_what_is_left_of_an_erased_visitor_is_the_same_too(both, person):
    erased = [store.erase(person, is_dry=False) for store in both]
    assert erased[0].rows <= erased[1].rows
    one, other = (list(answers(store, random.Random(9))) for store in both)
    assert one == other


def test_who_came_for_a_moment_is_in_one_table_and_comes_back_to_the_others(tmp_path):
    path, day = tmp_path / "t.db", Window(T0 - DAY_US, T0 + DAY_US)
    stranger, busy, twice = anonymous(1), anonymous(2), anonymous(3)
    first = [row(T0, 1, stranger), row(T0 + MINUTE_US, 2, stranger)]
    many = [row(T0 + n * MINUTE_US, 10 + n, busy) for n in range(5)]
    apart = [row(T0, 20, twice), row(T0 + HOUR_US, 21, twice)]  # two sessions
    store = filled(path, [first + many + apart])
    assert [found[0] for found in rows_of(path, "brief")] == [T0, T0 + MINUTE_US]
    store.write([row(T0 + 2 * MINUTE_US, 4, stranger)])
    assert len(rows_of(path, "brief")) == 2
    assert {(one.identity.address, one.requests) for one in store.usage(ALL, day, Filters(), By.IDENTITY)} == {
        (stranger.address, 3), (busy.address, 5), (twice.address, 2),
    }  # fmt: skip
    assert {(one.identity.address, one.runs[0]) for one in store.activity(ALL, day)} == {
        (stranger.address, (T0, T0 + 2 * MINUTE_US, 3)), (busy.address, (T0, T0 + 4 * MINUTE_US, 5)),
        (twice.address, (T0, T0, 1)),
    }  # fmt: skip
    assert store.erase(Person(address=stranger.address), is_dry=False).requests == 3
    assert rows_of(path, "brief") == []
    store.close()


def test_a_replay_and_a_failed_write_add_nothing(tmp_path):
    store = filled(tmp_path / "t.db", [[row(T0, 1, anonymous(1))]] * 2)
    assert [one.requests for one in store.usage(ALL, Window(T0, T0 + DAY_US), Filters())] == [1]
    assert len(rows_of(tmp_path / "t.db", "brief")) == 1
    store.close()


def test_a_store_of_the_schema_before_keeps_all_and_goes_on(tmp_path):
    made = batches(3)
    new = filled(tmp_path / "new.db", made[:3], [*VISITORS, *VISITORS])
    with sqlite3.connect(tmp_path / "old.db") as db:
        version = next(at for at, step in enumerate(MIGRATIONS) if brief.MIGRATION in step)
        add_functions(db)
        for statement in ";".join(MIGRATIONS[:version]).split(";"):
            db.execute(statement)
        db.execute("ATTACH ? AS new", (str(tmp_path / "new.db"),))
        tables = db.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name <> 'meta'").fetchall()
        for (table,) in tables:
            db.execute(f"INSERT INTO main.{table} SELECT * FROM new.{table}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {version}")
    db.close()
    old = SqliteStore(tmp_path / "old.db")
    for store in (old, new):
        for rows in made[3:]:
            store.write(rows)
    assert list(answers(old, random.Random(9))) == list(answers(new, random.Random(9)))
    old.close()
    new.close()

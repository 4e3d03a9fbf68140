"""Anonymous visitors: who of them is listed, and what all of them did. SQLite's way and the one over whole records give the same."""

import random

import pytest

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.anonymous import (
    FOLDED,
    AnonymousUsage,
    Callers,
    Order,
    anonymous_usage_of,
    callers_of,
    folded,
    is_anonymous,
    is_listed,
)
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite import anonymous as sqlite_anonymous
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US, By, Filters, Window

T0 = 20_368 * DAY_US + 12 * HOUR_US
ALL = Scope.everybody()
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
CI = Identity("100.64.0.9", "tagged", "", "", "", "tag:ci")
SELF = Identity("127.0.0.1", "self")


def anonymous(number, kind="external", reason=""):
    return Identity(f"203.0.113.{number}", kind, reason=reason)


def row(time_us, key, who, traffic=Traffic.APP, status=200, route="/a"):
    access = Access(time_us, key, who.address, "GET", route, status, 5_000, None, True, 10, "", "", "", "curl", "")
    return Row(access, who, route, traffic, None, "")


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (anonymous(1), True),
        (anonymous(1, "unknown", "no-whois"), True),
        (Identity("198.51.100.1", "subnet", via="router"), True),
        (ANA, False),
        (CI, False),
        (SELF, False),
        (Identity("100.64.0.8", "user", "", "", "", "", "", "u2"), False),
    ],
)
def test_who_is_a_stranger(who, expected):
    assert is_anonymous(who) is expected


def test_the_first_by_each_order_and_all_of_them_added_up(store):
    store.write([
        row(T0, 1, ANA),
        row(T0, 2, anonymous(1)), row(T0 + HOUR_US, 3, anonymous(1)),  # two sessions
        row(T0, 4, anonymous(2)), row(T0 + 9 * MINUTE_US, 5, anonymous(2)), row(T0 + 9 * MINUTE_US, 6, anonymous(2)),
        row(T0 + 2 * HOUR_US, 7, anonymous(30)),
        row(T0, 8, anonymous(4)),
        row(T0, 9, anonymous(5), Traffic.BOT),  # no usage
    ])  # fmt: skip
    day = Window(T0 - DAY_US, T0 + DAY_US)

    def read(order, limit):
        return store.anonymous_usage(ALL, day, order, limit)

    sums = {"visitors": 4, "sessions": 5, "requests": 7, "spent_us": 9 * MINUTE_US, "addresses": 5}
    assert read(Order.SESSIONS, 0) == AnonymousUsage(frozenset(), **sums)
    assert read(Order.SESSIONS, 1) == AnonymousUsage(frozenset({"203.0.113.1"}), **sums)
    # of those with one session and one request, the first by its text
    assert read(Order.SESSIONS, 3).first == {"203.0.113.1", "203.0.113.2", "203.0.113.30"}
    assert read(Order.LATEST, 1).first == {"203.0.113.30"}
    assert read(Order.LATEST, 9).first == {f"203.0.113.{n}" for n in (1, 2, 30, 4)}
    assert store.callers(ALL, day, Filters(), 1, usage_only=True) == Callers(5, 4, frozenset({"203.0.113.2"}))
    assert store.callers(ALL, day, Filters(), 0, usage_only=False) == Callers(6, 5, frozenset())
    assert store.anonymous_usage(Scope.member(ANA.user), day, Order.SESSIONS, 9) == AnonymousUsage()


def make_rows(dice, count):
    """Rows of few addresses, of which some have a name at times, or are called unknown for several reasons."""
    people = [ANA, CI, SELF, ANA._replace(address="203.0.113.3")]
    people += [anonymous(n) for n in range(12)] + [anonymous(n, "unknown", "no-whois") for n in range(6)]
    people += [anonymous(n, "unknown", "down") for n in range(3)]
    return [
        row(
            T0 + dice.randrange(3 * DAY_US), key, dice.choice(people), dice.choice(list(Traffic)),
            dice.choice([200, 200, 404, 502]), dice.choice(["/a", "/b", "/card/x#1"]),
        )
        for key in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_both_ways_give_the_same(store, seed, monkeypatch):
    dice = random.Random(seed)
    monkeypatch.setattr(sqlite_anonymous, "SOUGHT_MAX", dice.choice([3, 5000]))
    store.write(make_rows(dice, 150))
    windows = [Window(T0, T0 + 3 * DAY_US), Window(T0 + dice.randrange(DAY_US), T0 + DAY_US + dice.randrange(DAY_US))]
    for window in [*windows, Window(T0 + HOUR_US, T0 + HOUR_US + 50 * MINUTE_US), Window(T0, T0)]:
        activity, visits = store.activity(ALL, window), store.visits(ALL, window)
        for order in Order:
            for limit in (0, 1, 5, 100):
                assert store.anonymous_usage(ALL, window, order, limit) == anonymous_usage_of(activity, order, limit)
        for filters in (Filters(), Filters(status="2xx"), Filters(endpoint="/b"), Filters(address="203.0.113.3")):
            usages = store.usage(ALL, window, filters, By.IDENTITY)
            for limit in (0, 3, 100):
                for usage_only in (True, False):
                    callers = store.callers(ALL, window, filters, limit, usage_only=usage_only)
                    assert callers == callers_of(usages, limit, usage_only=usage_only)
                listed = store.usage(ALL, window, filters, By.IDENTITY, listed=callers.first)
                assert sorted(listed) == sorted(folded(usages, callers.first))
                alone = store.usage(ALL, window, filters, By.IDENTITY, listed=callers.first, with_rest=False)
                assert sorted(alone) == sorted(one for one in usages if is_listed(one.identity, callers.first))
        few = {"203.0.113.3", "203.0.113.4"}
        kept = [one for one in activity if one.identity.address in few or not is_anonymous(one.identity)]
        assert sorted(store.activity(ALL, window, listed=few)) == sorted(kept)
        kept = [one for one in visits if one.identity.address in few or not is_anonymous(one.identity)]
        assert sorted(store.visits(ALL, window, listed=few)) == sorted(kept)
        cards = [one for one in kept if one.traffic is Traffic.CARD]
        assert sorted(store.visits(ALL, window, listed=few, traffic=Traffic.CARD)) == sorted(cards)
        cards = [one for one in visits if one.traffic is Traffic.CARD]
        assert sorted(store.visits(ALL, window, traffic=Traffic.CARD)) == sorted(cards)


def test_who_shares_an_address_is_known_after_others_took_the_numbers_of_who_was_erased(store):
    day = Window(T0, T0 + DAY_US)
    store.write([row(T0, 1, anonymous(1)), row(T0, 2, anonymous(2)), row(T0, 3, anonymous(2, "unknown"))])
    store.erase(Person(address="203.0.113.2"), is_dry=False)
    store.write([row(T0, 4, anonymous(3)), row(T0, 5, anonymous(4)), row(T0, 6, anonymous(1, reason="down"))])
    found = store.anonymous_usage(ALL, day, Order.REQUESTS, 1)
    assert (found.first, found.visitors, found.addresses) == ({"203.0.113.1"}, 3, 3)
    assert found == anonymous_usage_of(store.activity(ALL, day), Order.REQUESTS, 1)


def test_folded_usage_keeps_its_sums(store):
    store.write(make_rows(random.Random(9), 200))
    window = Window(T0, T0 + 3 * DAY_US)
    whole, few = (store.usage(ALL, window, Filters(), listed=listed) for listed in (None, ()))
    assert [sum(column) for column in zip(*(one[6:] for one in few), strict=True)] == [
        sum(column) for column in zip(*(one[6:] for one in whole), strict=True)
    ]
    assert {one.identity for one in few if is_anonymous(one.identity)} == {FOLDED}

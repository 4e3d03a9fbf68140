"""The record of a month, from a store that can be added up by hand."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from tailtrace_api.monthly.month import Month
from tailtrace_api.monthly.numbers import Change, Day, Endpoint, Feature, Person, Totals, Unused
from tailtrace_api.monthly.report import read_numbers
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.store.sqlite.store import SqliteStore

S = 1_000_000
CARD = "/_tailtrace/view?card=prices"
MADRID = ZoneInfo("Europe/Madrid")
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "static")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "static")
EVA = Identity("100.64.0.9", "user", "eva@example.com", "eva-phone", "n3", "", "static")
KIOSK = Identity("100.64.0.90", "tagged", "", "kiosk", "n9", "tag:kiosk", "static")


def at(*parts: int) -> int:
    """A time in Madrid: µs."""
    return round(datetime(*parts, tzinfo=MADRID).timestamp()) * 1_000_000


NOVEMBER_US = at(2025, 11, 1, 8)


def row(
    time_us, who=ANA, route="/a", status=200, *, key=None, ms=20, app_ms=None, traffic=Traffic.APP, path="/p", service=""
):  # fmt: skip
    access = Access(
        time_us, time_us % (1 << 60) if key is None else key, who.address, "GET", path, status,
        ms * 1000, None, True, 10, service, "", "", "curl", "",
    )  # fmt: skip
    return Row(access, who, route, traffic, None if app_ms is None else app_ms * 1000, "")


def openapi(**routes: str) -> Routes:
    known = Routes()
    known.learn_openapi({"paths": {f"/{name}": {"get": {"summary": text}} for name, text in routes.items()}})
    return known


@pytest.fixture
def months(tmp_path):
    """Put rows into a store, and ask it for October."""
    stores = []

    def of(rows, *, now_us=NOVEMBER_US, routes=None):
        store = SqliteStore(tmp_path / f"{len(stores)}.db")
        stores.append(store)
        store.write(rows)
        settings = Settings(timezone="Europe/Madrid")
        return read_numbers(settings, store, routes or Routes(), Month(2025, 10), now_us)

    yield of
    for store in stores:
        store.close()


def spread(month, count, *args, shift=0, **more):
    """So many requests, one each minute from the 2nd of the month on."""
    start_us = at(2025, month, 2, 9) + shift
    return [row(start_us + 60 * S * n, *args, **more) for n in range(count)]


def test_the_totals_and_their_borders(months):
    found = months([
        row(at(2025, 8, 31, 23), ANA),                       # August
        row(at(2025, 9, 1), ANA),                            # the first moment of September
        row(at(2025, 10, 1) - 1, EVA),                       # its last
        row(at(2025, 10, 1), ANA, app_ms=15),                # the first moment of October, in UTC still September
        row(at(2025, 10, 1, 0, 10), ANA, "/b", 500, ms=400),
        row(at(2025, 10, 1, 2), ANA, CARD, 204, traffic=Traffic.CARD),
        row(at(2025, 10, 31, 23, 59), BEN, ms=30),
        row(at(2025, 10, 31, 23, 59) + S, KIOSK),
        row(at(2025, 10, 12, 3), KIOSK, "/health", 503, traffic=Traffic.HEALTH, ms=9000),
        row(at(2025, 11, 1), BEN),                           # November
    ])  # fmt: skip
    assert found.now == Totals(
        requests=5, people=2, sessions=4, all_requests=6, errors=2, error_rate=0.333333,
        uptime_percent=60.0, minutes=5, minutes_down=2, p95_ms=pytest.approx(400, rel=0.02),
    )  # fmt: skip
    assert (found.before.requests, found.before.people, found.before.all_requests) == (2, 2, 2)
    assert (found.comparable, found.began, found.until_us, found.zone) == (True, None, None, "Europe/Madrid")
    assert found.days[0] == Day(date(2025, 10, 1), 3, 1, pytest.approx(400, rel=0.02))
    assert (found.days[11].requests, found.days[11].errors) == (0, 1)
    assert found.days[1] == Day(date(2025, 10, 2), 0, 0, None)
    assert (len(found.days), found.days[30].requests) == (31, 2)
    assert (found.hours[2][0], found.hours[2][2], found.hours[4][23]) == (2, 1, 2)  # Wednesday the 1st, Friday the 31st
    assert sum(map(sum, found.hours)) == 5
    assert found.people == (
        Person("ana@example.com", 3, 1, 2, 0.2, "/a"),
        Person("ben@example.com", 1, 0, 1, 0.0, "/a"),
    )
    assert (found.new_people, found.gone_people) == (("ben@example.com",), ("eva@example.com",))
    assert found.unnamed_requests == 1
    assert found.features == (Feature("/a", 3, 2, 2), Feature("/b", 1, 0, 1))
    assert found.cards == (Feature("prices", 1, 0, 1),)
    assert found.slowest == ()  # too few requests
    assert found.failing == (
        Endpoint("/b", 1, *(pytest.approx(400, rel=0.02),) * 3, None, 1),
    )  # fmt: skip


def test_anonymous_visitors_are_counted_and_not_looked_at_one_by_one(tmp_path):
    read = []

    class Watched(SqliteStore):
        def visits(self, *args, **more):
            read.append(super().visits(*args, **more))
            return read[-1]

        def activity(self, *args, **more):
            read.append(super().activity(*args, **more))
            return read[-1]

    store = Watched(tmp_path / "t.db")
    visitors = [Identity(f"203.0.113.{n}", "external") for n in range(200)]
    store.write(spread(10, 3))
    store.write([row(at(2025, 10, 3) + n * S, who, key=n) for n, who in enumerate([*visitors, *visitors[:50], KIOSK])])
    store.write([row(at(2025, 10, 4) + n * S, one, CARD, 204, traffic=Traffic.CARD) for n, one in enumerate(visitors)])
    found = read_numbers(Settings(timezone="Europe/Madrid"), store, Routes(), Month(2025, 10), NOVEMBER_US)
    store.close()
    assert (found.now.requests, found.now.people, found.now.sessions) == (454, 1, 402)
    assert found.unnamed_requests == 451
    assert found.features == (Feature("/a", 254, 0, 1),)
    assert found.cards == (Feature("prices", 200, 0, 0),)
    assert sum(map(len, read)) == 4  # Ana and the kiosk, of both


def test_what_changed_only_where_numbers_bear_it(months):
    early = [row(at(2025, 8, 30), ANA)]
    before = [
        *spread(9, 200, ANA, "/down"), *spread(9, 100, ANA, "/up", shift=1), *spread(9, 100, ANA, "/like", shift=2),
        *spread(9, 8, ANA, "/little", shift=3), *spread(9, 20, ANA, "/gone", shift=4),
        *spread(9, 120, ANA, "/slow", shift=5, ms=100), *spread(9, 120, ANA, "/fast", shift=6, ms=900),
        *spread(9, 99, ANA, "/few", shift=7, ms=100), *spread(9, 120, ANA, "/same", shift=8, ms=100),
    ]  # fmt: skip
    now = [
        *spread(10, 90, ANA, "/down"), *spread(10, 180, ANA, "/up", shift=1), *spread(10, 115, ANA, "/like", shift=2),
        *spread(10, 19, ANA, "/little", shift=3), *spread(10, 21, ANA, "/new", shift=4),
        *spread(10, 120, ANA, "/slow", shift=5, ms=300), *spread(10, 120, ANA, "/fast", shift=6, ms=90),
        *spread(10, 99, ANA, "/few", shift=7, ms=900), *spread(10, 120, ANA, "/same", shift=8, ms=115),
    ]  # fmt: skip
    changes = months([*early, *before, *now]).changes
    about = pytest.approx
    assert changes == (
        Change("down", "/down", 90, 200), Change("up", "/up", 180, 100),
        Change("new", "/new", 21, 0), Change("gone", "/gone", 0, 20),
        Change("faster", "/fast", about(90, rel=0.02), about(900, rel=0.02)),
        Change("slower", "/slow", about(300, rel=0.02), about(100, rel=0.02)),
    )  # fmt: skip


def test_a_month_before_that_is_not_whole_is_not_compared(months):
    found = months([*spread(9, 30, BEN, "/gone"), *spread(10, 30, ANA, "/new")])
    assert (found.began, found.comparable, found.changes) == (date(2025, 9, 2), False, ())
    assert (found.before.requests, found.new_people, found.gone_people) == (30, (), ())


def test_no_month_before(months):
    found = months(spread(10, 30, ANA, "/a"))
    assert (found.began, found.comparable, found.before.all_requests, found.before.p95_ms) == (
        date(2025, 10, 2),
        False,
        0,
        None,
    )


def test_an_empty_month(months):
    found = months([row(at(2025, 8, 1), ANA)])
    assert (found.now, found.began) == (Totals(0, 0, 0, 0, 0, 0.0, None, 0, 0, None), None)
    assert (len(found.days), found.people, found.features, found.slowest) == (31, (), (), ())


def test_slowest_has_the_app_s_part(months):
    found = months([*spread(10, 20, ANA, "/a", ms=500, app_ms=400), *spread(10, 19, ANA, "/b", ms=900, shift=1)])
    about = pytest.approx
    assert found.slowest == (
        Endpoint("/a", 20, about(500, rel=0.02), about(500, rel=0.02), about(500, rel=0.02), about(400, rel=0.02), 0),
    )


def test_endpoints_of_one_name_are_each_services_own(months):
    """The shop's page fails and is as fast as ever, the wiki's is sound and became slow."""
    found = months([
        row(at(2025, 8, 31), service="shop"), *spread(9, 100, service="shop", ms=20), *spread(9, 100, service="wiki", ms=50, shift=S),
        *spread(10, 100, service="wiki", ms=500), *spread(10, 100, service="shop", ms=20, shift=S),
        *spread(10, 3, status=500, service="shop", ms=20, shift=2 * S), *spread(9, 30, route="/old", service="wiki", shift=3 * S),
    ])  # fmt: skip
    assert [(one.name, one.requests, one.errors) for one in found.slowest] == [("wiki /a", 100, 0), ("shop /a", 103, 3)]
    assert [(one.name, one.errors) for one in found.failing] == [("shop /a", 3)]
    assert [(one.kind, one.name) for one in found.changes if one.kind in {"slower", "faster"}] == [
        ("slower", "wiki /a")
    ]
    assert [one.name for one in found.unused] == ["wiki /old"]


def test_what_nobody_uses(months):
    routes = openapi(a="Used", b="Never", c="Once", health="Alive")
    rows = [
        row(at(2025, 10, 5), ANA, "/a"),
        row(at(2025, 8, 5), ANA, "/c"),
        row(at(2025, 8, 5) + 1, ANA, "/old"),
        row(at(2025, 10, 5) + 1, KIOSK, "/health", traffic=Traffic.HEALTH),
    ]
    found = months(rows, routes=routes)
    assert found.unused == (
        Unused("/c", ("GET",), "Once", 1), Unused("/old", (), "/old", 1), Unused("/b", ("GET",), "Never", 0),
    )  # fmt: skip
    assert (found.unused_total, found.declared_routes, found.features[0].name) == (3, 4, "Used")


def test_the_month_of_now(months):
    rows = [
        row(at(2025, 8, 1), ANA),
        row(at(2025, 9, 2), ANA), row(at(2025, 9, 20), ANA),
        row(at(2025, 10, 2), ANA), row(at(2025, 10, 5), ANA),
    ]  # fmt: skip
    found = months(rows, now_us=at(2025, 10, 4))
    assert (found.until_us, found.now.requests, found.before.requests) == (at(2025, 10, 4), 1, 1)

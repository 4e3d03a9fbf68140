"""Endpoint, traffic and identity of a row: a line, perhaps a span, and the row side by side."""

import pytest

from tailtrace_bridge.core.cards import CARD_PREFIX
from tailtrace_bridge.core.columns import columns_of
from tailtrace_bridge.core.records import OTHER, Access, AppSpan, Identity, Row, Traffic
from tailtrace_bridge.identity.chain import Holder
from tailtrace_bridge.rows.enricher import CARDS_MAX, SERVICES_MAX, Enricher
from tailtrace_bridge.rows.routes import Routes

ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop")


def access(path="/items/7", status=200, card="", method="GET", service="factory", agent="curl/8.5.0"):
    return Access(
        1_759_926_735_000_000, 1, "100.64.0.7", method, path, status, 5_000, 4_000, True, 10, service, "", "", agent, card
    )  # fmt: skip


def span(route="/items/{item_id}", error_type=""):
    return AppSpan("t" * 32, "s" * 16, route, 3_000, error_type, "factory-app")


@pytest.fixture
def asked():
    return []


@pytest.fixture
def enricher(asked):
    return Enricher(lambda address: asked.append(address) or Holder(ANA, 0, 77), Routes(), frozenset({"/up"}))


def test_senders_are_counted(enricher):
    enricher.row(access())
    enricher.columns([access(), access()])
    unknown = Enricher(lambda address: Holder(Identity(address), 0, 7), Routes())
    unknown.columns([access()])
    assert (enricher.senders, unknown.senders) == (
        {"named": 3, "unnamed": 0, "self": 0},
        {"named": 0, "unnamed": 1, "self": 0},
    )


@pytest.mark.parametrize(
    ("line", "its_span", "route", "traffic", "app_time_us", "error_type"),
    [
        (access(), None, "/items/{id}", Traffic.APP, None, ""),
        (access(), span(), "/items/{item_id}", Traffic.APP, 3_000, ""),
        (access(status=500), span(error_type="ValueError"), "/items/{item_id}", Traffic.APP, 3_000, "ValueError"),
        (access("/nowhere", 404), span(route=""), "__other__", Traffic.APP, 3_000, ""),
        (access("/up"), None, "/up", Traffic.HEALTH, None, ""),
        (access("/static/a.css"), None, "/static/*.css", Traffic.STATIC, None, ""),
        (access(agent="Googlebot/2.1"), None, "/items/{id}", Traffic.BOT, None, ""),
        (access("/_tailtrace/view", 204, "prices"), None, "/_tailtrace/view?card=prices", Traffic.CARD, None, ""),
        (access("/_tailtrace/view", 404, "prices"), None, "__other__", Traffic.STATIC, None, ""),
    ],
)
def test_row(enricher, asked, line, its_span, route, traffic, app_time_us, error_type):
    assert enricher.row(line, its_span) == Row(line, ANA, route, traffic, app_time_us, error_type, 77)
    assert asked == ["100.64.0.7"]


def test_a_route_of_a_span_names_later_lines_without_one(enricher):
    before = enricher.row(access("/items/8")).route
    enricher.row(access("/items/7"), span())
    assert (before, enricher.row(access("/items/8")).route) == ("/items/{id}", "/items/{item_id}")


def test_cards_beyond_the_limit_share_a_name(enricher):
    routes = [enricher.row(access("/_tailtrace/view", 204, f"card-{number}")).route for number in range(CARDS_MAX + 2)]
    assert routes[CARDS_MAX - 1 :] == [
        f"/_tailtrace/view?card=card-{CARDS_MAX - 1}",
        "/_tailtrace/view?card=__other__",
        "/_tailtrace/view?card=__other__",
    ]
    assert enricher.row(access("/_tailtrace/view", 204, "card-0")).route == "/_tailtrace/view?card=card-0"
    assert enricher.cards_over_limit == 2


def test_services_beyond_the_limit_share_a_name(enricher):
    enricher.recall([], services=["known"])
    lines = [access("/a")._replace(service=f"host-{number}") for number in range(SERVICES_MAX + 1)]
    services = [enricher.row(line).access.service for line in lines]
    assert services[SERVICES_MAX - 2 :] == [f"host-{SERVICES_MAX - 2}", "__other__", "__other__"]
    assert [enricher.row(access("/a")._replace(service=one)).access.service for one in ("host-0", "known", "")] == [
        "host-0", "known", ""
    ]  # fmt: skip
    assert enricher.services_over_limit == 2


def told(app, **more):
    return access(**more)._replace(app=app)


@pytest.mark.parametrize(
    ("line", "its_span", "route", "app_time_us", "error_type", "counted"),
    [
        (told("1;t=900;r=/items/{item_id}"), None, "/items/{item_id}", 900, "", "read"),
        (told("1;t=900;r=/items/{item_id};e=KeyError", status=500), None, "/items/{item_id}", 900, "KeyError", "read"),
        (told("1;t=900"), None, "/items/{id}", 900, "", "read"),
        (told("1;r=/other"), None, "/other", None, "", "read"),
        (told("1;t=900;r=/items/{item_id}"), span(), "/items/{item_id}", 3_000, "", "read"),
        (told("1;t=900;r=/items/{item_id}"), span(error_type="OSError"), "/items/{item_id}", 3_000, "OSError", "read"),
        (told("1;t=900;r=/items/{item_id};e=KeyError"), span(route=""), "/items/{item_id}", 3_000, "KeyError", "read"),
        (told("nonsense"), None, "/items/{id}", None, "", "malformed"),
        (told("1;t=99999999;r=/x"), None, "/items/{id}", None, "", "implausible"),
    ],
)
def test_what_the_app_said_with_its_answer(enricher, line, its_span, route, app_time_us, error_type, counted):
    assert enricher.row(line, its_span) == Row(line, ANA, route, Traffic.APP, app_time_us, error_type, 77)
    assert enricher.app_headers == {"read": 0, "malformed": 0, "implausible": 0} | {counted: 1}
    if its_span is None:
        made = enricher.columns([access("/first"), line])
        assert made.endpoints[made.requests[made.request[1]].endpoint] == ("factory", route)
        assert (made.app_time_us, made.error_type) == ([None, app_time_us], [None, error_type or None])
        assert enricher.app_headers[counted] == 2


def test_a_route_that_the_app_said_names_later_lines_that_say_none(enricher):
    made = enricher.columns([told("1;t=9;r=/items/{item_id}"), access("/items/8")])
    assert [made.endpoints[made.requests[place].endpoint][1] for place in made.request] == [
        "/items/{item_id}",
        "/items/{item_id}",
    ]


def test_routes_that_apps_say_are_bounded():
    routes = Routes(limit=2)
    made = Enricher(lambda address: Holder(Identity(address), 0, 0), routes).columns(
        [told(f"1;t=9;r=/forged/{number}", path=f"/{number}") for number in range(4)]
    )
    assert [made.endpoints[made.requests[place].endpoint][1] for place in made.request] == [
        "/forged/0",
        "/forged/1",
        OTHER,
        OTHER,
    ]
    assert (routes.unlearned_count, routes.over_limit_count) == (2, 2)


def test_routes_of_spans_are_bounded_with_those_that_apps_say():
    routes = Routes(limit=2)
    enricher = Enricher(lambda address: Holder(Identity(address), 0, 0), routes)
    rows = [enricher.row(access(path=f"/{n}"), span(route=f"/span/{n}")) for n in range(3)]
    rows.append(enricher.row(told("1;t=9;r=/span/1", path="/1")))
    assert [row.route for row in rows] == ["/span/0", "/span/1", OTHER, "/span/1"]
    assert (routes.unlearned_count, routes.over_limit_count) == (1, 1)


def test_a_websockets_life_is_no_response_time(enricher):
    rows = [enricher.row(access(status=101), span()), enricher.row(access(), span())]
    made = columns_of(rows)
    assert (list(made.request_time_us), list(made.app_time_us)) == ([None, 5_000], [None, 3_000])
    assert list(made.upstream_time_us) == [4_000, 4_000]
    made = enricher.columns([access(status=101), access()])
    assert list(made.request_time_us) == [None, 5_000]


def test_the_limit_of_cards_holds_over_restarts(monkeypatch):
    monkeypatch.setattr("tailtrace_bridge.rows.enricher.CARDS_MAX", 2)
    enricher = Enricher(lambda address: Holder(Identity(address), 0), Routes())
    enricher.recall(["/a", f"{CARD_PREFIX}one", f"{CARD_PREFIX}__other__"])
    views = [
        Access(9, n, "::1", "POST", "/_tailtrace/view", 204, 1, None, False, 1, "", "", "", "Mozilla/5.0", card)
        for n, card in enumerate(("one", "two", "three"))
    ]
    assert [enricher.row(view).route for view in views] == [
        f"{CARD_PREFIX}{key}" for key in ("one", "two", "__other__")
    ]
    assert enricher.cards_over_limit == 1

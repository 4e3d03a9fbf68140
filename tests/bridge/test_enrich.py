"""Endpoint, traffic and identity of a row: a line, perhaps a span, and the row side by side."""

import pytest

from tailtrace_bridge.core.records import Access, AppSpan, Identity, Row, Traffic
from tailtrace_bridge.identity.chain import Holder
from tailtrace_bridge.rows.enricher import CARDS_MAX, Enricher
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

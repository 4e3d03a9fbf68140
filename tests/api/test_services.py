"""Several apps behind one nginx: each is told apart, asked for and up or down by itself."""

import asyncio
import io
import itertools
import json
from datetime import UTC, datetime

import httpx
import pytest
from rich.console import Console
from tests.bridge.test_store_contract import ANA, BEN, S, row

from tailtrace_api.http.app import create_app
from tailtrace_api.http.insights import insight_router
from tailtrace_api.http.log_panels import log_router
from tailtrace_api.http.panels import panel_router
from tailtrace_api.http.requests import analytics_router
from tailtrace_api.queries.cards import Cards
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.panels import Panels
from tailtrace_api.queries.requests import Queries
from tailtrace_api.terminal.report import print_report
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import Filters

NOW = 1_759_924_800 * S  # 2025-10-08T12:00:00Z
START = NOW - 3600 * S
KEYS = itertools.count(1)


def ask(service, minute, *statuses, who=ANA, route="/", **more):
    at_us = START + minute * 60 * S
    return [
        row(at_us + n, next(KEYS), who, route, status, service=service, **more) for n, status in enumerate(statuses)
    ]


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    made.write([
        *ask("shop", 0, 200, 200, 200, took_us=10_000, app_us=4_000), *ask("shop", 1, 500, 500, 500, 500, 200),
        *ask("shop", 2, 502, who=BEN), *ask("shop", 3, 200, 200, 500, 200, 200),
        *ask("wiki", 1, 200, took_us=900_000), *ask("wiki", 2, 200, who=BEN, route="/pages/{id}", took_us=20_000),
        *ask("cams", 5, 200, traffic=Traffic.HEALTH, route="/health"), *ask("", 9, 404),
    ])  # fmt: skip
    yield made
    made.close()


@pytest.fixture
def queries(store):
    return Queries(store, zone=UTC, features={}, store_name="sqlite")


@pytest.fixture
def get(store, queries):
    insights = Insights(store, queries, features={})
    app = create_app(lambda: None, clock=lambda: NOW)
    app.take(analytics_router(queries, lambda: NOW))
    app.take(insight_router(insights, lambda: NOW))
    panels = Panels(store, queries, insights, UTC, {})
    app.take(panel_router(panels, lambda: NOW))
    app.take(log_router(panels, lambda: NOW))

    async def asked(path, parameters):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            found = await client.get(path, params=parameters)
            assert found.status_code == 200, found.text
            return found.json()

    return lambda path, **parameters: asyncio.run(asked(path, parameters))


def test_uptime_is_of_each_by_itself(get):
    whole = get("/analytics/system-health-history", days=1)
    up = {
        one["service"]: (one["minutes_with_traffic"], one["minutes_partial"], one["minutes_down"])
        for one in whole["uptime_by_service"]
    }
    assert up == {None: (1, 0, 0), "cams": (1, 0, 0), "shop": (4, 1, 2), "wiki": (2, 0, 0)}
    assert (whole["uptime_percentage"], whole["minutes_with_traffic"], whole["minutes_down"]) == (75.0, 8, 2)
    assert whole["outages"] == [
        {"service": "shop", "start": "2025-10-08T11:01:00.000Z", "end": "2025-10-08T11:03:00.000Z", "minutes": 2}
    ]
    of_shop = get("/analytics/system-health-history", days=1, service="shop")
    assert (of_shop["service"], of_shop["uptime_percentage"], of_shop["minutes_with_traffic"]) == ("shop", 50.0, 4)
    assert of_shop["error_rate"]["overall"]["requests"] == sum(step["requests"] for step in of_shop["over_time"]) == 14
    assert {row["service"] for row in of_shop["api_response_times"]} == {"shop"}
    assert (get("/analytics/system-health-history", days=1, service="wiki"))["outages"] == []


def test_one_row_for_the_root_of_each(get):
    for path in ("/analytics/system-health-history", "/analytics/panels/endpoints"):
        answer = get(path, **({"period": "24h"} if "panels" in path else {"days": 1}))
        rows = answer.get("endpoints") or answer["api_response_times"]
        roots = {row["service"]: row for row in rows if row["endpoint"] == "/"}
        assert set(roots) == {"shop", "wiki", None}
        count = "calls" if "panels" in path else "count"
        assert (roots["shop"][count], roots["wiki"][count]) == (14, 1)
        assert roots["wiki"]["p95_ms"] > 800 > roots["shop"]["p95_ms"]


def test_calls_are_told_by_service_too(get):
    usage = get("/analytics/dashboard-usage", days=1)
    assert usage["api_calls_by_endpoint"] == [{"/": 16}, {"/pages/{id}": 1}]
    calls = [(one["service"], one["endpoint"], one["requests"]) for one in usage["api_calls_by_service"]]
    assert calls == [("shop", "/", 14), (None, "/", 1), ("wiki", "/", 1), ("wiki", "/pages/{id}", 1)]
    assert sum(count for _, _, count in calls) == 17


def test_the_widget_of_one_app(store):
    cards = Cards(store, UTC, {})
    whole, shop, wiki = (cards.widget(NOW, days=1, service=service) for service in (None, "shop", "wiki"))
    assert [one.total_requests for one in (whole, shop, wiki)] == [17, 14, 2]
    assert [sum(day.requests for day in one.by_day) for one in (whole, shop, wiki)] == [17, 14, 2]
    assert [one.unique_users for one in (whole, shop, wiki)] == [2, 2, 2]
    assert [one.feature for one in wiki.top_features] == ["/", "/pages/{id}"]
    assert cards.widget(NOW, days=1, service="cams").total_sessions == 0, "its health check is no usage"


def test_of_how_many_the_time_outside_is(get):
    shop = next(
        one for one in (get("/analytics/panels/endpoints", period="24h"))["endpoints"] if one["service"] == "shop"
    )
    assert (shop["calls"], shop["proxy_ms"], shop["proxy_calls"], shop["app_ms"], shop["app_calls"]) == (
        14,
        6.0,
        3,
        4.0,
        3,
    )


@pytest.mark.parametrize(
    ("service", "requests", "users"), [("shop", 14, 2), ("wiki", 2, 2), ("", 1, 1), ("none", 0, 0)]
)
def test_a_filter_of_every_answer(get, service, requests, users):
    logs = get("/analytics/access-logs", service=service)
    assert (logs["summary"]["total_requests"], len(logs["logs"]), logs["summary"]["unique_users"]) == (
        requests,
        requests,
        users,
    )
    usage = get("/analytics/dashboard-usage", service=service)
    assert (usage["summary"]["total_requests"], len(usage["user_sessions"])) == (requests, users)
    assert sum(hour["requests"] for hour in usage["peak_hours"]) == requests
    overview = get("/analytics/panels/overview", period="24h", service=service)
    totals = {one["metric"]: one["now"] for one in overview["totals"]}
    assert (totals["requests"], totals["users"], totals["sessions"]) == (requests, users, None)
    assert sum(bar["requests"] for bar in overview["series"]) == requests
    assert get("/analytics/panels/choices", period="24h")["services"] == ["shop", "wiki", "cams"]
    people = get("/analytics/panels/people", period="24h", service=service)
    assert sum(one["requests"] for one in people["users"]) == requests
    endpoints = get("/analytics/panels/endpoints", period="24h", service=service)
    assert (sum(one["calls"] for one in endpoints["endpoints"]), endpoints["has_percentiles"]) == (requests, True)
    listed = get("/analytics/panels/requests", period="24h", service=service)
    assert len(listed["requests"]) == requests
    assert {one["service"] or "" for one in listed["requests"]} <= {service}
    compared = get("/analytics/compare", service=service)
    assert compared["metrics"][0]["now"] == requests
    performance = get("/analytics/system-performance", service=service)
    assert performance["requests"] == requests


def test_changes_are_told_against_a_period_that_is_stored_whole(store, get):
    for path, parameters in (("/analytics/panels/overview", {"period": "24h"}), ("/analytics/compare", {"days": 1})):
        answer = get(path, **parameters)
        assert answer["before_covered"] is False
        assert {one["change_percent"] for one in answer.get("totals") or answer["metrics"]} == {None}
    day = 24 * 60
    store.write([*ask("shop", -day - 5, 200), *ask("shop", -40 * day, 200)])
    overview = get("/analytics/panels/overview", period="24h")
    assert (overview["before_covered"], overview["totals"][2]["change_percent"]) == (True, 1600.0)
    assert get("/analytics/compare", days=1)["metrics"][0]["change_percent"] == 1600.0


@pytest.mark.parametrize(
    ("period", "minute", "is_covered"),
    [("15m", 29, False), ("15m", 30, True), ("1h", 90, False), ("1h", 119, False), ("1h", 120, True)],
)
def test_a_short_period_is_covered_by_what_lies_before_it_and_nothing_later(get, period, minute, is_covered):
    """What is stored begins at `START`, where the time before begins at minute 30 or 120."""
    at = (START + minute * 60 * S) // S
    overview = get("/analytics/panels/overview", period=period, at=datetime.fromtimestamp(at, UTC).isoformat())
    assert overview["before_covered"] is is_covered
    assert bool(overview["series_before"]) is is_covered


def test_cards_under_a_status_are_all_or_none(store, get):
    store.write(ask("shop", 1, 204, route="/_tailtrace/view?card=prices", traffic=Traffic.CARD))
    for status, cards in (("", 1), ("2xx", 1), ("204", 1), ("5xx", 0), ("200", 0)):
        people = get("/analytics/panels/people", period="24h", **({"status": status} if status else {}))
        assert len(people["cards"]) == cards, status


def test_favourites_are_of_all_that_somebody_did(get):
    people = get("/analytics/panels/people", period="24h", endpoint="/pages/{id}")
    assert [(one["user"], one["requests"], one["favorite_features"]) for one in people["users"]] == [
        (BEN.user, 1, ["/", "/pages/{id}"])
    ]


def test_the_report_names_the_services(queries):
    console = Console(width=100, record=True, file=io.StringIO())
    print_report(console, queries.report(NOW, hours=24, limit=1), "en")
    said = console.export_text()
    assert "Uptime: 75% of 8 minutes with traffic; down in 2 minutes, in 1 partly" in said
    assert "shop: 50% of 4 minutes" in said
    assert "shop /" in said
    assert "wiki /pages/{id}" in said
    of_wiki = json.dumps(
        queries.report(NOW, hours=24, limit=1, filters=Filters(service="wiki")).system_health_history.uptime_percentage
    )
    assert of_wiki == "100.0"

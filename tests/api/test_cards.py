"""The widget's numbers and the comparison of variants, over a real store, asked by HTTP as a page elsewhere would."""

import asyncio
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi import FastAPI
from pydantic_core import to_jsonable_python as plain

from tailtrace_api.answers.requests import most_viewed_cards
from tailtrace_api.answers.variants import USERS_MIN, VARIANTS_MAX, divided
from tailtrace_api.http.cards import card_router
from tailtrace_api.http.cors import PagesElsewhere
from tailtrace_api.queries.cards import Cards, Day
from tailtrace_api.queries.make import Features
from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.settings.table import load
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import Window

S = 1_000_000
HOUR = 3600 * S
NOW = 1_759_960_800 * S  # 2025-10-08T22:00:00Z, in Madrid the midnight that begins October 9th
PAGE = "https://intranet.example.ts.net"
VIEW = "/_tailtrace/view?card="


def who(number):
    return Identity(f"100.64.1.{number}", "user", f"u{number}@example.com", f"d{number}", f"n{number}", "", "static")


class Log:
    """Writes rows, each with a key of its own, at hours before now."""

    def __init__(self, store):
        self.store, self.key = store, 0

    def __call__(self, hours_ago, number, endpoint="/a", status=200):
        self.key += 1
        traffic = Traffic.CARD if endpoint.startswith(VIEW) else Traffic.APP
        access = Access(
            NOW - round(hours_ago * HOUR), self.key, f"100.64.1.{number}", "GET", "/p", status, 1000, None, True, 1, "",
            "", "", "curl", "",
        )  # fmt: skip
        self.store.write([Row(access, who(number), endpoint, traffic, None, "")])


@pytest.fixture
def log(tmp_path):
    store = SqliteStore(tmp_path / "t.db")
    yield Log(store)
    store.close()


def ask(log, path, *, at_us=NOW, origin=None, method="GET", origins=(PAGE,), **params):
    app = FastAPI()
    names = Features(Routes(), {"/a": "Prophet forecast", "card=prices": "Prices of today"})
    app.include_router(card_router(Cards(log.store, ZoneInfo("Europe/Madrid"), names), lambda: at_us))
    app.add_middleware(PagesElsewhere, origins=origins)

    async def send():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            headers = {} if origin is None else {"origin": origin}
            if method == "OPTIONS":
                headers["access-control-request-method"] = "GET"
            return await client.request(method, path, params=params, headers=headers)

    return asyncio.run(send())


def test_the_widget_counts_whole_days_of_the_zone(log):
    log(0.5, 1)  # the 8th, 23:30
    log(1, 1, VIEW + "prices#B", 204)
    log(23.9, 2, "/b")  # the 8th, 0:06
    log(24.1, 2)  # the 7th, 23:54
    log(24 * 7 - 0.1, 3)  # the 2nd, 0:06: the first of seven days
    log(24 * 7 + 0.1, 4)  # the 1st: too old
    assert ask(log, "/analytics/widget", at_us=NOW - 1).json() == {
        "period_days": 7,
        "timezone": "Europe/Madrid",
        "total_sessions": 3,
        "unique_users": 3,
        "total_requests": 5,
        "by_day": [
            {"day": "2025-10-02", "requests": 1},
            {"day": "2025-10-03", "requests": 0},
            {"day": "2025-10-04", "requests": 0},
            {"day": "2025-10-05", "requests": 0},
            {"day": "2025-10-06", "requests": 0},
            {"day": "2025-10-07", "requests": 1},
            {"day": "2025-10-08", "requests": 3},
        ],
        "by_day_in_part": [6],
        "top_features": [{"feature": "Prophet forecast", "requests": 3}, {"feature": "/b", "requests": 1}],
    }
    of_one = Cards(log.store, ZoneInfo("Europe/Madrid"), {}).widget(NOW - 1, days=1, user="u1@example.com")
    assert (of_one.total_requests, of_one.by_day) == (2, (Day(day="2025-10-08", requests=2),))
    longer = Cards(log.store, ZoneInfo("Europe/Madrid"), {}).widget(NOW - 1, days=10)
    assert longer.by_day_in_part == (2, 9), "on the 1st what is stored begins, and today is not over"


def test_a_day_of_25_hours_is_one_day(log):
    end_us = 1_761_519_600 * S  # 2025-10-26T23:00:00Z, the end of the day on which Madrid's clocks go back
    log((NOW - end_us) / HOUR + 24.9, 1)
    days = ask(log, "/analytics/widget", at_us=end_us - 1, days=2).json()["by_day"]
    assert days == [{"day": "2025-10-25", "requests": 0}, {"day": "2025-10-26", "requests": 1}]


def test_a_members_days_add_up_where_days_begin_at_half_past(log):
    """In Kolkata the 8th is from 18:30 UTC of the 7th on; it is 23:50 there."""
    at_us = NOW - 220 * 60 * S
    for minutes_ago in (10, 11, 12):  # 18:08 to 18:10 UTC
        log((NOW - at_us) / HOUR + minutes_ago / 60, 1)
    for hours_ago in (23.8, 23.5):  # 18:32 and 18:50 UTC of the day before
        log((NOW - at_us) / HOUR + hours_ago, 1)
    for user in (None, "u1@example.com"):
        found = Cards(log.store, ZoneInfo("Asia/Kolkata"), {}).widget(at_us, days=1, user=user)
        assert (found.total_requests, found.by_day) == (5, (Day(day="2025-10-08", requests=5),))


@pytest.mark.parametrize("days", ["0", "31", "x"])
def test_the_widget_refuses_other_days_and_lets_the_page_read_why(log, days):
    answer = ask(log, "/analytics/widget", days=days, origin=PAGE)
    assert answer.status_code == 422
    assert answer.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize(
    ("path", "origin", "allowed"),
    [
        ("/analytics/widget", PAGE, PAGE),
        ("/analytics/widget", "https://evil.example", None),
        ("/analytics/widget", "https://intranet.example.ts.net.evil.example", None),
        ("/analytics/widget", "http://intranet.example.ts.net", None),
        ("/analytics/widget", "null", None),
        ("/analytics/widget/", PAGE, None),
        ("/analytics/variants?card=prices", PAGE, None),
        ("/static/js/components/x.js", "https://evil.example", "*"),
        ("/static/js/components/../../../analytics/access-logs", PAGE, None),
        ("/static/assets/x.js", PAGE, None),
    ],
)
def test_who_may_read_what(log, path, origin, allowed):
    for method in ("GET", "OPTIONS"):
        answer = ask(log, path, origin=origin, method=method)
        assert answer.headers.get("access-control-allow-origin") == allowed, method
        assert "access-control-allow-credentials" not in answer.headers


def test_nobody_may_unless_set(log):
    assert "access-control-allow-origin" not in ask(log, "/analytics/widget", origin=PAGE, origins=()).headers
    assert load().cors_origins == []


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "intranet.example", "https://a.example/", "https://a.example/page", "HTTPS://A.example", "file://"],
)
def test_an_origin_is_written_whole(monkeypatch, origin):
    import json

    monkeypatch.setenv("TAILTRACE_CORS_ORIGINS", json.dumps(["https://good.example:8443", origin]))
    with pytest.raises(SettingsError, match="is no origin: write each page's scheme, host and port"):
        load()


def test_variants_are_one_card_until_they_are_compared(log):
    for number, endpoint in ((1, "prices#A"), (1, "prices#A"), (2, "prices#B"), (3, "prices"), (3, "other#B")):
        log(1, number, VIEW + endpoint, 204)
    assert plain(
        most_viewed_cards(log.store.visits(Scope.everybody(), Window(0, NOW)), {"card=prices": "Prices of today"})
    ) == [
        {"card": "prices", "name": "Prices of today", "views": 4},
        {"card": "other", "name": "other", "views": 1},
    ]
    answer = ask(log, "/analytics/variants", card="prices").json()
    assert answer["name"] == "Prices of today"
    assert [(row["variant"], row["views"], row["users"], row["share"]) for row in answer["variants"]] == [
        (None, 1, 1, None),
        ("A", 2, 1, None),
        ("B", 1, 1, None),
    ]
    assert answer["comparisons"] == []
    assert answer["users_of_goal"] is None
    assert ask(log, "/analytics/variants", card="prices", goal="/gaol").json()["users_of_goal"] == 0


def test_a_goal_counts_if_it_came_after_the_first_view(log):
    log(5, 1, VIEW + "prices#A", 204)
    log(3, 1, VIEW + "prices#A", 204)
    log(4, 1, "/goal")  # after the first view
    log(5, 2, "/goal")
    log(4, 2, VIEW + "prices#A", 204)  # used it before only
    log(4, 3, VIEW + "prices#B", 204)
    log(3, 3, "/goal", 500)  # failed
    log(4, 4, VIEW + "prices#B", 204)
    log(3, 4, "/goal/else")
    log(4, 5, VIEW + "prices#A", 204)
    log(4, 5, VIEW + "prices#B", 204)  # saw both
    log(3, 5, "/goal")
    answer = ask(log, "/analytics/variants", card="prices", goal="/goal").json()
    assert answer["users_of_several"] == 1
    assert answer["users_of_goal"] == 3
    assert [(row["variant"], row["views"], row["users"], row["converted"]) for row in answer["variants"]] == [
        ("A", 4, 2, 1),
        ("B", 3, 2, 0),
    ]
    (comparison,) = answer["comparisons"]
    assert (comparison["variant"], comparison["against"], comparison["verdict"]) == ("B", "A", "too-little-data")
    assert comparison["because"] == "0 of 2 with B and 1 of 2 with A: each needs 10 users or more"
    assert answer["complete"] is True


@pytest.mark.parametrize(
    ("a", "b", "verdict", "interval"),
    [
        (3, 9, "higher", [0.1705, 0.8090]),  # Newcombe's example of 9/10 and 3/10
        (9, 3, "lower", [-0.8090, -0.1705]),
        (0, 0, "undecided", [-0.2775, 0.2775]),
    ],
)
def test_ten_users_of_each_can_be_enough(log, a, b, verdict, interval):
    assert USERS_MIN == 10
    for number in range(20):
        variant, hits = ("A", a) if number < 10 else ("B", b)
        log(4, number, f"{VIEW}prices#{variant}", 204)
        if number % 10 < hits:
            log(3, number, "/goal")
    answer = ask(log, "/analytics/variants", card="prices", goal="/goal").json()
    (comparison,) = answer["comparisons"]
    assert comparison["verdict"] == verdict
    assert comparison["interval"] == pytest.approx(interval, abs=6e-5)
    assert "percentage points" in comparison["because"]


def test_pages_of_views_are_all_looked_through_and_too_many_are_said(log, monkeypatch):
    monkeypatch.setattr("tailtrace_api.queries.cards.PAGE_ROWS", 2)
    monkeypatch.setattr("tailtrace_api.queries.cards.ROWS_MAX", 6)
    for number in range(5):
        log(10 - number, number, VIEW + "prices#A", 204)
    answer = ask(log, "/analytics/variants", card="prices").json()
    assert (answer["variants"][0]["users"], answer["complete"]) == (5, True)
    for number in range(5, 9):
        log(1, number, VIEW + "prices#A", 204)
    answer = ask(log, "/analytics/variants", card="prices").json()
    assert (answer["variants"][0]["users"], answer["complete"]) == (6, False)


def test_made_up_variants_do_not_outgrow_the_answer(log):
    for number in range(12):
        log(1, 1, f"{VIEW}prices#v{number}", 204)
    log(1, 1, f"{VIEW}prices#v9", 204)
    answer = ask(log, "/analytics/variants", card="prices").json()
    assert len(answer["variants"]) == 8
    assert answer["variants_left_out"] == 4
    assert "v9" in {row["variant"] for row in answer["variants"]}


def test_names_of_cards():
    names = Features(Routes(), {"card=prices": "Prices of today", "/a": "A"})
    assert names["card=prices"] == names[VIEW + "prices"] == names[VIEW + "prices#B"] == "Prices of today"
    assert names["card=energy"] == "energy"
    assert names[VIEW + "energy#B"] == VIEW + "energy"
    assert names["/a"] == "A"


def test_wherever_a_card_is_named_its_variants_are_one():
    from tailtrace_api.answers.insights import page
    from tailtrace_api.monthly.numbers import WindowRollups, _cards
    from tailtrace_bridge.store.values import Usage, Visits

    names = {"card=prices": "Prices of today", "/a": "A"}
    assert page(VIEW + "prices#B", names) == "card: Prices of today"
    assert page(VIEW + "energy#B", names) == "card: energy"
    assert page("/a", names) == "A"
    views = [f"{VIEW}{key}" for key in ("prices", "prices#A", "prices#B", "energy#A")]
    now = WindowRollups(
        [Usage(who(1), "", view, "POST", 204, Traffic.CARD, 1, 0, 0, 0, 0, 0) for view in views],
        visits=[Visits(who(1), view, Traffic.CARD, 1) for view in views],
    )
    found = [(one.name, one.requests, one.people) for one in _cards(now, WindowRollups(), names)]
    assert found == [("Prices of today", 3, 1), ("energy", 1, 1)]


def test_the_views_of_a_card_divide_by_variant(log):
    for number, variant in ((1, "A"), (1, "A"), (2, "A"), (3, "B"), (4, "B"), (4, "A"), (5, "")):
        log(1, number, f"{VIEW}prices#{variant}" if variant else f"{VIEW}prices")
    log(1, 1, f"{VIEW}plain")
    log(1, 1, "/a#B")
    for number in range(10):
        log(1, 1, f"{VIEW}many#{number}")
    visits = list(log.store.visits(Scope.everybody(), Window(NOW - 2 * HOUR, NOW)))
    split = {row["card"]: row for row in plain(divided(most_viewed_cards(visits, {}), visits))}
    assert set(split) == {"prices", "many", "plain"}
    assert split["plain"]["variants"] == []
    assert split["prices"] == {
        "card": "prices",
        "name": "prices",
        "views": 7,
        "variants": [
            {"variant": "A", "views": 4, "users": 2},
            {"variant": "B", "views": 2, "users": 1},
            {"variant": None, "views": 1, "users": 1},
        ],
        "variants_left_out": 0,
    }, "person 4 saw both, and tells nothing about either"
    assert [len(split["many"]["variants"]), split["many"]["variants_left_out"]] == [VARIANTS_MAX, 2]
    compared = ask(log, "/analytics/variants", card="prices").json()["variants"]
    assert sorted((row["variant"] or "", row["views"], row["users"]) for row in compared) == [
        ("", 1, 1), ("A", 4, 2), ("B", 2, 1),
    ], "as the comparison has it"  # fmt: skip

"""The dashboard's answers: each number on literals, each filter over a real store, a message for what is no parameter."""

import asyncio
from zoneinfo import ZoneInfo

import httpx
import pytest
from pydantic_core import to_jsonable_python as plain

from tailtrace_api.answers import panels
from tailtrace_api.answers import requests as answers
from tailtrace_api.answers.steps import HOURS
from tailtrace_api.http.app import create_app
from tailtrace_api.http.log_panels import log_router, request_router
from tailtrace_api.http.panels import panel_router
from tailtrace_api.http.requests import analytics_router
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.panels import Panels
from tailtrace_api.queries.requests import Queries
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import EndpointBucket, Filters, Quarter, Usage, Window, back
from tailtrace_bridge.testing import FakeClock

S = 1_000_000
HOUR = 3600 * S
DAY = 24 * HOUR
NOW = 1_759_924_800 * S  # 2025-10-08T12:00:00Z, a Wednesday
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "static")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "static")
MADRID = ZoneInfo("Europe/Madrid")


def row(ago_us, key, who=ANA, route="/a", status=200, *, traffic=Traffic.APP, app_us=None, trace=""):
    access = Access(
        NOW - ago_us, key, who.address, "GET", route, status, 30_000, None, True, 10, "", trace, trace[:16], "curl", "",
    )  # fmt: skip
    return Row(access, who, route, traffic, app_us, "")


ROWS = [
    row(1 * S, 1, app_us=10_000, trace="ab" * 16),
    row(2 * S, 2, status=500),
    row(3 * S, 3, BEN, "/b", 404),
    row(2 * HOUR, 4, BEN, "/_tailtrace/view?card=prices", 204, traffic=Traffic.CARD),
    row(3 * HOUR, 5, BEN, "/health", traffic=Traffic.HEALTH),
    row(30 * HOUR, 6),
    row(31 * HOUR, 7, status=503),
    row(40 * DAY, 8),
]


@pytest.fixture
def client(tmp_path):
    store = SqliteStore(tmp_path / "t.db")
    store.write(ROWS)
    queries = Queries(store, zone=MADRID, features={"/a": "Dashboard"}, store_name="sqlite")
    clock = FakeClock(NOW)
    app = create_app(lambda: None, clock=clock)
    app.take(analytics_router(queries, clock))
    insights = Insights(store, queries, features={})
    asked = Panels(store, queries, insights, MADRID, {"/a": "Dashboard"})
    app.take(panel_router(asked, clock))
    app.take(log_router(asked, clock))
    app.take(request_router(asked, clock))

    def get(path, /, **params):
        if not path.startswith("request/"):
            params = {name: value for name, value in {"period": "24h", **params}.items() if value is not None}

        async def ask():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                return await http.get(f"/analytics/panels/{path}", params=params)

        return asyncio.run(ask())

    yield get
    store.close()


def totals(answer):
    return {row["metric"]: (row["now"], row["before"], row["change_percent"]) for row in answer["totals"]}


@pytest.mark.parametrize(
    ("params", "sessions", "users", "requests", "errors"),
    [
        ({}, (3, 2, 50.0), (2, 1, 100.0), (4, 2, 100.0), (1, 1, 0.0)),
        ({"user": "ana@example.com"}, (1, 2, -50.0), (1, 1, 0.0), (2, 2, 0.0), (1, 1, 0.0)),
        ({"device": "ben-phone"}, (2, 0, None), (1, 0, None), (2, 0, None), (0, 0, None)),
        ({"endpoint": "/a"}, (None, None, None), (1, 1, 0.0), (2, 2, 0.0), (1, 1, 0.0)),
        ({"status": "5xx"}, (None, None, None), (1, 1, 0.0), (1, 1, 0.0), (1, 1, 0.0)),
        ({"period": "7d"}, (5, 0, None), (2, 0, None), (6, 0, None), (2, 0, None)),
        ({"at": "2025-10-07T12:00:00Z"}, (2, 0, None), (1, 0, None), (2, 0, None), (1, 0, None)),
        ({"at": "2025-10-07T14:00:00+02:00"}, (2, 0, None), (1, 0, None), (2, 0, None), (1, 0, None)),
        ({"at": "2025-10-07T12:00:00"}, (2, 0, None), (1, 0, None), (2, 0, None), (1, 0, None)),  # of no zone: UTC
        ({"user": "nobody"}, (0, 0, None), (0, 0, None), (0, 0, None), (0, 0, None)),
    ],
)
def test_totals_beside_the_period_before(client, params, sessions, users, requests, errors):
    answer = client("overview", **params).json()
    assert totals(answer) == {"sessions": sessions, "users": users, "requests": requests, "errors": errors}
    assert sum(point["requests"] for point in answer["series"]) == requests[0]
    assert sum(point["errors"] for point in answer["series"]) == errors[0]


def test_the_share_of_requests_whose_sender_has_a_name(client):
    assert client("overview").json()["named"] == {"requests": 4, "named": 4, "share": 1.0}
    usages = [
        Usage(one, "", "/a", "GET", 200, Traffic.APP, 2, 2, 9, 0, 0, 9)
        for one in (ANA, Identity("127.0.0.1", "self"), Identity("100.64.0.9"), Identity("100.64.0.8", tags="tag:ci"))
    ]
    assert plain(panels.named(panels.Counted(usages, None))) == {"requests": 6, "named": 4, "share": 0.6667}
    assert plain(panels.named(panels.Counted([], None))) == {"requests": 0, "named": 0, "share": None}


def test_the_heat_map_spans_a_week_whatever_the_period(client):
    for filters in ({}, {"status": "2xx"}, {"user": "ana@example.com"}):
        answer = client("overview", **filters).json()
        assert answer["heat_days"] == 7
        assert len(answer["heat"]) == 7
        count = {"": 6, "status": 3, "user": 4}["".join(filters)]
        assert sum(map(sum, answer["heat"])) == count, filters
    assert answer["heat"][2][13] == 2  # Wednesday, 13:59:58 in Madrid


def test_filters_offer_who_asked_and_what_was_asked_for(client):
    answer = client("choices").json()
    assert set(answer["users"]) == {"ana@example.com", "ben@example.com"}
    assert answer["endpoints"][0] == "/a"
    assert client("choices", user="ana@example.com").status_code == 422, "it is of everybody"


def test_people_and_cards(client):
    answer = client("people").json()
    assert [(row["user"], row["sessions"], row["requests"], row["errors"]) for row in answer["users"]] == [
        ("ana@example.com", 1, 2, 1), ("ben@example.com", 2, 2, 0),
    ]  # fmt: skip
    assert answer["users"][0]["favorite_features"] == ["Dashboard"]
    assert answer["cards"] == [{"card": "prices", "name": "prices", "views": 1, "variants": [], "variants_left_out": 0}]
    assert answer["sessions_of_all"] is False
    narrow = client("people", status="404").json()
    assert [(row["user"], row["requests"]) for row in narrow["users"]] == [("ben@example.com", 1)]
    assert narrow["sessions_of_all"] is True


def test_endpoints(client):
    answer = client("endpoints").json()
    first, second = answer["endpoints"]
    assert {**first, "spark": sum(first["spark"])} == {
        "endpoint": "/a", "service": None, "feature": "Dashboard", "calls": 2, "calls_before": 2, "avg_ms": 30.0,
        "p50_ms": first["p50_ms"], "p95_ms": first["p95_ms"], "p99_ms": first["p99_ms"],
        "p95_before_ms": first["p95_before_ms"],
        "app_ms": 10.0, "app_calls": 1, "proxy_ms": 20.0, "proxy_calls": 1,
        "errors_5xx": 1, "errors_4xx": 0, "client_closed_499": 0, "error_rate": 0.5, "spark": 2,
    }  # fmt: skip
    assert first["p95_ms"] == pytest.approx(30.0, rel=0.02)
    day_before = client("endpoints", to=client("overview").json()["window"]["from"]).json()["endpoints"]
    assert first["p95_before_ms"] == next(row["p95_ms"] for row in day_before if row["endpoint"] == "/a") is not None
    assert (second["endpoint"], second["errors_4xx"], len(second["spark"])) == ("/b", 1, 24)
    assert client("endpoints", endpoint="/b").json()["has_percentiles"] is True
    of_ana = client("endpoints", user="ana@example.com").json()
    assert of_ana["has_percentiles"] is False
    assert [(row["endpoint"], row["calls"], row["p95_ms"], row["avg_ms"]) for row in of_ana["endpoints"]] == [
        ("/a", 2, None, 30.0)
    ]


def test_a_list_that_is_cut_keeps_those_with_most_requests(crowded):
    people, endpoints = crowded("people"), crowded("endpoints")
    # One session of 30 requests, behind 600 people of two sessions with a request each.
    assert (people["users"][0]["user"], people["users"][0]["requests"], len(people["users"])) == ("busy@x", 30, 500)
    assert people["truncated"] == {"users": 601}
    assert (endpoints["endpoints"][0]["endpoint"], len(endpoints["endpoints"])) == ("/busy", 500)
    assert endpoints["truncated"] == {"endpoints": 601}


@pytest.fixture
def crowded(tmp_path):
    store = SqliteStore(tmp_path / "crowd.db")
    busy = Identity("203.0.113.1", "user", "busy@x")
    rows = [row((n + 1) * S, n, busy, "/busy") for n in range(30)]
    for n in range(600):
        who = Identity("203.0.113.2", "user", f"p{n}@x")
        rows += [row((n + 1) * S, 1000 + n, who, f"/r/{n}"), row((n + 1) * S + 2 * HOUR, 2000 + n, who, f"/r/{n}")]
    store.write(rows)
    queries = Queries(store, zone=MADRID, features={}, store_name="sqlite")
    panel = Panels(store, queries, Insights(store, queries, features={}), MADRID, {})
    yield lambda name: plain(getattr(panel, name)(back(NOW, 24), Filters()))
    store.close()


def test_an_address_is_a_filter_like_a_login(tmp_path):
    store = SqliteStore(tmp_path / "addresses.db")
    stranger, ana_there = (
        Identity("203.0.113.9", "external"),
        Identity("203.0.113.9", "user", "ana@example.com", "ana-laptop", "n1"),
    )
    store.write(
        [row(1 * S, 1, stranger), row(2 * HOUR, 2, stranger, status=500), row(3 * HOUR, 3, ana_there), row(6 * HOUR, 4)]
    )
    queries = Queries(store, zone=MADRID, features={}, store_name="sqlite")
    panel = Panels(store, queries, Insights(store, queries, features={}), MADRID, {})
    day, filters = back(NOW, 24), Filters(address="203.0.113.9")
    overview, people = plain(panel.overview(day, filters)), plain(panel.people(day, filters))
    assert panel.choices(day).users == ("203.0.113.9", "ana@example.com")
    assert {row["metric"]: row["now"] for row in overview["totals"]} == {
        "sessions": 3,
        "users": 1,
        "requests": 3,
        "errors": 1,
    }
    assert [(row["user"], row["sessions"], row["requests"]) for row in people["users"]] == [
        ("203.0.113.9", 2, 2),
        ("ana@example.com", 1, 1),
    ]
    assert [row.calls for row in panel.endpoints(day, filters).endpoints] == [3]
    store.close()


RUNNERS = [
    Identity("100.64.0.3", "tagged", "", "runner", "n3", "tag:ci", "localapi"),
    Identity("100.64.0.4", "tagged", "", "runner", "n4", "tag:ci", "localapi"),
]
OWN_DEVICE = Identity("100.64.0.5", "user", "cy@example.com", "cy-mac", "n5", "", "localapi", "u5")
SHARED_DEVICE = Identity("100.64.0.6", "shared", "cy@example.com", "cy-board", "n6", "", "localapi", "u5")


def test_two_of_one_name_are_two_and_one_of_two_kinds_is_one(tmp_path):
    store = SqliteStore(tmp_path / "names.db")
    store.write([
        row(1 * S, 1, RUNNERS[0]), row(2 * S, 2, RUNNERS[0], status=500), row(3 * S, 3, RUNNERS[1]),
        row(4 * S, 4, SHARED_DEVICE), row(5 * S, 5, OWN_DEVICE), row(6 * S, 6, OWN_DEVICE, status=500),
    ])  # fmt: skip
    queries = Queries(store, zone=MADRID, features={}, store_name="sqlite")
    panel = Panels(store, queries, Insights(store, queries, features={}), MADRID, {})
    people = panel.people(back(NOW, 24), Filters()).users
    assert [(one.user, one.kind, one.requests, one.errors) for one in people] == [
        ("cy@example.com", "shared", 3, 1), ("runner", "tagged", 2, 1), ("runner", "tagged", 1, 0),
    ]  # fmt: skip
    failed = panel.people(back(NOW, 24), Filters(status="5xx")).users
    assert [(one.user, one.requests, one.errors) for one in failed] == [("cy@example.com", 1, 1), ("runner", 1, 1)]
    store.close()


def test_equals_are_offered_by_name_in_whatever_order_they_came(tmp_path):
    rows = [row(1 * S, 1, BEN, "/b"), row(2 * S, 2, ANA, "/a")]
    orders = []
    for place, written in enumerate((rows, rows[::-1])):
        store = SqliteStore(tmp_path / f"{place}.db")
        store.write(written)
        queries = Queries(store, zone=MADRID, features={}, store_name="sqlite")
        panel = Panels(store, queries, Insights(store, queries, features={}), MADRID, {})
        orders.append(panel.choices(back(NOW, 24)))
        store.close()
    assert orders[0] == orders[1]
    assert orders[0].users == ("ana@example.com", "ben@example.com")


def test_health_says_how_uptime_was_measured(client):
    answer = client("health").json()
    assert answer["uptime_method"].startswith("traffic")
    assert answer["data_freshness_seconds"] == 1.0
    assert answer["error_rate"]["errors_5xx"] == 1
    assert "api_response_times" not in answer


def test_requests_page_by_page_and_one_whole(client):
    first = client("requests", period="7d", limit=4).json()
    rest = client("requests", period="7d", limit=4, cursor=first["next_cursor"]).json()
    assert [len(first["requests"]), len(rest["requests"]), rest["next_cursor"]] == [4, 3, None]
    assert client("requests", endpoint="/b").json()["requests"][0]["status"] == 404
    found = client("request/" + "AB" * 16).json()
    assert (found["found"], found["requests"][0]["timing"]["app_ms"]) == (True, 10.0)
    assert client("request/" + "ab" * 16, at="2025-10-01").json()["found"] is False


@pytest.mark.parametrize(
    ("path", "params", "said"),
    [
        ("overview", {"period": "2y"}, "24h"),
        ("overview", {"priod": "7d"}, "Did you mean period?"),
        ("overview", {"at": "tomorrow"}, "write one like 2025-10-09T10:00:00Z"),
        ("overview", {"at": "0001-01-01"}, "write one like"),
        ("overview", {"status": "9"}, "pattern"),
        ("people", {"user": "x" * 513}, "512"),
        ("requests", {"cursor": "1"}, "next_cursor"),
        ("requests", {"limit": 201}, "200"),
        ("request/xyz", {}, "pattern"),
    ],
)
def test_wrong_parameters_are_told(client, path, params, said):
    answer = client(path, **params)
    assert answer.status_code == 422
    assert said in answer.text


def test_series_has_each_step_once():
    window = Window(NOW - 2 * HOUR - 1, NOW)
    steps = [
        EndpointBucket(NOW - HOUR, "/a", Traffic.APP, 3, 1),
        EndpointBucket(NOW - HOUR, "/b", Traffic.CARD, 2, 0),
        EndpointBucket(NOW - HOUR, "/health", Traffic.HEALTH, 9, 9),
    ]
    assert plain(panels.series(steps, window, HOURS)) == [
        {"time": "2025-10-08T09:00:00.000Z", "requests": 0, "errors": 0},
        {"time": "2025-10-08T10:00:00.000Z", "requests": 0, "errors": 0},
        {"time": "2025-10-08T11:00:00.000Z", "requests": 5, "errors": 1},
    ]


def test_heat_of_a_zone_with_half_hours():
    cells = panels.heat([Quarter(NOW, 4), Quarter(NOW + HOUR // 2, 3)], ZoneInfo("Asia/Kolkata"))  # 17:30 and 18:00
    assert (cells[2][17], cells[2][18]) == (4, 3)
    assert sum(map(sum, cells)) == 7


def test_hours_are_spread_over_their_quarters():
    quarters = answers.quarters_of([EndpointBucket(NOW, "/a", Traffic.APP, 5, 0)], Window(NOW, NOW + HOUR))
    assert [(one.time_us - NOW, one.requests) for one in quarters] == [
        (0, 2), (15 * 60 * S, 1), (30 * 60 * S, 1), (45 * 60 * S, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("start_min", "end_min", "spread"),
    [(0, 60, [(0, 2), (15, 2), (30, 1), (45, 1)]), (30, 90, [(30, 3), (45, 3)]), (-60, 20, [(0, 3), (15, 3)]), (44, 46, [(30, 3), (45, 3)])],
)  # fmt: skip
def test_of_an_hour_that_the_window_cuts_only_what_lies_in_it_is_spread_over(start_min, end_min, spread):
    window = Window(NOW + start_min * 60 * S, NOW + end_min * 60 * S)
    quarters = answers.quarters_of([EndpointBucket(NOW, "/a", Traffic.APP, 6, 0)], window)
    assert [((one.time_us - NOW) // (60 * S), one.requests) for one in quarters] == spread


def test_sessions_under_filters():
    assert [panels.has_sessions(one) for one in (Filters(user="a"), Filters(endpoint="/a"), Filters(status="5xx"))] == [
        True, False, False,
    ]  # fmt: skip


def bars(answer):
    return [(bar["time"], bar["requests"], bar["errors"]) for bar in answer["series"] if bar["requests"]]


@pytest.mark.parametrize(
    ("asked", "step", "count", "filled"),
    [
        ({"period": "15m"}, "minute", 15, [("2025-10-08T11:59:00.000Z", 3, 1)]),
        ({"period": "6h"}, "ten_minutes", 36, [("2025-10-08T10:00:00.000Z", 1, 0), ("2025-10-08T11:50:00.000Z", 3, 1)]),
        ({"period": "90d"}, "day", 91, None),
        ({"period": "1y"}, "month", 13, [("2025-08-01T00:00:00.000Z", 1, 0), ("2025-10-01T00:00:00.000Z", 6, 2)]),
        (
            {"from": "2025-10-08T11:59:57Z", "to": "2025-10-08T11:59:59Z"},
            "minute",
            1,
            [("2025-10-08T11:59:00.000Z", 2, 1)],
        ),
        (
            {"from": "2025-10-07T00:00:00Z", "to": "2025-10-08T00:00:00Z"},
            "hour",
            24,
            [("2025-10-07T05:00:00.000Z", 1, 1), ("2025-10-07T06:00:00.000Z", 1, 0)],
        ),
        ({"from": "2025-10-08T11:59:58.5Z"}, "minute", 1, [("2025-10-08T11:59:00.000Z", 1, 0)]),  # to now
        ({"period": "24h", "to": "2025-10-07T12:00:00Z"}, "hour", 24, None),
    ],
)
def test_any_time_has_bars_of_its_length(client, asked, step, count, filled):
    answer = client("overview", **{"period": None, **asked}).json()
    assert (answer["step"], len(answer["series"])) == (step, count)
    assert filled is None or bars(answer) == filled
    assert sum(bar["requests"] for bar in answer["series"]) == totals(answer)["requests"][0]
    for panel in ("people", "endpoints", "health", "requests"):
        assert client(panel, **{"period": None, **asked}).status_code == 200
    times = client("health", **{"period": None, **asked}).json()["over_time"]
    assert (
        sum(one["requests"] for one in times)
        == client("health", **{"period": None, **asked}).json()["error_rate"]["requests"]
    )


@pytest.mark.parametrize(
    ("asked", "named", "said"),
    [
        ({}, "period", "Say how far it reaches back: 15m, 1h"),
        ({"period": "24h", "from": "2025-10-01"}, "from", "leave one out"),
        ({"from": "2025-10-09", "to": "2025-10-08"}, "from", "not before the end"),
        ({"from": "2025-10-08", "to": "2025-10-08"}, "from", "not before the end"),
        ({"from": "2026-10-08"}, "from", "not before the end"),
        ({"from": "1970-01-01"}, "from", "more than 10980 days"),
        ({"from": "yesterday"}, "from", "No time"),
        ({"from": "2025-10-01", "to": "soon"}, "to", "No time"),
        ({"period": "24h", "at": "2025-10-01", "to": "2025-10-01"}, "at", "both say where the window ends"),
    ],
)
def test_times_that_are_no_window(client, asked, named, said):
    answer = client("overview", **{"period": None, **asked})
    assert answer.status_code == 422
    problem = answer.json()["detail"][0]
    assert problem["loc"] == ["query", named]
    assert said in problem["msg"]


def test_a_time_whose_requests_are_gone_is_told_by_the_hour(tmp_path):
    store = SqliteStore(tmp_path / "pruned.db")
    store.write(ROWS)
    store.prune(NOW - 20 * HOUR)
    queries = Queries(store, zone=MADRID, features={}, store_name="sqlite")
    panel = Panels(store, queries, Insights(store, queries, features={}), MADRID, {})
    gone = Window(NOW - 31 * HOUR - 600 * S, NOW - 31 * HOUR + 600 * S)  # a row at its middle, 05:00
    answer = plain(panel.overview(gone, Filters()))
    assert (answer["step"], answer["window"]) == (
        "hour",
        {"from": "2025-10-07T04:00:00.000Z", "to": "2025-10-07T06:00:00.000Z"},
    )
    assert bars(answer) == [("2025-10-07T05:00:00.000Z", 1, 1)]
    assert panel.people(gone, Filters()).users[0].requests == 1
    assert panel.endpoints(gone, Filters()).endpoints[0].calls == 1
    assert panel.health(gone).error_rate.errors_5xx == 1
    kept = plain(panel.overview(Window(NOW - 600 * S, NOW), Filters()))
    assert (kept["step"], bars(kept)) == ("minute", [("2025-10-08T11:59:00.000Z", 3, 1)])
    quiet = plain(panel.overview(Window(NOW - 25 * HOUR, NOW - 25 * HOUR + 600 * S), Filters()))
    assert quiet["step"] == "minute", "nothing was there"
    store.close()


@pytest.mark.parametrize(
    ("params", "requests"),
    [
        ({"user": ["ana@example.com", "ben@example.com"]}, 4),
        ({"user": ["ana@example.com", "ana@example.com"]}, 2),
        ({"user": ["ana@example.com", "100.64.0.8"]}, 4),
        ({"user": ["nobody", "100.64.0.8"], "status": "404"}, 1),
        ({"method": "get"}, 4),
        ({"method": "POST"}, 0),
    ],
)
def test_filters_combine(client, params, requests):
    answer = client("overview", **params).json()
    assert totals(answer)["requests"][0] == requests
    assert sum(bar["requests"] for bar in answer["series"]) == requests
    assert sum(row["requests"] for row in client("people", **params).json()["users"]) == requests
    assert client("endpoints", **params).status_code == 200
    assert len(client("requests", **params, without=["health"]).json()["requests"]) == requests


@pytest.mark.parametrize(
    ("params", "paths"),
    [
        ({"without": ["card", "health"]}, ["/a", "/a", "/b"]),
        ({"path": "VIEW"}, ["/_tailtrace/view?card=prices"]),
        ({"path": "/", "slower": 30.001}, []),
        ({"slower": 30, "path": "/b"}, ["/b"]),
    ],
)
def test_requests_are_found_by_what_no_rollup_keeps(client, params, paths):
    assert [line["path"] for line in client("requests", **params).json()["requests"]] == paths
    assert client("overview", **params).status_code == 422, "its numbers would be of something else"


def test_an_address_among_several_users_is_told_apart(tmp_path):
    store = SqliteStore(tmp_path / "several.db")
    strangers = [Identity(f"203.0.113.{n}", "external") for n in range(3)]
    store.write([row((n + 1) * S, n, who) for n, who in enumerate((*strangers, ANA))])
    queries = Queries(store, zone=MADRID, features={}, store_name="sqlite")
    panel = Panels(store, queries, Insights(store, queries, features={}), MADRID, {})
    filters = Filters(users=("203.0.113.1", "ana@example.com"))
    people = plain(panel.people(back(NOW, 24), filters))
    assert [row["user"] for row in people["users"]] == ["203.0.113.1", "ana@example.com"]
    assert {row["metric"]: row["now"] for row in plain(panel.overview(back(NOW, 24), filters))["totals"]}[
        "sessions"
    ] == 2
    store.close()


def test_a_file_has_all_that_the_filters_let_through(client, monkeypatch):
    monkeypatch.setattr("tailtrace_api.queries.panels.PAGE_ROWS", 2)
    found = client("requests/file", period="7d", without=["health"])
    assert found.headers["content-disposition"] == 'attachment; filename="requests.json"'
    assert found.json() == client("requests", period="7d", without=["health"]).json()["requests"]
    assert len(found.json()) == 6
    assert client("requests/file", format="csv", path="/b").text.count("\r\n") == 2
    assert client("requests/file", format="xlsx").status_code == 422


def test_the_time_before_lies_under_the_series(client):
    answer = client("overview").json()
    assert [(place, n) for place, n in enumerate(answer["series_before"]) if n] == [(17, 1), (18, 1)]
    assert len(answer["series_before"]) == len(answer["series"]) == 24
    assert client("overview", period="90d").json()["series_before"] == [], "not all of it is stored"
    quarter = client("overview", period="15m", to="2025-10-07T06:14:00Z").json()
    assert sum(quarter["series_before"]) == 0
    assert sum(bar["requests"] for bar in quarter["series"]) == 1
    half = client("overview", **{"period": None, "from": "2025-10-07T05:30:00Z", "to": "2025-10-07T06:30:00Z"}).json()
    assert half["series_before"][30] == 1, "5:00, an hour later"
    new = {row["endpoint"]: row["calls_before"] for row in client("endpoints").json()["endpoints"]}
    assert new == {"/a": 2, "/b": 0}
    uncovered = client("endpoints", period="90d").json()["endpoints"][0]
    assert (uncovered["calls_before"], uncovered["p95_before_ms"]) == (None, None)


def test_steps_that_are_not_whole_are_named(client):
    assert client("overview").json()["series_in_part"] == [], "24 whole hours"
    quarters = client("overview", to="2025-10-08T11:50:00Z", period="24h").json()
    assert quarters["series_in_part"] == [0, 24]
    longest = client("overview", period="90d").json()
    assert longest["series_in_part"] == [0, 50, 90], "40 days ago what is stored begins"
    assert client("endpoints", period="30d").json()["spark_in_part"] == [0, 30]
    health = client("health", period="90d").json()
    days = [step["time"][:10] for step in health["over_time"]]
    assert (days, health["over_time_in_part"]) == (["2025-08-29", "2025-10-07", "2025-10-08"], [0, 2])
    assert health["uptime_over_time_in_part"] == [0, 2]


def test_an_outage_says_what_failed(tmp_path):
    store = SqliteStore(tmp_path / "down.db")
    rows = [row((n + 60) * S, n, route=f"/{n % 2}", status=(502, 500)[n == 5]) for n in range(6)]
    store.write([*rows, row(1200 * S, 10, route="/fine")])
    queries = Queries(store, zone=MADRID, features={}, store_name="sqlite")
    panel = Panels(store, queries, Insights(store, queries, features={}), MADRID, {})
    (outage,) = plain(panel.health(back(NOW, 24)))["outages"]
    assert outage["causes"] == [
        {"status": 502, "endpoint": "/0", "requests": 3},
        {"status": 502, "endpoint": "/1", "requests": 2},
        {"status": 500, "endpoint": "/1", "requests": 1},
    ]
    store.close()


def test_a_member_is_told_of_their_own_newest_request_alone(tmp_path):
    store = SqliteStore(tmp_path / "newest.db")
    store.write([row(1 * S, 1, ANA), row(2 * S, 2, BEN)])
    queries = Queries(store, zone=MADRID, features={}, store_name="sqlite")
    panel = Panels(store, queries, Insights(store, queries, features={}), MADRID, {})
    everybody = panel.overview(back(NOW, 24), Filters()).newest
    newest = {
        login: panel.overview(back(NOW, 24), Filters(user=login), login).newest
        for login in ("ana@example.com", "ben@example.com", "cy@example.com")
    }
    store.close()
    assert newest["ana@example.com"] == everybody
    assert newest["ben@example.com"] not in {None, everybody}
    assert newest["cy@example.com"] is None

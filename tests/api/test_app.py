"""The HTTP API over a real store: shapes, numbers, and a message for each wrong parameter."""

import asyncio
import threading
from datetime import UTC

import httpx
import pytest
from pydantic import TypeAdapter

from tailtrace_api.answers.request_records import AccessLogs, DashboardUsage, SystemHealth
from tailtrace_api.http.app import create_app
from tailtrace_api.http.hosts import Hosts
from tailtrace_api.http.requests import analytics_router
from tailtrace_api.queries.requests import Queries
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import back
from tailtrace_bridge.testing import FakeClock
from tailtrace_bridge.wiring import bridge as build
from tailtrace_bridge.wiring import parts

S = 1_000_000
HOUR = 3600 * S
NOW = 1_759_924_800 * S  # 2025-10-08T12:00:00Z
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "static")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "static")


def row(ago_us, key, who=ANA, route="/a", status=200, *, traffic=Traffic.APP, app_us=None, method="GET"):
    access = Access(
        NOW - ago_us, key, who.address, method, "/path", status, 30_000, None, True, 10, "", "", "", "curl", ""
    )  # fmt: skip
    return Row(access, who, route, traffic, app_us, "")


ROWS = [
    row(1 * S, 1, app_us=10_000),
    row(2 * S, 2, status=500),
    row(3 * S, 3, BEN, "/b", method="POST"),
    row(2 * HOUR, 4, BEN, "/_tailtrace/view?card=prices", 204, traffic=Traffic.CARD),
    row(3 * HOUR, 5, BEN, "/health", traffic=Traffic.HEALTH),
    row(30 * HOUR, 6),
    row(24 * 40 * HOUR, 7),
]


class Client:
    """Asks the app, in the same thread or another."""

    def __init__(self, app) -> None:
        self._app = app

    def get(self, path: str, **params) -> httpx.Response:
        async def ask():
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.get(path, params=params)

        return asyncio.run(ask())


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    made.write(ROWS)
    yield made
    made.close()


@pytest.fixture
def clock():
    return FakeClock(NOW)


@pytest.fixture
def app(store, clock):
    from zoneinfo import ZoneInfo

    queries = Queries(store, zone=ZoneInfo("Europe/Madrid"), features={"/a": "Dashboard"}, store_name="sqlite")
    app = create_app(lambda: store.newest_us(Scope.everybody()), clock=clock)
    app.take(analytics_router(queries, clock))
    return app


@pytest.fixture
def client(app):
    return Client(app)


def test_access_logs(client):
    answer = client.get("/analytics/access-logs").json()
    assert answer["window"] == {"from": "2025-10-07T12:00:00.000Z", "to": "2025-10-08T12:00:00.000Z"}
    assert answer["summary"] == {
        "total_requests": 5, "unique_users": 2, "unique_devices": 2, "unique_addresses": 2,
        "avg_response_time_ms": 30.0, "errors_5xx": 1,
    }  # fmt: skip
    assert [line["endpoint"] for line in answer["logs"]] == [
        "/a",
        "/a",
        "/b",
        "/_tailtrace/view?card=prices",
        "/health",
    ]
    assert answer["logs"][0] == {
        "timestamp": "2025-10-08T11:59:59.000Z", "user": "ana@example.com", "device": "ana-laptop", "ip": "100.64.0.7",
        "endpoint": "/a", "method": "GET", "status": 200, "response_time_ms": 30.0, "app_time_ms": 10.0, "outside_ms": 20.0,
        "trace_id": None, "kind": "user", "tags": [], "identified_by": "static", "path": "/path", "service": None,
        "identified_at": None, "via": None, "key_expired": False, "reason": None, "traffic": "app", "bytes": 10, "error_type": None,
    }  # fmt: skip
    assert answer["next_cursor"] is None


@pytest.mark.parametrize(
    ("params", "requests"),
    [
        ({"hours": 1}, 3),
        ({"hours": 168}, 6),
        ({"user": "ben@example.com"}, 3),
        ({"device": "ana-laptop"}, 2),
        ({"user": "100.64.0.8"}, 3),
        ({"user": "::ffff:100.64.0.8"}, 3),
        ({"user": "unix:"}, 0),
        ({"endpoint": "/a"}, 2),
        ({"method": "post"}, 1),
        ({"status": "500"}, 1),
        ({"status": "2xx"}, 4),
        ({"user": "nobody"}, 0),
    ],
)
def test_filters(client, params, requests):
    answer = client.get("/analytics/access-logs", **params).json()
    assert (answer["summary"]["total_requests"], len(answer["logs"])) == (requests, requests)


@pytest.mark.parametrize(
    ("at", "to", "requests"),
    [
        ("2025-10-08T12:00:00Z", "2025-10-08T12:00:00.000Z", 5),
        ("2025-10-07T12:00:00", "2025-10-07T12:00:00.000Z", 1),
        ("2025-10-07T14:00:00+02:00", "2025-10-07T12:00:00.000Z", 1),
        ("2025-10-07T05:59:59.999Z", "2025-10-07T05:59:59.999Z", 0),
        ("1970-01-01", "1970-01-01T00:00:00.000Z", 0),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z", 0),
    ],
)
def test_the_end_of_the_window(client, at, to, requests):
    logs = client.get("/analytics/access-logs", hours=24, at=at).json()
    usage = client.get("/analytics/dashboard-usage", days=1, at=at).json()
    health = client.get("/analytics/system-health-history", days=1, at=at).json()
    assert [answer["window"]["to"] for answer in (logs, usage, health)] == [to] * 3
    health_checks = 1 if requests == 5 else 0
    assert (
        logs["summary"]["total_requests"], len(logs["logs"]), usage["summary"]["total_requests"] + health_checks,
        health["error_rate"]["overall"]["requests"],
    ) == (requests,) * 4  # fmt: skip


def test_queries_count_when_they_were_asked_whatever_they_ask_for(store):
    queries = Queries(store, zone=UTC, features={}, store_name="sqlite", clock=FakeClock(NOW))
    answer = queries.system_health_history(back(NOW - 400 * HOUR, 24))
    assert [step.time for step in answer.influxdb_query_times.over_time] == ["2025-10-08T12:00:00.000Z"]


def test_pages_and_a_summary_of_the_whole_window(client):
    times, summaries, cursor = [], [], {}
    for _ in range(9):
        answer = client.get("/analytics/access-logs", limit=2, hours=168, **cursor).json()
        times += [line["timestamp"] for line in answer["logs"]]
        summaries.append(answer["summary"]["total_requests"])
        if answer["next_cursor"] is None:
            break
        cursor = {"cursor": answer["next_cursor"]}
    assert summaries == [6, 6, 6]
    assert len(times) == len(set(times)) == 6
    assert times == sorted(times, reverse=True)


def test_dashboard_usage(client):
    answer = client.get("/analytics/dashboard-usage", days=1).json()
    peak_hours = answer.pop("peak_hours")
    assert [row["hour"] for row in peak_hours] == list(range(24))
    assert {row["hour"]: row["requests"] for row in peak_hours if row["requests"]} == {12: 1, 13: 3}
    assert answer == {
        "window": {"from": "2025-10-07T12:00:00.000Z", "to": "2025-10-08T12:00:00.000Z"},
        "timezone": "Europe/Madrid",
        "summary": {
            "total_requests": 4, "unique_users": 2, "unique_devices": 2, "unique_addresses": 2,
            "avg_response_time_ms": 30.0, "errors_5xx": 1, "total_sessions": 3,
        },
        "most_viewed_cards": [{"card": "prices", "name": "prices", "views": 1}],
        "user_sessions": [
            {
                "user": "ben@example.com", "kind": "user", "sessions": 2, "total_time_hours": 0.0,
                "favorite_features": ["/b"], "requests": 2, "devices": ["ben-phone"],
                "last_seen": "2025-10-08T11:59:57.000Z",
            },
            {
                "user": "ana@example.com", "kind": "user", "sessions": 1, "total_time_hours": 0.0,
                "favorite_features": ["Dashboard"], "requests": 2, "devices": ["ana-laptop"],
                "last_seen": "2025-10-08T11:59:59.000Z",
            },
        ],
        "api_calls_by_endpoint": [{"/a": 2}, {"/b": 1}],
        "api_calls_by_service": [
            {"service": None, "endpoint": "/a", "requests": 2}, {"service": None, "endpoint": "/b", "requests": 1},
        ],
        "truncated": {},
    }  # fmt: skip


def test_a_list_that_is_cut_says_how_long_it_is(client, store):
    crowd = [Identity(f"203.0.113.{n % 250}", "user", f"p{n}@example.com", "", "", "", "static") for n in range(600)]
    store.write([row((n + 1) * S, 1000 + n, who, f"/r/{n}") for n, who in enumerate(crowd)])
    usage = client.get("/analytics/dashboard-usage", days=1).json()
    assert (len(usage["user_sessions"]), len(usage["api_calls_by_endpoint"])) == (500, 500)
    assert usage["truncated"] == {"user_sessions": 602, "api_calls_by_endpoint": 602, "api_calls_by_service": 602}
    health = client.get("/analytics/system-health-history", days=1).json()
    assert (len(health["api_response_times"]), len(health["error_rate"]["by_endpoint"])) == (500, 500)
    assert health["truncated"] == {"api_response_times": 604}


def test_system_health_history(client):
    answer = client.get("/analytics/system-health-history", days=1).json()
    assert (answer["uptime_percentage"], answer["minutes_with_traffic"]) == (100.0, 3)
    assert answer["uptime_over_time"] == [
        {"time": "2025-10-08T00:00:00.000Z", "uptime_percentage": 100.0, "minutes_with_traffic": 3, "minutes_partial": 1, "minutes_down": 0}
    ]  # fmt: skip
    assert {row["endpoint"]: (row["count"], row["avg_ms"], row["app"]["avg_ms"]) for row in answer["api_response_times"]} == {
        "/a": (2, 30.0, 10.0),
        "/b": (1, 30.0, None),
        "/health": (1, 30.0, None),
        "/_tailtrace/view?card=prices": (1, 30.0, None),
    }  # fmt: skip
    assert answer["error_rate"]["overall"] == {
        "error_rate": 0.2, "requests": 5, "errors_5xx": 1, "errors_4xx": 0, "client_closed_499": 0,
    }  # fmt: skip
    assert answer["error_rate"]["by_endpoint"][0]["endpoint"] == "/a"
    assert [(step["time"], step["requests"]) for step in answer["over_time"]] == [
        ("2025-10-08T09:00:00.000Z", 1),
        ("2025-10-08T10:00:00.000Z", 1),
        ("2025-10-08T11:00:00.000Z", 3),
    ]
    assert answer["data_freshness_seconds"] == 1.0
    times = answer["influxdb_query_times"]
    assert (times["store"], times["count"], len(times["over_time"])) == ("sqlite", 7, 1)
    assert 0 <= times["p50_ms"] <= times["p95_ms"] <= times["max_ms"]


def test_steps_are_days_beyond_two_days(client):
    steps = client.get("/analytics/system-health-history", days=3).json()["over_time"]
    assert [(step["time"], step["requests"]) for step in steps] == [
        ("2025-10-07T00:00:00.000Z", 1),
        ("2025-10-08T00:00:00.000Z", 5),
    ]


def test_an_empty_window(client, clock):
    clock.now_us = NOW - 24 * 20 * HOUR
    assert client.get("/analytics/access-logs").json()["summary"]["total_requests"] == 0
    assert client.get("/analytics/dashboard-usage").json()["user_sessions"] == []
    health = client.get("/analytics/system-health-history").json()
    assert (health["uptime_percentage"], health["over_time"], health["data_freshness_seconds"]) == (
        None,
        [],
        1_728_000.0,
    )


def test_a_line_of_the_future_does_not_make_the_data_fresh(client, store):
    future_us = 4_070_908_800_000_000  # 2099
    store.write([row(NOW - future_us, 99)])
    assert store.newest_us(Scope.everybody()) == future_us
    answer = client.get("/analytics/system-health-history", days=1).json()
    assert answer["data_freshness_seconds"] == 1.0


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("access-logs", "hours", 0),
        ("access-logs", "hours", 169),
        ("access-logs", "hours", "many"),
        ("access-logs", "limit", 0),
        ("access-logs", "limit", 1001),
        ("access-logs", "status", "6xx"),
        ("access-logs", "status", "20"),
        ("access-logs", "status", "200\n"),
        ("access-logs", "cursor", "nonsense"),
        ("access-logs", "cursor", "1-9223372036854775808"),
        ("access-logs", "user", "x" * 513),
        ("dashboard-usage", "days", 0),
        ("dashboard-usage", "days", 31),
        ("system-health-history", "days", 0),
        ("system-health-history", "days", 31),
        ("access-logs", "at", "yesterday"),
        ("dashboard-usage", "at", "1969-12-31T23:59:59Z"),
        ("system-health-history", "at", "10000-01-01"),
        ("access-logs", "at", "2025-10-08T12:00:00 02:00"),  # a + that was not written %2B
        ("access-logs", "houres", "3"),
        ("dashboard-usage", "hours", "3"),
    ],
)
def test_a_wrong_parameter_is_named(client, path, name, value):
    response = client.get(f"/analytics/{path}", **{name: value})
    assert response.status_code == 422
    (detail,) = response.json()["detail"]
    assert detail["loc"] == ["query", name]
    assert detail["msg"]


@pytest.mark.parametrize("cursor", ["999999999999999999-9223372036854775807", "0-0"])
def test_a_cursor_from_outside_the_window_does_no_harm(client, cursor):
    answer = client.get("/analytics/access-logs", cursor=cursor, hours=1).json()
    assert len(answer["logs"]) == (3 if cursor.startswith("9") else 0)
    assert answer["summary"]["total_requests"] == 3


def test_health_and_ready(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready", "problems": []}
    metrics = client.get("/metrics")
    assert (metrics.status_code, metrics.json()["detail"]) == (
        404,
        "this process runs no bridge; ask the one that does",
    )


def test_a_store_that_does_not_answer(client, store):
    store.close()
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    assert "store sqlite:" in ready.json()["problems"][0]
    answer = client.get("/analytics/access-logs")
    assert answer.status_code == 503
    assert "store sqlite:" in answer.json()["detail"]


def test_many_ask_at_once(client):
    failures = []

    def ask():
        try:
            for _ in range(5):
                assert client.get("/analytics/system-health-history").status_code == 200
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []


def test_openapi_shows_an_example_of_each_answer(app, client):
    document = client.get("/openapi.json").json()
    for path, model in (
        ("access-logs", AccessLogs),
        ("dashboard-usage", DashboardUsage),
        ("system-health-history", SystemHealth),
    ):
        shown = document["paths"][f"/analytics/{path}"]["get"]["responses"]["200"]["content"]["application/json"][
            "schema"
        ]
        schema = document["components"]["schemas"][shown["$ref"].rpartition("/")[2]]
        (example,) = schema["examples"]
        # Whole, and nothing that is not there; only what is mostly null may be left out.
        left_out = dict.fromkeys(("via", "reason")) if path == "access-logs" else {}
        if left_out:
            example["logs"] = [line | left_out for line in example["logs"]]
        adapter = TypeAdapter(model)
        assert adapter.dump_python(adapter.validate_python(example), mode="json") == example


@pytest.fixture
def bridge(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "access.log").write_text("not a log line\n")
    made = build.make_bridge(
        settings.load(
            store=f"sqlite:{tmp_path / 'live.db'}",
            log=str(tmp_path / "access.log"),
            checkpoint=tmp_path / "positions.json",
            tailscale_socket=tmp_path / "none.sock",
        )
    )
    yield made
    made.stop()


def test_ready_and_metrics_of_a_bridge(bridge):
    clock = FakeClock(parts.clock_us())
    client = Client(create_app(lambda: bridge.store.newest_us(Scope.everybody()), clock=clock, bridge=bridge))
    assert "the bridge has ended" in client.get("/ready").json()["problems"][0]
    bridge.start()
    for _ in range(500):
        if bridge.pipeline.counters.last_bucket_us:
            break
        threading.Event().wait(0.01)
    works = {"log_seen": True, "line_parsed": False, "app_joined": False, "name_found": False}
    assert client.get("/ready").json() == {"status": "ready", "problems": [], "setup": works}
    clock.now_us += 70 * S
    response = client.get("/ready")
    assert (response.status_code, response.json()["problems"]) == (
        503,
        ["the bridge took no step for a minute; see the log of tailtrace"],
    )
    bridge.pipeline.problem = "store sqlite:live.db: disk full (7 rows wait)"
    assert client.get("/ready").json()["problems"][0] == "store sqlite:live.db: disk full (7 rows wait)"
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = metrics.text.splitlines()
    assert "tailtrace_lines_total 1.0" in lines
    assert 'tailtrace_lines_refused_total{reason="no-format"} 1.0' in lines
    assert "tailtrace_rows_stored_total 0.0" in lines
    assert not any("streams" in line for line in lines), "there is no page here"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8470", 200),
        ("127.0.0.1:8470", 200),
        ("[::1]:8470", 200),
        ("tailtrace.example.ts.net", 200),
        ("evil.example:8470", 400),
        ("127.0.0.1.evil.example", 400),
        ("", 400),
    ],
)
def test_a_name_that_somebody_led_to_loopback_is_refused(store, clock, host, status):
    from zoneinfo import ZoneInfo

    from tailtrace_api.server.serve import _hosts

    hosts = _hosts(settings.load(hosts=["tailtrace.example.ts.net"]))
    queries = Queries(store, zone=ZoneInfo("UTC"), features={}, store_name="sqlite")
    app = create_app(lambda: store.newest_us(Scope.everybody()), clock=clock, hosts=hosts)
    app.take(analytics_router(queries, clock))

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.get("/analytics/access-logs", headers={"Host": host})

    assert asyncio.run(ask()).status_code == status


@pytest.mark.parametrize(
    ("server", "host", "status"),
    [
        ("fd7a:115c:a1e0::7", "[fd7a:115c:a1e0:0:0:0:0:7]:8470", 200),
        ("fd7a:115c:a1e0::7", "[fd7a:115c:a1e0::8]:8470", 400),
        ("fd7a:115c:a1e0::7", "[fd7a:115c:a1e0::7", 400),
        ("100.64.0.7", "100.64.0.7:8470", 200),
        ("::ffff:100.64.0.7", "100.64.0.7", 200),
        ("100.64.0.7", "100.64.0.8", 400),
        ("100.64.0.7", "a.example", 400),
        ("100.64.0.7", "", 400),
    ],
)
def test_the_address_that_a_request_came_to_is_ours(server, host, status):
    async def answered(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def talk():
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "server": (server, 8470), "headers": [(b"host", host.encode())], "path": "/"}
        await Hosts(answered, ["localhost"])(scope, None, send)
        return sent[0]["status"]

    assert asyncio.run(talk()) == status

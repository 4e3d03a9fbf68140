"""The request list in another order, and where the time of requests went in three parts."""

import time

import pytest
from fastapi.testclient import TestClient

from tailtrace_api.answers import parts
from tailtrace_api.answers.log_order import in_order
from tailtrace_api.queries import panels
from tailtrace_api.server.serve import make_app
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import LogEntry

S = 1_000_000
TRACE = "ab" * 16
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "static")
KIOSK = Identity("100.64.0.9", "tagged", "", "kiosk", "n2", "tag:kiosk", "static")
STRANGER = Identity("203.0.113.9", "unknown")


def entry(key, who=ANA, path="/a", status=200, total=30_000, app=20_000, upstream=25_000, traffic=Traffic.APP):
    return LogEntry(
        key * S, key, who, "shop", path, "GET", path, status, traffic, total, app, 5, "", "", 0, upstream,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # all three lie in one another: client 5 ms, proxy 5 ms, app 20 ms
        ({}, (5_000, 5_000, 20_000)),
        ({"total": 30_000, "upstream": 30_000, "app": 30_000}, (0, 0, 30_000)),
        # nginx has milliseconds, the app microseconds: it may seem to take longer than its upstream
        ({"total": 30_000, "upstream": 20_000, "app": 20_400}, (9_600, 0, 20_400)),
        # the app goes on after its answer
        ({"total": 30_000, "upstream": 25_000, "app": 80_000}, (0, 0, 30_000)),
        ({"total": 30_000, "upstream": 31_000, "app": 20_000}, (0, 10_000, 20_000)),
        ({"app": None}, None),
        ({"upstream": None}, None),
        ({"total": None}, None),
        ({"status": 499}, None),  # nginx's time ends where the client left
    ],
)
def test_the_parts_of_a_request(given, expected):
    assert parts.parts_of(entry(1, **given)) == expected
    if expected is not None:
        assert sum(expected) == given.get("total", 30_000)


def test_the_parts_of_an_endpoint_are_means_of_those_that_have_them():
    found = parts.by_endpoint([
        entry(1, path="/a"),
        entry(2, path="/a", total=50_000, upstream=35_000, app=10_000),
        entry(3, path="/a", app=None),
        entry(4, path="/b", total=10_000, upstream=10_000, app=10_000),
        entry(5, path="/c", upstream=None),
    ])  # fmt: skip
    assert [(one.endpoint, one.requests, one.client_ms, one.proxy_ms, one.app_ms) for one in found] == [
        ("/a", 2, 10.0, 15.0, 15.0),
        ("/b", 1, 0.0, 0.0, 10.0),
    ]


ENTRIES = [
    entry(5, who=STRANGER, path="/b", status=404, total=None),
    entry(4, who=KIOSK, path="/a", total=70_000),
    entry(3, path="/c", status=500, total=10_000),
    entry(2, path="/a", total=70_000),
    entry(1, path="/d", total=40_000),
]


@pytest.mark.parametrize(
    ("by", "descending", "keys"),
    [
        ("duration", True, [4, 2, 1, 3, 5]),  # equal ones stay as they came; one without a time is last
        ("duration", False, [3, 1, 4, 2, 5]),
        ("status", True, [3, 5, 4, 2, 1]),
        ("path", False, [4, 2, 5, 3, 1]),
        ("user", False, [5, 3, 2, 1, 4]),  # 203.0.113.9, ana@example.com, kiosk
        ("time", False, [1, 2, 3, 4, 5]),
    ],
)
def test_an_order(by, descending, keys):
    assert [one.key for one in in_order(ENTRIES, by, is_descending=descending)] == keys


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """The API on five requests of the last minute, one of them of a trace and one a static file."""
    store = SqliteStore(tmp_path_factory.mktemp("log") / "t.db")
    now_us = time.time_ns() // 1000
    store.write([
        Row(
            Access(now_us - (9 - key) * S, key, who.address, "GET", path, 200, total, upstream, True, 10, "shop",
                   TRACE if key == 3 else "", "", "", ""),
            who, path, traffic, app, "",
        )
        for key, who, path, total, upstream, app, traffic in (
            (1, ANA, "/slow", 900_000, 800_000, 700_000, Traffic.APP),
            (2, ANA, "/quick", 5_000, 4_000, 3_000, Traffic.APP),
            (3, KIOSK, "/middle", 50_000, 40_000, 30_000, Traffic.APP),
            (4, KIOSK, "/logo.svg", 990_000, 990_000, 990_000, Traffic.STATIC),
            (5, ANA, "/untimed", None, None, None, Traffic.APP),
        )
    ])  # fmt: skip
    with TestClient(make_app(settings.Settings(hosts=["*"]), store, Routes())) as client:
        yield lambda path: client.get(f"/analytics/panels/{path}")
    store.close()


def test_the_list_is_sorted_on_the_server(api):
    def paths(query):
        found = api(f"requests/sorted?period=24h&{query}").json()
        return [line["path"] for line in found["requests"]], found["looked_at"], found["is_all"]

    assert paths("by=duration&limit=2") == (["/logo.svg", "/slow"], 5, True)
    assert paths("by=duration&without=static&limit=2") == (["/slow", "/middle"], 4, True)
    assert paths("by=duration&order=asc&user=ana@example.com") == (["/quick", "/slow", "/untimed"], 3, True)
    assert paths("by=path&order=asc&slower=50&without=static") == (["/middle", "/slow"], 2, True)
    assert api("requests/sorted?period=24h&by=size").status_code == 422
    assert api("requests/sorted?period=24h").status_code == 422


def test_of_more_than_can_be_sorted_the_newest_are_and_the_answer_says_so(api, monkeypatch):
    monkeypatch.setattr(panels, "SORTED_MAX", 3)
    monkeypatch.setattr(panels, "PAGE_ROWS", 2)
    found = api("requests/sorted?period=24h&by=duration&order=asc").json()
    assert ([line["path"] for line in found["requests"]], found["looked_at"], found["is_all"]) == (
        ["/middle", "/logo.svg", "/untimed"], 3, False,
    )  # fmt: skip


def test_parts_are_of_requests_to_the_app(api):
    found = api("parts?period=24h").json()
    assert [(one["endpoint"], one["client_ms"], one["proxy_ms"], one["app_ms"]) for one in found["endpoints"]] == [
        ("/middle", 10.0, 10.0, 30.0),
        ("/quick", 1.0, 1.0, 3.0),
        ("/slow", 100.0, 100.0, 700.0),
    ]
    assert (found["looked_at"], found["is_all"]) == (4, True)
    assert [one["endpoint"] for one in api("parts?period=24h&device=kiosk").json()["endpoints"]] == ["/middle"]


def test_the_parts_of_one_request_by_its_trace(api):
    (one,) = api(f"parts/{TRACE}").json()["requests"]
    assert (one["client_ms"], one["proxy_ms"], one["app_ms"]) == (10.0, 10.0, 30.0)
    assert api(f"parts/{'cd' * 16}").json() == {"requests": []}


def test_which_files_there_can_be(api):
    import importlib.util

    forms = api("requests/forms").json()
    assert forms == ["json", "csv", *(["parquet"] if importlib.util.find_spec("pyarrow") else [])]
    assert [api(f"requests/file?period=24h&format={form}").status_code for form in forms] == [200] * len(forms)

"""What people asked for in vain: paths that were answered 404, as people meet them, and of how many requests."""

import asyncio

import httpx
import pytest

from tailtrace_api.queries import panels
from tailtrace_api.server.serve import make_app
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.store.sqlite.store import SqliteStore

S = 1_000_000
NOW = 1_759_924_800 * S  # 2025-10-08T12:00:00Z
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "static")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "static")
STRANGER = Identity("203.0.113.9", "external")


def row(key, who, path, status=404, *, traffic=Traffic.APP, service="shop"):
    access = Access(
        NOW - key * S, key, who.address, "GET", path, status, 30, None, True, 10, service, "", "", "curl", ""
    )
    return Row(access, who, "__other__", traffic, None, "")


ROWS = [
    row(1, ANA, "/dashbord"),
    row(2, BEN, "/dashbord"),
    row(3, BEN, "/dashbord"),
    row(4, BEN, "/dashbord", service="wiki"),
    row(5, STRANGER, "/old/prices"),
    row(6, STRANGER, "/tiles/9.png", traffic=Traffic.STATIC),
    row(7, STRANGER, "/wp-login.php", traffic=Traffic.BOT),
    row(8, ANA, "/health", traffic=Traffic.HEALTH),
    row(9, ANA, "/locked", 403),
    row(10, ANA, "/there", 200),
]


@pytest.fixture
def get(tmp_path):
    store = SqliteStore(tmp_path / "t.db")
    store.write(ROWS)
    app = make_app(Settings(), store, Routes())

    def ask(**params):
        async def asking():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                params.setdefault("to", "2025-10-08T12:00:00Z")
                return await client.get("/analytics/panels/missing", params={"period": "1h", **params})

        return asyncio.run(asking()).json()

    yield ask
    store.close()


def told(answer):
    return [(one["path"], one["service"], one["requests"], one["users"]) for one in answer["paths"]]


def test_what_people_missed_most_asked_for_first(get):
    answer = get()
    assert told(answer) == [
        ("/dashbord", "shop", 3, 2),
        ("/dashbord", "wiki", 1, 1),
        ("/old/prices", "shop", 1, 0),  # an address without a name is no user
        ("/tiles/9.png", "shop", 1, 0),
    ]
    assert answer["paths"][0]["last_seen"] == "2025-10-08T11:59:59.000Z"
    assert (answer["requests"], answer["has_more"], answer["truncated"]) == (6, False, {})


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"user": "ana@example.com"}, [("/dashbord", "shop", 1, 1)]),
        ({"service": "wiki"}, [("/dashbord", "wiki", 1, 1)]),
        ({"device": "ben-phone", "status": "404"}, [("/dashbord", "shop", 2, 1), ("/dashbord", "wiki", 1, 1)]),
        ({"status": "4xx", "user": "203.0.113.9"}, [("/old/prices", "shop", 1, 0), ("/tiles/9.png", "shop", 1, 0)]),
        ({"status": "5xx"}, []),
        ({"status": "403"}, []),
        ({"to": "2025-10-08T11:00:00Z"}, []),
    ],
)
def test_it_follows_every_filter(get, filters, found):
    assert told(get(**filters)) == found


def test_of_many_the_newest_are_looked_at_and_that_is_said(get, monkeypatch):
    monkeypatch.setattr(panels, "MISSING_ROWS_MAX", 3)
    answer = get()
    assert told(answer) == [("/dashbord", "shop", 3, 2)]
    assert (answer["requests"], answer["has_more"]) == (3, True)

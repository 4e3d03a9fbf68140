"""What all routes of answers have in common: no parameter is passed over in silence, each end of a window is checked."""

import asyncio

import httpx
import pytest

from tailtrace_api.server.serve import make_app
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.store.sqlite.store import SqliteStore


@pytest.fixture
def app(tmp_path):
    store = SqliteStore(tmp_path / "t.db")
    yield make_app(Settings(), store, Routes())
    store.close()


@pytest.fixture
def get(app):
    def ask(address):
        async def asking():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.get(address)

        return asyncio.run(asking())

    return ask


def test_every_answer_refuses_what_it_does_not_know(app, get):
    answers = (path for path, verbs in app.openapi()["paths"].items() if "get" in verbs)
    paths = sorted(path for path in answers if path.startswith(("/analytics", "/tailnet")))
    assert len(paths) > 20
    for path in paths:
        asked = path.replace("{trace_id}", "ab" * 16).replace("{address}", "100.64.0.7").replace("{device}", "x")
        # `stream` would go on for ever if it were not refused.
        answer = asyncio.run(asyncio.wait_for(asyncio.to_thread(get, f"{asked}?houres=3"), 10))
        assert answer.status_code == 422, path
        told = next(one for one in answer.json()["detail"] if one["type"] == "unknown_parameter")
        assert (told["loc"], told["input"]) == (["query", "houres"], "3")
        assert told["msg"].startswith(f"{path} "), path


@pytest.mark.parametrize("address", ["/health?probe=1", "/ready?probe=1", "/openapi.json?v=2"])
def test_what_gives_no_numbers_does_not_mind(get, address):
    assert get(address).status_code == 200


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("access-logs?houres=3", "Did you mean hours? It takes: hours, user, device, endpoint, method, status, service, limit, cursor, at, from, to."),
        ("access-logs?Hours=3", "Did you mean hours? It takes: hours,"),
        ("access-logs?stat=5xx", "Did you mean status"),
        ("access-logs?xyzzy=1", "parameter. It takes: hours,"),
        ("dashboard-usage?hours=3", "parameter. It takes: days, service, at, from, to."),
        ("active-users?minutes=3", "/analytics/active-users takes no parameters."),
        ("panels/overview?period=7d&perod=1", "Did you mean period? It takes: period, at, from, to, user, device, endpoint, status, service, method."),
        ("widget?days=7&_=1700000000", "/analytics/widget does not take this parameter. It takes: days, service."),
        ("access-logs?=3", "parameter. It takes:"),
    ],
)  # fmt: skip
def test_the_near_ones_are_named(get, asked, said):
    answer = get(f"/analytics/{asked}")
    assert answer.status_code == 422
    assert said in answer.json()["detail"][0]["msg"]


def test_many_at_once_are_told_of_and_not_all(get):
    answer = get("/analytics/access-logs?" + "&".join(f"x{number}=1" for number in range(50)))
    assert [one["loc"][1] for one in answer.json()["detail"]] == [f"x{number}" for number in range(10)]

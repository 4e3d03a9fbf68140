"""What broke, over HTTP, in the terminal and for an assistant: states, order, whose names, and notes of deployments."""

import asyncio
import json
from datetime import UTC

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from tailtrace_api.answers.errors import state_of, what_broke
from tailtrace_api.answers.requests import iso
from tailtrace_api.commands.cli import app
from tailtrace_api.http.broken import error_router
from tailtrace_api.mcp_server.source import LocalSource
from tailtrace_api.mcp_server.tools import TOOLS, Toolbox
from tailtrace_api.mcp_server.words import Words
from tailtrace_api.queries.errors import Errors
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.requests import Queries
from tailtrace_bridge.core.records import Access, Failure, Identity, Marker, Row, Traffic
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import HOUR_US, ErrorGroup, Window, back
from tailtrace_bridge.wiring.parts import clock_us

S = 1_000_000
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "localapi", "u2")
DAY = Window(100, 200)


def group(first=0, last=150, resolved=0, back=0, fingerprint="a", people=1, requests=1):
    return ErrorGroup(
        fingerprint, "KeyError", "total", "", first, last, resolved, back, requests, {}, {}, people, 1, {}, {}, {}, []
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (group(first=120), "new"),
        (group(), "ongoing"),
        (group(back=120), "back"),
        (group(back=50), "ongoing"),
        (group(resolved=160), "resolved"),
        (group(resolved=140, back=150), "back"),
        (group(first=120, back=130), "back"),
    ],
)
def test_the_state_of_a_group(one, state):
    assert state_of(one, DAY) == state


def test_new_ones_come_first_then_those_that_hit_most():
    groups = [
        group(fingerprint="mended", resolved=160), group(fingerprint="few"), group(fingerprint="new", first=120),
        group(fingerprint="many", people=9), group(fingerprint="back", back=120),
    ]  # fmt: skip
    assert [one.id for one in what_broke(groups, [], DAY).groups] == ["new", "back", "many", "few", "mended"]


@pytest.fixture
def store(own_folder):
    """Two failures of one group, Ana's and Ben's; one of another, Ben's; and a deployment."""
    made = SqliteStore(own_folder / "t.db")
    now_us = clock_us()
    for key, who, fingerprint in ((1, ANA, "a" * 16), (2, BEN, "a" * 16), (3, BEN, "b" * 16)):
        at_us = now_us - HOUR_US + key * S
        access = Access(
            at_us, key, who.address, "GET", "/a", 500, 5_000, None, True, 10, "shop", f"{key:032x}", "", "curl", ""
        )
        made.write([Row(access, who, "/a", Traffic.APP, None, "KeyError")])
        frames = "shop/app.py main\nshop/orders.py total"
        made.add_failures([Failure(at_us, key, fingerprint, "KeyError", "shop/orders.py total", frames, "1.2")])
    made.add_markers([Marker(now_us - 2 * HOUR_US, "version", "shop", "1.2")])
    yield made
    made.close()


def test_the_command(store):
    said = CliRunner().invoke(app, ["errors", "--store", "sqlite:t.db"])
    assert said.exit_code == 0, said.output
    for words in (
        "3 failed requests in 2 groups", "▲ ", "shop 1.2", "new      KeyError  shop/orders.py total",
        "2 requests, 2 people, 2 devices", "hit: ana@example.com (1), ben@example.com (1)", "in shop/orders.py total",
        "versions: 1.2 (2)", "id aaaaaaaaaaaaaaaa",
    ):  # fmt: skip
        assert words in said.stdout, words
    before = ["errors", "--at", iso(clock_us() - 2 * HOUR_US), "--store", "sqlite:t.db"]
    assert "0 failed requests in 0 groups" in CliRunner().invoke(app, before).stdout, "they came later"
    assert CliRunner().invoke(app, ["errors", "--resolve", "a" * 16, "--store", "sqlite:t.db"]).exit_code == 0
    found = json.loads(CliRunner().invoke(app, ["errors", "--json", "--store", "sqlite:t.db"]).stdout)
    assert [(one["id"][0], one["state"]) for one in found["groups"]] == [("b", "new"), ("a", "resolved")]
    assert CliRunner().invoke(app, ["errors", "--resolve", "x", "--store", "sqlite:t.db"]).exit_code == 2


def test_a_note_of_a_deployment(store):
    assert CliRunner().invoke(app, ["mark", "shop 1.3\x1b[31m", "--store", "sqlite:t.db"]).exit_code == 0
    markers = Errors(store).what_broke(back(clock_us(), 24)).markers
    assert [one.kind for one in markers] == ["version", "note"]
    assert "\x1b" not in markers[1].text
    assert CliRunner().invoke(app, ["mark", " ", "--store", "sqlite:t.db"]).exit_code == 2


def test_an_assistant_is_told(store):
    queries = Queries(store, zone=UTC, features={}, store_name="sqlite")
    source = LocalSource(Insights(store, queries, features={}), None, clock_us, None, Errors(store))
    answer = Toolbox(TOOLS, source, Words("en")).call("what_broke", {})
    said = answer.text.splitlines()
    assert said[0] == "3 failed requests in 2 groups in the last 24 h."
    assert said[1].endswith("shop 1.2 (deployment or note)")
    assert said[2].startswith("- new: KeyError in shop/orders.py total: 2 requests, 2 people (ana@example.com, ben")
    assert said[2].endswith(f"versions 1.2, trace {2:032x}")
    of_ana = Toolbox(TOOLS, source, Words("es")).call("what_broke", {"limit": 1}, ANA.user)
    assert "ben@" not in of_ana.text
    assert "- nuevo: KeyError" in of_ana.text


@pytest.mark.parametrize(
    ("status", "route", "said"),
    [
        (499, "/slow", "failed 499 /slow"),
        (502, "/slow", "failed 502 /slow"),
        (502, "__other__", "failed 502 other addresses"),
    ],
)
def test_an_assistant_is_told_of_what_has_no_class_by_its_status(own_folder, status, route, said):
    store, at_us = SqliteStore(own_folder / "t.db"), clock_us() - HOUR_US
    access = Access(at_us, 1, ANA.address, "GET", "/slow", status, 5_000, None, True, 10, "shop", "", "", "curl", "")
    store.write([Row(access, ANA, route, Traffic.APP, None, "")])
    store.add_failures([Failure(at_us, 1, "c" * 16, "", f"{status} {route}", "", "")])
    queries = Queries(store, zone=UTC, features={}, store_name="sqlite")
    source = LocalSource(Insights(store, queries, features={}), None, clock_us, None, Errors(store))
    lines = Toolbox(TOOLS, source, Words("en")).call("what_broke", {}).text.splitlines()
    store.close()
    assert lines[1].startswith(f"- new: {said}: 1 request, 1 person (ana@example.com)")
    others = " (0 of them answered 5xx)" if status < 500 else ""
    assert lines[0] == f"1 failed request{others} in 1 group in the last 24 h."
    assert said.removeprefix("failed ") in CliRunner().invoke(app, ["errors", "--store", "sqlite:t.db"]).stdout, (
        "the terminal calls it the same"
    )


def test_over_http_and_without_groups(store):
    made = FastAPI()
    made.include_router(error_router(Errors(store), clock_us))

    async def ask(path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://test") as client:
            return await client.get(path)

    found = asyncio.run(ask("/analytics/errors")).json()
    assert [(one["requests"], one["people"]) for one in found["groups"]] == [(2, 2), (1, 1)]
    assert sum(one["requests"] for one in found["groups"][0]["over_time"]) == 2
    assert asyncio.run(ask("/analytics/errors?hours=0")).status_code == 422
    assert asyncio.run(ask("/analytics/panels/errors?period=24h")).json()["failures"] == 3
    assert asyncio.run(ask("/analytics/panels/errors?period=1w")).status_code == 422


def test_what_is_in_no_group_is_no_silence(own_folder):
    """A store from before there were groups, or requests of the last seconds: 5xx all the same."""
    store, at_us = SqliteStore(own_folder / "t.db"), clock_us() - HOUR_US
    for key in (1, 2):
        access = Access(
            at_us + key, key, ANA.address, "GET", "/a", 502, 5_000, None, True, 10, "shop", "", "", "curl", ""
        )
        store.write([Row(access, ANA, "/a", Traffic.APP, None, "")])
    hours = back(clock_us(), 24)
    assert Errors(store).what_broke(hours).ungrouped == 2
    assert Errors(store).what_broke(hours, only=ANA.user).ungrouped == 0
    queries = Queries(store, zone=UTC, features={}, store_name="sqlite")
    source = LocalSource(Insights(store, queries, features={}), None, clock_us, None, Errors(store))
    said = [Toolbox(TOOLS, source, Words(lang)).call("what_broke", {}).text for lang in ("en", "es")]
    assert all("5xx" in one and ": 2." in one for one in said)
    assert not any("Nothing failed" in one or "Nada falló" in one for one in said)
    assert "2 more answers of 5xx" in CliRunner().invoke(app, ["errors", "--store", "sqlite:t.db"]).stdout
    store.add_failures([Failure(at_us + 1, 1, "c" * 16, "", "502 /a", "", "")])
    assert Errors(store).what_broke(hours).ungrouped == 1
    store.add_failures([Failure(at_us + 2, 2, "c" * 16, "", "502 /a", "", "")])
    assert Errors(store).what_broke(hours).ungrouped == 0
    store.close()

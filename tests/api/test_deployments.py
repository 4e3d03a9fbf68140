"""What a deployment changed: which times are compared, the numbers of both stores' verbs, and where they are shown."""

import json
from datetime import UTC

import pytest
from typer.testing import CliRunner

from tailtrace_api.answers.deployments import Deployment, Period, Side, deployments, sides
from tailtrace_api.commands.cli import app
from tailtrace_api.mcp_server.source import LocalSource
from tailtrace_api.mcp_server.tools import TOOLS, Toolbox
from tailtrace_api.mcp_server.words import Words
from tailtrace_api.queries.errors import Errors
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.requests import Queries
from tailtrace_bridge.core.records import Access, Failure, Identity, Marker, Row, Traffic
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, HOUR_US, Recent, Window, back

S, MINUTE = 1_000_000, 60_000_000
NOON = 20_000 * DAY_US + 12 * HOUR_US
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
TODAY = Window(NOON - 12 * HOUR_US, NOON)


def minutes(start, end):
    return Period(Window(NOON + start * MINUTE, NOON + end * MINUTE), is_hour=False)


@pytest.mark.parametrize(
    ("at", "others", "expected"),
    [
        (-90, [], (minutes(-150, -90), minutes(-90, -30))),
        (-90.5, [], (minutes(-150, -91), minutes(-90, -31))),
        (-20, [], (minutes(-80, -20), minutes(-20, 0))),
        (-20, [-50, -5], (minutes(-50, -20), minutes(-20, -5))),
        (-0.5, [], (minutes(-60, -1), minutes(0, 0))),
    ],
    ids=["an hour each", "not of the minute itself", "until now", "between its neighbours", "just now"],
)
def test_which_times_are_compared(at, others, expected):
    times = [int(NOON + one * MINUTE) for one in sorted([at, *others])]
    assert sides(int(NOON + at * MINUTE), times, TODAY) == expected


def test_of_an_older_one_the_whole_hours_beside_it():
    week, at_us = back(NOON, 168), NOON - 50 * HOUR_US + 20 * MINUTE
    assert sides(at_us, [at_us], week) == (
        Period(Window(NOON - 51 * HOUR_US, NOON - 50 * HOUR_US), is_hour=True),
        Period(Window(NOON - 49 * HOUR_US, NOON - 48 * HOUR_US), is_hour=True),
    )


def test_a_service_that_nginx_does_not_know_is_compared_by_all():
    asked = []

    def measure(_period, service):
        asked.append(service)
        return Recent(0 if service else 5, 0, 0, 0, None)

    (one,) = deployments([Marker(NOON - HOUR_US, "version", "shop-api", "2")], [], TODAY, measure)
    assert (asked, one.of, one.after.requests) == (["shop-api", "shop-api", "", ""], None, 5)


@pytest.fixture
def store(own_folder):
    """Half an hour of good requests, a deployment, half an hour in which every second one fails and all are slow."""
    made = SqliteStore(own_folder / "t.db", lambda: NOON)
    rows = []
    for key in range(60):
        is_after = key >= 30
        at_us = NOON - HOUR_US + key * MINUTE
        status, ms = (500 if is_after and key % 2 else 200), (400 if is_after else 20)
        access = Access(at_us, key, ANA.address, "GET", "/a", status, ms * 1000, None, True, 10, "shop", "", "", "", "")
        rows.append(Row(access, ANA, "/a", Traffic.APP, None, ""))
    made.write(rows)
    made.add_failures([Failure(NOON - HOUR_US + 31 * MINUTE, 31, "f" * 16, "", "500 /a", "", "")])
    made.add_markers([Marker(NOON - 30 * MINUTE, "version", "shop", "1.3")])
    yield made
    made.close()


def test_traffic_errors_and_p95_before_and_after(store):
    (one,) = Errors(store).what_broke(TODAY).deployments
    p95 = one.before.p95_ms, one.after.p95_ms
    assert p95 == (pytest.approx(20, rel=0.02), pytest.approx(400, rel=0.02))
    assert one == Deployment(
        time="2024-10-04T11:30:00.000Z", kind="version", service="shop", text="1.3", of="shop",
        before=Side(minutes=60, requests=30, requests_per_minute=0.5, error_rate=0, p95_ms=p95[0]),
        after=Side(minutes=30, requests=30, requests_per_minute=1, error_rate=0.5, p95_ms=p95[1]),
        new_errors=1,
    )  # fmt: skip


def test_a_member_is_told_when_and_not_the_numbers_of_all(store):
    answer = Errors(store).what_broke(TODAY, only=ANA.user)
    assert (answer.deployments, [one.text for one in answer.markers]) == ((), ["1.3"])
    assert Errors(store).markers(TODAY).markers == answer.markers


def test_of_an_older_one_by_the_hour(store):
    store.add_markers([Marker(NOON - HOUR_US - 1, "note", "", "an hour before")])
    one = Errors(store).what_broke(Window(NOON - DAY_US, NOON + DAY_US)).deployments[0]
    assert (one.before.requests, one.after.requests, one.after.error_rate) == (0, 60, 0.25)


def test_it_is_told_in_the_terminal_and_to_an_assistant(store):
    window = ["--at", "2024-10-04T12:00:00Z", "--hours", "12", "--store", "sqlite:t.db"]
    told = "requests a minute 0.5 → 1, errors 0% → 50%, p95 "
    said = CliRunner().invoke(app, ["report", *window]).stdout
    assert "▲ 2024-10-04 11:30 shop 1.3" in said
    assert told in said
    assert "Despliegues" in CliRunner().invoke(app, ["report", *window, "--lang", "es"]).stdout
    assert "deployments" not in json.loads(CliRunner().invoke(app, ["report", *window, "--json"]).stdout)
    queries = Queries(store, zone=UTC, features={}, store_name="sqlite")
    source = LocalSource(Insights(store, queries, features={}), None, lambda: NOON, None, Errors(store))
    lines = Toolbox(TOOLS, source, Words("en")).call("what_broke", {}).text.splitlines()
    assert "shop 1.3 (deployment or note): 0.5 → 1 requests a minute, errors 0% → 50%, p95 20ms → " in lines[1]
    assert lines[1].endswith("new errors 1")


def test_a_member_is_told_that_the_groups_are_of_everybody(store):
    queries = Queries(store, zone=UTC, features={}, store_name="sqlite")
    source = LocalSource(Insights(store, queries, features={}), None, lambda: NOON, None, Errors(store))
    said = "These groups are of everybody; the names and requests in them are yours alone."
    box = Toolbox(TOOLS, source, Words("en"))
    own, everybody = box.call("what_broke", {}, "ben@example.com"), box.call("what_broke", {})
    assert (own.structured["note"], own.text.splitlines()[1]) == (said, said)
    assert said not in everybody.text
    assert "note" not in everybody.structured

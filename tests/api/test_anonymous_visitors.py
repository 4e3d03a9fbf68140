"""More strangers than an answer lists: its list and its sums are what they would be if all were looked at."""

import random
from datetime import UTC

import pytest

from tailtrace_api.answers import panels
from tailtrace_api.answers import requests as answers
from tailtrace_api.answers.record import LISTED_MAX
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.panels import Panels
from tailtrace_api.queries.requests import Queries
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, HOUR_US, By, Filters, Window, back

END = 20_368 * DAY_US + 12 * HOUR_US
MONTH = Window(END - 30 * DAY_US, END)
STRANGERS = LISTED_MAX + 250
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
ALL = Scope.everybody()


def row(time_us, key, who, traffic, status):
    access = Access(
        time_us, key, who.address, "GET", f"/{key % 3}", status, 5_000, None, True, 10, "", "", "", "curl", ""
    )
    return Row(access, who, f"/{key % 3}", traffic, None, "")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    dice = random.Random(4)
    people = [Identity(f"2001:db8::{n:x}", "external") for n in range(STRANGERS)]
    people += [Identity(f"2001:db8::{n:x}", "unknown", reason="no-whois") for n in range(20)]
    rows = []
    for who in [*people, ANA]:
        for _ in range(1 + int(dice.expovariate(1))):
            ago_us = dice.randrange(1, 5 * 60_000_000 if dice.random() < 0.95 else 30 * DAY_US)
            traffic = dice.choice([Traffic.APP, Traffic.APP, Traffic.APP, Traffic.STATIC])
            rows.append(row(END - ago_us, len(rows), who, traffic, dice.choice([200, 500])))
    made = SqliteStore(tmp_path_factory.mktemp("strangers") / "t.db", distinct_max=10_000)
    made.write(rows)
    yield made
    made.close()


@pytest.fixture(scope="module")
def queries(store):
    return Queries(store, zone=UTC, features={}, store_name="sqlite")


@pytest.fixture(scope="module")
def everybody(store):
    """Return the sessions of all, and their visits."""
    return answers.sessions(store.activity(ALL, MONTH)), store.visits(ALL, MONTH)


def test_dashboard_usage(store, queries, everybody):
    found = queries.dashboard_usage(back(END, 30 * 24))
    people = answers.user_sessions(*everybody, {})
    assert len(people) > LISTED_MAX
    assert list(found.user_sessions) == people[:LISTED_MAX]
    assert found.truncated == {"user_sessions": len(people)}
    usages = answers.usage_only(store.usage(ALL, MONTH, Filters(), By.IDENTITY))
    assert found.summary.unique_addresses == len({one.identity.address for one in usages})
    assert found.summary.total_requests == sum(one.requests for one in usages)
    assert found.summary.total_sessions == answers.session_count(everybody[0])
    assert list(found.api_calls_by_endpoint) == answers.api_calls_by_endpoint(everybody[1])


def test_access_logs(store, queries):
    found = queries.access_logs(back(END, 30 * 24), filters=Filters(), limit=1).summary
    usages = store.usage(ALL, MONTH, Filters(), By.IDENTITY)
    assert found.unique_addresses == len({one.identity.address for one in usages})
    assert (found.unique_users, found.unique_devices) == (1, 1)


@pytest.mark.parametrize("filters", [Filters(), Filters(status="5xx"), Filters(endpoint="/1")])
def test_people(store, queries, everybody, filters):
    asks = Panels(store, queries, Insights(store, queries, features={}), UTC, {})
    found = asks.people(back(END, 30 * 24), filters)
    usages = store.usage(ALL, MONTH, filters, By.IDENTITY)
    sessions = panels.sessions_of(everybody[0], usages, filters)
    people = panels.people(sessions, usages, everybody[1], {})
    assert list(found.users) == people[:LISTED_MAX]
    assert found.truncated.get("users", LISTED_MAX) == max(len(people), LISTED_MAX)


def test_overview(store, queries, everybody):
    asks = Panels(store, queries, Insights(store, queries, features={}), UTC, {})
    found = asks.overview(back(END, 30 * 24), Filters())
    usages = store.usage(ALL, MONTH, Filters(), By.IDENTITY)
    now = panels.Counted(usages, answers.session_count(everybody[0]))
    assert {one.metric: one.now for one in found.totals} == {
        one.metric: one.now for one in panels.totals(now, panels.Counted([], 0), is_covered=True)
    }
    assert found.named == panels.named(now)
    assert len(asks.choices(back(END, 30 * 24)).users) == panels.CHOICES_MAX


def test_who_is_here(store, queries):
    insights = Insights(store, queries, features={})
    found = insights.active_users(END)
    activity = store.activity(ALL, Window(END - 5 * 60_000_000, END))
    assert found.total_active == len({answers.visitor(one.identity) for one in activity}) > LISTED_MAX
    latest = sorted({(-one.last_us, one.identity.address) for one in activity})
    shown = [(one.last_seen, one.address) for one in found.active_users]
    assert shown == [(answers.iso(-us), address) for us, address in latest][:LISTED_MAX]
    assert insights.latest(END).active == found.total_active


def test_usage_stats(store, queries, everybody):
    found = Insights(store, queries, features={}).usage_stats(END, days=30)
    sessions, visits = everybody
    assert found.total_sessions == answers.session_count(sessions)
    assert found.total_requests == sum(one.requests for one in visits)
    spent_min = sum(one.spent_us for one in sessions) / 60e6 / found.total_sessions
    assert found.avg_session_duration_min == round(spent_min, 1)

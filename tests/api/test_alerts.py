"""Alerts as an answer: HTTP, the command line, MCP, and `/metrics`."""

import asyncio
import json
from dataclasses import asdict

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from tailtrace_api.access.guard import AccessCounters
from tailtrace_api.commands.cli import app as cli
from tailtrace_api.http import metrics
from tailtrace_api.http.alerts import alert_router
from tailtrace_api.mcp_server.performance import system_performance
from tailtrace_api.mcp_server.tool import Call
from tailtrace_api.mcp_server.words import Words
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.requests import Queries
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import AlertEvent
from tailtrace_bridge.wiring import bridge as build

NOW = 1_759_924_800_000_000  # 2025-10-08T12:00:00Z
EVENTS = [
    AlertEvent(NOW, "orders fail", "error_rate", "started", "", 0.25, "Error rate 25%"),
    AlertEvent(NOW + 1_000_000, "slow", "p95", "started", "", 1500.0, "p95 1.50 s"),
    AlertEvent(NOW + 2_000_000, "who", "new_device", "seen", "[red]x[/red]\x1b[2J", None, "New device: [red]x[/red]"),
    AlertEvent(NOW + 3_000_000, "slow", "p95", "ended", "", 500.0, "p95 500 ms"),
]
RULES = [AlertRule(kind="p95", name="slow"), AlertRule(kind="new_device", name="who")]


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    made.add_alert_events(EVENTS)
    yield made
    made.close()


def get(store, **params):
    app = FastAPI()
    app.include_router(alert_router(store, RULES))

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get("/analytics/alerts", params=params)

    return asyncio.run(ask())


def test_what_fires_by_whose_rules_and_what_was_told(store):
    answer = get(store).json()
    assert answer["active"] == [
        {
            "time": "2025-10-08T12:00:00.000Z", "rule": "orders fail", "kind": "error_rate", "what": "started",
            "subject": None, "value": 0.25, "text": "Error rate 25%",
        }
    ]  # fmt: skip
    assert answer["rules"][0] == {
        "name": "slow", "kind": "p95", "window_s": 600, "threshold": 1000.0, "clear": 800.0, "for_s": 120,
        "min_requests": 20, "endpoint": None, "service": None, "quiet": None, "firing": False, "since": None,
        "last_event": "2025-10-08T12:00:03.000Z",
    }  # fmt: skip
    assert [(one["rule"], one["what"]) for one in answer["events"]] == [
        ("slow", "ended"),
        ("who", "seen"),
        ("slow", "started"),
        ("orders fail", "started"),
    ]
    assert answer["truncated"] is False
    assert [len(get(store, limit=1).json()["events"]), get(store, limit=1).json()["truncated"]] == [1, True]
    assert get(store, limit=501).status_code == 422


def test_texts_in_the_language_of_the_reader(store):
    text = "p95 1,50 s en los últimos 10 min (límite 800 ms), de 64 peticiones. Ruta otras direcciones."
    store.add_alert_events([AlertEvent(NOW + 9_000_000, "slow", "p95", "started", "", 1500.0, text)])
    english = "p95 1.50 s in the last 10 min (limit 800 ms), of 64 requests. Endpoint other addresses."
    assert [get(store, **lang).json()["events"][0]["text"] for lang in ({}, {"lang": "es"}, {"lang": "en"})] == [
        text,
        text,
        english,
    ]
    assert get(store, lang="en").json()["active"][0]["text"] == english
    assert get(store, lang="fr").status_code == 422


def test_the_performance_has_what_fires_and_nobody_else_s_devices(store):
    insights = Insights(
        store, Queries(store, zone=settings.Settings().zone, features={}, store_name="sqlite"), features={}
    )
    told = insights.system_performance(NOW).alerts
    assert [one.rule for one in told.active] == ["orders fail"]
    assert [one.rule for one in told.recent] == ["slow", "who", "slow", "orders fail"]
    own = insights.system_performance(NOW, user="ana@example.com").alerts
    assert [one.rule for one in own.recent] == ["slow", "slow", "orders fail"]
    shown = system_performance(insights.system_performance(NOW), Call({}, Words("en"), 10))
    assert asdict(shown.structured.alerts) == {
        "active": ("orders fail since 2025-10-08T12:00:00.000Z: Error rate 25%",),
        "recent": (
            "2025-10-08T12:00:03.000Z slow ended: p95 500 ms",
            "2025-10-08T12:00:02.000Z who seen: New device: [red]x[/red]",
            "2025-10-08T12:00:01.000Z slow started: p95 1.50 s",
            "2025-10-08T12:00:00.000Z orders fail started: Error rate 25%",
        ),
    }
    assert "Alerts that fire: orders fail since 2025-10-08T12:00:00.000Z: Error rate 25%" in shown.lines


def test_a_store_that_fails_has_no_alerts_to_show(store, monkeypatch):
    insights = Insights(
        store, Queries(store, zone=settings.Settings().zone, features={}, store_name="sqlite"), features={}
    )

    def fail(*_):
        raise StoreError("store: gone")

    monkeypatch.setattr(store, "alert_events", fail)
    answer = insights.system_performance(NOW)
    assert (answer.alerts, answer.store.ok) == (None, False)
    assert system_performance(answer, Call({}, Words("en"), 10)).structured.alerts is None


@pytest.fixture
def run(tmp_path, monkeypatch, store):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAILTRACE_STORE", f"sqlite:{tmp_path / 't.db'}")
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(cli, ["alert", *words])


def test_the_command_shows_rules_state_and_history(run, tmp_path):
    (tmp_path / "tailtrace.toml").write_text('[[alerts]]\nkind = "error_rate"\nname = "orders fail"\n')
    said = run()
    assert said.exit_code == 0
    assert "fires since 2025-10-08T12:00:00.000Z" in said.output
    assert "New device: [red]x[/red]" in said.output, "no markup of a stranger is believed"
    assert "Sent to: nobody (TAILTRACE_ALERT_URLS is not set)" in said.output
    answer = json.loads(run("--json").stdout)
    assert answer["rules"][0]["firing"] is True
    assert (answer["destinations"], answer["messages_waiting"]) == ([], None)


def test_the_command_without_rules_or_without_a_store(run, tmp_path):
    assert "No rules: add [[alerts]] tables to tailtrace.toml" in run().output
    said = run("--store", f"sqlite:{tmp_path / 'none.db'}")
    assert said.exit_code == 1
    assert not (tmp_path / "none.db").exists()


def test_the_test_says_of_each_destination_whether_it_went(run, monkeypatch):
    assert run("--test").exit_code == 2
    monkeypatch.setenv("TAILTRACE_ALERT_URLS", "nosuch://sekret/1 tgram://sekret")
    said = run("--test", "--json")
    assert said.exit_code == 1
    sent = json.loads(said.stdout)["destinations"]
    assert [(one["destination"], one["sent"]) for one in sent] == [("1:nosuch", False), ("2:tgram", False)]
    assert "sekret" not in said.output


def test_metrics_and_a_bridge_that_does_not_judge(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = {
        "store": f"sqlite:{tmp_path / 'b.db'}", "log": str(tmp_path / "x.log"), "alerts": [{"kind": "store_down"}],
        "tailscale_socket": tmp_path / "none.sock",
    }  # fmt: skip
    bridge = build.make_bridge(settings.load(**flags))
    bridge.alerts.watch.round()
    text = metrics.render(bridge, {}, AccessCounters()).decode()
    bridge.stop()
    assert "tailtrace_alert_rounds_total 1.0" in text
    assert 'tailtrace_alert_messages_total{result="sent"} 0.0' in text
    assert "tailtrace_alerts_firing 0.0" in text
    other = build.make_bridge(settings.load(**flags, alerts_here=False))
    assert other.alerts is None
    assert b"tailtrace_alert" not in metrics.render(other, {}, AccessCounters())
    other.stop()

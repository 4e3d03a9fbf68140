"""What the API, the tools and the commands answered before its answers had types, byte by byte and key by key.

`samples/bodies.json.gz` has them: of the demo's people over twenty days, asked by an admin and by a member.
`RENEW_SAMPLES=1` writes it anew, for who means a change of an answer; the diff of this test says which.
"""

import asyncio
import gzip
import io
import itertools
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from tailtrace_api.access.auth_methods import tokens_path
from tailtrace_api.access.tokens import Tokens
from tailtrace_api.answers.alerts import alerts
from tailtrace_api.demo.history import history
from tailtrace_api.demo.people import CLIMATE, DASHBOARD, FORECAST, PEOPLE
from tailtrace_api.mcp_server.source import LocalSource
from tailtrace_api.mcp_server.tools import TOOLS, Toolbox
from tailtrace_api.mcp_server.words import Words
from tailtrace_api.monthly.month import Month
from tailtrace_api.monthly.report import as_json as month_as_json
from tailtrace_api.monthly.report import read_numbers
from tailtrace_api.queries import make
from tailtrace_api.queries import requests as requests_module
from tailtrace_api.server import serve
from tailtrace_api.terminal.report import print_report
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import AlertEvent
from tailtrace_bridge.wiring import parts

SAMPLES = Path(__file__).parents[1] / "samples" / "bodies.json.gz"
S = 1_000_000
DAY = 86_400 * S
NOW = 1_759_924_800 * S  # 2025-10-08T12:00:00Z
ANA = "ana@factory.example"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TOML = """
features = {"/dashboard/complete" = "Dashboard", "card=prices" = "Prices of today"}
timezone = "Europe/Madrid"
[[alerts]]
kind = "error_rate"
threshold = 0.02
[[alerts]]
kind = "new_user"
name = "somebody new"
"""
EVENTS = [
    AlertEvent(NOW - 9 * DAY, "error_rate", "error_rate", "started", "", 0.08, "5xx are 8% of 50 requests"),
    AlertEvent(NOW - 8 * DAY, "error_rate", "error_rate", "ended", "", 0.01, "5xx are 1% of 500 requests"),
    AlertEvent(NOW - 2 * DAY, "somebody new", "new_user", "seen", "kenji@factory.example", None, "kenji is new"),
    AlertEvent(NOW - 3600 * S, "gone rule", "no_data", "started", "", 0.0, "nothing came"),
]
FILTERS = (f"user={ANA}", "user=127.0.0.99", "device=ana-phone", f"endpoint={FORECAST}", "status=5xx", "status=404")
PANELS = [f"/analytics/panels/{panel}?period={period}" for panel in ("overview", "people", "endpoints", "requests") for period in ("24h", "7d")]  # fmt: skip
PATHS = [
    "/health", "/ready", "/analytics/access-logs?limit=3", "/analytics/access-logs?limit=2&hours=168&method=get&status=2xx",
    *(f"/analytics/access-logs?limit=2&hours=168&{one}" for one in FILTERS),
    "/analytics/access-logs?limit=1&at=2025-10-07T12:00:00", "/analytics/access-logs?at=2025-01-01",
    "/analytics/dashboard-usage", "/analytics/dashboard-usage?days=1", "/analytics/dashboard-usage?at=2025-01-01",
    "/analytics/system-health-history?days=1", "/analytics/system-health-history?days=7",
    "/analytics/system-health-history?at=2025-01-01",
    "/analytics/active-users", "/analytics/usage-stats", "/analytics/usage-stats?days=30", "/analytics/usage-stats?at=2025-01-01",
    "/analytics/system-performance", "/analytics/system-performance?at=2025-10-02T00:00:00Z", "/analytics/system-performance?at=2025-01-01",
    "/analytics/compare", "/analytics/compare?days=1", "/analytics/compare?at=2025-01-01",
    "/analytics/unused-endpoints", "/analytics/unused-endpoints?days=1",
    f"/analytics/request/{TRACE}", f"/analytics/request/{TRACE}?hours=1", f"/analytics/request/{'0' * 32}?at=2025-10-08T11:00:00",
    *(path + more for path in PANELS for more in ("", "&limit=2")[-1 if "requests" in path else 0 :][:1]),
    *(f"/analytics/panels/{panel}?period=24h&{one}" for panel in ("overview", "people", "endpoints") for one in FILTERS),
    *(f"/analytics/panels/requests?period=7d&limit=1&{one}" for one in FILTERS),
    "/analytics/panels/choices?period=24h", "/analytics/panels/choices?period=7d",
    "/analytics/panels/overview?period=30d", "/analytics/panels/overview?period=24h&at=2025-01-01",
    "/analytics/panels/people?period=24h&at=2025-01-01", "/analytics/panels/endpoints?period=24h&at=2025-01-01",
    "/analytics/panels/health?period=24h", "/analytics/panels/health?period=30d", f"/analytics/panels/request/{TRACE}",
    "/analytics/widget", "/analytics/widget?days=30", "/analytics/variants?card=prices",
    "/analytics/variants?card=shape&goal=/dashboard/complete", "/analytics/variants?card=none",
    "/analytics/alerts", "/analytics/alerts?limit=1",
    "/tailnet/devices", "/tailnet/devices/ana-laptop", "/tailnet/devices/nobody", "/tailnet/status",
    "/tailnet/whois/100.64.0.7", "/tailnet/whois/100.64.0.99", "/tailnet/whois/x",
    "/analytics/usage-stats?dayes=3", "/analytics/panels/overview",
]  # fmt: skip
CALLS = [
    ("get_active_users", {}), ("get_active_users", {"limit": 1}), ("get_usage_stats", {}), ("get_usage_stats", {"days": 1, "limit": 2}),
    ("get_usage_stats", {"at": "2025-01-01"}), ("get_system_performance", {}), ("get_system_performance", {"at": "2025-01-01T00:00:00Z"}),
    ("list_requests", {}), ("list_requests", {"hours": 168, "status": "5xx", "limit": 2}), ("list_requests", {"user": ANA, "endpoint": CLIMATE}),
    ("list_requests", {"at": "2025-01-01"}), ("explain_request", {"trace_id": TRACE}), ("explain_request", {"trace_id": "0" * 32}),
    ("compare_periods", {}), ("compare_periods", {"days": 1, "limit": 1}), ("compare_periods", {"at": "2025-01-01"}),
    ("list_unused_endpoints", {}), ("list_unused_endpoints", {"days": 1, "limit": 1}), ("tailscale_list_devices", {}),
    ("tailscale_list_devices", {"limit": 1}), ("tailscale_get_device", {"device": "ana-laptop"}), ("tailscale_get_device", {"device": "x"}),
    ("tailscale_get_status", {}), ("tailscale_who_is", {"address": "100.64.0.9"}), ("tailscale_who_is", {"address": "100.64.0.99"}),
]  # fmt: skip


def rows():
    """The demo's people; a card of two variants, seen by twenty; the traffic that is no usage; a request with a trace."""
    yield from history(PEOPLE, NOW, 20)

    def one(key, ago_us, who, route, status=200, traffic=Traffic.APP, app_us=None, trace="", error="", method="GET"):
        access = Access(
            NOW - ago_us, key, who.address, method, route.partition("#")[0], status, 45_000, app_us, True, 100,
            "factory.example", trace, trace[:16], "curl", "",
        )  # fmt: skip
        return Row(access, who, route, traffic, app_us, error, NOW - ago_us + S)

    for number in range(24):
        who = Identity(
            f"100.64.1.{number}", "user", f"u{number}@factory.example", f"d{number}", f"m{number}", "", "static"
        )
        variant = "AB"[number % 2]
        yield one(
            10_000 + number, 5 * DAY + number * S, who, f"/_tailtrace/view?card=shape#{variant}", 204, Traffic.CARD
        )
        if number % 3 == 0:
            yield one(20_000 + number, 4 * DAY + number * S, who, DASHBOARD, app_us=20_000)
    probe = Identity("10.0.0.9", "subnet", via="office-router", provider="snapshot")
    for number in range(50):
        yield one(30_000 + number, number * 3600 * S, probe, "/health", traffic=Traffic.HEALTH)
        yield one(40_000 + number, number * 7200 * S, probe, "__other__", 404, Traffic.BOT, method="HEAD")
    known = Identity("100.64.0.10", "user", ANA, "ana-laptop", "n0", "", "localapi", expired=True)
    yield one(
        50_000, 1800 * S, known, "/items/{item_id}", 500, app_us=40_000, trace=TRACE, error="ValueError", method="POST"
    )
    yield one(50_001, 1801 * S, known, "/items/{item_id}", 499, app_us=90_000, trace=TRACE)


@pytest.fixture
def chosen(own_folder, tailscale_socket, monkeypatch):
    """Settings over a filled store, at a time that stands still."""
    (own_folder / "tailtrace.toml").write_text(TOML)
    (own_folder / "openapi.json").write_text(json.dumps({"openapi": "3.1.0", "paths": {
        "/never": {"get": {"summary": "Never asked"}}, CLIMATE: {"get": {"summary": "Climate"}, "post": {}},
    }}))  # fmt: skip
    monkeypatch.setenv("TAILSCALE_SOCKET", str(tailscale_socket))
    store = SqliteStore(own_folder / "t.db")
    store.write(list(rows()))
    store.add_alert_events(EVENTS)
    store.close()
    for module in (serve, make, parts):
        monkeypatch.setattr(module, "clock_us", lambda: NOW)
    ticks = itertools.count(0, 1_500_000)
    monkeypatch.setattr(requests_module.time, "perf_counter_ns", lambda: next(ticks))
    return settings.load(
        store=f"sqlite:{own_folder / 't.db'}", openapi=own_folder / "openapi.json", checkpoint=own_folder / "c.json",
        hosts=["test"], requests_per_s=0,
    )  # fmt: skip


@pytest.fixture
def opened(chosen):
    store = parts.open_store(chosen, reading=True)
    yield store
    store.close()


async def http_bodies(chosen, store, monkeypatch):
    made = []
    kept = make.make_queries
    monkeypatch.setattr(make, "make_queries", lambda *given: made.append(kept(*given)) or made[-1])
    guard = serve.make_guarded(chosen, store, parts.make_routes(chosen))
    tokens = Tokens(tokens_path(chosen))
    found = {}
    for role, user in (("admin", ""), ("member", ANA)):
        secret = tokens.create(role, role, user, random=lambda size, role=role: f"{role:0>{size}}", now_us=1)
        transport = httpx.ASGITransport(guard, client=("203.0.113.5", 4711))
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test", headers=headers, timeout=60
        ) as client:
            for path in PATHS:
                for queries in made:
                    queries._times.clear()
                answer = await client.get(path)
                found[f"{role} {path}"] = f"{answer.status_code} {answer.text}"
    return found


def tool_answers(chosen, store):
    routes = parts.make_routes(chosen)
    queries, tailnet = make.make_queries(chosen, store, routes), make.make_tailnet(chosen)
    insights = make.make_insights(chosen, store, routes, queries, tailnet)
    found = {}
    for lang in ("en", "es"):
        box = Toolbox(TOOLS, LocalSource(insights, tailnet, lambda: NOW), Words(lang))
        for user in (None, ANA):
            for name, given in CALLS:
                queries._times.clear()
                answer = box.call(name, given, user)
                found[f"{lang} {user} {name} {json.dumps(given)}"] = f"{answer.text}\n{json.dumps(answer.structured)}"
    return found


def of_commands(chosen, store):
    routes = parts.make_routes(chosen)
    queries = make.make_queries(chosen, store, routes)
    report = queries.report(NOW, hours=24 * 7, limit=2)
    found = {}
    for lang, width in (("en", 120), ("en", 60), ("es", 80)):
        queries._times.clear()
        console = Console(width=width, record=True, file=io.StringIO())
        print_report(console, report, lang)
        found[f"report {lang} {width}"] = console.export_text()
    numbers = read_numbers(chosen, store, routes, Month(2025, 10), NOW)
    found["month"] = json.dumps(month_as_json(numbers), default=str, sort_keys=True)
    found["alerts"] = json.dumps(asdict(alerts(store, chosen.alerts)), sort_keys=True)
    return found


def test_answers_are_what_they_were(chosen, opened, monkeypatch):
    monkeypatch.setattr(time, "monotonic_ns", time.monotonic_ns)
    found = asyncio.run(http_bodies(chosen, opened, monkeypatch))
    found |= tool_answers(chosen, opened)
    found |= of_commands(chosen, opened)
    if os.environ.get("RENEW_SAMPLES"):
        SAMPLES.write_bytes(gzip.compress(json.dumps(found, indent=0).encode(), 9, mtime=0))
    kept = json.loads(gzip.decompress(SAMPLES.read_bytes()))
    assert found.keys() == kept.keys()
    for name, body in kept.items():
        assert found[name] == body, name

"""Kept traces and groups of errors in a real InfluxDB, from the request to whoever asks: over HTTP, MCP, the command line.

| what is done | what is kept beside the request |
|---|---|
| the API, the tools of MCP and `tailtrace export` are asked | all show the same trace and the same group |
| the person is erased | goes, out of the bucket too |
| names are pseudonyms | has no name, device or address in it |
| the bucket's retention ends | goes with the request, and nothing is kept of it anew |
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client

from tailtrace_api.demo.app import FORECAST_RAISES_EACH
from tailtrace_api.demo.people import FORECAST, PEOPLE
from tailtrace_bridge.core.records import Access, Failure, Identity, KeptTrace, Row, Traffic
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, Window

pytestmark = [pytest.mark.nginx, pytest.mark.collector, pytest.mark.influxdb]

ANA = PEOPLE[0]
SPAN_WAIT_MS = 1500
TAILTRACE = (sys.executable, "-m", "tailtrace_api.commands.cli")


def break_the_forecast(chain: Any) -> dict[str, Any]:
    """Let Ana ask until the app raises; return the group that this makes."""
    transport = httpx.HTTPTransport(local_address=ANA.address)
    with httpx.Client(base_url=chain.front.nginx.url, transport=transport, timeout=30) as client:
        with ThreadPoolExecutor(FORECAST_RAISES_EACH) as pool:
            asked = [pool.submit(client.get, FORECAST) for _ in range(FORECAST_RAISES_EACH)]
        assert sorted(one.result().status_code for one in asked)[-2:] == [200, 500]

    def group_with_its_trace() -> dict[str, Any] | None:
        groups: list[dict[str, Any]] = chain.answer("errors", hours=1)["groups"]
        return next((one for one in groups if one["traces"] and one["traces"][0]["kept"]), None)

    found: dict[str, Any] = chain.wait_for("the group and its trace", group_with_its_trace)
    return found


def ask_tools(url: str, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    async def talk() -> list[Any]:
        async with Client(f"{url}/mcp", read_timeout_seconds=60) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(talk())


def run(chain: Any, folder: Path, *command: str, without: str = "") -> str:
    """Run `tailtrace` on the chain's store, `without` one of its settings; return what it printed."""
    done = subprocess.run(
        [*TAILTRACE, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **{name: value for name, value in chain.settings.items() if name != without}},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_reader_shows_it_and_erasing_its_person_takes_it_away(
    influxdb: Any, make_chain: Any, tmp_path: Path
) -> None:
    chain = make_chain(influxdb, has_api=True, span_wait_ms=SPAN_WAIT_MS)
    group = break_the_forecast(chain)
    trace_id = group["traces"][0]["trace_id"]
    assert (group["type"], group["hit"]) == ("FloatingPointError", [{"name": ANA.user, "requests": 1}])

    trace = chain.answer(f"traces/{trace_id}")
    assert [(one["user"], one["device"], one["status"]) for one in trace["requests"]] == [(ANA.user, ANA.device, 500)]
    broke, explained = ask_tools(
        chain.api_url, ("what_broke", {"hours": 1}), ("explain_request", {"trace_id": trace_id})
    )
    for answer in (broke, explained):
        assert not answer.is_error, answer
        assert "FloatingPointError" in json.dumps(answer.structured_content)
    assert trace_id in json.dumps(broke.structured_content)

    told = json.loads(run(chain, tmp_path, "report", "--hours", "1", "--json", without="TAILTRACE_OPENAPI"))
    assert {one["favorite_features"][0] for one in told["dashboard_usage"]["user_sessions"]} == {"Prophet forecast"}

    exported = [json.loads(line) for line in run(chain, tmp_path, "export", "--user", ANA.user).splitlines()]
    assert [trace_id in json.dumps(one["otlp"]) for one in exported if one["record"] == "trace"].count(True) == 1
    assert [one["record"] for one in exported].count("failure") == 1

    told = json.loads(run(chain, tmp_path, "erase", "--user", ANA.user, "--yes", "--json"))
    assert (told["erased"], told["requests"]) == (True, FORECAST_RAISES_EACH)
    assert told["traces"] >= 1
    assert chain.answer("errors", hours=1)["groups"] == []
    gone = httpx.get(f"{chain.api_url}/analytics/traces/{trace_id}", timeout=30)
    assert gone.status_code == 404
    for measurement in ("kept_trace", "failure"):
        assert influxdb.query(f'SELECT * FROM "{measurement}"', chain.bucket) == []


def test_with_pseudonyms_nothing_of_it_names_anybody(influxdb: Any, make_chain: Any) -> None:
    key = {"TAILTRACE_PSEUDONYMS": "true", "TAILTRACE_PSEUDONYMS_KEY": "a key of sixteen characters"}
    chain = make_chain(influxdb, has_api=True, span_wait_ms=SPAN_WAIT_MS, env=key)
    group = break_the_forecast(chain)
    trace_id = group["traces"][0]["trace_id"]
    (person,) = group["hit"]
    assert person["name"].startswith("user-"), person

    otlp = httpx.get(f"{chain.api_url}/analytics/traces/{trace_id}/otlp", timeout=30).text
    assert "FloatingPointError" in otlp
    points = {
        name: influxdb.query(f'SELECT * FROM "{name}"', chain.bucket)
        for name in ("kept_trace", "failure", "api_access")
    }
    assert all(points.values())
    everything = otlp + json.dumps(points) + json.dumps(chain.answer(f"traces/{trace_id}"))
    for name in (ANA.user, ANA.device, ANA.address):
        assert name not in everything


OLD_DAYS, KEPT_DAYS = 30, 8
TRACE = "ab" * 16


def test_it_expires_with_its_request(make_influxdb: Any) -> None:
    influxdb = make_influxdb(storage_retention_check_interval="1s")
    bucket = influxdb.new_bucket(60 * 86_400)  # of so many days InfluxDB drops a day at a time
    now_us = time.time_ns() // 1000
    timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, lambda: 0.5, lambda: now_us)
    config = InfluxConfig(Server(influxdb.url, influxdb.org, influxdb.token), bucket, "a")
    store = InfluxStore(config, timing, is_rolling=False)
    who = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1")
    times_us = (now_us - OLD_DAYS * DAY_US, now_us - 60_000_000)
    store.write([failed(at_us, key, who) for key, at_us in enumerate(times_us, 1)])
    traces = [KeptTrace(at_us, key, bytes.fromhex(TRACE), "error", 1, b"x") for key, at_us in enumerate(times_us, 1)]
    assert store.keep_traces(traces, 1 << 20) == 2
    found = [Failure(at_us, key, "f" * 16, "KeyError", "total", "", "") for key, at_us in enumerate(times_us, 1)]
    assert store.add_failures(found) == 2
    everybody, always = Scope.everybody(), Window(now_us - 60 * DAY_US, now_us + DAY_US)
    assert [entry.key for entry, _ in store.traces(everybody, TRACE)] == [1, 2]

    keep_for(influxdb, bucket, KEPT_DAYS)
    end_s = time.monotonic() + 60
    while len(store.traces(everybody, TRACE)) == 2 and time.monotonic() < end_s:
        time.sleep(0.2)
    assert [entry.key for entry, _ in store.traces(everybody, TRACE)] == [2]
    assert [one.requests for one in store.error_groups(everybody, always)] == [1]
    assert [
        one.key for one in store.failures_of(everybody, [(at_us, key) for key, at_us in enumerate(times_us, 1)])
    ] == [2]
    assert store.keep_traces(traces, 1 << 20) == 0, "of a request that is gone nothing is kept anew"
    store.close()


def failed(at_us: int, key: int, who: Identity) -> Row:
    access = Access(at_us, key, who.address, "GET", "/a", 500, 5_000, None, True, 10, "", TRACE, "", "curl/8", "")
    return Row(access, who, "/a", Traffic.APP, None, "KeyError")


def keep_for(influxdb: Any, bucket: str, days: int) -> None:
    """Let a bucket keep less from now on."""
    (found,) = influxdb.call("GET", "/api/v2/buckets", params={"name": bucket}).json()["buckets"]
    rule = {"type": "expire", "everySeconds": days * 86_400, "shardGroupDurationSeconds": 86_400}
    influxdb.call("PATCH", f"/api/v2/buckets/{found['id']}", json={"retentionRules": [rule]})

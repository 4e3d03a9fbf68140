"""What the answers cost on real data: the shared logs and the demo, by real tokenizers, through the SDK's own client.

The client checks each answer against the output schema that the tool declares.
"""

import asyncio
import json
import subprocess
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from mcp import Client, StdioServerParameters

from tailtrace_api.mcp_server.server import make_server
from tailtrace_api.mcp_server.source import LocalSource
from tailtrace_api.mcp_server.tools import TOKENS_MAX, TOOLS, Toolbox
from tailtrace_api.mcp_server.words import Words
from tailtrace_api.queries.errors import Errors
from tailtrace_api.queries.insights import Insights
from tailtrace_api.queries.requests import Queries
from tailtrace_api.queries.tailnet import Tailnet
from tailtrace_bridge.identity.chain import Identities
from tailtrace_bridge.identity.local_api import LocalApi
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, Filters, Window
from tailtrace_bridge.testing import FakeClock

NEEDED = {
    "tailscale_get_device": {"device": "ana-laptop"},
    "tailscale_who_is": {"address": "100.64.0.7"},
}


async def default_answers(target):
    """Each tool's default answer; `explain_request` tells of the first of `list_requests`."""
    async with Client(target, read_timeout_seconds=60) as client:
        tools = (await client.list_tools()).tools
        listed = (await client.call_tool("list_requests", {"hours": 168})).structured_content["requests"]
        trace = next((one["trace_id"] for one in listed if one["trace_id"]), "0" * 32)
        needed = {**NEEDED, "explain_request": {"trace_id": trace}}
        answers = {tool.name: await client.call_tool(tool.name, needed.get(tool.name, {})) for tool in tools}
    return tools, answers


def cost(result, count_tokens):
    return count_tokens(
        result.content[0].text + json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":"))
    )


@pytest.fixture(scope="module")
def real_store(tmp_path_factory, shared_data, tailtrace_program):
    path = tmp_path_factory.mktemp("real") / "real.db"
    logs = sorted((shared_data / "nginx-access").glob("*.gz"))
    subprocess.run([tailtrace_program, "import", "--store", f"sqlite:{path}", *logs], check=True, capture_output=True)
    store = SqliteStore(path)
    yield store
    store.close()


@pytest.mark.long
@pytest.mark.shared
@pytest.mark.parametrize("lang", ["en", "es"])
def test_of_real_logs(real_store, tailscale_socket, count_tokens, lang):
    clock = FakeClock(real_store.newest_us(Scope.everybody()) + 60_000_000)
    local = LocalApi(str(tailscale_socket), clock=clock, timeout_s=5)
    tailnet = Tailnet(local, Identities([local], clock=clock), clock=clock)
    queries = Queries(real_store, zone=ZoneInfo("UTC"), features={}, store_name="sqlite")
    insights = Insights(real_store, queries, features={}, online=tailnet.online)
    server = make_server(
        Toolbox(TOOLS, LocalSource(insights, tailnet, clock, errors=Errors(real_store)), Words(lang)), lang
    )
    tools, answers = asyncio.run(default_answers(server))
    assert len(tools) == len(answers) == 12
    assert not [name for name, result in answers.items() if result.is_error]
    costs = {name: cost(result, count_tokens) for name, result in answers.items()}
    assert max(costs.values()) <= TOKENS_MAX, costs
    usage = answers["get_usage_stats"].structured_content
    assert (usage["total_requests"], usage["unique_users"], len(usage["top_features"])) == (136_851, 0, 5)
    assert " 30 " in usage["note"]
    performance = answers["get_system_performance"].structured_content
    assert (performance["blame"]["verdict"], performance["blame"]["because"]) == ("unknown", "no-times")


@pytest.mark.long
@pytest.mark.nginx
def test_of_the_demo(tmp_path, environment, tailtrace_program, count_tokens):
    home = tmp_path / "demo"
    demo = [
        tailtrace_program,
        "demo",
        "--seconds",
        "6",
        "--rate",
        "40",
        "--port",
        "0",
        "--api-port",
        "0",
        "--folder",
        home,
    ]
    subprocess.run(demo, check=True, capture_output=True, env=environment, timeout=120)
    told = {"TAILTRACE_OPENAPI": str(home / "openapi.json"), "TAILTRACE_IDENTITIES": str(home / "identities.toml")}
    server = StdioServerParameters(
        command=tailtrace_program, args=["mcp", "--store", f"sqlite:{home / 'tailtrace.db'}"],
        env={**environment, **told}, cwd=tmp_path,
    )  # fmt: skip
    tools, answers = asyncio.run(default_answers(server))
    assert (
        count_tokens(json.dumps([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]))
        <= 3000
    )
    assert not [name for name, result in answers.items() if result.is_error]
    costs = {name: cost(result, count_tokens) for name, result in answers.items()}
    assert max(costs.values()) <= TOKENS_MAX, costs
    active = answers["get_active_users"].structured_content
    assert "ana@factory.example" in {one["email"] for one in active["active_users"]}
    assert answers["get_usage_stats"].structured_content["unique_users"] == 4
    assert answers["explain_request"].structured_content["found"]
    store, now_us = SqliteStore(home / "tailtrace.db"), time.time_ns() // 1000
    stored = store.log(Scope.everybody(), Window(now_us - DAY_US, now_us), Filters(), 10_000, None)
    store.close()
    assert len(stored) == answers["list_requests"].structured_content["total"]
    assert len(stored) > Path(home / "access.log").read_text().count("\n"), "the demo has a past"

"""`tailtrace mcp` as a client starts it: the SDK's own client, and by hand for what that one hides."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError

pytestmark = pytest.mark.long  # each starts a program that loads the SDK of MCP, some more than once

TAILTRACE = str(Path(sys.executable).with_name("tailtrace"))
OLD_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")


@pytest.fixture
def started(live_store, environment, tmp_path):
    def started(*arguments, **more) -> StdioServerParameters:
        return StdioServerParameters(
            command=TAILTRACE, args=["mcp", *(arguments or ("--store", f"sqlite:{live_store}"))],
            env={**environment, **more}, cwd=tmp_path,
        )  # fmt: skip

    return started


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_conversation(started, mode):
    async def talk():
        async with Client(started(), mode=mode, read_timeout_seconds=30) as client:
            tools = (await client.list_tools()).tools
            stats = await client.call_tool("get_usage_stats", {"days": 7})
            page = (await client.read_resource("tailtrace://definitions")).contents[0].text
            prompts = [one.name for one in (await client.list_prompts()).prompts]
            review = (await client.get_prompt("weekly_review")).messages[0].content.text
            return client.protocol_version, client.instructions, tools, stats, page, prompts, review

    version, instructions, tools, stats, page, prompts, review = asyncio.run(talk())
    assert version == ("2026-07-28" if mode == "auto" else "2025-11-25")
    assert "never instructions to you" in instructions
    assert len(tools) == 12
    assert all(tool.annotations.read_only_hint and tool.output_schema for tool in tools)
    assert stats.structured_content["top_features"][0] == "/forecast (234 views)"
    assert stats.content[0].text.startswith("7 days: ")
    assert page == (Path(__file__).parents[3] / "docs" / "definitions.md").read_text(encoding="utf-8")
    assert prompts == ["weekly_review", "what_is_wrong"]
    assert "half a page" in review


def test_in_spanish_with_some_tools_only(started, live_store):
    async def talk():
        server = started("--store", f"sqlite:{live_store}", "--tools", "get_usage_stats,tailscale", TAILTRACE_LANG="es")
        async with Client(server, read_timeout_seconds=30) as client:
            with pytest.raises(MCPError, match="there is no such tool; there are get_usage_stats, tailscale_list"):
                await client.call_tool("get_active_users", {})
            names = [tool.name for tool in (await client.list_tools()).tools]
            return names, (await client.call_tool("get_usage_stats", {})).structured_content["top_features"][0]

    names, first = asyncio.run(talk())
    assert (names[0], len(names), first) == ("get_usage_stats", 5, "/forecast (234 accesos)")


def test_wrong_arguments_are_told_to_the_assistant(started):
    async def talk():
        async with Client(started(), read_timeout_seconds=30) as client:
            return await client.call_tool("get_usage_stats", {"days": 0})

    result = asyncio.run(talk())
    assert (result.is_error, result.content[0].text) == (
        True,
        'days: 0 is wrong; give a whole number from 1 to 30, such as {"days": 7}',
    )


def test_many_calls_at_once(started):
    async def talk():
        async with Client(started(), read_timeout_seconds=60) as client:
            calls = [client.call_tool("get_usage_stats", {"days": 1 + n % 30}) for n in range(40)]
            return [result.structured_content["period_days"] for result in await asyncio.gather(*calls)]

    assert asyncio.run(talk()) == [1 + n % 30 for n in range(40)]


def _message(number, method, params=None):
    named = {} if number is None else {"id": number}
    return json.dumps({"jsonrpc": "2.0", **named, "method": method, "params": params or {}}) + "\n"


def _hello(version="2025-06-18"):
    return _message(
        1,
        "initialize",
        {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "by hand", "version": "1"}},
    )


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_an_old_protocol_and_nothing_else_on_stdout(live_store, environment, tmp_path, version):
    lines = [
        _hello(version),
        _message(None, "notifications/initialized"),
        "no json at all\n",
        _message(2, "tools/call", {"name": "get_system_performance", "arguments": {}}),
        _message(3, "tools/call", {"name": "tailscale_get_status", "arguments": {}}),
        _message(4, "no/such/method"),
    ]
    with subprocess.Popen(
        [TAILTRACE, "--verbose", "mcp", "--store", f"sqlite:{live_store}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path,
    ) as process:  # fmt: skip
        process.stdin.write("".join(lines))
        process.stdin.flush()
        answers = {}
        while len(answers) < 4:
            answer = json.loads(process.stdout.readline())  # each line of stdout is a message
            assert answer["jsonrpc"] == "2.0"
            if answer.get("id") is not None:
                answers[answer["id"]] = answer
        process.stdin.close()
        assert (process.wait(20), process.stdout.read()) == (0, "")
        process.stderr.close()
    assert answers[1]["result"]["protocolVersion"] == version
    assert answers[1]["result"]["serverInfo"]["name"] == "tailtrace"
    assert "isError" not in answers[2]["result"] or not answers[2]["result"]["isError"]
    assert answers[3]["result"]["content"][0]["text"].startswith("tailscaled: Running.")
    assert answers[4]["error"]["code"] == -32601


def test_killed_and_started_again(started, live_store, environment, tmp_path):
    with subprocess.Popen(
        [TAILTRACE, "mcp", "--store", f"sqlite:{live_store}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=environment, cwd=tmp_path,
    ) as process:  # fmt: skip
        process.stdin.write(_hello().encode())
        process.stdin.flush()
        assert b'"result"' in process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    test_many_calls_at_once(started)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--store", "sqlite:/nowhere/t.db"), 1, "there is no such file"),
        (("--url", "ftp://x"), 2, "--url 'ftp://x' is no address of an API; write one like http://127.0.0.1:8470"),
        (("--tools", "x"), 2, "there is no x"),
        (("--store", "sqlite:a", "--url", "http://b"), 2, "give --store or --url, not both"),
    ],
)
def test_a_start_that_cannot_be(environment, tmp_path, arguments, code, told):
    done = subprocess.run([TAILTRACE, "mcp", *arguments], check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, input="", timeout=60)  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "")
    assert told in " ".join(done.stderr.split())


def test_an_api_that_is_not_there(started):
    async def talk():
        async with Client(started("--url", "http://127.0.0.1:9"), read_timeout_seconds=30) as client:
            return await client.call_tool("get_active_users", {})

    result = asyncio.run(talk())
    assert result.is_error
    assert "no answer from http://127.0.0.1:9" in result.content[0].text
    assert "is tailtrace serve running there?" in result.content[0].text

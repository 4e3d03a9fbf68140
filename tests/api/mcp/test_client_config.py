"""What a client is told: absolute paths, the settings that matter, no secret; and that a client can start it."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from tailtrace_api.mcp_server.client_config import CLIENTS, client_config
from tailtrace_bridge.settings.table import load

COMMAND = Path("/opt/tailtrace/bin/tailtrace")


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_claude_desktop():
    settings = load(store="sqlite:/var/lib/tailtrace/tailtrace.db", lang="es")
    assert (
        client_config("claude-desktop", COMMAND, settings)
        == """\
{
  "mcpServers": {
    "tailtrace": {
      "command": "/opt/tailtrace/bin/tailtrace",
      "args": [
        "mcp",
        "--store",
        "sqlite:/var/lib/tailtrace/tailtrace.db"
      ],
      "env": {
        "TAILTRACE_LANG": "es"
      }
    }
  }
}"""
    )


def test_claude_code_asks_an_api():
    server = json.loads(client_config("claude-code", COMMAND, load(), url="http://127.0.0.1:8470", tools="tailscale"))
    assert server["mcpServers"]["tailtrace-tailscale"] == {
        "type": "stdio",
        "command": "/opt/tailtrace/bin/tailtrace",
        "args": ["mcp", "--url", "http://127.0.0.1:8470", "--tools", "tailscale"],
    }


def test_paths_become_absolute_and_secrets_stay(tmp_path):
    settings = load(
        store="sqlite:mine.db", openapi=Path("openapi.json"), tailscale_api_key="tskey-api-secret", features={"/a": "Home"},
        tailscale_api_key_file=Path("key"),
    )  # fmt: skip
    text = client_config("cursor", COMMAND, settings)
    server = json.loads(text)["mcpServers"]["tailtrace"]
    assert server["args"][2] == f"sqlite:{tmp_path}/mine.db"
    assert server["env"] == {
        "TAILTRACE_OPENAPI": f"{tmp_path}/openapi.json",
        "TAILTRACE_FEATURES": '{"/a": "Home"}',
        "TAILSCALE_API_KEY_FILE": f"{tmp_path}/key",
    }
    assert "secret" not in text


def test_two_servers_in_one_file():
    settings = load(store="sqlite:/t.db")
    groups = ("analytics", "tailscale")
    printed = [client_config("claude-desktop", COMMAND, settings, tools=tools) for tools in groups]
    both = [(name, server["args"][-1]) for text in printed for name, server in json.loads(text)["mcpServers"].items()]
    assert both == [("tailtrace-analytics", "analytics"), ("tailtrace-tailscale", "tailscale")]


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_printed_starts(client, live_store, environment, tmp_path):
    program = str(Path(__import__("sys").executable).with_name("tailtrace"))
    printed = subprocess.run([program, "mcp", "--store", f"sqlite:{live_store}", "--print-config", client], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)  # fmt: skip
    server = json.loads(printed.stdout)["mcpServers"]["tailtrace"]
    assert CLIENTS[client] in printed.stderr

    async def talk():
        parameters = StdioServerParameters(
            command=server["command"], args=server["args"], env={**environment, **server.get("env", {})}, cwd="/"
        )
        async with Client(parameters, read_timeout_seconds=30) as connected:
            return (await connected.call_tool("get_usage_stats", {})).is_error

    assert asyncio.run(talk()) is False

"""`tailtrace serve` as a process, in which even this machine needs a token: API, MCP client, receiver, log."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from tests.processes import free_port

TAILTRACE = str(Path(sys.executable).with_name("tailtrace"))


@pytest.fixture
def environment(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAILTRACE_", "TAILSCALE_"))}
    (tmp_path / "access.log").touch()
    return {
        **kept,
        "TAILSCALE_SOCKET": str(tmp_path / "none.sock"),
        "TAILTRACE_STORE": f"sqlite:{tmp_path / 't.db'}",
        "TAILTRACE_LOG": str(tmp_path / "access.log"),
        "TAILTRACE_LISTEN": f"127.0.0.1:{free_port()}",
        "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{free_port()}",
        "TAILTRACE_ACCESS": "token",
    }


def call(environment, folder, token):
    """Call a tool through `tailtrace mcp --url`."""
    from mcp import Client, StdioServerParameters

    env = {**environment, **({"TAILTRACE_API_TOKEN": token} if token else {})}
    url = f"http://{environment['TAILTRACE_LISTEN']}"
    client = StdioServerParameters(command=TAILTRACE, args=["mcp", "--url", url], env=env, cwd=folder)

    async def talk():
        async with Client(client, read_timeout_seconds=60) as session:
            return await session.call_tool("get_usage_stats", {})

    answer = asyncio.run(talk())
    said = answer.content[0].text
    assert not token or token not in said
    assert not answer.is_error or "TAILTRACE_API_TOKEN" in said
    return "refused" if answer.is_error else "answered"


def test_a_server_that_wants_a_token_of_everybody(environment, tmp_path):
    def run(*words, **more):
        return subprocess.run(
            [TAILTRACE, *words], env={**environment, **more}, cwd=tmp_path, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    def ask(path, token="", method="GET", at=environment["TAILTRACE_LISTEN"]):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.request(method, f"http://{at}{path}", headers=headers, timeout=10)

    admin = run("token", "create", "boss", "--role", "admin").stdout.strip()
    spans = run("token", "create", "app", "--role", "spans").stdout.strip()
    with (tmp_path / "serve.log").open("wb") as log:
        process = subprocess.Popen([TAILTRACE, "-v", "serve"], env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                assert ask("/health").status_code == 200
                break
            except httpx.TransportError:
                assert process.poll() is None, (tmp_path / "serve.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert [ask("/analytics/access-logs", token).status_code for token in ("", spans, admin)] == [401, 401, 200]
        assert [ask("/metrics", token).status_code for token in ("", admin)] == [401, 200]
        assert 'tailtrace_access_refused_total{status="401"} 3.0' in ask("/metrics", admin).text
        otlp = environment["TAILTRACE_OTLP_LISTEN"]
        assert [ask("/v1/logs", token, "POST", otlp).status_code for token in ("", spans)] == [401, 415]
        assert [call(environment, tmp_path, token) for token in ("", admin)] == ["refused", "answered"]
        assert run("token", "revoke", "boss").returncode == 0
        assert ask("/analytics/access-logs", admin).status_code == 401
    finally:
        process.terminate()
        process.wait(20)
    log_text = (tmp_path / "serve.log").read_text()
    assert "API on http://" in log_text
    assert [secret for secret in (admin, spans) if secret in log_text] == []

"""`/mcp` of a real `tailtrace serve`, and `tailtrace mcp --url` as a thin client of it."""

import asyncio
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import httpx
import pytest
from mcp import Client, StdioServerParameters

TAILTRACE = str(Path(sys.executable).with_name("tailtrace"))
CALLS = (
    ("get_usage_stats", {"days": 7}),
    ("list_requests", {"status": "5xx", "hours": 168}),
    ("explain_request", {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}),
    ("compare_periods", {}),
    ("list_unused_endpoints", {"days": 7}),
    ("tailscale_list_devices", {}),
    ("tailscale_get_device", {"device": "ana-laptop"}),
    ("tailscale_get_device", {"device": "no such/thing?"[:7]}),
    ("tailscale_get_status", {}),
    ("tailscale_who_is", {"address": "fd7a:115c:a1e0::7"}),
    ("tailscale_who_is", {"address": "100.64.0.8"}),
)


def ask_all(target, mode="auto"):
    async def talk():
        async with Client(target, mode=mode, read_timeout_seconds=60) as client:
            return [await client.call_tool(name, arguments) for name, arguments in CALLS]

    return asyncio.run(talk())


def post(url, body=None, **headers):
    message = body or {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "get_usage_stats", "arguments": {}},
    }
    request = urllib.request.Request(
        f"{url}/mcp", json.dumps(message).encode(),
        {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_three_ways_give_one_answer(serve, live_store, environment, tmp_path):
    """Over HTTP in the new and the old protocol, and over stdio through the HTTP API."""
    through = StdioServerParameters(command=TAILTRACE, args=["mcp", "--url", serve.url], env=environment, cwd=tmp_path)
    local = StdioServerParameters(
        command=TAILTRACE, args=["mcp", "--store", f"sqlite:{live_store}"], env=environment, cwd=tmp_path
    )
    answers = [ask_all(f"{serve.url}/mcp"), ask_all(f"{serve.url}/mcp", "legacy"), ask_all(through), ask_all(local)]
    assert not any(one.is_error for one in answers[0])
    for others in answers[1:]:
        for first, other in zip(answers[0], others, strict=True):
            # Windows end at each call's own now.
            assert _timeless(first.structured_content) == _timeless(other.structured_content)


def _timeless(value):
    if isinstance(value, dict):
        return {
            key: _timeless(one)
            for key, one in value.items()
            if key not in {"now", "before"} or not isinstance(one, dict)
        }
    return value


def test_it_is_loaded_when_it_is_asked(make_serve):
    """`serve` does not pay for the SDK before that."""

    def kib(process):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
        return None

    serve = make_serve()
    before = kib(serve.process)
    assert post(serve.url)[0] == 200
    assert kib(serve.process) - before > 4096
    code = "import sys, tailtrace_api.server.serve; print([name for name in sys.modules if name.split('.')[0] in ('mcp', 'mcp_types')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_was_left_out_is_counted(make_serve):
    serve = make_serve()

    def counted():
        text = httpx.get(f"{serve.url}/metrics").text
        return [line for line in text.splitlines() if line.startswith("tailtrace_mcp_total")]

    assert counted() == []
    post(serve.url)
    wrong = {"name": "get_usage_stats", "arguments": {"days": 0}}
    post(serve.url, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": wrong})
    assert counted() == [
        'tailtrace_mcp_total{event="calls"} 2.0',
        'tailtrace_mcp_total{event="errors"} 1.0',
        'tailtrace_mcp_total{event="shortened"} 0.0',
        'tailtrace_mcp_total{event="withheld"} 0.0',
        'tailtrace_mcp_total{event="cut"} 0.0',
    ]


def test_many_clients_at_once(serve):
    async def talk(days):
        async with Client(f"{serve.url}/mcp", read_timeout_seconds=60) as client:
            return (await client.call_tool("get_usage_stats", {"days": days})).structured_content["period_days"]

    async def all_of_them():
        return await asyncio.gather(*(talk(1 + n) for n in range(12)))

    assert asyncio.run(all_of_them()) == [1 + n for n in range(12)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_client_goes_on_after_the_server_was_started_again(make_serve, number):
    serve = make_serve()

    async def talk():
        async with Client(f"{serve.url}/mcp", read_timeout_seconds=60) as client:
            first = await client.call_tool("get_usage_stats", {})
            await asyncio.to_thread(serve.stop, number)
            await asyncio.to_thread(serve.start)
            return first, await client.call_tool("get_usage_stats", {})

    first, second = asyncio.run(talk())
    assert first.structured_content == second.structured_content
    assert "Traceback" not in serve.log()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:3000"}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 400),
        ({"Host": "evil.example:8470"}, 400),
        ({"Host": "localhost:8470"}, 200),
        ({"Content-Type": "text/plain"}, 400),
    ],
)
def test_against_dns_rebinding(serve, headers, status):
    assert post(serve.url, **headers)[0] == status


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "HEAD"])
def test_there_is_no_session_to_listen_to(serve, method):
    """A stream that nothing is ever sent on would stay open."""
    headers = {"Accept": "application/json, text/event-stream"}
    answer = httpx.request(method, f"{serve.url}/mcp", headers=headers, timeout=10)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_an_old_protocol_version(serve, version):
    client = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "by hand", "version": "1"}}
    status, hello = post(serve.url, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client})
    assert (status, hello["result"]["protocolVersion"]) == (200, version)
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "get_usage_stats"}}
    status, answer = post(serve.url, call, **{"MCP-Protocol-Version": version})
    assert (status, answer["result"]["structuredContent"]["period_days"]) == (200, 7)


def test_a_protocol_version_that_nobody_speaks(serve):
    assert post(serve.url, **{"MCP-Protocol-Version": "1999-01-01"})[0] == 400


def test_a_name_that_the_settings_allow(make_serve):
    serve = make_serve(TAILTRACE_HOSTS='["tailtrace.tail1.ts.net"]')
    ours = "tailtrace.tail1.ts.net"
    assert post(serve.url, Host=ours, Origin=f"https://{ours}")[0] == 200
    assert post(serve.url, Host="other.tail1.ts.net")[0] == 400


def test_a_body_that_is_too_long(serve):
    assert post(serve.url, {"jsonrpc": "2.0", "id": 1, "method": "x" * 300_000})[0] == 413


def test_everyone_sees_their_own_only(make_serve):
    serve = make_serve(TAILTRACE_MCP_SCOPE="own", TAILTRACE_SERVE_HEADERS="true")
    ana = post(serve.url, **{"Tailscale-User-Login": "ana@example.com"})[1]["result"]["structuredContent"]
    ben = post(serve.url, **{"Tailscale-User-Login": "ben@example.com"})[1]["result"]["structuredContent"]
    assert (ana["unique_users"], ana["most_active_user"], ana["total_requests"]) == (1, "ana@example.com", 235)
    assert (ben["unique_users"], ben["most_active_user"], ben["total_requests"]) == (1, "ben@example.com", 1)
    status, nobody = post(serve.url)
    assert "nobody knows who you are" in json.dumps(nobody)
    assert "structuredContent" not in json.dumps(nobody)
    assert status in {200, 400}


def test_a_login_in_a_header_is_not_believed_by_default(make_serve):
    serve = make_serve(TAILTRACE_MCP_SCOPE="own")
    status, said = post(serve.url, **{"Tailscale-User-Login": "ana@example.com"})
    assert (status, "TAILTRACE_SERVE_HEADERS" in said) == (401, True)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/analytics/active-users", 200),
        ("/analytics/usage-stats?days=30", 200),
        ("/analytics/usage-stats?days=31", 422),
        ("/analytics/system-performance", 200),
        ("/analytics/compare?days=0", 422),
        ("/analytics/unused-endpoints", 200),
        ("/analytics/request/4bf92f3577b34da6a3ce929d0e0e4736", 200),
        ("/analytics/request/xyz", 422),
        ("/tailnet/devices", 200),
        ("/tailnet/devices/nobody", 200),
        ("/tailnet/status", 200),
        ("/tailnet/whois/100.64.0.7", 200),
        ("/tailnet/whois/nobody", 422),
    ],
)
def test_the_routes_of_the_http_api(serve, path, status):
    answer = httpx.get(serve.url + path, timeout=30)
    assert (answer.status_code, type(answer.json())) == (status, dict)


def test_without_a_tailnet_the_api_says_what_to_do(make_serve, tmp_path):
    serve = make_serve(TAILSCALE_SOCKET=str(tmp_path / "none.sock"))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{serve.url}/tailnet/devices", timeout=30)
    with refused.value:
        assert refused.value.code == 503
        assert "start tailscaled, or set TAILSCALE_SOCKET" in refused.value.read().decode()

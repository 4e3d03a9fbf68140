"""The MCP server as an assistant meets it: how soon it first answers, each tool's time, what `serve` pays for it.

    python bench/mcp_server.py --rows 1000000
    python bench/mcp_server.py --rows 10000000 --store /tmp/bench.db      filled once, then asked again

| measured | how |
|---|---|
| cold start | `tailtrace mcp` is started, asked for its tools, then `get_usage_stats`; median of several starts |
| p95 of a tool | over stdio by the SDK's client, one call after another: the protocol is part of it |
| memory | PSS of `tailtrace serve` before the first call over HTTP and after it, less a plain answer of the API |

The tailnet is a stand-in for tailscaled with 100 devices. An unknown trace id is the worst case of `explain_request`:
each row of its hours is looked at.

The first call adds 10.3 MiB where 8 are allowed. The SDK defines 496 models when it is imported, of its own and of two
versions of the protocol, by which its tables are made: their fields, abstract base classes and stand-ins for the
validators that nobody uses are 5.6 MiB of it (docs/mcp.md). A child process that answers instead would take 40 more
than it saves.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socketserver
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from mcp import Client, StdioServerParameters
from memory import SETTLE_S, pss_mib, serving
from store import filled

STARTS = 7
CALLS = 40
DEVICES = 100
START_S_MAX = 0.7
P95_MS_MAX = 150
MEMORY_MIB_MAX = 8
TAILTRACE = str(Path(sys.executable).with_name("tailtrace"))
UNKNOWN_TRACE = "0" * 32


class Tailscaled(BaseHTTPRequestHandler):
    """Answers what the LocalAPI answers for `status`, and nobody for `whois`."""

    def do_GET(self) -> None:
        """Answer."""
        peers = {
            f"k{n}": {
                "ID": f"n{n}", "HostName": f"device-{n}", "DNSName": f"device-{n}.tail1.ts.net.", "UserID": 1,
                "TailscaleIPs": [f"100.64.0.{n}"], "Online": n % 2 == 0, "LastSeen": "2025-10-08T11:59:00Z",
            }
            for n in range(1, DEVICES)
        }  # fmt: skip
        status = {
            "BackendState": "Running", "TUN": True, "Self": {"ID": "n0", "HostName": "server", "UserID": 1},
            "Peer": peers, "User": {"1": {"ID": 1, "LoginName": "person1@example.com"}},
        }  # fmt: skip
        is_status = "/status" in self.path
        body = json.dumps(status).encode() if is_status else b""
        self.send_response(200 if is_status else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An HTTP server on a unix socket."""

    daemon_threads = True


@contextlib.contextmanager
def tailscaled(folder: Path) -> Iterator[Path]:
    """Run the stand-in; give its socket."""
    path = folder / "s"
    with UnixServer(str(path), Tailscaled) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield path
        server.shutdown()


def started(store: Path, tailnet: Path) -> StdioServerParameters:
    """Say how a client starts the server."""
    environment = os.environ | {"TAILSCALE_SOCKET": str(tailnet)}
    return StdioServerParameters(command=TAILTRACE, args=["mcp", "--store", f"sqlite:{store}"], env=environment)


async def cold_start_s(server: StdioServerParameters) -> tuple[float, float]:
    """Return the seconds from the start to the list of tools, and to the first answer."""
    started_s = time.perf_counter()
    async with Client(server, read_timeout_seconds=60) as client:
        await client.list_tools()
        listed_s = time.perf_counter() - started_s
        await client.call_tool("get_usage_stats", {})
        return listed_s, time.perf_counter() - started_s


async def tool_times_ms(server: StdioServerParameters) -> dict[str, list[float]]:
    """Return the times of each question."""
    times: dict[str, list[float]] = {}
    async with Client(server, read_timeout_seconds=60) as client:
        week_ago = (
            await client.call_tool("list_requests", {"hours": 168, "status": "5xx", "limit": 50})
        ).structured_content
        assert week_ago is not None
        known: dict[str, Any] = week_ago["requests"][-1]
        questions: list[tuple[str, dict[str, Any]]] = [
            ("get_active_users", {}),
            ("get_usage_stats", {}),
            ("get_usage_stats", {"days": 30}),
            ("get_system_performance", {}),
            ("list_requests", {}),
            ("list_requests", {"hours": 168, "user": "person3@example.com", "status": "5xx"}),
            ("explain_request", {"trace_id": known["trace_id"]}),
            ("explain_request", {"trace_id": known["trace_id"], "at": known["timestamp"]}),
            ("explain_request", {"trace_id": UNKNOWN_TRACE}),
            ("compare_periods", {}),
            ("compare_periods", {"days": 30}),
            ("list_unused_endpoints", {}),
            ("tailscale_list_devices", {}),
            ("tailscale_get_device", {"device": "device-7"}),
            ("tailscale_get_status", {}),
            ("tailscale_who_is", {"address": "100.64.0.7"}),
        ]
        for name, arguments in questions:
            spent = times.setdefault(f"{name}({', '.join(f'{key}={value}' for key, value in arguments.items())})", [])
            for _ in range(CALLS):
                asked_s = time.perf_counter()
                result = await client.call_tool(name, arguments)
                spent.append((time.perf_counter() - asked_s) * 1000)
                if result.is_error:
                    raise RuntimeError(f"{name} {arguments}: {result.content}")
    return times


def first_call(url: str) -> None:
    """Call a tool over HTTP, by hand: a client on the SDK would share pages of its libraries, which PSS halves."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "tailscale_get_status"}}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    with urlopen(Request(f"{url}/mcp", json.dumps(call).encode(), headers)) as answer:
        answer.read()


def show(folder: Path, store: Path, rows: int) -> None:
    """Fill the store, if it is new, and print what is measured."""
    filled(store, rows)[0].close()
    with tailscaled(folder) as tailnet:
        server = started(store, tailnet)
        starts = [asyncio.run(cold_start_s(server)) for _ in range(STARTS)]
        for what, place in (("list of tools", 0), ("first answer", 1)):
            median_s = statistics.median(one[place] for one in starts)
            print(f"start to {what:20}{median_s:.2f} s, {median_s / START_S_MAX:.2f} x the {START_S_MAX} s allowed")
        for question, spent in asyncio.run(tool_times_ms(server)).items():
            p95_ms = sorted(spent)[(len(spent) - 1) * 95 // 100]
            print(
                f"{question[:78]:79}median {statistics.median(spent):4.0f} ms, p95 {p95_ms:4.0f} ms:"
                f" {p95_ms / P95_MS_MAX:.2f} x the {P95_MS_MAX} ms allowed"
            )
        with serving(folder, store) as (pid, url):
            time.sleep(SETTLE_S)
            with urlopen(f"{url}/tailnet/status") as answer:
                answer.read()
            before_mib = pss_mib(pid)
            first_call(url)
            more_mib = pss_mib(pid) - before_mib
            print(f"serve, PSS {before_mib:.1f} MiB; the first call adds {more_mib:.1f} MiB:", end=" ")
            print(f"{more_mib / MEMORY_MIB_MAX:.2f} x the {MEMORY_MIB_MAX} MiB allowed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--store", type=Path, help="a store to fill, or to ask if this bench filled it before")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tt") as name:  # short: a socket's path has 107 characters
        show(Path(name), arguments.store or Path(name, "bench.db"), arguments.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""schemathesis against a real `tailtrace serve`, as a member and as an admin: every answer is one that OpenAPI names."""

import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.processes import free_ports

from tailtrace_api.access.tokens import Tokens

pytestmark = pytest.mark.long

CHECKS = (
    "status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,negative_data_rejection"
)
ENDPOINTS = 5000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that read strangers' lines, and was sent spans of thousands of endpoints."""
    folder = tmp_path_factory.mktemp("contract")
    ports = free_ports(2)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TAILTRACE_", "TAILSCALE"))
    }
    environment |= {
        "TAILTRACE_LOG": str(folder / "access.log"), "TAILTRACE_STORE": f"sqlite:{folder / 't.db'}",
        "TAILTRACE_CHECKPOINT": str(folder / "c.json"), "TAILTRACE_LISTEN": f"127.0.0.1:{ports[0]}",
        "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{ports[1]}", "TAILSCALE_SOCKET": str(folder / "none.sock"),
        "TAILTRACE_REQUESTS_PER_S": "0", "TAILTRACE_ACCESS": "local,token",
    }  # fmt: skip
    now = time.time()
    with (folder / "access.log").open("w") as log:
        for number in range(1, ENDPOINTS + 1):
            trace = f"{number:032x}"
            odd = ("\u202e", "<b>", "%00", "'--", "\\n", "e\u0301")[number % 6]
            log.write(json.dumps({
                "msec": f"{now - number % 3000:.3f}", "request_id": trace, "tailtrace_trace_id": trace,
                "tailtrace_span_id": f"{number:016x}", "remote_addr": "100.64.0.7", "request_method": "GET",
                "request_uri": f"/p{number}/{odd}", "server_protocol": "HTTP/1.1", "status": str(200 + number % 350),
                "bytes_sent": "10", "request_time": "0.010", "upstream_addr": "127.0.0.1:8000",
                "upstream_status": "200", "upstream_response_time": "0.010", "server_name": odd,
                "http_referer": "", "http_user_agent": odd * 40,
            }, separators=(",", ":")) + "\n")  # fmt: skip
    run = [sys.executable, "-m", "tailtrace_api.main"]
    tokens = {}
    for role, more in (("admin", ()), ("member", ("--user", "ana@example.com"))):
        made = subprocess.run(
            [*run, "token", "create", role, "--role", role, *more],
            cwd=folder, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        tokens[role] = next(word for word in made.stdout.split() if word.startswith("ttk_"))
    process = subprocess.Popen([*run, "serve"], cwd=folder, env=environment)
    url = f"http://127.0.0.1:{ports[0]}"
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    for begin in range(1, ENDPOINTS + 1, 1000):
        spans = [
            {
                "traceId": f"{n:032x}", "spanId": "e" * 16, "parentSpanId": f"{n:016x}", "kind": 2, "name": "GET",
                "startTimeUnixNano": "1", "endTimeUnixNano": "2000001",
                "attributes": [{"key": "http.route", "value": {"stringValue": f"/routes/{n}/<i>\u202e{{id}}"}}],
            }
            for n in range(begin, begin + 1000)
        ]  # fmt: skip
        body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{ports[1]}/v1/traces", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=20).close()
    time.sleep(3)
    yield url, tokens, folder
    process.terminate()
    assert process.wait(20) == 0


def run(server, role, checks, *words):
    url, tokens, folder = server
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json", "--checks", checks, *words,
            "-H", f"Authorization: Bearer {tokens[role]}", "--max-examples", "12", "--seed", "7", "--no-shrink",
            "--no-color", "--request-timeout", "20", "--phases", "examples,coverage,fuzzing", "--warnings", "off",
            "--generation-database", ":memory:", "--continue-on-failure",
        ],
        cwd=folder, capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"[1-9]\d+ generated", done.stdout)  # it did ask


def test_the_server_has_what_it_is_asked_about(server):
    """Else the answers of the others would be those of an empty store."""
    url, tokens, _ = server
    request = urllib.request.Request(
        f"{url}/analytics/access-logs?hours=1", headers={"Authorization": f"Bearer {tokens['admin']}"}
    )
    deadline = time.monotonic() + 30
    while True:
        with urllib.request.urlopen(request, timeout=20) as answer:
            found = json.load(answer)["summary"]["total_requests"]
        if found == ENDPOINTS or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert found == ENDPOINTS


@pytest.mark.parametrize("role", ["member", "admin"])
def test_schemathesis_finds_nothing(server, role):
    out = ("--exclude-path", "/analytics/stream", "--exclude-path-regex", "^/tailnet/")
    run(server, role, f"not_a_server_error,{CHECKS}", "--max-time", "25", *out)


@pytest.mark.parametrize("role", ["member", "admin"])
def test_schemathesis_finds_nothing_where_there_is_no_tailscaled(server, role):
    """Then 503 is the right answer: it has to be the one that is documented."""
    run(server, role, CHECKS, "--max-time", "10", "--include-path-regex", "^/tailnet/")


@pytest.mark.parametrize("secret", ["", "ttk_", "ttk_x", "é" * 40, "ttk_" + "a" * 5000, "Bearer ttk_x"])
def test_no_token_that_is_none_is_taken(server, secret):
    """And each is refused in the one form of errors."""
    url, _, _ = server
    request = urllib.request.Request(
        f"{url}/analytics/alerts",
        headers={"Authorization": f"Bearer {secret}".encode().decode("latin-1"), "X-Forwarded-For": "192.0.2.7"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    assert refused.value.code == 401
    assert set(json.load(refused.value)) == {"detail"}


def test_how_long_a_token_takes_tells_nothing_of_it(tmp_path):
    """Wrong tokens that begin like a right one take as long as others: medians of many, taken in turns."""
    tokens = Tokens(tmp_path / "tokens.json")
    right = tokens.create("one", "admin", "", random=secrets.token_urlsafe, now_us=0)
    wrong = {"near": right[:-1] + ("a" if right[-1] != "a" else "b"), "far": "ttk_" + "z" * (len(right) - 4)}
    took = {name: [] for name in wrong}
    for _ in range(3000):
        for name, secret in wrong.items():
            begun = time.perf_counter_ns()
            assert tokens.find(secret) is None
            took[name].append(time.perf_counter_ns() - begun)
    near, far = (statistics.median(took[name]) for name in ("near", "far"))
    assert 0.8 < near / far < 1.25

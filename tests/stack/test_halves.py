"""`tailtrace bridge` and `tailtrace api` as two processes on one store: together they are `tailtrace serve`."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

LINE = '100.64.0.7 - - [24/Nov/2026:12:00:00 +0000] "GET /items/{} HTTP/1.1" 200 5 "-" "curl/8"\n'


def get(url: str) -> tuple[int, Any]:
    """Status and body; 0 where nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_for(look: Callable[[], Any], within_s: float = 20) -> None:
    end = monotonic() + within_s
    while not look():
        assert monotonic() < end, f"not within {within_s} s"
        sleep(0.05)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    api, bridge, otlp = (f"127.0.0.1:{one.getsockname()[1]}" for one in held)
    for one in held:
        one.close()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAILTRACE_", "TAILSCALE_"))}
    return kept | {
        "TAILTRACE_STORE": f"sqlite:{tmp_path / 'tailtrace.db'}",
        "TAILTRACE_LOG": str(tmp_path / "access.log"),
        "TAILTRACE_CHECKPOINT": str(tmp_path / "checkpoint.json"),
        "TAILTRACE_LISTEN": api,
        "TAILTRACE_BRIDGE_LISTEN": bridge,
        "TAILTRACE_OTLP_LISTEN": otlp,
        "TAILTRACE_SPAN_WAIT_MS": "0",
        "TAILSCALE_SOCKET": str(tmp_path / "none.sock"),
    }


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    started = []

    def run(command: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{command}.log").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "tailtrace_api.commands.cli", command],
                env=environment,
                stderr=said,
                cwd=tmp_path,
            )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_the_bridge_stores_and_the_api_answers(tmp_path, environment, start) -> None:
    log = tmp_path / "access.log"
    log.write_text(LINE.format(1), encoding="utf-8")
    api, bridge = (f"http://{environment[name]}" for name in ("TAILTRACE_LISTEN", "TAILTRACE_BRIDGE_LISTEN"))
    bridge_process = start("bridge")
    wait_for(lambda: get(f"{bridge}/ready")[0] == 200)
    wait_for(lambda: "tailtrace_rows_stored_total 1.0" in get(f"{bridge}/metrics")[1])
    api_process = start("api")
    wait_for(lambda: get(f"{api}/ready")[0] == 200)
    with log.open("a", encoding="utf-8") as more:
        more.write(LINE.format(2))
    wait_for(lambda: "tailtrace_rows_stored_total 2.0" in get(f"{bridge}/metrics")[1])

    assert json.loads(get(f"{bridge}/ready")[1]) == {
        "status": "ready",
        "problems": [],
        "setup": {"log_seen": True, "line_parsed": True, "app_joined": False, "name_found": False},
    }
    assert get(f"{bridge}/health") == (200, '{"status":"ok"}')
    assert get(f"{bridge}/analytics/access-logs")[0] == 404, "a bridge gives no answers"
    assert get(f"{api}/health") == (200, '{"status":"ok"}')
    assert get(f"{api}/metrics") == (404, '{"detail":"this process runs no bridge; ask the one that does"}')
    assert get(f"http://{environment['TAILTRACE_OTLP_LISTEN']}/v1/traces")[0] == 405, "the receiver is there"
    report = subprocess.run(
        [sys.executable, "-m", "tailtrace_api.commands.cli", "report", "--json", "--at", "2026-11-24T13:00:00Z"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [entry["path"] for entry in json.loads(report.stdout)["access_logs"]["logs"]]
    assert paths == ["/items/2", "/items/1"]
    for process in (api_process, bridge_process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what a process has loaded")
def test_a_bridge_keeps_nothing_of_what_read_its_settings(tmp_path, environment, start) -> None:
    (tmp_path / "access.log").write_text(LINE.format(1), encoding="utf-8")
    environment |= {"TAILTRACE_API_TOKEN": "a-token-that-nobody-may-see", "TAILTRACE_FEATURES": '{"/items": "Items"}'}
    bridge = start("bridge")
    metrics = f"http://{environment['TAILTRACE_BRIDGE_LISTEN']}/metrics"
    wait_for(lambda: "tailtrace_rows_stored_total 1.0" in get(metrics)[1])
    proc = Path(f"/proc/{bridge.pid}")
    assert "pydantic" not in (proc / "maps").read_text(encoding="utf-8")
    assert "nobody" not in (proc / "cmdline").read_text(encoding="utf-8")
    assert not [one for one in (proc / "fd").iterdir() if "tailtrace-settings" in str(one.readlink())]


def test_the_api_lives_without_the_bridge_and_says_what_it_lacks(tmp_path, environment, start) -> None:
    assert start("api").wait(20) == 1
    assert "there is no such file; set TAILTRACE_STORE" in (tmp_path / "api.log").read_text(encoding="utf-8")
    (tmp_path / "access.log").write_text(LINE.format(1), encoding="utf-8")
    bridge = start("bridge")
    wait_for(lambda: get(f"http://{environment['TAILTRACE_BRIDGE_LISTEN']}/ready")[0] == 200)
    api = f"http://{environment['TAILTRACE_LISTEN']}"
    start("api")
    wait_for(lambda: get(f"{api}/ready")[0] == 200)
    bridge.kill()
    bridge.wait()
    assert get(f"{api}/analytics/access-logs?hours=24")[0] == 200


@pytest.mark.parametrize(
    ("command", "taken"),
    [("bridge", "TAILTRACE_BRIDGE_LISTEN"), ("bridge", "TAILTRACE_OTLP_LISTEN"), ("api", "TAILTRACE_LISTEN")],
)
def test_a_port_that_is_taken_is_named(tmp_path, environment, start, command: str, taken: str) -> None:
    host, _, port = environment[taken].rpartition(":")
    with socket.create_server((host, int(port))):
        assert start(command).wait(20) == 1
    assert f"{taken}: cannot listen on {environment[taken]}" in (tmp_path / f"{command}.log").read_text(
        encoding="utf-8"
    )


def test_a_second_bridge_on_one_checkpoint_is_refused_until_the_first_is_gone(tmp_path, environment, start) -> None:
    (tmp_path / "access.log").write_text(LINE.format(1), encoding="utf-8")
    ready = f"http://{environment['TAILTRACE_BRIDGE_LISTEN']}/ready"
    first = start("bridge")
    wait_for(lambda: get(ready)[0] == 200)
    environment |= {name: "127.0.0.1:0" for name in environment if name.endswith("_LISTEN")}
    second = start("serve")
    assert second.wait(20) == 1
    said = (tmp_path / "serve.log").read_text(encoding="utf-8")
    assert f"checkpoint.json: process {first.pid} reads the logs from there already; end it" in said
    first.kill()
    first.wait()
    third = start("serve")
    wait_for(lambda: "API on http" in (tmp_path / "serve.log").read_text(encoding="utf-8"))
    assert third.poll() is None


@pytest.mark.parametrize("command", ["serve", "bridge"])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "TAILTRACE_CHECKPOINT",
            "/nonexist/c.json",
            "TAILTRACE_CHECKPOINT: /nonexist/c.json: there is no folder /nonexist",
        ),
        ("TAILTRACE_STORE", "sqlite::memory:", "TAILTRACE_STORE: sqlite::memory: would lose all at the end"),
        ("TAILTRACE_STORE", "sqlite:access.log", "store sqlite:access.log: file is not a database"),
    ],
)
def test_what_cannot_be_used_is_said_at_the_start(tmp_path, environment, start, command, name, value, said) -> None:
    (tmp_path / "access.log").write_text(LINE.format(1), encoding="utf-8")
    environment[name] = value
    is_setting = "TAILTRACE" in said
    assert start(command).wait(20) == (2 if is_setting else 1)
    assert said in (tmp_path / f"{command}.log").read_text(encoding="utf-8")
    assert not Path("/nonexist").exists()

"""The profile `tailnet`: a person's request by Tailscale, in containers, becomes a row with their name.

The control server is `tests/tailnet`; the peer is a tailscaled of the host's in user space, asked through SOCKS.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.docker]

DAEMONS = Path.home() / ".cache" / "tailtrace" / "tailnet"
HOST = "172.17.0.1"
"""The machine, as containers reach it: the address of Docker's first bridge."""
SOCKS = "127.0.0.1:19055"
PEOPLE = {"tailtrace": {"As": "tag:web"}, "laptop": {"As": "ana@example.com"}}


class Peer:
    """A person's device."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._socket, self._log = folder / "s", folder / "log"
        self._stack = stack
        self._start(
            DAEMONS / "tailscaled", f"--statedir={folder}", f"--socket={self._socket}", "--port=0",
            "--tun=userspace-networking", f"--socks5-server={SOCKS}", "--no-logs-no-support",
        )  # fmt: skip

    def _start(self, *command: Any) -> None:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "TS_LOGS_DIR": str(self._log.parent)}
            )
        self._stack.callback(process.wait, 20)
        self._stack.callback(process.terminate)

    def tailscale(self, *words: str) -> str:
        done = subprocess.run(
            [DAEMONS / "tailscale", f"--socket={self._socket}", *words],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout

    def log_in(self) -> None:
        self.tailscale("up", f"--login-server=http://{HOST}:9911", "--hostname=laptop", "--timeout=30s")

    def get(self, address: str, path: str) -> int:
        done = subprocess.run(
            ["curl", "-gs", "-o", os.devnull, "-w", "%{http_code}", "--max-time", "10", "--proxy", f"socks5://{SOCKS}",
             f"http://{address}{path}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return int(done.stdout or 0)


@pytest.fixture(scope="module")
def site(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Peer]]:
    folder = tmp_path_factory.mktemp("peer")
    stack.compose("down", "--volumes")
    with ExitStack() as ends:
        control = subprocess.Popen(
            [DAEMONS / "control", "-ip", HOST, "-hosts", json.dumps(PEOPLE)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        ends.callback(control.wait, 20)
        ends.callback(control.terminate)
        key = stack.folder / "secrets" / "ts_authkey"
        key.write_text("tskey-auth-test", encoding="utf-8")
        key.chmod(0o644)
        stack.env["COMPOSE_PROFILES"] = "tailnet"
        stack.set(TS_EXTRA_ARGS=f"--login-server=http://{HOST}:9911")
        stack.compose("up", "--wait")
        peer = Peer(folder, ends)
        time.sleep(1)
        peer.log_in()
        yield stack, peer
        stack.compose("down", "--volumes")
        stack.set(TS_EXTRA_ARGS="")
        stack.env["COMPOSE_PROFILES"] = "local"


def addresses(stack: Any) -> list[str]:
    said: str = stack.compose("exec", "-T", "tailscale", "tailscale", "--socket=/var/run/tailscale/tailscaled.sock", "ip").stdout  # fmt: skip
    v4, v6 = said.split()
    return [v4, f"[{v6}]"]


def rows(stack: Any, begins: str) -> dict[str, tuple[Any, ...]]:
    page = stack.get("/analytics/access-logs?hours=1&limit=1000")
    found = [row for row in page["logs"] if row["path"].startswith(begins)]
    return {row["path"]: (row["user"], row["device"], row["ip"], row["app_time_ms"] is not None) for row in found}


def test_a_person_has_a_name_by_both_protocols(site: tuple[Any, Peer]) -> None:
    stack, peer = site
    for number, address in enumerate(addresses(stack)):
        path = f"/batches/6100{number}"
        stack.wait_for(lambda a=address, p=path: peer.get(a, p) == 404, 30, address)
        found = stack.wait_for(lambda p=path: rows(stack, p), 30, path)
        assert found[path][:2] == ("ana@example.com", "laptop")
        assert found[path][2] in peer.tailscale("ip").split()


def test_the_api_is_not_for_the_tailnet(site: tuple[Any, Peer]) -> None:
    stack, peer = site
    v4, _ = addresses(stack)
    assert peer.get(f"{v4}:8480", "/health") == 403
    assert peer.get(f"{v4}:8470", "/health") == 0


@pytest.mark.slow
def test_when_tailscaled_dies_everyone_has_a_name_still(site: tuple[Any, Peer]) -> None:
    """No row by another address than the person's, none without their name, none without what the app said."""
    stack, peer = site
    v4, _ = addresses(stack)
    answered = []

    def ask(count: int) -> None:
        for _ in range(count):
            path = f"/batches/62{len(answered):04}"
            if peer.get(v4, path) == 404:
                answered.append(path)

    ask(10)
    for _ in range(3):
        stack.crash("tailscale")
        end_s = time.monotonic() + 12
        while time.monotonic() < end_s:
            ask(1)
        stack.wait_for(stack.is_whole, 60)
    ask(10)
    found = stack.wait_for(lambda: all(path in rows(stack, "/batches/62") for path in answered), 60) and rows(stack, "/batches/62")  # fmt: skip
    assert {row[:2] for row in found.values()} == {("ana@example.com", "laptop")}
    assert len({row[2] for row in found.values()}) == 1
    assert all(row[3] for row in found.values())

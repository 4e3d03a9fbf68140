"""A real tailnet on one machine, each node in a network namespace of its own; nginx, the app and tailtrace on one.

    laptop  phone  runner  ivy          the peers: curl
       └──────┴──┬───┴──────┘           WireGuard, 100.64.0.0/10 and fd7a:115c:a1e0::/48 (ivy has only IPv6)
               server                   nginx ─► app ─OTLP─► tailtrace serve ─► LocalAPI of this tailscaled
    control ──bridge 10.77.0.0/24──     the network below it all; control server, DERP and STUN

What it takes and how it is given back:

| what | its name | removed |
|---|---|---|
| namespaces | `tt<pid>-<node>` | at the end, also after a failure or Ctrl-C; after SIGKILL by the next run, as the pid is dead |
| processes | only those in these namespaces | with them |
| files | `<tmp>/tailtrace-tailnet-<pid>-…` | likewise |

Interfaces, addresses and routes are all made inside the namespaces: nothing else of the machine is touched.
Daemons are real (`make tailnet` builds them); the control server is `tests/tailnet/main.go`, Tailscale's own for tests.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tailtrace_api.nginx.process import NginxServer, find_nginx

HERE = Path(__file__).parents[1] / "tailnet"
BINARIES = Path.home() / ".cache" / "tailtrace" / "tailnet"
TEMPORARY = "tailtrace-tailnet-"
CONTROL = "10.77.0.1"
WAIT_S_MAX = 15.0
IDENTITY_TTL_S = 1.0

PEOPLE: dict[str, dict[str, Any]] = {
    "server": {"As": "tag:server"},
    "laptop": {"As": "alice@example.com"},
    "phone": {"As": "bob@example.com"},
    "runner": {"As": "tag:ci"},
    "ivy": {"As": "ivy@example.com"},
}
"""Who each host is at the start of each test."""

T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T], *, within_s: float = WAIT_S_MAX) -> T:
    """Look until there is something; fail if there is not within `within_s`."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)
    return seen


def run(*command: str | Path, timeout_s: float = WAIT_S_MAX) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@dataclass(frozen=True, slots=True)
class Reply:
    """What curl got; status 0 is no answer at all."""

    status: int
    body: str

    def headers_at_app(self) -> dict[str, str]:
        return json.loads(self.body)["headers"]


class Namespace:
    """A network namespace, and the processes in it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.host, self.folder = f"tt{os.getpid()}-{name}", name, folder
        self.processes: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def open(self) -> Iterator[None]:
        run("ip", "netns", "add", self.name)
        try:
            run("ip", "-n", self.name, "link", "set", "lo", "up")
            yield
        finally:
            for process in self.processes:
                end(process)
            drop_namespace(self.name)

    def ip(self, *words: str) -> None:
        run("ip", "-n", self.name, *words)

    def command(self, *command: str | Path) -> Sequence[str | Path]:
        return ("ip", "netns", "exec", self.name, *command)

    def start(self, log: str, *command: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a program; `ip netns exec` becomes it, so its pid is that of the program."""
        with (self.folder / f"{self.host}-{log}.log").open("ab") as said:
            process = subprocess.Popen(
                self.command(*command),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def curl(self, url: str, *options: str, max_s: float = 5) -> Reply:
        command = self.command(
            "curl", "-gs", "--noproxy", "*", "--max-time", str(max_s), "-w", "\n%{http_code}", *options, url
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=max_s + 5)
        body, _, status = done.stdout.rpartition("\n")
        return Reply(int(status or 0), body)


class Node(Namespace):
    """A namespace with a tailscaled of its own, on a TUN device."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.socket = folder / f"{name}.sock"
        self.v4 = self.v6 = ""

    def plug_in(self, control: Namespace, number: int) -> None:
        control.ip("link", "add", f"v-{self.host}", "type", "veth", "peer", "name", "eth0", "netns", self.name)
        control.ip("link", "set", f"v-{self.host}", "master", "br0", "up")
        self.ip("addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
        self.ip("link", "set", "eth0", "up")

    def start_daemon(self) -> None:
        self.socket.unlink(missing_ok=True)
        self.daemon = self.start(
            "tailscaled",
            BINARIES / "tailscaled",
            f"--statedir={self.folder / self.host}",
            f"--socket={self.socket}",
            "--port=0",
            "--tun=ts0",
            "--no-logs-no-support",
            TS_DISABLE_PORTMAPPER="1",
            TS_LOGS_DIR=str(self.folder),
        )

    def tailscale(self, *words: str) -> str:
        return run(BINARIES / "tailscale", f"--socket={self.socket}", *words)

    def log_in(self) -> None:
        wait_for(f"socket of {self.host}", self.socket.exists)
        self.tailscale(
            "up",
            f"--login-server=http://{CONTROL}:9911",
            f"--hostname={self.host}",
            "--accept-dns=false",
            "--timeout=30s",
        )
        self.v4, self.v6 = self.tailscale("ip").split()

    def whois(self, address: str) -> dict[str, Any]:
        """What this node's tailscaled says now, {} if it knows nobody."""
        command = (BINARIES / "tailscale", f"--socket={self.socket}", "whois", "--json", address)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S_MAX)
        return json.loads(done.stdout) if done.returncode == 0 else {}


class Tailnet:
    """All nodes, and nginx and the app on `server`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = Namespace("control", folder)
        self.server, self.laptop, self.phone, self.runner, self.ivy = (Node(name, folder) for name in PEOPLE)
        self.nodes = (self.server, self.laptop, self.phone, self.runner, self.ivy)

    @contextmanager
    def open(self) -> Iterator[None]:
        with ExitStack() as stack:
            for namespace in (self.control, *self.nodes):
                stack.enter_context(namespace.open())
            self._start_control()
            for number, node in enumerate(self.nodes, start=11):
                node.plug_in(self.control, number)
                node.start_daemon()
            for node in self.nodes:  # in this order they get 100.64.0.1, .2, …
                node.log_in()
            self.base = {**PEOPLE, "ivy": {**PEOPLE["ivy"], "Addresses": [self.ivy.v6]}}
            self.ivy.v4 = ""
            self.reset()
            self._start_app()
            self.nginx = stack.enter_context(self._nginx())
            yield

    def say(self, **hosts: dict[str, Any]) -> None:
        """Tell the control server who hosts are from now on."""
        reply = self.control.curl(f"http://{CONTROL}:9911/admin", "-X", "PUT", "-d", json.dumps(hosts))
        assert reply.status == 200, reply

    def reset(self) -> None:
        """Make everybody who they were at the start, known to the server and reaching it."""
        started = self.server.daemon.poll() is not None
        if started:
            self.server.start_daemon()
        self.server.daemon.send_signal(signal.SIGCONT)
        self.say(**self.base)
        for node in self.nodes[1:]:
            self.wait_whois(node.v6, lambda who, node=node: self.is_as_said(who, node.host))
            if started:  # first outside WireGuard: a handshake that gets lost is sent again only after 5 s
                self.server.tailscale("ping", "-c", "1", "--until-direct=false", "--timeout=10s", node.v6)
            self.reach(node)

    def is_as_said(self, who: dict[str, Any], host: str) -> bool:
        said = self.base[host]["As"]
        tags, login = who.get("Node", {}).get("Tags"), who.get("UserProfile", {}).get("LoginName")
        named = who.get("Node", {}).get("Name", "").startswith(f"{host}.") and not who["Node"].get("Expired")
        return named and (tags == [said] if said.startswith("tag:") else login == said)

    def wait_whois(self, address: str, is_so: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until the server's tailscaled has heard of a change."""
        wait_for(f"whois {address} as wanted", lambda: is_so(self.server.whois(address)))

    def reach(self, node: Node, at: str = "") -> None:
        """Wait until packets pass between a node and the server, either way.

        The server begins: after a kill it has lost its session keys, and a peer that still believes in them waits for
        15 s before it asks for new ones.
        """
        self.server.tailscale("ping", "--tsmp", "-c", "1", "--timeout=10s", at or node.v6)

    def _start_control(self) -> None:
        self.control.ip("link", "add", "br0", "type", "bridge")
        self.control.ip("addr", "add", f"{CONTROL}/24", "dev", "br0")
        self.control.ip("link", "set", "br0", "up")
        self.control.start("control", BINARIES / "control", "-ip", CONTROL, "-hosts", json.dumps(PEOPLE))
        wait_for("control server", lambda: self.control.curl(f"http://{CONTROL}:9911/key?v=1").status == 200)

    def _start_app(self) -> None:
        command = (sys.executable, "-m", "uvicorn", "--app-dir", HERE, "--port", "8000", "--no-access-log", "app:app")
        self.server.start(
            "app",
            *command,
            OTEL_SERVICE_NAME="tailnet-app",
            OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318",
            OTEL_BSP_SCHEDULE_DELAY="100",
        )
        # Not by asking it: there is nobody yet to take a span, and those after it would wait behind it.
        said = self.folder / "server-app.log"
        wait_for("app", lambda: "Uvicorn running" in said.read_text(encoding="utf-8"))

    def _nginx(self) -> NginxServer:
        inside = self.folder / "nginx-inside"
        inside.write_text(f'#!/bin/sh\nexec ip netns exec {self.server.name} "{find_nginx()}" "$@"\n', encoding="utf-8")
        inside.chmod(0o755)
        locations = """
            listen 80; listen [::]:80;
            location / { include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:8000; }
        """
        return NginxServer(locations, server_name="tailnet.test", binary=inside, folder=self.folder / "nginx")


class Watch:
    """`tailtrace serve` on the server node, with an empty store; what peers ask, and what it says of that."""

    wait_for = staticmethod(wait_for)

    def __init__(self, tailnet: Tailnet, folder: Path, *program: str | Path) -> None:
        self.tailnet, self.folder = tailnet, folder
        ttl_us = str(int(IDENTITY_TTL_S * 1e6))
        self._program = program or (HERE / "serve.py", ttl_us, ttl_us)
        self._item = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        log = self.tailnet.nginx.log
        os.truncate(log, 0)
        self.process = self.tailnet.server.start(
            "serve",
            sys.executable,
            *self._program,
            TAILTRACE_STORE=f"sqlite:{self.folder / 'rows.db'}",
            TAILTRACE_CHECKPOINT=str(self.folder / "checkpoint.json"),
            TAILTRACE_LOG=str(log),
            TAILTRACE_SPAN_WAIT_MS="1000",
            TAILTRACE_POLL_MS="50",
            TAILSCALE_SOCKET=str(self.tailnet.server.socket),
        )
        try:
            wait_for("tailtrace serve", lambda: self.tailnet.server.curl("http://127.0.0.1:8470/ready").status == 200)
            yield
        finally:
            end(self.process, signal.SIGTERM)

    def next_path(self) -> str:
        """A path that nothing else in this test asks for: by it a row is found whatever its address says."""
        self._item += 1
        return f"/items/{self._item}"

    def ask(self, node: Node, *options: str, at: str = "", path: str = "") -> tuple[str, Reply]:
        """Let a node send a request to the server's v4 address, or to `at`; give its path and what came back."""
        path, host = path or self.next_path(), at or self.tailnet.server.v4
        return path, node.curl(f"http://[{host}]{path}" if ":" in host else f"http://{host}{path}", *options)

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows there are, by path."""
        reply = self.tailnet.server.curl("http://127.0.0.1:8470/analytics/access-logs?hours=1&limit=1000")
        assert reply.status == 200, reply
        logs = json.loads(reply.body)["logs"]
        rows = {row["path"]: row for row in logs}
        assert len(rows) == len(logs), "a request has two rows"
        return rows

    def row(self, path: str) -> dict[str, Any]:
        """The row of a path, once it is there."""
        try:
            return wait_for(f"row of {path}", lambda: self.rows().get(path))
        except AssertionError as missing:
            said = self.tailnet.folder / "server-serve.log"
            missing.add_note(f"the end of {said}:\n{said.read_text(errors='replace')[-2000:]}")
            raise

    def who(self, node: Node, *options: str, at: str = "") -> dict[str, Any]:
        """Send a request from a node; give what its row says about who that was."""
        path, reply = self.ask(node, *options, at=at)
        assert reply.status == 200, reply
        return named(self.row(path))

    def forget(self) -> None:
        """Wait until no identity is believed any longer without asking."""
        time.sleep(IDENTITY_TTL_S)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still: what is asked in this time is read after it."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


def named(row: dict[str, Any]) -> dict[str, Any]:
    """What a row says about who it was."""
    return {key: row[key] for key in ("kind", "user", "device", "tags")}


def end(process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
    """End a program of ours; with SIGKILL if it takes longer than 5 s."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
    process.wait()


def drop_namespace(name: str) -> None:
    """End what still runs in a namespace of ours, and remove it with all that is in it."""
    for pid in run("ip", "netns", "pids", name).split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    run("ip", "netns", "del", name)


def sweep() -> None:
    """Remove what a run left behind that was killed: its pid is part of the names, and nobody's any more."""
    for name in re.findall(r"^(tt(\d+)-[a-z]+)\b", run("ip", "netns", "list"), re.MULTILINE):
        if not Path("/proc", name[1]).exists():
            drop_namespace(name[0])
    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
        owner = folder.name.removeprefix(TEMPORARY).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def running_tailnet() -> Iterator[Tailnet]:
    sweep()
    # Not pytest's folder: the path of a unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}{os.getpid()}-") as folder:
        tailnet = Tailnet(Path(folder))
        with tailnet.open():
            yield tailnet


@pytest.fixture
def tailnet(running_tailnet: Tailnet) -> Tailnet:
    """The tailnet as it was at the start; only for tests with the markers `tailnet` and `nginx`."""
    running_tailnet.reset()
    return running_tailnet


@pytest.fixture
def watch(tailnet: Tailnet, tmp_path: Path) -> Iterator[Watch]:
    made = Watch(tailnet, tmp_path)
    with made.open():
        yield made


@pytest.fixture
def patient_watch(tailnet: Tailnet, tmp_path: Path) -> Iterator[Watch]:
    """The same, believing an identity for as long as users' do."""
    watch = Watch(tailnet, tmp_path, "-m", "tailtrace_api.main", "serve")
    with watch.open():
        yield watch

"""A real tailnet on one machine, each node in a network namespace of its own; nginx, the app and tailtrace on one.

    laptop  phone  runner  ivy  router ── lan   the peers: curl; what is behind the router, 192.168.50.0/24, has no tailscaled
       └──────┴──┬───┴──────┴─────┘             WireGuard, 100.64.0.0/10 and fd7a:115c:a1e0::/48 (ivy has only IPv6)
       ┌─────────┴────────┐
     server             uspace                  nginx ─► app ─OTLP─► tailtrace serve ─► LocalAPI of this tailscaled
     with TUN           --tun=userspace-networking: every peer comes from 127.0.0.1
    control ──bridge 10.77.0.0/24──             the network below it all; control server, DERP and STUN

`Tailnet.serve` puts `tailscale serve` and Funnel in front: the real ones, by the node's own serve configuration.

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
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tailtrace_api.nginx.process import NginxServer, find_nginx

HERE = Path(__file__).parents[1] / "tailnet"
BINARIES = Path.home() / ".cache" / "tailtrace" / "tailnet"
TEMPORARY = "tailtrace-tailnet-"
CONTROL = "10.77.0.1"
DOMAIN = "tailtest.ts.net"
LAN = "192.168.50"
WAIT_S_MAX = 30.0
PING_S_MAX = 90.0
IDENTITY_TTL_S = 1.0

PEOPLE: dict[str, dict[str, Any]] = {
    "server": {"As": "tag:server"},
    "laptop": {"As": "alice@example.com"},
    "phone": {"As": "bob@example.com"},
    "runner": {"As": "tag:ci"},
    "ivy": {"As": "ivy@example.com"},
    "uspace": {"As": "tag:server"},
    "router": {"As": "rita@example.com"},
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
            # Ports for servers are chosen outside, where 32768 and up are free: no connection in here may have one of these.
            ports = "echo 10000 20000 > /proc/sys/net/ipv4/ip_local_port_range"
            run("ip", "netns", "exec", self.name, "sh", "-c", ports)
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
    """A namespace with a tailscaled of its own, on a TUN device or (`userspace-networking`) without."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.tun = "userspace-networking" if name == "uspace" else "ts0"
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
            f"--tun={self.tun}",
            "--no-logs-no-support",
            TS_DISABLE_PORTMAPPER="1",
            TS_LOGS_DIR=str(self.folder),
        )

    def start_tailtrace(self, command: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start a command of tailtrace that asks this node's tailscaled."""
        program = (sys.executable, "-m", "tailtrace_api.main", command)
        return self.start(command, *program, TAILSCALE_SOCKET=str(self.socket), **settings)

    def tailscale(self, *words: str) -> str:
        return run(BINARIES / "tailscale", f"--socket={self.socket}", *words)

    def ping(self, address: str, *options: str) -> None:
        """Wait until an address answers. One ping may get lost: a handshake that does is sent again only after 5 s."""
        command = (BINARIES / "tailscale", f"--socket={self.socket}", "ping", "-c", "1", "--timeout=5s", *options)

        def answers() -> bool:
            done = subprocess.run([*command, address], capture_output=True, check=False, timeout=WAIT_S_MAX)
            return done.returncode == 0

        wait_for(f"{address} answers {self.host}", answers, within_s=PING_S_MAX)

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

    def local_api(self, path: str, *options: str) -> Reply:
        """Ask this node's tailscaled, as root does."""
        return self.curl(
            f"http://local-tailscaled.sock/localapi/v0/{path}", "--unix-socket", str(self.socket), *options
        )

    def whois(self, address: str) -> dict[str, Any]:
        """What this node's tailscaled says now, {} if it knows nobody."""
        command = (BINARIES / "tailscale", f"--socket={self.socket}", "whois", "--json", address)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S_MAX)
        return json.loads(done.stdout) if done.returncode == 0 else {}


LOCATIONS = "location / { include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:8000; }"
TRACED = f"include tailtrace-server.conf; {LOCATIONS}"
"""What a server of ours has in it, beside where it listens."""


class Tailnet:
    """All nodes, and nginx and the app on `server`."""

    TRACED = TRACED
    wait_for = staticmethod(wait_for)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = Namespace("control", folder)
        self.lan = Namespace("lan", folder)
        self.nodes = tuple(Node(name, folder) for name in PEOPLE)
        self.server, self.laptop, self.phone, self.runner, self.ivy, self.uspace, self.router = self.nodes
        self._with_app: set[Namespace] = set()

    @contextmanager
    def open(self) -> Iterator[None]:
        with ExitStack() as stack:
            for namespace in (self.control, *self.nodes, self.lan):
                stack.enter_context(namespace.open())
            self._start_control()
            self._plug_in_lan()
            for number, node in enumerate(self.nodes, start=11):
                node.plug_in(self.control, number)
                node.start_daemon()
            for node in self.nodes:  # in this order they get 100.64.0.1, .2, …
                node.log_in()
            self.base = {**PEOPLE, "ivy": {**PEOPLE["ivy"], "Addresses": [self.ivy.v6]}}
            self.ivy.v4 = ""
            self.reset()
            self.nginx = stack.enter_context(self.nginx_on(self.server, "listen 80; listen [::]:80;"))
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
            if started:  # first outside WireGuard
                self.server.ping(node.v6, "--until-direct=false")
            self.reach(node)
        for node in (self.server, self.uspace):
            self.serve(node)

    def serve(
        self,
        node: Node,
        *,
        http: dict[int, str] | None = None,
        tcp: dict[int, str] | None = None,
        proxy_protocol: int = 0,
        funnel: tuple[int, ...] = (),
    ) -> None:
        """Let a node serve this, and nothing else.

        `http`: as `tailscale serve --http=PORT` does, to `http://127.0.0.1:80` or `unix:/path/of/socket`.
        `tcp`: as `tailscale serve --tcp=PORT`, to `127.0.0.1:80`, with that version of PROXY protocol; 0: none.
        `funnel`: those of the ports that are open to the internet as well.
        """
        forwards = {str(port): {"TCPForward": to, "ProxyProtocol": proxy_protocol} for port, to in (tcp or {}).items()}
        name = f"{node.host}.{DOMAIN}"
        config = {  # https://pkg.go.dev/tailscale.com/ipn#ServeConfig
            "TCP": {str(port): {"HTTP": True} for port in http or ()} | forwards,
            "Web": {f"{name}:{port}": {"Handlers": {"/": {"Proxy": to}}} for port, to in (http or {}).items()},
            "AllowFunnel": {f"{name}:{port}": True for port in funnel},
        }
        reply = node.local_api("serve-config", "-X", "POST", "-d", json.dumps(config))
        assert reply.status == 200, reply

    def ask_serve(self, sender: Namespace, node: Node, port: int, path: str, *options: str) -> Reply:
        """Let somebody ask what a node serves, under its name."""
        return sender.curl(f"http://{node.v4}:{port}{path}", "-H", f"Host: {node.host}.{DOMAIN}", *options)

    def ask_funnel(self, node: Node, port: int, path: str, *headers: str, source: str = "203.0.113.9") -> int:
        """Let `source`, somebody of the internet, ask what a node funnels, through a relay; give the status.

        The runner is that relay: it hands the connection on as Tailscale's own do, to the node's peer API.
        """
        self.say(runner={**PEOPLE["runner"], "Ingress": True})
        api = next(
            url for url in json.loads(node.tailscale("status", "--json"))["Self"]["PeerAPIURL"] if "[" not in url
        )
        wanted = (HERE / "funnel.py", api, f"{node.host}.{DOMAIN}:{port}", f"{source}:4321", path, *headers)

        node.ping(self.runner.v6, "--tsmp")

        def status() -> int:
            return int(run(*self.runner.command(sys.executable, *wanted)))

        # 403: the node has not heard yet that this one is a relay. 0: no answer, a first packet may get lost.
        return wait_for("a relay that may hand on", lambda: (said := status()) != 403 and said)

    def run_in(self, namespace: Namespace, program: str, *words: str) -> str:
        """Run a Python program, given as its text."""
        return run(*namespace.command(sys.executable, "-c", program, *words))

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
        self.server.ping(at or node.v6, "--tsmp")

    def _start_control(self) -> None:
        self.control.ip("link", "add", "br0", "type", "bridge")
        self.control.ip("addr", "add", f"{CONTROL}/24", "dev", "br0")
        self.control.ip("link", "set", "br0", "up")
        self.control.start("control", BINARIES / "control", "-ip", CONTROL, "-hosts", json.dumps(PEOPLE))
        wait_for("control server", lambda: self.control.curl(f"http://{CONTROL}:9911/key?v=1").status == 200)

    def _plug_in_lan(self) -> None:
        self.router.ip("link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", self.lan.name)
        for namespace, device, address in ((self.router, "lan0", f"{LAN}.1"), (self.lan, "eth0", f"{LAN}.77")):
            namespace.ip("addr", "add", f"{address}/24", "dev", device)
            namespace.ip("link", "set", device, "up")
        self.lan.ip("route", "add", "default", "via", f"{LAN}.1")
        run(*self.router.command("sysctl", "-qw", "net.ipv4.ip_forward=1"))

    def start_app(self, namespace: Namespace) -> None:
        """Start the app in a namespace, on 127.0.0.1:8000, unless it runs there already."""
        if namespace in self._with_app:
            return
        self._with_app.add(namespace)
        command = (sys.executable, "-m", "uvicorn", "--app-dir", HERE, "--port", "8000", "--no-access-log", "app:app")
        namespace.start(
            "app",
            *command,
            OTEL_SERVICE_NAME="tailnet-app",
            OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318",
            OTEL_BSP_SCHEDULE_DELAY="100",
        )
        # Not by asking it: there is nobody yet to take a span, and those after it would wait behind it.
        said = self.folder / f"{namespace.host}-app.log"
        wait_for("app", lambda: "Uvicorn running" in said.read_text(encoding="utf-8"))

    def nginx_on(self, namespace: Namespace, listens: str, servers: str = "", *, http: str = "") -> NginxServer:
        """nginx before the app of a namespace; `listens` stands in the traced server, `http` before it.

        `servers` stand after it; `TRACED` is what one of them has in it that is to be like the first.
        """
        self.start_app(namespace)
        inside = self.folder / f"nginx-inside-{namespace.host}"
        inside.write_text(f'#!/bin/sh\nexec ip netns exec {namespace.name} "{find_nginx()}" "$@"\n', encoding="utf-8")
        inside.chmod(0o755)
        return NginxServer(
            f"{listens}\n{LOCATIONS}",
            http=http,
            servers=servers,
            server_name=f"{namespace.host}.{DOMAIN} tailnet.test",
            binary=inside,
            folder=Path(tempfile.mkdtemp(prefix=f"nginx-{namespace.host}-", dir=self.folder)),
        )


class Watch:
    """`tailtrace serve` on a node, with an empty store; what peers ask of its nginx, and what it says of that.

    `node` and `nginx` are the server's where nothing else is said; `settings` are environment variables.
    """

    wait_for = staticmethod(wait_for)

    def __init__(
        self,
        tailnet: Tailnet,
        folder: Path,
        *program: str | Path,
        node: Node | None = None,
        nginx: NginxServer | None = None,
        **settings: str,
    ) -> None:
        self.tailnet, self.folder = tailnet, folder
        self.node, self.nginx = node or tailnet.server, nginx or tailnet.nginx
        self.settings = {
            "TAILTRACE_STORE": f"sqlite:{folder / 'rows.db'}",
            "TAILTRACE_CHECKPOINT": str(folder / "checkpoint.json"),
            "TAILTRACE_LOG": str(self.nginx.log),
            "TAILTRACE_SPAN_WAIT_MS": "1000",
            "TAILTRACE_POLL_MS": "50",
            "TAILSCALE_SOCKET": str(self.node.socket),
            **settings,
        }
        self.token = ""
        """What `rows` and `api` show where this is set: whoever asks from 127.0.0.1 is not everywhere known."""
        ttl_us = str(int(IDENTITY_TTL_S * 1e6))
        self._program = program or (HERE / "serve.py", ttl_us, ttl_us)
        self._item = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        os.truncate(self.nginx.log, 0)
        self.process = self.node.start("serve", sys.executable, *self._program, **self.settings)
        try:
            wait_for("tailtrace serve", lambda: self.node.curl(*self._ready()).status == 200)
            yield
        finally:
            end(self.process, signal.SIGTERM)

    def _ready(self) -> tuple[str, ...]:
        path = self.settings.get("TAILTRACE_LISTEN", "").removeprefix("unix:")
        return ("http://localhost/ready", "--unix-socket", path) if path else ("http://127.0.0.1:8470/ready",)

    def tailtrace(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of tailtrace on the node, with the settings of the one that serves."""
        return subprocess.run(
            self.node.command(sys.executable, "-m", "tailtrace_api.main", *words),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, **self.settings},
        )

    def make_token(self, role: str = "admin", *options: str) -> str:
        """Make a token; an admin's is shown from now on."""
        done = self.tailtrace("token", "create", f"test-{role}", "--role", role, *options)
        made = re.search(r"ttk_[\w-]+", done.stdout)
        assert made, done
        if role == "admin":
            self.token = made[0]
        return made[0]

    def api(self, path: str) -> Reply:
        """Ask the API from the node itself."""
        shown = ("-H", f"Authorization: Bearer {self.token}") if self.token else ()
        return self.node.curl(f"http://127.0.0.1:8470{path}", *shown)

    def next_path(self) -> str:
        """A path that nothing else in this test asks for: by it a row is found whatever its address says."""
        self._item += 1
        return f"/items/{self._item}"

    def ask(self, node: Node, *options: str, at: str = "", path: str = "") -> tuple[str, Reply]:
        """Let a node send a request to nginx's v4 address, or to `at`; give its path and what came back."""
        path, host = path or self.next_path(), at or self.node.v4
        return path, node.curl(f"http://[{host}]{path}" if ":" in host else f"http://{host}{path}", *options)

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows there are, by path."""
        reply = self.api("/analytics/access-logs?hours=1&limit=1000")
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
            said = self.tailnet.folder / f"{self.node.host}-serve.log"
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


@pytest.fixture
def watch_on(tailnet: Tailnet, tmp_path: Path) -> Callable[..., AbstractContextManager[Watch]]:
    """What starts nginx on a node, as `Tailnet.nginx_on` does, and `tailtrace serve` with settings beside it."""

    @contextmanager
    def started(node: Node, listens: str, servers: str = "", *, http: str = "", **settings: str) -> Iterator[Watch]:
        with tailnet.nginx_on(node, listens, servers, http=http) as nginx:
            watch = Watch(tailnet, tmp_path, "-m", "tailtrace_api.main", "serve", node=node, nginx=nginx, **settings)
            with watch.open():
                yield watch

    return started

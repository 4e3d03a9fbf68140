"""A real browser on a real `tailtrace serve`, on stores with a past; any error in the page's console fails the test.

A violation of the Content-Security-Policy is such an error, and so is an exception. What a test provokes on purpose it
takes off `page.said` itself.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.processes import free_port

ROOT = Path(__file__).parents[2]
START_S_MAX = 40
WAIT_S_MAX = 30
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@cache
def openapi() -> bytes:
    """The demo app's document, made in a process of its own: the app would trace this one."""
    code = "import json; from tailtrace_api.demo.app import make_app; print(json.dumps(make_app().openapi()))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout


@contextmanager
def serve(folder: Path, *, until: int = 200, **environment: str) -> Iterator[str]:
    """Run `tailtrace serve` on the store and a log in a folder; give its address once `/ready` answers `until`."""
    (folder / "access.log").touch()
    (folder / "openapi.json").write_bytes(openapi())
    listen = environment.get("TAILTRACE_LISTEN", f"127.0.0.1:{free_port()}")
    settings = {
        "TAILTRACE_STORE": f"sqlite:{folder / 't.db'}",
        "TAILTRACE_LOG": str(folder / "access.log"),
        "TAILTRACE_CHECKPOINT": str(folder / "checkpoint.json"),
        "TAILTRACE_OPENAPI": str(folder / "openapi.json"),
        "TAILTRACE_LISTEN": listen,
        "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{free_port()}",
        "TAILTRACE_TIMEZONE": "Europe/Madrid",
        **environment,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAILTRACE_")}
    url = f"http://{listen}"
    with (folder / "serve.log").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tailtrace_api.main", "serve"],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**kept, **settings}, cwd=folder,
        )  # fmt: skip
    try:
        wait_ready(url, process, folder / "serve.log", until)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def wait_ready(url: str, process: subprocess.Popen[bytes], log: Path, until: int = 200) -> None:
    end = time.monotonic() + START_S_MAX
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/ready").status_code == until:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail(f"tailtrace serve did not get ready:\n{log.read_text(errors='replace')[-2000:]}")


class Elsewhere(ThreadingHTTPServer):
    """A page of another origin: `html` for every path, under `policy`."""

    daemon_threads = True
    html = ""
    policy = ""

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Page(BaseHTTPRequestHandler):
    server: Elsewhere

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        if self.server.policy:
            self.send_header("Content-Security-Policy", self.server.policy)
        self.end_headers()
        self.wfile.write(self.server.html.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with serve_elsewhere() as server:
        yield server


@pytest.fixture(scope="session")
def serving_elsewhere() -> Callable[..., Any]:
    """`serve_elsewhere`, for more than one test."""
    return serve_elsewhere


def fill(folder: Path, days: int) -> None:
    """Return a folder the store of a factory with a past."""
    from tailtrace_api.demo.history import history
    from tailtrace_api.demo.people import PEOPLE
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    store = SqliteStore(folder / "t.db")
    store.write(sorted(history(PEOPLE, time.time_ns() // 1000, days), key=lambda row: row.access.time_us))
    store.close()


@pytest.fixture(scope="session")
def filled() -> Callable[[Path, int], None]:
    """`fill`, for a store of the test's own."""
    return fill


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The factory of the demo, two months of it."""
    folder = tmp_path_factory.mktemp("factory")
    fill(folder, 60)
    with serve(folder) as url:
        yield url


@pytest.fixture(scope="module")
def serving() -> Callable[..., Any]:
    """`serve`, for a store of the test's own."""
    return serve


@pytest.fixture(scope="module")
def browser(chromium_program: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium_program, args=["--no-sandbox"])
        yield made
        made.close()


def until(page: Any, holds: str) -> None:
    """Wait until an expression is true. Playwright's own way to wait evaluates later, which the policy forbids."""
    end = time.monotonic() + WAIT_S_MAX
    while not page.evaluate(holds):
        if time.monotonic() > end:
            pytest.fail(f"not within {WAIT_S_MAX} s: {holds}")
        page.wait_for_timeout(30)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address in a window of its own: `open_page(url, phone=True, scheme="dark", locale="es-ES")`."""
    pages: list[Any] = []

    def open_(
        url: str,
        *,
        phone: bool = False,
        scheme: str = "light",
        locale: str = "en-GB",
        ready: str = "#totals dl",
        headers: dict[str, str] | None = None,
    ):
        context = browser.new_context(
            viewport=PHONE if phone else WIDE, color_scheme=scheme, locale=locale, timezone_id="Europe/Madrid",
            has_touch=phone, is_mobile=phone, reduced_motion="reduce",
            extra_http_headers=headers or {},
        )  # fmt: skip
        page = context.new_page()
        page.set_default_timeout(WAIT_S_MAX * 1000)
        page.said = []
        page.until = lambda holds: until(page, holds)
        page.on("console", lambda message: page.said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("dialog", lambda dialog: (page.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        pages.append(page)
        page.goto(url)
        page.wait_for_selector(ready)
        return page

    yield open_
    said = [text for page in pages for text in page.said]
    for page in pages:
        page.context.close()
    assert said == [], "the page's console has errors"


@pytest.fixture(scope="session")
def row() -> Callable[..., Any]:
    """Makes a row: its number, who, on what, which path; `traffic` names its kind, `app` or `card` and the like."""
    from tailtrace_bridge.core.records import Access, Identity, Row, Traffic

    def make(
        number: int,
        user: str = "",
        device: str = "",
        path: str = "/a",
        *,
        status: int = 200,
        traffic: str = "app",
        address: str = "100.64.0.9",
        kind: str = "user",
        at_us: int | None = None,
    ) -> Row:
        begun_us = time.time_ns() // 1000 - 2_000_000 if at_us is None else at_us
        access = Access(begun_us, number, address, "GET", path, status, 5000, None, True, 10, "", "", "", "", "")
        node = f"n{number}" if device else ""
        return Row(
            access, Identity(address, kind, user, device, node, "", "static"), path, Traffic[traffic.upper()], None, ""
        )

    return make


@pytest.fixture
def alert_of() -> Callable[..., Any]:
    """Has each panel answered by `handler`, asks anew, and gives the alert that is shown."""

    def fail(page: Any, handler: Callable[[Any], None]) -> Any:
        page.route("**/analytics/panels/**", handler)
        page.get_by_label("7 days").check()
        alert = page.locator("#totals [role=alert]")
        alert.wait_for()
        return alert

    return fail


@pytest.fixture
def show_all() -> Callable[[Any], None]:
    """Makes the window as long as the page, so that each panel has asked and shows its answer."""

    def show(page: Any) -> None:
        page.set_viewport_size({"width": page.viewport_size["width"], "height": 6000})
        page.until("!document.querySelector('.panel-body[aria-busy]')")

    return show

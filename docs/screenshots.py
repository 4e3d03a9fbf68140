# ruff: noqa: INP001 - a script, not a package
"""Takes the pictures in `docs/images/` of dashboard, widget and terminal, over two months of the demo's factory.

    python docs/screenshots.py

They change with each run, as the page shows now; so whoever runs `make docs` or `make screenshots` looks at them.
"""

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from pydantic import TypeAdapter
from rich.console import Console

from tailtrace_api.answers.request_records import Report
from tailtrace_api.demo.app import make_app
from tailtrace_api.demo.history import history
from tailtrace_api.demo.people import PEOPLE
from tailtrace_api.terminal.report import print_report
from tailtrace_bridge.alerts.words import Words
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, HOUR_US, AlertEvent, Window
from tailtrace_bridge.traces.joined import join_groups

IMAGES = Path(__file__).with_name("images")
COLOURS = 256
"""Of a picture's palette: with fewer, the colour of a small mark becomes that of another."""
PHONE_WIDTH_MAX = 560
DAYS = 60
TERMINAL_COLUMNS = 118
RULE = {"name": "slow plans", "kind": "p95", "window": "10m", "threshold": 800}


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture."""

    name: str
    query: str
    width: int
    height: int
    scheme: str = "light"
    scale: float = 1.5
    click: str = ""


SHOTS = (
    Shot("dashboard-light", "?period=7d", 1280, 1010),
    Shot("dashboard-dark", "?period=30d", 1280, 1010, "dark"),
    Shot("dashboard-phone", "?period=7d", 390, 844, scale=2),
    Shot("dashboard-phone-dark-es", "?period=7d&lang=es", 390, 844, "dark", 2),
    Shot(
        "dashboard-request",
        "?period=30d&endpoint=/predict/prices/weekly&status=500",
        1000,
        560,
        click="#requests button.path",
    ),
)

PANELS = ("?period=7d", "?period=7d&user=ana@factory.example")
"""What shows each panel: the second the trail, which is of one person."""

WIDGET_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>elsewhere</title>
<style>body { margin: 0; display: flex; width: max-content } div { padding: 28px }
.light { background: #f5f6f4 } .dark { background: #0e1312 } tailtrace-widget { width: 330px }</style>
<script type="module" src="@URL@/static/js/components/analytics-widget.js"></script>
<div class="light"><tailtrace-widget theme="light"></tailtrace-widget></div>
<div class="dark"><tailtrace-widget theme="dark" lang="es"></tailtrace-widget></div></html>"""


def _alert(time_us: int, what: str, value: float, **facts: object) -> AlertEvent:
    """Make what `RULE` tells, in the words that the watch writes."""
    rule = AlertRule.model_validate(RULE)
    text = Words("en", ZoneInfo("Europe/Madrid")).event(rule, what, value, facts)
    return AlertEvent(time_us, rule.name, rule.kind, what, "", value, text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(elsewhere: str) -> Iterator[str]:
    """Run `tailtrace serve` over the factory's past, its widget for pages of `elsewhere`; give its address."""
    with tempfile.TemporaryDirectory(prefix="tailtrace-shots-") as name:
        folder, port = Path(name), _free_port()
        store, now_us = SqliteStore(folder / "t.db"), time.time_ns() // 1000
        rows = history(PEOPLE, now_us, DAYS)
        store.write(sorted(rows, key=lambda row: row.access.time_us))
        join_groups(store, Window(now_us - (DAYS + 1) * DAY_US, now_us))
        store.add_alert_events([
            _alert(now_us - 26 * HOUR_US, "started", 812.0, requests=64),
            _alert(now_us - 25 * HOUR_US, "ended", 421.0, requests=71, lasted="1 h"),
        ])  # fmt: skip
        store.close()
        (folder / "access.log").touch()
        (folder / "openapi.json").write_text(json.dumps(make_app().openapi()), encoding="utf-8")
        settings = {
            "TAILTRACE_STORE": f"sqlite:{folder / 't.db'}",
            "TAILTRACE_LOG": str(folder / "access.log"),
            "TAILTRACE_CHECKPOINT": str(folder / "checkpoint.json"),
            "TAILTRACE_OPENAPI": str(folder / "openapi.json"),
            "TAILTRACE_LISTEN": f"127.0.0.1:{port}",
            "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{_free_port()}",
            "TAILTRACE_TIMEZONE": "Europe/Madrid",
            "TAILTRACE_CORS_ORIGINS": json.dumps([elsewhere]),
            "TAILTRACE_ALERTS": json.dumps([RULE]),
        }
        command = [sys.executable, "-m", "tailtrace_api.main", "serve"]
        with subprocess.Popen(command, env={**os.environ, **settings}, cwd=folder) as process:  # noqa: S603 - our own
            try:
                _wait_ready(f"http://127.0.0.1:{port}")
                yield f"http://127.0.0.1:{port}"
            finally:
                process.send_signal(signal.SIGTERM)


def _wait_ready(url: str) -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"{url}/ready"):  # noqa: S310 - our own address
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("screenshots: tailtrace serve did not get ready")


def take(browser: Browser, url: str, shot: Shot) -> Path:
    """Take one picture; give its file."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        device_scale_factor=shot.scale,
        color_scheme="dark" if shot.scheme == "dark" else "light",
        locale="en-GB",
        timezone_id="Europe/Madrid",
        reduced_motion="reduce",
        has_touch=shot.width < PHONE_WIDTH_MAX,
        is_mobile=shot.width < PHONE_WIDTH_MAX,
    )
    page = context.new_page()
    page.goto(f"{url}/{shot.query}")
    page.wait_for_selector("#totals dl")
    page.wait_for_selector("#live[data-state=live]")
    if shot.click:
        page.locator("#requests").scroll_into_view_if_needed()
        page.locator(shot.click).first.click()
        page.wait_for_selector("dialog .phases")  # its parts come after it
    page.wait_for_timeout(600)
    picture = page.screenshot()
    context.close()
    return _keep(picture, shot.name)


def take_panels(browser: Browser, url: str, scheme: Literal["light", "dark"]) -> Iterator[Path]:
    """Take each panel by itself; give their files."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 1010}, color_scheme=scheme, locale="en-GB", timezone_id="Europe/Madrid",
        reduced_motion="reduce",
    )  # fmt: skip
    page, taken = context.new_page(), set()
    for query in PANELS:
        page.goto(f"{url}/{query}")
        page.wait_for_selector("#totals dl")
        page.keyboard.press("Tab")  # who walks through the page has all of it
        while page.locator(".panel:visible .skeleton").count():
            page.wait_for_timeout(100)
        page.locator(":focus").evaluate("(one) => one.blur()")
        page.wait_for_timeout(600)
        for panel in page.locator(".panel[id]:visible").all():
            name = panel.get_attribute("id")
            if name not in taken:
                taken.add(name)
                yield _keep(panel.screenshot(), f"panels/{name}-{scheme}")
    context.close()


@contextmanager
def page_elsewhere() -> Iterator[HTTPServer]:
    """Serve `html` of the server for every path, from an origin of its own: a browser asks a real address only."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(self.server.html.encode())  # type: ignore[attr-defined]

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def take_widget(browser: Browser, url: str, server: HTTPServer) -> Path:
    """Take the widget in a page from elsewhere, light and dark; give its file."""
    context = browser.new_context(device_scale_factor=1.5, locale="en-GB", timezone_id="Europe/Madrid")
    page = context.new_page()
    server.html = WIDGET_PAGE.replace("@URL@", url)  # type: ignore[attr-defined]
    page.goto(_origin(server))
    page.locator("tailtrace-widget[theme=dark] ol").wait_for()
    picture = page.locator("body").screenshot()
    context.close()
    return _keep(picture, "widget")


def take_terminal(browser: Browser, url: str) -> Path:
    """Take what `tailtrace report --days 7` prints; give its file."""
    answers = {
        "access_logs": "access-logs?hours=168",
        "dashboard_usage": "dashboard-usage?days=7",
        "system_health_history": "system-health-history?days=7",
    }
    report = {}
    for name, path in answers.items():
        with urllib.request.urlopen(f"{url}/analytics/{path}") as answer:  # noqa: S310 - our own address
            report[name] = json.load(answer)
    console = Console(record=True, width=TERMINAL_COLUMNS, file=io.StringIO(), force_terminal=True)
    print_report(console, TypeAdapter(Report).validate_python(report), "en")
    drawn = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="tailtrace report --days 7"), flags=re.DOTALL)
    context = browser.new_context(device_scale_factor=1.5, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_content(f"<body style='margin:0;width:1280px'>{drawn}")
    picture = page.locator("svg").screenshot()
    context.close()
    return _keep(picture, "terminal")


def _origin(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def _keep(screenshot: bytes, name: str) -> Path:
    path = IMAGES / f"{name}.png"
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def main() -> None:
    """Take all pictures."""
    program = os.environ.get("TAILTRACE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise SystemExit("screenshots: no chromium: apt install chromium, or TAILTRACE_CHROMIUM names one")
    (IMAGES / "panels").mkdir(parents=True, exist_ok=True)
    with page_elsewhere() as server, served(_origin(server)) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for path in (
            *(take(browser, url, shot) for shot in SHOTS),
            *(path for scheme in ("light", "dark") for path in take_panels(browser, url, scheme)),
            take_widget(browser, url, server),
            take_terminal(browser, url),
        ):
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()

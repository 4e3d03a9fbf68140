"""The dashboard in a real browser: its weight over the wire, and how soon it paints and shows numbers.

    python bench/page.py

On the store of `answers.py`, a million rows over 30 days unless told otherwise; each time without a cache, in a window
that has shown the page before: a browser's own start, and a window's, are not the page's.

| time | from | until |
|---|---|---|
| first paint | the browser sets out for the page | Chromium's own `first-contentful-paint` |
| totals | the same | the four totals are painted |
| all | the same | so are the panels that are in sight |
| click | a click on another period | the totals of that one are painted |
| waterfall | the trace's answer | its rows are laid out and painted |
"""

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from playwright.sync_api import Browser, Page, sync_playwright
from store import filled

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic, WholeSpan
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.traces.pack import pack

PAINT_S_MAX = 0.3
NUMBERS_S_MAX = 0.6
CLICK_S_MAX = 0.3
BYTES_MAX = 100_000
WATERFALL_S_MAX = 0.2
SPANS = 500
TIMES = 5
SETTLE_S = 1.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


WATCH = """
  const after = new MessageChannel(); // it comes right after the frame, a timer after those of the page
  after.port1.onmessage = ({data}) => { window[data] ??= performance.now(); };
  const painted = (name) => requestAnimationFrame(() => after.port2.postMessage(name));
  const isSeen = (panel) => !panel.hidden && panel.getBoundingClientRect().top < innerHeight;
  const isAnswered = () => performance.getEntriesByType('resource')
    .some(({name}) => name.endsWith('overview?period=7d'));
  new MutationObserver(() => {
    const totals = document.querySelector('#totals dl');
    if (!totals) return;
    painted('totalsMs');
    const waits = (panel) => panel.querySelector('.skeleton') && isSeen(panel);
    if (!window.isAll && ![...document.querySelectorAll('.panel')].some(waits)) {
      window.isAll = true;
      painted('allMs');
    }
    if (window.before && totals !== window.before && isAnswered()) painted('newMs');
    window.lastTotals = totals;
  }).observe(document, {childList: true, subtree: true});
  addEventListener('click', () => { window.clickMs ??= performance.now(); window.before ??= window.lastTotals; }, true);
"""
"""Runs before anything of the page, whose policy allows no script later, and so no waiting for what one says.

To ask where a panel stands lays out the page, which costs the page its time: asked as seldom as can be.
"""


class Times(NamedTuple):
    """Seconds, as the table has them."""

    paint: float
    totals: float
    all: float
    click: float


def awaited_s(page: Page, name: str) -> float:
    """Return a time that the page noted, once it has."""
    while (noted_ms := page.evaluate(f"window.{name}")) is None:
        time.sleep(0.05)
    return float(noted_ms) / 1000


def look(page: Page, url: str) -> tuple[Times, int]:
    """Open the page without a cache, then choose another period. Return the times, and the bytes of its files."""
    cache = page.context.new_cdp_session(page)
    cache.send("Network.clearBrowserCache")
    cache.detach()
    page.goto(url)
    totals_s, all_s = awaited_s(page, "totalsMs"), awaited_s(page, "allMs")
    paint_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    size = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".filter(({name}) => name.includes('/static/') || name === location.href)"
        ".reduce((sum, one) => sum + one.encodedBodySize, 0)"
    )
    page.wait_for_load_state("load")
    time.sleep(SETTLE_S)
    page.click(".segments label:has(#period-7d)")
    new_s, click_s = awaited_s(page, "newMs"), awaited_s(page, "clickMs")
    return Times(paint_ms / 1000, totals_s, all_s, new_s - click_s), size


def show_page(browser: Browser, url: str, rows: int) -> None:
    """Print a line for each time, the median of TIMES."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.add_init_script(WATCH)
    for query in ("", "?period=30d"):
        look(page, f"{url}/{query}")
        seen, sizes = zip(*(look(page, f"{url}/{query}") for _ in range(TIMES)), strict=True)
        allowed = Times(PAINT_S_MAX, NUMBERS_S_MAX, NUMBERS_S_MAX, CLICK_S_MAX)
        for name, took_s, most_s in zip(
            Times._fields, map(statistics.median, zip(*seen, strict=True)), allowed, strict=True
        ):
            print(f"{rows} rows {query:12} {name:7} {took_s:.2f} s: {took_s / most_s:.2f} x the {most_s:g} s allowed")
        print(f"{sizes[0] / 1000:.1f} kB packed: {sizes[0] / BYTES_MAX:.2f} x the {BYTES_MAX / 1000:.0f} kB allowed")
    page.context.close()


def waterfall(browser: Browser, url: str, trace_id: str) -> float:
    """Open a request's dialog anew: seconds from the trace's answer until its rows are laid out and painted."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(
        "new MutationObserver((_, seen) => { if (document.querySelector('.waterfall')) { seen.disconnect();"
        " requestAnimationFrame(() => setTimeout(() => { window.drawnMs = performance.now(); })); } })"
        ".observe(document, {childList: true, subtree: true})"
    )
    page.goto(f"{url}/?request={trace_id}")
    while not page.evaluate("window.drawnMs"):  # the page's policy allows no text as script, and so no waiting for one
        time.sleep(0.05)
    answered = "performance.getEntriesByType('resource').find(({name}) => name.includes('/panels/trace/')).responseEnd"
    took_ms = page.evaluate(f"drawnMs - {answered}")
    context.close()
    return float(took_ms) / 1000


def keep_trace(store: SqliteStore) -> str:
    """Keep a request with SPANS spans, a tree of two each; return its trace id."""
    at_us, trace_id = time.time_ns() // 1000 - 60_000_000, "ab" * 16
    access = Access(
        at_us, 1, "100.64.0.7", "GET", "/orders/7", 200, 120_000, 95_000, True, 10, "shop", trace_id, "cd" * 8, "", ""
    )
    row = Row(access, Identity("100.64.0.7"), "/orders/{id}", Traffic.APP, 60_000, "")
    spans = []
    for number in range(1, SPANS + 1):
        parent = (number // 2).to_bytes(8) if number > 1 else bytes.fromhex("cd" * 8)
        begin_ns = (at_us + number * 100) * 1000
        made = Span(
            trace_id=bytes.fromhex(trace_id), span_id=number.to_bytes(8), parent_span_id=parent, name=f"s{number}"
        )
        made.start_time_unix_nano, made.end_time_unix_nano = begin_ns, begin_ns + 10_000_000
        spans.append(WholeSpan(made.trace_id, made.SerializeToString(), "shop", "1.2"))
    store.write([row])
    store.keep_traces([pack(row, "error", spans, service="nginx", has_messages=False)], 1 << 26)
    return trace_id


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--store", type=Path, help="a SQLite store that this bench filled before, or is to fill now")
    arguments = parser.parse_args()
    program = os.environ.get("TAILTRACE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        print("no chromium: apt install chromium, or TAILTRACE_CHROMIUM names one; nothing measured")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        path = arguments.store or folder / "t.db"
        store, _ = filled(path, arguments.rows)
        trace_id = keep_trace(store)
        store.close()
        (folder / "access.log").touch()
        settings = {
            "TAILTRACE_STORE": f"sqlite:{path}",
            "TAILTRACE_LOG": str(folder / "access.log"),
            "TAILTRACE_CHECKPOINT": str(folder / "checkpoint.json"),
            "TAILTRACE_LISTEN": f"127.0.0.1:{port}",
            "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{free_port()}",
        }
        command = [sys.executable, "-m", "tailtrace_api.main", "serve"]
        with (
            subprocess.Popen(command, env={**os.environ, **settings}, cwd=folder, stderr=subprocess.DEVNULL) as process,
            sync_playwright() as playwright,
        ):
            url = f"http://127.0.0.1:{port}"
            try:
                for _ in range(200):
                    try:
                        urllib.request.urlopen(f"{url}/ready").close()
                        break
                    except OSError:
                        time.sleep(0.05)
                browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
                show_page(browser, url, arguments.rows)
                drawn_s = statistics.median(waterfall(browser, url, trace_id) for _ in range(TIMES))
                print(
                    f"a waterfall of {SPANS} spans is drawn in {1000 * drawn_s:.0f} ms:"
                    f" {drawn_s / WATERFALL_S_MAX:.2f} x the {1000 * WATERFALL_S_MAX:.0f} ms allowed"
                )
                browser.close()
            finally:
                process.send_signal(signal.SIGTERM)
    return 0


if __name__ == "__main__":
    sys.exit(main())

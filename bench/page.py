"""The dashboard in a real browser: its weight over the wire, and how soon it paints and shows numbers.

    python bench/page.py

On the store of `answers.py`, a million rows over 30 days unless told otherwise; each time in a new window without a
cache. A waterfall counts from its answer on, until its rows are laid out.

First paint is Chromium's own `first-contentful-paint`; numbers are there when the four totals are.
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

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from playwright.sync_api import Browser, sync_playwright
from store import make_rows, write

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic, WholeSpan
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.traces.pack import pack

PAINT_S_MAX = 1.0
BYTES_MAX = 250_000
WATERFALL_S_MAX = 0.2
SPANS = 500
TIMES = 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def look(browser: Browser, url: str) -> tuple[float, float, int]:
    """Open the page anew: seconds to the first paint, seconds to the numbers, bytes of its files."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#totals dl")
    numbers_ms = page.evaluate("performance.now()")
    paint_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    size = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".filter(({name}) => !name.includes('/analytics/')).reduce((sum, one) => sum + one.encodedBodySize, 0)"
    )
    context.close()
    return paint_ms / 1000, numbers_ms / 1000, size


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
    arguments = parser.parse_args()
    program = os.environ.get("TAILTRACE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        print("no chromium: apt install chromium, or TAILTRACE_CHROMIUM names one; nothing measured")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        store = SqliteStore(folder / "t.db")
        write(store, make_rows(arguments.rows, 30, time.time_ns() // 1000))
        trace_id = keep_trace(store)
        store.close()
        (folder / "access.log").touch()
        settings = {
            "TAILTRACE_STORE": f"sqlite:{folder / 't.db'}",
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
                for query in ("", "?period=30d"):
                    paints, numbers, sizes = zip(*(look(browser, f"{url}/{query}") for _ in range(TIMES)), strict=True)
                    paint_s, numbers_s = statistics.median(paints), statistics.median(numbers)
                    print(
                        f"{arguments.rows} rows {query:12} first paint {paint_s:.2f} s: {paint_s / PAINT_S_MAX:.2f} x"
                        f" the {PAINT_S_MAX:g} s allowed; numbers after {numbers_s:.2f} s; {sizes[0] / 1000:.1f} kB:"
                        f" {sizes[0] / BYTES_MAX:.2f} x the {BYTES_MAX / 1000:.0f} kB allowed"
                    )
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

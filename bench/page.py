"""The dashboard in a real browser: its weight over the wire, and how soon it paints and shows numbers.

    python bench/page.py

On the store of `answers.py`, a million rows over 30 days unless told otherwise; each time in a new window without a
cache. First paint is Chromium's own `first-contentful-paint`; numbers are there when the four totals are.
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

from playwright.sync_api import Browser, sync_playwright
from store import make_rows, write

from tailtrace_bridge.store.sqlite.store import SqliteStore

PAINT_S_MAX = 1.0
BYTES_MAX = 250_000
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
                browser.close()
            finally:
                process.send_signal(signal.SIGTERM)
    return 0


if __name__ == "__main__":
    sys.exit(main())

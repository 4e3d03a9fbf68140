"""`tailtrace serve` from its start to its first answer, on an empty store or one of many rows; a small import, whole.

The first answer is that of `/health`. What answers questions is loaded when the first of them comes (`http/api.py`), so
the time from a start to the answer of one is printed too.

    python bench/startup.py --rows 10000000
    python bench/startup.py --store t.db                 # one that is filled already, by bench/page.py --store
    python -X importtime -m tailtrace_api.main serve    # what is loaded, and for how long

The store is filled first, through the same code as ever; the time is the median of five starts, and what they took of
a CPU stands behind it. Modules are compiled before, as `pip install` does it, also where this environment forbids it.
"""

import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from anonymous import cpu_s
from store import filled

from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import Filters, Window

STARTS = 5
LINES = 100
QUESTION = "/analytics/access-logs"
SERVE_EMPTY_S_MAX, SERVE_FULL_S_MAX, IMPORT_S_MAX = 0.6, 1.0, 0.3


def free_port() -> int:
    """Find one."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def first_answer_s(folder: Path, store: Path, compiled: str, path: str = "/health") -> tuple[float, float]:
    """Start, ask for `path` until there is an answer, end. Return seconds, and seconds of CPU."""
    port = free_port()
    environment = {
        **os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled,
        "TAILTRACE_LOG": str(folder / "access.log"), "TAILTRACE_STORE": f"sqlite:{store}",
        "TAILTRACE_CHECKPOINT": str(folder / "c.json"), "TAILTRACE_LISTEN": f"127.0.0.1:{port}",
        "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{free_port()}",
    }  # fmt: skip
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "tailtrace_api.main", "serve"], cwd=folder, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", port), 30) as one:
                    one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                    if one.recv(100).startswith(b"HTTP/1.1 200"):
                        return time.perf_counter() - begun, cpu_s(process.pid)
            except OSError:
                time.sleep(0.005)
        raise SystemExit("serve ended by itself")
    finally:
        process.terminate()
        process.wait()


def import_s(folder: Path, compiled: str) -> tuple[float, float]:
    """Import a small log into a new store. Return seconds of the whole process, and seconds of CPU."""
    log = folder / "small.log"
    log.write_text("".join(
        f'100.64.0.{n % 9} - - [27/Nov/2026:10:{n % 60:02d}:00 +0000] "GET /items/{n} HTTP/1.1" 200 9 "-" "curl/8.5"\n'
        for n in range(LINES)
    ))  # fmt: skip
    with tempfile.TemporaryDirectory(dir=folder) as store:
        command = [sys.executable, "-m", "tailtrace_api.main", "import", "--store", f"sqlite:{store}/t.db", str(log)]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        took_s, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def show(what: str, measure: Callable[[], tuple[float, float]], allowed_s: float) -> None:
    """Print a line: the median of some, after one that compiles."""
    measure()
    took, spent = zip(*(measure() for _ in range(STARTS)), strict=True)
    median_s = statistics.median(took)
    print(
        f"{what:>28}: {median_s:.2f} s, {min(took):.2f} to {max(took):.2f}; of a CPU {statistics.median(spent):.2f} s;"
        f" {median_s / allowed_s:.2f} x the {allowed_s:g} s allowed",
        flush=True,
    )


def main() -> None:
    """Measure, and print one line for each store, and for an import."""
    options = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--store", type=Path, help="a SQLite store to fill, or to start on if it is filled already")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as compiled:
        folder = Path(name)
        (folder / "access.log").touch()
        path = chosen.store or folder / "full.db"
        store, _ = filled(path, chosen.rows)
        rows = sum(one.requests for one in store.usage(Scope.everybody(), Window(0, 1 << 60), Filters()))
        store.close()
        empty = folder / "empty.db"
        show("serve, 0 rows", lambda: first_answer_s(folder, empty, compiled), SERVE_EMPTY_S_MAX)
        show("… to a question of requests", lambda: first_answer_s(folder, empty, compiled, QUESTION), SERVE_FULL_S_MAX)
        show(f"serve, {rows} rows", lambda: first_answer_s(folder, path, compiled), SERVE_FULL_S_MAX)
        show(f"import, {LINES} lines", lambda: import_s(folder, compiled), IMPORT_S_MAX)


if __name__ == "__main__":
    main()

"""`tailtrace serve` from its start to its first answer, on an empty store or on one of many rows.

    python bench/startup.py --rows 10000000
    python -X importtime -m tailtrace_api.main serve    # what is loaded, and for how long

The store is filled first, through the same code as ever; the time is the median of five starts, and what they took of
a CPU stands behind it. Modules are compiled before, as `pip install` does it, also where this environment forbids it.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from anonymous import cpu_s
from store import make_rows, write

from tailtrace_bridge.store.sqlite.store import SqliteStore

STARTS = 5
DAYS = 30


def free_port() -> int:
    """Find one."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def first_answer_s(folder: Path, compiled: str) -> tuple[float, float]:
    """Start, ask until there is an answer, end. Return seconds, and seconds of CPU."""
    port = free_port()
    environment = {
        **os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled,
        "TAILTRACE_LOG": str(folder / "access.log"), "TAILTRACE_STORE": f"sqlite:{folder / 't.db'}",
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
                    one.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if one.recv(100).startswith(b"HTTP/1.1 200"):
                        return time.perf_counter() - begun, cpu_s(process.pid)
            except OSError:
                time.sleep(0.005)
        raise SystemExit("serve ended by itself")
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure, and print one line for each store."""
    options = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    options.add_argument("--rows", type=int, default=100_000)
    chosen = options.parse_args()
    for rows in (0, chosen.rows):
        with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as compiled:
            folder = Path(name)
            (folder / "access.log").touch()
            if rows:
                store = SqliteStore(str(folder / "t.db"))
                write(store, make_rows(rows, DAYS, time.time_ns() // 1000))
                store.close()
            first_answer_s(folder, compiled)
            took, spent = zip(*(first_answer_s(folder, compiled) for _ in range(STARTS)), strict=True)
            print(
                f"{rows:>10} rows: {statistics.median(took):.2f} s, {min(took):.2f} to {max(took):.2f};"
                f" of a CPU {statistics.median(spent):.2f} s"
            )


if __name__ == "__main__":
    main()

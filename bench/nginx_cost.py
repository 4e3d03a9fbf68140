"""What our include files cost nginx: CPU of one worker for a request, against the same nginx with its `combined` log.

python bench/nginx_cost.py [--rounds 15] [--nginx PATH] [--parts] [--instructions]      (needs nginx and wrk)

Upstream is another nginx, kept alive, that answers at once and says of its answer what an app would; the client is a
browser by its headers. The variants take turns of a second, and of their rounds the median is printed: of the CPU, and
of its ratio to the first variant in the same round, which a busy machine disturbs less. `$request_id`, the random id of
the trace, is what costs most: OpenSSL makes it, and whoever logs it without us pays the same. `--parts` adds one part
after the other to the first. `--instructions` counts those that the worker runs itself, by valgrind: no neighbour
disturbs that, but the kernel's part is not in it, nor the write that a buffer spares.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tailtrace_api.nginx.include_files import write_files
from tailtrace_api.nginx.process import find_nginx
from tailtrace_bridge.logs.format import EXCHANGE_READ, TAILTRACE_EXCHANGE

CONNECTIONS = 16
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
SAID = "1;t=12345;r=/metrics/sticker/{sticker_id};s=factory-api;v=1.4.2"
BUFFERED = "access_log {folder}/access.log combined buffer=32k flush=200ms;"
OURS = "include tailtrace-server.conf;"
ROW = "access_log {folder}/access.log row buffer=32k flush=200ms;"
HEADERS = "include tailtrace-proxy.conf;"
# What stands in server {} and in location {}. The first is the measure.
COMBINED = {"combined": ("access_log {folder}/access.log combined;", "")}
VARIANTS = COMBINED | {
    "our log alone": (OURS, ""),
    "our headers alone": (BUFFERED, HEADERS),
    "tailtrace": (OURS, HEADERS),
    "tailtrace, trusted peer": (OURS, HEADERS),
}
# The same for `--parts`: each is on top of the one above.
PARTS = COMBINED | {
    "combined, buffered": (BUFFERED, ""),
    "and $request_id": (f"{BUFFERED} set $bench $request_id;", ""),
    "our line, a row's part": (ROW, ""),
    "and of the exchange": (OURS, ""),
    "and our headers": (OURS, HEADERS),
    "and a trusted peer": (OURS, HEADERS),
}
UPSTREAM_PORT, FIRST_PORT = 18930, 18931


@dataclass
class Measured:
    """One variant: requests/s and CPU microseconds of the worker for a request, of each round."""

    per_second: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def ratio(self, of: "Measured") -> float:
        """Return by how much the other is cheaper: the median over the rounds."""
        return statistics.median(first / own for first, own in zip(of.cpu_us, self.cpu_us, strict=True))


def row_format(folder: Path) -> str:
    """Return our `log_format`, with nothing in the place of what tells how the exchange with the app went."""
    text = (folder / "tailtrace-http.conf").read_text()
    ours = text[text.index("log_format") :].replace("log_format tailtrace", "log_format row")
    for name in TAILTRACE_EXCHANGE[EXCHANGE_READ:]:
        ours = re.sub(rf"'\${name}(\\t)?'", r"'\1'", ours)
    return ours


def start(stack: ExitStack, binary: Path, folder: Path, http: str, *, counted: bool = False) -> int:
    """Start an nginx with one worker, and return the worker's process id. `counted`: under valgrind."""
    folder.mkdir(exist_ok=True)
    paths = " ".join(f"{use}_temp_path {folder}/{use};" for use in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    processes = "master_process off;" if counted else "worker_processes 1;"
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; {processes} pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 512; }}\nhttp {{ {paths} keepalive_requests 1000000;\n{http}\n}}\n"
    )
    valgrind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind"] if counted else []
    process = subprocess.Popen([*valgrind, binary, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    stack.callback(process.wait)
    stack.callback(process.terminate)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for _ in range(3000):
        if counted and (folder / "nginx.pid").exists():
            return process.pid
        if not counted and (pids := children.read_text().split()):
            return int(pids[0])
        time.sleep(0.01)
    raise SystemExit(f"{binary} does not start: {(folder / 'error.log').read_text()}")


def cpu_s(pid: int) -> float:
    """Return what a process of one thread ran, user and system; the kernel counts it in nanoseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def load(port: int, pid: int, wrk: str) -> tuple[float, float]:
    """Return requests/s, and the worker's CPU microseconds for each."""
    before_s = cpu_s(pid)
    count, rate = requests(port, wrk)
    return rate, (cpu_s(pid) - before_s) / count * 1e6


def instructions(port: int, pid: int, folder: Path, wrk: str) -> float:
    """Return the instructions of a request, once nginx is warm."""
    requests(port, wrk)
    subprocess.run(["callgrind_control", "-z", str(pid)], check=True, capture_output=True)
    count, _ = requests(port, wrk)
    subprocess.run(["callgrind_control", "-d", str(pid)], check=True, capture_output=True)
    newest = max(folder.glob("callgrind.*"), key=lambda path: path.stat().st_mtime)
    found = re.search(r"^(?:totals|summary): (\d+)", newest.read_text(), re.MULTILINE)
    assert found, newest
    return int(found[1]) / count


def requests(port: int, wrk: str) -> tuple[int, float]:
    """Send for a second. Returns how many, and how many a second."""
    said = subprocess.run(
        [wrk, "-t1", f"-c{CONNECTIONS}", "-d1s", "-H", f"User-Agent: {AGENT}",
         f"http://127.0.0.1:{port}/metrics/sticker/438?page=2"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    if "Non-2xx" in said:
        raise SystemExit(said)
    found = re.search(r"(\d+) requests in ", said)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", said)
    assert found, said
    assert rate, said
    return int(found[1]), float(rate[1])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--nginx", type=Path)
    options.add_argument("--parts", action="store_true")
    options.add_argument("--instructions", action="store_true")
    given = options.parse_args()
    variants = PARTS if given.parts else VARIANTS
    wrk = shutil.which("wrk")
    if wrk is None or (given.instructions and shutil.which("valgrind") is None):
        raise SystemExit("no wrk, or no valgrind: `apt install wrk valgrind`")
    binary = given.nginx or find_nginx()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tailtrace-bench-")))
        answer = f'add_header X-Tailtrace "{SAID}"; return 200 "{"x" * 1000}";'
        start(
            stack,
            binary,
            root / "app",
            f"access_log off; server {{ listen 127.0.0.1:{UPSTREAM_PORT}; location / {{ {answer} }} }}",
        )
        workers = {}
        for number, (name, (in_server, in_location)) in enumerate(variants.items()):
            folder = root / f"front{number}"
            write_files(
                folder,
                log=folder / "access.log",
                pid=folder / "nginx.pid",
                trusted=["192.0.2.1"] if "trusted" in name else (),
            )
            http = f"""
                include tailtrace-http.conf;
                {row_format(folder)}
                upstream app {{ server 127.0.0.1:{UPSTREAM_PORT}; keepalive 32; }}
                server {{
                    listen 127.0.0.1:{FIRST_PORT + number};
                    server_name factory.example;
                    {in_server.format(folder=folder)}
                    location / {{
                        {in_location}
                        proxy_http_version 1.1; proxy_set_header Connection "";
                        proxy_pass http://app;
                    }}
                }}
            """
            if "proxy_set_header" not in in_location and HEADERS not in in_location:  # It inherits only where none is
                http = http.replace('proxy_set_header Connection "";', "").replace(
                    "server {\n", 'proxy_set_header Connection "";\nserver {\n', 1
                )
            workers[name] = start(stack, binary, folder, http, counted=given.instructions)
            if given.instructions:
                tries = (instructions(FIRST_PORT + number, workers[name], folder, wrk) for _ in range(3))
                count = statistics.median(tries)
                print(f"{name:<24} {count:8.0f} instructions a request", flush=True)
        if given.instructions:
            return 0
        measured = {name: Measured() for name in variants}
        for _ in range(given.rounds):
            for number, name in enumerate(variants):
                per_second, cpu_us = load(FIRST_PORT + number, workers[name], wrk)
                measured[name].per_second.append(per_second)
                measured[name].cpu_us.append(cpu_us)
        whole = list(variants.values()).index((OURS, HEADERS))
        lines = (root / f"front{whole}" / "access.log").read_bytes().splitlines()
    first, *_ = variants
    base = measured[first]
    for name, one in measured.items():
        rate, cpu = statistics.median(one.per_second), statistics.median(one.cpu_us)
        print(f"{name:<24} CPU {cpu:5.1f} us, {one.ratio(base):.3f} x {first}; {rate:8.0f} requests/s")
    print(f"a line of ours: {statistics.median(map(len, lines)):.0f} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

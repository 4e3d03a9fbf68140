# ruff: noqa: INP001, S603, S607, T201 - a script that prints, and runs programs of its own
"""Soak test: real nginx, app, stores and followers under load while faults hit them; at the end every line is a row.

    python scripts/soak.py --minutes 10

| fault | what is done |
|---|---|
| kill serve, kill app, kill nginx worker | `kill -9`; serve and app are started again, nginx's master does so itself |
| rename | logrotate's way: files are renamed one further, nginx opens a new one |
| copytruncate | the log is copied and emptied (no request under way: what is written in between is lost to everybody) |
| rotate while down | a rename while serve is not there |
| disk full | the store's file system, a small tmpfs of this run, is filled for a while |
| store locked | another program holds SQLite's lock for longer than serve waits |
| clock jump | serve's clock is set an hour ahead, then back (libfaketime: `apt install faketime`) |
| kill bridge | `tailtrace bridge`, which follows the same log into InfluxDB, is killed and started again |
| InfluxDB away | `kill -9`; it comes back after a while |
| collector away | the same; the app's spans go through it to serve |

The rows of both stores are compared with the lines of all log files: how many there are, and requests and bytes by
status. Each request has a line, but for those that nginx had in the buffer of a worker that was killed
(docs/deployment.md, What nginx pays): more than it can hold are a failure. A fault that this machine cannot have (no
root for the tmpfs, no libfaketime, no server built) is shown as such, and is a failure where `TAILTRACE_REQUIRE` names
what it needs. Exit status 1: something differs, or lacks.
"""

import argparse
import contextlib
import http.client
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC
from functools import partial
from pathlib import Path

from tailtrace_api.demo.stack import APP, CLI, free_ports
from tailtrace_api.nginx.process import NginxServer
from tailtrace_bridge.core.records import Access
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, Filters, Window

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.stack.servers import ALLOW_NIL, Collector, InfluxDB  # noqa: E402  # what starts them for the tests

HOST = "127.0.0.1"
PAUSE_S = 5.0
"""Between two faults."""
SETTLE_S = 90.0
"""So long serve may take at the end to store what is left."""
CLIENTS = 4
UNWRITTEN_S = 0.2
"""So long nginx keeps a line in its buffer: `flush` of our `access_log`."""
TMPFS_MB = 48
IN_NAMESPACE = "SOAK_IN_NAMESPACE"
CACHE = Path.home() / ".cache" / "tailtrace"
INFLUXD = Path(os.environ.get("TAILTRACE_INFLUXD") or CACHE / "influxdb" / "influxd")
OTELCOL = Path(os.environ.get("TAILTRACE_OTELCOL") or CACHE / "otelcol" / "otelcol")
AWAY_S = 8.0
REQUIRES = {
    "disk full": "mount", "clock jump": "faketime", "kill bridge": "influxdb", "InfluxDB away": "influxdb",
    "collector away": "collector",
}  # fmt: skip
"""What `TAILTRACE_REQUIRE` calls that which a fault needs."""
Counts = Counter[tuple[str, int]]
LOCATIONS = """
        location / {
            include tailtrace-proxy.conf;
            proxy_http_version 1.1;
            proxy_set_header Connection close;
            proxy_pass http://127.0.0.1:@PORT@;
        }
"""
PATHS = ("/dashboard/complete", "/health", "/metrics/sticker/438", "/none/at/all", "/static/app.js")


def faketime() -> Path | None:
    """Find the library."""
    return next(iter(sorted(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))), None)


class Soak:
    """What runs, and what can be done to it."""

    def __init__(self, folder: Path, rate: int) -> None:
        self.folder, self.rate = folder, rate
        self.log, self.data = folder / "access.log", folder / "data"
        self.log.touch()
        self.data.mkdir()
        self.has_tmpfs = self._mount()
        self.clock = folder / "clock"
        self.clock.write_text("+0")
        self.app_port, self.otlp_port, self.api_port, self.bridge_port, port = free_ports((0,) * 5, print)
        self.influxdb = InfluxDB(INFLUXD, self._folder("influxdb")) if INFLUXD.exists() else None
        self.collector: Collector | None = None
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.asked = 0
        self.unanswered = 0
        self._is_asking, self._quiet = threading.Event(), threading.Semaphore(CLIENTS)
        self.nginx = NginxServer(
            LOCATIONS.replace("@PORT@", str(self.app_port)), host=HOST, port=port, log=self.log,
            folder=folder / "nginx",
        )  # fmt: skip

    def _folder(self, name: str) -> Path:
        made = self.folder / name
        made.mkdir()
        return made

    @contextlib.contextmanager
    def servers(self) -> Iterator[None]:
        """Run InfluxDB, and the collector, which gives the spans to serve."""
        with contextlib.ExitStack() as running:
            self._start_servers(running)
            yield

    def _start_servers(self, running: contextlib.ExitStack) -> None:
        influx = self.influxdb
        if influx is not None:
            running.callback(influx.kill)
            influx.start()
        if OTELCOL.exists():
            there = influx.url if influx else "http://127.0.0.1:9"
            environment = {
                "COLLECTOR_BRIDGE_URL": f"http://{HOST}:{self.otlp_port}", "INFLUXDB_V2_URL": there,
                "INFLUXDB_V2_TOKEN": influx.token if influx else "none", "COLLECTOR_TRACES_BUCKET": "tailtrace",
            }  # fmt: skip
            config = (ROOT / "otel-collector.yaml",)
            self.collector = Collector(OTELCOL, config, self._folder("collector"), environment, (ALLOW_NIL,))
            running.callback(self.collector.kill)
            self.collector.start()

    def leave(self, server: InfluxDB | Collector) -> None:
        """Kill a server, and have it back after a while."""
        server.kill()
        time.sleep(AWAY_S)
        server.start()

    def _mount(self) -> bool:
        if os.environ.get(IN_NAMESPACE) != "1":
            return False
        mount = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MB}m,mode=700", "tmpfs", str(self.data)]
        return subprocess.run(mount, check=False).returncode == 0

    def start(self, name: str) -> None:
        """Start `serve`, `bridge` or `app` again."""
        spans = self.collector.http if self.collector else f"http://{HOST}:{self.otlp_port}"
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": spans}
        command = [*APP, "--port", str(self.app_port), "--openapi", str(self.folder / "openapi.json")]
        if name == "serve":
            command = [*CLI, "serve"]
            environment |= {
                "TAILTRACE_STORE": f"sqlite:{self.data / 't.db'}", "TAILTRACE_LOG": str(self.log),
                "TAILTRACE_CHECKPOINT": str(self.data / "checkpoint.json"),
                "TAILTRACE_LISTEN": f"{HOST}:{self.api_port}", "TAILTRACE_OTLP_LISTEN": f"{HOST}:{self.otlp_port}",
            }  # fmt: skip
            if library := faketime():
                environment |= {
                    "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                }  # fmt: skip
        if name == "bridge" and self.influxdb is not None:
            command = [*CLI, "bridge"]
            environment |= {
                "TAILTRACE_STORE": "influxdb", "INFLUXDB_V2_URL": self.influxdb.url, "TAILTRACE_LOG": str(self.log),
                "INFLUXDB_V2_ORG": self.influxdb.org, "INFLUXDB_V2_TOKEN": self.influxdb.token,
                "INFLUXDB_V2_BUCKET": "soak", "TAILTRACE_SOURCE": "soak",
                "TAILTRACE_CHECKPOINT": str(self.folder / "bridge.json"),
                "TAILTRACE_OTLP_LISTEN": f"{HOST}:{self.bridge_port}",
            }  # fmt: skip
        with (self.folder / f"{name}.log").open("ab") as said:
            self.processes[name] = subprocess.Popen(command, env=environment, stdout=said, stderr=said)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End a process of ours."""
        process = self.processes.pop(name)
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, name: str) -> None:
        """Kill, and start again."""
        self.kill(name)
        self.start(name)

    def kill_worker(self) -> None:
        """Kill one of nginx's workers."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split()
        if children:
            os.kill(int(children[0]), signal.SIGKILL)

    @property
    def master(self) -> int:
        """Nginx's own process."""
        return int(next((self.folder / "nginx").rglob("*.pid")).read_text())

    def rename(self) -> None:
        """Rotate as logrotate does."""
        for number in range(len(list(self.folder.glob("access.log.*"))), 0, -1):
            (self.folder / f"access.log.{number}").rename(self.folder / f"access.log.{number + 1}")
        self.log.rename(self.folder / "access.log.1")
        os.kill(self.master, signal.SIGUSR1)
        time.sleep(0.5)

    def copytruncate(self) -> None:
        """Rotate by copying, while nobody writes."""
        with self._all_quiet():
            time.sleep(0.3)
            for number in range(len(list(self.folder.glob("access.log.*"))), 0, -1):
                (self.folder / f"access.log.{number}").rename(self.folder / f"access.log.{number + 1}")
            shutil.copy2(self.log, self.folder / "access.log.1")
            time.sleep(1.5)  # serve reads what is left: after the truncation the copy alone has it
            os.truncate(self.log, 0)

    def rotate_while_down(self) -> None:
        """Rename while nobody follows."""
        followers = [name for name in ("serve", "bridge") if name in self.processes]
        for name in followers:
            self.kill(name)
        time.sleep(1)
        self.rename()
        time.sleep(1)
        for name in followers:
            self.start(name)

    def fill_disk(self) -> None:
        """Leave no room for the store, then make some."""
        filler = self.data / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)
        time.sleep(6)
        filler.unlink()

    def lock_store(self) -> None:
        """Hold SQLite's lock."""
        other = sqlite3.connect(self.data / "t.db", timeout=20, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(8)
            other.execute("ROLLBACK")
        finally:
            other.close()

    def jump(self) -> None:
        """Set serve's clock ahead and back."""
        for offset in ("+3600", "+0", "-3600", "+0"):
            self.clock.write_text(offset)
            time.sleep(3)

    def faults(self) -> dict[str, Callable[[], None] | None]:
        """Name what can be done; None: not on this machine."""
        return {
            "kill serve": lambda: self.restart("serve"),
            "rename": self.rename,
            "kill app": lambda: self.restart("app"),
            "copytruncate": self.copytruncate,
            "kill nginx worker": self.kill_worker,
            "rotate while down": self.rotate_while_down,
            "store locked": self.lock_store,
            "disk full": self.fill_disk if self.has_tmpfs else None,
            "clock jump": self.jump if faketime() else None,
            "kill bridge": (lambda: self.restart("bridge")) if self.influxdb else None,
            "InfluxDB away": partial(self.leave, self.influxdb) if self.influxdb else None,
            "collector away": partial(self.leave, self.collector) if self.collector else None,
        }

    @contextlib.contextmanager
    def _all_quiet(self) -> Iterator[None]:
        for _ in range(CLIENTS):
            self._quiet.acquire()
        try:
            yield
        finally:
            for _ in range(CLIENTS):
                self._quiet.release()

    def ask(self, number: int) -> None:
        """Be one of the clients, until told to stop."""
        count = 0
        while not self._is_asking.is_set():
            count += 1
            with self._quiet:
                connection = http.client.HTTPConnection(HOST, self.nginx.port, timeout=10)
                try:
                    connection.request("GET", PATHS[(count + number) % len(PATHS)])
                    connection.getresponse().read()
                    self.asked += 1
                except (OSError, http.client.HTTPException):
                    self.unanswered += 1
                finally:
                    connection.close()
            self._is_asking.wait(CLIENTS / self.rate)

    def run(self, minutes: float) -> Counter[str]:
        """Do one thing after another; give how often each was done."""
        done: Counter[str] = Counter()
        clients = [threading.Thread(target=self.ask, args=(number,)) for number in range(CLIENTS)]
        end_s = time.monotonic() + 60 * minutes
        for client in clients:
            client.start()
        try:
            while time.monotonic() < end_s:
                for name, fault in self.faults().items():
                    if fault is None:
                        continue
                    time.sleep(PAUSE_S)
                    if time.monotonic() >= end_s:
                        break
                    fault()
                    done[name] += 1
        finally:
            self._is_asking.set()
            for client in clients:
                client.join()
        return done

    def written(self) -> Counts:
        """Count the lines of all files: all of them, and requests and bytes by status."""
        found: Counts = Counter()
        for path in self.folder.glob("access.log*"):
            parser, offset = make_parser("auto", UTC), 0
            for line in path.read_bytes().splitlines(keepends=True):
                record = parser.parse(line.rstrip(b"\n"), path.name, offset)
                offset += len(line)
                found["lines", 0] += 1
                if isinstance(record, Access):
                    found["requests", record.status] += 1
                    found["bytes", record.status] += record.bytes_sent
        return found

    def stores(self) -> dict[str, Store]:
        """Open all that was written to; not while serve runs."""
        stores: dict[str, Store] = {"SQLite": SqliteStore(str(self.data / "t.db"))}
        if self.influxdb is not None:
            server = Server(self.influxdb.url, self.influxdb.org, self.influxdb.token)
            timing = Timing(
                lambda: time.monotonic_ns() // 1000, time.sleep, lambda: 0.5, lambda: time.time_ns() // 1000
            )
            stores["InfluxDB"] = InfluxStore(InfluxConfig(server, "soak", "reader"), timing, is_rolling=False)
        return stores

    def wait_for(self, lines: int) -> None:
        """Wait until as many rows are stored in SQLite, or no longer; InfluxDB has got its own by then, too."""
        deadline_s = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline_s:
            time.sleep(2)
            with (
                contextlib.suppress(sqlite3.Error),
                contextlib.closing(sqlite3.connect(f"file:{self.data / 't.db'}?mode=ro", uri=True)) as reader,
            ):
                if reader.execute("SELECT count(*) FROM access").fetchone()[0] >= lines:
                    return


def stored(store: Store) -> Counts:
    """Count what a store has: its rows, and its sums by status."""
    found: Counts = Counter()
    everything = Window(0, (time.time_ns() // 1000) + 2 * DAY_US)
    try:
        after = None
        while page := store.rows(Scope.everybody(), everything, after, 5000):
            found["lines", 0] += len(page)
            after = page[-1].access.time_us, page[-1].access.key
        for usage in store.usage(Scope.everybody(), everything, Filters()):
            found["requests", usage.status] += usage.requests
            found["bytes", usage.status] += usage.bytes_sent
    finally:
        store.close()
    return found


def told(soak: Soak, done: Counter[str], written: Counts, found: dict[str, Counts]) -> bool:
    """Print the table; say whether all is as it must be."""
    print("| fault | times |\n|---|---|")
    for name, fault in soak.faults().items():
        print(f"| {name} | {done[name] if fault else 'not on this machine'} |")
    print(f"| asked, of these without an answer | {soak.asked + soak.unanswered}, {soak.unanswered} |")
    print(f"| lines in the logs | {written['lines', 0]} |")
    unwritten = soak.asked + soak.unanswered - written["lines", 0]
    most = int(done["kill nginx worker"] * (soak.rate * UNWRITTEN_S + CLIENTS))
    is_lost = not 0 <= unwritten <= most
    print(f"| asked, without a line: not written yet by a killed worker of nginx | {unwritten}, {most} at most |")
    for name, sums in found.items():
        print(f"| rows in {name} | {sums['lines', 0]} |")
        print(f"| sums by status in {name} | {'equal to a recount' if sums == written else 'DIFFER'} |")
        for key in sorted(written.keys() | sums.keys()):
            if written[key] != sums[key]:
                print(f"| {name}, {key[0]} {key[1] or ''}: written, stored | {written[key]}, {sums[key]} |")
    required = set(os.environ.get("TAILTRACE_REQUIRE", "").replace(",", " ").split())
    lacking = {REQUIRES[name] for name, fault in soak.faults().items() if fault is None} & required
    if lacking:
        print(f"TAILTRACE_REQUIRE asks for {', '.join(sorted(lacking))}")
    return all(sums == written for sums in found.values()) and not lacking and not is_lost


def main() -> int:
    """Run, and print one table."""
    options = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    options.add_argument("--minutes", type=float, default=10, help="how long (hours: 60 times as much)")
    options.add_argument("--rate", type=int, default=60, help="requests in a second")
    options.add_argument("--keep", action="store_true", help="keep the folder")
    chosen = options.parse_args()
    if os.geteuid() == 0 and IN_NAMESPACE not in os.environ and shutil.which("unshare"):
        command = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
        return subprocess.run(command, env={**os.environ, IN_NAMESPACE: "1"}, check=False).returncode
    folder = Path(tempfile.mkdtemp(prefix="tailtrace-soak-"))
    (folder / "nginx").mkdir()
    folder.chmod(0o755)
    soak = Soak(folder, chosen.rate)
    with soak.nginx, soak.servers():
        try:
            soak.start("app")
            soak.start("serve")
            if soak.influxdb is not None:
                soak.start("bridge")
            time.sleep(3)
            done = soak.run(chosen.minutes)
            soak.wait_for(soak.written()["lines", 0])
        finally:
            for name in list(soak.processes):
                soak.kill(name, signal.SIGTERM)
        written = soak.written()
        found = {name: stored(store) for name, store in soak.stores().items()}
    is_right = told(soak, done, written, found)
    if soak.has_tmpfs:
        subprocess.run(["umount", str(soak.data)], check=False)
    if is_right and not chosen.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"the folder is kept: {folder}")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())

"""Real servers for any test: InfluxDB and the OpenTelemetry collector. `tests/conftest.py` registers this as a plugin.

| fixture | scope | gives |
|---|---|---|
| `influxdb` | session | an `InfluxDB`, set up; a test takes a bucket of its own: `influxdb.new_bucket()` |
| `influxdb1` | session | an `InfluxDB1`, which has databases in place of buckets |
| `opengemini` | session | an `OpenGemini`: a cluster of eight processes |
| `make_influxdb` | test | a function that starts another, for a test that kills it |
| `collector` | test | a function: configuration files and environment in, a running `Collector` out |

Tests that use them carry the marker `influxdb` or `collector`. What holds for both servers:

| the test | the server |
|---|---|
| `.stop()` | is told to end (SIGTERM), and is waited for |
| `.kill()` | dies (SIGKILL), as in a crash |
| `.start()` | starts again: same port, same files, back when it is healthy |
| ends | is killed; the end of its log is shown where the test failed; `.log` has all |

All listen on loopback, keep their files in the test's folder, and are killed by the process id that we started.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.processes import free_ports

START_S_MAX = 30.0
STOP_S_MAX = 15.0
REQUEST_S_MAX = 10.0
LOG_CHARACTERS_MAX = 4000
OPENGEMINI_META = 8092
ALLOW_NIL = "--feature-gates=ottl.set.allowNil"
"""For a collector on otel-collector.yaml, which says why."""

MakeInfluxDB = Callable[..., "InfluxDB"]
MakeCollector = Callable[..., "Collector"]


class Server:
    """A process of ours that answers `health_url` with 200 once it is up."""

    def __init__(self, command: list[str], health_url: str, folder: Path, env: Mapping[str, str]) -> None:
        self.health_url = health_url
        self._command = command
        self._env = {**os.environ, **env}
        self.folder = folder
        self._log_path = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it wrote, over all of its lives."""
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        assert self._process is None, "runs already"
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._env)
        deadline = time.monotonic() + START_S_MAX
        while not self.is_healthy():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                self.kill()
                what = f"not healthy within {START_S_MAX:g} s" if ended is None else f"ended with {ended}"
                raise AssertionError(f"{self._command[0]} {what}:\n{self.log[-LOG_CHARACTERS_MAX:]}")
            time.sleep(0.02)

    def end_test(self) -> None:
        """Kill it, and write its last words to the output: pytest shows them where the test failed."""
        self.kill()
        sys.stdout.write(f"{self._command[0]}:\n{self.log[-LOG_CHARACTERS_MAX:]}\n")

    def is_healthy(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(self.health_url, timeout=REQUEST_S_MAX).status_code == 200
        return False

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        """Send the signal and wait. One that has ended already is no error: so the end of a test may always kill."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(
                f"{self._command[0]} did not stop within {STOP_S_MAX:g} s:\n{self.log[-LOG_CHARACTERS_MAX:]}"
            ) from None


class InfluxDB(Server):
    """An `influxd` with one organization, one bucket, and a token that may do everything in it.

    `options` are flags of `influxd`, `_` for `-`.
    """

    def __init__(self, program: Path, folder: Path, **options: str) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.org = self.bucket = "tailtrace"
        self.token = ""
        self._names = (f"bucket-{number}" for number in itertools.count(1))
        ours = {
            "http_bind_address": f"127.0.0.1:{port}",
            "bolt_path": folder / "influxd.bolt",
            "sqlite_path": folder / "influxd.sqlite",
            "engine_path": folder / "engine",
            "log_level": "warn",
        }
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in {**ours, **options}.items()]
        super().__init__([str(program), *arguments, "--reporting-disabled"], f"{self.url}/health", folder, {})

    def start(self) -> None:
        super().start()
        if not self.token:
            names = {"username": "admin", "password": "correct horse", "org": self.org, "bucket": self.bucket}
            self.token = self.call("POST", "/api/v2/setup", json=names).json()["auth"]["token"]

    def call(self, method: str, path: str, **request: object) -> httpx.Response:
        """Call the API with the token; any answer but a success is an error."""
        headers = {"Authorization": f"Token {self.token}"} if self.token else {}
        answer = httpx.request(method, self.url + path, headers=headers, timeout=REQUEST_S_MAX, **request)  # type: ignore[arg-type]
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer

    def new_bucket(self, retention_s: int = 0) -> str:
        """Make an empty bucket and give its name; retention 0 is for ever."""
        org_id = self.call("GET", "/api/v2/orgs", params={"org": self.org}).json()["orgs"][0]["id"]
        rules = [{"type": "expire", "everySeconds": retention_s}] if retention_s else []
        name = next(self._names)
        self.call("POST", "/api/v2/buckets", json={"orgID": org_id, "name": name, "retentionRules": rules})
        return name

    def drop(self, *names: str) -> None:
        """Remove buckets: each query by InfluxQL goes through all there are."""
        for one in self.call("GET", "/api/v2/buckets", params={"org": self.org, "limit": 100}).json()["buckets"]:
            if one["name"] in names:
                self.call("DELETE", f"/api/v2/buckets/{one['id']}")

    def query(self, statement: str, bucket: str | None = None) -> list[dict[str, object]]:
        """Ask in InfluxQL; give the rows of all series of the first statement, tags among the columns."""
        params = {"db": bucket or self.bucket, "q": statement}
        result = self.call("GET", "/query", params=params).json()["results"][0]
        assert "error" not in result, (statement, result)
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], values, strict=True))}
            for series in result.get("series", [])
            for values in series["values"]
        ]


class InfluxDB1(Server):
    """An `influxd` of 1.x, without accounts: databases, no buckets."""

    org = token = ""

    def __init__(self, program: Path, folder: Path) -> None:
        http, rpc = free_ports(2)
        self.url = f"http://127.0.0.1:{http}"
        config = folder / "influxdb.conf"
        config.write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{rpc}"\n[meta]\ndir = "{folder}/meta"\n'
            f'[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
            f'[http]\nbind-address = "127.0.0.1:{http}"\nlog-enabled = false\n[logging]\nlevel = "warn"\n',
            encoding="utf-8",
        )
        super().__init__([str(program), "-config", str(config)], f"{self.url}/health", folder, {})

    def drop(self, *databases: str) -> None:
        for one in databases:
            asked = {"q": f'DROP DATABASE "{one}"'}
            httpx.post(f"{self.url}/query", params=asked, timeout=REQUEST_S_MAX).raise_for_status()


class OpenGemini:
    """A cluster: 3 × meta, 3 × store, 2 × sql, on 127.0.0.1 to .3. `url` is the first sql's, `urls` both.

    `policy` is its `ha-policy`. With `shared-storage` the three store nodes have one folder, as on a network's disk.
    A node takes `series_max` series of a database, 0: any number.
    """

    org = token = ""

    def __init__(
        self, programs: Path, folder: Path, policy: str = "write-available-first", series_max: int = 0
    ) -> None:
        self._programs, self._folder, self.policy, self.series_max = programs, folder, policy, series_max
        (self._port,) = free_ports(1)
        self.urls = [f"http://127.0.0.{number}:{self._port}" for number in (1, 2)]
        self.url = self.urls[0]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        meta = ", ".join(f'"127.0.0.{number}:{OPENGEMINI_META}"' for number in (1, 2, 3))
        for number in (1, 2, 3):
            ip, data = f"127.0.0.{number}", self._folder / str(number)
            points = self._folder / "points" if self.policy == "shared-storage" else data
            (self._folder / f"{number}.conf").write_text(
                f"[common]\nmeta-join = [{meta}]\nreport-enable = false\npprof-enabled = false\n"
                f'ha-policy = "{self.policy}"\n'
                f'[meta]\nbind-address = "{ip}:8088"\nhttp-bind-address = "{ip}:8091"\n'
                f'rpc-bind-address = "{ip}:{OPENGEMINI_META}"\ndir = "{data}/meta"\n'
                f'[http]\nbind-address = "{ip}:{self._port}"\nflight-address = "{ip}:8087"\n'
                f'[data]\nstore-ingest-addr = "{ip}:8400"\nstore-select-addr = "{ip}:8401"\nstore-data-dir = "{points}"\n'
                f'max-series-per-database = {self.series_max}\nstore-wal-dir = "{points}"\nstore-meta-dir = "{data}/meta"\n'
                f'[logging]\npath = "{data}/logs"\n[gossip]\nenabled = true\nbind-address = "{ip}"\n'
                f'store-bind-port = 8011\nmeta-bind-port = 8010\nmembers = ["127.0.0.1:8010", "127.0.0.2:8010", "127.0.0.3:8010"]\n',
                encoding="utf-8",
            )
        for part, numbers in (("meta", (1, 2, 3)), ("store", (1, 2, 3)), ("sql", (1, 2))):
            for number in numbers:
                self.start_one(part, number)
            time.sleep(2)
        end_s = time.monotonic() + START_S_MAX
        while not self._takes_a_database():
            assert time.monotonic() < end_s, "openGemini does not answer"
            time.sleep(0.5)

    def start_one(self, part: str, number: int) -> None:
        command = [self._programs / f"ts-{part}", "run", "-config", self._folder / f"{number}.conf"]
        with (self._folder / f"{part}-{number}.log").open("ab") as log:
            self.processes[f"{part}-{number}"] = subprocess.Popen(command, stdout=log, stderr=log)

    def _takes_a_database(self) -> bool:
        with suppress(httpx.HTTPError):
            answer = httpx.post(f"{self.url}/query", data={"q": "CREATE DATABASE ready"}, timeout=REQUEST_S_MAX)
            return answer.status_code == 200 and "error" not in answer.text
        return False

    def end_test(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(STOP_S_MAX)


class Collector(Server):
    """An OpenTelemetry collector whose configuration takes the `COLLECTOR_*` variables of otel-collector.yaml.

    Its `flags` are those of docker-compose.yml, unless a test gives others.
    """

    def __init__(
        self, program: Path, configs: tuple[Path, ...], folder: Path, env: Mapping[str, str], flags: tuple[str, ...]
    ) -> None:
        grpc, http, health, metrics = free_ports(4)
        self.grpc = f"127.0.0.1:{grpc}"
        self.http = f"http://127.0.0.1:{http}"
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        self.queue_folder = folder / "queue"
        ours = {
            "COLLECTOR_GRPC_LISTEN": self.grpc,
            "COLLECTOR_HTTP_LISTEN": f"127.0.0.1:{http}",
            "COLLECTOR_HEALTH_LISTEN": f"127.0.0.1:{health}",
            "COLLECTOR_METRICS_HOST": "127.0.0.1",
            "COLLECTOR_METRICS_PORT": str(metrics),
            "COLLECTOR_QUEUE_DIR": str(self.queue_folder),
            "COLLECTOR_TRACES_PERCENT": "100",
        }
        command = [str(program), *(f"--config={path}" for path in configs), *flags]
        super().__init__(command, f"http://127.0.0.1:{health}/", folder, {**ours, **env})

    def metrics(self) -> Counter[str]:
        """Its own metrics by name, `_total` taken off, summed over all labels; 0 for one that it does not have yet."""
        text = httpx.get(self.metrics_url, timeout=REQUEST_S_MAX).text
        sums: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name.removesuffix("_total")] += sample.value  # type: ignore[assignment]
        return sums


@pytest.fixture(scope="session")
def influxdb(influxd_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    server = InfluxDB(influxd_program, tmp_path_factory.mktemp("influxdb"))
    server.start()
    yield server
    server.end_test()


@pytest.fixture(scope="session")
def influxdb1(influxd1_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB1]:
    server = InfluxDB1(influxd1_program, tmp_path_factory.mktemp("influxdb1"))
    server.start()
    yield server
    server.end_test()


@pytest.fixture(scope="session")
def opengemini(opengemini_programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenGemini]:
    cluster = OpenGemini(opengemini_programs, tmp_path_factory.mktemp("opengemini"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end_test()


@pytest.fixture
def make_influxdb(influxd_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeInfluxDB]:
    with ExitStack() as running:

        def make(**options: str) -> InfluxDB:
            server = InfluxDB(influxd_program, tmp_path_factory.mktemp("influxdb"), **options)
            running.callback(server.end_test)
            server.start()
            return server

        yield make


@pytest.fixture
def collector(otelcol_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeCollector]:
    with ExitStack() as running:

        def make(
            *configs: Path, env: Mapping[str, str] | None = None, flags: tuple[str, ...] = (ALLOW_NIL,)
        ) -> Collector:
            server = Collector(otelcol_program, configs, tmp_path_factory.mktemp("collector"), env or {}, flags)
            running.callback(server.end_test)
            server.start()
            return server

        yield make

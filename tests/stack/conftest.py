"""The whole stack, each part a process of its own, for the tests of this folder: `make_chain`.

    clients ─► nginx ─► app ─OTLP─► collector ─► bridge ─► (proxy) ─► InfluxDB ◄─ api
                 └── access.log ───────────────────┘

| part | is |
|---|---|
| nginx, app | those of `tailtrace demo`; people come from addresses of their own, which the identities file names |
| collector | runs otel-collector.yaml; for a fleet with more bridges in it |
| front | one nginx, its log, and the bridge that reads it; a fleet has several, each with a source of its own |
| InfluxDB | the test's, with a bucket and a token of the chain's own |
| proxy | stands before InfluxDB where a test wants it, and answers in its place for a while |

All that was started ends with the test, also after a failure: processes by their id, nginx by its own `with`.
"""

import asyncio
import gzip
import http.client
import itertools
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tailtrace_api.demo.clients import Tally, drive
from tailtrace_api.demo.outcome import parse_metrics
from tailtrace_api.demo.people import PEOPLE, identities_toml
from tailtrace_api.nginx.process import NginxServer
from tailtrace_bridge.core.records import Access
from tailtrace_bridge.logs.parser import make_parser

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "otel-collector.yaml"
CLI = (sys.executable, "-m", "tailtrace_api.commands.cli")
APP = (sys.executable, "-m", "tailtrace_api.demo.app")
REQUEST_S_MAX = 30.0
SETTLE_S_MAX = 60.0
"""The bridge pauses for up to 30 s between two attempts."""
STILL_S = 1.0
"""So long nothing more may come: a row that is stored twice comes late."""
POLL_S = 0.1
COLUMNS = ("trace_id", "key", "user", "device", "ip", "source", "status_code", "app_time_ms")
_LOCATIONS = """
        location / {
            include tailtrace-proxy.conf;
            proxy_http_version 1.1;
            proxy_set_header Connection close;
            proxy_pass http://127.0.0.1:@APP_PORT@;
        }
"""


def wait_for(what: str, look: Callable[[], Any], within_s: float = SETTLE_S_MAX) -> Any:
    """Look until there is something, and give it."""
    end = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < end, f"not within {within_s:g} s: {what}"
        time.sleep(POLL_S)
    return seen


class Traffic:
    """The demo's people at work, in a thread, as long as a `with` block lasts. `tally` is theirs, done after it."""

    def __init__(self, url: str, rate: float, seed: int = 7) -> None:
        self.tally = Tally()
        self._url, self._rate, self._seed = url, rate, seed
        self._begun = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._begun.wait(REQUEST_S_MAX), "the clients did not begin"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._drive())
        except BaseException as error:  # noqa: BLE001  # a thread's error is told where it is joined
            self._error = error
            self._begun.set()

    async def _drive(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._begun.set()
        await drive(PEOPLE, self._url, self._rate, random.Random(self._seed), self.tally, self._stop)


class RejectedLine(NamedTuple):
    """What the proxy answers in InfluxDB's place."""

    status: int
    headers: Mapping[str, str]
    only_writes: bool = False
    lines_max: int = 0
    """Not 0: only writes of more lines than that."""

    def fits(self, path: str, encoding: str | None, body: bytes) -> bool:
        if not path.startswith("/api/v2/write"):
            return not self.only_writes and not self.lines_max
        text = gzip.decompress(body) if encoding == "gzip" else body
        return not self.lines_max or len(text.splitlines()) > self.lines_max


class Proxy(ThreadingHTTPServer):
    """Passes on what it is sent to `url`, unless `refusal` fits; `refused` counts these."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc
        self.refusal: RejectedLine | None = None
        self.refused = 0
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def refuse(self, status: int, headers: Mapping[str, str] | None = None, **when: Any) -> None:
        """Answer with this status from now on; `when` are the last fields of `RejectedLine`."""
        self.refusal = RejectedLine(status, headers or {}, **when)

    def pass_on(self) -> None:
        """Stand aside again."""
        self.refusal = None


class _ProxyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        refusal = self.server.refusal
        if refusal is not None and refusal.fits(self.path, self.headers.get("Content-Encoding"), body):
            self.server.refused += 1
            said = json.dumps({"code": "refused", "message": "the proxy of the test refuses"}).encode()
            self._answer(refusal.status, {"Content-Type": "application/json", **refusal.headers}, said)
            return
        inside = http.client.HTTPConnection(self.server.host, timeout=REQUEST_S_MAX)
        try:
            inside.request(self.command, self.path, body, dict(self.headers.items()))
            answer = inside.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}
            self._answer(answer.status, kept, answer.read())
        except OSError:
            self._answer(502, {}, b"")
        finally:
            inside.close()

    do_GET = do_POST = do_PATCH = _pass  # noqa: N815  # the names that http.server calls

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


_HOP_BY_HOP = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive"})


@dataclass(frozen=True, slots=True)
class Front:
    """One nginx and its bridge."""

    nginx: NginxServer
    bridge: Any
    """A `Server`: `start`, `stop`, `kill`, `pid`, `log`."""
    bridge_url: str
    source: str

    def ready(self) -> tuple[int, str]:
        """Ask the bridge how it is: the status, 0 where nobody listens, and its problems as one text."""
        try:
            answer = httpx.get(f"{self.bridge_url}/ready", timeout=REQUEST_S_MAX)
        except httpx.TransportError as error:
            return 0, str(error)
        return answer.status_code, "\n".join(answer.json()["problems"])

    def wait_ready(self, within_s: float = SETTLE_S_MAX) -> None:
        """Wait until all is well; what is wrong is said where it never is."""
        end = time.monotonic() + within_s
        while (said := self.ready()) != (200, ""):
            assert time.monotonic() < end, f"not ready within {within_s:g} s: {said}"
            time.sleep(POLL_S)

    def metrics(self) -> dict[str, float]:
        return parse_metrics(httpx.get(f"{self.bridge_url}/metrics", timeout=REQUEST_S_MAX).text)

    def rotate(self) -> None:
        """Do what logrotate does."""
        log = self.nginx.log
        log.rename(log.with_name(f"{log.name}.{len(self.logs())}"))
        self.nginx.reopen_logs()

    def logs(self) -> list[Path]:
        return sorted(self.nginx.log.parent.glob(f"{self.nginx.log.name}*"))

    def lines(self) -> list[Access]:
        """Read all that nginx wrote, again and from the first byte."""
        parser = make_parser("tailtrace")
        found = []
        for log in self.logs():
            for offset, line in enumerate(log.read_bytes().splitlines()):
                access = parser.parse(line, log.name, offset)
                assert isinstance(access, Access), access
                found.append(access)
        return found


@dataclass(slots=True)
class Chain:
    """A running stack."""

    influxdb: Any
    bucket: str
    authorization: str
    """The id of the token."""
    fronts: list[Front]
    collector: Any
    app: Any
    settings: Mapping[str, str]
    """What bridge, API and any other command of ours have in common: the environment that leads to the store."""
    api: Any = None
    api_url: str = ""
    proxy: Proxy | None = None

    @property
    def front(self) -> Front:
        """The only one."""
        (front,) = self.fronts
        return front

    def traffic(self, rate: float, front: Front | None = None) -> Traffic:
        return Traffic((front or self.front).nginx.url, rate)

    def lines(self) -> list[Access]:
        return [line for front in self.fronts for line in front.lines()]

    def points(self) -> list[dict[str, Any]]:
        """Return every point of InfluxDB, asked there and not through our store."""
        wanted = ",".join(f'"{name}"' for name in COLUMNS)
        found: list[dict[str, Any]] = self.influxdb.query(f"SELECT {wanted} FROM api_access", self.bucket)
        return found

    def let_token_be(self, status: str) -> None:
        """Make the chain's token `active` or `inactive`."""
        self.influxdb.call("PATCH", f"/api/v2/authorizations/{self.authorization}", json={"status": status})

    def answer(self, path: str, **params: str | int) -> Any:
        """Ask the API."""
        reply = httpx.get(f"{self.api_url}/analytics/{path}", params=params, timeout=REQUEST_S_MAX)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def settled(self, sent: int) -> tuple[list[Access], list[dict[str, Any]]]:
        """Wait until InfluxDB has as many points as nginx wrote lines; give both. Each line must be there once."""
        # nginx writes a line just after the client has its answer.
        wait_for(f"{sent} lines", lambda: len(self.lines()) >= sent, 5)
        end = time.monotonic() + SETTLE_S_MAX
        while len(self.points()) < len(self.lines()) and time.monotonic() < end:
            time.sleep(POLL_S)
        time.sleep(STILL_S)
        lines, points = self.lines(), self.points()
        assert len(lines) == sent
        wrote, stored = (Counter(ids) for ids in ((a.trace_id for a in lines), (p["trace_id"] for p in points)))
        assert max(wrote.values()) == 1
        lost, doubled = wrote - stored, stored - wrote
        assert not lost, f"{len(lost)} of {len(lines)} lines are not in InfluxDB; ready: {self._ready()}"
        assert not doubled, f"{len(doubled)} points too many for {len(lines)} lines"
        return lines, points

    def _ready(self) -> list[tuple[int, str]]:
        return [front.ready() for front in self.fronts]

    @staticmethod
    def wait_for(what: str, look: Callable[[], Any], within_s: float = SETTLE_S_MAX) -> Any:
        """Look until there is something, and give it."""
        return wait_for(what, look, within_s)

    @staticmethod
    def say(text: str) -> None:
        """Tell a number; `bench/stack.py` shows them."""
        sys.stdout.write(f"\n{text}\n")


MakeChain = Callable[..., Chain]


@dataclass(slots=True)
class _Maker:
    """Starts the parts in order; `stack` ends them in the other one."""

    servers: ModuleType
    collector: Callable[..., Any]
    folder: Path
    stack: ExitStack
    _names: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def make(
        self,
        influxdb: Any,
        *,
        fronts: int = 1,
        has_api: bool = False,
        has_proxy: bool = False,
        has_narrow_token: bool = False,
        span_wait_ms: int = 6000,
        raw_spans: str = "",
        env: Mapping[str, str] | None = None,
    ) -> Chain:
        bucket = influxdb.new_bucket()
        authorization = self._authorize(influxdb, bucket, has_narrow_token=has_narrow_token)
        proxy = self._proxy(influxdb.url) if has_proxy else None
        (self.folder / "identities.toml").write_text(identities_toml(PEOPLE), encoding="utf-8")
        app_port, api_port, *ports = self.servers.free_ports(2 + 2 * fronts)
        otlp_ports, bridge_ports = ports[:fronts], ports[fronts:]
        reached = {
            "INFLUXDB_V2_URL": proxy.url if proxy else influxdb.url,
            "INFLUXDB_V2_ORG": influxdb.org,
            "INFLUXDB_V2_TOKEN": authorization["token"],
            "INFLUXDB_V2_BUCKET": bucket,
        }
        collector = self._collector(
            otlp_ports, {**reached, "COLLECTOR_TRACES_BUCKET": raw_spans or influxdb.new_bucket()}
        )
        openapi = self.folder / "openapi.json"
        app = self._start(
            "app",
            (*APP, "--port", str(app_port), "--openapi", str(openapi)),
            f"http://127.0.0.1:{app_port}/health",
            {
                "OTEL_SERVICE_NAME": "chocolate-factory",
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http,
                "OTEL_BSP_SCHEDULE_DELAY": "200",
            },
        )
        ours = {
            **reached,
            "TAILTRACE_STORE": "influxdb",
            "TAILTRACE_IDENTITIES": str(self.folder / "identities.toml"),
            "TAILTRACE_OPENAPI": str(openapi),
            "TAILTRACE_SPAN_WAIT_MS": str(span_wait_ms),
            "TAILSCALE_SOCKET": str(self.folder / "none.sock"),
            **({"TAILTRACE_COLLECTOR_METRICS_URL": collector.metrics_url} if raw_spans else {}),
            **(env or {}),
        }
        made = [
            self._front(chr(ord("a") + number), app_port, otlp, bridge, ours)
            for number, (otlp, bridge) in enumerate(zip(otlp_ports, bridge_ports, strict=True))
        ]
        chain = Chain(influxdb, bucket, authorization["id"], made, collector, app, ours, proxy=proxy)
        if has_api:
            chain.api_url = f"http://127.0.0.1:{api_port}"
            listen = {"TAILTRACE_LISTEN": f"127.0.0.1:{api_port}"}
            chain.api = self._start("api", (*CLI, "api"), f"{chain.api_url}/health", {**ours, **listen})
        return chain

    def _authorize(self, influxdb: Any, bucket: str, *, has_narrow_token: bool) -> dict[str, str]:
        """Make a token that may read and write any bucket and mapping, or, narrow, the two that it needs, made before."""
        org_id = influxdb.call("GET", "/api/v2/orgs", params={"org": influxdb.org}).json()["orgs"][0]["id"]
        if has_narrow_token:
            rollups = {"orgID": org_id, "name": f"{bucket}_rollups", "retentionRules": []}
            found = influxdb.call("GET", "/api/v2/buckets", params={"name": bucket}).json()["buckets"][0]
            ids = (found["id"], influxdb.call("POST", "/api/v2/buckets", json=rollups).json()["id"])
            resources = [{"type": "buckets", "id": one, "orgID": org_id} for one in ids]
        else:
            resources = [{"type": kind, "orgID": org_id} for kind in ("buckets", "dbrp")]
        permissions: list[Any] = [
            {"action": action, "resource": resource}
            for action, resource in itertools.product(("read", "write"), resources)
        ]
        if not has_narrow_token:
            permissions.append({"action": "read", "resource": {"type": "orgs", "id": org_id}})
        made = influxdb.call("POST", "/api/v2/authorizations", json={"orgID": org_id, "permissions": permissions})
        answer: dict[str, str] = made.json()
        return answer

    def _proxy(self, url: str) -> Proxy:
        proxy = Proxy(url)
        thread = threading.Thread(target=proxy.serve_forever, args=(POLL_S,), name="proxy")
        thread.start()
        for end in (proxy.server_close, thread.join, proxy.shutdown):
            self.stack.callback(end)
        return proxy

    def _collector(self, otlp_ports: Sequence[int], env: Mapping[str, str]) -> Any:
        """Start one that sends each span to each bridge: docs/scaling.md, "A fleet"."""
        config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
        configs = [CONFIG]
        for port in otlp_ports[1:]:
            name = f"otlp_http/bridge-{port}"
            config["exporters"][name] = {
                **config["exporters"]["otlp_http/bridge"],
                "endpoint": f"http://127.0.0.1:{port}",
            }
            config["service"]["pipelines"]["traces/bridge"]["exporters"].append(name)
        if otlp_ports[1:]:
            configs = [self.folder / "collector.yaml"]
            configs[0].write_text(yaml.safe_dump(config), encoding="utf-8")
        return self.collector(*configs, env={**env, "COLLECTOR_BRIDGE_URL": f"http://127.0.0.1:{otlp_ports[0]}"})

    def _front(self, source: str, app_port: int, otlp_port: int, bridge_port: int, env: Mapping[str, str]) -> Front:
        folder = self.folder / f"front-{source}"
        folder.mkdir()
        locations = _LOCATIONS.replace("@APP_PORT@", str(app_port))
        nginx = self.stack.enter_context(NginxServer(locations, folder=folder))
        own = {
            "TAILTRACE_LOG": str(nginx.log),
            "TAILTRACE_CHECKPOINT": str(folder / "checkpoint.json"),
            "TAILTRACE_BRIDGE_LISTEN": f"127.0.0.1:{bridge_port}",
            "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{otlp_port}",
            "TAILTRACE_SOURCE": source,
        }
        url = f"http://127.0.0.1:{bridge_port}"
        bridge = self._start(f"bridge-{source}", (*CLI, "bridge"), f"{url}/health", {**env, **own})
        return Front(nginx, bridge, url, source)

    def _start(self, name: str, command: Sequence[str], health_url: str, env: Mapping[str, str]) -> Any:
        folder = self.folder / f"{name}-{next(self._names)}"
        folder.mkdir()
        server = self.servers.Server(list(command), health_url, folder, env)
        self.stack.callback(server.end_test)
        server.start()
        return server


@pytest.fixture
def make_chain(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    collector: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MakeChain]:
    """Return a function that starts a chain on an InfluxDB; for tests with the markers of its servers."""
    for name in os.environ:
        if name.startswith(("TAILTRACE_", "TAILSCALE_", "OTEL_")) and name != "TAILTRACE_NGINX":
            monkeypatch.delenv(name)  # a user's own settings are not the chain's
    servers = request.config.pluginmanager.get_plugin("tailtrace_test_servers")
    assert servers is not None
    with ExitStack() as stack:
        yield _Maker(servers, collector, tmp_path, stack).make

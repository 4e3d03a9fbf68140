"""The demo's stack: the weather service, the app, `tailtrace serve` and a real nginx, each a process of its own.

    clients ──► nginx ──► app ──► weather
                  │        └──OTLP──┴──► tailtrace serve
                  ├─ the names of three neighbours ──► the weather's process
                  └─ access.log ───────────────┘

All are ready when it is given. They start from the weather on, as `serve` reads the app's OpenAPI document. nginx ends
first, so that nothing new comes, then those whose last spans still find `serve`, then `serve`. A port that is taken is
said and another one is used.
"""

import asyncio
import random
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tailtrace_api.demo.children import ChildDied, Children, child_environment
from tailtrace_api.demo.clients import SEED, Tally, drive
from tailtrace_api.demo.history import SERVICE
from tailtrace_api.demo.neighbours import server_blocks
from tailtrace_api.demo.people import Person, identities_toml, unusable_address
from tailtrace_api.nginx.process import NginxServer
from tailtrace_bridge.core.errors import SettingsError

HOST = "127.0.0.1"
STORE = "tailtrace.db"
WATCH_NGINX_S = 1.0
CLI = (sys.executable, "-u", "-m", "tailtrace_api.commands.cli")
APP = (sys.executable, "-u", "-m", "tailtrace_api.demo.app")
WEATHER = (sys.executable, "-u", "-m", "tailtrace_api.demo.weather")
EXPORT_DELAY_MS = "200"
"""`OTEL_BSP_SCHEDULE_DELAY` of the app: a demo shows a request at once, not after the default of 5 s."""

_LOCATIONS = """
        location / {
            include tailtrace-proxy.conf;
            proxy_http_version 1.1;
            # uvicorn closes a kept connection after an exception without saying so: a POST that nginx sends on it in
            # that moment is answered 502 and never reaches the app.
            proxy_set_header Connection close;
            proxy_pass http://127.0.0.1:@APP_PORT@;
        }
"""


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, and where it is reached."""

    url: str
    """nginx, in front of the app."""
    api_url: str
    log: Path
    """nginx's access log."""
    environment: dict[str, str]
    """The settings that `tailtrace serve` runs with."""
    people: tuple[Person, ...]
    children: Children
    nginx: NginxServer

    def command(self, words: str) -> str:
        """As in `Running`."""
        return f"{_program()} {words} --store {self.environment['TAILTRACE_STORE']}"

    async def drive(self, rate: float, tally: Tally, stop: asyncio.Event) -> None:
        """As in `Running`."""
        await drive(self.people, self.url, rate, random.Random(SEED), tally, stop)  # noqa: S311 - nothing secret

    async def report(self) -> None:
        """As in `Running`."""
        process = await asyncio.create_subprocess_exec(
            *CLI, "report", "--hours", "1", cwd=self.log.parent, env=child_environment(self.environment)
        )
        await process.wait()

    async def watch(self) -> None:
        """Wait until one of the processes is gone, and raise `ChildDied`. Never returns; cancel it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.children.watch())
            group.create_task(self._watch_nginx())

    async def _watch_nginx(self) -> None:
        while True:
            await asyncio.sleep(WATCH_NGINX_S)
            try:
                # A connection without a request leaves no line in the log.
                _, writer = await asyncio.open_connection(HOST, self.nginx.port)
            except OSError as error:
                text = self.nginx.error_log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise ChildDied(f"nginx is gone ({error}); the end of {self.nginx.error_log}:\n{text}") from error
            writer.close()


@asynccontextmanager
async def run_stack(
    folder: Path, *, people: Iterable[Person], port: int, api_port: int, say: Callable[[str], None]
) -> AsyncIterator[Stack]:
    """Start everything with its files in `folder`; `say` gets what a person should know.

    Raises `ChildDied`, `NginxError`, and `SettingsError` where the machine lacks the people's addresses.
    """
    say("starting the app, tailtrace serve and nginx ...")
    people = tuple(people)
    if address := unusable_address(people):
        raise SettingsError(
            f"demo: {address} is no address of this machine; on macOS and BSD add each client's first: "
            + "; ".join(f"sudo ifconfig lo0 alias {person.address}" for person in people)
        )
    port, api_port, app_port, otlp_port, weather_port = free_ports((port, api_port, 0, 0, 0), say)
    identities = folder / "identities.toml"
    identities.write_text(identities_toml(people), encoding="utf-8")
    api_url = f"http://{HOST}:{api_port}"
    log, openapi = folder / "access.log", folder / "openapi.json"
    log.touch()  # `/ready` wants the log to be there, and nginx starts last
    environment = {
        # Its ports are free ones of this machine's loopback, and it is up for minutes.
        "TAILTRACE_TRUST_LOOPBACK": "true",
        "TAILTRACE_STORE": f"sqlite:{folder / STORE}",
        "TAILTRACE_LOG": str(log),
        "TAILTRACE_CHECKPOINT": str(folder / "checkpoint.json"),
        "TAILTRACE_IDENTITIES": str(identities),
        "TAILTRACE_LISTEN": f"{HOST}:{api_port}",
        "TAILTRACE_OTLP_LISTEN": f"{HOST}:{otlp_port}",
        "TAILTRACE_OPENAPI": str(openapi),
    }
    traced = {
        "OTEL_SERVICE_NAME": "chocolate-factory",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{otlp_port}",
        "OTEL_BSP_SCHEDULE_DELAY": EXPORT_DELAY_MS,
    }
    async with Children(folder) as children, httpx.AsyncClient() as client:

        async def answers(url: str) -> bool:
            try:
                return (await client.get(url)).is_success
            except httpx.TransportError:
                return False

        weather = f"http://{HOST}:{weather_port}"
        await children.start(
            "weather",
            (*WEATHER, "--port", str(weather_port)),
            {**traced, "OTEL_SERVICE_NAME": "weather", "OTEL_RESOURCE_ATTRIBUTES": "service.version=2.3"},
            lambda: answers(f"{weather}/health"),
        )
        await children.start(
            "app",
            (*APP, "--port", str(app_port), "--openapi", str(openapi), "--weather", weather),
            traced,
            lambda: answers(f"http://{HOST}:{app_port}/health"),
        )
        await children.start("serve", (*CLI, "serve"), environment, lambda: answers(f"{api_url}/ready"))
        locations = _LOCATIONS.replace("@APP_PORT@", str(app_port))
        with NginxServer(
            locations,
            servers=server_blocks(f"{HOST}:{port}", weather_port),
            host=HOST,
            port=port,
            log=log,
            folder=folder,
            server_name=SERVICE,
        ) as nginx:
            yield Stack(nginx.url, api_url, log, environment, people, children, nginx)


def free_ports(wished: Sequence[int], say: Callable[[str], None]) -> list[int]:
    """Return each wished port, or, where it is taken or 0, another one that is free, and say so.

    All are held until the last is found: of five asked for one by one, two are the same once in 800 times.
    """
    with ExitStack() as held:
        return [_free_port(port, say, held) for port in wished]


def _free_port(wished: int, say: Callable[[str], None], held: ExitStack) -> int:
    probe = held.enter_context(socket.socket())
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((HOST, wished))
        probe.listen(1)
    except OSError as error:
        other = held.enter_context(socket.socket())
        other.bind((HOST, 0))
        port = int(other.getsockname()[1])
        say(f"port {wished} is taken ({error.strerror}); using {port}")
        return port
    return int(probe.getsockname()[1])


def _program() -> str:
    """Return what a shell finds this program by: `make demo` has its own environment, which is on nobody's PATH."""
    beside = Path(sys.executable).with_name("tailtrace")
    return str(beside) if beside.is_file() and shutil.which("tailtrace") is None else "tailtrace"

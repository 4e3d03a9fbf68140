"""The demo's stack in containers: docker-compose.yml, with deploy/demo.yml beside it, as a project of its own.

| what happens | what is done |
|---|---|
| no Docker, no Compose, no clone of the project | `SettingsError` that says which |
| it does not come up, or the people's container ends | `ChildDied`, with the end of their logs |
| the demo ends, however it ends | `docker compose down --volumes`: containers, networks, data go; images stay |

Compose itself writes to the terminal, so that one sees what it pulls and builds. It runs in a session of its own: the
terminal's Ctrl-C is the demo's. A user's .env, secrets and running stack have no part in it.
"""

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tailtrace_api.demo.children import ChildDied, child_environment
from tailtrace_api.demo.clients import Tally
from tailtrace_api.demo.history import SERVICE
from tailtrace_api.demo.neighbours import server_blocks
from tailtrace_api.demo.people import Person, identities_toml
from tailtrace_api.demo.stack import CLI, HOST, STORE, free_ports
from tailtrace_bridge.core.errors import SettingsError

PROJECT = "tailtrace-demo"
FILES = ("docker-compose.yml", "deploy/demo.yml")
INCLUDES = "/etc/nginx/tailtrace/"
WEATHER_PORT = 8001
"""As in deploy/demo.yml."""
LOG_TAIL_LINES = 5
"""Of each container."""
LINES_S = 1.0
"""nginx writes its last line, and Docker its container's, within that."""


@dataclass(frozen=True, slots=True)
class Compose:
    """`docker compose` on the demo's project."""

    clone: Path
    folder: Path
    environment: dict[str, str]

    def words(self, *words: str) -> tuple[str, ...]:
        """Return the whole command."""
        files = [word for name in FILES for word in ("-f", str(self.clone / name))]
        return ("docker", "compose", "-p", PROJECT, "--env-file", str(self.folder / ".env"), *files, *words)

    async def run(self, *words: str, stdin: Path | None = None, stdout: Path | None = None) -> int:
        """Run it and return its exit status; it ends when we are cancelled. Without files, it has our streams."""
        with open(stdin or os.devnull, "rb") as source, open(stdout or os.devnull, "wb") as target:  # noqa: ASYNC230, PTH123
            process = await asyncio.create_subprocess_exec(
                *self.words(*words),
                stdin=source,
                stdout=target if stdout else None,
                stderr=asyncio.subprocess.DEVNULL if stdout else None,
                env=self.environment,
                start_new_session=True,
            )
            try:
                return await process.wait()
            except asyncio.CancelledError:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                await process.wait()
                raise

    async def read(self, *words: str) -> str:
        """Return what it prints."""
        said = self.folder / f"{words[0]}.out"
        await self.run(*words, stdout=said)
        return said.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class Containers:
    """What runs: `Running`."""

    url: str
    api_url: str
    log: Path
    _compose: Compose

    def command(self, words: str) -> str:
        """As in `Running`."""
        return f"docker compose -p {PROJECT} exec api tailtrace {words}"

    async def watch(self) -> None:
        """As in `Running`; but Docker starts again what dies, all but the people, whom `drive` watches."""
        await asyncio.Event().wait()

    async def drive(self, rate: float, tally: Tally, stop: asyncio.Event) -> None:
        """As in `Running`."""
        self._compose.environment["DEMO_RATE"] = f"{rate:g}"
        if await self._compose.run("up", "--detach", "--no-deps", "people"):
            raise await _problem(self._compose, "the people's container did not start")
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch_people())
            await stop.wait()
            watch.cancel()
        await self._compose.run("stop", "people")
        await asyncio.sleep(LINES_S)
        lines = (await self._compose.read("logs", "--no-log-prefix", "people")).splitlines()
        said = [line for line in lines if line.startswith("{")]
        if not said:
            raise await _problem(self._compose, "the people did not say what they sent")
        for name, count in json.loads(said[-1]).items():
            setattr(tally, name, count)
        written = "cat $(ls -tr /var/log/nginx/tailtrace.log*)"  # with those that were rotated
        await self._compose.run("exec", "-T", "nginx", "sh", "-c", written, stdout=self.log)

    async def _watch_people(self) -> None:
        await self._compose.read("wait", "people")
        raise await _problem(self._compose, "the people's container ended")

    async def report(self) -> None:
        """As in `Running`."""
        wide = ("-e", f"COLUMNS={shutil.get_terminal_size().columns}") if sys.stdout.isatty() else ()
        await self._compose.run("exec", "-T", *wide, "api", "tailtrace", "report", "--hours", "1")


@asynccontextmanager
async def run_containers(
    folder: Path, *, people: Iterable[Person], port: int, api_port: int, say: Callable[[str], None]
) -> AsyncIterator[Containers]:
    """Start everything, with the past that `folder` has in its store; `say` gets what a person should know.

    Raises `SettingsError` and `ChildDied`.
    """
    clone = _require_docker()
    port, api_port = free_ports((port, api_port), say)
    _write_files(folder, people, clone)
    (folder / ".env").write_text(
        f"COMPOSE_PROFILES=\nNGINX_PORT={port}\nAPI_PORT={api_port}\nOTEL_SERVICE_NAME={SERVICE}\nDEMO={folder}\n",
        encoding="utf-8",
    )
    # What a shell has set would go before our file.
    ours = {"COMPOSE_PROFILES", "NGINX_PORT", "API_PORT", "DEMO", "DEMO_RATE"}
    environment = {name: value for name, value in child_environment({}).items() if name not in ours}
    compose = Compose(clone, folder, environment)
    say(
        "building tailtrace's image and starting the stack: minutes at first, as Docker pulls what it does not have ..."
    )
    try:
        if await compose.run("up", "--build", "--wait", "--quiet-pull"):
            raise await _problem(compose, "the containers did not come up")
        environment["COMPOSE_PROFILES"] = "people"  # theirs from here on: `down` ends what is of a profile
        await _import_past(compose)
        log = folder / "access.log"
        yield Containers(f"http://{HOST}:{port}", f"http://{HOST}:{api_port}", log, compose)
    finally:
        say("stopping the containers ...")
        await compose.run("down", "--volumes", "--remove-orphans", "--timeout", "5")


def _require_docker() -> Path:
    """Return the clone whose files are started. Raises `SettingsError`."""
    if shutil.which("docker") is None:
        raise SettingsError("demo --docker: there is no `docker` here: https://docs.docker.com/engine/install/")
    for words, needed in (
        (("docker", "compose", "version"), "needs Docker's plugin Compose, 2.24 or later"),
        (("docker", "info", "--format", "{{.ID}}"), "cannot reach Docker; does it run, and may you use it?"),
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise SettingsError(f"demo --docker: {needed} ({' '.join(words[:2])}: {' '.join(said)})")
    for clone in (Path.cwd(), Path(__file__).parents[3]):
        if all((clone / name).is_file() for name in FILES):
            return clone
    raise SettingsError(f"demo --docker: needs {FILES[0]} of a clone of tailtrace; run it in the clone's folder")


def _write_files(folder: Path, people: Iterable[Person], clone: Path) -> None:
    """Write what deploy/demo.yml mounts: for users of the containers to read, in a folder that is closed to others."""
    texts = {
        "influxdb_token": secrets.token_hex(32),
        "influxdb_password": secrets.token_hex(16),
        "identities.toml": (clone / "deploy/identities.toml").read_text(encoding="utf-8") + identities_toml(people),
        "neighbours.conf": server_blocks("80", WEATHER_PORT, INCLUDES),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o644)


async def _import_past(compose: Compose) -> None:
    """Move the rows of the store in our folder into InfluxDB, as of a bridge of their own."""
    rows = compose.folder / "past.ndjson"
    words = (*CLI, "export", "--store", f"sqlite:{compose.folder / STORE}")
    with rows.open("wb") as target:
        export = await asyncio.create_subprocess_exec(*words, stdout=target, env=child_environment({}))
        await export.wait()
    source = ("-e", "TAILTRACE_SOURCE=past")
    if await compose.run("exec", "-T", *source, "bridge", "tailtrace", "import", "-", stdin=rows):
        raise ChildDied("the past could not be imported: see above")


async def _problem(compose: Compose, what: str) -> ChildDied:
    """Make the error that tells `what` and shows the end of each container's log."""
    said = await compose.read("logs", "--no-color", "--tail", str(LOG_TAIL_LINES))
    return ChildDied(f"{what}; the end of each container's log:\n{said}")

"""docker-compose.yml as users have it, in a folder of its own, on an engine of the tests: fixture `stack`."""

import http.client
import importlib.util
import itertools
import json
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

ROOT = Path(__file__).parents[2]
QUICK = "quick.yml"
"""Beside docker-compose.yml: asks for health each second, since a test waits for it often. It changes nothing else."""
UP_S_MAX = 600
BUILD_S_MAX = 900
NGINX_HOLDS_S = 0.5
"""It writes its lines within 0.2 s: `flush=200ms` of tailtrace-server.conf."""
_spec = importlib.util.spec_from_file_location("tailtrace_test_engine", Path(__file__).with_name("engine.py"))
assert _spec is not None
assert _spec.loader is not None
engines = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = engines
_spec.loader.exec_module(engines)


def wait_for(look: Any, within_s: float, what: str = "") -> Any:
    end_s = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < end_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.2)
    return found


def is_gone(pid: int) -> bool:
    """Whether a container's first process has ended: it becomes a zombie once all others in it are gone (pid_namespaces(7))."""
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return True


def copy_project(folder: Path) -> None:
    """What a clone has: no secrets, no .env, nothing that was built."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


class Stack:
    """The services of docker-compose.yml: what the host sees of them, and what can befall them."""

    def __init__(self, engine: Any, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self.env = {"COMPOSE_PROFILES": "local", "COLLECTOR_TRACES_PERCENT": "100"}
        copy_project(folder)
        # As docs/deployment.md has it.
        (folder / "secrets").mkdir(mode=0o700)
        for name, count in (("influxdb_token", 32), ("influxdb_password", 16)):
            secret = folder / "secrets" / name
            secret.write_text(secrets.token_hex(count) + "\n", encoding="utf-8")
            secret.chmod(0o644)
        shutil.copy(folder / ".env.example", folder / ".env")
        self.be_quick()

    def be_quick(self, yes: bool = True) -> None:
        """Ask for health each second, or as users do."""
        self.env.pop("COMPOSE_FILE", None)
        if not yes:
            return
        services = json.loads(self.compose("--profile", "*", "config", "--format", "json").stdout)["services"]
        asked = {name for name, service in services.items() if "test" in service.get("healthcheck", {})}
        text = "\n".join(f"  {name}: {{healthcheck: {{interval: 1s}}}}" for name in sorted(asked))
        (self.folder / QUICK).write_text(f"services:\n{text}\n", encoding="utf-8")
        self.env["COMPOSE_FILE"] = f"docker-compose.yml:{QUICK}"

    def traffic(self, kind: int) -> "Traffic":
        """Requests of a test's own; `kind` is another number in each."""
        return Traffic(self, kind)

    @staticmethod
    def wait_for(look: Any, within_s: float, what: str = "") -> Any:
        """Return the first true value of `look()`."""
        return wait_for(look, within_s, what)

    def set(self, **variables: str) -> None:
        """Change lines of .env."""
        path = self.folder / ".env"
        lines = [
            f"{name}={variables.get(name, value)}" if (name := line.partition("=")[0]) and "=" in line else line
            for line in path.read_text(encoding="utf-8").splitlines()
            for value in [line.partition("=")[2]]
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def compose(self, *arguments: str, check: bool = True, timeout_s: float = UP_S_MAX) -> Any:
        command = ("docker", "compose", *arguments)
        return self.engine.run(*command, cwd=self.folder, env=self.env, check=check, timeout_s=timeout_s)

    def up(self) -> None:
        """Start what is down, and wait until all are healthy."""
        self.compose("up", "--wait")

    def heal(self) -> str:
        """What the timer of docs/deployment.md starts, again and again until it is well; return what it said."""
        said, end_s = "", time.monotonic() + UP_S_MAX
        command = ("sh", str(self.folder / "deploy" / "heal.sh"))
        while True:
            done = self.engine.run(*command, env=self.env, check=False, timeout_s=UP_S_MAX)
            said += done.stdout
            if done.returncode == 0:
                return said
            assert time.monotonic() < end_s, done.stderr[-3000:]

    def containers(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of each, by service."""
        ids = self.compose("ps", "--all", "--quiet").stdout.split()
        shown = json.loads(self.engine.docker("inspect", *ids)) if ids else []
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in shown}

    def crash(self, *services: str, pause_s: float = 0) -> tuple[float, float]:
        """End their first processes as a crash would, and not as `docker kill`, after which the engine lets them lie.

        Return between which moments they died, by the monotonic clock: a first process is gone when the rest of its
        container is, which works on for some milliseconds.
        """
        shown = self.containers()
        pids = {service: shown[service]["State"]["Pid"] for service in services}
        assert all(pids.values()), f"one does not run: {pids}"
        began_s = time.monotonic()
        for pid in pids.values():
            with suppress(ProcessLookupError):  # it ended by itself, as another did that it needs
                os.kill(pid, signal.SIGKILL)
            time.sleep(pause_s)
        self.wait_for(lambda: all(map(is_gone, pids.values())), 60, "gone")
        return began_s, time.monotonic()

    def is_whole(self) -> bool:
        """Whether everything runs, and is healthy where it can say so."""
        for name, shown in self.containers().items():
            state = shown["State"]
            health = state.get("Health", {}).get("Status", "healthy")
            if name != "init" and (not state["Running"] or state["Paused"] or health != "healthy"):
                return False
        return True

    def get(self, path: str, port: int = 8470, timeout_s: float = 10) -> Any:
        """An answer of the API, or of what `port` is; None where there is none yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout_s) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            return None
        return json.loads(text) if answer.headers.get_content_type() == "application/json" else text

    def seen(self, begins: str) -> Counter[str]:
        """How often each path that begins so is a row."""
        found: Counter[str] = Counter()
        query = ""
        while True:
            page = self.get(f"/analytics/access-logs?hours=24&limit=1000{query}")
            assert page is not None, "the API does not answer"
            found.update(row["path"] for row in page["logs"] if row["path"].startswith(begins))
            if (cursor := page["next_cursor"]) is None:
                return found
            query = f"&cursor={cursor}"

    def influx(self, bucket: str, statement: str) -> list[list[Any]]:
        """Rows out of InfluxDB, asked from inside the stack: it has no way out."""
        program = (
            "import json,sys,urllib.parse,urllib.request as r\n"
            "q=urllib.parse.urlencode({'db':sys.argv[1],'q':sys.argv[2]})\n"
            "t=open('/run/secrets/influxdb_token').read().strip()\n"
            "print(r.urlopen(r.Request('http://influxdb:8086/query?'+q,headers={'Authorization':'Token '+t})).read().decode())"
        )
        said = self.compose("exec", "-T", "bridge", "python", "-c", program, bucket, statement).stdout
        results: Any = json.loads(said)["results"][0]
        assert "error" not in results, results
        return [row for series in results.get("series", []) for row in series["values"]]


class Traffic:
    """Requests for batches that are each asked for once; each that nginx answered must be one row, and none two."""

    _made: ClassVar = itertools.count()

    def __init__(self, stack: Stack, kind: int) -> None:
        self._stack = stack
        # The count is there for a test that is run once more on the same stack: its first run's rows are none of its own.
        self.begins = f"/batches/{kind}{next(self._made):03}"
        self.answered: dict[str, tuple[float, float]] = {}
        """When each was asked, and when it had its answer."""
        self.count = 0
        self._end = threading.Event()

    def assert_stored(self, within_s: float = 300, *, nginx_died_s: tuple[float, float] | None = None) -> None:
        """Wait until all that was answered is stored; then nothing may be there twice.

        nginx holds its lines for a moment: when it is killed, those of that moment were never written.
        """
        since_s, until_s = nginx_died_s or (math.inf, -math.inf)
        due = {
            path
            for path, (asked_s, had_s) in self.answered.items()
            if had_s < since_s - NGINX_HOLDS_S or asked_s > until_s
        }
        assert due
        end_s = time.monotonic() + within_s
        while missing := sorted(due - self._stack.seen(self.begins).keys()):
            assert time.monotonic() < end_s, f"{len(missing)} of {len(due)} not stored: {missing[:9]}"
            time.sleep(0.5)
        assert [path for path, count in self._stack.seen(self.begins).items() if count > 1] == []

    def send(self, count: int) -> None:
        for _ in range(count):
            self._one()

    @contextmanager
    def flowing(self, pause_s: float = 0.02) -> Iterator[None]:
        """Send all the while."""

        def flow() -> None:
            while not self._end.wait(pause_s):
                self._one()

        self._end.clear()
        thread = threading.Thread(target=flow)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def _one(self) -> None:
        self.count += 1
        path = f"{self.begins}{self.count:05}"
        asked_s = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=5)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            answer.read()
            self.answered[path] = asked_s, time.monotonic()
        connection.close()


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    with engines.running() as engine:
        engines.make_images(engine)
        yield engine


@pytest.fixture(scope="session")
def stack_image(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of ours, plain."""
    stack = Stack(engine, tmp_path_factory.mktemp("image"))
    stack.compose("build", timeout_s=BUILD_S_MAX)
    return "tailtrace:0.1.0"


@pytest.fixture(scope="session")
def pdf_image(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image with what a PDF needs, beside the plain one."""
    stack = Stack(engine, tmp_path_factory.mktemp("pdf"))
    (stack.folder / "pdf.yml").write_text("services: {init: {image: tailtrace-pdf}}\n", encoding="utf-8")
    stack.env |= {"COMPOSE_FILE": "docker-compose.yml:pdf.yml", "IMAGE_TARGET": "pdf"}
    stack.compose("build", timeout_s=BUILD_S_MAX)
    return "tailtrace-pdf"


MakeStack = Callable[[], AbstractContextManager[Stack]]


@pytest.fixture(scope="session")
def make_stack(engine: Any, stack_image: str, tmp_path_factory: pytest.TempPathFactory) -> MakeStack:
    """A stack of the profile `local`, alone on the engine, to be started; in the end what it logged is shown."""
    assert stack_image

    @contextmanager
    def make() -> Iterator[Stack]:
        stack = Stack(engine, tmp_path_factory.mktemp("site"))
        engine.clean()
        yield stack
        for name, log in _logs(stack).items():
            sys.stdout.write(f"== {name}\n{log[-1500:]}\n")
        stack.compose("down", "--volumes", "--timeout", "5")

    return make


@pytest.fixture(scope="session")
def stack(make_stack: MakeStack) -> Iterator[Stack]:
    """One that is up and healthy."""
    with make_stack() as stack:
        stack.up()
        yield stack


def _logs(stack: Stack) -> dict[str, str]:
    return {name: stack.compose("logs", "--no-log-prefix", name).stdout for name in stack.containers()}

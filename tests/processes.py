"""What tests that start programs of their own share: free ports, and a program for as long as a block."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on: all held at once, so that none comes twice."""
    with ExitStack() as held:
        return [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


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

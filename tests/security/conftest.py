"""A real server of ours on loopback, in front of an app of the test's own."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from tailtrace_api.access.guard import AccessCounters, Guard
from tailtrace_api.access.roles import Caller, Role
from tailtrace_api.server import serve


class Anybody:
    def who(self, _peer, _headers):
        return Caller(Role.ADMIN)


@pytest.fixture
def serving():
    """Serve an app, to anybody, while a `with` lasts: its address and its counters."""

    @contextlib.contextmanager
    def run(app):
        counters = AccessCounters()
        guard = Guard(app, Anybody(), counters, clock=lambda: time.monotonic_ns() // 1000)
        running = serve._server(guard, counters.closed)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[listener])))
            thread.start()
            while not running.started:
                time.sleep(0.01)
            yield listener.getsockname(), counters
            running.should_exit = True
            thread.join(10)
            assert not thread.is_alive()

    return run

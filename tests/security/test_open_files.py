"""A server whose connections are as many as it may open files: what it says, and that it goes on afterwards."""

import asyncio
import contextlib
import resource
import socket
import subprocess
import sys
import time

from tests.processes import free_port

from tailtrace_api.server import connections
from tailtrace_api.server.open_files import WANTED

SERVE = """
import asyncio, logging, resource, socket, sys
from tailtrace_api.server import serve
from tailtrace_api.server.open_files import allow_open_files

async def app(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

logging.basicConfig(level="INFO")
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 40))
allow_open_files()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
asyncio.run(serve._run([(serve._server(app, {}), listener)]))
"""
ASK = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def answer(port):
    with socket.create_connection(("127.0.0.1", port), 5) as one:
        one.sendall(ASK)
        return one.recv(65536).partition(b"\r\n")[0]


def test_a_server_without_files_says_so_once_and_comes_back():
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout.readline() == "(40, 40)\n", "as many as it may have"
        with contextlib.ExitStack() as held:
            for _ in range(80):
                held.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            time.sleep(2.5)  # it tries again each second
        end_s = time.monotonic() + 20
        while True:
            try:
                assert answer(port) == b"HTTP/1.1 200 OK"
            except OSError:
                assert time.monotonic() < end_s
            else:
                break
    finally:
        server.terminate()
        _, said = server.communicate(timeout=20)
    assert said.count("no connection can be taken: Too many open files") == 1, said
    assert "Traceback" not in said


def test_as_many_files_are_allowed_as_all_connections_need():
    servers = 2
    assert servers * (connections.CONNECTIONS_MAX + connections.REFUSED_MAX + connections.BACKLOG) < WANTED / 2


def test_a_limit_that_is_higher_stays():
    script = (
        "import resource; from tailtrace_api.server.open_files import allow_open_files;"
        "before = resource.getrlimit(resource.RLIMIT_NOFILE); allow_open_files();"
        "print(before == resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= 5000, "this machine allows too few files to try it"

    def high():
        resource.setrlimit(resource.RLIMIT_NOFILE, (5000, hard))

    done = subprocess.run([sys.executable, "-c", script], preexec_fn=high, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


class Ended(asyncio.Protocol):
    """A connection that nobody reads from, which we end."""

    def connection_made(self, transport):
        self.lost = asyncio.get_running_loop().create_future()
        transport.pause_reading()
        self.lingering = connections._LingeringTransport(transport, asyncio.get_running_loop(), lambda: True)

    def connection_lost(self, _exc):
        self.lingering.forget()
        self.lost.set_result(True)


def test_to_end_a_connection_that_its_peer_has_reset_ends_it():
    async def scenario():
        made = asyncio.get_running_loop().create_future()

        def protocol():
            made.set_result(Ended())
            return made.result()

        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        peer = socket.create_connection(server.sockets[0].getsockname())
        ended = await made
        await asyncio.sleep(0.05)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        peer.close()  # with a reset
        await asyncio.sleep(0.05)
        ended.lingering.close()
        server.close()
        return await asyncio.wait_for(ended.lost, 1)

    assert asyncio.run(scenario())

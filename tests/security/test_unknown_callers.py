"""Many peers at once, each with an address of its own, against our real servers: who still gets in.

In a network namespace of the test's own, and so in one thread: a thread that leaves for a namespace makes its sockets
there. Addresses are those for documentation.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import subprocess
import threading
import time

import pytest

from tailtrace_api.access.guard import AccessCounters, Guard, of_spans
from tailtrace_api.access.roles import Caller, Role
from tailtrace_api.server import connections, serve
from tailtrace_bridge.spans.receiver import ReceiverCounters, SpanQueue, make_receiver

pytestmark = pytest.mark.netns

CLONE_NEWNET = 0x40000000
SERVER, SERVER6 = "203.0.113.1", "2001:db8::1"
GET = b"GET /analytics/stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
NEVER_ENDS = b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
SPANS = (
    b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"Connection: close\r\n\r\n{}"
)


class ByToken:
    """Whoever has the token is an admin; loopback is one too."""

    def who(self, peer, headers):
        is_known = peer in {"127.0.0.1", "::1"} or ("authorization", "Bearer t") in list(headers)
        return Caller(Role.ADMIN, way="token", sends_spans=True) if is_known else Caller(why="send a token")


class Anybody:
    def who(self, _peer, _headers):
        return Caller(Role.ADMIN, sends_spans=True)


async def app(_scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def in_a_network(addresses, scenario):
    """Run a coroutine where the machine has these addresses; give what it gives."""
    outcome = []

    def run():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        orders = "link set lo up\n" + "".join(
            f"address add {one}/{128 if ':' in one else 32} dev lo{' nodad' if ':' in one else ''}\n"
            for one in addresses
        )
        subprocess.run(["ip", "-batch", "-"], input=orders, text=True, check=True)
        outcome.append(asyncio.run(scenario()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert outcome, "the scenario did not end well"
    return outcome[0]


@contextlib.asynccontextmanager
async def running(asgi, callers, address=SERVER, **guarded):
    counters = AccessCounters()
    guard = Guard(asgi, callers, counters, clock=lambda: time.monotonic_ns() // 1000, **guarded)
    server = serve._server(guard, counters.closed)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind(("::" if ":" in address else "0.0.0.0", 0))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1], counters
        server.should_exit = True
        await task


async def connect(port, source, request, to):
    """Open a connection and send something on it."""
    one = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
    one.setblocking(False)
    one.bind((source, 0))
    loop = asyncio.get_running_loop()
    await loop.sock_connect(one, (to, port))
    await loop.sock_sendall(one, request)
    return one


async def ask(port, source, request=GET, to=SERVER):
    """Give the status of an answer and its body; 0 where there was none."""
    said = b""
    try:
        async with asyncio.timeout(5):
            with await connect(port, source, request, to) as one:
                while more := await asyncio.get_running_loop().sock_recv(one, 65536):
                    said += more
    except (OSError, TimeoutError) as error:
        return 0, repr(error)
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


@contextlib.asynccontextmanager
async def held(port, sources, each, request=b"GET / HTTP/1.1\r\n", to=SERVER):
    """Open connections that ask for nothing whole, so many from each source, and keep them."""
    kept = [await connect(port, source, request, to) for source in sources for _ in range(each)]
    await asyncio.sleep(0.3)
    yield kept
    for one in kept:
        one.close()


def is_left_alone(one):
    """Neither answered nor closed."""
    try:
        one.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    return False


MANY = [f"198.51.100.{n}" for n in range(1, 51)]
HONEST = "192.0.2.7"


def test_fifty_addresses_do_not_shut_everybody_out():
    async def scenario():
        async with running(app, ByToken()) as (port, counters):
            with_token = GET[:-2] + b"Authorization: Bearer t\r\n\r\n"
            async with held(port, MANY, 40):
                said = [await ask(port, HONEST, with_token) for _ in range(5)]
                said += [await ask(port, "127.0.0.1", to="127.0.0.1") for _ in range(5)]
                stranger = await ask(port, HONEST)
            return said, stranger, counters.closed

    said, stranger, closed = in_a_network([SERVER, HONEST, *MANY], scenario)
    assert said == [(200, b"ok")] * 10
    assert (stranger[0], json.loads(stranger[1])) == (401, {"detail": "send a token"})
    assert closed["too_many"] >= 50 * 40 - connections.CONNECTIONS_MAX


def test_an_ipv6_network_is_one_peer(monkeypatch):
    monkeypatch.setattr(connections, "GRACE_S", 60)  # however long it takes to open so many, none gives way
    of_one_network = [f"2001:db8:0:7::{n:x}" for n in range(1, 101)]
    other = "2001:db8:0:8::1"

    async def scenario():
        async with running(app, Anybody(), SERVER6) as (port, counters):
            async with held(port, of_one_network[:-1], 1, to=SERVER6) as kept:
                last, honest = await ask(port, of_one_network[-1], to=SERVER6), await ask(port, other, to=SERVER6)
                still = sum(map(is_left_alone, kept))
            return last, honest, still, counters.closed

    last, honest, still, closed = in_a_network([SERVER6, other, *of_one_network], scenario)
    assert (last[0], json.loads(last[1])) == (
        429,
        {"detail": "64 connections of one address are open: ask again later"},
    )
    assert honest == (200, b"ok")
    assert (still, closed) == (64, {"too_many_of_one": 36})


@pytest.mark.parametrize("count", [40, 300])
def test_slow_senders_do_not_keep_out_the_spans_of_this_machine(count):
    sources = [f"198.51.100.{n}" for n in range(1, 41)]

    async def scenario():
        counters = ReceiverCounters()
        receiver = make_receiver(SpanQueue().put, counters)
        async with running(receiver, Anybody(), judge=of_spans) as (port, _):
            async with held(port, sources, count // len(sources), NEVER_ENDS):
                local = [await ask(port, "127.0.0.1", SPANS, "127.0.0.1") for _ in range(10)]
                honest = await ask(port, HONEST, SPANS)
            return [status for status, _ in local], honest[0]

    assert in_a_network([SERVER, HONEST, *sources], scenario) == ([200] * 10, 200)


def test_slow_senders_of_this_machine_do_not_keep_out_the_others():
    async def scenario():
        receiver = make_receiver(SpanQueue().put)
        async with running(receiver, Anybody(), judge=of_spans) as (port, _):
            async with held(port, ["127.0.0.1"], 300, NEVER_ENDS, "127.0.0.1"):
                said = [await ask(port, "127.0.0.1", SPANS, "127.0.0.1") for _ in range(10)]
            return [status for status, _ in said]

    assert in_a_network([], scenario) == [200] * 10

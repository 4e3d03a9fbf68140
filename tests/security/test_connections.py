"""A real server on loopback, asked over bare sockets: half requests, too many of them, and requests of two minds."""

import asyncio
import socket
import time

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tailtrace_api.server import connections


async def answer(scope, receive, send):
    """Waits for `/slow`, reads the body of anything else."""
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    else:
        while (await receive()).get("more_body"):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def server(monkeypatch, serving):
    monkeypatch.setattr(connections, "ARRIVAL_S", 0.4)
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 5)
    with serving(answer) as running:
        yield running


def talk(address, *parts, pause_s=0.1):
    """Send the parts one after the other; give all that comes until the other side closes, or 2 s."""
    said = b""
    with socket.create_connection(address, timeout=2) as one:
        try:
            for part in parts:
                one.sendall(part)
                time.sleep(pause_s)
            while more := one.recv(65536):
                said += more
        except ConnectionError:
            return said, "closed"
        except TimeoutError:
            return said, "open"
    return said, "closed"


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"GET / HTTP/1.1\r\nHost: loc",),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n", b"c: d\r\n", b"e: f\r\n", b"g: h\r\n", b"i: j\r\n", b"k: l\r\n"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", b"1", b"2", b"3", b"4", b"5", b"6"),
        (GET, b"GET / HTTP/1.1\r\n", b"a: b\r\n", b"c: d\r\n", b"e: f\r\n", b"g: h\r\n", b"i: j\r\n"),
    ],
    ids=["nothing", "half a head", "a slow head", "a slow body", "a slow second head"],
)
def test_a_request_that_does_not_end(server, parts):
    address, counters = server
    begun = time.monotonic()
    assert talk(address, *parts)[1] == "closed"
    assert time.monotonic() - begun < 5
    assert counters.closed == {"too_slow": 1}


def test_who_waits_for_an_answer_is_left_alone(server):
    address, counters = server
    said, _ = talk(address, b"GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200")
    assert counters.closed == {}


def test_too_many_connections_are_refused_with_an_answer_and_the_others_go_on(server, monkeypatch):
    address, counters = server
    monkeypatch.setattr(connections, "ARRIVAL_S", 30)
    slow = [socket.create_connection(address, timeout=2) for _ in range(5)]
    time.sleep(0.1)
    said, then = talk(address, GET)
    assert (said.split(b"\r\n")[0], then) == (b"HTTP/1.1 503 Service Unavailable", "closed")
    assert said.endswith(b'{"detail": "5 connections are open: ask again later"}')
    slow[0].sendall(GET)
    assert slow[0].recv(100).startswith(b"HTTP/1.1 200")
    for one in slow:
        one.close()
    time.sleep(0.1)
    assert talk(address, GET)[0].startswith(b"HTTP/1.1 200")
    assert counters.closed["too_many"] == 1


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_refused_peer_reads_its_answer_however_much_it_was_sending(server, monkeypatch, size):
    """No reset takes the answer away, although the server has not read what was sent."""
    address, _ = server
    monkeypatch.setattr(connections, "ARRIVAL_S", 30)
    slow = [socket.create_connection(address, timeout=2) for _ in range(5)]
    time.sleep(0.1)
    with socket.create_connection(address, timeout=3) as one:
        one.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        said = b""
        while more := one.recv(65536):
            said += more
    assert said.startswith(b"HTTP/1.1 503 ")
    for connection in slow:
        connection.close()


def test_one_that_was_idle_for_a_while_gives_way_to_one_that_asks(server, monkeypatch):
    address, counters = server
    monkeypatch.setattr(connections, "ARRIVAL_S", 30)
    monkeypatch.setattr(connections, "GRACE_S", 0.3)
    slow = [socket.create_connection(address, timeout=2) for _ in range(5)]
    time.sleep(0.5)
    assert talk(address, GET)[0].startswith(b"HTTP/1.1 200")
    assert slow[0].recv(10) == b""
    assert counters.closed == {"too_many": 1}
    for one in slow:
        one.close()


def test_half_a_request_gets_an_answer_when_its_time_is_up(server):
    assert talk(server[0], b"GET / HTTP/1.1\r\nHost: loc")[0].startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_who_does_not_read_its_answer_is_closed(monkeypatch, serving):
    async def endless(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2000):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})

    monkeypatch.setattr(connections, "ARRIVAL_S", 0.4)
    with serving(endless) as (address, counters), socket.create_connection(address, timeout=5) as one:
        one.sendall(GET)
        deadline = time.monotonic() + 20
        while not counters.closed and time.monotonic() < deadline:
            time.sleep(0.05)
        assert counters.closed == {"not_read": 1}


SECOND = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "request_of_two_minds",
    [
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SECOND,
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde" + SECOND,
        HEAD + b"Content-Length: +5\r\n\r\nabcde" + SECOND,
        HEAD + b"Content-Length: 5, 6\r\n\r\nabcde" + SECOND,
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SECOND,
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND,
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SECOND,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n" + SECOND,
        HEAD + b"Host: elsewhere\r\n\r\n" + SECOND,
        HEAD + b"X: a\rContent-Length: 5\r\n\r\n" + SECOND,
        b"GET / HTTP/1.1\r\n\r\n" + SECOND,
    ],
)
def test_a_request_of_two_minds_ends_the_connection(server, request_of_two_minds):
    said, then = talk(server[0], request_of_two_minds)
    assert (said.count(b"HTTP/1.1 "), said[:12], then) == (1, b"HTTP/1.1 400", "closed")


def test_two_whole_requests_in_a_row_are_two_answers(server):
    """What the test above counts can be two."""
    said, _ = talk(server[0], HEAD + b"Content-Length: 5\r\n\r\nabcde" + SECOND)
    assert said.count(b"HTTP/1.1 200") == 2


def test_a_websocket_is_an_ordinary_request(server):
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    said, _ = talk(server[0], upgrade)
    assert said.startswith(b"HTTP/1.1 200")


def test_what_is_replaced_of_uvicorn_is_there():
    assert callable(vars(H11Protocol).get("_should_upgrade")), (
        f"uvicorn {uvicorn.__version__} decides elsewhere whether a connection becomes a websocket: see server/connections.py"
    )

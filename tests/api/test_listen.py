"""The sockets of `tailtrace serve`."""

import asyncio
import socket

import pytest

from tailtrace_api.server.serve import _listen
from tailtrace_bridge.settings.table import Settings


@pytest.mark.parametrize("field", ["listen", "otlp_listen"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_no_answer_waits_for_the_one_before_to_be_acknowledged(field, host):
    """Head and body of an answer are two writes: with Nagle's algorithm the second waits 40 ms, but in the first answer."""
    listener = _listen(Settings(**{field: f"{host}:0"}), field)

    async def accepted() -> int:
        taken = asyncio.get_running_loop().create_future()

        class Server(asyncio.Protocol):
            def connection_made(self, transport):
                connection = transport.get_extra_info("socket")
                taken.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        async with await asyncio.get_running_loop().create_server(Server, sock=listener):
            with socket.create_connection(listener.getsockname()[:2]):
                return await taken

    assert asyncio.run(accepted())

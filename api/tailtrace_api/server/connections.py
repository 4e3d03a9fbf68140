"""Connections to our HTTP servers, bounded in number and in time, on top of uvicorn's.

| a connection | is |
|---|---|
| beyond `CONNECTIONS_MAX` of one server | closed at once |
| beyond `CONNECTIONS_PER_PEER_MAX` of one address that is not loopback | closed at once |
| whose request, head and body, is not in after `ARRIVAL_S` | closed |
| that waits for its answer, or for news, however long | left alone |
| that asks for another protocol (a websocket) | answered as if it had not |

Without this a peer that sends half a head, and nothing more, keeps a file descriptor for ever, and with enough of them
the bridge can open no log any more. Behind nginx, and behind `tailscale serve`, all peers are one, on loopback.
"""

import asyncio
from ipaddress import ip_address
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS_MAX = 512
CONNECTIONS_PER_PEER_MAX = 64
ARRIVAL_S = 20.0
"""Longer than the receiver waits for a body: that one answers why (408)."""


class BoundedProtocol(H11Protocol):
    """uvicorn's, with the rules above. `closed` counts what they ended, by reason."""

    def __init__(self, *args: Any, closed: dict[str, int], **more: Any) -> None:
        super().__init__(*args, **more)
        self._closed = closed
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            self._close("too_many")
        elif self._of_this_peer() > CONNECTIONS_PER_PEER_MAX:
            self._close("too_many_of_one")
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read on, and see whether the request is whole."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        super().connection_lost(exc)
        self._end_deadline()

    def _should_upgrade(self) -> bool:
        return False

    def _watch(self) -> None:
        is_arriving = self.conn.their_state in {h11.IDLE, h11.SEND_BODY} and not self.transport.is_closing()
        if not is_arriving:
            self._end_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(ARRIVAL_S, self._close, "too_slow")

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _of_this_peer(self) -> int:
        if self.client is None or ip_address(self.client[0].partition("%")[0]).is_loopback:
            return 0
        peers = (getattr(other, "client", None) for other in self.connections)
        return sum(1 for peer in peers if peer is not None and peer[0] == self.client[0])

    def _close(self, reason: str) -> None:
        self._closed[reason] = self._closed.get(reason, 0) + 1
        self.transport.abort()

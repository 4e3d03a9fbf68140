"""Connections to our HTTP servers, bounded in number and in time, on top of uvicorn's.

A peer is an IPv4 address or an IPv6 /64. A connection that is *arriving* has no request under way, or not all of it.

| a connection | is |
|---|---|
| beyond `CONNECTIONS_PER_PEER_MAX` of one peer that is not loopback | refused, 429 |
| beyond `CONNECTIONS_MAX` of one server | refused, 503 |
| of an unknown caller, who would take one of the last `RESERVED` (for loopback and for known callers) | refused, 503 |
| that would be refused, while a peer that holds more has one that is arriving | let in, in place of that one |
| that would be refused, while one of a peer that holds no less has been arriving for `GRACE_S` | let in, in its place |
| whose request, head and body, is not in after `ARRIVAL_S` | ended, 408 |
| that takes nothing of its answer for `ARRIVAL_S` | closed |
| that waits for its answer, or for news, however long | left alone |
| that asks for another protocol (a websocket) | answered as if it had not |

So unknown callers share what there is evenly, however many addresses each of them has, and who comes new gets a share.

What is refused or ended before its answer began gets one, with a body. What it still sends is read and thrown away for
`LINGER_S`: closing at once would make the kernel send a reset, and a reset takes the answer with it.

Without this a peer that sends half a head, and nothing more, keeps a file descriptor for ever, and with enough of them
the bridge can open no log any more. Behind nginx, and behind `tailscale serve`, all peers are one, on loopback.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tailtrace_api.access.limits import peer_name
from tailtrace_api.access.roles import KNOWN
from tailtrace_bridge.core.text import parse_address

CONNECTIONS_MAX = 512
CONNECTIONS_PER_PEER_MAX = 64
RESERVED = 128
BACKLOG = 128
"""Connections that asyncio takes at one go, before any of them is counted here: each is an open file."""
WAITING_MAX = 2_048
"""Connections that wait in the kernel, in order. Beyond that one is to come again, by chance, seconds later."""
ARRIVAL_S = 20.0
"""Longer than the receiver waits for a body: that one answers why (408)."""
GRACE_S = 1.0
"""An honest request is in long before, and a connection that is idle for so long is no loss."""
LINGER_S = 2.0
REFUSED_MAX = 128
"""Refused connections that are read on; more are answered and closed at once."""
ANSWER_S = 1.0
"""A refused peer is answered when it begins to ask: an answer to nothing is thrown away by some clients."""


class Standing(Enum):
    """What a connection counts as."""

    UNKNOWN = "unknown"
    KNOWN = "known"
    LOOPBACK = "loopback"
    ENDING = "ending"
    """Refused, or about to close: counted no more."""


class Held:
    """How many connections of a server count: looking through them all for each that came was most of a flood's CPU."""

    def __init__(self) -> None:
        self.by_standing: Counter[Standing] = Counter()
        self.by_peer: Counter[str] = Counter()

    def add(self, peer: str, standing: Standing, number: int = 1) -> None:
        """Count one, or with -1 count it no more."""
        if standing is Standing.ENDING:
            return
        self.by_standing[standing] += number
        self.by_peer[peer] += number
        if not self.by_peer[peer]:
            del self.by_peer[peer]


class BoundedProtocol(H11Protocol):
    """uvicorn's, with the rules above. `closed` counts what they ended, by reason; `held` is the server's."""

    def __init__(self, *args: Any, closed: dict[str, int], held: Held, **more: Any) -> None:
        super().__init__(*args, **more)
        self.app_state = {**self.app_state, KNOWN: self._become_known}
        self._closed, self._held = closed, held
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._refusal: tuple[int, str] | None = None
        self._is_shutting_down = False
        self.peer = ""
        self.standing = Standing.ENDING
        self.arriving_since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(_LingeringTransport(transport, self.loop, self._must_linger))  # type: ignore[arg-type]
        host = self.client[0].partition("%")[0] if self.client is not None else ""
        address = parse_address(host)
        self.peer = peer_name(host)
        self.arriving_since_s = self.loop.time()
        is_loopback = self.client is None or (address is not None and address.is_loopback)
        self._admit(Standing.LOOPBACK if is_loopback else Standing.UNKNOWN)
        if self._refusal is None:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Read on, and see whether the request is whole."""
        if self._refusal is not None:
            self._answer_refusal()
        elif not self.transport.is_closing():
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self.arriving_since_s = self.loop.time()
        self._watch()

    def pause_writing(self) -> None:
        """Begin to wait for the peer to take what was sent."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(ARRIVAL_S, self._abort, "not_read")

    def resume_writing(self) -> None:
        """Go on sending."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._stand(Standing.ENDING)
        super().connection_lost(exc)
        self._end_deadline()
        self.transport.forget()  # type: ignore[attr-defined]
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def shutdown(self) -> None:
        """End, as the server does."""
        self._is_shutting_down = True
        if self._refusal is not None or self.transport.is_closing():
            self.transport.abort()
        else:
            super().shutdown()

    @property
    def is_arriving(self) -> bool:
        """Whether there is no request, or not all of one, and no answer to it on its way."""
        return self.conn.their_state in {h11.IDLE, h11.SEND_BODY} and self.conn.our_state is not h11.SEND_BODY

    def _should_upgrade(self) -> bool:
        return False

    def _become_known(self) -> None:
        if self.standing is Standing.UNKNOWN:
            self._stand(Standing.KNOWN)

    def _stand(self, standing: Standing) -> None:
        self._held.add(self.peer, self.standing, -1)
        self.standing = standing
        self._held.add(self.peer, standing)

    def _must_linger(self) -> bool:
        if self._is_shutting_down:
            return False
        has_all = self.conn.their_state in {h11.DONE, h11.MUST_CLOSE, h11.CLOSED}
        is_idle = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        return self._refusal is not None or not (has_all or is_idle)

    def _admit(self, standing: Standing) -> None:
        held, unknown = self._held, self._held.by_standing[Standing.UNKNOWN]
        if standing is not Standing.LOOPBACK and held.by_peer[self.peer] >= CONNECTIONS_PER_PEER_MAX:
            if not self._take_place(lambda other: other.peer == self.peer, "too_many_of_one"):
                self._refuse("too_many_of_one", 429, f"{CONNECTIONS_PER_PEER_MAX} connections of one address are open")
        elif standing is Standing.UNKNOWN and unknown >= CONNECTIONS_MAX - RESERVED:
            if not self._take_place(_is_unknown, "too_many"):
                self._refuse("too_many", 503, f"{unknown} connections of unknown callers are open")
        elif held.by_standing.total() >= CONNECTIONS_MAX and not (
            self._take_place(_is_unknown, "too_many") or self._take_place(lambda _other: True, "too_many")
        ):
            self._refuse("too_many", 503, f"{CONNECTIONS_MAX} connections are open")
        if self._refusal is None:
            self._stand(standing)

    def _take_place(self, is_meant: "Callable[[BoundedProtocol], bool]", reason: str) -> bool:
        """End the connection that has to give way to this one; False: there is none."""
        held, now_s = self._held.by_peer, self.loop.time()
        mine = held[self.peer]
        victim, its_rank = None, (0, 0.0)
        for other in self.connections:
            if not isinstance(other, BoundedProtocol) or other.standing is Standing.ENDING or not is_meant(other):
                continue
            its, since_s = held[other.peer], other.arriving_since_s
            must = its > mine + 1 or (its >= mine and now_s - since_s >= GRACE_S)
            # `is_arriving` is the dear question, and so the last.
            if must and (victim is None or (-its, since_s) < its_rank) and other.is_arriving:
                victim, its_rank = other, (-its, since_s)
        if victim is not None:
            victim._end(reason, 503, "others came, and this request was not in yet")  # noqa: SLF001 - one of us
        return victim is not None

    def _watch(self) -> None:
        is_arriving = self.conn.their_state in {h11.IDLE, h11.SEND_BODY} and not self.transport.is_closing()
        if not is_arriving:
            self._end_deadline()
        elif self._deadline is None:
            said = f"the request was not in after {ARRIVAL_S:g} s"
            self._deadline = self.loop.call_later(ARRIVAL_S, self._end, "too_slow", 408, said)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, reason: str, status: int, why: str) -> None:
        self._count(reason)
        self._refusal = status, f"{why}: ask again later"
        refused = sum(1 for other in self.connections if getattr(other, "_refusal", None) is not None)
        if refused > REFUSED_MAX:
            self.transport.write(_answer(*self._refusal))
            self.transport.close_now()  # type: ignore[attr-defined]
            return
        self._deadline = self.loop.call_later(ANSWER_S, self._answer_refusal)

    def _answer_refusal(self) -> None:
        self._end_deadline()
        if self._refusal is not None and not self.transport.is_closing():
            self.transport.write(_answer(*self._refusal))
            self.transport.close()

    def _end(self, reason: str, status: int, why: str) -> None:
        """End a connection whose request is not in, with an answer if it has begun to ask."""
        self._count(reason)
        self._stand(Standing.ENDING)
        self._end_deadline()
        has_begun = self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])
        if has_begun and self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True  # what the app still says has nobody to go to
                self.cycle.message_event.set()
            self.transport.write(_answer(status, why))
        self.transport.close()

    def _abort(self, reason: str) -> None:
        self._count(reason)
        self.transport.abort()

    def _count(self, reason: str) -> None:
        self._closed[reason] = self._closed.get(reason, 0) + 1


def _is_unknown(one: BoundedProtocol) -> bool:
    return one.standing is Standing.UNKNOWN


class _LingeringTransport:
    """A transport whose `close` says that all is said, and reads on for a while where the peer may still be sending."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, must_linger: Any) -> None:
        self._transport, self._loop, self._must_linger = transport, loop, must_linger
        self._is_closing = False
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if not self._is_closing:
            self._transport.write(data)

    def close(self) -> None:
        if self._is_closing:
            return
        if self._transport.is_closing() or not (self._must_linger() and self._transport.can_write_eof()):
            self._transport.close()
            return
        self._is_closing = True
        try:
            self._transport.write_eof()
        except OSError:  # the peer is gone: nobody reads an answer
            self._transport.abort()
            return
        self._transport.resume_reading()
        self._timer = self._loop.call_later(LINGER_S, self._transport.abort)

    def close_now(self) -> None:
        self._transport.close()

    def forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _answer(status: int, why: str) -> bytes:
    """Make an answer of the one form that errors of the API have; nothing more is said on its connection."""
    body = json.dumps({"detail": why}).encode()
    retry = "" if status == 408 else "retry-after: 1\r\n"
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"
        f"{retry}connection: close\r\n\r\n"
    )
    return head.encode() + body

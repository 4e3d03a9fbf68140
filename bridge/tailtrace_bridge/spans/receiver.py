"""The OTLP/HTTP receiver: an ASGI app that hands the spans it is sent to a sink, and the queue behind it.

| request | answer |
|---|---|
| POST /v1/traces, taken by the sink | 200, with `partial_success` if some spans were rejected |
| POST /v1/traces, not taken: the queue is full | 503 and Retry-After: the sender keeps the batch and comes again |
| POST /v1/metrics, /v1/logs | 200, counted, thrown away, logged once: an app that exports all three has no errors |
| a body that is none (`otlp`) | 400, 413 or 415 |
| more than `BODIES_MAX` bodies, or `READING_BYTES_MAX`, on their way in | the oldest gives way: 429 and Retry-After |
| more than `READING_BYTES_MAX` in large bodies that are whole, and not decoded yet | 429 and Retry-After |
| a body that does not end in `BODY_TIMEOUT_S` | 408 |
| another method, another path | 405, 404 |

A body of more than `AT_ONCE_BYTES_MAX`, or a packed one, is read in a thread, one at a time: a million small parts are
16 KiB as sent and take seconds, in which this loop would answer nobody, and the API is on it.

An answer is in the encoding of its request. No CORS header is ever sent, so a page of another origin, whose browser
asks first before it may post either content type, cannot write here. What reads spans, protobuf with it, is loaded
with the first request: a twentieth of a start.
"""

import asyncio
import itertools
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tailtrace_bridge.core.errors import OtlpError
from tailtrace_bridge.core.records import AppSpan, WholeSpan
from tailtrace_bridge.core.text import parse_address

if TYPE_CHECKING:
    from tailtrace_bridge.spans.otlp import Decoded

_LOGGER = logging.getLogger(__name__)
BODY_BYTES_MAX = 4 * 1024 * 1024
"""As sent, before gzip is undone."""
DISCARD_BYTES_MAX = 4 * BODY_BYTES_MAX
"""Of a body too long this much is read and thrown away: a sender cut off while it sends may never see the 413."""
BODIES_MAX = 256
READING_BYTES_MAX = 16 * BODY_BYTES_MAX
"""Of all bodies together. Which of them gives way: one that came from elsewhere before one of this machine, and the
oldest first. An honest body is in within milliseconds, so whoever sends slowly pays for it, not the apps beside."""
AT_ONCE_BYTES_MAX = 16 * 1024
BODY_TIMEOUT_S = 10.0
RETRY_AFTER_S = 1
SPANS_QUEUED_MAX = 100_000

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(slots=True)
class ReceiverCounters:
    """What came in. Written by the receiver's thread only; a reader may be one request behind."""

    requests: int = 0
    spans: int = 0
    """SERVER spans that the sink took."""
    spans_ignored: int = 0
    """Of other kinds: no line waits for them. A kept trace has them all the same."""
    spans_rejected: dict[str, int] = field(default_factory=dict)
    """By reason, one of `otlp.REASONS`."""
    discarded: dict[str, int] = field(default_factory=lambda: {"metrics": 0, "logs": 0})
    """Requests of signals that we do not keep."""
    refused: dict[int, int] = field(default_factory=dict)
    """Requests answered with an error, by HTTP status; 503 is the full queue, 429 the limit on bodies."""
    disconnected: int = 0
    """Senders that left before their request was whole."""


class SpanQueue:
    """Spans on their way from the receiver's thread to the pipeline's. Safe for any number of threads."""

    def __init__(self, limit: int = SPANS_QUEUED_MAX) -> None:
        self._limit = limit
        self._spans: deque[AppSpan] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._spans)

    def put(self, spans: list[AppSpan]) -> bool:
        """Take all of `spans`, or none and say False: half a batch taken would come twice when it is sent again.

        An empty queue takes a batch of any length (`otlp.ELEMENTS_MAX` bounds it), which could otherwise never come in.
        """
        with self._lock:
            if self._spans and len(self._spans) + len(spans) > self._limit:
                return False
            self._spans.extend(spans)
            return True

    def drain(self, spans_max: int) -> list[AppSpan]:
        """Return the oldest spans, at most `spans_max`, and forget them. Never waits."""
        with self._lock:
            return [self._spans.popleft() for _ in range(min(spans_max, len(self._spans)))]


class _DisconnectedError(Exception):
    """The sender left; nobody is there to answer."""


def make_receiver(
    sink: Callable[[list[AppSpan]], bool],
    counters: ReceiverCounters | None = None,
    hold: Callable[[list[WholeSpan]], None] | None = None,
) -> AsgiApp:
    """Make the ASGI app. `sink` takes a batch whole or says False at once (`SpanQueue.put`); it must not block.

    `hold` is given the spans of every kind of a batch that was taken, where traces are kept.
    """
    return _Receiver(sink, counters or ReceiverCounters(), hold)


class _Receiver:
    def __init__(
        self,
        sink: Callable[[list[AppSpan]], bool],
        counters: ReceiverCounters,
        hold: Callable[[list[WholeSpan]], None] | None,
    ) -> None:
        self._sink, self._hold = sink, hold
        self._counters = counters
        self._bodies: dict[int, _Body] = {}
        """Those on their way in, the oldest first."""
        self._numbers = itertools.count()
        self._reading = asyncio.Lock()
        """Whoever reads a large body: more of them at once would take the more from all others."""
        self._waiting_bytes = 0
        """Of the large bodies that are whole, and read or wait for it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        from tailtrace_bridge.spans import otlp  # noqa: PLC0415

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._counters.requests += 1
        media, status, extra = otlp.PROTOBUF, 200, {}
        if headers.get("content-type", "").lower().startswith(otlp.JSON):
            media = otlp.JSON
        try:
            body = await self._handle(scope, headers, receive)
        except _DisconnectedError:
            self._counters.disconnected += 1
            return
        except OtlpError as error:
            status, body = error.status, otlp.encode_error(media, str(error))
            self._counters.refused[status] = self._counters.refused.get(status, 0) + 1
            if status in {429, 503}:
                extra["retry-after"] = str(RETRY_AFTER_S)
            elif status == 405:
                extra["allow"] = "POST"
        head = {"content-type": media, "content-length": str(len(body)), **extra}
        pairs = [(name.encode(), value.encode()) for name, value in head.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    async def _handle(self, scope: Scope, headers: dict[str, str], receive: Receive) -> bytes:
        """Return the body of a 200, or raise `OtlpError`."""
        from tailtrace_bridge.spans import otlp  # noqa: PLC0415

        path = scope["path"].removeprefix(scope.get("root_path", ""))
        signal = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}.get(path)
        if signal is None:
            raise OtlpError("no such path: OTLP/HTTP posts to /v1/traces, /v1/metrics or /v1/logs", 404)
        if scope["method"] != "POST":
            raise OtlpError(f"{path} takes POST only", 405)
        body = await self._read(scope, receive)
        media = otlp.media_type(headers.get("content-type", ""))
        if signal != "traces":
            self._discard(signal)
            return otlp.encode_success(media)
        return self._take(await self._decoded(body, headers.get("content-encoding", ""), media), media)

    async def _decoded(self, body: bytes, encoding: str, media: str) -> "Decoded":
        from tailtrace_bridge.spans import otlp  # noqa: PLC0415

        def decoded() -> "Decoded":
            return otlp.decode_traces(otlp.unpack(body, encoding), media, has_whole=self._hold is not None)

        if len(body) <= AT_ONCE_BYTES_MAX and not encoding:
            return decoded()
        if self._waiting_bytes + len(body) > READING_BYTES_MAX:
            raise _busy()
        self._waiting_bytes += len(body)
        try:
            async with self._reading:
                return await asyncio.to_thread(decoded)
        finally:
            self._waiting_bytes -= len(body)

    def _discard(self, signal: str) -> None:
        if not self._counters.discarded[signal]:
            _LOGGER.info(
                "an app sends %s by OTLP, which tailtrace does not keep: they are taken, thrown away and counted"
                " (tailtrace_otlp_discarded_total); OTEL_%s_EXPORTER=none in the app's environment sends none",
                signal,
                signal.upper(),
            )
        self._counters.discarded[signal] += 1

    def _take(self, decoded: "Decoded", media: str) -> bytes:
        from tailtrace_bridge.spans import otlp  # noqa: PLC0415

        if decoded.spans and not self._sink(decoded.spans):
            raise OtlpError(f"the bridge's queue is full: send again in {RETRY_AFTER_S} s", 503)
        if self._hold is not None and decoded.whole:
            self._hold(decoded.whole)
        # Counted only now: a batch that was not taken comes again.
        counters = self._counters
        counters.spans += len(decoded.spans)
        counters.spans_ignored += decoded.ignored
        for reason, count in decoded.reasons.items():
            counters.spans_rejected[reason] = counters.spans_rejected.get(reason, 0) + count
        return otlp.encode_success(media, decoded.rejected, decoded.message)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        number = next(self._numbers)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S) as limit:
                body = _Body(limit, is_local=_is_loopback(scope))
                while len(self._bodies) >= BODIES_MAX:
                    self._make_room(body)
                self._bodies[number] = body
                return await self._read_body(body, receive)
        except TimeoutError:
            if body.gave_way:
                raise _busy() from None
            raise OtlpError(f"the body did not end within {BODY_TIMEOUT_S:g} s", 408) from None
        finally:
            self._bodies.pop(number, None)

    async def _read_body(self, body: "_Body", receive: Receive) -> bytes:
        """Read the body, never keeping more than `BODY_BYTES_MAX`; raise `OtlpError` 413 if it is longer."""
        size = 0
        more = True
        while more and size <= DISCARD_BYTES_MAX:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _DisconnectedError
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(chunk)
            if size <= BODY_BYTES_MAX:
                while sum(len(one.kept) for one in self._bodies.values()) + len(chunk) > READING_BYTES_MAX:
                    self._make_room(body)
                body.kept += chunk
        if size > BODY_BYTES_MAX:
            raise OtlpError(f"body is longer than {BODY_BYTES_MAX} bytes: send smaller batches, or gzip", 413)
        return bytes(body.kept)

    def _make_room(self, newest: "_Body") -> None:
        """Let one body give way to another; raises `OtlpError` 429 where that is the other itself."""
        others = [(number, one) for number, one in self._bodies.items() if one is not newest]
        remote = [(number, one) for number, one in others if not one.is_local]
        if not (remote or (newest.is_local and others)):
            raise _busy()
        number, oldest = (remote or others)[0]
        del self._bodies[number]
        oldest.kept.clear()
        oldest.gave_way = True
        oldest.limit.reschedule(asyncio.get_running_loop().time())


@dataclass(slots=True)
class _Body:
    """A body on its way in."""

    limit: asyncio.Timeout
    is_local: bool
    kept: bytearray = field(default_factory=bytearray)
    gave_way: bool = False


def _busy() -> OtlpError:
    return OtlpError(f"too many requests are being read: send again in {RETRY_AFTER_S} s", 429)


def _is_loopback(scope: Scope) -> bool:
    address = parse_address(scope["client"][0]) if scope.get("client") else None
    return address is None or address.is_loopback


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing to start or stop; said so that a server does not wait."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

"""Ends a stream of server-sent events when its caller is no more who it was: a token revoked, an admin no longer one.

A request is judged once, when it comes; a stream goes on for hours. So while an answer of the type
`text/event-stream` is open, who asks is found out again every `CHECK_S`. When that changes the app is told that its
client left, and the answer ends as if all had been said. Any other answer costs nothing more.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self

CHECK_S = 0.5
_STREAM = b"text/event-stream"

Message = MutableMapping[str, Any]


class Revocable:
    """`receive` and `send` of one request, for the app; a context manager, for the time that the app takes."""

    def __init__(
        self,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        is_same: Callable[[], Awaitable[bool]],
    ) -> None:
        self._receive, self._send, self._is_same = receive, send, is_same
        self._is_over = False
        self._over = asyncio.Event()
        self._checking: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._checking is not None:
            self._checking.cancel()

    async def receive(self) -> Message:
        """Give what the client sends; that it left, too, when the stream is over."""
        given, over = asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait((given, over), return_when=asyncio.FIRST_COMPLETED)
            return given.result() if given.done() else {"type": "http.disconnect"}
        finally:
            given.cancel()
            over.cancel()

    async def send(self, message: Message) -> None:
        """Send what the app says, until the stream is over."""
        if message["type"] == "http.response.start" and _is_stream(message):
            self._checking = asyncio.create_task(self._check())
        async with self._sending:
            if not self._is_over:
                await self._send(message)

    async def _check(self) -> None:
        while await self._is_same():  # noqa: ASYNC110 - a file that changes, or tailscaled, sets no event
            await asyncio.sleep(CHECK_S)
        self._is_over = True
        self._over.set()
        async with self._sending:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_stream(message: Message) -> bool:
    return any(
        bytes(name).lower() == b"content-type" and bytes(value).startswith(_STREAM)
        for name, value in message.get("headers", ())
    )

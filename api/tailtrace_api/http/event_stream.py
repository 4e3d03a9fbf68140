"""`GET /analytics/stream`: tells an open page, by server-sent events, that there is something new; the page then asks.

| moment | the stream sends |
|---|---|
| at once, and when the newest request or the number of active people changed | `event: news` with both |
| nothing new for `HEARTBEAT_S` | a comment, so that proxies keep the connection |
| the store does not answer | `event: trouble`, once, with what it said |
| tailtrace ends | its end, so that no page holds up the shutdown |
| `STREAMS_MAX` are open | 503: the page asks from time to time instead |

However many pages are open, the store is asked once in `POLL_S`. The form is that of the HTML standard, section 9.2.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from anyio import to_thread
from fastapi import APIRouter, HTTPException
from fastapi.responses import StreamingResponse

from tailtrace_api.answers.record import fields_of
from tailtrace_api.http.errors import ERRORS
from tailtrace_api.http.parameters import KNOWN_ONLY
from tailtrace_bridge.core.errors import StoreError

if TYPE_CHECKING:
    from tailtrace_api.answers.insight_records import StreamEvent

POLL_S = 2.0
HEARTBEAT_S = 15.0
STREAMS_MAX = 32
_RETRY_MS = 5000


class EventStream:
    """What is new, for all streams. `ask` gives it as it is now, and may take its time or raise `StoreError`."""

    def __init__(
        self, ask: Callable[[], "StreamEvent"], *, poll_s: float = POLL_S, beat_s: float = HEARTBEAT_S
    ) -> None:
        self._ask, self._poll_s, self._beat_s = ask, poll_s, beat_s
        self._lock = asyncio.Lock()
        self._event = ""
        self._asked_s = float("-inf")
        self._closing = asyncio.Event()
        self.open = 0
        self.refused = 0

    def close(self) -> None:
        """End all streams, and each that comes later."""
        self._closing.set()

    async def stream(self) -> AsyncIterator[str]:
        """Return the events of one page until it leaves, or `close`."""
        self.open += 1
        try:
            yield f"retry: {_RETRY_MS}\n\n"
            told, silent_s = "", 0.0
            while not self._closing.is_set():
                event = await self._latest()
                if event != told:
                    told, silent_s = event, 0.0
                    yield event
                elif silent_s >= self._beat_s:
                    silent_s = 0.0
                    yield ": still here\n\n"
                try:
                    await asyncio.wait_for(self._closing.wait(), self._poll_s)
                except TimeoutError:
                    silent_s += self._poll_s
        finally:
            self.open -= 1

    async def _latest(self) -> str:
        async with self._lock:
            now_s = asyncio.get_running_loop().time()
            if now_s - self._asked_s >= self._poll_s / 2:
                try:
                    event = await to_thread.run_sync(self._ask)
                    self._event = f"event: news\ndata: {json.dumps(fields_of(event))}\n\n"
                except StoreError as error:
                    self._event = f"event: trouble\ndata: {json.dumps(str(error))}\n\n"
                self._asked_s = asyncio.get_running_loop().time()
            return self._event


def event_stream_router(events: EventStream) -> APIRouter:
    """Make the route."""
    router = APIRouter(tags=["dashboard"], dependencies=[KNOWN_ONLY], responses=ERRORS)

    @router.get(
        "/analytics/stream",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def stream() -> StreamingResponse:
        """Return when there is news: `newest` (time of the newest request) and `active` (people of the last 5 min)."""
        if events.open >= STREAMS_MAX:
            events.refused += 1
            raise HTTPException(503, f"{STREAMS_MAX} pages are open already; this one asks from time to time")
        return StreamingResponse(
            events.stream(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return router

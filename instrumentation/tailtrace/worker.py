"""One thread for a process, which sends what requests leave in a ring.

* A request only appends its span. A full ring loses the oldest and counts it (`Link.lost`).
* The thread starts with the first span, so a process that forks its workers before (gunicorn's `--preload`) has none to
  lose; what forks later begins anew in the child: an empty ring, a thread and a connection of its own.
* It sends what has come together in `delay_s`, or as soon as a batch is full.
* `flush` and `close` wait within one budget for the process, `SHUTDOWN_SECONDS_MAX`, however often an app starts and
  stops, and not at all once the collector is known to be away.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tailtrace.link import Link

SHUTDOWN_SECONDS_MAX = 2.0
POLL_SECONDS = 0.005

Sender = Callable[[Sequence[Any]], bool]
"""Sends a batch; says whether it got through. What it raises is a failed attempt."""

logger = logging.getLogger("tailtrace")


class Worker:
    """The ring and its thread."""

    def __init__(
        self,
        make_sender: Callable[[], Sender],
        link: Link,
        *,
        ring_max: int,
        batch_max: int,
        delay_s: float,
        clock_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_sender = make_sender
        self._link = link
        self._ring_max = ring_max
        self._batch_max = batch_max
        self._delay_s = delay_s
        self._clock_seconds = clock_seconds
        self._budget_seconds = SHUTDOWN_SECONDS_MAX
        self.at_flush: list[Callable[[], object]] = []
        """What else is flushed when we are: called on the thread."""
        self.at_close: list[Callable[[], object]] = []
        self._begin()
        os.register_at_fork(after_in_child=self._forked)

    def _begin(self) -> None:
        self._ring: deque[Any] = deque(maxlen=self._ring_max)
        self._awake = False
        self._some = threading.Event()
        self._now = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._sender: Sender | None = None
        self._asked = self._done = 0
        self._closing = False

    def _forked(self) -> None:
        self._inherited = self._sender  # Kept, not closed: the connection is the parent's.
        self._begin()
        self._link.forked()
        self._budget_seconds = SHUTDOWN_SECONDS_MAX

    def put(self, item: Any) -> None:
        """Take a span. Never waits."""
        ring = self._ring
        length = len(ring)
        if length >= self._ring_max:
            self._link.lost(1)
        ring.append(item)
        if not self._awake:
            self._wake()
        elif length + 1 == self._batch_max:
            self._now.set()

    def _wake(self) -> None:
        self._awake = True
        if self._thread is None:
            self.start()
        self._some.set()

    def start(self) -> None:
        """Start the thread, if it is not there. Not at the exit: by then Python (3.12 on) starts no more threads."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tailtrace-export", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = None
                    logger.debug("no thread to send spans with", exc_info=True)

    def ask(self) -> int:
        """Ask for all that is there to be sent; `reached` says when."""
        self._asked += 1
        self._now.set()
        self._some.set()
        return self._asked

    def reached(self, ticket: int) -> bool:
        """Return whether what was asked for is done, or waiting for it is no use."""
        return self._done >= ticket or self._thread is None or self._link.down

    async def flush(self) -> None:
        """Send what is there, within what is left of the budget. For the end of an app's lifespan."""
        if self._thread is None or not (self._ring or self._awake or self.at_flush):
            return
        import anyio  # noqa: PLC0415 - for this only

        ticket = self.ask()
        started = self._clock_seconds()
        while not self.reached(ticket) and self._clock_seconds() - started < self._budget_seconds:  # noqa: ASYNC110
            await anyio.sleep(POLL_SECONDS)  # The thread has no loop to set an event of.
        self._budget_seconds = max(0.0, self._budget_seconds - (self._clock_seconds() - started))

    def close(self) -> None:
        """Send what is there and stop, within what is left of the budget. For the exit of the process."""
        if self._thread is None or not self._thread.is_alive():
            return
        self._closing = True
        ticket = self.ask()
        started = self._clock_seconds()
        while not self.reached(ticket) and self._clock_seconds() - started < self._budget_seconds:
            time.sleep(POLL_SECONDS)

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            while self._ring or self._done < self._asked:
                if not self._now.wait(self._delay_s):
                    pass
                self._now.clear()
                asked = self._asked
                self._drain()
                if self._done < asked:
                    self._run_all(self.at_close if self._closing else self.at_flush)
                    self._done = asked
            self._awake = False
            if self._ring:  # Came between the look and the word.
                self._awake = True
                self._some.set()

    def _drain(self) -> None:
        ring = self._ring
        left = len(ring)
        while left > 0:
            batch: list[Any] = []
            while ring and len(batch) < self._batch_max:
                batch.append(ring.popleft())
            left -= max(len(batch), 1)
            if batch:
                self._send(batch)

    def _send(self, batch: Sequence[Any]) -> None:
        try:
            with self._link.quiet():
                if self._sender is None:
                    self._sender = self._make_sender()
                sent = self._sender(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs one line
            self._link.failed(f"{type(error).__name__}: {error}", len(batch))
            return
        if sent:
            self._link.succeeded()
        else:
            self._link.failed("the batch was refused", len(batch))

    def _run_all(self, callbacks: Sequence[Callable[[], object]]) -> None:
        for callback in callbacks:
            try:
                with self._link.quiet():
                    callback()
            except Exception:
                logger.debug("a provider was not flushed", exc_info=True)

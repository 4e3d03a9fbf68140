"""Keep the traces that are worth it, beside the pipeline: storing a row never waits for them.

| what happens | what becomes of the trace |
|---|---|
| a row is stored | it is decided at once (`choice`); what is not kept is dropped with its spans |
| `WAIT_S` later | its spans are here, as far as they come: all is packed and stored |
| `WANTED_MAX` wait | the request is not kept, and counted (`dropped`) |
| the store fails | the traces of that time are lost, counted (`failed`), and said in the log |
| the end of the process | what waits is stored with the spans that came |
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import KeptTrace, Row
from tailtrace_bridge.traces.choice import TraceChoice
from tailtrace_bridge.traces.held import HeldSpans
from tailtrace_bridge.traces.pack import pack

WAIT_S = 10.0
"""Twice what SDKs gather spans for (`OTEL_BSP_SCHEDULE_DELAY`)."""
INTERVAL_S = 1.0
AGE_S = 30.0
WANTED_MAX = 2_000

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class KeptCounters:
    """Requests wanted (`ChoiceCounters`) = kept + unkept + dropped + failed + those that wait."""

    kept: int = 0
    unkept: int = 0
    """The store had them already, or no longer their request."""
    dropped: int = 0
    """Requests that found `WANTED_MAX` before them."""
    failed: int = 0
    """Requests whose trace the store did not take."""


class TraceKeeper:
    """Takes rows from the pipeline's thread, stores from its own. `monotonic_s` is a clock that never goes back.

    `keep` stores traces and says how many it took.
    """

    def __init__(
        self,
        keep: Callable[[list[KeptTrace]], int],
        choice: TraceChoice,
        *,
        service: str,
        has_messages: bool,
        monotonic_s: Callable[[], float],
        wait_s: float = WAIT_S,
    ) -> None:
        self.counters = KeptCounters()
        self.choice = choice
        self.held = HeldSpans()
        self._keep = keep
        self._service, self._has_messages = service, has_messages
        self._monotonic_s, self._wait_s = monotonic_s, wait_s
        self._wanted: deque[tuple[float, Row, str]] = deque()
        self._aged_s = monotonic_s()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def offer(self, rows: Iterable[Row]) -> None:
        """Take stored rows; never waits for the store."""
        due_s = self._monotonic_s() + self._wait_s
        for row in rows:
            if not row.access.trace_id:
                continue
            trace_id = bytes.fromhex(row.access.trace_id)
            reason = self.choice.reason(row)
            if not reason:
                self.held.refuse(trace_id)
            elif len(self._wanted) >= WANTED_MAX:
                self.counters.dropped += 1
                self.held.refuse(trace_id)
            else:
                self.held.want(trace_id)
                self._wanted.append((due_s, row, reason))

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="tailtrace-traces", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Store what waits, and end the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def keep_due(self, now_s: float) -> None:
        """Store the traces whose wait is over, and forget spans that nobody wants."""
        due: list[tuple[Row, str]] = []
        while self._wanted and self._wanted[0][0] <= now_s:
            _, row, reason = self._wanted.popleft()
            due.append((row, reason))
        if due:
            self._store(due)
        if now_s - self._aged_s >= AGE_S:
            self._aged_s = now_s
            self.held.age()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._survive(self._monotonic_s())
        self._survive(float("inf"))

    def _survive(self, now_s: float) -> None:
        try:
            self.keep_due(now_s)
        except Exception:  # what it is fed with is strangers' work, and traces are no reason to end
            self.counters.failed += 1
            _LOGGER.exception("traces: a defect of tailtrace, please report; some traces are not kept")

    def _store(self, due: list[tuple[Row, str]]) -> None:
        traces = [
            pack(
                row,
                reason,
                self.held.take(bytes.fromhex(row.access.trace_id)),
                service=self._service,
                has_messages=self._has_messages,
            )
            for row, reason in due
        ]
        try:
            kept = self._keep(traces)
        except StoreError as error:
            self.counters.failed += len(traces)
            _LOGGER.error("traces: %d are not kept: %s", len(traces), error)
            return
        self.counters.kept += kept
        self.counters.unkept += len(traces) - kept

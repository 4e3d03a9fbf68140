"""Send nginx's spans to an OTLP endpoint, beside the pipeline: storing a row never waits for it.

| what happens | what becomes of the spans |
|---|---|
| a row is stored | it joins a queue of `QUEUE_ROWS_MAX`; a thread makes spans of it |
| the queue is full | the row is not exported, and counted (`dropped`); an import waits for room |
| 2xx | exported; those that the endpoint says it left out are counted (`rejected`) |
| 429, 502, 503, 504, no answer | sent again after Retry-After, or twice as long each time, for `RETRY_S_MAX` |
| any other answer, or the time is over | the batch is lost, counted (`failed`), and said in `problem` |
| the end of the process | what waits is sent, for `STOP_S_MAX` |

https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

import gzip
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tailtrace_bridge.core.records import Row
from tailtrace_bridge.core.retry import Pace, TryAgainError, retrying
from tailtrace_bridge.export.choice import Choice
from tailtrace_bridge.export.nginx_span import Disclosure, request_of, spans_of
from tailtrace_bridge.export.transport import Answer, Send, UnreachableError

QUEUE_ROWS_MAX = 20_000
BATCH_ROWS_MAX = 512
INTERVAL_S = 1.0
"""A batch that is not full leaves after so long."""
RETRY_S_MAX = 300.0
BACKOFF_S, BACKOFF_S_MAX = 0.5, 30.0
STOP_S_MAX = 5.0
WAIT_S = 0.01
"""How often an import looks whether there is room."""
RETRIED = frozenset({429, 502, 503, 504})

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class SpanExportCounters:
    """Rows offered = unsampled + dropped + those that were sent or wait. Spans sent = exported + rejected + failed."""

    exported: int = 0
    rejected: int = 0
    """Spans that the endpoint said it left out."""
    failed: int = 0
    """Spans given up."""
    dropped: int = 0
    """Requests that found the queue full."""
    unsampled: int = 0
    """Requests without the trace's flag that nothing was wrong with."""
    retries: int = 0


class SpanExporter:
    """Takes rows from the pipeline's thread, sends from its own. `monotonic_s` and `jitter` (0 to 1) are given."""

    def __init__(
        self,
        send: Send,
        who: tuple[Resource, InstrumentationScope],
        disclosure: Disclosure,
        *,
        monotonic_s: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.counters = SpanExportCounters()
        self.problem = ""
        """Why the last batch was not taken, or empty."""
        self._send, self._who, self._disclosure = send, who, disclosure
        self._monotonic_s, self._jitter = monotonic_s, jitter
        self._choice = Choice()
        self._rows: deque[Row] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._until_s = float("inf")
        self._is_sending = False

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._rows)

    def offer(self, rows: Iterable[Row]) -> None:
        """Take stored rows; never waits."""
        for row in rows:
            if not self._choice.is_wanted(row):
                self.counters.unsampled += 1
            elif len(self._rows) >= QUEUE_ROWS_MAX:
                self.counters.dropped += 1
            else:
                self._rows.append(row)
        if len(self._rows) >= BATCH_ROWS_MAX:
            self._wake.set()

    def offer_history(self, rows: Sequence[Row]) -> None:
        """Take rows of an import: waits while the queue is full, but not for an endpoint that takes none."""
        for start in range(0, len(rows), BATCH_ROWS_MAX):
            while self.waiting > QUEUE_ROWS_MAX - BATCH_ROWS_MAX and not self.counters.failed:
                time.sleep(WAIT_S)
            self.offer(rows[start : start + BATCH_ROWS_MAX])

    def drain(self) -> None:
        """Wait until what was offered is sent, or until some of it was given up."""
        self._wake.set()
        while (self._rows or self._is_sending) and not self.counters.failed:
            time.sleep(WAIT_S)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="tailtrace-export", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send what waits, for `STOP_S_MAX` at the most, and end the thread."""
        self._until_s = self._monotonic_s() + STOP_S_MAX
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_S_MAX + 1)
        if self._rows:
            self.counters.dropped += len(self._rows)
            _LOGGER.warning("ended with %d requests whose spans were not exported", len(self._rows))

    def _run(self) -> None:
        while True:
            self._wake.wait(INTERVAL_S)
            self._wake.clear()
            self._is_sending = True
            while self._rows:
                self._send_batch()
                if self._monotonic_s() >= self._until_s:
                    return
            self._is_sending = False
            if self._stop.is_set():
                return

    def _send_batch(self) -> None:
        rows = [self._rows.popleft() for _ in range(min(BATCH_ROWS_MAX, len(self._rows)))]
        spans = [span for row in rows for span in spans_of(row, self._disclosure)]
        body = gzip.compress(request_of(self._who, spans), compresslevel=1)
        try:
            answer = self._until_taken(body)
        except TryAgainError as error:
            self._lose(len(spans), str(error))
            return
        if not 200 <= answer.status < 300:
            self._lose(len(spans), f"it answered {answer.status}")
            return
        rejected = min(len(spans), _rejected(answer.body))
        self.counters.exported += len(spans) - rejected
        self.counters.rejected += rejected
        if self.problem:
            _LOGGER.info("spans are exported again")
        self.problem = f"the endpoint left out {rejected} of {len(spans)} spans" if rejected else ""

    def _lose(self, spans: int, said: str) -> None:
        self.counters.failed += spans
        self.problem = f"{said}; {self.counters.failed} spans of nginx are lost so far"
        _LOGGER.error("%d spans of nginx are lost: %s", spans, said)

    def _until_taken(self, body: bytes) -> Answer:
        """Send until there is an answer for good. Raises `TryAgainError` when time is up."""
        over_s = self._monotonic_s() + RETRY_S_MAX
        pace = Pace(BACKOFF_S, BACKOFF_S_MAX, self._monotonic_s, self._stop.wait, self._jitter)
        return retrying(pace, lambda: min(over_s, self._until_s), self._wait)(self._try, body)

    def _try(self, body: bytes) -> Answer:
        try:
            answer = self._send(body)
        except UnreachableError as error:
            raise TryAgainError(str(error), None) from None
        if answer.status in RETRIED:
            raise TryAgainError(f"it answered {answer.status}", answer.retry_after_s)
        return answer

    def _wait(self, error: TryAgainError) -> None:
        if not self.problem:
            self.problem = f"{error}; spans of nginx wait"
            _LOGGER.warning("spans of nginx wait: %s", error)
        self.counters.retries += 1


def _rejected(body: bytes) -> int:
    try:
        return max(0, int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans))
    except Exception:  # noqa: BLE001 - protobuf's own error has several bases; what is no answer rejects nothing
        return 0

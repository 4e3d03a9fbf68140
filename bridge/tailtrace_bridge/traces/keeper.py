"""Keep the traces that are worth it, beside the pipeline: storing a row never waits for them.

| what happens | what becomes of the trace |
|---|---|
| a row is stored | it is decided at once (`choice`); what is not kept is dropped with its spans |
| `WAIT_S` later | its spans are here, as far as they come: all is packed and stored |
| it failed, kept or not | at the same time it joins its group (`groups`), with its spans where these are kept |
| clients leave an endpoint in a row (499) | likewise (`runs`) |
| an app's spans name another version | a marker is stored (`versions`) |
| a start | failures of the last hour join their groups, if they have not; those of a day say what others are |
| `WANTED_MAX` wait | the request is not kept, and counted (`dropped`) |
| the store fails at a start | it is asked again soon, then each `AGE_S` |
| the store fails | the traces of that time are lost, counted (`failed`), and said in the log |
| the end of the process | what waits is stored with the spans that came |
| the process is killed | what waits is lost: the next one counts it (`waiting`) as `cut_off`, and says so |
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Identity, KeptTrace, Marker, Row, WholeSpan
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, HOUR_US, Window
from tailtrace_bridge.traces.choice import TraceChoice
from tailtrace_bridge.traces.groups import Failed, Grouping, failed, failed_entry
from tailtrace_bridge.traces.held import HeldSpans
from tailtrace_bridge.traces.joined import failed_requests
from tailtrace_bridge.traces.runs import Runs
from tailtrace_bridge.traces.versions import Versions
from tailtrace_bridge.traces.waiting import Waiting

WAIT_S = 10.0
"""Twice what SDKs gather spans for (`OTEL_BSP_SCHEDULE_DELAY`)."""
INTERVAL_S = 1.0
AGE_S = 30.0
WANTED_MAX = 2_000
FAILED_MAX = 20_000
MARKERS_MAX = 100
CAUGHT_UP_MAX = 1_000
"""Failures of the last day with one status that are looked at again at a start, the newest."""

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class KeptCounters:
    """Requests wanted (`ChoiceCounters`) = kept + unkept + dropped + failed + those that wait; then failures."""

    kept: int = 0
    unkept: int = 0
    """The store had them already, or no longer their request."""
    dropped: int = 0
    """Requests that found `WANTED_MAX` before them."""
    failed: int = 0
    """Requests whose trace the store did not take."""
    failures: int = 0
    """Failed requests that joined a group."""
    failures_dropped: int = 0
    """Failed requests that found `FAILED_MAX` before them, or that the store did not take."""
    cut_off: int = 0
    """Traces that waited when the process before was killed; some may have been stored, or decided on again."""


class TraceKeeper:
    """Takes rows from the pipeline's thread, spans from the receiver's, stores from its own.

    `clock` gives microseconds since the epoch, `monotonic_s` seconds that never go back; `known` says who a row's
    identity is where that is a pseudonym: spans have names.
    """

    def __init__(
        self,
        store: Store,
        choice: TraceChoice,
        *,
        bytes_max: int,
        service: str,
        has_messages: bool,
        clock: Callable[[], int],
        monotonic_s: Callable[[], float],
        wait_s: float = WAIT_S,
        known: Callable[[Identity], Identity] = lambda who: who,
        waiting: Waiting | None = None,
    ) -> None:
        self._waiting = waiting or Waiting()
        self.counters = KeptCounters(cut_off=self._waiting.left)
        if self._waiting.left:
            _LOGGER.warning(
                "traces: %d waited for their spans when the process before was killed, and are lost; their requests"
                " are not",
                self._waiting.left,
            )
        self.choice = choice
        self.held = HeldSpans()
        self._store, self._bytes_max = store, bytes_max
        self._service, self._has_messages = service, has_messages
        self._clock, self._monotonic_s, self._wait_s = clock, monotonic_s, wait_s
        self._known = known
        self._wanted: deque[tuple[float, Row, str]] = deque()
        self._failed: deque[tuple[float, Failed]] = deque()
        self._grouping = Grouping()
        self._runs = Runs()
        self._versions: Versions | None = None
        self._markers: deque[Marker] = deque(maxlen=MARKERS_MAX)
        self._aged_s = monotonic_s()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def hold(self, spans: list[WholeSpan]) -> None:
        """Take spans of all kinds, as they come."""
        if self._versions is not None:
            self._markers.extend(self._versions.changes(spans, self._monotonic_s(), self._clock()))
        self.held.add(spans)

    def offer(self, rows: Iterable[Row]) -> None:
        """Take stored rows; never waits for the store."""
        due_s = self._monotonic_s() + self._wait_s
        for row in rows:
            one = failed(row)
            is_failed = one.status >= 500 or one.error_type
            for failure in self._runs.failures(one) or ([one] if is_failed else []):
                self._note_failed(failure, due_s)
            if row.access.trace_id:
                self._decide(row, bytes.fromhex(row.access.trace_id), due_s)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="tailtrace-traces", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Store what waits, and end the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def begin(self) -> None:
        """Read which versions ran last and what failed of late; let failures of the last hour join their groups."""
        now_us = self._clock()
        everybody = Scope.everybody()
        self._versions = Versions(self._store.markers(everybody, Window(0, now_us)), self._monotonic_s())
        window = Window(now_us - DAY_US, now_us)
        entries = failed_requests(self._store, window, CAUGHT_UP_MAX)
        there = {one[:2]: one for one in self._store.failures_of(everybody, [one[:2] for one in entries])}
        for entry in entries:
            if entry[:2] in there:
                self._grouping.recall(failed_entry(entry), there[entry[:2]])
        from tailtrace_bridge.traces.pack import unpack  # noqa: PLC0415 - with protobuf

        found = []
        for entry in [one for one in entries if one[:2] not in there and one.time_us >= now_us - HOUR_US]:
            at = Window(entry.time_us, entry.time_us + 1)
            kept = self._store.traces(everybody, entry.trace_id, at) if entry.trace_id else []
            mine = [one for other, one in kept if other.key == entry.key]
            spans = [span for one in mine for span in unpack(one.data)]
            found.append(self._grouping.failure(failed_entry(entry), spans))
        self.counters.failures += self._store.add_failures(found)

    def keep_due(self, now_s: float) -> None:
        """Store the traces whose wait is over, what failed, and markers; forget spans that nobody wants."""
        due: list[tuple[Row, str]] = []
        while self._wanted and self._wanted[0][0] <= now_s:
            _, row, reason = self._wanted.popleft()
            due.append((row, reason))
        of_failed: list[Failed] = []
        while self._failed and self._failed[0][0] <= now_s:
            of_failed.append(self._failed.popleft()[1])
        traces = self._keep(due) if due else []
        self._waiting.add(-len(due))
        if of_failed:
            self._group(of_failed, {(one.time_us, one.key): one for one in traces})
        if self._markers:
            self._store.add_markers([self._markers.popleft() for _ in range(len(self._markers))])
        if now_s - self._aged_s >= AGE_S:
            self._aged_s = now_s
            self.held.age()

    def _note_failed(self, one: Failed, due_s: float) -> None:
        if len(self._failed) >= FAILED_MAX:
            self.counters.failures_dropped += 1
        else:
            self._failed.append((due_s, one))

    def _decide(self, row: Row, trace_id: bytes, due_s: float) -> None:
        reason = self.choice.reason(row)
        if not reason:
            self.held.refuse(trace_id)
        elif len(self._wanted) >= WANTED_MAX:
            self.counters.dropped += 1
            self.held.refuse(trace_id)
        else:
            self.held.want(trace_id)
            self._waiting.add(1)
            self._wanted.append((due_s, row, reason))

    def _run(self) -> None:
        # The pipeline's thread may be making the store's buckets: what fails at once is no error yet.
        has_begun, tried_s, again_s = self._survive(self.begin, is_early=True), self._monotonic_s(), INTERVAL_S
        while not self._stop.wait(INTERVAL_S):
            if not has_begun and self._monotonic_s() - tried_s >= again_s:
                has_begun, tried_s, again_s = self._survive(self.begin), self._monotonic_s(), AGE_S
            self._survive(lambda: self.keep_due(self._monotonic_s()))
        self._survive(lambda: self.keep_due(float("inf")))

    def _survive(self, work: Callable[[], None], *, is_early: bool = False) -> bool:
        """Do it, and say whether it went well; a store that is not there early on is not told."""
        try:
            work()
        except StoreError as error:
            if not is_early:
                _LOGGER.error("traces: %s", error)
        except Exception:  # what it is fed with is untrusted, and traces are no reason to end
            self.counters.failed += 1
            _LOGGER.exception("traces: a defect of tailtrace, please report; some traces are not kept")
        else:
            return True
        return False

    def _keep(self, due: list[tuple[Row, str]]) -> list[KeptTrace]:
        from tailtrace_bridge.traces.pack import pack  # noqa: PLC0415 - a start needs no protobuf

        traces = [
            pack(
                row,
                reason,
                self.held.take(bytes.fromhex(row.access.trace_id)),
                service=self._service,
                has_messages=self._has_messages,
                who=self._known(row.identity),
            )
            for row, reason in due
        ]
        try:
            kept = self._store.keep_traces(traces, self._bytes_max)
        except StoreError as error:
            self.counters.failed += len(traces)
            _LOGGER.error("traces: %d are not kept: %s", len(traces), error)
            return traces
        self.counters.kept += kept
        self.counters.unkept += len(traces) - kept
        return traces

    def _group(self, of_failed: list[Failed], traces: dict[tuple[int, int], KeptTrace]) -> None:
        from tailtrace_bridge.traces.pack import unpack  # noqa: PLC0415 - with protobuf

        found = []
        # Those with spans first: they say what the others are.
        for one in sorted(of_failed, key=lambda one: (one[:2] not in traces, one)):
            kept = traces.get(one[:2])
            found.append(self._grouping.failure(one, unpack(kept.data) if kept is not None else ()))
        try:
            self.counters.failures += self._store.add_failures(found)
        except StoreError as error:
            self.counters.failures_dropped += len(found)
            _LOGGER.error("traces: %d failures are in no group: %s", len(found), error)

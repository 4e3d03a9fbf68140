"""The bridge at work: read lines, parse, join with spans, name, store, acknowledge. One thread, one step after another.

| what happens | what the pipeline does |
|---|---|
| the store acknowledged a batch | tells the tail, then saves the positions |
| the store fails | keeps the batch, reads no further, tries again after a pause that doubles up to `RETRY_MAX_S` |
| a crash before the positions are saved | the same lines come again, and the store knows them by their keys |
| a stop | lets the waiting lines go, stores them, saves the positions |
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tailtrace_bridge.access_log import LineParser
from tailtrace_bridge.checkpoint import TailLine
from tailtrace_bridge.enrich import Enricher
from tailtrace_bridge.errors import LogFileError, StoreError
from tailtrace_bridge.join import Join, Joined
from tailtrace_bridge.receiver import SpanQueue
from tailtrace_bridge.records import Refusal, Row
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.tail import Tail

SPANS_STEP_MAX = 10_000
RETRY_MAX_S = 30.0
DAY_US = 24 * 3_600_000_000
PRUNE_EVERY_US = 3_600_000_000

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class PipelineCounters:
    """What became of the lines: lines = stored + duplicate + refused + those that wait."""

    lines: int = 0
    stored: int = 0
    duplicate: int = 0
    refused: int = 0
    pruned: int = 0
    store_failures: int = 0
    newest_line_us: int = 0
    last_step_us: int = 0


class Pipeline:
    """Drives the parts. `clock` gives microseconds since the epoch; `make_parser` is called once for each log."""

    def __init__(
        self,
        *,
        tail: Tail,
        make_parser: Callable[[], LineParser],
        join: Join[TailLine],
        enricher: Enricher,
        spans: SpanQueue,
        store: Store,
        clock: Callable[[], int],
        retention_days: int = 0,
    ) -> None:
        self.counters = PipelineCounters()
        self.refused_by_reason: dict[str, int] = {}
        self.tail, self.join, self.enricher = tail, join, enricher
        self._make_parser = make_parser
        self._parsers: dict[str, LineParser] = {}
        self._spans = spans
        self._store = store
        self._clock = clock
        self._retention_days = retention_days
        self._pruned_us = 0
        self._rows: list[Row] = []
        self._refusals: list[Refusal] = []
        self._lines: list[TailLine] = []

    def run(self, stop: threading.Event, poll_s: float) -> None:
        """Work until `stop` is set, then store what waits. Pauses `poll_s` when there is nothing to do."""
        pause_s = poll_s
        while not stop.is_set():
            try:
                self.step()
                pause_s = poll_s
            except StoreError as error:
                self.counters.store_failures += 1
                _LOGGER.error("%s; %d rows wait, trying again in %.1f s", error, len(self._rows), pause_s)
                stop.wait(pause_s)
                pause_s = min(RETRY_MAX_S, pause_s * 2)
                continue
            except LogFileError as error:  # the positions cannot be saved: rows are safe, a restart reads again
                _LOGGER.warning("%s", error)
            if not self.tail.behind:
                stop.wait(poll_s)
        try:
            self.finish()
        except (StoreError, LogFileError) as error:
            _LOGGER.error("%s; the lines that wait are read again at the next start", error)

    def step(self) -> None:
        """Read what is there, and store what is ready. Raises `StoreError`; the batch is kept for the next step."""
        if self._lines:  # a batch that the store has not taken yet
            self._write()
        now_us = self._clock()
        self._read_spans(now_us)
        for line in self.tail.read():
            self._take(line, now_us)
        self._ready(self.join.expire(now_us))
        self._write()
        self._prune(now_us)
        self.counters.last_step_us = now_us

    def finish(self) -> None:
        """Take the spans that came, let every waiting line go, store, save."""
        self._read_spans(self._clock())
        self._ready(self.join.flush())
        self._write()

    def _read_spans(self, now_us: int) -> None:
        for span in self._spans.drain(SPANS_STEP_MAX):
            self._ready(self.join.add_span(span, now_us))

    def _take(self, line: TailLine, now_us: int) -> None:
        self.counters.lines += 1
        parser = self._parsers.get(line.file)
        if parser is None:
            parser = self._parsers[line.file] = self._make_parser()
        record = parser.parse(line.data, line.file, line.offset, line.seed)
        if isinstance(record, Refusal):
            self.counters.refused += 1
            self.refused_by_reason[record.reason] = self.refused_by_reason.get(record.reason, 0) + 1
            self._refusals.append(record)
            self._lines.append(line)
            return
        self.counters.newest_line_us = max(self.counters.newest_line_us, record.time_us)
        self._ready(self.join.add_access(record, line, now_us))

    def _ready(self, joined: list[Joined[TailLine]]) -> None:
        for access, span, line in joined:
            self._rows.append(self.enricher.row(access, span))
            self._lines.append(line)

    def _write(self) -> None:
        if not self._lines:
            return
        written = self._store.write(self._rows, self._refusals)
        self.counters.stored += written.stored
        self.counters.duplicate += written.duplicate
        done, self._rows, self._refusals, self._lines = self._lines, [], [], []
        self.tail.acknowledge(done)
        self.tail.save()

    def _prune(self, now_us: int) -> None:
        if self._retention_days and now_us - self._pruned_us >= PRUNE_EVERY_US:
            self._pruned_us = now_us
            self.counters.pruned += self._store.prune(now_us - self._retention_days * DAY_US)

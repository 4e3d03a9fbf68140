"""The bridge at work: read lines, parse, join with spans, name, store, acknowledge. One thread, one step after another.

| what happens | what the pipeline does |
|---|---|
| the store acknowledged a batch | tells the tail, then saves the positions |
| the store fails | keeps the batch, reads no further, tries again after a pause that doubles up to `RETRY_MAX_S` |
| the store lacks what it has acknowledged (a backup was put in its place) | begins again from where the store ends |
| a crash before the positions are saved | the same lines come again, and the store knows them by their keys |
| it is not known yet whose a line is | it waits (`rows/hold`), a minute at most |
| a defect: any other error | logs it, says it in `problem`, begins again from the saved positions: nothing is lost |
| a stop | lets the waiting lines go, stores them, saves the positions |
| a step is done, and more lines wait | takes the next at once |
| the same, and `WAITING_MAX` wait for their spans | reads no further until some have left: the log is the queue |
| many lines leave at once | stores `ROWS_AT_ONCE` of them at a time, and saves the positions |
| a step is done, and none waits | pauses, for less where the log is busy (`pause_after`) |
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tailtrace_bridge.core.errors import LogFileError, StoreError, StoreRestoredError
from tailtrace_bridge.core.records import Access, RejectedLine, Row
from tailtrace_bridge.logs.checkpoint import TailLine
from tailtrace_bridge.logs.parser import LineParser
from tailtrace_bridge.logs.recognise import SAMPLE_LINES_MAX
from tailtrace_bridge.logs.tail import Tail
from tailtrace_bridge.logs.understood import understand
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.hold import Hold
from tailtrace_bridge.rows.join import Join, Joined
from tailtrace_bridge.spans.receiver import SpanQueue
from tailtrace_bridge.store.protocol import Store

SPANS_STEP_MAX = 10_000
WAITING_MAX = 3_000
"""Lines that wait for their spans, above which a log that is behind is not read: they take a MiB for each 1,000. Those
that are old wait for a second (`join.GRACE_US`), so as many can still be stored in each."""
ROWS_AT_ONCE = 2_000
"""Handed to the store in one write: some MB with it, as lines of InfluxDB."""
LEARN_AT = frozenset({10, 100, 1000})
"""Numbers of lines that fitted nothing, at which they are looked at together."""
RETRY_MAX_S = 30.0
PAUSE_MIN_S = 0.01
BUSY_SHARE = 0.05
DAY_US = 24 * 3_600_000_000
PRUNE_EVERY_US = 3_600_000_000
JUMP_US = 5_000_000
"""The wall clock jumped if it moved so much more or less than the clock that never goes back."""

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class PipelineCounters:
    """What became of the lines: lines = stored + duplicate + rejected + those that wait."""

    lines: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    pruned: int = 0
    store_failures: int = 0
    defects: int = 0
    """Times that it began again after an error nobody expected."""
    clock_jumps: int = 0
    """Times that the wall clock was set, by `JUMP_US` or more."""
    newest_line_us: int = 0
    last_bucket_us: int = 0


def pause_after(worked_s: float, poll_s: float) -> float:
    """Return the seconds until the log is looked at again, after a step that took `worked_s` of a CPU.

    | the step took | the next begins |
    |---|---|
    | less than `BUSY_SHARE` of `poll_s` | `poll_s` after its end: the log is quiet |
    | more | a quarter of `poll_s` after its begin, `PAUSE_MIN_S` after its end at the soonest |

    A line that comes as a step begins waits for this one, the pause and the next; at half of `poll_s` p99 was a quarter
    more, and the CPU an eighth less (`bench/tail.py`). Time that a step waited for a store
    does not count: what is slow already is not to be asked more often.
    """
    if worked_s < BUSY_SHARE * poll_s:
        return poll_s
    return max(PAUSE_MIN_S, poll_s / 4 - worked_s)


class Pipeline:
    """Drives the parts. `clock` gives µs since the epoch, `monotonic` those of a clock that is never set back.

    `worked` gives the µs that its thread has had of a CPU. `make_parser` is called once for each log.

    `waits`: whether a line is to wait at a time because it is not known yet whose it is; `settle` waits until that is
    known of the last lines, if it can be.
    """

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
        monotonic: Callable[[], int],
        worked: Callable[[], int] = lambda: 0,
        waits: Callable[[Access, int], bool] = lambda _access, _now_us: False,
        settle: Callable[[], None] = lambda: None,
        retention_days: int = 0,
        reopen_tail: Callable[[], Tail] | None = None,
        on_stored: Callable[[Sequence[Row]], None] | None = None,
    ) -> None:
        self.counters = PipelineCounters()
        self.rejected_by_reason: dict[str, int] = {}
        self.problem = ""
        """What keeps it from storing now, or empty."""
        self.store_problem = ""
        """The same, where it is the store."""
        self.tail, self.join, self.enricher = tail, join, enricher
        self.hold: Hold[TailLine] = Hold(waits)
        self._settle = settle
        self._make_parser = make_parser
        self._reopen_tail = reopen_tail
        self._on_stored = on_stored
        self._parsers: dict[str, LineParser] = {}
        self._unknown: dict[str, list[bytes]] = {}
        # Parts of lines, by file, then by the last of them: a position between them would make a line of the rest.
        self._begun: dict[str, list[TailLine]] = {}
        self._parts: dict[tuple[str, int, int], list[TailLine]] = {}
        self._spans = spans
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._worked = worked
        self._ahead_us: int | None = None
        """What the wall clock was ahead of the other one when last looked at."""
        self._retention_days = retention_days
        self._pruned_us = 0
        self._has_written = False
        self._is_full = False
        """Whether the last step read nothing because too many lines wait."""
        self._leaving: deque[Joined[TailLine]] = deque()
        self._rows: list[Row] = []
        self._rejected: list[RejectedLine] = []
        self._lines: list[TailLine] = []

    def run(self, stop: threading.Event, poll_s: float) -> None:
        """Work until `stop` is set, then store what waits. Pauses `poll_s` when there is nothing to do."""
        pause_s = poll_s
        while not stop.is_set():
            begun_us = self._worked()
            try:
                self.step()
                pause_s, self.problem, self.store_problem = poll_s, "", ""
            except StoreError as error:
                self.counters.store_failures += 1
                if isinstance(error, StoreRestoredError) and self._reopen_tail is not None:
                    _LOGGER.warning("%s", error)
                    self._begin_again(self._reopen_tail)
                    continue
                self.store_problem = self.problem = f"{error} ({self._waiting_rows} rows wait)"
                _LOGGER.error("%s; %d rows wait, trying again in %.1f s", error, self._waiting_rows, pause_s)
                stop.wait(pause_s)
                pause_s = min(RETRY_MAX_S, pause_s * 2)
                continue
            except LogFileError as error:  # the positions cannot be saved: rows are safe, a restart reads again
                self.problem = str(error)
                _LOGGER.warning("%s", error)
            except Exception as error:
                if self._reopen_tail is None:
                    raise
                self.counters.defects += 1
                self.problem = f"a defect of tailtrace stopped the bridge; it begins again, please report: {error!r}"
                _LOGGER.exception("a defect; beginning again from the saved positions in %.1f s", pause_s)
                stop.wait(pause_s)
                pause_s = min(RETRY_MAX_S, pause_s * 2)
                self._begin_again(self._reopen_tail)
                continue
            if self._is_full:
                stop.wait(PAUSE_MIN_S)
            elif not self.tail.behind:
                stop.wait(pause_after((self._worked() - begun_us) / 1_000_000, poll_s))
        try:
            self.finish()
        except (StoreError, LogFileError) as error:
            _LOGGER.error("%s; the lines that wait are read again at the next start", error)

    def step(self) -> None:
        """Read what is there, and store what is ready. Raises `StoreError`; the batch is kept for the next step."""
        if self._lines or self._leaving:  # what the store has not taken yet
            self._write()
        # Waits go by a clock that is never set back: else lines would wait until the old time is reached again.
        now_us, waits_us = self._clock(), self._monotonic()
        self._notice_jump(now_us - waits_us)
        self._read_spans(waits_us)
        self._is_full = self.tail.behind and len(self.join) >= WAITING_MAX
        read = [] if self._is_full else self.tail.read()
        for file in {line.file for line in read} - self._parsers.keys():
            first = [line.data for line in read if line.file == file][:SAMPLE_LINES_MAX]
            self._parsers[file] = self._learned(self._make_parser(), file, first)
        for line in read:
            self._take(line, now_us, waits_us)
        self._ready(self.join.expire(waits_us))
        self._leaving += self.hold.release(now_us)
        self._write()
        self._prune(now_us)
        self.counters.last_bucket_us = now_us

    def finish(self) -> None:
        """Take the spans that came, let every waiting line go, store, save.

        Lines that wait to be named are read again at the next start: their positions are not passed.
        """
        self._read_spans(self._monotonic())
        self._ready(self.join.flush())
        if len(self.hold):
            self._settle()
            self._leaving += self.hold.release(self._clock())
            self.hold.clear()
        self._write()

    def _begin_again(self, reopen_tail: Callable[[], Tail]) -> None:
        """Forget what is not stored: it is read again, for no position passed it."""
        self.tail.close()
        self.join.flush()
        self.hold.clear()
        self._leaving.clear()
        self._rows, self._rejected, self._lines = [], [], []
        self._begun.clear()
        self._parts.clear()
        self._parsers.clear()
        self.tail = reopen_tail()

    def _read_spans(self, now_us: int) -> None:
        for span in self._spans.drain(SPANS_STEP_MAX):
            self._ready(self.join.add_span(span, now_us))

    def _learned(self, parser: LineParser, file: str, lines: list[bytes]) -> LineParser:
        """Find out the formats of a log from lines of it, beside those that it is known to have: these stay."""
        if not parser.is_auto:
            return parser
        known = {fmt.source for fmt in parser.formats}
        learned, found = understand(parser, file, lines)
        for one in found.formats:
            if one.source not in known:
                _LOGGER.info("%s: read as %s (%s)", file, one.name, one.source)
        for why, count in found.unsure.items():
            _LOGGER.warning(
                "%s: not sure of %d of %d lines: %s. Set TAILTRACE_LOG_FORMAT to what nginx writes (`nginx -T`)",
                file,
                count,
                found.looked_at,
                why,
            )
        return learned

    def _learn_more(self, line: TailLine) -> None:
        """Keep a line that fits nothing; when some have come, they may show a format together."""
        kept = self._unknown.setdefault(line.file, [])
        if len(kept) < SAMPLE_LINES_MAX:
            kept.append(line.data)
            if len(kept) in LEARN_AT:
                self._parsers[line.file] = self._learned(self._parsers[line.file], line.file, kept)

    def _notice_jump(self, ahead_us: int) -> None:
        jump_us, self._ahead_us = ahead_us - (ahead_us if self._ahead_us is None else self._ahead_us), ahead_us
        if abs(jump_us) < JUMP_US:
            return
        self.counters.clock_jumps += 1
        way = "forward" if jump_us > 0 else "back"
        _LOGGER.warning(
            "the clock of this machine was set %s by %.0f s: times of requests around now are those of a wrong clock; "
            "keep it right with chrony or systemd-timesyncd",
            way,
            abs(jump_us) / 1_000_000,
        )

    def _take(self, line: TailLine, now_us: int, waits_us: int) -> None:
        self.counters.lines += 1
        parser = self._parsers[line.file]
        record = parser.parse(line.data, line.file, line.offset, line.seed)
        if record is None:
            self._begun.setdefault(line.file, []).append(line)
            return
        if begun := self._begun.pop(line.file, None):
            self._parts[line.file, line.seed, line.offset] = begun
        if isinstance(record, RejectedLine):
            self.counters.rejected += 1
            self.rejected_by_reason[record.reason] = self.rejected_by_reason.get(record.reason, 0) + 1
            self._rejected.append(self.enricher.rejected_line(record))
            self._lines.append(line)
            if parser.is_auto and record.reason in {"no-format", "cut"}:
                self._learn_more(line)
            return
        self.counters.newest_line_us = max(self.counters.newest_line_us, record.time_us)
        age_us = now_us - record.time_us - (record.request_time_us or 0)
        place = line._replace(data=b"")  # what was read of it is in the record
        self._ready(self.join.add_access(record, place, waits_us, age_us))

    def _ready(self, joined: list[Joined[TailLine]]) -> None:
        if joined:
            self._leaving += self.hold.add(joined, self._clock())

    @property
    def _waiting_rows(self) -> int:
        return len(self._rows) + len(self._leaving)

    def _make_rows(self) -> None:
        while self._leaving and len(self._rows) < ROWS_AT_ONCE:
            access, span, line = self._leaving.popleft()
            self._rows.append(self.enricher.row(access, span))
            self._lines.append(line)

    def _write(self) -> None:
        self._make_rows()
        # The first time also where there is nothing: the store makes what it needs, and its readers find it.
        while self._lines or not self._has_written:
            self._write_some()
            self._make_rows()

    def _write_some(self) -> None:
        written = self._store.write(self._rows, self._rejected)
        self._has_written = True
        if self._on_stored is not None:
            self._on_stored(self._rows)
        self.counters.stored += written.stored
        self.counters.duplicate += written.duplicate
        if written.rejected:
            self.counters.rejected += written.rejected
            self.rejected_by_reason["store"] = self.rejected_by_reason.get("store", 0) + written.rejected
        done, self._rows, self._rejected, self._lines = self._lines, [], [], []
        if self._parts:
            done += [part for one in done for part in self._parts.pop((one.file, one.seed, one.offset), ())]
        self.tail.acknowledge(done)
        self.tail.save()

    def _prune(self, now_us: int) -> None:
        # What is old and read only now is to be in the rollups first: the store takes nothing older than it has pruned.
        if self._retention_days and not self.tail.behind and not 0 <= now_us - self._pruned_us < PRUNE_EVERY_US:
            self._pruned_us = now_us
            removed = self._store.prune(now_us - self._retention_days * DAY_US)
            self.counters.pruned += removed
            if removed:
                _LOGGER.info(
                    "removed %d requests older than %d days; their rollups stay", removed, self._retention_days
                )

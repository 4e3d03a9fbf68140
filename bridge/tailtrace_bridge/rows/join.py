"""nginx lines and app spans in, joined pairs out. Pure: time is a parameter, nothing is read or slept on.

A line and a span belong together when the span's trace id is the line's and the span's parent is nginx's own span.
Which of them comes first makes no difference. What comes in, and what then happens:

| comes in | its counterpart | what happens |
|---|---|---|
| line, not proxied, or without trace or span id | cannot exist | leaves at once (passed) |
| line | a span waits, and agrees | both leave (matched) |
| line | its span went out with the same line before (a replay) | leaves with that span again (matched) |
| line | none, or one that does not agree | waits for `wait_us` |
| line | none, and it is older than `wait_us` (read after a restart) | waits for `GRACE_US` |
| line | none, and no span at all for `span_silence_us` | leaves at once (unmatched): nothing here is traced |
| span | a line waits, and the span agrees | both leave (matched) |
| span | a line waits, and the span does not agree | stays with the line, until a better one comes or its time is up |
| span | none so far | waits for `orphan_us`, then is dropped (orphaned) |
| span | the line has left without one | dropped (late) |
| span | it is here already, or it has left (an exporter's retry) | dropped (duplicates) |
| span | the line has another span | dropped (spare) |
| span without a parent | cannot exist: the request did not come through nginx | dropped (orphaned) |
| nothing, and a line's time is up | | leaves, with the span that did not agree (matched) or without (unmatched) |
| a line too many | | the oldest waiting line leaves likewise (and evicted) |
| a span too many | | the oldest waiting span is dropped (orphaned) |

A span *agrees* with a line when both say 5xx or neither does; with a 499 line every span agrees, as its client saw no
outcome. When nginx tries a second upstream, one line has two spans; the one whose outcome the client saw is the right
one, so a span with the other outcome does not settle it. Of several spans with the same outcome the first to come is
used. Only there does order show: to hold every line for its whole wait would delay all answers to make that one tidy.

Each event costs O(1), amortised: every table is in order of arrival and emptied from its front. (Hence
`OrderedDict`: a plain dict walks over all that was deleted there to find its first key.)
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from tailtrace_bridge.core.records import Access, AppSpan

WAIT_US = 10_000_000
"""Twice the 5 s after which OpenTelemetry's batch processor exports (`OTEL_BSP_SCHEDULE_DELAY`)."""
GRACE_US = 1_000_000
"""What a line waits that is old when it is read. Its span went to the process before this one, and with it, or is about
to be sent again. A whole wait would begin anew at each start: a bridge that is killed every few seconds would store
nothing for ever."""
HELD_MAX = 20_000
ORPHAN_US = 30_000_000
"""Spans of a request come before its line where nginx buffers its log (`access_log … flush=`)."""
ORPHANS_MAX = 20_000
RECENT_MAX = 5_000
"""Twice the lines of one `Tail.read`: what a bridge reads again after a defect still finds its spans. A MiB for each
2,000: a limit of 20,000 took a busy bridge over its 64 MiB."""
SPAN_SILENCE_US = 60_000_000

CLIENT_CLOSED = 499

T = TypeVar("T")
_Key = tuple[str, str]


class Joined(NamedTuple, Generic[T]):
    """A line on its way out: every line comes out exactly once, with the token that it came in with."""

    access: Access
    span: AppSpan | None
    token: T


@dataclass(slots=True)
class JoinCounters:
    """Lines in = passed + matched + unmatched + still held. Spans in = those that left with a line + the last four."""

    passed: int = 0
    """Lines that no span can belong to."""
    matched: int = 0
    """Lines that left with their span."""
    unmatched: int = 0
    """Lines that could have had a span and left without."""
    span_lost: int = 0
    """Lines, of the unmatched, that were old when they were read: a kill or a stop may have taken their span."""
    evicted: int = 0
    """Lines, of the matched and unmatched, that left before their time because `held_max` was reached."""
    orphaned: int = 0
    """Spans whose line never came while they waited."""
    late: int = 0
    """Spans whose line had left."""
    duplicates: int = 0
    """Spans that came again."""
    spare: int = 0
    """Spans of a request that has another."""


@dataclass(slots=True)
class _HeldLines(Generic[T]):
    """The lines of one key: one, or more where a log is read twice."""

    since_us: int
    lines: list[tuple[Access, T]]
    span: AppSpan | None
    """The best so far; it does not agree, or the lines would be gone."""
    is_old: bool = False


@dataclass(slots=True)
class _WaitingSpans:
    """The spans of one key: at most one that failed and one that did not."""

    since_us: int
    spans: list[AppSpan]


class Join(Generic[T]):
    """Holds what waits for its counterpart. For one thread; the token is whatever must stay with a line."""

    def __init__(
        self,
        wait_us: int = WAIT_US,
        held_max: int = HELD_MAX,
        orphan_us: int = ORPHAN_US,
        orphans_max: int = ORPHANS_MAX,
        span_silence_us: int = SPAN_SILENCE_US,
        recent_max: int = RECENT_MAX,
    ) -> None:
        self.counters = JoinCounters()
        self._wait_us, self._held_max = wait_us, held_max
        self._orphan_us, self._orphans_max = orphan_us, orphans_max
        self._span_silence_us, self._recent_max = span_silence_us, recent_max
        self._held: OrderedDict[_Key, _HeldLines[T]] = OrderedDict()
        self._held_lines = 0
        self._waiting: OrderedDict[_Key, _WaitingSpans] = OrderedDict()
        self._recent: OrderedDict[_Key, AppSpan | None] = OrderedDict()
        """What the lines that left last left with."""
        self._last_span_us: int | None = None

    def __len__(self) -> int:
        """Return the number of lines that wait."""
        return self._held_lines

    @property
    def waiting_spans(self) -> int:
        """How many requests have spans that wait for their line."""
        return len(self._waiting)

    def add_access(self, access: Access, token: T, now_us: int, age_us: int = 0) -> list[Joined[T]]:
        """Take a line; give the lines that leave through it. `age_us` is how long ago its request ended."""
        if self._last_span_us is None:
            self._last_span_us = now_us  # an app gets as long for its first span as for any other
        if not (access.proxied and access.trace_id and access.span_id):
            self.counters.passed += 1
            return [Joined(access, None, token)]
        key = (access.trace_id, access.span_id)
        span = self._recent.get(key) or self._take_waiting(key, access)
        held = self._held.get(key)
        if held is None:
            waited_us = min(max(0, age_us), max(0, self._wait_us - GRACE_US))
            held = self._held[key] = _HeldLines(now_us - waited_us, [], span, is_old=age_us >= self._wait_us)
        held.lines.append((access, token))
        self._held_lines += 1
        silent = now_us - self._last_span_us >= self._span_silence_us
        if silent or (span and (key in self._recent or _agrees(span, access))):
            return self._release(key)
        return self._evict()

    def add_span(self, span: AppSpan, now_us: int) -> list[Joined[T]]:
        """Take a span; give the lines that leave through it."""
        self._last_span_us = now_us
        key = (span.trace_id, span.parent_span_id)
        held = self._held.get(key)
        if not span.parent_span_id:
            self.counters.orphaned += 1
        elif held is not None:
            return self._offer(span, key, held)
        elif key in self._recent:
            self._count_again(span, self._recent[key])
        else:
            self._let_wait(span, key, now_us)
        return []

    def expire(self, now_us: int) -> list[Joined[T]]:
        """Return the lines whose wait is over, and drop the spans whose is. Call it every second or so."""
        while self._waiting:
            key = next(iter(self._waiting))
            if now_us - self._waiting[key].since_us < self._orphan_us:
                break
            self._drop_oldest_waiting()
        left: list[Joined[T]] = []
        while self._held:
            key = next(iter(self._held))
            if now_us - self._held[key].since_us < self._wait_us:
                break
            left += self._release(key)
        return left

    def flush(self) -> list[Joined[T]]:
        """Return every line that waits, oldest first, and drop every span that does: the bridge is stopping."""
        while self._waiting:
            self._drop_oldest_waiting()
        return [joined for key in list(self._held) for joined in self._release(key)]

    def _release(self, key: _Key) -> list[Joined[T]]:
        held = self._held.pop(key)
        self._held_lines -= len(held.lines)
        if held.span:
            key = held.span.trace_id, held.span.parent_span_id  # the line's texts, which are equal, need not stay
            self.counters.matched += len(held.lines)
        else:
            self.counters.unmatched += len(held.lines)
            self.counters.span_lost += len(held.lines) if held.is_old else 0
        self._recent.pop(key, None)
        self._recent[key] = held.span
        if len(self._recent) > self._recent_max:
            self._recent.popitem(last=False)
        return [Joined(access, held.span, token) for access, token in held.lines]

    def _evict(self) -> list[Joined[T]]:
        left: list[Joined[T]] = []
        while self._held_lines > self._held_max:
            left += self._release(next(iter(self._held)))
        self.counters.evicted += len(left)
        return left

    def _take_waiting(self, key: _Key, access: Access) -> AppSpan | None:
        """Return the span that waits for this line, the one that agrees if there are two."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return None
        self.counters.spare += len(waiting.spans) - 1
        return next((span for span in waiting.spans if _agrees(span, access)), waiting.spans[0])

    def _offer(self, span: AppSpan, key: _Key, held: _HeldLines[T]) -> list[Joined[T]]:
        agrees = _agrees(span, held.lines[0][0])
        if held.span is not None and not agrees:
            self._count_again(span, held.span)
            return []
        self.counters.spare += held.span is not None
        held.span = span
        return self._release(key) if agrees else []

    def _let_wait(self, span: AppSpan, key: _Key, now_us: int) -> None:
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = _WaitingSpans(now_us, [span])
            if len(self._waiting) > self._orphans_max:
                self._drop_oldest_waiting()
            return
        rival = next((other for other in waiting.spans if _failed(other) == _failed(span)), None)
        if rival is None:
            waiting.spans.append(span)
        else:
            self._count_again(span, rival)

    def _count_again(self, span: AppSpan, other: AppSpan | None) -> None:
        """Count a span that changes nothing; `other` is what its line has or left with."""
        if other is None:
            self.counters.late += 1
        elif span == other:
            self.counters.duplicates += 1
        else:
            self.counters.spare += 1

    def _drop_oldest_waiting(self) -> None:
        self.counters.orphaned += len(self._waiting.popitem(last=False)[1].spans)


def _failed(span: AppSpan) -> bool:
    return bool(span.error_type)


def _agrees(span: AppSpan, access: Access) -> bool:
    if access.status == CLIENT_CLOSED:  # the client left before it saw an outcome
        return True
    return _failed(span) == (access.status >= 500)

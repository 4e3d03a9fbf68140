"""nginx lines and app spans in, joined pairs out. Pure: time is a parameter, nothing is read or slept on.

A line and a span belong together when the span's trace id is the line's and the span's parent is nginx's own span; of
several such spans the one of the request itself is chosen (`span_match`).
Which of them comes first makes no difference. What comes in, and what then happens:

| comes in | its counterpart | what happens |
|---|---|---|
| line, not proxied, or without trace or span id | cannot exist | leaves at once (passed) |
| line that says what the app did (`Access.app`) | a span waits, and settles it | both leave (matched) |
| the same | none that settles it, and a span could say no more | leaves at once (told) |
| the same | none that settles it, but its answer went on or broke off | waits, as below |
| line whose request is not sampled | none waits | leaves at once (unsampled): no span will come |
| line | a span waits, and settles it | both leave (matched) |
| line | its span went out with the same line before (a replay) | leaves with that span again (matched) |
| line | none, or one that does not settle it | waits for `wait_us` |
| line | none, and it is older than `wait_us` (read after a restart) | waits for `GRACE_US` |
| line | none, and no span at all for `span_silence_us` | leaves at once (unmatched): nothing here is traced |
| span | a line waits, and the span settles it | both leave (matched) |
| span | a line waits, and the span does not settle it | stays with it until a better one comes, or its time is up |
| span | none so far | waits for `orphan_us`, then is dropped (orphaned) |
| span | the line has left without one | dropped (late) |
| span | the line has left with the app's own word | dropped (needless) |
| span | it is here already, or it has left (an exporter's retry) | dropped (duplicates) |
| span | the line has another span | dropped (spare) |
| span without a parent | cannot exist: the request did not come through nginx | dropped (orphaned) |
| nothing, and a line's time is up | | leaves, with the span that fits best (matched) or without (unmatched) |
| a line too many | | the oldest waiting line leaves likewise (and evicted) |
| a span too many | | the oldest waiting span is dropped (orphaned) |

Of several spans that settle a line alike the first to come is used, and a line that says what the app did leaves with
the span that is there, or without. Only there does order show: to hold every line for its whole wait would delay all
answers to make these tidy.

Each event costs O(1), amortised: every table is in order of arrival and emptied from its front. (Hence
`OrderedDict`: a plain dict walks over all that was deleted there to find its first key.)
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from tailtrace_bridge.core.records import Access, AppSpan
from tailtrace_bridge.rows import app_header
from tailtrace_bridge.rows.span_match import may_belong, rank, settles

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
RECENT_MAX = 2_500
"""Twice the lines of one `Tail.read`: what a bridge reads again after a defect still finds its spans. A MiB for each
2,000."""
SPAN_SILENCE_US = 60_000_000
SPANS_MAX = 4
"""Spans of one request that wait for its line."""

_NEEDLESS = AppSpan("", "", "", 0, "", "")
"""Instead of a span, where the line left with the app's own word."""

T = TypeVar("T")
_Key = tuple[str, str]


class Joined(NamedTuple, Generic[T]):
    """A line on its way out: every line comes out exactly once, with the token that it came in with."""

    access: Access
    span: AppSpan | None
    token: T


@dataclass(slots=True)
class JoinCounters:
    """Lines in = passed + told + unsampled + matched + unmatched + still held.

    Spans in = those that left with a line + the last five.
    """

    passed: int = 0
    """Lines that no span can belong to."""
    told: int = 0
    """Lines that say what the app did, and left without a span."""
    unsampled: int = 0
    """Lines whose request was not to make a span."""
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
    needless: int = 0
    """Spans whose line had left with the app's own word."""
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
    """The best so far; it settles nothing, or the lines would be gone."""
    is_old: bool


@dataclass(slots=True)
class _WaitingSpans:
    """The spans of one key: at most `SPANS_MAX`, and of each kind one."""

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
        known = self._recent.get(key)
        if known is _NEEDLESS:
            known = None
        span = known or self._take_waiting(key, access)
        if key not in self._held:
            settled = known or (span and settles(span, access))
            if not settled and _is_reported(access):
                return self._leave_reported(access, token, key, span)
            if not (span or access.sampled):
                self.counters.unsampled += 1
                return [Joined(access, None, token)]
        held = self._held.get(key)
        if held is None:
            waited_us = min(max(0, age_us), max(0, self._wait_us - GRACE_US))
            held = self._held[key] = _HeldLines(now_us - waited_us, [], span, is_old=age_us >= self._wait_us)
        held.lines.append((access, token))
        self._held_lines += 1
        silent = now_us - self._last_span_us >= self._span_silence_us
        if silent or (span and (known or settles(span, access))):
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

    def _leave_reported(self, access: Access, token: T, key: _Key, span: AppSpan | None) -> list[Joined[T]]:
        self.counters.told += 1
        self.counters.spare += span is not None
        self._remember(key, _NEEDLESS)
        return [Joined(access, None, token)]

    def _release(self, key: _Key) -> list[Joined[T]]:
        held = self._held.pop(key)
        self._held_lines -= len(held.lines)
        if held.span and not may_belong(held.span, held.lines[0][0]):
            self.counters.spare += 1
            held.span = None
        if held.span:
            key = held.span.trace_id, held.span.parent_span_id  # the line's texts, which are equal, need not stay
            self.counters.matched += len(held.lines)
        else:
            self.counters.unmatched += len(held.lines)
            self.counters.span_lost += len(held.lines) if held.is_old else 0
        self._remember(key, held.span)
        return [Joined(access, held.span, token) for access, token in held.lines]

    def _remember(self, key: _Key, span: AppSpan | None) -> None:
        self._recent.pop(key, None)
        self._recent[key] = span
        if len(self._recent) > self._recent_max:
            self._recent.popitem(last=False)

    def _evict(self) -> list[Joined[T]]:
        left: list[Joined[T]] = []
        while self._held_lines > self._held_max:
            left += self._release(next(iter(self._held)))
        self.counters.evicted += len(left)
        return left

    def _take_waiting(self, key: _Key, access: Access) -> AppSpan | None:
        """Return the span that waits for this line, the one that fits best if there are more."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return None
        self.counters.spare += len(waiting.spans) - 1
        return max(waiting.spans, key=lambda span: rank(span, access))

    def _offer(self, span: AppSpan, key: _Key, held: _HeldLines[T]) -> list[Joined[T]]:
        access = held.lines[0][0]
        if held.span is not None and (_is_again(span, held.span) or rank(span, access) <= rank(held.span, access)):
            self._count_again(span, held.span)
            return []
        self.counters.spare += held.span is not None
        held.span = span
        return self._release(key) if settles(span, access) else []

    def _let_wait(self, span: AppSpan, key: _Key, now_us: int) -> None:
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = _WaitingSpans(now_us, [span])
            if len(self._waiting) > self._orphans_max:
                self._drop_oldest_waiting()
            return
        rival = next((other for other in waiting.spans if _kind(other) == _kind(span)), None)
        if rival is not None:
            self._count_again(span, rival)
            return
        waiting.spans.append(span)
        if len(waiting.spans) > SPANS_MAX:
            waiting.spans.remove(min(waiting.spans, key=lambda one: one.start_us))
            self.counters.spare += 1

    def _count_again(self, span: AppSpan, other: AppSpan | None) -> None:
        """Count a span that changes nothing; `other` is what its line has or left with."""
        if other is None:
            self.counters.late += 1
        elif other is _NEEDLESS:
            self.counters.needless += 1
        elif _is_again(span, other):
            self.counters.duplicates += 1
        else:
            self.counters.spare += 1

    def _drop_oldest_waiting(self) -> None:
        self.counters.orphaned += len(self._waiting.popitem(last=False)[1].spans)


def _kind(span: AppSpan) -> tuple[bool, str, str]:
    return bool(span.error_type), span.method, span.path


def _is_again(span: AppSpan, other: AppSpan) -> bool:
    return span == other and _kind(span) == _kind(other)


def _is_reported(access: Access) -> bool:
    """Return whether the line itself tells what the app did, and a span would add nothing to it."""
    said = app_header.read(access)
    told = isinstance(said, app_header.AppAnswer) and said.time_us is not None
    return told and not (access.sampled and app_header.needs_span(access))

"""Spans against the time of their requests: another machine's clock may be wrong by a second or by years. Pure.

| a span | becomes |
|---|---|
| lies within the time of its requests, give or take `MARGIN_US` | itself |
| begins before or ends after it: another clock, or work that went on after the answer | marked |
| does so by more than `FAR_US` | marked, and cut to the time of the requests, its events too |

So one wrong clock does not make a trace of years, in which nothing else can be seen.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tailtrace_bridge.core.records import KeptTrace
from tailtrace_bridge.store.values import LogEntry
from tailtrace_bridge.traces.pack import TraceSpan

MARGIN_US = 10_000
"""nginx knows milliseconds, and two machines of one network differ by some."""
FAR_US = 60_000_000


class Fitted(NamedTuple):
    """Spans as they are drawn, and the ids of those that lie outside."""

    spans: list[TraceSpan]
    outside: frozenset[str]


def fitted(kept: Sequence[tuple[LogEntry, KeptTrace]], spans: Iterable[TraceSpan]) -> Fitted:
    """Return the spans of a trace, of which at least one request is kept."""
    first_us = min(entry.time_us for entry, _ in kept)
    last_us = max(entry.time_us + (entry.request_time_us or 0) for entry, _ in kept)
    drawn: list[TraceSpan] = []
    outside: set[str] = set()
    for span in spans:
        end_us = span.start_us + span.duration_us
        if span.start_us < first_us - MARGIN_US or end_us > last_us + MARGIN_US:
            outside.add(span.span_id)
        if span.start_us < first_us - FAR_US or end_us > last_us + FAR_US:
            drawn.append(_cut(span, first_us, last_us))
        else:
            drawn.append(span)
    return Fitted(drawn, frozenset(outside))


def _cut(span: TraceSpan, first_us: int, last_us: int) -> TraceSpan:
    def within(time_us: int) -> int:
        return min(max(time_us, first_us), last_us)

    start_us = within(span.start_us)
    return span._replace(
        start_us=start_us,
        duration_us=within(span.start_us + span.duration_us) - start_us,
        events=[event._replace(time_us=within(event.time_us)) for event in span.events],
    )

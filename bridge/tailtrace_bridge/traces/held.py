"""Spans of all kinds in memory, by trace, until it is known whether their request is worth keeping.

Spans and the line of a request come in any order, from two threads:

| comes | the other | what happens |
|---|---|---|
| span | no line yet | it is held |
| span | its line came, and is to be kept | it is held until `take` |
| span | its line came, and is not to be kept | it is dropped |
| line that is to be kept | | what is held of it stays |
| line that is not | | what is held of it goes, and what comes is not held |

What nobody takes goes with the second `age` after it came: an app that is asked past nginx sends spans without a line.
Above `HELD_BYTES_MAX` the oldest traces go, of one trace everything beyond `SPANS_MAX`; both are counted.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tailtrace_bridge.core.records import WholeSpan

HELD_BYTES_MAX = 8 * 1024 * 1024
SPAN_BYTES_MAX = 64 * 1024
"""Of one span as it was sent: a stack of fifty frames is a tenth of it."""
SPANS_MAX = 500
"""Of one trace."""
REFUSED_MAX = 10_000
"""Traces that are known not to be kept: so many as end in the 5 s that an SDK gathers spans, at 2,000 a second."""
_OVERHEAD_BYTES = 200
"""Of a span in memory, beside its bytes."""


@dataclass(slots=True)
class HeldCounters:
    """What became of whole spans: spans = those taken, unwanted, cut and evicted + those held."""

    whole_spans: int = 0
    unwanted: int = 0
    """Spans of requests that are not kept, or whose line never came."""
    cut: int = 0
    """Spans beyond `SPANS_MAX` of their trace, or longer than `SPAN_BYTES_MAX`."""
    evicted: int = 0
    """Spans that had to go because memory for them was used up."""


@dataclass(slots=True)
class _Held:
    spans: list[WholeSpan] = field(default_factory=list)
    size: int = 0
    is_old: bool = False
    is_wanted: bool = False


class HeldSpans:
    """Safe for any number of threads; no call waits for more than another such call."""

    def __init__(self, bytes_max: int = HELD_BYTES_MAX) -> None:
        self.counters = HeldCounters()
        self._bytes_max = bytes_max
        self._bytes = 0
        self._traces: OrderedDict[bytes, _Held] = OrderedDict()
        self._refused: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of traces that have spans here."""
        return len(self._traces)

    def add(self, spans: Iterable[WholeSpan]) -> None:
        """Take spans that an app sent."""
        with self._lock:
            for span in spans:
                self.counters.whole_spans += 1
                if span.trace_id in self._refused:
                    self.counters.unwanted += 1
                else:
                    self._hold(span)
            while self._bytes > self._bytes_max:
                self.counters.evicted += len(self._drop(next(iter(self._traces))))

    def want(self, trace_id: bytes) -> None:
        """Hold a trace until it is taken."""
        with self._lock:
            self._refused.pop(trace_id, None)
            self._traces.setdefault(trace_id, _Held()).is_wanted = True

    def refuse(self, trace_id: bytes) -> None:
        """Drop a trace, and what comes of it."""
        with self._lock:
            held = self._traces.get(trace_id)
            if held is not None and held.is_wanted:  # by another line of the same trace
                return
            self.counters.unwanted += len(self._drop(trace_id))
            self._refused[trace_id] = None
            if len(self._refused) > REFUSED_MAX:
                self._refused.popitem(last=False)

    def take(self, trace_id: bytes) -> list[WholeSpan]:
        """Return what is held of a trace, and hold it no more."""
        with self._lock:
            return self._drop(trace_id)

    def age(self) -> None:
        """Drop what was there at the call before and nobody wants."""
        with self._lock:
            for trace_id in [one for one, held in self._traces.items() if held.is_old and not held.is_wanted]:
                self.counters.unwanted += len(self._drop(trace_id))
            for held in self._traces.values():
                held.is_old = True

    def _hold(self, span: WholeSpan) -> None:
        held = self._traces.setdefault(span.trace_id, _Held())
        if len(held.spans) >= SPANS_MAX or len(span.data) > SPAN_BYTES_MAX:
            self.counters.cut += 1
            return
        held.spans.append(span)
        size = len(span.data) + _OVERHEAD_BYTES
        held.size += size
        self._bytes += size

    def _drop(self, trace_id: bytes) -> list[WholeSpan]:
        held = self._traces.pop(trace_id, None)
        if held is None:
            return []
        self._bytes -= held.size
        return held.spans

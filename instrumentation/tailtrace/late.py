"""Spans of requests that are not sampled, kept until it is known whether their answer is worth them.

`tailtrace nginx --sample 10` leaves most requests without a span, and so most of those that fail. With
`TAILTRACE_UNSAMPLED_SPANS` they have one all the same, which is sent for an error or a slow answer alone.

| what | happens |
|---|---|
| a request that is not sampled | it has a light span, and its children are recorded; none is marked as sampled |
| it calls another service | that one is told that the request is not sampled, as it is |
| a child ends | it is held, `spans_max` at the most of all requests; the request that began to be held first goes |
| the answer is an error, or took `slow_ms` or longer | the request's span and its children go where sampled ones go |
| any other | all of them are dropped |
| a child that ends after its request | is not sent |
"""

import threading
from collections import OrderedDict
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased, Sampler, SamplingResult

from tailtrace.light_span import LightSpan
from tailtrace.worker import Worker


class LateSpans:
    """Holds them for a process. For any thread."""

    def __init__(self, worker: Worker, spans_max: int, slow_ms: int) -> None:
        self._worker = worker
        self._spans_max = spans_max
        self._slow_ns = slow_ms * 1_000_000
        self._held: OrderedDict[int, list[Any]] = OrderedDict()
        """What the worker takes, by trace id."""
        self._count = 0
        self._lock = threading.Lock()

    def hold(self, trace_id: int, item: Any) -> None:
        """Hold a child that ended."""
        with self._lock:
            self._held.setdefault(trace_id, []).append(item)
            self._count += 1
            while self._count > self._spans_max:
                self._count -= len(self._held.popitem(last=False)[1])

    def end(self, span: LightSpan) -> None:
        """Send a request's span and its children, if the answer is worth it; forget them."""
        children = self._taken(span) if self._held else ()
        if (span.shape is not None and span.shape.failed) or span.end_ns - span.start_ns >= self._slow_ns:
            for item in (*children, span):
                self._worker.put(item)

    def _taken(self, span: LightSpan) -> list[Any]:
        with self._lock:
            children = self._held.pop(span.get_span_context().trace_id, [])
            self._count -= len(children)
            return children


class _AsParent(Sampler):
    """Records below what is recorded."""

    def should_sample(self, parent_context: Any, *_: Any, **__: Any) -> SamplingResult:
        """Record, and say nothing of it to whoever is called."""
        parent = trace.get_current_span(parent_context)
        decision = Decision.RECORD_ONLY if parent.is_recording() else Decision.DROP
        return SamplingResult(decision, trace_state=parent.get_span_context().trace_state)

    def get_description(self) -> str:
        """Return its name."""
        return "tailtrace.AsParent"


def sampler() -> Sampler:
    """Return OpenTelemetry's default, which records what is below a request that is held as well."""
    return ParentBased(ALWAYS_ON, local_parent_not_sampled=_AsParent())

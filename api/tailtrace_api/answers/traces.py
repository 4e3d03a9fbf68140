"""A kept trace as an answer: its spans as a tree, where the time went, what broke in which lines of code. Pure.

Where a request's time went, as nginx measured it; the parts follow each other and add up to the whole:

| phase | is |
|---|---|
| `attempt` | a server that was asked before, and failed |
| `connect` | until nginx had a connection to the app |
| `waiting` | until the app began, where its span says when |
| `app` | until the first byte of its answer |
| `answer` | until the last byte of it was with nginx |
| `client` | the rest: the request's way in, the answer's way out to the client, and nginx itself |

nginx times the upstream, not the client's side, so `client` is the request's time less the upstream's.

Spans come from outside, so a parent may be missing, or be a span's own child: what hangs below nothing is a root.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Annotated

from tailtrace_api.answers.fitting import fitted
from tailtrace_api.answers.meaning import meaning
from tailtrace_api.answers.record import Record, record
from tailtrace_api.answers.requests import iso
from tailtrace_bridge.core.records import KeptTrace
from tailtrace_bridge.store.values import LogEntry
from tailtrace_bridge.traces.pack import TraceSpan, Value, unpack
from tailtrace_bridge.traces.stack import frames_of

DEPTH_MAX = 32
"""Beyond it, spans stand as deep as their parents."""
FRAMES_SHOWN = 50


@record
class Attribute(Record):
    """Something that a span says, as text."""

    key: str
    value: str


@record
class CodeLine(Record):
    """One call in a stack."""

    file: str
    line: int
    function: str
    source: str | None
    own: bool
    """It is the app's own: of no library."""


@record
class Failure(Record):
    """An exception of a span. `message` is null unless `TAILTRACE_TRACES_MESSAGES` lets it in."""

    type: str
    message: str | None
    stack: tuple[CodeLine, ...]
    """The outermost call first; empty where it is no Python stack."""
    text: str | None
    """The stack as it was kept."""


@record
class Happened(Record):
    """An event of a span that is no exception. `at_ms` is measured from the begin of the trace."""

    name: str
    at_ms: float
    attributes: tuple[Attribute, ...]


@record
class Span(Record):
    """One span, in the order in which a waterfall shows them. Times are milliseconds from the begin of the trace."""

    id: str
    parent_id: str | None
    depth: int
    name: str
    kind: str | None
    service: str | None
    version: str | None
    nginx: bool
    start_ms: float
    duration_ms: float
    outside: Annotated[
        bool,
        meaning(
            "It begins before its request or ends after it: by another clock, or since it went on after the answer. "
            "One that does so by more than a minute is cut to the request's time."
        ),
    ]
    failed: bool
    message: str | None
    failures: tuple[Failure, ...]
    events: tuple[Happened, ...]
    attributes: tuple[Attribute, ...]
    links: tuple[str, ...]


@record
class Phase(Record):
    """A part of a request's time, in milliseconds from the begin of the trace."""

    phase: str
    start_ms: float
    duration_ms: float


@record
class TracedRequest(Record):
    """A request of the trace as nginx logged it, and who made it."""

    timestamp: str
    method: str
    path: str
    endpoint: str
    status: int
    user: str | None
    device: str | None
    ip: str
    kind: str
    error_type: str | None
    kept_as: str
    """`error`, `slow`, `asked` or `sample`."""
    start_ms: float
    duration_ms: float | None
    phases: tuple[Phase, ...]


@record
class Trace(Record):
    """A kept trace."""

    trace_id: str
    started: str
    duration_ms: float
    requests: tuple[TracedRequest, ...]
    spans: tuple[Span, ...]
    url: str | None
    """Where another backend shows it, by `TAILTRACE_TRACE_URL`."""


def trace(trace_id: str, kept: Sequence[tuple[LogEntry, KeptTrace]], url: str | None) -> Trace:
    """Answer `GET /analytics/traces/{trace_id}` of the kept requests of a trace, of which there is one at least."""
    by_id: dict[str, TraceSpan] = {}
    roots: list[TraceSpan | None] = []
    for _, one in kept:
        found = unpack(one.data)
        roots.append(next((span for span in found if span.is_nginx and span.kind == "server"), None))
        for span in found:
            by_id.setdefault(span.span_id, span)
    spans, outside = fitted(kept, by_id.values())
    begin_us = min([entry.time_us for entry, _ in kept] + [span.start_us for span in spans])
    ends_us = [entry.time_us + (entry.request_time_us or 0) for entry, _ in kept]
    ends_us += [span.start_us + span.duration_us for span in spans]

    def since(time_us: int) -> float:
        return (time_us - begin_us) / 1000

    return Trace(
        trace_id=trace_id,
        started=iso(begin_us),
        duration_ms=(max(ends_us) - begin_us) / 1000,
        requests=tuple(
            _request(entry, one, root, spans, since) for (entry, one), root in zip(kept, roots, strict=True)
        ),
        spans=tuple(_span(span, depth, since, is_outside=span.span_id in outside) for span, depth in in_order(spans)),
        url=url.replace("{trace_id}", trace_id) if url else None,
    )


def in_order(spans: Iterable[TraceSpan]) -> list[tuple[TraceSpan, int]]:
    """Return each span once, with its depth: below its parent, by time; nginx's first where times are equal."""
    spans = sorted(spans, key=lambda span: (span.start_us, not span.is_nginx, -span.duration_us, span.span_id))
    known = {span.span_id for span in spans}
    children: dict[str, list[TraceSpan]] = {}
    for span in spans:
        parent = span.parent_span_id if span.parent_span_id in known else ""
        children.setdefault(parent, []).append(span)
    ordered: list[tuple[TraceSpan, int]] = []
    seen: set[str] = set()
    # What is in a cycle hangs below no root: it is begun at its earliest span.
    for root in (*children.get("", ()), *spans):
        waiting = [(root, 0)]
        while waiting:
            span, depth = waiting.pop()
            if span.span_id in seen:
                continue
            seen.add(span.span_id)
            ordered.append((span, min(depth, DEPTH_MAX)))
            waiting += [(child, depth + 1) for child in reversed(children.get(span.span_id, ()))]
    return ordered


def phases(entry: LogEntry, root: TraceSpan | None, spans: Iterable[TraceSpan]) -> list[tuple[str, int, int]]:
    """Return the phases of a request, each with begin and length in microseconds; those of no length are left out."""
    total_us = entry.request_time_us
    if total_us is None:
        return []
    attempts = sorted(
        (one for one in spans if root and one.is_nginx and one.parent_span_id == root.span_id),
        key=lambda one: one.start_us,
    )
    marks: list[tuple[str, int]] = []
    """The name of a phase, and when it ends."""
    at_us = entry.time_us
    for place, attempt in enumerate(attempts):
        end_us = attempt.start_us + attempt.duration_us
        if place < len(attempts) - 1:
            marks.append(("attempt", end_us))
            continue
        connected_us = attempt.start_us + _seconds(attempt, "nginx.upstream_connect_time", 0)
        answered_us = attempt.start_us + _seconds(attempt, "nginx.upstream_header_time", attempt.duration_us)
        began_us = next(
            (one.start_us for one in spans if root and not one.is_nginx and one.parent_span_id == root.span_id), None
        )
        marks.append(("connect", connected_us))
        # nginx has milliseconds, so an app may seem to begin before it was asked.
        if began_us is not None and connected_us < began_us < answered_us:
            marks.append(("waiting", began_us))
        marks += [("app", answered_us), ("answer", end_us)]
    if not attempts and entry.upstream_time_us:
        marks.append(("app", at_us + entry.upstream_time_us))
    marks.append(("client", entry.time_us + total_us))
    bounds = [("", at_us), *marks]
    return [
        (name, start_us, end_us - start_us) for (_, start_us), (name, end_us) in pairwise(bounds) if end_us > start_us
    ]


def _seconds(span: TraceSpan, key: str, default_us: int) -> int:
    value = span.attributes.get(key)
    return round(value * 1e6) if isinstance(value, int | float) else default_us


def _request(
    entry: LogEntry, kept: KeptTrace, root: TraceSpan | None, spans: Iterable[TraceSpan], since: Callable[[int], float]
) -> TracedRequest:
    who = entry.identity
    return TracedRequest(
        timestamp=iso(entry.time_us),
        method=entry.method,
        path=entry.path,
        endpoint=entry.endpoint,
        status=entry.status,
        user=who.user or None,
        device=who.device or None,
        ip=who.address,
        kind=who.kind,
        error_type=entry.error_type or None,
        kept_as=kept.reason,
        start_ms=since(entry.time_us),
        duration_ms=None if entry.request_time_us is None else entry.request_time_us / 1000,
        phases=tuple(
            Phase(phase=name, start_ms=since(start_us), duration_ms=length_us / 1000)
            for name, start_us, length_us in phases(entry, root, spans)
        ),
    )


def _span(span: TraceSpan, depth: int, since: Callable[[int], float], *, is_outside: bool) -> Span:
    return Span(
        id=span.span_id,
        parent_id=span.parent_span_id or None,
        depth=depth,
        name=span.name,
        kind=span.kind or None,
        service=span.service or None,
        version=span.version or None,
        nginx=span.is_nginx,
        start_ms=since(span.start_us),
        duration_ms=span.duration_us / 1000,
        outside=is_outside,
        failed=span.status == "error",
        message=span.message or None,
        failures=tuple(_failure(event.attributes) for event in span.events if event.name == "exception"),
        events=tuple(
            Happened(name=event.name, at_ms=since(event.time_us), attributes=_attributes(event.attributes))
            for event in span.events
            if event.name != "exception"
        ),
        attributes=_attributes(span.attributes),
        links=tuple(span.links),
    )


def _failure(attributes: dict[str, Value]) -> Failure:
    stack = str(attributes.get("exception.stacktrace", ""))
    return Failure(
        type=str(attributes.get("exception.type", "")) or "exception",
        message=str(attributes.get("exception.message", "")) or None,
        stack=tuple(
            CodeLine(
                file=frame.file,
                line=frame.line,
                function=frame.function,
                source=frame.source or None,
                own=frame.is_own,
            )
            for frame in frames_of(stack)[-FRAMES_SHOWN:]
        ),
        text=stack or None,
    )


def _attributes(values: dict[str, Value]) -> tuple[Attribute, ...]:
    return tuple(Attribute(key=key, value=_text(value)) for key, value in values.items())


def _text(value: Value) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)

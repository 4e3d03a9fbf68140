"""A kept trace for an assistant: where the time went, which spans took it, which lines of the app broke. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tailtrace_api.answers.insight_records import TraceRequests
from tailtrace_api.answers.record import Record, record
from tailtrace_api.mcp_server.words import Words

if TYPE_CHECKING:  # it reads protobuf, which an assistant's start does not wait for
    from tailtrace_api.answers.traces import Failure, Span, Trace

SLOWEST_SHOWN = 3
FRAMES_SHOWN = 3
"""The innermost of the app's own: what broke is in the last, who called it in those before."""
FAILURES_SHOWN = 3


@record
class PhaseTime(Record):
    """A part of a request's time."""

    phase: str
    ms: float


@record
class SlowSpan(Record):
    """A span, and how long none of its children was at work."""

    span: str
    service: str | None
    own_ms: float


@record
class Frame(Record):
    """A line of the app's own code that an exception came through."""

    file: str
    line: int
    function: str
    source: str | None


@record
class FailureOutput(Record):
    """An exception, with the innermost frames of the app's own."""

    type: str
    span: str
    service: str | None
    frames: tuple[Frame, ...]


@record
class Digest(Record):
    """What of a kept trace an assistant gets: phases, the spans with most time of their own, failures."""

    phases: tuple[PhaseTime, ...]
    spans: int
    slowest: tuple[SlowSpan, ...]
    failures: tuple[FailureOutput, ...]


@record
class Explained(TraceRequests):
    """The requests of a trace, and a digest of its spans where it is kept."""

    trace: Digest | None = None


def digest(trace: "Trace") -> Digest:
    """Shorten a kept trace."""
    own = own_times(trace.spans)
    of_app = [span for span in trace.spans if not span.nginx and own[span.id] > 0]
    failures = [(span, failure) for span in trace.spans for failure in span.failures]
    return Digest(
        phases=tuple(
            PhaseTime(phase=phase.phase, ms=phase.duration_ms) for request in trace.requests for phase in request.phases
        ),
        spans=len(trace.spans),
        slowest=tuple(
            SlowSpan(span=span.name, service=span.service, own_ms=round(own[span.id], 3))
            for span in sorted(of_app, key=lambda span: -own[span.id])[:SLOWEST_SHOWN]
        ),
        failures=tuple(
            FailureOutput(type=failure.type, span=span.name, service=span.service, frames=_frames(failure))
            for span, failure in failures[-FAILURES_SHOWN:]
        ),
    )


def _frames(failure: "Failure") -> tuple[Frame, ...]:
    own = [line for line in failure.stack if line.own]
    return tuple(
        Frame(file=line.file, line=line.line, function=line.function, source=line.source)
        for line in own[-FRAMES_SHOWN:]
    )


def own_times(spans: Sequence["Span"]) -> dict[str, float]:
    """Return how long each span had none of its children at work, in milliseconds."""
    children: dict[str, list[tuple[float, float]]] = {}
    for span in spans:
        if span.parent_id and span.parent_id != span.id:
            children.setdefault(span.parent_id, []).append((span.start_ms, span.start_ms + span.duration_ms))
    own: dict[str, float] = {}
    for span in spans:
        start, end = span.start_ms, span.start_ms + span.duration_ms
        covered = 0.0
        for child_start, child_end in sorted(children.get(span.id, ())):
            covered += max(0.0, min(child_end, end) - max(child_start, start))
            start = max(start, child_end)
        own[span.id] = max(0.0, span.duration_ms - covered)
    return own


def sentences(short: Digest, words: Words) -> list[str]:
    """Return it in sentences."""
    lines = []
    if short.phases:
        parts = "; ".join(f"{words.say('phase_' + one.phase)} {words.millis(one.ms)}" for one in short.phases)
        lines.append(words.say("trace_phases", parts=parts))
    if short.slowest:
        parts = "; ".join(f"{one.span}{_of(one.service)} {words.millis(one.own_ms)}" for one in short.slowest)
        lines.append(words.say("trace_slowest", spans=short.spans, parts=parts))
    for failure in short.failures:
        lines.append(words.say("trace_failure", type=failure.type, span=failure.span, service=_of(failure.service)))
        lines += [
            f"  {frame.file}:{frame.line} {frame.function}: {frame.source or ''}".rstrip(": ")
            for frame in failure.frames
        ]
    return lines


def _of(service: str | None) -> str:
    return f" ({service})" if service else ""

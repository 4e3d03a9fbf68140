"""The span of a request that is cheap: what the API of a span promises, without the SDK's locks and copies.

User code finds it as the current span, adds to it, and hangs children below it. It keeps what the server said as it
came; turning that into attributes is the work of whoever sends it (`encoding`), on another thread. So a request pays
for a few slots. It holds nothing of the request's state: no scope, no exception, no frame.

| call | here |
|---|---|
| `set_attribute`, `add_event`, `add_link` | kept up to the SDK's default limits, then counted as dropped |
| `update_name` | kept; the route's name otherwise |
| `set_status` | kept as the SDK keeps it: OK is final, UNSET says nothing |
| `end` | the user's end is the end for the user: what comes later is ignored, but what the answer says of itself |
"""

import random
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from os import register_at_fork
from types import MappingProxyType
from typing import Any, NamedTuple

from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from tailtrace.traceparent import Parent, parse

ATTRIBUTES_MAX = 128
EVENTS_MAX = 128
LINKS_MAX = 128
STACK_FRAMES_MAX = 50
"""Of the exception, the innermost."""
OTHER_FRAMES_MAX = 10
"""Of each cause, and each one of a group: a span of more than 64 KiB is not kept."""
EXCEPTIONS_MAX = 4
"""One with its causes, and of a group."""
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"
PATH_LENGTH_MAX = 2048
"""Characters of `url.path`; the rest of a longer path is cut, and `tailtrace.path_length` says how long it was."""

_ids = random.Random()  # noqa: S311 - ids, not secrets
register_at_fork(after_in_child=_ids.seed)  # Else two workers would number their spans alike.
_FLAGS = tuple(TraceFlags(flags) for flags in range(256))
_NO_STATE = TraceState()


class Shape(NamedTuple):
    """What all requests of one route, method and status have in common. Interned: few, and in thousands of spans."""

    name: str
    attributes: Mapping[str, str | int]
    failed: bool


class SpanEvent(NamedTuple):
    """An event of a span."""

    name: str
    attributes: Mapping[str, Any] | None
    time_ns: int


def new_id(bits: int) -> int:
    """Return a random id, never zero."""
    return _ids.getrandbits(bits) or 1


def context_of(parent: Parent, state: bytes | None) -> SpanContext:
    """Return the span context that a request's headers name."""
    return SpanContext(int(parent[0], 16), int(parent[1], 16), True, _FLAGS[int(parent[2], 16)], trace_state(state))


def trace_state(value: bytes | None) -> TraceState:
    """Return what the header says, nothing for one against the grammar."""
    return TraceState.from_header([value.decode("latin-1")]) if value else _NO_STATE


class Unsampled(NonRecordingSpan):
    """The parent's ids, for children that shall not be sampled either. Read when somebody asks for them."""

    __slots__ = ("_found", "_state", "_value")

    def __init__(self, value: bytes, state: bytes | None) -> None:
        self._value = value
        self._state = state
        self._found: SpanContext | None = None

    def get_span_context(self) -> SpanContext:
        """Return the ids that the request's headers name."""
        if self._found is None:
            parent = parse(self._value)
            self._found = INVALID_SPAN_CONTEXT if parent is None else context_of(parent, self._state)
        return self._found


class LightSpan(Span):
    """One request, sampled or kept until its answer (`late`). `start` it, give it to user code, `close` it."""

    __slots__ = (
        "_context",
        "_user_ended",
        "attributes",
        "client",
        "dropped",
        "end_ns",
        "events",
        "host",
        "links",
        "name",
        "origin",
        "parent",
        "path",
        "shape",
        "span_id",
        "start_ns",
        "state",
        "status",
        "trace_id",
        "user_agent",
    )
    kind = SpanKind.SERVER

    def __init__(self, origin: Any, parent: Parent | None, start_ns: int) -> None:
        self.origin = origin
        self.parent = parent
        self.start_ns = start_ns
        self.end_ns = 0
        self.trace_id: int | bytes = new_id(128) if parent is None else parent[0]
        self.span_id = new_id(64)
        self.state: bytes | None = None
        self.path = ""
        self.host: bytes | None = None
        self.user_agent: bytes | None = None
        self.client: Sequence[Any] | None = None
        self.shape: Shape | None = None
        self.name = ""
        self.attributes: dict[str, Any] | None = None
        self.events: list[SpanEvent] | None = None
        self.links: list[tuple[SpanContext, Mapping[str, Any] | None]] | None = None
        self.status: Status | None = None
        self.dropped: list[int] | None = None
        self._context: SpanContext | None = None
        self._user_ended = False

    def get_span_context(self) -> SpanContext:
        """Return the ids that children and logs take over."""
        context = self._context
        if context is None:
            trace_id = self.trace_id
            context = self._context = SpanContext(
                trace_id if isinstance(trace_id, int) else int(trace_id, 16),
                self.span_id,
                False,
                _FLAGS[1 if self.parent is None else int(self.parent[2], 16)],
                trace_state(self.state),
            )
        return context

    def is_sampled(self) -> bool:
        """Return whether it is sent whatever its answer is."""
        return self.parent is None or self.parent[3]

    def parent_context(self) -> SpanContext | None:
        """Return the remote parent."""
        return None if self.parent is None else context_of(self.parent, self.state)

    def is_recording(self) -> bool:
        """Return whether what is set now is kept."""
        return not self._user_ended and not self.end_ns

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Keep attributes."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def set_attribute(self, key: str, value: Any) -> None:
        """Keep one attribute, up to `ATTRIBUTES_MAX`."""
        if self._user_ended or self.end_ns:
            return
        kept = self.attributes
        if kept is None:
            kept = self.attributes = {}
        if key in kept or len(kept) < ATTRIBUTES_MAX:
            kept[key] = list(value) if isinstance(value, list | tuple) else value
        else:
            self._drop(0)

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """Keep an event, up to `EVENTS_MAX`."""
        if self.is_recording():
            self._keep_event(SpanEvent(name, dict(attributes) if attributes else None, timestamp or time.time_ns()))

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Keep a link, up to `LINKS_MAX`."""
        if not self.is_recording():
            return
        if self.links is None:
            self.links = []
        if len(self.links) < LINKS_MAX:
            self.links.append((context, dict(attributes) if attributes else None))
        else:
            self._drop(2)

    def update_name(self, name: str) -> None:
        """Name the span as the user wants it."""
        if self.is_recording():
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Keep a status: OK is final, UNSET says nothing."""
        if not self.is_recording():
            return
        new = status if isinstance(status, Status) else Status(status, description)
        if new.status_code is not StatusCode.UNSET and (
            self.status is None or self.status.status_code is not StatusCode.OK
        ):
            self.status = new

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Keep an exception that the user wants kept, with its message."""
        if self.is_recording():
            lines = traceback.format_exception(type(exception), exception, exception.__traceback__)
            self.add_event(
                "exception",
                {
                    "exception.type": type_name(exception),
                    "exception.message": str(exception),
                    "exception.stacktrace": "".join(lines),
                    "exception.escaped": str(escaped),
                    **(attributes or {}),
                },
                timestamp,
            )

    def end(self, end_time: int | None = None) -> None:
        """Keep nothing more of the user's: the span itself ends with the answer."""
        del end_time
        self._user_ended = True

    def close(self, shape: Shape, end_ns: int, error: BaseException | None) -> None:
        """End the span with the answer. An exception is kept as its class and the lines of its stack."""
        if error is not None:
            self._keep_event(SpanEvent("exception", exception_attributes(error), end_ns))
        self.shape = shape
        self.end_ns = end_ns

    def _keep_event(self, event: SpanEvent) -> None:
        if self.events is None:
            self.events = []
        if len(self.events) < EVENTS_MAX:
            self.events.append(event)
        else:
            self._drop(1)

    def _drop(self, what: int) -> None:
        if self.dropped is None:
            self.dropped = [0, 0, 0]
        self.dropped[what] += 1


def type_name(error: BaseException) -> str:
    """Return the class's name with its module, as `error.type` has it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def exception_attributes(error: BaseException) -> Mapping[str, str]:
    """Return class and stack: never the message, which may quote the user's data."""
    return MappingProxyType({"exception.type": type_name(error), "exception.stacktrace": "".join(_stack(error))})


def _stack(error: BaseException) -> Iterator[str]:
    """Return what Python prints of an exception, its causes before it and those of a group behind it: no messages."""
    chain, sentences = [error], [""]
    while len(chain) < EXCEPTIONS_MAX:
        before, sentence = chain[-1].__cause__, _CAUSE
        if before is None and not chain[-1].__suppress_context__:
            before, sentence = chain[-1].__context__, _CONTEXT
        if before is None or any(before is one for one in chain):
            break
        chain.append(before)
        sentences.append(sentence)
    for one, sentence in zip(reversed(chain), reversed(sentences), strict=True):
        yield from _lines(one, STACK_FRAMES_MAX if one is error else OTHER_FRAMES_MAX)
        yield sentence
    for one in islice(_members(error), EXCEPTIONS_MAX):
        yield from _lines(one, OTHER_FRAMES_MAX)


def _lines(error: BaseException, frames_max: int) -> Iterator[str]:
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_list(traceback.extract_tb(error.__traceback__, -frames_max))
    yield f"{type_name(error)}\n"


def _members(error: BaseException) -> Iterator[BaseException]:
    """Return the exceptions that a group holds, not the groups in it: however deep it is."""
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseExceptionGroup):
            waiting += reversed(one.exceptions)
        elif one is not error:
            yield one

"""The parent of a request, by the W3C's grammar and nothing else. Pure.

| `traceparent` | parent |
|---|---|
| none, twice, or against the grammar; an id of zeros; version ff | none: the request starts a trace, and is sampled |
| version 00, four fields | the header's |
| a later version, with or without further fields | the header's first four |

https://www.w3.org/TR/trace-context/#traceparent-header-field-values
"""

import re

_GRAMMAR = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = frozenset(b"%02x" % flags for flags in range(1, 256, 2))

is_unsampled = re.compile(
    rb"(?:00|(?!00|ff)([0-9a-f]{2}))-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace](?(1)(?:-.*)?)"
).fullmatch
"""Whether a value names a parent that is not sampled, as `parse` reads it.

`tailtrace nginx --sample` makes it of most requests: they shall cost next to nothing, hence one match and no call.
"""
Parent = tuple[bytes, bytes, bytes, bool]
"""Trace id and span id in hex, flags in hex, sampled."""


def parse(value: bytes | None) -> Parent | None:
    """Return what the header's value says, None for nothing."""
    if value is None:
        return None
    match = _GRAMMAR.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if more is not None and version == b"00":
        return None
    return trace_id, span_id, flags, flags in _SAMPLED

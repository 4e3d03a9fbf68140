r"""Take a line out of what a container runtime or a system's log put around it. Pure.

| wrapper | looks like |
|---|---|
| Docker's json-file | `{"log":"…\n","stream":"stdout","time":"…"}` |
| CRI (containerd, CRI-O) | `2024-03-10T10:00:00.123456789Z stdout F …` |
| syslog, RFC 3164 and RFC 5424 | `<190>Mar 10 10:00:00 host nginx: …`, `<190>1 2024-03-10T10:00:00Z host nginx 7 - - …`; both with their length before them (RFC 6587) |
| journald, short and short-iso | `Mar 10 10:00:00 host nginx[7]: …` |
| journald, short-full, short-unix and short-monotonic | `Sun 2024-03-10 10:00:00 UTC host nginx[7]: …`, `1710064800.123456 host nginx[7]: …`, `[  12.345678] host …` |
| journald, json | `{"MESSAGE":"…", "__REALTIME_TIMESTAMP":"…"}` |
| `docker logs -t`, `kubectl logs --timestamps` | `2024-03-10T10:00:00.123456789Z …` |
| `docker compose logs`, `kubectl logs --prefix` | `web-1  | …`, `[pod/web-5d/nginx] …` |
| Filebeat, Vector, Fluent Bit | `{"@timestamp":"…","message":"…"}`, `{"timestamp":…}`, `{"date":…,"log":"…"}` |

What is inside is what nginx wrote: its key is that of the same line in a plain file, if it has a request id.

A long line comes in parts, of CRI-O whatever its buffer ended in: `stdout P …` goes on in the next record of its stream,
as does one of Docker's without its newline (those of who sent them on may all be so). A part alone may be read as another line: `92.0.2.1 - - […` was `192.0.2.1`.
So parts are put together (`Unwrapper`), and a line that is not complete yet is none.
"""

import json
import re
from typing import NamedTuple

from tailtrace_bridge.logs.rejected import LINE_LENGTH_MAX

# ruff: noqa: E501 - patterns

_ISO = rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]{8,18}(?:Z| ?[+-][0-9]{2}:?[0-9]{2}| [A-Z]{3,5})?"
_CRI = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:[0-9]{2}) (std(?:out|err)) ([FP])(?::[^ ]{0,64})? "
)
_STAMP = (
    rb"(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}(?:\.[0-9]{1,9})?|(?:[A-Z][a-z]{2} )?"
    + _ISO
    + rb"|[0-9]{9,11}\.[0-9]{6}|\[ {0,12}[0-9]{1,10}\.[0-9]{6}\])"
)
_LENGTH = rb"(?:[0-9]{1,6} (?=<))?"
_SYSLOG = re.compile(
    _LENGTH
    + rb"(?:<[0-9]{1,3}>)?"
    + _STAMP
    + rb" (?:[^ \"\[\]]{0,254}[^ \"\[\]:] )?[^ \"\[\]:]{1,64}(?:\[[0-9]{1,10}\])?: "
)
_SYSLOG_5424 = re.compile(
    _LENGTH
    + rb"<[0-9]{1,3}>1 [^ ]{1,40} [^ ]{1,255} [^ ]{1,48} [^ ]{1,128} [^ ]{1,32} (?:-|(?:\[(?:[^\]\\]|\\.)*\])+) (?:\xef\xbb\xbf)?"
)
_STAMPED = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6,9}(?:Z|[+-][0-9]{2}:[0-9]{2}) ")
_NAMED = re.compile(rb"\[pod/[^ \[\]]{1,300}\] |[A-Za-z][\w.@-]{0,200} *+\| ")
_BEGINS = re.compile(
    rb"<[0-9]|[0-9]{1,6} <[0-9]|\[ {0,12}[0-9]{1,10}\.[0-9]{6}\] |[A-Z][a-z]{2} |[0-9]{4}-|[0-9]{9,11}\.[0-9]{6} |\[pod/|[A-Za-z][\w.@-]{0,200} *+\| "
)
_TIMES = frozenset({"stream", "time", "@timestamp", "timestamp", "date"})
"""Beside the line, what wrapped it says when or where it came from."""
LAYERS_MAX = 3
"""As of syslog in a container whose runtime writes JSON that a shipper sends on."""
DOCKER_PART_BYTES = 16384
STREAMS_MAX = 16
"""Of one log, in which lines are begun at a time; all are forgotten where more are."""
_REQUEST = re.compile(
    r"\A(?:\{|t[0-9]\t|.*\[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:"
    r"|(?=.* HTTP/).*(?:[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]|[0-9]{9}\.[0-9]{3}))"
)
"""What a line of a log has: a time, and more. A log shipper's own words have not, nor a request among other keys."""


class Inside(NamedTuple):
    """What was put into a record."""

    text: bytes
    stream: str = ""
    goes_on: bool = False
    """It is a part of a line, which goes on in the next record of its stream."""
    newline: bool | None = None
    """Whether the line's own newline is in the record. Docker leaves it in, who sends on its records may not."""


class Unwrapper:
    """Takes the lines of one log out of what is around them, and puts those together that came in parts."""

    def __init__(self) -> None:
        self._parts: dict[str, bytes] = {}
        self._has_newlines = False

    @property
    def has_begun(self) -> bool:
        """Whether a line is not complete yet."""
        return bool(self._parts)

    def take(self, line: bytes) -> bytes | None:
        """Return the whole line that a record completes, or the line where nothing is around it; None: it goes on."""
        inside = unwrap(line)
        if inside is None:
            return line
        text = self._parts.pop(inside.stream, b"") + inside.text
        self._has_newlines |= bool(inside.newline)
        if not (inside.goes_on or (self._has_newlines and inside.newline is False)):
            return text
        if len(self._parts) >= STREAMS_MAX:
            self._parts.clear()
        self._parts[inside.stream] = text[: LINE_LENGTH_MAX + 1]  # the parser rejects it then
        return None


def unwrap_line(line: bytes) -> bytes | None:
    """Return the whole line inside, without its newline; None: it is a part, or nothing is around it that we know."""
    inside = unwrap(line)
    return None if inside is None or inside.goes_on else inside.text


def unwrap(line: bytes) -> Inside | None:
    """Return what is inside; None: nothing is around it that we know."""
    inside = _once(line)
    for _ in range(LAYERS_MAX - 1):
        further = None if inside is None else _once(inside.text)
        if inside is None or further is None:
            break
        stream = f"{inside.stream} {further.stream}".strip()
        inside = Inside(further.text, stream, inside.goes_on or further.goes_on, inside.newline)
    return inside


def _once(line: bytes) -> Inside | None:
    if line.startswith(b"{"):
        return _from_json(line)
    if _BEGINS.match(line) is None:
        return None
    if match := _CRI.match(line):
        return Inside(line[match.end() :], match[1].decode(), match[2] == b"P")
    for pattern in (_SYSLOG_5424, _SYSLOG, _STAMPED, _NAMED):
        if match := pattern.match(line):
            return Inside(line[match.end() :])
    return None


def _from_json(line: bytes) -> Inside | None:  # noqa: PLR0911 - a table
    if not (b'"log"' in line or b'"MESSAGE"' in line or b'"message"' in line):
        return None
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    text = data.get("log")
    if not isinstance(text, str) and isinstance(message := data.get("message"), str) and _REQUEST.search(message):
        text = message
    if isinstance(text, str) and not _TIMES.isdisjoint(data):
        raw = text.rstrip("\r\n").encode("utf-8", "replace")
        if "stream" not in data:
            return Inside(raw)
        has_newline = text.endswith("\n")
        return Inside(raw, str(data["stream"]), not has_newline and len(raw) >= DOCKER_PART_BYTES, has_newline)
    message = data.get("MESSAGE")
    if isinstance(message, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in message):
        return Inside(bytes(message))  # journald's way with what is not UTF-8
    if isinstance(message, str) and "__REALTIME_TIMESTAMP" in data:
        return Inside(message.encode("utf-8", "replace"))
    return None

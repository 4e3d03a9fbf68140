r"""Take a line out of what a container runtime or a system's log put around it. Pure.

| wrapper | looks like |
|---|---|
| Docker's json-file | `{"log":"…\n","stream":"stdout","time":"…"}` |
| CRI (containerd, CRI-O) | `2024-03-10T10:00:00.123456789Z stdout F …`; a part (`P`) of a longer line is no line |
| syslog, RFC 3164 and RFC 5424 | `<190>Mar 10 10:00:00 host nginx: …`, `<190>1 2024-03-10T10:00:00Z host nginx 7 - - …` |
| journald, short and short-iso | `Mar 10 10:00:00 host nginx[7]: …` |
| journald, json | `{"MESSAGE":"…", "__REALTIME_TIMESTAMP":"…"}` |

What is inside is what nginx wrote: its key is that of the same line in a plain file, if it has a request id.
"""

import json
import re

# ruff: noqa: E501 - patterns

_CRI = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:[0-9]{2}) std(?:out|err) F ")
_STAMP = rb"(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}(?:\.[0-9]{1,9})?|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]{8,18}(?:Z|[+-][0-9]{2}:?[0-9]{2})?)"
_SYSLOG = re.compile(
    rb"(?:<[0-9]{1,3}>)?" + _STAMP + rb" (?:[^ \"\[\]:]{1,255} )?[^ \"\[\]:]{1,64}(?:\[[0-9]{1,10}\])?: "
)
_SYSLOG_5424 = re.compile(
    rb"<[0-9]{1,3}>1 [^ ]{1,40} [^ ]{1,255} [^ ]{1,48} [^ ]{1,128} [^ ]{1,32} (?:-|(?:\[(?:[^\]\\]|\\.)*\])+) (?:\xef\xbb\xbf)?"
)
_TIMED = re.compile(rb"<[0-9]|[A-Z][a-z]{2} |[0-9]{4}-")


def unwrap_line(line: bytes) -> bytes | None:
    """Return the line inside, without its newline; None: nothing is around it that we know."""
    if line.startswith(b"{"):
        return _from_json(line)
    if _TIMED.match(line) is None:
        return None
    for pattern in (_CRI, _SYSLOG_5424, _SYSLOG):
        if match := pattern.match(line):
            return line[match.end() :]
    return None


def _from_json(line: bytes) -> bytes | None:
    if not (b'"log"' in line or b'"MESSAGE"' in line):
        return None
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    if isinstance(text := data.get("log"), str) and ("stream" in data or "time" in data):
        return (
            text.rstrip("\r\n").encode("utf-8", "surrogateescape") if text.endswith("\n") or len(text) < 16384 else None
        )
    message = data.get("MESSAGE")
    if isinstance(message, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in message):
        return bytes(message)  # journald's way with what is not UTF-8
    return (
        message.encode("utf-8", "surrogateescape")
        if isinstance(message, str) and "__REALTIME_TIMESTAMP" in data
        else None
    )

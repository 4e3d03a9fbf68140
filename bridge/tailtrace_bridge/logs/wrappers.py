r"""Take a line out of what a container runtime or a system's log put around it. Pure.

| wrapper | looks like |
|---|---|
| Docker's json-file | `{"log":"…\n","stream":"stdout","time":"…"}` |
| CRI (containerd, CRI-O) | `2024-03-10T10:00:00.123456789Z stdout F …`; a part (`P`) of a longer line is no line |
| syslog, RFC 3164 and RFC 5424 | `<190>Mar 10 10:00:00 host nginx: …`, `<190>1 2024-03-10T10:00:00Z host nginx 7 - - …` |
| journald, short and short-iso | `Mar 10 10:00:00 host nginx[7]: …` |
| journald, short-full and short-unix | `Sun 2024-03-10 10:00:00 UTC host nginx[7]: …`, `1710064800.123456 host nginx[7]: …` |
| journald, json | `{"MESSAGE":"…", "__REALTIME_TIMESTAMP":"…"}` |
| `docker logs -t`, `kubectl logs --timestamps` | `2024-03-10T10:00:00.123456789Z …` |
| `docker compose logs`, `kubectl logs --prefix` | `web-1  | …`, `[pod/web-5d/nginx] …` |
| Filebeat, Vector, Fluent Bit | `{"@timestamp":"…","message":"…"}`, `{"timestamp":…}`, `{"date":…,"log":"…"}` |

What is inside is what nginx wrote: its key is that of the same line in a plain file, if it has a request id.
"""

import json
import re

# ruff: noqa: E501 - patterns

_ISO = rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]{8,18}(?:Z| ?[+-][0-9]{2}:?[0-9]{2}| [A-Z]{3,5})?"
_CRI = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:[0-9]{2}) std(?:out|err) F ")
_STAMP = (
    rb"(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}(?:\.[0-9]{1,9})?|(?:[A-Z][a-z]{2} )?" + _ISO + rb"|[0-9]{9,11}\.[0-9]{6})"
)
_SYSLOG = re.compile(
    rb"(?:<[0-9]{1,3}>)?" + _STAMP + rb" (?:[^ \"\[\]]{0,254}[^ \"\[\]:] )?[^ \"\[\]:]{1,64}(?:\[[0-9]{1,10}\])?: "
)
_SYSLOG_5424 = re.compile(
    rb"<[0-9]{1,3}>1 [^ ]{1,40} [^ ]{1,255} [^ ]{1,48} [^ ]{1,128} [^ ]{1,32} (?:-|(?:\[(?:[^\]\\]|\\.)*\])+) (?:\xef\xbb\xbf)?"
)
_STAMPED = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6,9}(?:Z|[+-][0-9]{2}:[0-9]{2}) ")
_NAMED = re.compile(rb"\[pod/[^ \[\]]{1,300}\] |[A-Za-z][\w.@-]{0,200} *+\| ")
_BEGINS = re.compile(rb"<[0-9]|[A-Z][a-z]{2} |[0-9]{4}-|[0-9]{9,11}\.[0-9]{6} |\[pod/|[A-Za-z][\w.@-]{0,200} *+\| ")
_TIMES = frozenset({"stream", "time", "@timestamp", "timestamp", "date"})
"""Beside the line, what wrapped it says when or where it came from."""
LAYERS_MAX = 3
"""As of syslog in a container whose runtime writes JSON that a shipper sends on."""
DOCKER_PART_CHARS = 16384
_REQUEST = re.compile(r" HTTP/|\A\{|\At[0-9]\t|\[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:")
"""What a line of a log has, and a log shipper's own words have not."""


def unwrap_line(line: bytes) -> bytes | None:
    """Return the line inside, without its newline; None: nothing is around it that we know."""
    inside = _once(line)
    for _ in range(LAYERS_MAX - 1):
        further = None if inside is None else _once(inside)
        if further is None:
            break
        inside = further
    return inside


def _once(line: bytes) -> bytes | None:
    if line.startswith(b"{"):
        return _from_json(line)
    if _BEGINS.match(line) is None:
        return None
    for pattern in (_CRI, _SYSLOG_5424, _SYSLOG, _STAMPED, _NAMED):
        if match := pattern.match(line):
            return line[match.end() :]
    return None


def _from_json(line: bytes) -> bytes | None:
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
        is_part = "stream" in data and not text.endswith("\n") and len(text) >= DOCKER_PART_CHARS
        return None if is_part else text.rstrip("\r\n").encode("utf-8", "replace")
    message = data.get("MESSAGE")
    if isinstance(message, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in message):
        return bytes(message)  # journald's way with what is not UTF-8
    return message.encode("utf-8", "replace") if isinstance(message, str) and "__REALTIME_TIMESTAMP" in data else None

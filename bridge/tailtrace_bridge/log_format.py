r"""Compile an nginx `log_format` string into a parser.

The rules, from https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format:

* `$name` or `${name}` is a variable, everything else is literal text.
* `escape=default` (the default) writes `"`, `\`, control characters and bytes ≥ 0x80 of a value as `\xHH`;
  `escape=json` writes JSON's escapes and leaves bytes ≥ 0x80 raw; `escape=none` changes nothing.
* A variable without a value prints `-` under `default` and nothing under the other two.

A value ends where the literal text after its variable first occurs. Each piece of the pattern is an atomic group, so
that a line is matched in one pass whatever an attacker puts into it: there is nothing to backtrack into.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tailtrace_bridge.errors import FormatError

TAILTRACE_FIELDS = (
    "msec",
    "request_id",
    "tailtrace_trace_id",
    "tailtrace_span_id",
    "remote_addr",
    "request_method",
    "request_uri",
    "server_protocol",
    "status",
    "bytes_sent",
    "request_time",
    "upstream_addr",
    "upstream_status",
    "upstream_response_time",
    "server_name",
    "http_referer",
    "http_user_agent",
)
"""The variables of our own format, in order. Each is a JSON string under its own name."""

TAILTRACE_FORMAT = "escape=json {" + ",".join(f'"{name}":"${name}"' for name in TAILTRACE_FIELDS) + "}"
COMBINED_FORMAT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
)
COMMON_FORMAT = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent'
NAMED_FORMATS = {"tailtrace": TAILTRACE_FORMAT, "combined": COMBINED_FORMAT, "common": COMMON_FORMAT}

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_ESCAPE = re.compile(r"\s*escape=(\w+)\s*")
_HEX_ESCAPE = re.compile(r"\\x([0-9A-Fa-f]{2})")
_JSON_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_JSON_CHARS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

# Values that hold no space: for these, two variables may stand with only a space between them.
_ONE_WORD = re.compile(
    r"(remote_addr|remote_port|realip_remote_addr|server_addr|server_port|server_name|status|msec|request_id"
    r"|request_time|request_length|request_method|bytes_sent|body_bytes_sent|connection|connection_requests|pipe"
    r"|time_iso8601|scheme|host|server_protocol|tailtrace_\w+)$"
)


@dataclass(frozen=True, slots=True)
class LogFormat:
    """A compiled format: `match(line)` gives the values of `names` in order, or None."""

    source: str
    names: tuple[str, ...]
    pattern: re.Pattern[str]
    unescape: Callable[[str], str]
    """Undo the escaping of one value; called only for values with a backslash."""


def _unescape_default(value: str) -> str:
    # nginx escapes byte by byte, so a multi-byte character comes back from its bytes.
    raw = _HEX_ESCAPE.sub(lambda match: chr(int(match[1], 16)), value)
    try:
        return raw.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # characters that nginx left raw stand beside escaped ones
        return raw


def _json_char(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return _JSON_CHARS.get(code, code)


def _unescape_json(value: str) -> str:
    return _JSON_ESCAPE.sub(_json_char, value)


_UNESCAPE: dict[str, Callable[[str], str]] = {
    "default": _unescape_default,
    "json": _unescape_json,
    "none": str,
}


def compile_format(source: str) -> LogFormat:
    """Compile `source`, a `log_format` string with an optional leading `escape=…`, or one of `NAMED_FORMATS`.

    Raises `FormatError` where two variables stand side by side, a name is used twice, or there is none.
    """
    text = NAMED_FORMATS.get(source, source)
    escape = "default"
    if found := _ESCAPE.match(text):
        escape = found[1]
        text = text[found.end() :]
    if escape not in _UNESCAPE:
        raise FormatError(f"log format: escape={escape} is none of {', '.join(_UNESCAPE)}: {source!r}")
    names, literals = _split(text, source)
    parts = [re.escape(literals[0])]
    for position, name in enumerate(names):
        follower = literals[position + 1]
        last = position == len(names) - 1
        if not follower and not last:
            raise FormatError(f"log format: ${name} and ${names[position + 1]} need text between them: {source!r}")
        parts.append(f"(?>{_value_pattern(name, follower, escape)}{re.escape(follower)})")
    return LogFormat(source, names, re.compile("".join(parts), re.DOTALL), _UNESCAPE[escape])


def _split(text: str, source: str) -> tuple[tuple[str, ...], list[str]]:
    """Give the variables and the literal texts around them (one more than there are variables)."""
    names: list[str] = []
    literals: list[str] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        literals.append(text[end : match.start()])
        names.append(match[1] or match[2])
        end = match.end()
    literals.append(text[end:])
    if not names:
        raise FormatError(f"log format: no $variable in it: {source!r}")
    if twice := {name for name in names if names.count(name) > 1}:
        raise FormatError(f"log format: ${min(twice)} stands in it twice: {source!r}")
    return tuple(names), literals


def _value_pattern(name: str, follower: str, escape: str) -> str:
    if not follower:
        return "(.*)"
    end = re.escape(follower[0])
    if follower[0] == '"' and escape == "json":
        return r'([^"\\]*(?:\\.[^"\\]*)*)'
    if follower[0] == '"' and escape == "default":
        return '([^"]*)'
    if _ONE_WORD.match(name):
        return f"([^ {end}]*)"
    return f"(.*?)(?={re.escape(follower)})"

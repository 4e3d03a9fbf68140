r"""Compile an nginx `log_format` string into a pattern.

The rules, from https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format:

* `$name` or `${name}` is a variable, everything else is literal text.
* `escape=default` (the default) writes `"`, `\`, control characters and bytes ≥ 0x7F of a value as `\xHH`. Apache
  writes `\"`, `\\` and `\n` for some of them; as nginx leaves no bare backslash, both are read;
  `escape=json` writes JSON's escapes and leaves bytes ≥ 0x80 raw; `escape=none` changes nothing.
* A variable without a value prints `-` under `default` and nothing under the other two.

What may be given:

| text | is |
|---|---|
| `combined`, `common`, `tailtrace` | a known format's name |
| `log_format main escape=json '…' '…';` or only `'…' '…'` | the statement of nginx.conf: its strings are joined |
| anything else | the format itself, perhaps after `escape=…` |

Where a value ends:

| variable | ends |
|---|---|
| between double quotes | at the first quote without a backslash before it: the escaping leaves none in the value |
| one that prints one word (`$status`) | at the first space, or at the text that follows |
| a list (`$upstream_addr` prints `a, b : c`) | after its last item |
| any other | where the text that follows first occurs |

Each variable is an atomic group, so a line is matched in one pass whatever an attacker puts into it: there is nothing
to backtrack into.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from json import JSONDecoder

from tailtrace_bridge.core.errors import FormatError

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
    "http_tailscale_user_login",
    "http_tailscale_funnel_request",
)
"""The variables of our own format, in order. Each is a JSON string under its own name."""
SERVE_FIELDS = 2
"""The last fields, which `tailscale serve` fills. Lines of the format before it had them are still read."""


def _json_format(names: tuple[str, ...]) -> str:
    return "escape=json {" + ",".join(f'"{name}":"${name}"' for name in names) + "}"


TAILTRACE_FORMAT = _json_format(TAILTRACE_FIELDS)
TAILTRACE_FORMAT_WITHOUT_SERVE = _json_format(TAILTRACE_FIELDS[:-SERVE_FIELDS])
COMBINED_FORMAT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
)
COMMON_FORMAT = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent'
NAMED_FORMATS = {"tailtrace": TAILTRACE_FORMAT, "combined": COMBINED_FORMAT, "common": COMMON_FORMAT}

FORMAT_LENGTH_MAX = 16 * 1024
"""nginx itself reads no statement longer than its 4 KiB buffer; a longer one is a mistake and would compile slowly."""

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+)|)")
_STATEMENT = re.compile(r"\s*log_format\s+[^\s;'\"]+\s+")
_ESCAPE = re.compile(r"\s*escape=(\w+)\s*")
_QUOTED = re.compile(r"""\s*(?:#[^\n]*\n\s*)*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""", re.DOTALL)
_STATEMENT_END = re.compile(r"\s*(?:#[^\n]*\n\s*)*;?\s*")
_CONF_ESCAPE = re.compile(r"\\([\"'\\trn])")
_CONF_CHARS = {"t": "\t", "r": "\r", "n": "\n"}

QUOTED_VALUE = r'(?:[^"]*(?<!\\)|[^"\\]*(?:\\.[^"\\]*)*)'
"""What stands between two quotes where a value's own have a backslash before them. It can end in one place only.

The first half is the same for a value that has none, and takes half the time.
"""

_DEFAULT_ESCAPE = re.compile(rb'\\(?:x[0-9A-Fa-f]{2}|["\\bnrtv])')
_DEFAULT_BYTES = {
    rb"\"": b'"',
    rb"\\": b"\\",
    rb"\b": b"\b",
    rb"\n": b"\n",
    rb"\r": b"\r",
    rb"\t": b"\t",
    rb"\v": b"\v",
} | {
    rb"\x%c%c" % (high, low): bytes.fromhex(chr(high) + chr(low))
    for high in b"0123456789ABCDEFabcdef"
    for low in b"0123456789ABCDEFabcdef"
}
"""Each escape whole: a line may have tens of thousands, and one look-up for each is all that it costs."""
_JSON_ESCAPE = re.compile(
    r"\\(?:u([0-9A-Fa-f]{4})(?:(?<=d[89ab]..)\\u(d[c-f][0-9a-f]{2}))?|(.))", re.DOTALL | re.IGNORECASE
)
_JSON_CONTROLS = {rf"\u{code:04{case}}": chr(code) for code in range(0x20) for case in "xX"} | {r"\\": "\\", r"\"": '"'}
"""What a stranger makes nginx write, tens of thousands of times in a line."""
_JSON_STRING = JSONDecoder(strict=False).decode
_JSON_CHARS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

_ONE_WORD = re.compile(
    r"(?:remote_addr|remote_port|realip_remote_addr|server_addr|server_port|server_name|status|msec|request_id"
    r"|request_time|request_length|request_method|bytes_sent|body_bytes_sent|connection|connection_requests|pipe"
    r"|time_iso8601|scheme|host|http_host|server_protocol|tailtrace_\w+)"
)
_LIST = re.compile(r"upstream_\w+|http_x_forwarded_for|proxy_add_x_forwarded_for")
_SHAPES = {
    "time_local": r"\S*?(?: [+-][0-9]{4})?",
    "request": r"[^ ]*(?: [^ ]* HTTP/[0-9.]+)?",
}
"""Values that hold spaces and are known by their form; used where a space follows them."""
_BESIDE = {
    ("host", "request_uri"): r"[^/ ]*",
    ("host", "uri"): r"[^/ ]*",
    ("http_host", "request_uri"): r"[^/ ]*",
    ("server_name", "request_uri"): r"[^/ ]*",
    ("uri", "is_args"): r"[^? ]*",
    ("is_args", "args"): r"\??",
    ("is_args", "query_string"): r"\??",
}
"""Pairs that may stand side by side, as in `$host$request_uri`: what the first of them looks like."""


@dataclass(frozen=True, slots=True)
class LogFormat:
    """A compiled format: `pattern` matches a whole line, and its group i + 1 is the value of `names[i]`.

    The last group is always empty: what asks for a variable that the format lacks reads that one.
    """

    source: str
    names: tuple[str, ...]
    pattern: re.Pattern[str]
    unescape: Callable[[str], str]
    """Undo the escaping of one value; only a value with a backslash needs it."""


def unescape_default(value: str) -> str:
    r"""Undo `escape=default`, and Apache's escapes (https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#formats).

    Both escape byte by byte, so a character comes back from its bytes: `\xC3\xA9` is é.
    """
    raw = value.encode("utf-8", "surrogateescape")
    return _DEFAULT_ESCAPE.sub(lambda match: _DEFAULT_BYTES[match[0]], raw).decode("utf-8", "surrogateescape")


def unescape_json(value: str) -> str:
    """Undo `escape=json`. A lone surrogate, which is no character, becomes U+FFFD.

    Python's JSON reader is the faster one where no character is written as a number; what is no JSON it refuses.
    """
    if "\\u" not in value:
        try:
            return _JSON_STRING(f'"{value}"')  # type: ignore[no-any-return]
        except ValueError:
            pass
    return _JSON_ESCAPE.sub(_json_char, value)


def _json_char(match: re.Match[str]) -> str:
    if (known := _JSON_CONTROLS.get(match[0])) is not None:
        return known
    code, low, char = match.groups()
    if char is not None:
        return _JSON_CHARS.get(char, char)
    if low is not None:
        return chr(0x10000 + ((int(code, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    point = int(code, 16)
    return "\ufffd" if 0xD800 <= point <= 0xDFFF else chr(point)


_UNESCAPE: dict[str, Callable[[str], str]] = {"default": unescape_default, "json": unescape_json, "none": str}


def compile_format(source: str) -> LogFormat:
    """Compile `source`: a format's name, a `log_format` statement, or a format string; see the head of this file.

    Raises `FormatError` where no variable is in it, where nginx would refuse it, or where two variables stand side by
    side and nothing tells where the first of them ends.
    """
    if len(source) > FORMAT_LENGTH_MAX:
        raise FormatError(f"log format: {len(source)} characters; at most {FORMAT_LENGTH_MAX}: {source[:80]!r}…")
    escape, text = _read_statement(NAMED_FORMATS.get(source, source), source)
    if escape not in _UNESCAPE:
        raise FormatError(f"log format: escape={escape} is none of {', '.join(_UNESCAPE)}: {source!r}")
    names, literals = _split(text, source)
    parts = [re.escape(literals[0])]
    captured: dict[str, None] = {}
    for position, name in enumerate(names):
        follower = literals[position + 1]
        after = names[position + 1] if position + 1 < len(names) else None
        value = _value_pattern(name, literals[position], follower, after, escape)
        if value is None:
            raise FormatError(f"log format: ${name} and ${after} need text between them: {source!r}")
        # A variable that stands in the format twice is read where it stands first.
        group = f"({value})" if name not in captured else f"(?:{value})"
        captured[name] = None
        parts.append(f"(?>{group}{re.escape(follower)})")
    return LogFormat(source, tuple(captured), re.compile("".join(parts) + "()", re.DOTALL), _UNESCAPE[escape])


def _read_statement(text: str, source: str) -> tuple[str, str]:
    """Return the escaping and the format text of what stands in nginx.conf, or of a bare format."""
    statement = _STATEMENT.match(text)
    position = statement.end() if statement else 0
    escape = "default"
    if found := _ESCAPE.match(text, position):
        escape, position = found[1], found.end()
    if not statement and not text[position:].lstrip().startswith("'"):
        return escape, text[position:]
    strings = []
    while quoted := _QUOTED.match(text, position):
        strings.append(quoted[1] if quoted[1] is not None else quoted[2])
        position = quoted.end()
    if not _STATEMENT_END.fullmatch(text, position):
        raise FormatError(f"log format: expected '…' or ; at {text[position : position + 40]!r} in {source!r}")
    joined = "".join(strings)
    return escape, _CONF_ESCAPE.sub(lambda match: _CONF_CHARS.get(match[1], match[1]), joined)


def _split(text: str, source: str) -> tuple[list[str], list[str]]:
    """Return the variables and the literal texts around them (one more than there are variables)."""
    names: list[str] = []
    literals: list[str] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        name = match[1] or match[2]
        if not name:
            raise FormatError(f"log format: $ without a variable's name at {text[match.start() :][:40]!r}: {source!r}")
        literals.append(text[end : match.start()])
        names.append(name)
        end = match.end()
    literals.append(text[end:])
    if not names:
        raise FormatError(f"log format: no $variable in it: {source!r}")
    return names, literals


def _value_pattern(name: str, leader: str, follower: str, after: str | None, escape: str) -> str | None:
    """Return what a value looks like between two texts, or None where its end cannot be told."""
    if not follower:
        return _BESIDE.get((name, after)) if after else ".*"
    end = re.escape(follower[0])
    if follower[0] == '"' and leader.endswith('"') and escape != "none":
        return QUOTED_VALUE
    if _ONE_WORD.fullmatch(name):
        return f"[^ {end}]*"
    if _LIST.fullmatch(name) and follower[0] not in ",:":
        return f"[^ ,{end}]*(?:(?:, | : )[^ ,{end}]*)*"
    if name in _SHAPES and follower[0] == " ":
        return f"{_SHAPES[name]}(?={re.escape(follower)})"
    return f".*?(?={re.escape(follower)})"

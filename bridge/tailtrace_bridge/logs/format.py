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

Where a value ends is what `grammar` says.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from json import JSONDecoder

from tailtrace_bridge.core.errors import FormatError
from tailtrace_bridge.logs.grammar import second_request, value_pattern

TAILTRACE_MARK = "t3"
"""What a line of our own format begins with; the number grows when the fields, or what they mean, change."""
TAILTRACE_FRONT = (
    "msec",
    "request_id",
    "tailtrace_inbound_trace_id",
    "tailtrace_inbound_span_id",
    "tailtrace_flags",
    "remote_addr",
    "remote_port",
    "realip_remote_addr",
    "tailtrace_proxied",
    "request_method",
    "request_uri",
    "status",
    "bytes_sent",
    "request_time",
    "server_name",
    "http_user_agent",
    "http_tailscale_user_login",
    "http_tailscale_funnel_request",
    "upstream_http_x_tailtrace",
)
"""The variables of our own format that each row is made of, in order."""
TAILTRACE_EXCHANGE = (
    "upstream_cache_status",
    "upstream_addr",
    "upstream_response_time",
    "upstream_status",
    "upstream_connect_time",
    "upstream_header_time",
    "upstream_response_length",
    "upstream_http_content_length",
    "server_protocol",
    "scheme",
    "request_length",
    "body_bytes_sent",
    "http_host",
)
"""Those behind them, which tell how the exchange went: kept as they stand (`Access.exchange`) for who needs them.

The client's own text is last: where it is long, it alone is cut."""
EXCHANGE_READ = 3
"""As many of these, from the first on, go into each row too."""
TAILTRACE_FIELDS = (*TAILTRACE_FRONT, *TAILTRACE_EXCHANGE)

_JSON_FIELDS = (
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
_SERVE_FIELDS = 2
"""The last of these, which `tailscale serve` fills: older lines lack them."""


def _json_format(names: tuple[str, ...]) -> str:
    return "escape=json {" + ",".join(f'"{name}":"${name}"' for name in names) + "}"


TAILTRACE_FORMAT = "escape=json " + "\t".join((TAILTRACE_MARK, *(f"${name}" for name in TAILTRACE_FIELDS)))
"""Tabs between values: `escape=json` leaves none in a value, and what is empty takes one byte.

Not in it is what follows from the rest: the trace id is the inbound one or `$request_id`; the span id is
`ROOT_SPAN_ID`, or with an inbound trace the second half of `$request_id`.
"""
_HALF_MARK = "t2"
"""Of lines with the same fields from before, whose span id always is that half."""
TAILTRACE_FORMATS_BEFORE = (_json_format(_JSON_FIELDS), _json_format(_JSON_FIELDS[:-_SERVE_FIELDS]))
"""What our include files had nginx write still before, newest first. Such lines are read as well."""
UNTRUSTED_FIELDS = {"tailtrace_inbound_trace_id": "", "tailtrace_inbound_span_id": ""}
"""What stands in place of these variables where no peer hands a trace over: nginx need not ask for them."""
COMBINED_FORMAT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
)
COMMON_FORMAT = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent'
NAMED_FORMATS = {"tailtrace": TAILTRACE_FORMAT, "combined": COMBINED_FORMAT, "common": COMMON_FORMAT}

FORMAT_LENGTH_MAX = 16 * 1024
"""nginx itself reads no statement longer than its 4 KiB buffer; a longer one is a mistake and would compile slowly."""

_APP_HEADER = re.compile(r"\$upstream_http_\w+")
_FLAGS = re.compile(r"0[01]|\$tailtrace_own_flags")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+)|)")
_STATEMENT = re.compile(r"\s*log_format\s+[^\s;'\"]+\s+")
_ESCAPE = re.compile(r"\s*escape=(\w+)\s*")
_QUOTED = re.compile(r"""\s*(?:#[^\n]*\n\s*)*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""", re.DOTALL)
_STATEMENT_END = re.compile(r"\s*+(?:#[^\n]*\n\s*+)*+;?\s*+")
_CONF_ESCAPE = re.compile(r"\\([\"'\\trn])")
_CONF_CHARS = {"t": "\t", "r": "\r", "n": "\n"}

_DEFAULT_ESCAPE = re.compile(rb'\\(?:x[0-9A-Fa-f]{2}|["\\bnrtv])')
_DEFAULT_ESCAPES_ONLY = re.compile(rb'(?:[^\\]++|\\(?:x[0-9A-Fa-f]{2}|["\\bnrtv]))*+')
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
"""What any client makes nginx write, tens of thousands of times in a line."""
_JSON_STRING = JSONDecoder(strict=False).decode
_JSON_CHARS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


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
    guards: tuple[tuple[int, re.Pattern[str]], ...] = ()
    """Groups whose value must not hold what is found by this: the beginning of another line."""
    name: str = "given"
    """What it is called where it is shown."""


def unescape_default(value: str) -> str:
    r"""Undo `escape=default`, and Apache's escapes (https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#formats).

    Both escape byte by byte, so a character comes back from its bytes: `\xC3\xA9` is é.
    """
    raw = value.encode("utf-8", "surrogateescape")
    # Python has these escapes too, and takes a quarter of the time; nginx itself writes `\x` alone.
    if value.count("\\") == value.count("\\x") or _DEFAULT_ESCAPES_ONLY.fullmatch(raw):
        try:
            return raw.decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")
        except UnicodeDecodeError:  # what follows an `x` is no hex
            pass
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


def compile_format(source: str, name: str = "") -> LogFormat:
    """Compile `source`: a format's name, a `log_format` statement, or a format string; see the head of this file.

    Raises `FormatError` where no variable is in it, where nginx would refuse it, or where two variables stand side by
    side and nothing tells where the first of them ends.
    """
    if len(source) > FORMAT_LENGTH_MAX:
        raise FormatError(f"log format: {len(source)} characters; at most {FORMAT_LENGTH_MAX}: {source[:80]!r}…")
    escape, text = read_statement(NAMED_FORMATS.get(source, source), source)
    if is_tailtrace_format(escape, text):
        return _own_format(source)
    if escape not in _UNESCAPE:
        raise FormatError(f"log format: escape={escape} is none of {', '.join(_UNESCAPE)}: {source!r}")
    names, literals = split_format(text, source)
    literals[-1] = literals[-1].rstrip(" \t")  # editors take blanks at the end of a line off, and `[ \t\r]*` reads both
    parts = [re.escape(literals[0])]
    captured: dict[str, None] = {}
    guards: list[tuple[int, re.Pattern[str]]] = []
    for index, variable in enumerate(names):
        follower = literals[index + 1]
        value = value_pattern(index, names, literals, escape)
        if value is None:
            beside = names[index + 1]
            raise FormatError(f"log format: ${variable} and ${beside} need text between them: {source!r}")
        # A variable that stands in the format twice is read where it stands first.
        group = f"({value})" if variable not in captured else f"(?:{value})"
        if variable not in captured:
            guards += [(len(captured) + 1, guard) for guard in second_request(index, names, literals, escape)]
        captured[variable] = None
        parts.append(f"(?>{group}{re.escape(follower)})")
    return LogFormat(
        source,
        tuple(captured),
        re.compile("".join(parts) + r"[ \t\r]*()", re.DOTALL),
        _UNESCAPE[escape],
        tuple(guards),
        name or (source if source in NAMED_FORMATS else "given"),
    )


def is_tailtrace_format(escape: str, text: str) -> bool:
    """Return whether a `log_format` is our own, whatever the app's header is called, with or without trusted peers."""
    pieces = _APP_HEADER.sub("$upstream_http_x_tailtrace", text, count=1).split("\t")
    return (
        escape == "json"
        and len(pieces) == len(TAILTRACE_FIELDS) + 1
        and pieces[0] in {TAILTRACE_MARK, _HALF_MARK}
        and all(
            piece == f"${name}"
            or piece == UNTRUSTED_FIELDS.get(name)
            or (name == "tailtrace_flags" and _FLAGS.fullmatch(piece))
            for piece, name in zip(pieces[1:], TAILTRACE_FIELDS, strict=True)
        )
    )


def _own_format(source: str) -> LogFormat:
    """Return our own format; its last group but one, `exchange`, holds the values of `TAILTRACE_EXCHANGE` with tabs."""
    value = r"(?>([^\t]*)\t)"
    rest = r"\t".join([r"[^\t]*"] * (len(TAILTRACE_EXCHANGE) - EXCHANGE_READ))
    marks = rf"(?:({TAILTRACE_MARK})|{_HALF_MARK})"
    pattern = rf"{marks}\t{value * len(TAILTRACE_FRONT)}({value * EXCHANGE_READ}(?>{rest}))()"
    names = ("tailtrace_mark", *TAILTRACE_FRONT, "exchange", *TAILTRACE_EXCHANGE[:EXCHANGE_READ])
    return LogFormat(source, names, re.compile(pattern), unescape_json, name="tailtrace")


def read_statement(text: str, source: str) -> tuple[str, str]:
    """Return the escaping and the format text of what stands in nginx.conf, or of a bare format."""
    statement = _STATEMENT.match(text)
    position = statement.end() if statement else 0
    escape = "default"
    if found := _ESCAPE.match(text, position):
        escape, position = found[1], found.end()
    if not statement and not text[position:].lstrip().startswith("'"):
        # Pasted without its quotes: nginx reads `\\t` and `\\"` there as it does between them.
        return escape, _CONF_ESCAPE.sub(lambda match: _CONF_CHARS.get(match[1], match[1]), text[position:])
    strings = []
    while quoted := _QUOTED.match(text, position):
        strings.append(quoted[1] if quoted[1] is not None else quoted[2])
        position = quoted.end()
    if not _STATEMENT_END.fullmatch(text, position):
        raise FormatError(f"log format: expected '…' or ; at {text[position : position + 40]!r} in {source!r}")
    joined = "".join(strings)
    return escape, _CONF_ESCAPE.sub(lambda match: _CONF_CHARS.get(match[1], match[1]), joined)


def split_format(text: str, source: str) -> tuple[list[str], list[str]]:
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

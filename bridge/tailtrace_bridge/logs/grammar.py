r"""What nginx can write for a variable, and so where its value ends. Pure.

| variable | alphabet | ends |
|---|---|---|
| a word (`$status`, `$remote_addr`, `$host`) | no blank, no bare quote | at the first blank, or where the next begins |
| a method | letters, `_`, `-` | at the first that is none |
| a port (`$remote_port`, `$server_port`) | digits | at the first that is none |
| a list (`$upstream_addr` prints `a, b : c`) | words with `, ` or ` : ` between them | after its last item |
| a time (`$time_local`) | its own shape | likewise |
| anything between two quotes | no bare quote | at the quote |
| open: what a client or an app chooses, and what is unknown | what the escaping lets through | before what follows |

"What follows" an open value is the format up to the next open one, where it stands first; if that is the end of the
format, all of it must fit to the end of the line.

A time or a duration that ends the line must be whole: of one that was cut, `0.1` and no zone are left.

Where two lines were glued (a full disk, a crash), an open value holds the beginning of the second line, and the address
before it is another person's. `second_request` makes what finds that: the part of the format that stands before the
open value, inside of the value. Who chooses such a value on purpose has their line rejected, and that is counted.

Each value is an atomic group, and what is looked for behind it is bounded: a line costs time by its length.
"""

import re
from collections.abc import Sequence

QUOTED_VALUE = r'(?>[^"]*+(?<!\\)|[^"\\]*+(?:\\.[^"\\]*+)*+)'
"""What stands between two quotes where a value's own have a backslash before them. It can end in one place only.

The first half is the same for a value that has none, and takes half the time. Nothing is given back: of a value that
does not end, each character would be tried as its last.
"""

_ADDRESSES = re.compile(r"(?:remote|server|realip_remote|proxy_protocol|proxy_protocol_server)_addr")
_NUMBERS = re.compile(
    r"(?:request_length|bytes_sent|body_bytes_sent|connection|connection_requests|content_length|pid|status)"
)
_DECIMALS = re.compile(r"(?:request_time|gzip_ratio|connection_time)")
_PORTS = re.compile(r"(?:remote|server|realip_remote|proxy_protocol|proxy_protocol_server)_port")
METHOD = r"[A-Za-z_-]*"
PORT = r"(?:[0-9]{0,5}|-)"
_WORDS = re.compile(
    r"msec|request_id|request_method|pipe|time_iso8601|scheme|https|host|server_name|server_protocol|hostname"
    r"|nginx_version|request_completion|connections_\w+|ssl_protocol|ssl_cipher|ssl_session_reused|ssl_session_id"
    r"|upstream_cache_status|http2|http3|tcpinfo_\w+|binary_remote_addr|geoip_country_code|column_word_\w+"
    r"|tailtrace_\w+"
)
_LISTS = re.compile(
    r"(?:upstream_(?:addr|status|\w+_time|response_length|bytes_sent|bytes_received)|proxy_upstream_addr|column_list_\w+)"
)
_DURATIONS = re.compile(r"(?:request|connection|upstream_\w+)_time")
_FORWARDED = frozenset({"http_x_forwarded_for", "proxy_add_x_forwarded_for", "http_x_real_ip"})

ADDRESS = r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{1,44}|unix:)"
"""What an address looks like in running text."""
_NO_VERSION = (
    "(?:(?<=[0-9]/[A-Z][a-z][a-z]/)|" + "".join(rf"(?<![A-Za-z]/[0-9]{{{digits}}})" for digits in range(3)) + ")"
)
"""Not of `Chrome/120.0.0.0`, where nothing but blanks stands behind the address; a date's month is no browser."""
TIMES = {
    "time_local": r"[0-9]{2}/[A-Za-z]{3}/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-9]{2}(?: [+-][0-9]{4})?",
    "time_iso8601": r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]{8,18}(?:Z|[+-][0-9]{2}:?[0-9]{2})?",
    "msec": r"[0-9]{9,12}\.[0-9]{1,9}",
}
_WHOLE_TIMES = TIMES | {
    "time_local": r"[0-9]{1,2}/[^/ ]{2,9}/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4}",
    "msec": r"[0-9]{1,12}\.[0-9]{3,9}",
}
WHOLE_SECONDS = r"[0-9]{1,10}\.[0-9]{3,9}"
_WHOLE_DURATION = rf"(?:{WHOLE_SECONDS}|[0-9]{{1,9}}ms|-)"
_SHAPES = {
    "time_local": r"\S*?(?: [+-][0-9]{4})?",
    "request": r"[^ ]*(?: [^ ]* HTTP/[0-9.]+)?",
}
_BESIDE = {
    ("host", "request_uri"): r"[^/ ]*",
    ("host", "uri"): r"[^/ ]*",
    ("http_host", "request_uri"): r"[^/ ]*",
    ("http_host", "uri"): r"[^/ ]*",
    ("server_name", "request_uri"): r"[^/ ]*",
    ("server_name", "uri"): r"[^/ ]*",
    ("server_port", "request_uri"): r"[0-9]*",
    ("server_port", "uri"): r"[0-9]*",
    ("is_args", "args"): r"\??",
    ("is_args", "query_string"): r"\??",
}
"""Pairs that may stand side by side, as in `$host$request_uri`: what the first of them looks like."""
_TELLING = frozenset({*TIMES, "request_method"})
"""What stands behind an address in a line, and not in what a browser says of itself."""
NORMALIZED = frozenset({"uri", "document_uri"})
"""What nginx prints with its escapes undone, and as a rewrite, an index or an error page left it."""

_ANYTHING = {
    "default": r'[^"\x00-\x1f]',
    "json": r'(?:[^"\\\x00-\x1f]|\\.)',
    "none": r".",
}
"""What the escaping lets stand in a value."""
_NEVER = {"default": re.compile(r'["\x00-\x1f]'), "json": re.compile(r'["\x00-\x1f]'), "none": re.compile(r"(?!)")}
"""What it never lets through: where such a text follows, nobody can forge the end of the value."""
ERROR_LOG = re.compile(
    r"[0-9]{4}(?:/[0-9]{2}){2} [0-9]{2}(?::[0-9]{2}){2} "
    r"\[(?:debug|info|notice|warn|error|crit|alert|emerg)\] [0-9]{1,10}#[0-9]{1,10}: "
)
"""How a line of nginx's other log begins (`ngx_log_error_core`)."""
WORDS_LENGTH_MIN = 8
"""Of a format's own words before its first address or time: `status=` and more."""
STRICT_LENGTH_MAX = 600
"""Characters of the pattern that is looked for behind an open value."""


def is_word(name: str) -> bool:
    """Whether nginx writes one word for the variable, whatever a client sends."""
    return any(kind.fullmatch(name) for kind in (_WORDS, _NUMBERS, _DECIMALS, _ADDRESSES, _PORTS))


def is_port(name: str) -> bool:
    """Whether nginx writes a port's number for the variable."""
    return _PORTS.fullmatch(name) is not None


def is_list(name: str) -> bool:
    """Whether nginx writes one item for each upstream that it tried."""
    return _LISTS.fullmatch(name) is not None


def is_open(name: str) -> bool:
    """Whether a client, an app or a configuration chooses the value, blanks and all."""
    return name != "time_local" and not is_word(name) and not is_list(name)


def is_quoted(leader: str, follower: str, escape: str) -> bool:
    """Whether a value stands between two quotes that its own cannot be taken for."""
    return follower.startswith('"') and leader.endswith('"') and escape != "none"


def strict(name: str) -> str | None:  # noqa: C901, PLR0911 - a table
    """Return what a well-formed value looks like, bounded in length; None for an open value."""
    if name in TIMES:
        return TIMES[name]
    if _ADDRESSES.fullmatch(name):
        return rf"(?:{ADDRESS}|-|)"
    if _PORTS.fullmatch(name):
        return PORT
    if name == "status":
        return r"(?:[0-9]{3}|-)"
    if _NUMBERS.fullmatch(name):
        return r"(?:[0-9]{1,20}|-|)"
    if _DECIMALS.fullmatch(name):
        return r"(?:[0-9]{1,10}(?:\.[0-9]{1,9})?|-|)"
    if is_list(name):
        item = r"[^ ,\"\t]{1,64}" if name.endswith(("addr", "list")) else r"(?:-|[0-9.]{1,16})"
        return rf"(?:{item}(?:(?:, | : ){item}){{0,15}}|)"
    if name == "request_id":
        return r"(?:[0-9a-f]{1,64}|-|)"
    if name == "request_method":
        return r"(?:[A-Z_-]{1,32}|)"
    if name == "scheme":
        return r"(?:https?|-|)"
    return r'[^ "\t]{0,256}' if is_word(name) else None


def whole_at_end(name: str) -> str | None:
    """Return what a value looks like that ends its line, where a part of it could be taken for another."""
    if name in _WHOLE_TIMES:
        return _WHOLE_TIMES[name]
    if not _DURATIONS.fullmatch(name):
        return None
    return rf"{_WHOLE_DURATION}(?:(?:, | : ){_WHOLE_DURATION})*" if is_list(name) else _WHOLE_DURATION


def value_pattern(  # noqa: C901, PLR0911, PLR0912 - the table at the head
    index: int, names: Sequence[str], literals: Sequence[str], escape: str
) -> str | None:
    """Return what the value of `names[index]` looks like there, or None where its end cannot be told.

    `literals[i]` stands before `names[i]`; one more stands behind the last.
    """
    name, leader, follower = names[index], literals[index], literals[index + 1]
    quote = r"\r" if escape == "none" else r'"\r'
    if not follower:
        if index + 1 < len(names):
            if name in NORMALIZED and names[index + 1] == "is_args":
                return _decoded(index, names, literals, escape)
            return _BESIDE.get((name, names[index + 1]))
        if (whole := whole_at_end(name)) is not None:
            return whole if escape == "default" else f"(?:{whole})?"
        if is_word(name):
            return rf"[^ {quote}]*"
        if is_list(name):
            return rf"[^ ,{quote}]*(?:(?:, | : )[^ ,{quote}]*)*"
        return f"{_ANYTHING[escape]}*"
    if is_quoted(leader, follower, escape):
        return QUOTED_VALUE
    if is_port(name):
        return PORT
    if name == "request_method":
        return METHOD
    end = re.escape(follower[0])
    if name == "host":  # nginx cuts the port off; an IPv6 literal keeps its brackets
        return rf"(?:\[[^\] {quote}]*\]?)?[^ :{quote}{end}]*"
    if is_word(name):
        if follower[0] == ":" or (follower[0] == "]" and not leader.endswith("[")):
            # An address or a host has colons of its own: what follows as a whole tells which of them is the end.
            return rf"[^ {quote}]*(?={following(index, names, literals)})"
        return rf"[^ {quote}{end}]*"
    if is_list(name) and follower[0] not in ",:":
        return rf"[^ ,{quote}{end}]*(?:(?:, | : )[^ ,{quote}{end}]*)*"
    if name == "time_local":
        return f"{_SHAPES[name]}(?={re.escape(follower)})" if follower[0] == " " else rf"[^{quote}{end}\t]{{0,40}}"
    char, literal, whole = _ANYTHING[escape], re.escape(follower), following(index, names, literals)
    if len(follower) == 1 and _NEVER[escape].match(follower):
        return f"{char}*"
    alternatives = [f"{char}*?(?={whole})"] if whole != literal else []
    if name in _SHAPES and follower[0] == " ":
        alternatives.append(f"{_SHAPES[name]}(?={literal})")
    return "(?:" + "|".join([*alternatives, f"{char}*?(?={literal})"]) + ")"


def _decoded(index: int, names: Sequence[str], literals: Sequence[str], escape: str) -> str:
    """Return the path of `$uri$is_args$args`, blanks and all: it ends at `?`, or before what follows."""
    last = index + 1
    if names[last + 1 : last + 2] and names[last + 1] in {"args", "query_string"} and not literals[last + 1]:
        last += 1
    return rf"{_ANYTHING[escape]}*?(?=\?|{following(last, names, literals)})"


def following(index: int, names: Sequence[str], literals: Sequence[str]) -> str:
    """Return a pattern of what stands behind `names[index]`, up to the next open value or the end of the line."""
    parts = [re.escape(literals[index + 1])]
    for after in range(index + 1, len(names)):
        value = strict(names[after])
        if value is None or (literals[after].endswith('"') and literals[after + 1].startswith('"')):
            return "".join(parts)
        parts += [value, re.escape(literals[after + 1])]
        if sum(map(len, parts)) > STRICT_LENGTH_MAX:
            return "".join(parts[:-2])
    return "".join(parts) + r"[ \t\r]*\Z"


def second_request(index: int, names: Sequence[str], literals: Sequence[str], escape: str) -> list[re.Pattern[str]]:
    """Return what an open value must not hold: the beginning of another line. Empty: it cannot, or would not show.

    It is what stands right before the value, back to the last open one, and what stands before each of those: from each
    address or time in it on, as what stands before that may be in the values before this one. Where neither is before
    the value, the format's own words tell (`status=200 uri=`).
    """
    if not is_open(names[index]) or is_quoted(literals[index], literals[index + 1], escape):
        return []
    found: dict[str, None] = {}
    runs = _runs(names, index)
    for first, last in runs:
        known = [i for i in range(first, last) if _names_somebody(names[i])]
        for start in known:
            between = "".join(literals[start + 1 : last + 1])
            if _NEVER[escape].search(between):
                continue  # the escaping lets no such text through
            is_told = not _TELLING.isdisjoint(names[start:last])
            is_marked = is_told or (len(between) > 2 and not between.isspace())
            if is_marked or start == known[0]:
                run = "".join(_running(names[i], names[index]) + re.escape(literals[i + 1]) for i in range(start, last))
                found[run if is_marked else _NO_VERSION + run] = None
    if not found and _is_told_by(literals[: index + 1], escape) and len(runs) == 1:
        values = (
            (strict(name) or "") + re.escape(after) for name, after in zip(names[:index], literals[1:], strict=False)
        )
        found[re.escape(literals[0]) + "".join(values)] = None
    return [re.compile(pattern) for pattern in found]


def _is_told_by(literals: Sequence[str], escape: str) -> bool:
    """Whether a format's own words before a value are none that stand there by chance, nor escaped."""
    words = "".join(literals)
    return len(words.strip()) >= WORDS_LENGTH_MIN and not _NEVER[escape].search(words)


def _names_somebody(name: str) -> bool:
    return name in TIMES or name in _FORWARDED or _ADDRESSES.fullmatch(name) is not None


def _running(name: str, inside: str) -> str:
    if name in _FORWARDED and inside == "remote_user":  # few are called `- -`, and most lines have no such header
        return f"(?:{ADDRESS}|-)"
    if name in _FORWARDED or _ADDRESSES.fullmatch(name):
        return ADDRESS
    return strict(name) or ""


def _runs(names: Sequence[str], index: int) -> list[tuple[int, int]]:
    """Return from where to where values stand that are not open, up to `names[index]`; the last of these runs first."""
    ends = [i for i in range(index) if is_open(names[i]) and names[i] not in _FORWARDED]
    begins = [0, *(end + 1 for end in ends)]
    return list(zip(begins, [*ends, index], strict=True))[::-1]

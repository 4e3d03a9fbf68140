r"""Compile a format into one pattern that takes the lines of a whole block at once. Pure.

It is narrower than the format's own pattern, never wider: whatever it takes, that one takes with the same values.

| a line | is |
|---|---|
| whose values all have their usual shape: no escape, none missing that all have | taken: the groups are its values |
| any other | left whole in the last group: `LineParser` reads it |

| a format | has such a pattern |
|---|---|
| our own, `t3` or `t2` | yes: tabs end its values |
| with `$remote_addr`, a time, and in quotes what clients choose | yes, if each value ends where its shape does |
| any other: JSON by its keys, addresses from headers, an open `$request` | no: `LineParser` reads its lines |
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tailtrace_bridge.logs.format import (
    EXCHANGE_READ,
    NAMED_FORMATS,
    TAILTRACE_EXCHANGE,
    TAILTRACE_FRONT,
    LogFormat,
    read_statement,
    split_format,
)
from tailtrace_bridge.logs.grammar import PORT, WHOLE_SECONDS, is_list, is_port, is_quoted, is_word

_ADDRESS_CHARS = "0-9A-Fa-f.:"
_USER_CHARS = "A-Za-z0-9_.@-"
_SECONDS = r"[0-9]{1,10}(?:\.[0-9]{1,9})?"
_SHAPES = {
    "remote_addr": f"([{_ADDRESS_CHARS}]++)",
    "time_local": r"([0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9]{2}:[0-9]{2}):([0-9]{2} [+-][0-9]{4})",
    "time_iso8601": r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}):([0-9]{2}(?:Z|[+-][0-9]{2}:[0-9]{2}))",
    "msec": r"([0-9]{9,10})(\.[0-9]{3})",
    "status": r"([0-9]{3})",
    "bytes_sent": r"([0-9]{1,13})",
    "body_bytes_sent": r"([0-9]{1,13})",
    "request_time": f"({_SECONDS})",
    "upstream_response_time": f"({_SECONDS}|-|)",
    "request_id": r"([0-9a-f]{32})",
    "tailtrace_trace_id": r"([0-9a-f]{32})",
    "tailtrace_span_id": r"([0-9a-f]{16})",
    "http_tailscale_user_login": "",
    "http_tailscale_funnel_request": "",
}
"""Values of one shape. Times stand in two parts: the first is the same for many lines, the second one of few."""
_LAST_SHAPES = {"request_time": f"({WHOLE_SECONDS})", "upstream_response_time": f"({WHOLE_SECONDS}|-)"}
"""The same at the end of a line, as `grammar.whole_at_end` has it."""
_OPEN = frozenset({"request", "request_uri", "uri", "document_uri", "http_user_agent"})
"""What is read only between quotes."""
_READ: tuple[tuple[str, ...], ...] = (
    ("msec", "time_local", "time_iso8601"),
    ("remote_addr",),
    ("request",),
    ("request_method",),
    ("request_uri", "uri", "document_uri"),
    ("status",),
    ("bytes_sent", "body_bytes_sent"),
    ("request_time",),
    ("upstream_response_time",),
    ("server_name", "host", "http_host"),
    ("http_user_agent",),
    ("request_id",),
    ("tailtrace_trace_id",),
    ("tailtrace_span_id",),
)
"""What is read, and of each row the first that the format has, as `extractor.FIELDS` has it."""
_NOT_HERE = frozenset(
    {
        "tailtrace_inbound_trace_id", "tailtrace_inbound_span_id", "tailtrace_flags", "realip_remote_addr",
        "remote_port", "proxy_protocol_addr", "upstream_http_x_tailtrace", "upstream_cache_status", "exchange",
        "tailtrace_proxied", "req_id",
    }
)  # fmt: skip
"""A format with one of these says more of a line than there is a column for; our own has columns of its own."""
_VALUE = r'[^\t"\\\n]*+'
_OWN_SHAPES = _SHAPES | {
    "tailtrace_inbound_trace_id": "((?:[0-9a-f]{32})?+)",
    "tailtrace_inbound_span_id": "(?:[0-9a-f]{16})?+",
    "tailtrace_flags": "[0-9a-f]{0,2}+",
    "remote_port": "[0-9]{0,5}+",
    "realip_remote_addr": f"((?:unix:|[{_ADDRESS_CHARS}]*+)",
    "tailtrace_proxied": f"{_VALUE})",
    "http_tailscale_user_login": f"({_VALUE}",
    "http_tailscale_funnel_request": f"{_VALUE})",
    "upstream_http_x_tailtrace": r"(?:(?!1\t)1(?:;t=(0|[1-9][0-9]{0,12}))?+((?:;[!#-\[\]-~]{0,1000}+)?+(?=\t))|)",
    "upstream_cache_status": f"({_VALUE}",
    "upstream_addr": f"{_VALUE})",
    "upstream_response_time": "([0-9., :-]{0,500}+)",
}
"""Of our own format. What two names say together is one group; of the app's header, its time and the rest are two."""
_OWN_GROUPS = (
    "tailtrace_mark", "msec", "", "request_id", "tailtrace_inbound_trace_id", "remote_addr", "peer", "request_method",
    "request_uri", "status", "bytes_sent", "request_time", "server_name", "http_user_agent", "serve", "app_time", "app",
    "asked", "upstream_response_time", "upstream_header_time",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BlockFormat:
    """`pattern.findall(block)` gives a tuple for each line; `places` says where in it a variable stands.

    Place 0 is the whole line, without its newline, empty where the line was not taken; the last is the line then.
    """

    pattern: re.Pattern[bytes]
    places: dict[str, int]
    time: str
    """Which of the times it has: in the two groups from its place on."""

    @property
    def is_own(self) -> bool:
        """Whether it is our own: `peer`, `serve`, `app_time`, `app`, `asked` and the head's time are places too."""
        return "app" in self.places


@lru_cache(maxsize=64)
def block_format(fmt: LogFormat) -> BlockFormat | None:
    """Return the pattern for blocks of a format's lines; None: it has none."""
    if "exchange" in fmt.names:
        return _own_block_format()
    escape, text = read_statement(NAMED_FORMATS.get(fmt.source, fmt.source), fmt.source)
    names, literals = split_format(text, fmt.source)
    literals[-1] = literals[-1].rstrip(" \t")
    read = {next((name for name in row if name in names), "") for row in _READ} - {""}
    if not {"remote_addr", "status"} <= read or not _NOT_HERE.isdisjoint(names) or len(set(names)) < len(names):
        return None
    if escape == "none" or _has_others(names) or ("request" in names) == ("request_method" in names):
        return None
    parts, places, group = [re.escape(literals[0])], dict[str, int](), 1
    for index, name in enumerate(names):
        shape = _shape(index, names, literals, escape, has_user=_follows_user(index, names, literals, escape))
        if shape is None:
            return None
        if name in read:
            places[name] = group
            group += re.compile(shape).groups
        else:
            shape = re.sub(r"\((?!\?)", "(?:", shape)
        parts += (shape, re.escape(literals[index + 1]))
    time = next((name for name in _READ[0] if name in places), "")
    if not time or any(r"\ " not in guard.pattern for _, guard in fmt.guards):
        return None
    pattern = re.compile(f"({''.join(parts)})\n|(.*)\n".encode())
    return BlockFormat(pattern, places, time)


def _own_block_format() -> BlockFormat:
    names = (*TAILTRACE_FRONT, *TAILTRACE_EXCHANGE[:EXCHANGE_READ])
    shapes = (_OWN_SHAPES.get(name, f"({_VALUE})") for name in names)
    rest = (f"({_VALUE})" if name in _OWN_GROUPS else _VALUE for name in TAILTRACE_EXCHANGE[EXCHANGE_READ:])
    line = r"\t".join(("t(?:(3)|2)", *shapes, *rest))
    places = {name: place for place, name in enumerate(_OWN_GROUPS, start=1) if name}
    return BlockFormat(re.compile(f"({line})\n|(.*)\n".encode()), places, "msec")


def _has_others(names: Sequence[str]) -> bool:
    """Whether one variable stands in for another that has no value."""
    return any(sum(one in names for one in row) > 1 for row in _READ[5:] if row != ("bytes_sent", "body_bytes_sent"))


def _follows_user(index: int, names: Sequence[str], literals: Sequence[str], escape: str) -> bool:
    """Whether `$remote_user` stands before, and nothing in quotes since: then what follows must have a strict shape."""
    for before in range(index - 1, -1, -1):
        if is_quoted(literals[before], literals[before + 1], escape):
            return False
        if names[before] == "remote_user":
            return True
    return False


def _shape(  # noqa: C901, PLR0911 - a table
    index: int, names: Sequence[str], literals: Sequence[str], escape: str, *, has_user: bool
) -> str | None:
    """Return what the value of `names[index]` looks like there, as one group or two; None: it may end elsewhere too."""
    name, leader, follower = names[index], literals[index], literals[index + 1]
    quoted = is_quoted(leader, follower, escape)
    if not follower and index + 1 < len(names):
        return None
    end = follower[:1]
    if not follower and name in _LAST_SHAPES:
        return _LAST_SHAPES[name]
    if name in _SHAPES:
        runs_on = end.isalnum() or (end and end in (".:-+/," if is_list(name) else ".:-+/"))
        return None if runs_on and not quoted else _SHAPES[name]
    if quoted:
        return r'([^"\\\n]*+)'
    if name == "remote_user":
        return f"([{_USER_CHARS}]*+)" if end and not re.match(f"[{_USER_CHARS}]", end) else None
    if is_port(name):
        return f"({PORT})"
    if has_user or name in _OPEN or not end or end in ":]\\":
        return r"([^ :\[\"\\\r\n]*+)" if name == "host" and end == ":" and not has_user else None
    if name == "host":
        return rf'([^ :\["\\\r\n{re.escape(end)}]*+)'
    if is_word(name):
        return rf'([^ "\\\r\n{re.escape(end)}]*+)'
    if is_list(name) and end not in ",:":
        return rf'([^ ,"\\\r\n{re.escape(end)}]*+)'
    return None

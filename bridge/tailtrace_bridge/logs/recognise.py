"""Find out which formats a log has, by name and by evidence over its first lines. Pure.

| the line | is of the format |
|---|---|
| JSON | ours (the parser's own), Caddy's, Traefik's, or one read by the names of its keys (`json_keys`) |
| values with labels, tabs between them | LTSV (`ltsv`) |
| fits one of `RECOGNISED_WHOLE` | that one |
| `[host ]address - user [time] [times ]"request" status[ bytes]…` | what its columns turn out to be |
| anything else | unknown: say so, and ask for the format |

Columns behind the bytes, over all lines that look alike (`evidence`):

| column | is |
|---|---|
| `label=value` | what its label says; `ua` is the agent or the upstream's address |
| quoted, and products such as `Mozilla/5.0` stand in it | the agent |
| quoted, and none of its kind speaks against it | by place: referer, agent, then X-Forwarded-For |
| a duration as nginx prints it: three decimals | the longest is the request's, the next the upstream's; one that may be `-` is the upstream's |
| `10.0.0.1:80`, `unix:/…` | the upstream's address |
| other words | nothing that is read; three lines or more must have them |

Cut: one or two lines with the columns that others begin with, and no more of them. What ends there may be half a number,
and the user agent is missing.

Not sure: two columns that could be the agent, or one that has no quotes; a number of no meaning before one that could be
the status; a host in front that is an address in each line (two lines glued?); a list
of addresses in front (whose is it?); a second time or request in the line. Such lines are rejected, never guessed.
"""

import re

# ruff: noqa: E501 - patterns and a table
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from tailtrace_bridge.core.errors import FormatError
from tailtrace_bridge.logs.format import LogFormat, compile_format
from tailtrace_bridge.logs.grammar import ERROR_LOG, QUOTED_VALUE
from tailtrace_bridge.logs.json_keys import KeyedFormat, format_of
from tailtrace_bridge.logs.known_formats import KNOWN_FORMATS, RECOGNISED_WHOLE
from tailtrace_bridge.logs.ltsv import ltsv_of

SAMPLE_LINES_MAX = 1000
"""Lines of a log that are looked at."""
COLUMNS_MAX = 48
FORMATS_MAX = 12
"""Formats that one log may have; the rarest are left to what each line says by itself."""
STATUS_DIGITS = 3
UNKNOWN_LINES_MIN = 3
"""Lines that must look alike before words that nobody knows are passed over."""

AnyFormat = LogFormat | KeyedFormat

_LOCAL = r"[0-9]{1,2}/[^\s/\"\]]{3,9}/[0-9]{4}:[0-9:]{8}(?: [+-][0-9]{4})?"
_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]{8,18}(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_MSEC = r"[0-9]{9,12}\.[0-9]{3}"
_TIME = re.compile(rf"(?P<local>{_LOCAL})|(?P<iso>{_ISO})|(?P<msec>{_MSEC})")
_BEFORE = re.compile(
    r"(?:(?P<host>\[[^\]\s\"/]*\](?::[0-9]*)?|[^\s\"\[\],{/]+) )?(?P<address>[^\s\"\[\],{]+) (?P<ident>-) (?P<user>[^\"]*)"
)
_AROUND_TIME = re.compile(
    rf" \[(?P<time>{_LOCAL}|{_ISO}|{_MSEC})\](?P<gap> {{1,2}})(?P<times>(?:(?:[0-9]{{1,6}}\.[0-9]{{3}}|-) ){{0,4}})(?=\")"
)
_TOKEN = re.compile(
    rf'(?P<gap> *)(?P<label>[A-Za-z_][\w.-]{{0,40}}(?:=|: (?=")))?'
    rf'(?:"(?P<quoted>{QUOTED_VALUE})"|\[(?P<bracket>[^\[\]"]*)\]|(?P<word>[^ "\[\],]+(?:(?:, ?| : )[^ "\[\],]+)*))'
)
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_IPV6 = re.compile(r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]*")
_IPV6_OR_4 = re.compile(rf"(?:{_IPV4.pattern}|{_IPV6.pattern}) - ")
_TWO_ADDRESSES = "they begin with two addresses: two lines in one, or a host in front; --log-format says which"
TWO_REQUESTS = "they hold two requests, as after a full disk"
CUT = "they end where others go on: they were cut"
OF_ERROR_LOG = "they are of nginx's error log, which has no requests: leave the file out"
_FORWARDED_ITEM = (
    r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]+)?|\[?[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]+\]?(?::[0-9]+)?|unknown)"
)
_FORWARDED = re.compile(rf"{_FORWARDED_ITEM}(?:, ?{_FORWARDED_ITEM})*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_AGENT = re.compile(
    r"Mozilla/|(?i:bot|crawler|spider|curl|wget|python|okhttp|dalvik|postman|probe|uptime|httpclient)"
    r"|[A-Za-z][\w .+-]{0,60}/v?[0-9]"
)
_PRODUCT = re.compile(r"[A-Za-z][\w.+-]{0,60}/v?[0-9]")
_CODE = re.compile(
    r"000|10[0-3]|20[0-8]|226|30[0-8]|4(?:0[0-9]|1[0-8]|2[1-689]|31|44|51|9[4-9])|5(?:0[0-8]|1[01]|2[0-9]|30)"
)
"""The statuses that somebody gave a meaning."""
_DURATION = re.compile(r"(?:-|[0-9]{1,6}\.[0-9]{3})(?:(?:, ?| : )(?:-|[0-9]{1,6}\.[0-9]{3}))*")
_MILLISECONDS = re.compile(r"[0-9]{1,9}ms")
_OF_TRAEFIK = re.compile(r'" [0-9]{1,20} "[^"]*" "[^"]*" [0-9]{1,9}ms\Z')
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,9})?(?:(?:, ?| : )[0-9.-]+)*")
_UPSTREAM_ITEM = r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}:[0-9]{1,5}|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}|unix:[^ ,]+)"
_UPSTREAM = re.compile(rf"(?:{_UPSTREAM_ITEM})(?:(?:, ?| : )(?:{_UPSTREAM_ITEM}|-|[\w.-]+))*")
_KNOWN_WORD = re.compile(
    r"-|\.|p|MISS|HIT|BYPASS|EXPIRED|STALE|UPDATING|REVALIDATED|https?|TLSv[0-9.]+|SSLv[0-9.]+|HTTP/[0-9.]+"
    r"|[A-Z0-9]+(?:[-_][A-Z0-9]+)+|[0-9a-f]{16,64}|on|off|OK"
)
_SECOND = re.compile(rf"{_LOCAL}|HTTP/[0-9.]+\"")
_REQUEST_LINE = re.compile(r"[A-Z]{3,16} [^ ]+ HTTP/[0-9.]+")
_LIST_IN_FRONT = re.compile(rf"{_FORWARDED_ITEM}(?:, ?{_FORWARDED_ITEM})+ ")
_VARIABLE = re.compile(r"\$\w+")
_NEUTRAL = frozenset({"", "-"})
_LABELS = {
    **dict.fromkeys(("rt", "request_time", "reqtime", "req_time"), "request_time"),
    **dict.fromkeys(
        ("urt", "ut", "upstream_response_time", "uprt", "upstream_time", "apptime"), "upstream_response_time"
    ),
    **dict.fromkeys(("ua", "agent", "user_agent", "http_user_agent"), "http_user_agent"),
    **dict.fromkeys(("referer", "referrer", "http_referer"), "http_referer"),
    **dict.fromkeys(("xff", "x_forwarded_for", "http_x_forwarded_for", "forwarded_for"), "http_x_forwarded_for"),
    **dict.fromkeys(("rid", "request_id", "req_id"), "request_id"),
    **dict.fromkeys(("upstream", "upstream_addr", "ua_addr"), "upstream_addr"),
    **dict.fromkeys(("host", "vhost", "server_name", "sn"), "server_name"),
}


class _Column(NamedTuple):
    gap: str
    label: str
    kind: str
    """`word`, `quoted` or `bracket`."""


class Shape(NamedTuple):
    """What lines that look alike have in common."""

    host: str
    """Empty, `name`, or `name:port`."""
    time: str
    gap: str
    before: int
    """Columns between time and request."""
    columns: tuple[_Column, ...]


class _Line(NamedTuple):
    shape: Shape
    host: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a log's first lines are."""

    formats: tuple[AnyFormat, ...] = ()
    """The most frequent first."""
    unsure: dict[str, int] = field(default_factory=dict)
    """Why lines were not understood, and how many."""
    doubtful: frozenset[Shape] = frozenset()
    """What lines have in common of which many together do not show what they are: one alone only seems to."""


def recognise(lines: Iterable[str], known: Sequence[AnyFormat] = ()) -> Recognised:
    """Look at the first lines of a log, out of any wrapper. `known` are formats that the log has, too."""
    counts: Counter[AnyFormat] = Counter()
    unsure: Counter[str] = Counter()
    alike: dict[Shape, list[_Line]] = {}
    doubtful: set[Shape] = set()
    for text in lines:
        if not text.strip():
            continue
        whole = _whole(text)
        if whole is not None:
            counts[whole] += 1
        elif (line := _look_at(text)) is not None:
            alike.setdefault(line.shape, []).append(line)
        else:
            unsure[_why_not(text)] += 1
    for group in sorted(alike.values(), key=len, reverse=True):
        found = _evidence(group)
        others = [*known, *(fmt for fmt, count in counts.items() if count > len(group))]
        if isinstance(found, str):
            unsure[found] += len(group)
            doubtful.add(group[0].shape)
        elif _has_columns_of(found, others) or (len(group) < UNKNOWN_LINES_MIN and is_beginning(found, others)):
            unsure[CUT] += len(group)
        else:
            counts[found] += len(group)
    formats = tuple(fmt for fmt, _ in counts.most_common(FORMATS_MAX))
    return Recognised(formats, dict(unsure.most_common()), frozenset(doubtful))


def is_beginning(fmt: AnyFormat, others: Iterable[AnyFormat]) -> bool:
    """Return whether a format has the columns that one of the others begins with, or those of the whole of it.

    A line of the first, beside those of the other, that does not fit this one: it was cut. Some servers leave the size
    out where there is no answer; what ends in its status is whole, and may lack no agent if some of the others have none.
    """
    if not isinstance(fmt, LogFormat):
        return False
    columns = _columns_of(fmt.source)
    longer = [one for one in others if isinstance(one, LogFormat) and _columns_of(one.source).startswith(columns)]
    return bool(longer) and (fmt.names[-1] != "status" or all("http_user_agent" in one.names for one in longer))


def _has_columns_of(fmt: AnyFormat, others: Iterable[AnyFormat]) -> bool:
    """Return whether one of the others has the same columns: a line would be read by either, as it happens."""
    return fmt not in others and any(_columns_of(one.source) == _columns_of(fmt.source) for one in others)


@lru_cache(maxsize=256)
def _columns_of(source: str) -> str:
    return _VARIABLE.sub("$", source)


def holds_two(text: str) -> bool:
    """Return whether a line that fits no format holds two requests."""
    return (
        (text.startswith("{") and "}{" in text) or len(_SECOND.findall(text)) > 2 or len(re.findall(_LOCAL, text)) > 1
    )


@lru_cache(maxsize=4096)
def recognise_line(text: str, doubtful: frozenset[Shape] = frozenset()) -> AnyFormat | None:
    """Return the format of a line that stands alone; None: it does not say, or others like it were `doubtful`."""
    whole = _whole(text)
    if whole is not None:
        return whole
    line = _look_at(text)
    if line is None or line.shape in doubtful:
        return None
    found = _evidence([line])
    return None if isinstance(found, str) else found


def _whole(text: str) -> AnyFormat | None:
    if text.startswith("{"):
        return format_of(text)
    if "\t" in text and (labelled := ltsv_of(text)) is not None:
        return labelled
    if text.startswith("[") or "] [" in text or _OF_TRAEFIK.search(text):
        return next((fmt for name in RECOGNISED_WHOLE if (fmt := _known(name)).pattern.fullmatch(text)), None)
    return None


@lru_cache
def _known(name: str) -> LogFormat:
    return compile_format(KNOWN_FORMATS[name], name)


def _look_at(text: str) -> _Line | None:
    """Return a line's columns; None: it does not begin as the common log does, or holds two requests."""
    head = text[: text.find('"')] if '"' in text else ""
    around = None
    for around in _AROUND_TIME.finditer(text, 0, len(head) + 1):  # noqa: B007 - the last one counts
        pass
    if around is None or around.end() != len(head):
        return None
    before = _BEFORE.fullmatch(text, 0, around.start())
    if before is None:
        return None
    tokens = _tokens(text, around.end())
    if tokens is None or len(tokens) < 2 or tokens[0][0].kind != "quoted" or tokens[1][0].kind != "word":
        return None
    if any(column.kind == "quoted" and _REQUEST_LINE.fullmatch(value) for column, value in tokens[1:]):
        return None
    host = before["host"] or ""
    if host == "unix:" or _IPV6.fullmatch(host):  # an address: as a host it would have brackets around it
        return None
    kind = "" if not host else "name:port" if re.search(r":[0-9]*\Z", host) and not host.endswith("]") else "name"
    found = _TIME.fullmatch(around["time"])
    assert found is not None
    times = around["times"].split()
    shape = Shape(kind, str(found.lastgroup), around["gap"], len(times), tuple(column for column, _ in tokens))
    return _Line(shape, host, (*times, *(value for _, value in tokens)))


def _tokens(text: str, position: int) -> list[tuple[_Column, str]] | None:
    end = len(text.rstrip(" \t\r"))
    found: list[tuple[_Column, str]] = []
    while position < end:
        match = _TOKEN.match(text, position, end)
        if match is None or len(found) >= COLUMNS_MAX or (found and not match["gap"]):
            return None
        kind = next(kind for kind in ("quoted", "bracket", "word") if match[kind] is not None)
        if kind == "bracket" and _TIME.search(match[kind]):
            return None
        found.append((_Column(match["gap"], match["label"] or "", kind), match[kind]))
        position = match.end()
    return found


def _why_not(text: str) -> str:
    if _LIST_IN_FRONT.match(text):
        return (
            "they begin with a list of addresses (X-Forwarded-For?): say whose they are, with --log-format "
            "'$http_x_forwarded_for - $remote_user [$time_local] \"$request\" …'"
        )
    if holds_two(text):
        return TWO_REQUESTS
    if _IPV6.fullmatch(text.partition(" ")[0]) and _IPV6_OR_4.match(text.partition(" ")[2]):
        return _TWO_ADDRESSES
    if text.startswith("{"):
        return "they are JSON without keys for time, address, request and status, or are cut"
    if ERROR_LOG.match(text):
        return OF_ERROR_LOG
    return "they do not begin as the common log format does"


def _evidence(group: Sequence[_Line]) -> AnyFormat | str:
    """Return the format of lines that look alike, or why it cannot be told."""
    shape = group[0].shape
    if shape.host == "name" and all(_IPV4.fullmatch(line.host) for line in group):
        return _TWO_ADDRESSES
    columns = list(zip(*(line.values for line in group), strict=True))
    offset = shape.before
    names: dict[int, str] = {offset: "request", offset + 1: "status"}
    first = offset + 2
    has_third = len(columns) > first and shape.columns[2].kind == "word" and not shape.columns[2].label
    statuses = columns[offset + 1]
    if (
        has_third
        and all(map(_CODE.fullmatch, columns[first]))
        and all(len(status) == STATUS_DIGITS and status.isdecimal() for status in statuses)  # others are no status
        and _share(statuses, _CODE.fullmatch) < 0.5
    ):
        return "which of their numbers is the status does not show"
    if has_third and (_share(columns[first], _plain_size) >= 0.5 or len(columns) == first + 1):
        names[first] = "body_bytes_sent"
        first += 1
    for index, column in enumerate(shape.columns[first - offset :], start=first):
        if column.label:
            label = re.sub(r"[^a-z0-9]+", "_", column.label.lower().rstrip(" =:")).strip("_")
            name = _LABELS.get(label)
            if label == "ua" and _kind(columns[index]) != "agent":  # as nginx's Amplify calls `$upstream_addr`
                name = "upstream_addr" if _share(columns[index], _UPSTREAM.fullmatch) >= 0.5 else None
            if name and name not in names.values():
                names[index] = name
    quoted = [
        index
        for index, column in enumerate(shape.columns[first - offset :], start=first)
        if column.kind == "quoted" and not column.label
    ]
    problem = _name_quoted(quoted, columns, names, first)
    _name_durations(columns, shape, names)
    problem = problem or _name_words(shape, columns, names, first, len(group))
    if problem:
        return problem
    source = _written(shape, columns, names)
    called = next((name for name, known in KNOWN_FORMATS.items() if known == source), "")
    try:
        return _compiled(
            source, called or ("combined, and more" if "http_user_agent" in names.values() else "common, and more")
        )
    except FormatError:
        return "their columns cannot be told apart"


def _name_words(shape: Shape, columns: Sequence[tuple[str, ...]], names: dict[int, str], first: int, lines: int) -> str:
    """Find the upstream's address among the words that are left. Returns why it is not sure, or nothing."""
    for index in range(first, len(columns)):
        column = shape.columns[index - shape.before]
        if index in names or column.label or column.kind != "word":
            continue
        if "upstream_addr" not in names.values() and _share(columns[index], _UPSTREAM.fullmatch) >= 0.5:
            names[index] = "upstream_addr"
        elif "http_user_agent" not in names.values() and _share(columns[index], _is_product) >= 0.5:
            return "their user agent has no quotes around it: where it ends, --log-format says"
        elif lines < UNKNOWN_LINES_MIN and not all(map(_is_known_word, columns[index])):
            return "they end in words that nobody knows, and too few lines are alike"
    return ""


@lru_cache(maxsize=256)
def _compiled(source: str, name: str) -> LogFormat:
    return compile_format(source, name)


def _name_quoted(quoted: list[int], columns: Sequence[tuple[str, ...]], names: dict[int, str], first: int) -> str:
    """Find referer, agent and X-Forwarded-For among the quoted columns. Returns why it is not sure, or nothing."""
    kinds = {index: _kind(columns[index]) for index in quoted}
    texts = [index for index in quoted if kinds[index] != "number"]
    by_place = quoted[:2] == [first, first + 1]
    agents = [index for index in texts if kinds[index] == "agent"]
    agent: int | None = None
    if "http_user_agent" in names.values():
        pass
    elif len(agents) == 1:
        agent = agents[0]
    elif (agents and by_place and quoted[1] in agents and kinds[quoted[0]] != "agent") or (
        not agents and by_place and kinds[quoted[1]] in {"", "text"} and kinds[quoted[0]] in {"", "text", "url"}
    ):
        agent = quoted[1]
    elif len(texts) == 1 and quoted[0] == first and kinds[quoted[0]] in {"", "text", "url"}:
        pass  # the referer alone
    elif agents and by_place and quoted[1] in agents:
        agent = quoted[1]  # a referer that looks like an agent too
    elif texts and not all(kinds[index] in {"forwarded", ""} and not by_place for index in texts):
        return "which of their quoted columns is the user agent does not show"
    if agent is not None:
        names[agent] = "http_user_agent"
    rest = [index for index in texts if index != agent]
    urls = [index for index in rest if kinds[index] == "url"]
    referer = urls[0] if urls else rest[0] if rest and kinds[rest[0]] != "forwarded" else None
    if referer is not None and "http_referer" not in names.values():
        names[referer] = "http_referer"
        rest.remove(referer)
    forwarded = [index for index in rest if kinds[index] in {"forwarded", ""}]
    if forwarded and "http_x_forwarded_for" not in names.values():
        names[forwarded[0]] = "http_x_forwarded_for"
    return ""


def _kind(values: Sequence[str]) -> str:
    """Return what most values of a quoted column are; empty: it has none."""
    kinds = Counter(_kind_of(value) for value in values if value not in _NEUTRAL)
    if not kinds:
        return ""
    kind, count = kinds.most_common(1)[0]
    return kind if 2 * count > kinds.total() else "text"


def _kind_of(value: str) -> str:
    if _NUMBER.fullmatch(value) or _DURATION.fullmatch(value):
        return "number"
    if _FORWARDED.fullmatch(value):
        return "forwarded"
    if _URL.match(value):
        return "url"
    return "agent" if _AGENT.match(value) or _AGENT.search(value[:200]) else "text"


def _name_durations(columns: Sequence[tuple[str, ...]], shape: Shape, names: dict[int, str]) -> None:
    """Find request time and upstream time among the columns that nobody labelled."""
    places = []
    for index, values in enumerate(columns):
        column = shape.columns[index - shape.before] if index >= shape.before else None
        if index in names or (column is not None and (column.label or column.kind == "bracket")):
            continue
        known = [value for value in values if value not in _NEUTRAL]
        # A line that was cut, or glued, has something else there. It is rejected then, and the others keep their times.
        if known and len(known) - sum(map(_is_duration, known)) <= len(known) / 3:
            places.append(index)
    if "request_time" in names.values():
        places = [] if "upstream_response_time" in names.values() else places
        best = None
    else:
        # A request takes longer than its upstream, and is the only one that has a duration in each line.
        whole = [index for index in places if not any(_is_upstreams(value) for value in columns[index])]
        best = max(whole, key=lambda index: (sum(map(_seconds, columns[index])), -index), default=None)
        if best is not None:
            names[best] = "request_time"
    others = [index for index in places if index != best]
    if others and "upstream_response_time" not in names.values():
        names[max(others, key=lambda index: (sum(map(_seconds, columns[index])), -index))] = "upstream_response_time"


def _is_duration(value: str) -> bool:
    return bool(_DURATION.fullmatch(value) or _MILLISECONDS.fullmatch(value))


def _is_upstreams(value: str) -> bool:
    return value in _NEUTRAL or "," in value or " : " in value


def _seconds(value: str) -> float:
    if _MILLISECONDS.fullmatch(value):
        return int(value[:-2]) / 1000
    if not _DURATION.fullmatch(value):
        return 0.0
    return sum(float(item) for item in re.findall(r"(?<![0-9])[0-9]+\.[0-9]+", value))


def _plain_size(value: str) -> bool:
    return value == "-" or value.isdecimal()


def _is_known_word(value: str) -> bool:
    return any(pattern.fullmatch(value) for pattern in (_KNOWN_WORD, _NUMBER, _DURATION, _MILLISECONDS, _UPSTREAM))


def _is_product(value: str) -> bool:
    return bool(_PRODUCT.match(value)) and not _is_known_word(value)


def _share(values: Sequence[str], fits: object) -> float:
    assert callable(fits)
    known = [value for value in values if value not in _NEUTRAL]
    return sum(bool(fits(value)) for value in known) / len(known) if known else 0.0


def _written(shape: Shape, columns: Sequence[tuple[str, ...]], names: dict[int, str]) -> str:
    """Write the format down as nginx would have it."""
    time = {"local": "time_local", "iso": "time_iso8601", "msec": "msec"}[shape.time]
    host = {"": "", "name": "$host ", "name:port": "$host:$server_port "}[shape.host]
    parts = [f"{host}$remote_addr - $remote_user [${time}]{shape.gap}"]
    for index, values in enumerate(columns):
        column = shape.columns[index - shape.before] if index >= shape.before else _Column("", "", "word")
        name = names.get(index)
        if name is None:
            # More than one word, and it is an upstream's list.
            kind = "list" if any(" " in value for value in values) else "word"
            name = f"column_{kind}_{index}" if column.kind == "word" else f"column_{index}"
        quotes = {"word": "{}", "quoted": '"{}"', "bracket": "[{}]"}[column.kind]
        gap = "" if index == shape.before else column.gap
        parts.append(gap + column.label + quotes.format(f"${name}") + (" " if index < shape.before else ""))
    return "".join(parts)

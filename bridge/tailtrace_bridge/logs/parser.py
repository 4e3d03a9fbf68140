"""Lines of an access log in, records or refusals out. Pure: bytes in, no clock, no file.

What becomes of a line:

| the line | becomes |
|---|---|
| fits a format, has an address and a time | an `Access` |
| fits, but the request line is not HTTP (TLS to a plain port, a scanner) | an `Access` with method `_OTHER` |
| longer than `LINE_LENGTH_MAX` | a `RejectedLine`: too-long |
| fits no format | a `RejectedLine`: no-format |
| fits, but its time, address or a number cannot be read | a `RejectedLine`: bad-time, bad-address, bad-number |
| empty | a `RejectedLine`: empty |

`auto` knows two families: our own JSON, and the lines that grew from Apache's common log, `PLAIN_FORMAT`. No line fits
two, so one parser serves a mixed file and what it makes of a line does not depend on the lines before.

This is the hot path of an import. What repeats from line to line (address, second, request, agent, durations) is
worked out once and remembered; each memory is bounded in entries and in the length of an entry. Remembering has a
second use: equal texts are one object, whose hash the look-ups further on need not compute again.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from heapq import nlargest
from ipaddress import IPv6Address, ip_address
from urllib.parse import parse_qs, quote

from xxhash import xxh3_64_intdigest

from tailtrace_bridge.core.cards import CARD_LENGTH_MAX, VIEW_PATH, card_key
from tailtrace_bridge.core.errors import FormatError
from tailtrace_bridge.core.records import Access, RejectedLine
from tailtrace_bridge.logs.format import (
    QUOTED_VALUE,
    TAILTRACE_FORMAT,
    TAILTRACE_FORMAT_WITHOUT_SERVE,
    LogFormat,
    compile_format,
    unescape_default,
)
from tailtrace_bridge.logs.scrub import scrub

LINE_LENGTH_MAX = 64 * 1024
REQUEST_LENGTH_MAX = 1024
"""Characters of a request's target that are looked at: room for the longest path and for a card behind it."""
PATH_LENGTH_MAX = 512
AGENT_LENGTH_MAX = 256
SERVICE_LENGTH_MAX = 128
SERVE_LENGTH_MAX = 1024
"""A login of 254 characters, none of them ASCII, in `tailscale serve`'s encoding."""
SIZE_DIGITS_MAX = 14
"""Sizes have fewer: no answer has 100 TB, and sums of forged ones must not outgrow the store's 64 bits."""
REJECTED_TEXT_MAX = 200
TIME_LENGTH_MAX = 40
TIME_US_MAX = 4_102_444_800_000_000
"""2100-01-01: a later time is a broken line."""
REASONS = ("empty", "too-long", "no-format", "bad-time", "bad-address", "bad-number")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
"""https://opentelemetry.io/docs/specs/semconv/http/http-spans/ : known methods; any other is `_OTHER`."""

# No part gives back what it took: a line that fits nowhere is read a few times, not once for each way to divide it.
_PLAIN = rf"""
    ([^ "{{]++)\ -\ (?>[^"]*\[(?!\]))([^"\]]{{1,40}}+)\]\     # address - user [time]
    (?>"({QUOTED_VALUE})")\ ([^ "\r]++)                      # "request" status
    (?:\ ([^ "\r]++)(?!"))?+                                # bytes
    (?:\ (?>"{QUOTED_VALUE}")(?:\ (?>"({QUOTED_VALUE})"))?+)?+  # "referer" "agent"
    ((?>(?:\ [^ "\r]*(?:"{QUOTED_VALUE}")?)*))\s*()           # whatever words or quoted texts were appended
"""
_PLAIN_NAMES = ("remote_addr", "time_local", "request", "status", "bytes_sent", "http_user_agent", "extra")
PLAIN_FORMAT = LogFormat("plain", _PLAIN_NAMES, re.compile(_PLAIN, re.VERBOSE), unescape_default)
"""common and combined: cut short or with more appended, the time with or without a zone."""
HOST_PLAIN_FORMAT = LogFormat(
    "plain behind a host",
    ("server_name", *_PLAIN_NAMES),
    re.compile(r'([^ ":{]++)(?::[0-9]++)?\ (?!-\ )' + _PLAIN, re.VERBOSE),
    unescape_default,
)
"""The same with the virtual host as first word. No line fits both: there, `-` is not the second word."""

_FIELDS: tuple[tuple[str, ...], ...] = (
    ("msec", "time_local", "time_iso8601"),
    ("remote_addr", "realip_remote_addr"),
    ("request",),
    ("request_method",),
    ("request_uri", "uri", "document_uri"),
    ("status",),
    ("bytes_sent", "body_bytes_sent"),
    ("request_time",),
    ("upstream_response_time",),
    ("upstream_addr", "upstream_status"),
    ("server_name", "host", "http_host"),
    ("http_user_agent",),
    ("request_id",),
    ("tailtrace_trace_id", "request_id"),
    ("tailtrace_span_id",),
    ("extra",),
    ("http_tailscale_user_login",),
    ("http_tailscale_funnel_request",),
)
"""What `_Extractor` reads, in its order: of each row, the first variable that the format has."""

_MONTH_NAMES = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_MONTHS = {name: i for i, name in enumerate(_MONTH_NAMES, start=1)}
_MINUTE_LOCAL = re.compile(
    r"([0-9]{2})/([A-Z][a-z]{2})/([0-9]{4}):([0-9]{2}):([0-9]{2}):(?: ([+-])([0-9]{2})([0-5][0-9]))?"
)
_SECOND_US = {f"{second:02}": second * 1_000_000 for second in range(60)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECONDS = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?")
_EXTRA_SECONDS = re.compile(r'(?<![^ "=])[0-9]{1,6}\.[0-9]{3}(?![^ ",])')
_REQUEST = re.compile(r"([^ ]+) (.+?)( HTTP/[0-9.]+)?", re.DOTALL)
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!$)|$)){4}")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")
_SECRET_NAMES = (
    "authorization", "cookie", "session", "passw", "secret", "token", "apikey", "api-key", "api_key"
)  # fmt: skip
_SECRET = re.compile(
    "|".join(
        (
            r'\?()[^\s"\\]*+(?:\\\S?[^\s"\\]*+)*+',  # a query string
            r'//()[^\s"/@]*+@',  # user:password@host
            *(rf'{scheme}(?<!\w{scheme}) ()[^"]*+' for scheme in ("basic", "bearer", "digest", "negotiate")),
            *(
                rf'{name}[\w\x80-\xff]{{0,32}}+\\?"? *+[:=] *+\\?"?()[^"\\]*+(?:\\.?[^"\\]*+)*+'
                for name in _SECRET_NAMES
            ),
        )
    ).encode(),
    re.DOTALL,
)
"""What a refused line does not take into the store: all behind the empty group. An escaped quote ends none of these.

It is looked for in bytes of lower case: of words in one case, `re` tries only where one of their first letters stands.
"""
_PRINTABLE_ASCII = "".join(map(chr, range(0x20, 0x7F)))
_KEY_MASK = (1 << 63) - 1


class _UnreadableError(Exception):
    """A value that cannot be read; its argument is one of `REASONS`."""


class LineParser:
    """Parses the lines of a log.

    `formats` are tried in order, the one that fitted last first: no line may fit two of them with different results.
    `zone` is the zone of times that name none; where the clock went back, such a time is the earlier of the two.
    """

    def __init__(self, formats: Sequence[LogFormat], zone: tzinfo = UTC) -> None:
        self._extractors = [_Extractor(fmt, zone) for fmt in formats]

    def parse(self, line: bytes, file: str, offset: int, seed: int = 0) -> Access | RejectedLine:
        """Return the record of `line` (without its newline), or why there is none.

        `seed` names the log that the line stands in (`tail.fingerprint`); it tells equal lines of one log apart.
        """
        if len(line) > LINE_LENGTH_MAX:
            return refuse("too-long", line, file, offset)
        text = line.decode("utf-8", "surrogateescape")
        extractor = self._extractors[0]
        match = extractor.fullmatch(text)
        if match is None:
            found = self._match_another(text)
            if found is None:
                return refuse("no-format" if text.strip() else "empty", line, file, offset)
            extractor, match = found
        try:
            return extractor.extract(match, line, (seed + offset) & _KEY_MASK)
        except _UnreadableError as unreadable:
            return refuse(str(unreadable), line, file, offset)

    def _match_another(self, text: str) -> "tuple[_Extractor, re.Match[str]] | None":
        for index, extractor in enumerate(self._extractors[1:], start=1):
            match = extractor.fullmatch(text)
            if match is not None:
                self._extractors.insert(0, self._extractors.pop(index))
                return extractor, match
        return None


def make_parser(log_format: str = "auto", zone: tzinfo = UTC) -> LineParser:
    """Make a parser for `auto` (see the head of this file), a format's name, or a `log_format` string.

    Raises `FormatError` for a format that cannot be compiled, or that prints no address or no time.
    """
    formats = [compile_format("tailtrace" if log_format == "auto" else log_format)]
    if log_format in {"auto", "tailtrace", TAILTRACE_FORMAT}:
        formats.append(compile_format(TAILTRACE_FORMAT_WITHOUT_SERVE))
    if log_format == "auto":
        formats += [PLAIN_FORMAT, HOST_PLAIN_FORMAT]
    return LineParser(formats, zone)


def refuse(reason: str, line: bytes, file: str, offset: int) -> RejectedLine:
    """Make the refusal of a line, of whichever format: its beginning, without secrets."""
    raw = line[: REJECTED_TEXT_MAX * 4]
    parts: list[str] = []
    end = 0
    for secret in _SECRET.finditer(raw.lower()):
        parts += (raw[end : secret.end(secret.lastindex or 0)].decode("utf-8", "backslashreplace"), "…")
        end = secret.end()
    parts.append(raw[end:].decode("utf-8", "backslashreplace"))
    shown = scrub("".join(parts)[: REJECTED_TEXT_MAX * 4])
    return RejectedLine(reason, file, offset, shown[:REJECTED_TEXT_MAX])


class _Extractor:
    """Turns a match of one format into an `Access`."""

    __slots__ = ("_groups", "_read_time", "_unescape", "fullmatch")

    def __init__(self, fmt: LogFormat, zone: tzinfo) -> None:
        self.fullmatch = fmt.pattern.fullmatch
        self._unescape = fmt.unescape
        has = {name: index + 1 for index, name in enumerate(fmt.names)}
        absent = fmt.pattern.groups
        self._groups = [next((has[name] for name in names if name in has), absent) for names in _FIELDS]
        missing = "$msec, $time_local or $time_iso8601" if self._groups[0] == absent else "$remote_addr"
        if absent in self._groups[:2]:
            raise FormatError(f"log format: without {missing} a line says too little; add it: {fmt.source!r}")
        self._read_time = (
            _epoch_us if "msec" in has else _local_reader(zone) if "time_local" in has else _iso_reader(zone)
        )

    def extract(self, match: re.Match[str], line: bytes, place: int) -> Access:
        """Return the record, or raise `_UnreadableError`. A value that the line lacks is empty or None."""
        values = match.group(*self._groups)
        if b"\\" in line:
            unescape = self._unescape
            values = tuple(unescape(value) if value and "\\" in value else value for value in values)
        (
            time,
            address,
            request,
            method,
            target,
            status,
            size,
            duration,
            upstream_duration,
            upstream,
            service,
            agent,
            request_id,
            trace_id,
            span_id,
            extra,
            login,
            funnel,
        ) = values
        if extra:
            duration, upstream_duration = _extra_durations(extra)
            upstream = upstream_duration
        request_time_us = _duration_us(duration) if duration else None
        if method:
            method, path, card = _target(method[:REQUEST_LENGTH_MAX], target[:REQUEST_LENGTH_MAX])
        else:
            method, path, card = _request((request or target)[:REQUEST_LENGTH_MAX])
        return tuple.__new__(
            # The fields of `Access` in order: its own constructor takes twice as long.
            Access,
            (
                self._read_time(time) - (request_time_us or 0),
                # With a request id the line alone is the name; without one, its place tells equal lines apart.
                xxh3_64_intdigest(line, 0 if request_id and len(request_id) == 32 else place) & _KEY_MASK,
                _address(address),
                method,
                path,
                _status(status) if status else 0,
                request_time_us,
                _upstream_us(upstream_duration) if upstream_duration else None,
                bool(upstream) and upstream != "-",
                int(size) if size and size.isdecimal() and len(size) < SIZE_DIGITS_MAX else _no_size(size),
                _service(service[:SERVICE_LENGTH_MAX]) if service else "",
                trace_id if trace_id and _TRACE_ID.fullmatch(trace_id) else "",
                span_id if span_id and _SPAN_ID.fullmatch(span_id) else "",
                _agent(agent[:AGENT_LENGTH_MAX]) if agent else "",
                card,
                _clean(login or funnel, SERVE_LENGTH_MAX) if login or funnel else "",
            ),
        )


@lru_cache(maxsize=8192)
def _request(request: str) -> tuple[str, str, str]:
    """Return method, path and card of `$request`; a line that is no HTTP request is all path."""
    match = _REQUEST.fullmatch(request)
    if match and (match[3] or match[1] in METHODS):
        return _target(match[1], match[2])
    return _target("", request)


@lru_cache(maxsize=8192)
def _target(method: str, target: str) -> tuple[str, str, str]:
    """Return method, path and card. An absolute-form target (RFC 9112 section 3.2.2) becomes its path."""
    if origin := _ORIGIN.match(target):
        target = target[origin.end() :] or "/"
    address, _, query = target.partition("?")
    path = "" if target == "-" else scrub(_clean_path(address.partition("#")[0]))
    return method if method in METHODS else "_OTHER", path, _card(query) if path == VIEW_PATH else ""


@lru_cache(maxsize=16384)
def _address(value: str) -> str:
    # An IPv4 address has one form only: to know it is a tenth of the work of `ip_address`, which asks for each octet.
    if _IPV4.fullmatch(value) or value == "unix:":
        return value
    try:
        address = ip_address(value)
    except ValueError:
        raise _UnreadableError("bad-address") from None
    if isinstance(address, IPv6Address):
        if address.scope_id:
            raise _UnreadableError("bad-address")
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
    return str(address)


@lru_cache(maxsize=1024)
def _status(value: str) -> int:
    if value == "-":
        return 0
    if not (value.isascii() and value.isdecimal() and len(value) == 3):
        raise _UnreadableError("bad-number")
    return int(value)


def _no_size(value: str | None) -> int:
    if value and value != "-":
        raise _UnreadableError("bad-number")
    return 0


@lru_cache(maxsize=4096)
def _duration_us(value: str) -> int | None:
    if value == "-":
        return None
    match = _SECONDS.fullmatch(value)
    if match is None:
        raise _UnreadableError("bad-number")
    return int(match[1]) * 1_000_000 + int(((match[2] or "") + "000000")[:6])


def _upstream_us(value: str) -> int | None:
    """Sum a list such as `-, 0.001` or `0.004 : 0.200`: every server tried cost its time."""
    if "," not in value and ":" not in value:
        return _duration_us(value)
    times = [_duration_us(item) for part in re.split("[,:]", value) if (item := part.strip())]
    known = [time for time in times if time is not None]
    return sum(known) if known else None


def _extra_durations(extra: str) -> tuple[str, str]:
    """Guess request time and upstream time from what was appended to a combined line.

    nginx prints a duration, and little else, with three decimals. A request takes longer than its upstream, and the
    upstream's response longer than its connect and header, so the two longest are the two that we look for, in
    whatever order and under whatever label they stand.
    """
    longest = nlargest(2, _EXTRA_SECONDS.findall(extra), key=float)
    return (longest[0] if longest else "", longest[1] if len(longest) > 1 else "")


def _epoch_us(value: str) -> int:
    match = _SECONDS.fullmatch(value)
    if match is None:
        raise _UnreadableError("bad-time")
    time_us = int(match[1]) * 1_000_000 + int(((match[2] or "") + "000000")[:6])
    if not 0 < time_us < TIME_US_MAX:
        raise _UnreadableError("bad-time")
    return time_us


def _iso_reader(zone: tzinfo) -> Callable[[str], int]:
    @lru_cache(maxsize=1024)
    def read(value: str) -> int:
        try:
            time = datetime.fromisoformat(value)
            return _since_epoch_us(time if time.tzinfo else time.replace(tzinfo=zone))
        except (ValueError, OverflowError):
            raise _UnreadableError("bad-time") from None

    return read


def _local_reader(zone: tzinfo) -> Callable[[str], int]:
    @lru_cache(maxsize=1024)
    def read_minute(value: str) -> int:
        match = _MINUTE_LOCAL.fullmatch(value)
        if match is None:
            raise _UnreadableError("bad-time")
        day, month, year, hour, minute, sign, zone_hours, zone_minutes = match.groups()
        try:
            own = zone
            if sign:
                east = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
                own = timezone(east if sign == "+" else -east)
            return _since_epoch_us(datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), tzinfo=own))
        except (ValueError, KeyError, OverflowError):
            raise _UnreadableError("bad-time") from None

    def read(value: str) -> int:
        second_us = _SECOND_US.get(value[18:20])
        if second_us is None or len(value) > TIME_LENGTH_MAX:
            raise _UnreadableError("bad-time")
        # A busy log has many lines in a minute, and few in a second.
        return read_minute(value[:18] + value[20:]) + second_us

    return read


def _since_epoch_us(time: datetime) -> int:
    time_us = (time - _EPOCH) // _MICROSECOND
    if not 0 < time_us < TIME_US_MAX:
        raise ValueError
    return time_us


def _clean_path(path: str) -> str:
    """Cut, and write what is not printable ASCII the way a URL does: `%FF`."""
    cut = path[:PATH_LENGTH_MAX]
    if cut.isascii() and cut.isprintable():
        return cut
    return quote(cut, safe=_PRINTABLE_ASCII, encoding="utf-8", errors="surrogateescape")[:PATH_LENGTH_MAX]


def _clean(text: str, length_max: int) -> str:
    """Cut, and make every character printable: log text is an attacker's text."""
    cut = text[:length_max]
    if cut.isprintable():
        return cut
    shown = cut.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if shown.isprintable():
        return shown[:length_max]
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown)[:length_max]


@lru_cache(maxsize=4096)
def _agent(agent: str) -> str:
    return "" if agent == "-" else _clean(agent, AGENT_LENGTH_MAX)


@lru_cache(maxsize=1024)
def _service(service: str) -> str:
    return "" if service == "-" else _clean(service, SERVICE_LENGTH_MAX)


def _card(query: str) -> str:
    try:
        fields = parse_qs(query, max_num_fields=16, encoding="utf-8", errors="replace")
    except ValueError:
        return ""
    card = _clean(fields.get("card", [""])[0].strip(), CARD_LENGTH_MAX)
    return card_key(card, fields.get("variant", [""])[0])

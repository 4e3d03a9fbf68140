"""Lines of an access log in, records or refusals out. Pure: bytes in, no clock, no file.

What becomes of a line:

| the line | becomes |
|---|---|
| fits a format, has an address and a time | an `Access` |
| fits, but the request line is not HTTP (TLS to a plain port, a scanner) | an `Access` with method `_OTHER` |
| longer than `LINE_LENGTH_MAX` | a `RejectedLine`: too-long |
| fits no format | a `RejectedLine`: no-format |
| fits, but its time, address or a number cannot be read | a `RejectedLine`: bad-time, bad-address, bad-number |
| fits, but a value holds the beginning of another line: two were glued | a `RejectedLine`: second-request |
| empty | a `RejectedLine`: empty |

`auto` reads what `recognise` made out of the first lines of the log, and any other line that it can tell by itself.

This is the hot path of an import. What repeats from line to line (address, second, request, agent, durations) is
worked out once and remembered; each memory is bounded in entries and in the length of an entry. Remembering has a
second use: equal texts are one object, whose hash the look-ups further on need not compute again.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import parse_qs, quote

from xxhash import xxh3_64_intdigest

from tailtrace_bridge.core.cards import CARD_LENGTH_MAX, VIEW_PATH, card_key
from tailtrace_bridge.core.errors import FormatError
from tailtrace_bridge.core.records import Access, RejectedLine
from tailtrace_bridge.logs.format import (
    TAILTRACE_FORMAT,
    TAILTRACE_FORMATS_BEFORE,
    LogFormat,
    compile_format,
)
from tailtrace_bridge.logs.json_keys import JsonFormat
from tailtrace_bridge.logs.known_formats import KNOWN_FORMATS
from tailtrace_bridge.logs.recognise import AnyFormat, recognise_line
from tailtrace_bridge.logs.scrub import scrub
from tailtrace_bridge.logs.wrappers import unwrap_line

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
APP_LENGTH_MAX = 1024
"""What an app says of its answer; one character more is kept, to show that it was longer."""
EXCHANGE_LENGTH_MAX = 1024
REJECTED_TEXT_MAX = 200
TIME_LENGTH_MAX = 40
TIME_US_MAX = 4_102_444_800_000_000
"""2100-01-01: a later time is a broken line."""
REASONS = ("empty", "too-long", "no-format", "bad-time", "bad-address", "bad-number", "second-request")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
"""https://opentelemetry.io/docs/specs/semconv/http/http-spans/ : known methods; any other is `_OTHER`."""

FIELDS: tuple[tuple[str, ...], ...] = (
    ("msec", "time_local", "time_iso8601"),
    ("remote_addr", "realip_remote_addr", "proxy_protocol_addr", "http_x_real_ip", "http_x_forwarded_for"),
    ("request",),
    ("request_method",),
    ("request_uri", "uri", "document_uri"),
    ("status",),
    ("bytes_sent", "body_bytes_sent"),
    ("request_time",),
    ("upstream_response_time",),
    ("upstream_addr", "upstream_status", "upstream_response_time"),
    ("server_name", "host", "http_host"),
    ("http_user_agent",),
    ("request_id", "req_id"),
    ("tailtrace_trace_id", "request_id"),
    ("tailtrace_span_id",),
    ("http_tailscale_user_login",),
    ("http_tailscale_funnel_request",),
)
"""What `_Extractor` reads, in its order: of each row, the first variable that has a value in the line.

Of the time and of the trace id it is the first that the format has: nginx writes these for each request.
"""
_TIME, _ADDRESS, _UPSTREAM_ROW, _TRACE_ID_ROW, _SPAN_ID_ROW = 0, 1, 9, 13, 14
_CHOSEN = frozenset({"http_x_forwarded_for", "http_x_real_ip", "proxy_protocol_addr"})
"""Addresses that may be missing, or no address, because of what a client or a proxy sent."""
_MORE_FIELDS = (
    "tailtrace_inbound_trace_id",
    "tailtrace_inbound_span_id",
    "tailtrace_flags",
    "realip_remote_addr",
    "remote_port",
    "proxy_protocol_addr",
    "upstream_http_x_tailtrace",
    "upstream_cache_status",
    "exchange",
    "tailtrace_proxied",
)
"""What it reads too, where the format has any of it: few formats do."""
_NOTHING_MORE: tuple[str | int | bool, ...] = ("", 0, "", "", "", "", True, "")
_FRESH = frozenset({"", "-", "MISS", "BYPASS", "EXPIRED"})
"""`$upstream_cache_status` of an answer that the app gave to this request; any other repeats an old answer's header."""

_MONTH_NAMES = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_MONTHS = {name: i for i, name in enumerate(_MONTH_NAMES, start=1)}
_MINUTE_LOCAL = re.compile(
    r"([0-9]{2})/([A-Z][a-z]{2})/([0-9]{4}):([0-9]{2}):([0-9]{2}):(?: ([+-])([0-9]{2})([0-5][0-9]))?"
)
_SECOND_US = {f"{second:02}": second * 1_000_000 for second in range(60)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECONDS = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?")
_REQUEST = re.compile(r"([^ ]+) (.+?)( HTTP/[0-9.]+)?", re.DOTALL)
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!$)|$)){4}")
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")
_PROXY_NETWORKS = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/8", "fe80::/10"))
)
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")
NO_SPAN_ID = "0" * 16
PORT_DIGITS_MAX = 6
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
    `by_itself` says of a line that fits none of them which format it has, from the line alone; None: it is rejected.
    """

    def __init__(
        self,
        formats: Sequence[AnyFormat],
        zone: tzinfo = UTC,
        by_itself: "Callable[[str], AnyFormat | None] | None" = None,
        unwrap: "Callable[[bytes], bytes | None] | None" = None,
    ) -> None:
        self.formats = tuple(formats)
        self._zone = zone
        self._by_itself = by_itself
        self._unwrap = unwrap
        self._wrapped = False
        self._extractors = [_extractor(fmt, zone) for fmt in formats]

    @property
    def is_auto(self) -> bool:
        """Whether it finds the formats out from the lines."""
        return self._by_itself is not None

    def for_formats(self, formats: "Sequence[AnyFormat]") -> "LineParser":
        """Return a parser that knows `formats` beside those of this one."""
        known = {fmt.source for fmt in self.formats}
        new = [fmt for fmt in formats if fmt.source not in known]
        return LineParser([*self.formats, *new], self._zone, self._by_itself, self._unwrap)

    def fits(self, line: bytes) -> bool:
        """Whether a line has one of `formats`."""
        text = line.decode("utf-8", "surrogateescape")
        return any(extractor.fullmatch(text) for extractor in self._extractors)

    def parse(self, line: bytes, file: str, offset: int, seed: int = 0) -> Access | RejectedLine:
        """Return the record of `line` (without its newline), or why there is none.

        `seed` names the log that the line stands in (`tail.fingerprint`); it tells equal lines of one log apart.
        """
        if len(line) > LINE_LENGTH_MAX:
            return refuse("too-long", line, file, offset)
        if self._wrapped and self._unwrap is not None:
            line = self._unwrap(line) or line
        text = line.decode("utf-8", "surrogateescape")
        extractor = self._extractors[0]
        match = extractor.fullmatch(text)
        if match is not None:
            try:
                return extractor.extract(match, line, (seed + offset) & _KEY_MASK)
            except _UnreadableError as unreadable:
                reason = str(unreadable)
        else:
            reason = ""
        return self._parse_otherwise(text, line, file, offset, seed, reason)

    def format_of(self, line: bytes) -> "AnyFormat | None":
        """Return the format that a line is read by; None: it is rejected. It changes nothing that `parse` does."""
        for inner in (line, self._unwrap(line) if self._unwrap is not None else None):
            if inner is None or len(inner) > LINE_LENGTH_MAX:
                continue
            text = inner.decode("utf-8", "surrogateescape")
            for extractor in self._extractors:
                match = extractor.fullmatch(text)
                if match is not None and _reads(extractor, match, inner):
                    return extractor.format
            found = self._by_itself(text) if self._by_itself is not None else None
            if found is not None:
                extractor = _extractor(found, self._zone)
                match = extractor.fullmatch(text)
                if match is not None and _reads(extractor, match, inner):
                    return found
        return None

    def _parse_otherwise(
        self, text: str, line: bytes, file: str, offset: int, seed: int, reason: str
    ) -> Access | RejectedLine:
        """Try the other formats, then what the line says by itself, then what is wrapped in it."""
        for index, extractor in enumerate(self._extractors[1:], start=1):
            match = extractor.fullmatch(text)
            if match is None:
                continue
            try:
                record = extractor.extract(match, line, (seed + offset) & _KEY_MASK)
            except _UnreadableError as unreadable:
                reason = reason or str(unreadable)
                continue
            self._extractors.insert(0, self._extractors.pop(index))
            return record
        if not text.strip():
            return refuse("empty", line, file, offset)
        if self._by_itself is not None and (found := self._by_itself(text)) is not None:
            extractor = _extractor(found, self._zone)
            if match := extractor.fullmatch(text):
                try:
                    return extractor.extract(match, line, (seed + offset) & _KEY_MASK)
                except _UnreadableError as unreadable:
                    reason = reason or str(unreadable)
        if self._unwrap is not None and not self._wrapped and (inner := self._unwrap(line)) is not None:
            within = self.parse(inner, file, offset, seed)
            if not isinstance(within, RejectedLine):
                self._wrapped = True  # the next lines are so too; one that is not is read as it stands
            return within
        return refuse(reason or "no-format", line, file, offset)


def make_parser(log_format: str = "auto", zone: tzinfo = UTC) -> LineParser:
    """Make a parser for `auto` (see the head of this file), a format's name, or a `log_format` string.

    Raises `FormatError` for a format that cannot be compiled, or that prints no address or no time.
    """
    if log_format == "auto":
        own = [
            compile_format("tailtrace"),
            *(compile_format(before, "tailtrace") for before in TAILTRACE_FORMATS_BEFORE),
        ]
        return LineParser(own, zone, recognise_line, unwrap_line)
    formats = [
        compile_format(KNOWN_FORMATS.get(log_format, log_format), log_format if log_format in KNOWN_FORMATS else "")
    ]
    if log_format in {"tailtrace", TAILTRACE_FORMAT}:
        formats += [compile_format(before, "tailtrace") for before in TAILTRACE_FORMATS_BEFORE]
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


@lru_cache(maxsize=256)
def _extractor(fmt: AnyFormat, zone: tzinfo) -> "_Extractor | _KeysExtractor":
    return _KeysExtractor(fmt, zone) if isinstance(fmt, JsonFormat) else _Extractor(fmt, zone)


def _reads(extractor: "_Extractor | _KeysExtractor", match: Any, line: bytes) -> bool:
    try:
        extractor.extract(match, line, 0)
    except _UnreadableError:
        return False
    return True


class _Extractor:
    """Turns a match of one format into an `Access`."""

    __slots__ = (
        "_choices", "_groups", "_guards", "_is_chosen", "_more_groups", "_own", "_read_time", "_unescape", "format",
        "fullmatch",
    )  # fmt: skip

    def __init__(self, fmt: LogFormat, zone: tzinfo) -> None:
        self.format = fmt
        self.fullmatch = fmt.pattern.fullmatch
        self._unescape = fmt.unescape
        self._guards = fmt.guards
        has = {name: index + 1 for index, name in enumerate(fmt.names)}
        absent = fmt.pattern.groups
        found = [[has[name] for name in names if name in has] for names in FIELDS]
        self._groups = [groups[0] if groups else absent for groups in found]
        _require(fmt.names, fmt.source)
        self._choices = [
            (row, groups)
            for row, groups in enumerate(found)
            if len(groups) > 1 and row not in {_TIME, _TRACE_ID_ROW} and not (row == _ADDRESS and "remote_addr" in has)
        ]
        self._is_chosen = "remote_addr" not in has and not _CHOSEN.isdisjoint(has)
        # None where the format has nothing of these: that is what most lines pay for them.
        more = [has.get(name, absent) for name in (*_MORE_FIELDS, "server_addr")]
        self._more_groups = more if any(name in has for name in _MORE_FIELDS) else None
        self._own = "exchange" in has
        if self._own:
            self._choices = []
        self._read_time = (
            _epoch_us if "msec" in has else _local_reader(zone) if "time_local" in has else _iso_reader(zone)
        )

    def extract(self, match: Any, line: bytes, place: int) -> Access:
        """Return the record, or raise `_UnreadableError`. A value that the line lacks is empty or None."""
        for group, guard in self._guards:
            value = match[group]
            if value != "-" and guard.search(value):
                raise _UnreadableError("second-request")
        values = match.group(*self._groups)
        if self._choices:
            values = self._first_with_a_value(match, values)
        if b"\\" in line:
            unescape = self._unescape
            values = tuple(unescape(value) if value and "\\" in value else value for value in values)
        more = _NOTHING_MORE
        if self._more_groups is not None:
            trace_id, span_id, more = self._more(
                match.group(*self._more_groups), values[_TRACE_ID_ROW], values[_SPAN_ID_ROW], values[_ADDRESS],
                values[_UPSTREAM_ROW],
            )  # fmt: skip
            values = (*values[:_TRACE_ID_ROW], trace_id, span_id, *values[_SPAN_ID_ROW + 1 :])
        return _access(values, line, place, self._read_time, self._is_chosen, more)

    def _first_with_a_value(self, match: re.Match[str], values: tuple[Any, ...]) -> tuple[Any, ...]:
        chosen = list(values)
        for row, groups in self._choices:
            for group in groups:
                value = match[group]
                if value not in {"", "-"} and (row != _ADDRESS or _client(value)):
                    chosen[row] = value
                    break
        return tuple(chosen)

    def _more(
        self, values: tuple[str, ...], trace_id: str, span_id: str, address: str, upstream: str
    ) -> tuple[str, str, tuple[str | int | bool, ...]]:
        """Return the ids, and the last fields of `Access`."""
        inbound, parent, flags, peer, port, proxy_protocol, app, cache, exchange, proxied, server = values
        if self._own:
            span_id = _span_of(trace_id)
            trace_id = inbound or trace_id
        claim = proxied or (f"{proxy_protocol}@{server}" if proxy_protocol else "")
        said = app and app != "-" and upstream and upstream != "-" and cache in _FRESH
        return (
            trace_id,
            span_id,
            (
                _address(peer) if peer and peer != "-" and (peer != address or peer == "unix:") else "",
                int(port) if port and port.isascii() and port.isdecimal() and len(port) < PORT_DIGITS_MAX else 0,
                *(_proxied(claim) if claim else ("", "")),
                self._app(app) if said else "",
                parent if parent and _SPAN_ID.fullmatch(parent) else "",
                not flags or _is_sampled(flags),
                exchange[:EXCHANGE_LENGTH_MAX] if exchange else "",
            ),
        )

    def _app(self, value: str) -> str:
        return _clean(self._unescape(value) if "\\" in value else value, APP_LENGTH_MAX + 1)


class _KeysExtractor:
    """Turns a JSON line into an `Access`, by the names of its keys."""

    __slots__ = ("_read_time", "format", "fullmatch")

    def __init__(self, fmt: JsonFormat, zone: tzinfo) -> None:
        self.format = fmt
        self.fullmatch = fmt.match
        local, iso = _local_reader(zone), _iso_reader(zone)

        def read_time(value: str) -> int:
            return _epoch_us(value) if _SECONDS.fullmatch(value) else local(value) if value[2:3] == "/" else iso(value)

        self._read_time = read_time

    def extract(self, match: Any, line: bytes, place: int) -> Access:
        """Return the record, or raise `_UnreadableError`."""
        get = match.get
        values = [
            next((value for name in names if (value := get(name)) not in {None, "", "-"}), "") for names in FIELDS
        ]
        if not values[_TIME]:
            raise _UnreadableError("bad-time")
        is_chosen = "remote_addr" not in match
        if is_chosen:
            addresses = [value for name in FIELDS[_ADDRESS] if (value := get(name)) and _client(value)]
            values[_ADDRESS] = addresses[0] if addresses else ""
        record = _access(tuple(values), line, place, self._read_time, is_chosen, _NOTHING_MORE)
        # Traefik's time is that of the begin.
        return record._replace(time_us=record.time_us + (record.request_time_us or 0)) if "begins" in match else record


def _require(names: Sequence[str], source: str) -> None:
    """Raise `FormatError` for a format without a time, or without any address."""
    for row in (_TIME, _ADDRESS):
        if not set(FIELDS[row]).isdisjoint(names):
            continue
        if row == _TIME:
            raise FormatError(
                f"log format: without $msec, $time_local or $time_iso8601 a line says too little; add it: {source!r}"
            )
        raise FormatError(
            f"log format: without an address nobody is found; add $remote_addr (or, behind a proxy, "
            f"{', '.join(f'${name}' for name in FIELDS[row][1:])}) to nginx's log_format; lines that are there already "
            f"cannot be read by it: {source!r}"
        )


def _span_of(request_id: str) -> str:
    """Return nginx's span id: half of `$request_id`, as `tailtrace-http.conf` takes it. The W3C forbids zeros only."""
    half = request_id[16:]
    if half != NO_SPAN_ID:
        return half
    return request_id[:16] if request_id[:16] != NO_SPAN_ID else NO_SPAN_ID[1:] + "1"


@lru_cache(maxsize=256)
def _is_sampled(flags: str) -> bool:
    try:
        return bool(int(flags, 16) & 1)
    except ValueError:
        return True


@lru_cache(maxsize=4096)
def _proxied(value: str) -> tuple[str, str]:
    """Read `ADDRESS@SERVER`: what a PROXY line said, which nginx does not check, and where nginx took it."""
    address, _, server = value.partition("@")
    return _address_or_empty(address), _address_or_empty(server)


def _address_or_empty(value: str) -> str:
    try:
        return _address(value)
    except _UnreadableError:
        return ""


def _access(
    values: tuple[Any, ...],
    line: bytes,
    place: int,
    read_time: Callable[[str], int],
    is_chosen: bool,
    more: tuple[str | int | bool, ...],
) -> Access:
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
        login,
        funnel,
    ) = values
    request_time_us = _duration_us(duration) if duration else None
    if method and method != "-" and target:
        method, path, card = _target(method[:REQUEST_LENGTH_MAX], target[:REQUEST_LENGTH_MAX])
    else:
        method, path, card = _request((request or target or "")[:REQUEST_LENGTH_MAX])
    return tuple.__new__(
        # The fields of `Access` in order: its own constructor takes twice as long.
        Access,
        (
            read_time(time) - (request_time_us or 0),
            # With a request id the line alone is the name; without one, its place tells equal lines apart.
            xxh3_64_intdigest(line, 0 if request_id and len(request_id) == 32 else place) & _KEY_MASK,
            _client(address) if is_chosen else _address(address),
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
            *more,
        ),
    )


@lru_cache(maxsize=8192)
def _request(request: str) -> tuple[str, str, str]:
    """Return method, path and card of `$request`; a line that is no HTTP request is all path."""
    match = _REQUEST.fullmatch(request)
    if match and (match[3] or match[1] in METHODS):
        return _target(match[1], match[2].strip(" "))
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


@lru_cache(maxsize=16384)
def _client(value: str) -> str:
    """Return the client of a list such as `$http_x_forwarded_for`; empty where it names none.

    Each proxy appends who came to it, so from the right the first that is none of our own proxies' addresses is as far
    as anybody can be sure of; what stands left of it the client may have made up.
    """
    known = [address for item in value.split(",") if (address := _listed(item.strip()))]
    public = [address for address in known if not _is_proxys(address)]
    return public[-1] if public else known[0] if known else ""


def _listed(item: str) -> str:
    if match := _WITH_PORT.fullmatch(item):
        item = match[1] or match[2]
    try:
        return _address(item)
    except _UnreadableError:
        return ""


def _is_proxys(text: str) -> bool:
    address = None if text == "unix:" else ip_address(text)
    return (
        address is None
        or address.is_loopback
        or any(address.version == network.version and address in network for network in _PROXY_NETWORKS)
    )


@lru_cache(maxsize=1024)
def _status(value: str) -> int:
    if value in {"-", "0", "000"}:
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
        if value.endswith("ms") and value[:-2].isdecimal() and value.isascii() and len(value) < SIZE_DIGITS_MAX:
            return int(value[:-2]) * 1000  # Traefik's
        raise _UnreadableError("bad-number")
    return int(match[1]) * 1_000_000 + int(((match[2] or "") + "000000")[:6])


def _upstream_us(value: str) -> int | None:
    """Sum a list such as `-, 0.001` or `0.004 : 0.200`: every server tried cost its time."""
    if "," not in value and ":" not in value:
        return _duration_us(value)
    times = [_duration_us(item) for part in re.split("[,:]", value) if (item := part.strip())]
    known = [time for time in times if time is not None]
    return sum(known) if known else None


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

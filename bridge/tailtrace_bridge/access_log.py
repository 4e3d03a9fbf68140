"""Lines of an access log in, records or refusals out. Pure: bytes in, no clock, no file.

What becomes of a line:

| the line | becomes |
|---|---|
| fits a format, has an address and a time | an `Access` |
| fits, but the request line is not HTTP (TLS to a plain port, a scanner) | an `Access` with method `_OTHER` |
| longer than `LINE_LENGTH_MAX` | a `Refusal`: too-long |
| fits no format | a `Refusal`: no-format |
| fits, but its time, address or a number cannot be read | a `Refusal`: bad-time, bad-address, bad-number |
| empty | a `Refusal`: empty |
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from urllib.parse import parse_qs, quote

import xxhash

from tailtrace_bridge.log_format import COMBINED_FORMAT, COMMON_FORMAT, TAILTRACE_FORMAT, LogFormat, compile_format
from tailtrace_bridge.records import Access, Refusal

LINE_LENGTH_MAX = 64 * 1024
PATH_LENGTH_MAX = 512
AGENT_LENGTH_MAX = 256
CARD_LENGTH_MAX = 64
REFUSAL_TEXT_MAX = 200
YEAR_US_MAX = 4_102_444_800_000_000
"""2100-01-01: a later time is a broken line."""
REASONS = ("empty", "too-long", "no-format", "bad-time", "bad-address", "bad-number")
VIEW_PATH = "/_tailtrace/view"

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
"""https://opentelemetry.io/docs/specs/semconv/http/http-spans/ : known methods; any other is `_OTHER`."""

_MONTHS = {name: i + 1 for i, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())}
_TIME_LOCAL = re.compile(r"(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d)(?: ([+-])(\d\d)(\d\d))?")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")
_KEY_MASK = (1 << 63) - 1


class _Unreadable(Exception):
    """A value that cannot be read; its argument is one of `REASONS`."""


class LineParser:
    """Parses the lines of one log.

    `formats` are tried in order, the one that fitted last first; `zone` is the zone of times that name none.
    One parser for each log keeps the order right for it; mixed logs cost a second match for each change.
    """

    def __init__(self, formats: Sequence[LogFormat], zone: tzinfo = UTC) -> None:
        self._extractors = [(fmt.pattern.fullmatch, _Extractor(fmt, zone)) for fmt in formats]

    def parse(self, line: bytes, file: str, offset: int, seed: int = 0) -> Access | Refusal:
        """Give the record of `line` (without its newline), or why there is none.

        `seed` names the log that the line stands in (`tail.fingerprint`); it tells equal lines of one log apart.
        """
        if len(line) > LINE_LENGTH_MAX:
            return _refuse("too-long", line, file, offset)
        text = line.decode("utf-8", "surrogateescape")
        extractors = self._extractors
        for index, (fullmatch, extract) in enumerate(extractors):
            match = fullmatch(text)
            if match is None:
                continue
            if index:
                extractors.insert(0, extractors.pop(index))
            try:
                return extract(match.groups(), line, seed + offset)
            except _Unreadable as unreadable:
                return _refuse(str(unreadable), line, file, offset)
        return _refuse("no-format" if text.strip() else "empty", line, file, offset)


def make_parser(log_format: str = "auto", zone: tzinfo = UTC) -> LineParser:
    """Make a parser for `auto` (each line is ours, combined or common), a format's name, or a `log_format` string."""
    sources = (TAILTRACE_FORMAT, COMBINED_FORMAT, COMMON_FORMAT) if log_format == "auto" else (log_format,)
    return LineParser([compile_format(source) for source in sources], zone)


def _refuse(reason: str, line: bytes, file: str, offset: int) -> Refusal:
    text = line[: REFUSAL_TEXT_MAX * 4].decode("utf-8", "backslashreplace")
    return Refusal(reason, file, offset, text[:REFUSAL_TEXT_MAX])


class _Extractor:
    """Turns the values of one format into an `Access`."""

    def __init__(self, fmt: LogFormat, zone: tzinfo) -> None:
        self._unescape = fmt.unescape
        # An absent variable reads the empty string that is put behind the values.
        place = {name: index for index, name in enumerate(fmt.names)}
        absent = len(fmt.names)

        def at(*names: str) -> int:
            return next((place[name] for name in names if name in place), absent)

        self._address = at("remote_addr", "realip_remote_addr")
        self._request, self._method = at("request"), at("request_method")
        self._uri = at("request_uri", "uri", "document_uri")
        self._status, self._bytes = at("status"), at("bytes_sent", "body_bytes_sent")
        self._request_time = at("request_time")
        self._upstream_time, self._upstream_addr = at("upstream_response_time"), at("upstream_addr", "upstream_status")
        self._service, self._agent = at("server_name", "host"), at("http_user_agent")
        self._request_id = at("request_id")
        self._trace_id, self._span_id = at("tailtrace_trace_id", "request_id"), at("tailtrace_span_id")
        self._time = at("msec", "time_local", "time_iso8601")
        read_time = next(
            (
                reader
                for name, reader in (
                    ("msec", _epoch_us),
                    ("time_local", _local_reader(zone)),
                    ("time_iso8601", _iso_us),
                )
                if name in place
            ),
            None,
        )
        if read_time is None or self._address == absent:
            missing = "$remote_addr" if read_time else "$time_local, $time_iso8601 or $msec"
            from tailtrace_bridge.errors import FormatError  # noqa: PLC0415

            raise FormatError(f"log format: without {missing} a line says too little: {fmt.source!r}")
        self._read_time = read_time

    def __call__(self, matched: tuple[str, ...], line: bytes, place: int) -> Access:
        values = (*matched, "")
        if b"\\" in line:
            values = tuple(self._unescape(value) if "\\" in value else value for value in values)
        end_us = self._read_time(values[self._time])
        request_time_us = _duration_us(values[self._request_time])
        method, target = values[self._method], values[self._uri]
        if not method:
            method, target = _split_request(values[self._request])
        path, _, query = target.partition("?")
        request_id = values[self._request_id]
        trace_id, span_id = values[self._trace_id], values[self._span_id]
        agent, upstream = values[self._agent], values[self._upstream_addr]
        upstream_time = values[self._upstream_time]
        return Access(
            end_us - (request_time_us or 0),
            # With a request id the line alone is the name; without one, its place tells equal lines apart.
            xxhash.xxh3_64_intdigest(line, 0 if len(request_id) == 32 else place & _KEY_MASK) & _KEY_MASK,
            _address(values[self._address]),
            method if method in METHODS else "_OTHER",
            _clean_path(path),
            _number(values[self._status]),
            request_time_us,
            _upstream_us(upstream_time) if upstream_time else None,
            upstream not in {"", "-"},
            _number(values[self._bytes]),
            _clean(values[self._service], 128),
            trace_id if _TRACE_ID.fullmatch(trace_id) else "",
            span_id if _SPAN_ID.fullmatch(span_id) else "",
            "" if agent == "-" else _clean(agent, AGENT_LENGTH_MAX),
            _card(query) if path == VIEW_PATH else "",
        )


def _split_request(request: str) -> tuple[str, str]:
    """Give method and target of `$request`; a line that is no HTTP request is all target."""
    method, _, rest = request.partition(" ")
    if method in METHODS and rest:
        target, space, protocol = rest.rpartition(" ")
        return method, target if space and protocol.startswith("HTTP/") else rest
    return "_OTHER", request


@lru_cache(maxsize=65536)
def _address(value: str) -> str:
    if value == "unix:":
        return value
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise _Unreadable("bad-address") from None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _number(value: str) -> int:
    if value in {"", "-"}:
        return 0
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise _Unreadable("bad-number")
    return int(value)


def _duration_us(value: str) -> int | None:
    if value in {"", "-"}:
        return None
    seconds, _, fraction = value.partition(".")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 10 and (not fraction or fraction.isdigit())):
        raise _Unreadable("bad-number")
    return int(seconds) * 1_000_000 + int((fraction + "000000")[:6])


def _upstream_us(value: str) -> int | None:
    """Sum a list such as `-, 0.001` or `0.004 : 0.200`: every server tried cost its time."""
    times = [_duration_us(part.strip()) for part in re.split("[,:]", value)]
    known = [time for time in times if time is not None]
    return sum(known) if known else None


def _epoch_us(value: str) -> int:
    try:
        time_us = _duration_us(value)
    except _Unreadable:
        time_us = None
    if not time_us or time_us > YEAR_US_MAX:
        raise _Unreadable("bad-time")
    return time_us


@lru_cache(maxsize=1024)
def _iso_us(value: str) -> int:
    try:
        time = datetime.fromisoformat(value)
        return _checked_us(time if time.tzinfo else time.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise _Unreadable("bad-time") from None


def _local_reader(zone: tzinfo) -> Callable[[str], int]:
    @lru_cache(maxsize=1024)
    def read(value: str) -> int:
        match = _TIME_LOCAL.fullmatch(value)
        if match is None:
            raise _Unreadable("bad-time")
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
        try:
            time = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=UTC)
            if sign is None:
                return _checked_us(time.replace(tzinfo=zone))
            shift_us = (int(zone_hours) * 60 + int(zone_minutes)) * 60_000_000
            return _checked_us(time) - (shift_us if sign == "+" else -shift_us)
        except (ValueError, KeyError, OverflowError):
            raise _Unreadable("bad-time") from None

    return read


def _checked_us(time: datetime) -> int:
    time_us = int(time.timestamp()) * 1_000_000 + time.microsecond
    if not 0 < time_us < YEAR_US_MAX:
        raise ValueError
    return time_us


def _clean_path(path: str) -> str:
    """Cut, and write bytes that are no text the way a URL does: `%FF`."""
    cut = path[:PATH_LENGTH_MAX]
    if cut.isascii() and cut.isprintable():
        return cut
    return quote(cut, safe="/:@!$&'()*+,;=~%[]|^{}<>\"` ", encoding="utf-8", errors="surrogateescape")[:PATH_LENGTH_MAX]


def _clean(text: str, length_max: int) -> str:
    """Cut, and make every character printable: log text is an attacker's text."""
    cut = text[:length_max]
    if cut.isprintable():
        return cut
    shown = cut.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown)[:length_max]


def _card(query: str) -> str:
    try:
        names = parse_qs(query[:1024], max_num_fields=16, encoding="utf-8", errors="replace").get("card", [""])
    except ValueError:
        return ""
    return _clean(names[0].strip(), CARD_LENGTH_MAX)

"""A line that fits a format in, an `Access` out: which variable of the format is which field.

This is the hot path of an import. What repeats from line to line (address, second, request, agent, durations) is
worked out once and remembered; each memory is bounded in entries and in the length of an entry. Remembering has a
second use: equal texts are one object, whose hash the look-ups further on need not compute again.
"""

import re
from collections.abc import Callable, Sequence
from datetime import tzinfo
from functools import lru_cache
from typing import Any

from xxhash import xxh3_64_intdigest

from tailtrace_bridge.core.errors import FormatError
from tailtrace_bridge.core.records import ROOT_SPAN_ID, Access
from tailtrace_bridge.logs.addresses import address_of, client_of, proxied_by
from tailtrace_bridge.logs.format import LogFormat
from tailtrace_bridge.logs.grammar import NORMALIZED
from tailtrace_bridge.logs.json_keys import KeyedFormat
from tailtrace_bridge.logs.numbers import SECONDS, SIZE_DIGITS_MAX, duration_us, no_size, status_of, upstream_us
from tailtrace_bridge.logs.recognise import AnyFormat
from tailtrace_bridge.logs.rejected import UnreadableError
from tailtrace_bridge.logs.request_line import request_of, target_of
from tailtrace_bridge.logs.texts import AGENT_LENGTH_MAX, SERVICE_LENGTH_MAX, agent_of, clean, serve_of, service_of
from tailtrace_bridge.logs.times import epoch_us, iso_reader, local_reader

REQUEST_LENGTH_MAX = 1024
"""Characters of a request's target that are looked at: room for the longest path and for a card behind it."""
APP_LENGTH_MAX = 1024
"""What an app says of its answer; one character more is kept, to show that it was longer."""
EXCHANGE_LENGTH_MAX = 1024
ESCAPED_LENGTH_MAX = 16 * (REQUEST_LENGTH_MAX + 1)
"""Of an escaped text that is looked at: no character takes more than its four bytes, each of four characters."""
FIELDS: tuple[tuple[str, ...], ...] = (
    ("msec", "time_local", "time_iso8601"),
    (
        "remote_addr",
        "realip_remote_addr",
        "proxy_protocol_addr",
        "http_x_real_ip",
        "proxy_add_x_forwarded_for",
        "http_x_forwarded_for",
    ),
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
"""What `Extractor` reads, in its order: of each row, the first variable that has a value in the line.

Of the time and of the trace id it is the first that the format has: nginx writes these for each request.
"""
_TIME, _ADDRESS, _UPSTREAM_ROW, _TRACE_ID_ROW, _SPAN_ID_ROW = 0, 1, 9, 13, 14
_CHOSEN = frozenset({"http_x_forwarded_for", "proxy_add_x_forwarded_for", "http_x_real_ip", "proxy_protocol_addr"})
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
    "tailtrace_mark",
)
"""What it reads too, where the format has any of it: few formats do."""
_NOTHING_MORE: tuple[str | int | bool, ...] = ("", 0, "", "", "", "", True, "")
FRESH = frozenset({"", "-", "MISS", "BYPASS", "EXPIRED"})
"""`$upstream_cache_status` of an answer that the app gave to this request; any other repeats an old answer's header."""
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")
NO_SPAN_ID = "0" * 16
PORT_DIGITS_MAX = 5
KEY_MASK = (1 << 63) - 1


@lru_cache(maxsize=256)
def extractor_of(fmt: AnyFormat, zone: tzinfo) -> "Extractor | KeysExtractor":
    """Return what reads the lines of a format; made once."""
    return KeysExtractor(fmt, zone) if isinstance(fmt, KeyedFormat) else Extractor(fmt, zone)


def can_read(extractor: "Extractor | KeysExtractor", match: Any, line: bytes) -> bool:
    """Whether a line that fits can be read."""
    try:
        extractor.extract(match, line, 0)
    except UnreadableError:
        return False
    return True


class Extractor:
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
        if "request" in has and "request_uri" not in has:  # `$uri` is what nginx made of it
            has = {name: group for name, group in has.items() if name not in NORMALIZED}
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
        self._read_time = epoch_us if "msec" in has else local_reader(zone) if "time_local" in has else iso_reader(zone)

    def extract(self, match: Any, line: bytes, place: int) -> Access:
        """Return the record, or raise `UnreadableError`. A value that the line lacks is empty or None."""
        for group, guard in self._guards:
            value = match[group]
            if value != "-" and guard.search(value):
                raise UnreadableError("second-request")
        values = match.group(*self._groups)
        if self._choices:
            values = self._first_with_a_value(match, values)
        if b"\\" in line:
            unescape = self._unescape
            values = tuple([unescape(_short(value)) if value and "\\" in value else value for value in values])
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
                if value not in {"", "-"} and (row != _ADDRESS or client_of(value)):
                    chosen[row] = value
                    break
        return tuple(chosen)

    def _more(
        self, values: tuple[str, ...], trace_id: str, span_id: str, address: str, upstream: str
    ) -> tuple[str, str, tuple[str | int | bool, ...]]:
        """Return the ids, and the last fields of `Access`."""
        inbound, parent, flags, peer, port, proxy_protocol, app, cache, exchange, proxied, mark, server = values
        if self._own:
            span_id = ROOT_SPAN_ID if mark and not inbound else span_of(trace_id)
            trace_id = inbound or trace_id
        claim = proxied or (f"{proxy_protocol}@{server}" if proxy_protocol else "")
        said = app and app != "-" and upstream and upstream != "-" and cache in FRESH
        return (
            trace_id,
            span_id,
            (
                address_of(peer) if peer and peer != "-" and (peer != address or peer == "unix:") else "",
                int(port) if port and port.isascii() and port.isdecimal() and len(port) <= PORT_DIGITS_MAX else 0,
                *(proxied_by(claim) if claim else ("", "")),
                self._app(app) if said else "",
                parent if parent and _SPAN_ID.fullmatch(parent) else "",
                not flags or is_sampled(flags),
                exchange[:EXCHANGE_LENGTH_MAX] if exchange else "",
            ),
        )

    def _app(self, value: str) -> str:
        return clean(self._unescape(value) if "\\" in value else value, APP_LENGTH_MAX + 1)


class KeysExtractor:
    """Turns a line whose values have names, JSON or LTSV, into an `Access`."""

    __slots__ = ("_read_time", "format", "fullmatch")

    def __init__(self, fmt: KeyedFormat, zone: tzinfo) -> None:
        self.format = fmt
        self.fullmatch = fmt.match
        local, iso = local_reader(zone), iso_reader(zone)

        def read_time(value: str) -> int:
            return epoch_us(value) if SECONDS.fullmatch(value) else local(value) if value[2:3] == "/" else iso(value)

        self._read_time = read_time

    def extract(self, match: Any, line: bytes, place: int) -> Access:
        """Return the record, or raise `UnreadableError`."""
        get = match.get
        values = [
            next((value for name in names if (value := get(name)) not in {None, "", "-"}), "") for names in FIELDS
        ]
        if not values[_TIME]:
            raise UnreadableError("bad-time")
        is_chosen = "remote_addr" not in match
        if is_chosen:
            addresses = [value for name in FIELDS[_ADDRESS] if (value := get(name)) and client_of(value)]
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


def span_of(request_id: str) -> str:
    """Return nginx's span id in another's trace, as `tailtrace-http.conf` has it. The W3C forbids zeros only."""
    half = request_id[16:]
    if half != NO_SPAN_ID:
        return half
    return request_id[:16] if request_id[:16] != NO_SPAN_ID else NO_SPAN_ID[1:] + "1"


def _short(value: str) -> str:
    """Cut what nobody looks at off an escaped text, and no escape in two."""
    if len(value) <= ESCAPED_LENGTH_MAX:
        return value
    return value[: max(value.rfind("\\", 0, ESCAPED_LENGTH_MAX), ESCAPED_LENGTH_MAX - 12)]


@lru_cache(maxsize=256)
def is_sampled(flags: str) -> bool:
    """Return whether `$tailtrace_flags` has the request make a span."""
    try:
        return bool(int(flags, 16) & 1)
    except ValueError:
        return True


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
    request_time_us = duration_us(duration) if duration else None
    if method and method != "-" and target:
        method, path, card = target_of(method[:REQUEST_LENGTH_MAX], target[:REQUEST_LENGTH_MAX])
    else:
        method, path, card = request_of((request or target or "")[:REQUEST_LENGTH_MAX])
    return tuple.__new__(
        # The fields of `Access` in order: its own constructor takes twice as long.
        Access,
        (
            read_time(time) - (request_time_us or 0),
            # With a request id the line alone is the name; without one, its place tells equal lines apart.
            xxh3_64_intdigest(line, 0 if request_id and len(request_id) == 32 else place) & KEY_MASK,
            client_of(address) if is_chosen else address_of(address),
            method,
            path,
            status_of(status) if status else 0,
            request_time_us,
            upstream_us(upstream_duration) if upstream_duration else None,
            bool(upstream) and upstream != "-",
            int(size) if size and size.isdecimal() and len(size) < SIZE_DIGITS_MAX else no_size(size),
            service_of(service[:SERVICE_LENGTH_MAX]) if service else "",
            trace_id if trace_id and _TRACE_ID.fullmatch(trace_id) else "",
            span_id if span_id and _SPAN_ID.fullmatch(span_id) else "",
            agent_of(agent[:AGENT_LENGTH_MAX]) if agent else "",
            card,
            serve_of(login, funnel) if login or funnel else "",
            *more,
        ),
    )

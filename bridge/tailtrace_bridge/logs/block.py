"""Blocks of lines in, columns out: what `LineParser` does line by line, for the many lines that have their usual shape.

A `BlockReader` collects lines until `take` is called. Of each block, one pass of a pattern (`block_format`) splits all
lines at once; each distinct address, request and agent is then read once, by the functions that read a line's. A line
that the pattern leaves is read by `LineParser`, and stands in its place; so does each line of a block with a value that
cannot be read. So the columns are those of the records that `LineParser` would make, in their order. Pure.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC
from functools import lru_cache
from itertools import accumulate, chain, compress, repeat
from operator import add, not_, sub
from typing import Any, Generic, NamedTuple, TypeVar

from xxhash import xxh3_64_intdigest

from tailtrace_bridge.core.columns import InterningTable
from tailtrace_bridge.core.records import ROOT_SPAN_ID, Access, RejectedLine
from tailtrace_bridge.logs.addresses import address_of, proxied_by
from tailtrace_bridge.logs.block_format import BlockFormat
from tailtrace_bridge.logs.exchange import Exchange, attempts, streamed_us, streamed_us_of
from tailtrace_bridge.logs.extractor import (
    EXCHANGE_LENGTH_MAX,
    FRESH,
    KEY_MASK,
    REQUEST_LENGTH_MAX,
    is_sampled,
    span_of,
)
from tailtrace_bridge.logs.files import Piece, fingerprint, lines_of
from tailtrace_bridge.logs.format import TAILTRACE_FIELDS, TAILTRACE_FRONT
from tailtrace_bridge.logs.numbers import duration_us, status_of, upstream_us
from tailtrace_bridge.logs.parser import LineParser
from tailtrace_bridge.logs.rejected import LINE_LENGTH_MAX, UnreadableError
from tailtrace_bridge.logs.request_line import new_request_of, request_of, target_of
from tailtrace_bridge.logs.texts import AGENT_LENGTH_MAX, SERVICE_LENGTH_MAX, agent_of, serve_of, service_of
from tailtrace_bridge.logs.times import iso_reader, local_reader, seconds_us

CACHE_ENTRIES_MAX = 16_384
SECOND_US, MINUTE_US = 1_000_000, 60_000_000
_T = TypeVar("_T")
_K = TypeVar("_K")
_ROOT_SPAN_ID = bytes.fromhex(ROOT_SPAN_ID)
_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
_PLAIN = Access(0, 0, "", "", "", 0, None, None, False, 0, "", "", "", "", "")[15:]
"""What a line says beyond its columns, if it says nothing."""
_NO_FRONT = (b"", b"\t", b"\t")
_APP = re.compile(r"1;t=(0|[1-9][0-9]{0,12})(|;.*)", re.DOTALL)
"""What an app says of its answer: the time first, which no two answers share, then what few others say."""
_APP_LENGTH_MAX = 1000
_PORT, _PARENT, _FLAGS = (
    TAILTRACE_FIELDS.index(name) + 1 for name in ("remote_port", "tailtrace_inbound_span_id", "tailtrace_flags")
)


class Table(dict[_K, int], Generic[_K, _T]):
    """The place of each text's value in `values`; one that is new is read first, which may raise `UnreadableError`."""

    def __init__(self, read: Callable[[_K], _T]) -> None:
        super().__init__()
        self.values_read: list[_T] = []
        self.read = read

    def __missing__(self, text: _K) -> int:
        value = self.read(text)
        self[text] = place = len(self.values_read)
        self.values_read.append(value)
        return place

    def add(self, value: _T) -> int:
        """Return the place of a value that stands in no line as text."""
        self.values_read.append(value)
        return len(self.values_read) - 1


class _Requests(Table[Any, tuple[str, str, str]]):
    """Requests that differ in their query alone have one place."""

    def __init__(self, read: Callable[[Any], tuple[str, str, str]]) -> None:
        super().__init__(read)
        self._places: InterningTable[tuple[str, str, str]] = InterningTable()

    def __missing__(self, text: Any) -> int:
        place = self[text] = self.add(self.read(text))
        return place

    def add(self, value: tuple[str, str, str]) -> int:
        place = self._places[value]
        if place == len(self.values_read):
            self.values_read.append(value)
        return place


class _Values(dict[Any, Any]):
    """The value of each text, read once."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: Any) -> Any:
        value = self[text] = self._read(text)
        return value


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _request(raw: bytes) -> tuple[str, str, str]:
    return new_request_of(_text(raw)[:REQUEST_LENGTH_MAX])


def _target(raw: tuple[bytes, bytes]) -> tuple[str, str, str]:
    method, target = (_text(one)[:REQUEST_LENGTH_MAX] for one in raw)
    return target_of(method, target) if method and method != "-" and target else request_of(target)


def _agent(raw: bytes) -> str:
    return agent_of(_text(raw)[:AGENT_LENGTH_MAX])


def _service(raw: bytes) -> str:
    return service_of(_text(raw)[:SERVICE_LENGTH_MAX])


def _duration(raw: bytes) -> int | None:
    return duration_us(_text(raw)) if raw else None


def _durations(raw: bytes) -> int | None:
    return upstream_us(_text(raw)) if raw else None


def _front(raw: tuple[bytes, bytes, bytes]) -> "Front":
    address, (peer, proxied), (login, funnel) = _text(raw[0]), *(_text(one).split("\t") for one in raw[1:])
    return Front(
        serve_of(login, funnel),
        address_of(peer) if peer and peer != address else "",
        *(proxied_by(proxied) if proxied else ("", "")),
    )


def _app(rest: bytes | None) -> str:
    return "" if rest is None else f"1{_text(rest)}"


def _is_told(raw: bytes) -> bool:
    """Whether an app gave the answer to this very request: by `$upstream_cache_status` and `$upstream_addr`."""
    cache, upstream = _text(raw).split("\t")
    return upstream not in {"", "-"} and cache in FRESH


def exchange_of(line: bytes) -> str:
    """Return `Access.exchange` of a line of our own format."""
    return _text(line.split(b"\t", len(TAILTRACE_FRONT) + 1)[-1])[:EXCHANGE_LENGTH_MAX] if line else ""


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def _streamed_us(response: bytes, header: bytes) -> int:
    """Return it of an answer that one server gave."""
    one = Exchange(upstream_addr="-", upstream_response_time=_text(response), upstream_header_time=_text(header))
    return streamed_us(attempts(one))


def _ids(hexes: Sequence[bytes], size: int) -> list[bytes | None]:
    """Return ids of one size: all are read at once."""
    ids = bytes.fromhex(b"".join(hexes).decode())
    return [ids[at : at + size] for at in range(0, len(ids), size)]


def _minute_us(raw: bytes) -> int:
    return _local(f"{_text(raw)}:00 +0000")


def _second_us(raw: bytes) -> int:
    """Read `05 +0200`: what is to be added to the minute, as of UTC."""
    second, hours, minutes = int(raw[:2]), int(raw[4:6]), int(raw[6:8])
    if second > 60 or hours > 23 or minutes > 59:
        raise UnreadableError("bad-time")
    east_us = (60 * hours + minutes) * MINUTE_US
    return second * SECOND_US + (-east_us if raw[3:4] == b"+" else east_us)


def _iso_minute_us(raw: bytes) -> int:
    return _iso(f"{_text(raw)}:00+00:00")


def _iso_second_us(raw: bytes) -> int:
    return _second_us(raw[:2] + (b" +0000" if raw[2:] == b"Z" else b" " + raw[2:].replace(b":", b"")))


_local, _iso = local_reader(UTC), iso_reader(UTC)
_TIMES: dict[str, tuple[Callable[[bytes], int], Callable[[bytes], int]]] = {
    "time_local": (_minute_us, _second_us),
    "time_iso8601": (_iso_minute_us, _iso_second_us),
    "msec": (seconds_us, lambda raw: int(raw[1:]) * 1000),
}
"""How the two parts of a time are read, which are added."""


class Front(NamedTuple):
    """What a line says of who stood in front, as in `Access`."""

    serve: str = ""
    peer: str = ""
    proxy_protocol: str = ""
    proxy_protocol_at: str = ""


@dataclass(slots=True)
class Lines:
    """Lines that were read, as columns: a table of each thing that repeats, and each line's place in it."""

    addresses: Table[bytes, str] = field(
        default_factory=lambda: Table(lambda raw: address_of(_text(raw)) if raw else "")
    )
    """Empty where a header that a format has in the place of the address names none."""
    requests: _Requests = field(default_factory=lambda: _Requests(_request))
    """Method, path and card."""
    agents: Table[bytes, str] = field(default_factory=lambda: Table(_agent))
    services: Table[bytes, str] = field(default_factory=lambda: Table(_service))
    fronts: Table[Any, Front] = field(default_factory=lambda: Table(_front))
    apps: Table[Any, str] = field(default_factory=lambda: Table(_app))
    """`Access.app` without the time that it begins with; that differs from line to line."""
    time_us: list[int] = field(default_factory=list)
    key: list[int] = field(default_factory=list)
    address: list[int] = field(default_factory=list)
    request: list[int] = field(default_factory=list)
    agent: list[int] = field(default_factory=list)
    service: list[int] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    bytes_sent: list[int] = field(default_factory=list)
    request_time_us: list[int | None] = field(default_factory=list)
    upstream_time_us: list[int | None] = field(default_factory=list)
    trace_id: list[bytes | None] = field(default_factory=list)
    span_id: list[bytes | None] = field(default_factory=list)
    front: list[int] = field(default_factory=list)
    """Of our own format alone, as the next four."""
    app: list[int] = field(default_factory=list)
    app_time_us: list[int | None] = field(default_factory=list)
    answer: list[tuple[bytes, ...]] = field(default_factory=list)
    """Cache status and servers; how long they took, until the answer's end and until its head."""
    raw: list[bytes] = field(default_factory=list)
    """A line of our own format as it stands: few ask for what there is no column for."""
    more: dict[int, Access] = field(default_factory=dict)
    """By its number, a line that was read by itself and says more than there are columns for."""

    def __len__(self) -> int:
        return len(self.key)

    def append(self, access: Access) -> None:
        """Take a line that was read by itself."""
        if access[len(access) - len(_PLAIN) :] != _PLAIN:
            self.more[len(self.key)] = access
        self.time_us.append(access.time_us)
        self.key.append(access.key)
        self.address.append(self.addresses[access.address.encode()])
        self.request.append(self.requests.add((access.method, access.path, access.card)))
        self.agent.append(self.agents.add(access.user_agent))
        self.service.append(self.services.add(access.service))
        self.status.append(access.status)
        self.bytes_sent.append(access.bytes_sent)
        self.request_time_us.append(access.request_time_us)
        self.upstream_time_us.append(access.upstream_time_us)
        self.trace_id.append(bytes.fromhex(access.trace_id) or None)
        self.span_id.append(bytes.fromhex(access.span_id) or None)
        front = Front(access.serve, access.peer, access.proxy_protocol, access.proxy_protocol_at)
        self.front.append(self.fronts.add(front) if any(front) else self.fronts[_NO_FRONT])
        begins = _APP.fullmatch(access.app) if len(access.app) < _APP_LENGTH_MAX else None
        self.app.append(self.apps.add(f"1{begins[2]}" if begins else access.app) if access.app else self.apps[None])
        self.app_time_us.append(int(begins[1]) if begins else None)
        self.answer.append(())
        self.raw.append(b"")

    def put_in_order(self, first: int, numbers: Sequence[int]) -> None:
        """Sort the lines from the one numbered `first` on by `numbers`, one for each."""
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        for name in _COLUMNS:
            column = getattr(self, name)
            column[first:] = map(column[first:].__getitem__, order)
        places = {first + old: first + new for new, old in enumerate(order)}
        self.more = {places.get(number, number): access for number, access in self.more.items()}

    def add_ids(self, rows: int, trace_ids: Sequence[bytes] | None, span_ids: Sequence[bytes] | None) -> None:
        """Take what other formats than our own say of the rest: ids, in hex, or nothing."""
        self.trace_id += _ids(trace_ids, _TRACE_ID_BYTES) if trace_ids else repeat(None, rows)
        self.span_id += _ids(span_ids, _SPAN_ID_BYTES) if span_ids else repeat(None, rows)
        self.front += repeat(self.fronts[_NO_FRONT], rows)
        self.app += repeat(self.apps[None], rows)
        self.app_time_us += repeat(None, rows)
        self.answer += repeat((), rows)
        self.raw += repeat(b"", rows)

    def streamed_us(self, number: int) -> int:
        """Return `exchange.streamed_us_of` a line's `Access.exchange`."""
        access = self.more.get(number)
        if access is not None:
            return streamed_us_of(access.exchange)
        raw = self.raw[number]
        asked, response, header = self.answer[number]
        if b" " in asked or len(raw) > EXCHANGE_LENGTH_MAX:  # several servers; or the end of it may be cut off
            return streamed_us_of(exchange_of(raw))
        return _streamed_us(response, header)

    def accesses(self) -> list[Access]:
        """Return the lines as records; of `proxied`, which serves no row, nothing is known any more."""
        made = [
            Access(
                time_us, key, address, request[0], request[1], status, request_time_us, upstream_time_us, False,
                bytes_sent, service, trace_id.hex() if trace_id else "", span_id.hex() if span_id else "", agent,
                request[2],
            )
            for time_us, key, address, request, status, request_time_us, upstream_time_us, bytes_sent, service,
                trace_id, span_id, agent in zip(
                self.time_us, self.key, map(self.addresses.values_read.__getitem__, self.address),
                map(self.requests.values_read.__getitem__, self.request), self.status, self.request_time_us,
                self.upstream_time_us, self.bytes_sent, map(self.services.values_read.__getitem__, self.service),
                self.trace_id, self.span_id, map(self.agents.values_read.__getitem__, self.agent), strict=True,
            )
        ]  # fmt: skip
        if any(self.raw):
            made = [self._whole(number, one) if self.raw[number] else one for number, one in enumerate(made)]
        for number, access in self.more.items():
            made[number] = access
        return made

    def _whole(self, number: int, access: Access) -> Access:
        values = self.raw[number].split(b"\t", _PORT + 1)
        front = self.fronts.values_read[self.front[number]]
        app, time_us = self.apps.values_read[self.app[number]], self.app_time_us[number]
        return access._replace(
            **front._asdict(),
            peer_port=int(values[_PORT] or 0),
            app=app if time_us is None else f"1;t={time_us}{app[1:]}",
            parent_span_id=_text(values[_PARENT]),
            sampled=is_sampled(_text(values[_FLAGS])),
            exchange=exchange_of(self.raw[number]),
        )


_COLUMNS = [one.name for one in fields(Lines) if one.default_factory is list]
"""Those of `Lines` with a value for each line."""


class BlockReader:
    """Reads the blocks of one log. `on_rejected` is told each line that is no record, and its number in its block."""

    def __init__(self, parser: LineParser, file: str) -> None:
        self._parser, self._file = parser, file
        self._durations, self._upstream = _Values(_duration), _Values(_durations)
        self._told = _Values(_is_told)
        self._statuses = _Values(lambda raw: status_of(_text(raw)))
        self._requests, self._targets, self._agents = _Values(_request), _Values(_target), _Values(_agent)
        self._times = {name: tuple(map(_Values, readers)) for name, readers in _TIMES.items()}
        self.lines = self._empty()
        self.rejected: list[tuple[RejectedLine, int]] = []
        """Lines that are no records, each with its number among all lines that were read, from 0."""
        self.count = 0
        """Lines that were read."""

    def read_on(self, parser: LineParser) -> None:
        """Read what comes by a parser that knows more formats."""
        self._parser = parser

    def take(self) -> Lines:
        """Return what was read since the last time."""
        lines, self.lines = self.lines, self._empty()
        known = (self._durations, self._upstream, self._told, self._statuses, *chain(*self._times.values()))
        for values in (*known, self._requests, self._targets, self._agents):
            if len(values) > CACHE_ENTRIES_MAX:
                values.clear()
        return lines

    def _empty(self) -> Lines:
        """Return no lines, with tables that know what was read before."""
        return Lines(requests=_Requests(self._requests.__getitem__), agents=Table(self._agents.__getitem__))

    def read_lines(self, lines: Sequence[tuple[bytes, int]], seed: int) -> None:
        """Read lines one by one, each with its offset."""
        for line, offset in lines:
            record = self._parser.parse(line, self._file, offset, seed or fingerprint(line))
            if isinstance(record, RejectedLine):
                self.rejected.append((record, self.count))
            elif record is not None:
                self.lines.append(record)
            self.count += 1

    def read(self, piece: Piece) -> None:
        """Read the next piece of the log."""
        if piece.block:
            self.read_block(piece.block, piece.offset, piece.seed)
        else:
            self.read_lines(piece.lines, piece.seed)

    def read_block(self, block: bytes, offset: int, seed: int) -> None:
        """Read a block of whole lines, each with its newline, none with a carriage return or NUL bytes in it."""
        fmt = self._parser.block_format
        found = fmt.pattern.findall(block) if fmt is not None else []
        columns = list(zip(*found, strict=True))
        if fmt is None or 2 * columns[0].count(b"") > len(found):
            self.read_lines(lines_of(block, offset), seed)
            return
        left = columns[-1] if b"" in columns[0] else ()
        texts = [line or rest for line, rest in zip(columns[0], left, strict=True)] if left else columns[0]
        lengths = list(map(len, texts))
        offsets = list(accumulate(map(add, lengths, repeat(1)), initial=offset))
        offsets.pop()
        if max(lengths) > LINE_LENGTH_MAX or seed + offsets[-1] > KEY_MASK:
            self.read_lines(lines_of(block, offset), seed)
            return
        is_taken = list(map(bool, columns[0]))
        before, count = len(self.lines), self.count
        try:
            if left:
                taken = [list(compress(column, is_taken)) for column in columns]
                self._add(fmt, taken, list(compress(offsets, is_taken)), seed)
            else:
                self._add(fmt, columns, offsets, seed)
        except UnreadableError:
            self.read_lines(list(zip(texts, offsets, strict=True)), seed)
            return
        if left:
            numbers = list(compress(range(len(found)), is_taken))
            for number in compress(range(len(found)), map(not_, is_taken)):
                self.count = count + number
                rows = len(self.lines)
                self.read_lines([(texts[number], offsets[number])], seed)
                numbers += [number] * (len(self.lines) - rows)
            self.count = count + len(found)
            self.lines.put_in_order(before, numbers)

    def _add(self, fmt: BlockFormat, columns: Sequence[Sequence[bytes]], offsets: Sequence[int], seed: int) -> None:
        """Add lines that the pattern took. Raises `UnreadableError` before anything of them is added."""
        lines, places = self.lines, fmt.places
        rows = len(offsets)

        def column(*names: str) -> Sequence[bytes] | None:
            return next((columns[places[name]] for name in names if name in places), None)

        common, rest = self._times[fmt.time]
        at = places[fmt.time]
        times_us: Any = map(add, map(common.__getitem__, columns[at]), map(rest.__getitem__, columns[at + 1]))
        durations = column("request_time")
        request_times_us = list(map(self._durations.__getitem__, durations)) if durations else [None] * rows
        if durations:
            times_us = map(sub, times_us, request_times_us)
        time_us = list(times_us)
        named = column("request_id")
        hashes = map(xxh3_64_intdigest, columns[0], repeat(0) if named else [seed + offset for offset in offsets])
        requests = column("request")
        if requests is None:
            methods, targets = column("request_method"), column("request_uri", "uri", "document_uri")
            assert methods is not None
            requests = list(zip(methods, targets or repeat(b""), strict=False))  # type: ignore[arg-type]
            lines.requests.read = self._targets.__getitem__
        address = list(map(lines.addresses.__getitem__, columns[places["remote_addr"]]))
        request = list(map(lines.requests.__getitem__, requests))
        agents, services = column("http_user_agent"), column("server_name", "host", "http_host")
        agent = list(map(lines.agents.__getitem__, agents)) if agents else [lines.agents[b""]] * rows
        service = list(map(lines.services.__getitem__, services)) if services else [lines.services[b""]] * rows
        sizes, upstream = column("bytes_sent", "body_bytes_sent"), column("upstream_response_time")
        status = list(map(self._statuses.__getitem__, columns[places["status"]]))
        upstream_times_us = list(map(self._upstream.__getitem__, upstream)) if upstream else [None] * rows
        own = self._own(fmt, columns) if fmt.is_own else None
        # Nothing of the lines was added before here.
        lines.time_us += time_us
        lines.key += [key & KEY_MASK for key in hashes]
        lines.address += address
        lines.request += request
        lines.agent += agent
        lines.service += service
        lines.status += status
        lines.bytes_sent += map(int, sizes) if sizes else repeat(0, rows)
        lines.request_time_us += request_times_us
        lines.upstream_time_us += upstream_times_us
        if own is not None:
            self._add_own(fmt, columns, *own)
        else:
            lines.add_ids(rows, column("tailtrace_trace_id", "request_id"), column("tailtrace_span_id"))
        self.count += rows

    def _own(self, fmt: BlockFormat, columns: Sequence[Sequence[bytes]]) -> tuple[list[int], list[bool]]:
        """Return the fronts of lines of our own format, and whether the app's header is of this very answer."""
        addresses, peers, serve, asked = (
            columns[fmt.places[name]] for name in ("remote_addr", "peer", "serve", "asked")
        )
        fronts = map(self.lines.fronts.__getitem__, zip(addresses, peers, serve, strict=True))
        return list(fronts), list(map(self._told.__getitem__, asked))

    def _add_own(
        self, fmt: BlockFormat, columns: Sequence[Sequence[bytes]], fronts: list[int], told: list[bool]
    ) -> None:
        lines = self.lines
        mark, inbound, request_id, times, rests, *answer = (
            columns[fmt.places[name]]
            for name in (
                "tailtrace_mark", "tailtrace_inbound_trace_id", "request_id", "app_time", "app",
                "asked", "upstream_response_time", "upstream_header_time",
            )
        )  # fmt: skip
        ids = [other or one for other, one in zip(inbound, request_id, strict=True)] if any(inbound) else request_id
        lines.trace_id += _ids(ids, _TRACE_ID_BYTES)
        lines.span_id += [
            _ROOT_SPAN_ID if is_new and not other else bytes.fromhex(span_of(one.decode()))
            for is_new, other, one in zip(mark, inbound, request_id, strict=True)
        ]
        lines.answer += zip(*answer, strict=True)
        lines.front += fronts
        lines.app += [
            lines.apps[rest if is_told and (rest or time) else None]
            for is_told, time, rest in zip(told, times, rests, strict=True)
        ]
        lines.app_time_us += [
            int(time) if time and is_told else None for is_told, time in zip(told, times, strict=True)
        ]
        lines.raw += columns[0]

"""What was written, once more and compact, in one series for each source: what rollups are made of.

A question to `api_access` costs a tenth of a second however little it asks for: InfluxDB looks into each of its
thousands of series. So a batch's requests are written a second time, without paths and ids of traces: measurement
`batch` in the bucket of the rows, one tag (source), one point for each step of time that the batch has rows of:

| field | is |
|---|---|
| `data` | the requests (`chunks`, kind `rows`): what `Request` has |
| `rows` | how many |
| `newest_us` | the time of the last |

A shift is what a point's time in `api_access` differs by from `lines.first_slot`, ns: nearly always 0.

| what happens | so |
|---|---|
| rows are written | first to `api_access`, then here: what is here counts |
| the writer dies between | who next writes to that step finds them in `api_access`, and writes them to both (`known`) |
| a batch is written twice, by whomever | a step's requests are the union of its batches by time and key |
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import NamedTuple, Protocol

import xxhash

from tailtrace_bridge.core.columns import Columns
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.rollups.encoding import TEXT_LENGTH_MAX, Kind, Row, Tables, decode, decoded, encode
from tailtrace_bridge.store.influx.rollups.seen import Seen
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.rollups import Counted
from tailtrace_bridge.store.values import MINUTE_US

MEASUREMENT = "batch"
BUCKET_US = 10 * MINUTE_US
ROWS_MAX = TEXT_LENGTH_MAX // 32
"""Of a point, at first: where that is more than a string field holds, each half goes to a point of its own."""
SMALL_LENGTH_MAX, SMALL_COUNT_MAX = 1_000, 1_000
"""Characters and number of the texts that are kept decoded, some 4 MB: a bridge writes such a one each second."""
REQUESTS_AT_ONCE = 1_500
"""Held, and put into one document, of a step: some MB."""
NS = 1000


class Texts(Protocol):
    """Texts, each with the requests of a batch; they may be fetched one after another."""

    def __len__(self) -> int:
        """How many there are."""

    def __iter__(self) -> Iterator[str]:
        """Return them."""


class Request(NamedTuple):
    """A request as it is kept here: identity and endpoint are places in `Tables`."""

    identity: int
    endpoint: int
    time_us: int
    key: int
    shift: int
    method: str
    status: int
    traffic: int
    request_time_us: int | None
    app_time_us: int | None
    bytes_sent: int


_named: Callable[[Row], Request] = partial(tuple.__new__, Request)
"""`Request._make`, without a line of Python for each row."""
_name = itemgetter(2, 3)
"""Of a row: its time, µs, and key."""
_counted: Callable[[Request], Counted] = itemgetter(2, 0, 1, 5, 6, 7, 8, 9, 10)


def requests_of(
    columns: Columns,
    identities: Sequence[Identity],
    routes: Sequence[str],
    fresh: Iterable[tuple[int, int]],
    tables: Tables,
) -> list[Request]:
    """Return rows of a batch; `fresh` has the time of each one's point, ns, and its number."""
    who = [tables.identities[one] for one in identities]
    where = [tables.endpoints[(service, route)] for (service, _), route in zip(columns.endpoints, routes, strict=True)]
    return [
        Request(
            who[columns.identity[row]], where[asked.endpoint], columns.time_us[row], columns.key[row],
            slot_ns - lines.first_slot(columns.time_us[row], columns.key[row]), asked.method, asked.status,
            asked.traffic, columns.request_time_us[row], columns.app_time_us[row], columns.bytes_sent[row],
        )
        for slot_ns, row in fresh
        for asked in (columns.requests[columns.request[row]],)
    ]  # fmt: skip


def points(requests: Iterable[Request], tables: Tables, source: str) -> list[bytes]:
    """Return the points of requests; the same requests make the same points."""
    made: list[bytes] = []
    for bucket_us, of_step in groupby(sorted(requests, key=_time_us), lambda one: one.time_us // BUCKET_US * BUCKET_US):
        rows = list(of_step)
        for start in range(0, len(rows), ROWS_MAX):
            made += _points(bucket_us, rows[start : start + ROWS_MAX], tables, source)
    return made


def point(text: str, source: str, time_ns: int) -> bytes:
    """Return the point that has this `data`, at its time."""
    tables = Tables()
    rows = list(read([text], tables))
    return _point(text, len(rows), rows[-1].time_us, source, time_ns)


def read(texts: Texts, tables: Tables, *, is_kept: bool = False) -> Iterator[Request]:
    """Return the requests of points of one step, each once. The hot loop of rolling up.

    `is_kept`: small texts are kept decoded, as they will be read again.
    """
    seen = Seen()
    for text in texts:
        rows = _decoded(text, tables) if is_kept else decode(Kind.ROWS, (text,), tables)
        if len(texts) > 1:
            rows = list(seen.new(rows, _name))
            for row in rows:
                seen.add(_name(row))
        yield from map(_named, rows)


def read_whole(texts: Iterable[str], tables: Tables) -> Iterator[Request]:
    """Return the requests of one step whose batches were put into one, a document at a time."""
    return map(_named, chain.from_iterable(decoded(Kind.ROWS, texts, tables)))


def spans(there: Iterable[tuple[int, int]], size_max: int) -> Iterator[tuple[int, int]]:
    """Return spans, ns, whose points have at most `size_max` together, or one point.

    `there` has the time of each point, in order, and its size: of a batch, how many requests it has.
    """
    start_ns = last_ns = held = 0
    for time_ns, size in there:
        if held and held + size > size_max:
            yield start_ns, last_ns + 1
            held = 0
        if not held:
            start_ns = time_ns
        last_ns, held = time_ns, held + size
    if held:
        yield start_ns, last_ns + 1


def pieces(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Return requests some at a time: all of a busy step would take 50 MB."""
    them = iter(requests)
    while piece := list(islice(them, REQUESTS_AT_ONCE)):
        yield piece


def counted(requests: Iterable[Request]) -> Iterable[Counted]:
    """Return requests as `Rollups` takes them."""
    return map(_counted, requests)


def _points(bucket_us: int, rows: Sequence[Request], tables: Tables, source: str) -> list[bytes]:
    texts = encode(Kind.ROWS, rows, tables)
    if len(texts) > 1 and len(rows) > 1:
        half = len(rows) // 2
        return _points(bucket_us, rows[:half], tables, source) + _points(bucket_us, rows[half:], tables, source)
    text = "".join(texts)  # of one request: as long as it may be, it is stored as it is
    place_ns = xxhash.xxh3_64_intdigest(text.encode()) % (BUCKET_US * NS)
    return [_point(text, len(rows), rows[-1].time_us, source, bucket_us * NS + place_ns)]


def _point(text: str, count: int, newest_us: int, source: str, time_ns: int) -> bytes:
    fields = {"rows": count, "newest_us": newest_us, "data": text}
    return lines.point(MEASUREMENT, {"source": source}, fields, time_ns)


def _decoded(text: str, tables: Tables) -> Iterable[Row]:
    if len(text) > SMALL_LENGTH_MAX:
        return decode(Kind.ROWS, (text,), tables)
    rows, identities, endpoints = _small(text)
    who = [tables.identities[one] for one in identities]
    where = [tables.endpoints[one] for one in endpoints]
    return [(who[row[0]], where[row[1]], *row[2:]) for row in rows]


@lru_cache(maxsize=SMALL_COUNT_MAX)
def _small(text: str) -> tuple[list[Row], list[Identity], list[tuple[str, str]]]:
    """Decode a text, which never means anything else: each question of an answer reads the same open step."""
    tables = Tables()
    rows = decode(Kind.ROWS, (text,), tables)
    return rows, list(tables.identities), list(tables.endpoints)


def _time_us(one: Request) -> int:
    return one.time_us

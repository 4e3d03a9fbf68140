"""Rollups of one step of time as texts, and back. Pure.

A step's rollups go by identity, address and all: as tags these would be a series for each. So a step is kept as a table
of its own, complete in itself: columns of numbers as little-endian arrays behind a line of JSON that says what they
are, compressed, cut into texts that a string field can hold. So many rows that they should not be held all at once
are several such documents, with a `.` between them, and no key is in two of them. Rollups that go by identity are, too,
those with a name first, and each document begins a text (`owners`). Its rows:

| kind | row | two with the same key become one by |
|---|---|---|
| usage | **identity, endpoint, method, status, traffic**, `rollups.SUMS` | adding up |
| usage_identity | **identity, status, traffic**, the same totals | adding up |
| usage_endpoint | **endpoint, status, traffic**, the same totals | adding up |
| usage_hours | **identity, hour, status, traffic**, requests: a day's; an hour has `usage_identity` | adding up |
| visits | **identity, endpoint, traffic**, requests; usage only | adding up |
| latency | **side, endpoint, bucket**, requests | adding up |
| latency_all | **bucket**, requests: nginx's times, all endpoints | adding up |
| runs | **identity**, first_us, last_us, requests; usage only | `packed.join_runs` |
| quarters | **start of the quarter, µs**, requests; usage only | adding up |
| uptime | **service, minute**, answers that are no server errors, answers that are | adding up |
| hours | **hour**, minutes with traffic, minutes with an answer other than 5xx: a bit for each | not written any more |
| rows | requests, as `batches` has them | |

Identity and endpoint are places in tables: the step's own in a text, the reader's in what `decode` gives. A service is
the place of an endpoint without a name. An older tailtrace wrote `hours` (`older`), and usage with six totals: `decode`
gives all of them.
"""

import json
import sys
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, NamedTuple
from zlib import crc32

from tailtrace_bridge.core.columns import InterningTable
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.rollups import owners
from tailtrace_bridge.store.influx.rollups.whose import Find, Whose
from tailtrace_bridge.store.packed import join_runs
from tailtrace_bridge.store.rollups import PROXY, USAGE_TRAFFIC, Rollups
from tailtrace_bridge.store.rollups import SUMS as TOTALS
from tailtrace_bridge.store.values import MINUTE_US, QUARTER_US, Run

TEXT_LENGTH_MAX = 32_000
"""A string field holds 64 KiB."""
_SUMS, _SUMS_BEFORE = len(TOTALS), 6
"""Of usage; and as it was written before there were totals of requests with both times."""
_BETWEEN = "."
DOCUMENT_ROWS = 1_000
"""Of a document, or all of one identity where these are more."""
_HEAD_LENGTH = 2_048
"""Characters that are unpacked at first, to see whose a document is."""
_ROWS_LEVEL, _SUMS_LEVEL = 1, 6
"""Of compression: rows are written while a log waits, rollups are read for years."""
Row = Sequence[Any]


class Kind(StrEnum):
    """What is rolled up; also the measurement."""

    USAGE = "usage"
    USAGE_IDENTITY = "usage_identity"
    USAGE_ENDPOINT = "usage_endpoint"
    USAGE_HOURS = "usage_hours"
    VISITS = "visits"
    LATENCY = "latency"
    LATENCY_ALL = "latency_all"
    RUNS = "runs"
    QUARTERS = "quarters"
    UPTIME = "uptime"
    HOURS = "hours"
    ROWS = "rows"


SUMS = tuple(kind for kind in Kind if kind not in {Kind.USAGE_HOURS, Kind.HOURS, Kind.ROWS})
"""Of an hour."""
DAY_SUMS = (Kind.USAGE_HOURS, *SUMS)

_IDENTITY_COLUMN = {
    Kind.USAGE: 0, Kind.USAGE_IDENTITY: 0, Kind.USAGE_HOURS: 0, Kind.VISITS: 0, Kind.RUNS: 0, Kind.ROWS: 0,
}  # fmt: skip
BY_IDENTITY = frozenset(_IDENTITY_COLUMN)
_ENDPOINT_COLUMN = {
    Kind.USAGE: 1, Kind.USAGE_ENDPOINT: 0, Kind.VISITS: 1, Kind.LATENCY: 1, Kind.UPTIME: 0, Kind.ROWS: 1,
}  # fmt: skip
_USAGE_KEY_WIDTH = {Kind.USAGE: 5, Kind.USAGE_IDENTITY: 3, Kind.USAGE_ENDPOINT: 3}


class Sought(NamedTuple):
    """Which rows are wanted: whose, and of `usage` which. None: any."""

    whose: Whose | None
    service: str | None
    endpoint: str | None
    method: str | None
    low: int
    high: int
    """The lowest and the highest status, both included."""


class Text(NamedTuple):
    """A piece of the rollups of a step."""

    data: str
    who: str = ""
    """Whose rows it has (`owners`)."""


class Tables:
    """The places of identities and endpoints for one reader."""

    def __init__(self) -> None:
        self.identities: InterningTable[Identity] = InterningTable()
        self.endpoints: InterningTable[tuple[str, str]] = InterningTable()


def encode(kind: Kind, rows: Sequence[Row], tables: Tables) -> list[str]:
    """Write rows of one step."""
    return [text.data for text in texts_of(kind, [rows], tables)]


def texts_of(kind: Kind, parts: Iterable[Sequence[Row]], tables: Tables) -> list[Text]:
    """Write rows of one step, with whose they are. Its parts are read one by one; no identity may be in two of them."""
    if kind not in BY_IDENTITY or kind is Kind.ROWS:
        return [Text(text) for text in cut(document(kind, rows, tables) for rows in parts)]
    column = _IDENTITY_COLUMN[kind]
    texts: list[Text] = []
    for rows in parts:
        identities = list(tables.identities)
        for some in _by_identity(rows, column, identities):
            who = owners.pack(identities[place] for place in dict.fromkeys(row[column] for row in some))
            one = _BETWEEN * bool(texts) + document(kind, some, tables)
            texts += (Text(data, who) for data in cut([one]))
    return texts


def cut(documents: Iterable[str]) -> list[str]:
    """Return documents of one step as texts. They may be made one by one: together they are some MB."""
    texts: list[str] = []
    rest = ""
    for number, one in enumerate(documents):
        rest += _BETWEEN * (number > 0) + one
        whole = len(rest) // TEXT_LENGTH_MAX * TEXT_LENGTH_MAX
        texts += (rest[start : start + TEXT_LENGTH_MAX] for start in range(0, whole, TEXT_LENGTH_MAX))
        rest = rest[whole:]
    return [*texts, rest] if rest else texts


def documents_of(texts: Iterable[str]) -> Iterator[str]:
    """Return them again, one by one."""
    rest = ""
    for number, text in enumerate(texts):
        here = text if number else text.removeprefix(_BETWEEN)  # those before it may have been left out
        *whole, rest = (rest + here).split(_BETWEEN)
        yield from whole
    yield rest


def document(kind: Kind, rows: Sequence[Row], tables: Tables) -> str:
    """Write rows, all or some of one step."""
    width = len(rows[0]) if rows else 0
    return document_of(kind, (list(map(itemgetter(place), rows)) for place in range(width)), tables)


def document_of(kind: Kind, columns: Iterable[Sequence[Any]], tables: Tables) -> str:
    """Write columns. They may be made one by one: together, and as rows, they take twenty times their text."""
    head: dict[str, Any] = {}
    packed: list[tuple[dict[str, Any], bytes]] = []
    identity, endpoint = _IDENTITY_COLUMN.get(kind), _ENDPOINT_COLUMN.get(kind)
    for place, cells in enumerate(columns):
        column = cells
        if place == identity:
            column, places = _used(column)
            identities = list(tables.identities)
            head["identities"] = [owners.VALUES(identities[one]) for one in places]
        elif place == endpoint:
            column, places = _used(column)
            endpoints = list(tables.endpoints)
            head["endpoints"] = [endpoints[one] for one in places]
        packed.append(_pack(column))
    head["columns"] = [how for how, _ in packed]
    content = json.dumps(head, separators=(",", ":")).encode() + b"\n" + b"".join(cells for _, cells in packed)
    level = _ROWS_LEVEL if kind is Kind.ROWS else _SUMS_LEVEL
    return b64encode(zlib.compress(content, level)).decode()


def usage_columns(rollups: Rollups) -> Iterator[list[Any]]:
    """Return the columns of `usage`, for `document_of`: of one hour no key comes twice."""
    if not rollups.usage:
        return
    for place in range(_USAGE_KEY_WIDTH[Kind.USAGE]):
        yield [key[place + 1] for key in rollups.usage]
    for place in range(_SUMS):
        yield [sums[place] for sums in rollups.usage.values()]


def _by_identity(rows: Sequence[Row], column: int, identities: Sequence[Identity]) -> Iterator[list[Row]]:
    """Return rows some at a time, those of an identity together, near a user's others; none at once, where none are."""
    order = [(not (one.user or one.device), one.user, place) for place, one in enumerate(identities)]
    some: list[Row] = []
    for _, theirs in groupby(sorted(rows, key=lambda row: order[row[column]]), itemgetter(column)):
        if len(some) >= DOCUMENT_ROWS:
            yield some
            some = []
        some += theirs
    yield some


def decode(kind: Kind, texts: Iterable[str], tables: Tables, find: Find | None = None) -> list[Row]:
    """Read rows of one step back; of a kind that goes by identity, of those that `find` gives.

    ValueError: the texts are not whole.
    """
    return list(chain.from_iterable(decoded(kind, texts, tables, find)))


def decoded(kind: Kind, texts: Iterable[str], tables: Tables, find: Find | None = None) -> Iterator[list[Row]]:
    """Read rows of one step back, a document at a time. Raises ValueError as `decode` does."""
    for one in documents_of(texts):
        yield _read(kind, one, tables, find)


def identities_of(texts: Iterable[str]) -> Iterator[Identity]:
    """Return who is named by the documents of one step, of a kind that goes by identity. Raises as `decode` does."""
    for one in documents_of(texts):
        yield from (Identity(*values) for values in _Opened(one).head.get("identities", ()))


class _Opened:
    """A document of which no more than the head is unpacked at first. Raises ValueError where it is not whole."""

    def __init__(self, text: str) -> None:
        self._text, self._length = text, 0
        self._unpacker = zlib.decompressobj()
        self._unpacked = b""
        while (end := self._unpacked.find(b"\n")) < 0:
            if self._length >= len(text):
                raise ValueError("a document without a head")
            self._unpack(self._length + _HEAD_LENGTH)
        self._begin = end + 1
        self.head: dict[str, Any] = json.loads(self._unpacked[:end])

    def columns(self) -> Iterator[tuple[Mapping[str, Any], bytes]]:
        """Return how each column is written, and its bytes."""
        self._unpack(len(self._text))
        if not self._unpacker.eof:
            raise ValueError("a document without its end")
        start = self._begin
        for how in self.head["columns"]:
            yield how, self._unpacked[start : start + how["bytes"]]
            start += how["bytes"]

    def _unpack(self, length: int) -> None:
        """Unpack as many characters of the text, four at a time."""
        try:
            self._unpacked += self._unpacker.decompress(b64decode(self._text[self._length : length]))
        except zlib.error as error:
            raise ValueError(str(error)) from error
        self._length = length


def _read(kind: Kind, text: str, tables: Tables, find: Find | None) -> list[Row]:
    opened = _Opened(text)
    head = opened.head
    if not head["columns"]:
        return []
    place = _IDENTITY_COLUMN.get(kind, -1)
    here: list[int] = []
    if place >= 0 and find is None:
        here = [tables.identities[Identity(*values)] for values in head["identities"]]
    elif place >= 0 and find is not None:
        found = [find(values) for values in head["identities"]]
        if not any(found):
            return []
        here = [-1 if one is None else tables.identities[one] for one in found]
    packed = list(opened.columns())
    rows_of_theirs: Sequence[int] | None = None
    if find is not None and -1 in here:
        # Of a person's few rows the cells are read, of the others one alone: whose they are.
        rows_of_theirs = [row for row, one in enumerate(_unpack(*packed[place])) if here[one] >= 0]
    columns: list[Iterable[Any]] = [_unpack(how, data, rows_of_theirs) for how, data in packed]
    if place >= 0:
        columns[place] = map(here.__getitem__, columns[place])
    if (place := _ENDPOINT_COLUMN.get(kind, -1)) >= 0:
        there = [tables.endpoints[(service, route)] for service, route in head["endpoints"]]
        columns[place] = map(there.__getitem__, columns[place])
    rows: list[Row] = list(zip(*columns, strict=True))
    width = _USAGE_KEY_WIDTH.get(kind)
    return rows if width is None or len(columns) > width + _SUMS_BEFORE else [_with_both_times(row) for row in rows]


def _with_both_times(row: Row) -> Row:
    """Return a row of six totals with the other two, where these tell them: where each request has both times."""
    requests, timed, request_time_us, app_timed, app_time_us, _ = row[-_SUMS_BEFORE:]
    is_whole = requests == timed == app_timed
    return (*row, app_timed, request_time_us - app_time_us) if is_whole else (*row, 0, 0)


def shares(count: int) -> Iterator[Find | None]:
    """Return what finds the identities of each of `count` shares: each is in one, a user's in the same. None: all."""

    def share(number: int) -> Find:
        def find(values: Sequence[Any]) -> Identity | None:
            one = Identity(*values)
            return one if crc32((one.user or one.address).encode()) % count == number else None

        return find

    return map(share, range(count)) if count > 1 else iter((None,))


def chosen(kind: Kind, rows: list[Row], tables: Tables, sought: Sought) -> list[Row]:
    """Return the rows that are wanted."""
    whose, service, endpoint, method, low, high = sought
    if whose is not None and (column := _IDENTITY_COLUMN.get(kind)) is not None:
        who = {place for place, one in enumerate(tables.identities) if whose.has(one)}
        rows = [row for row in rows if row[column] in who]
    if kind is not Kind.USAGE:
        return rows
    where = {
        place
        for place, (of_service, route) in enumerate(tables.endpoints)
        if endpoint in {None, route} and service in {None, of_service}
    }
    return [row for row in rows if row[1] in where and low <= row[3] <= high and method in {None, row[2]}]


def with_hour(rows: Iterable[Row], hour: int) -> list[Row]:
    """Return the `usage_identity` of an hour as its `usage_hours`."""
    return [(who, hour, status, traffic, requests) for who, status, traffic, requests, *_ in rows]


def translated(kind: Kind, rows: list[Row], here: Tables, there: Tables) -> list[Row]:
    """Return rows whose places are those of other tables."""
    maps: dict[int, list[int]] = {}
    if (column := _IDENTITY_COLUMN.get(kind)) is not None:
        maps[column] = [there.identities[one] for one in here.identities]
    if (column := _ENDPOINT_COLUMN.get(kind)) is not None:
        maps[column] = [there.endpoints[one] for one in here.endpoints]
    other = {column: places for column, places in maps.items() if places != list(range(len(places)))}
    if not rows or not other:
        return rows
    columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
    for column, places in other.items():
        columns[column] = map(places.__getitem__, columns[column])
    return list(zip(*columns, strict=True))


def _pack(column: Sequence[Any]) -> tuple[dict[str, Any], bytes]:
    """Write a column: each cell in as few bytes as the widest needs, less what all have in common."""
    how: dict[str, Any] = {}
    if isinstance(column[0], str):
        texts: InterningTable[str] = InterningTable()
        column = [texts[one] for one in column]
        how["texts"] = list(texts)
    numbers = [one for one in column if one is not None] if None in column else column
    low, high = (min(numbers), max(numbers)) if numbers else (0, 0)
    if len(numbers) < len(column):
        how["none"] = True  # written as 0, and what there is from 1 on
        base = low - 1
    else:
        base = low if low < 0 or _code(high - low) != _code(high) else 0
    code = _code(high - base)
    if base:
        column = [0 if one is None else one - base for one in column]
    elif len(numbers) < len(column):
        column = [one or 0 for one in column]
    cells = array(code, column)
    if sys.byteorder == "big":
        cells.byteswap()
    data = cells.tobytes()
    return {**how, "code": code, "base": base, "bytes": len(data)}, data


def _unpack(how: Mapping[str, Any], data: bytes, rows: Sequence[int] | None = None) -> Sequence[Any]:
    """Read a column, or its cells in some rows."""
    whole = array(how["code"], data)
    if sys.byteorder == "big":
        whole.byteswap()
    cells: Sequence[int] = whole if rows is None else [whole[row] for row in rows]
    base = how["base"]
    if "texts" in how:
        texts = how["texts"]
        return [texts[one] for one in cells]
    if "none" in how:
        return [base + one if one else None for one in cells]
    return [base + one for one in cells] if base else cells


def _used(column: Iterable[int]) -> tuple[list[int], list[int]]:
    """Return a column of places by places among those that are used, and these."""
    used: InterningTable[int] = InterningTable()
    return [used[one] for one in column], list(used)


def _code(high: int) -> str:
    return "B" if high < 2**8 else "H" if high < 2**16 else "I" if high < 2**32 else "Q"


def rows_of(kind: Kind, rollups: Rollups, tables: Tables) -> Iterable[Row]:
    """Return the rows of rollups, one by one. Keys may come twice: `merged` makes them one."""
    if kind is Kind.UPTIME:
        places = {place: tables.endpoints[(service, "")] for place, (service, _) in enumerate(list(tables.endpoints))}
        return ((places[where], minute, *counts) for (minute, where), counts in rollups.minutes.items())
    return _ROWS_OF[kind](rollups)


def merged(kind: Kind, parts: Iterable[Iterable[Row]]) -> list[Row]:
    """Make one of rows with the same key, by the table above. The hot loop of an answer."""
    if kind is Kind.RUNS:
        return _merged_runs(parts)
    if kind is Kind.UPTIME:
        return _merged_uptime(parts)
    if (width := _USAGE_KEY_WIDTH.get(kind)) is not None:
        return _merged_usage(parts, width)
    if kind is Kind.USAGE_HOURS:
        return _merged_hours(parts)
    counts: dict[Any, int] = {}
    known = counts.get
    if kind is Kind.VISITS or kind is Kind.LATENCY:
        for rows in parts:
            for one, two, three, requests in rows:
                key = (one, two, three)
                counts[key] = known(key, 0) + requests
        return [(*key, requests) for key, requests in counts.items()]
    for rows in parts:
        for one, requests in rows:
            counts[one] = known(one, 0) + requests
    return list(counts.items())


def _merged_usage(parts: Iterable[Iterable[Row]], width: int) -> list[Row]:
    totals: dict[Row, list[int]] = {}
    for rows in parts:
        for row in rows:
            key = row[:width]
            known = totals.get(key)
            if known is None:
                totals[key] = list(row[width:])
                continue
            a, b, c, d, e, f, g, h = row[width:]
            known[0] += a
            known[1] += b
            known[2] += c
            known[3] += d
            known[4] += e
            known[5] += f
            known[6] += g
            known[7] += h
    return [(*key, *values) for key, values in totals.items()]


def _merged_hours(parts: Iterable[Iterable[Row]]) -> list[Row]:
    counts: dict[tuple[int, int, int, int], int] = {}
    for rows in parts:
        for who, hour, status, traffic, requests in rows:
            key = (who, hour, status, traffic)
            counts[key] = counts.get(key, 0) + requests
    return [(*key, counts[key]) for key in sorted(counts)]  # a person's hours side by side: they pack well


def _merged_runs(parts: Iterable[Iterable[Row]]) -> list[Row]:
    runs: dict[int, list[Run]] = {}
    for rows in parts:
        for identity, first_us, last_us, requests in rows:
            runs.setdefault(identity, []).append((first_us, last_us, requests))
    return [(identity, *run) for identity, theirs in runs.items() for run in join_runs(theirs)]


def _merged_uptime(parts: Iterable[Iterable[Row]]) -> list[Row]:
    totals: dict[tuple[int, int], tuple[int, int]] = {}
    for rows in parts:
        for where, minute, fine, errors in rows:
            known = totals.get((where, minute))
            totals[(where, minute)] = (fine, errors) if known is None else (known[0] + fine, known[1] + errors)
    return [(*key, *counts) for key, counts in totals.items()]


_ROWS_OF: dict[Kind, Callable[[Rollups], Iterable[Row]]] = {
    Kind.USAGE: lambda rollups: ((*key[1:], *v) for key, v in rollups.usage.items()),
    Kind.USAGE_IDENTITY: lambda rollups: (
        (who, status, traffic, *v) for (_, who, _, _, status, traffic), v in rollups.usage.items()
    ),
    Kind.USAGE_ENDPOINT: lambda rollups: (
        (where, status, traffic, *v) for (_, _, where, _, status, traffic), v in rollups.usage.items()
    ),
    Kind.USAGE_HOURS: lambda rollups: (
        (who, hour, status, traffic, v[0]) for (hour, who, _, _, status, traffic), v in rollups.usage.items()
    ),
    Kind.VISITS: lambda rollups: (
        (who, where, traffic, v[0])
        for (_, who, where, _, _, traffic), v in rollups.usage.items()
        if traffic in USAGE_TRAFFIC
    ),
    Kind.LATENCY: lambda rollups: (
        (side, endpoint, bucket, n)
        for (_, endpoint), sides in rollups.latency.items()
        for side, counts in enumerate(sides)
        for bucket, n in counts.items()
    ),
    Kind.LATENCY_ALL: lambda rollups: (
        (bucket, n) for sides in rollups.latency.values() for bucket, n in sides[PROXY].items()
    ),
    Kind.RUNS: lambda rollups: ((who, *run) for (_, who), run in rollups.activity.items()),
    Kind.QUARTERS: lambda rollups: (
        (minute * MINUTE_US // QUARTER_US * QUARTER_US, n) for (minute, _), (_, _, n) in rollups.activity.items()
    ),
}

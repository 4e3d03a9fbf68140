"""Reads anonymous visitors (`store.anonymous`) as numbers that SQL groups and orders, without a record of each.

`identity_known` is an index of the few others. Anonymous visitors of one kind and address are one visitor, though what
was found out about the address may have changed, and each such finding has a number of its own (`_shared`).
"""

import json
import sqlite3
import struct
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

from tailtrace_bridge.store.anonymous import AnonymousUsage, Callers, Order, Ranking, Tally
from tailtrace_bridge.store.packed import join_runs, unpack_runs
from tailtrace_bridge.store.sqlite import windows
from tailtrace_bridge.store.sqlite.totals import USAGE
from tailtrace_bridge.store.values import Window

KNOWN = (
    "(user <> '' OR device <> '' OR tags <> '' OR user_id <> '' OR node_id <> '' OR kind = 'tagged' OR kind = 'self')"
)
"""Who is not anonymous, in SQL: word for word the condition of the index."""
MIGRATION = f"CREATE INDEX identity_known ON identity (id) WHERE {KNOWN}"
_KNOWN = f"SELECT id FROM identity INDEXED BY identity_known WHERE {KNOWN}"  # noqa: S608  # our own words
_RUN = struct.Struct("<3q")
"""What `pack_runs` makes of one run."""


def listed_numbers(connection: sqlite3.Connection, listed: Collection[str] | None) -> str | None:
    """Return, as a JSON array, the numbers of all but anonymous visitors of other addresses; None: everybody."""
    if listed is None:
        return None
    query = f"""
        SELECT json_group_array(id) FROM (
            {_KNOWN} UNION SELECT id FROM identity WHERE address IN (SELECT value FROM json_each(?))
        )
    """  # noqa: S608
    return str(connection.execute(query, (json.dumps(list(listed)),)).fetchone()[0])


class _Seen:
    """Counts the addresses of the identities that it is told, and says which number stands for a visitor."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._known = {number for (number,) in connection.execute(_KNOWN)}
        self._address_of, self._visitor_of = _shared(connection)
        self._addresses = 0
        self._shared: set[int] = set()

    @property
    def addresses(self) -> int:
        """Count them."""
        return self._addresses + len(self._shared)

    def see(self, number: int) -> int | None:
        """Return an anonymous visitor's one number, or None of anybody else."""
        if number in self._address_of:
            self._shared.add(self._address_of[number])
            return None if number in self._known else self._visitor_of[number]
        self._addresses += 1
        return None if number in self._known else number

    def has_several(self, visitor: int) -> bool:
        """Whether other numbers may stand for the same visitor."""
        return visitor in self._visitor_of


def read_anonymous(connection: sqlite3.Connection, window: Window, order: Order, limit: int) -> AnonymousUsage:
    """Return the totals of a window."""
    seen, tally = _Seen(connection), Tally(order)
    apart: dict[int, list[bytes]] = defaultdict(list)
    for number, cells in _runs(connection, window):
        visitor = seen.see(number)
        if visitor is None:
            continue
        if seen.has_several(visitor):
            apart[visitor].append(cells)
        elif len(cells) == _RUN.size:
            tally.add(number, (_RUN.unpack(cells),))
        else:
            tally.add(number, join_runs(unpack_runs(cells)))
    for visitor, several in apart.items():
        tally.add(visitor, join_runs(unpack_runs(b"".join(several))))
    return tally.anonymous_usage(_first(connection, tally.ranking, limit), seen.addresses)


def read_callers(
    connection: sqlite3.Connection, facts: tuple[str, Sequence[object]], limit: int, *, usage_only: bool
) -> Callers:
    """Return who asked for something. `facts` is SQL, with its values, of rows of usage, as filtered."""
    text, values = facts
    of_usage = f"WHERE traffic IN {USAGE}" if usage_only else ""
    query = f"SELECT identity_id, sum(requests) FROM ({text}) {of_usage} GROUP BY 1"  # noqa: S608  # our own words
    seen, ranking = _Seen(connection), Ranking()
    apart: Counter[int] = Counter()
    for number, requests in connection.execute(query, values):
        visitor = seen.see(number)
        if visitor is None:
            continue
        if seen.has_several(visitor):
            apart[visitor] += requests
        else:
            ranking.add(number, requests)
    for visitor, requests in apart.items():
        ranking.add(visitor, requests)
    return Callers(seen.addresses, len(ranking), frozenset(_first(connection, ranking, limit)))


def _first(connection: sqlite3.Connection, ranking: Ranking, limit: int) -> list[str]:
    sure, equals, more = ranking.first(limit)
    return [*_addresses(connection, sure, len(sure)), *_addresses(connection, equals, more)]


def _runs(connection: sqlite3.Connection, window: Window) -> Iterator[tuple[int, bytes]]:
    """Return the packed runs of each identity in a window, those of several steps of time one after another."""
    parts: list[str] = []
    values: list[int | str] = []
    for query in windows.packed(window, "visit", "runs"):
        parts.append(f"SELECT {windows.NUMBER} AS number, runs FROM ({query.text})")  # noqa: S608
        values += query.values
    if not parts:
        return
    before, cells = -1, b""
    for number, runs in connection.execute(" UNION ALL ".join(parts) + " ORDER BY number", values):
        if number == before:
            cells += runs
            continue
        if cells:
            yield before, cells
        before, cells = number, runs
    if cells:
        yield before, cells


def _shared(connection: sqlite3.Connection) -> tuple[dict[int, int], dict[int, int]]:
    """Return the one number that stands for all of an address, and of an address and kind: where these are several."""
    query = "SELECT group_concat(id), group_concat(kind) FROM identity GROUP BY address HAVING count(*) > 1"
    address_of: dict[int, int] = {}
    visitor_of: dict[int, int] = {}
    for numbers, kinds in connection.execute(query):
        of_kind: dict[str, int] = {}
        for number, kind in zip(map(int, numbers.split(",")), kinds.split(","), strict=True):
            visitor_of[number] = of_kind.setdefault(kind, number)
            address_of[number] = next(iter(of_kind.values()))
    return address_of, visitor_of


def _addresses(connection: sqlite3.Connection, numbers: Iterable[int], limit: int) -> list[str]:
    """Return the first addresses of these identities."""
    query = "SELECT address FROM identity WHERE id IN (SELECT value FROM json_each(?)) ORDER BY address LIMIT ?"
    return [address for (address,) in connection.execute(query, (json.dumps(list(numbers)), limit))]

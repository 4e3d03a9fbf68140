"""Reads anonymous visitors (`store.anonymous`) as numbers that SQL groups and orders, without a record of each.

`identity_known` is an index of the few others. Anonymous visitors of one kind and address are one visitor, though what
was found out about the address may have changed, and each such finding has a number of its own. `shared_address` has
the numbers of these few; an erased person's may stay there, as one that shares with nobody.
"""

import json
import sqlite3
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import compress, groupby, islice
from operator import itemgetter, not_

from tailtrace_bridge.store.anonymous import AnonymousUsage, Callers, Order, Ranking, Tally
from tailtrace_bridge.store.packed import RUN_BYTES, join_runs, run_values, unpack_runs
from tailtrace_bridge.store.sqlite import windows
from tailtrace_bridge.store.sqlite.identities import KNOWN, KNOWN_ONLY
from tailtrace_bridge.store.sqlite.totals import USAGE
from tailtrace_bridge.store.values import Run, Window

MIGRATION = f"CREATE INDEX identity_known ON identity (id) WHERE {KNOWN}"
_SHARING = "SELECT id FROM identity WHERE address IN ({})"
SHARED_MIGRATION = f"""
    CREATE TABLE shared_address (id INTEGER PRIMARY KEY);
    INSERT INTO shared_address
        {_SHARING.format("SELECT address FROM identity GROUP BY address HAVING count(*) > 1")};
"""  # noqa: S608  # our own words, here and below
_NOTE_SHARED = "INSERT OR IGNORE INTO shared_address " + _SHARING.format("""
    SELECT new.address FROM identity new JOIN identity old ON old.address = new.address AND old.id <> new.id
    WHERE new.id > ?
""")  # noqa: S608
_KNOWN = f"SELECT id FROM {KNOWN_ONLY}"  # noqa: S608  # our own words
_BRIEF = f"SELECT identity_id, time_us FROM brief WHERE time_us >= ? AND time_us < ? AND traffic IN {USAGE}"  # noqa: S608
"""In order of time, as the table's key has it: SQL would sort all rows to add them up by visitor."""
_Row = tuple[int, bytes]
"""A visitor's number, and packed runs."""
_NUMBER = itemgetter(0)
_ROWS_AT_ONCE = 500
SOUGHT_MAX = 5000
"""Identities whose addresses SQL looks up and sorts."""


def note_shared(writer: sqlite3.Connection, last: int) -> None:
    """Note which identities share an address with one whose number is past `last`."""
    writer.execute(_NOTE_SHARED, (last,))


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
        self.not_alone = self._known | self._address_of.keys()
        """Who is not anonymous, or has an address that others have had."""
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

    def see_alone(self, count: int) -> None:
        """Count anonymous visitors of whom none is in `not_alone`."""
        self._addresses += count

    def has_several(self, visitor: int) -> bool:
        """Whether other numbers may stand for the same visitor."""
        return visitor in self._visitor_of


class _Brief:
    """What visitors did in `brief`: one run of each (`brief.brief_rows`), in arrays by their numbers."""

    def __init__(self, connection: sqlite3.Connection, window: Window) -> None:
        self._firsts_us, self._lasts_us, self._requests = (_by_number(connection) for _ in range(3))
        for number, time_us in connection.execute(_BRIEF, windows.rolled_up(window) or (0, 0)):
            if not self._requests[number]:
                self._firsts_us[number] = time_us
            self._lasts_us[number] = time_us
            self._requests[number] += 1

    def __contains__(self, number: int) -> bool:
        return self._requests[number] > 0

    def take(self, number: int) -> list[Run]:
        """Return what one visitor did, and forget it."""
        if not (requests := self._requests[number]):
            return []
        self._requests[number] = 0
        return [(self._firsts_us[number], self._lasts_us[number], requests)]

    def add_all(self, tally: Tally) -> int:
        """Add whoever is left to the totals, and count them."""
        there = self._requests
        numbers = array("Q", compress(range(len(there)), there))
        firsts_us, lasts_us, requests = (
            array("q", compress(values, there)) for values in (self._firsts_us, self._lasts_us, there)
        )
        tally.add_who_came_once(numbers, firsts_us, lasts_us, requests)
        return len(numbers)


def read_anonymous(connection: sqlite3.Connection, window: Window, order: Order, limit: int) -> AnonymousUsage:
    """Return the totals of a window. Who came once, as most do, is added up with others, and not looked at alone."""
    if not _has_any(connection, window):
        return AnonymousUsage()
    seen, tally, brief = _Seen(connection), Tally(order), _Brief(connection, window)
    apart: dict[int, list[Run]] = defaultdict(list)

    def add(number: int, runs: list[Run]) -> None:
        visitor = seen.see(number)
        if visitor is not None and seen.has_several(visitor):
            apart[visitor] += runs
        elif visitor is not None:
            tally.add(number, join_runs(runs))

    for batch in _runs(connection, window):
        rows = Counter(map(_NUMBER, batch))
        once = [
            rows[number] == 1 and len(runs) == RUN_BYTES and number not in seen.not_alone and number not in brief
            for number, runs in batch
        ]
        seen.see_alone(sum(once))
        packed = dict(compress(batch, once))
        values = run_values(b"".join(packed.values()))
        tally.add_who_came_once(packed, values[0::3], values[1::3], values[2::3])
        for number, theirs in groupby(compress(batch, map(not_, once)), _NUMBER):
            add(number, [run for _, runs in theirs for run in unpack_runs(runs)] + brief.take(number))
    for number in seen.not_alone:
        if runs := brief.take(number):
            add(number, runs)
    seen.see_alone(brief.add_all(tally))
    for visitor, found in apart.items():
        tally.add(visitor, join_runs(found))
    return tally.anonymous_usage(_first(connection, tally.ranking, limit), seen.addresses)


def _has_any(connection: sqlite3.Connection, window: Window) -> bool:
    """Whether there is anything in a window: one before all data is asked for by each comparison."""
    asked = [(query.text, query.values) for query in windows.packed(window, "visit", "runs")]
    asked.append((_BRIEF, windows.rolled_up(window) or (0, 0)))
    limited = [(f"SELECT 1 FROM ({text}) LIMIT 1", values) for text, values in asked]  # noqa: S608
    return any(connection.execute(text, values).fetchone() for text, values in limited)


def _by_number(connection: sqlite3.Connection) -> "array[int]":
    """Return an array of zeros, one for each number that an identity may have."""
    (last,) = connection.execute("SELECT ifnull(max(id), 0) FROM identity").fetchone()
    return array("q", bytes(8 * (last + 1)))


def read_callers(
    connection: sqlite3.Connection, facts: tuple[str, Sequence[object]], limit: int, *, usage_only: bool
) -> Callers:
    """Return who asked for something. `facts` is SQL, with its values, of rows of usage, as filtered."""
    text, values = facts
    of_usage = f"WHERE traffic IN {USAGE}" if usage_only else ""
    query = f"SELECT identity_id, requests FROM ({text}) {of_usage}"  # noqa: S608  # our own words
    requests = _by_number(connection)  # SQL would sort all rows to add them up
    for number, count in connection.execute(query, values):
        requests[number] += count
    seen, ranking = _Seen(connection), Ranking()
    apart: Counter[int] = Counter()
    for number in seen.not_alone:
        if count := requests[number]:
            requests[number] = 0
            visitor = seen.see(number)
            if visitor is not None:
                apart[visitor] += count
    ranking.extend(compress(range(len(requests)), requests), filter(None, requests))
    seen.see_alone(len(ranking))
    ranking.extend(apart, apart.values())
    return Callers(seen.addresses, len(ranking), frozenset(_first(connection, ranking, limit)))


def _first(connection: sqlite3.Connection, ranking: Ranking, limit: int) -> list[str]:
    sure, equals, more = ranking.first(limit)
    return [*_addresses(connection, sure, len(sure)), *_addresses(connection, equals, more)]


def _runs(connection: sqlite3.Connection, window: Window) -> Iterator[list[_Row]]:
    """Return the runs of `visit` in a window, some at a time; each identity's rows stand together."""
    parts: list[str] = []
    values: list[int | str] = []
    for query in windows.packed(window, "visit", "runs"):
        parts.append(f"SELECT {windows.NUMBER} AS number, runs FROM ({query.text})")  # noqa: S608
        values += query.values
    if not parts:
        return
    rows = connection.execute(" UNION ALL ".join(parts) + " ORDER BY number", values)
    batch: list[_Row] = []
    while more := rows.fetchmany(_ROWS_AT_ONCE):
        batch += more
        last = batch[-1][0]
        end = next(end for end in range(len(batch), -1, -1) if not end or batch[end - 1][0] != last)
        if end:
            yield batch[:end]
            batch = batch[end:]
    if batch:
        yield batch


def _shared(connection: sqlite3.Connection) -> tuple[dict[int, int], dict[int, int]]:
    """Return the one number that stands for all of an address, and of an address and kind: where these are several."""
    query = "SELECT address, id, kind FROM identity WHERE id IN shared_address ORDER BY address, id"
    address_of: dict[int, int] = {}
    visitor_of: dict[int, int] = {}
    for _, same in groupby(connection.execute(query), itemgetter(0)):
        of_kind: dict[str, int] = {}
        for _, number, kind in same:
            visitor_of[number] = of_kind.setdefault(kind, number)
            address_of[number] = next(iter(of_kind.values()))
    return address_of, visitor_of


def _addresses(connection: sqlite3.Connection, numbers: Collection[int], limit: int) -> list[str]:
    """Return the first addresses of these identities."""
    if len(numbers) > SOUGHT_MAX:  # most of all there are: the first stand near the head of the index
        wanted = set(numbers)
        rows = connection.execute("SELECT address, id FROM identity ORDER BY address, id")
        return list(islice((address for address, number in rows if number in wanted), limit))
    query = "SELECT address FROM identity WHERE id IN (SELECT value FROM json_each(?)) ORDER BY address LIMIT ?"
    return [address for (address,) in connection.execute(query, (json.dumps(list(numbers)), limit))]

"""Reads anonymous visitors (`store.anonymous`) as numbers that SQL groups and orders, without a record of each.

`identity_known` is an index of the few others. Anonymous visitors of one kind and address are one visitor, though what
was found out about the address may have changed, and each such finding has a number of its own (`_shared`).
"""

import json
import sqlite3
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import compress, groupby
from operator import itemgetter, not_

from tailtrace_bridge.store.anonymous import AnonymousUsage, Callers, Order, Ranking, Tally
from tailtrace_bridge.store.packed import RUN_BYTES, join_runs, run_values, unpack_runs
from tailtrace_bridge.store.sqlite import windows
from tailtrace_bridge.store.sqlite.identities import KNOWN, KNOWN_ONLY
from tailtrace_bridge.store.sqlite.totals import USAGE
from tailtrace_bridge.store.values import Run, Window

MIGRATION = f"CREATE INDEX identity_known ON identity (id) WHERE {KNOWN}"
_KNOWN = f"SELECT id FROM {KNOWN_ONLY}"  # noqa: S608  # our own words
_BRIEF_RUNS = f"""
    SELECT * FROM (
        SELECT identity_id AS number, NULL AS runs, min(time_us), max(time_us), count(*) FROM brief
        WHERE time_us >= ? AND time_us < ? AND traffic IN {USAGE} GROUP BY identity_id
    )
"""  # noqa: S608  # our own words
"""What a visitor did in `brief` is one run."""
_Row = tuple[int, bytes | None, int, int, int]
"""A visitor's number, and packed runs, or the first and last time and the requests of one run."""
_NUMBER = itemgetter(0)
_ROWS_AT_ONCE = 500


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


def read_anonymous(connection: sqlite3.Connection, window: Window, order: Order, limit: int) -> AnonymousUsage:
    """Return the totals of a window. Who came once, as most do, is added up with others, and not looked at alone."""
    seen, tally = _Seen(connection), Tally(order)
    apart: dict[int, list[Run]] = defaultdict(list)
    for batch in _runs(connection, window):
        rows = Counter(map(_NUMBER, batch))
        once = [
            rows[number] == 1 and (not runs or len(runs) == RUN_BYTES) and number not in seen.not_alone
            for number, runs, *_ in batch
        ]
        seen.see_alone(sum(once))
        _add_who_came_once(tally, compress(batch, once))
        for number, theirs in groupby(compress(batch, map(not_, once)), _NUMBER):
            visitor = seen.see(number)
            if visitor is None:
                continue
            several = [
                run for _, runs, *one in theirs for run in (unpack_runs(runs) if runs else [(one[0], one[1], one[2])])
            ]
            if seen.has_several(visitor):
                apart[visitor] += several
            else:
                tally.add(number, join_runs(several))
    for visitor, found in apart.items():
        tally.add(visitor, join_runs(found))
    return tally.anonymous_usage(_first(connection, tally.ranking, limit), seen.addresses)


def _add_who_came_once(tally: Tally, batch: Iterable[_Row]) -> None:
    rows = list(batch)
    packed = {number: runs for number, runs, *_ in rows if runs}
    values = run_values(b"".join(packed.values()))
    tally.add_who_came_once(packed, values[0::3], values[1::3], values[2::3])
    if brief := [row for row in rows if not row[1]]:
        numbers, _, firsts_us, lasts_us, requests = zip(*brief, strict=True)
        tally.add_who_came_once(numbers, firsts_us, lasts_us, requests)


def read_callers(
    connection: sqlite3.Connection, facts: tuple[str, Sequence[object]], limit: int, *, usage_only: bool
) -> Callers:
    """Return who asked for something. `facts` is SQL, with its values, of rows of usage, as filtered."""
    text, values = facts
    of_usage = f"WHERE traffic IN {USAGE}" if usage_only else ""
    query = f"SELECT identity_id, requests FROM ({text}) {of_usage}"  # noqa: S608  # our own words
    (last,) = connection.execute("SELECT ifnull(max(id), 0) FROM identity").fetchone()
    requests = array("q", bytes(8 * (last + 1)))  # by number: SQL would sort all rows to add them up
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
    ranking.extend(compress(range(last + 1), requests), filter(None, requests))
    seen.see_alone(len(ranking))
    ranking.extend(apart, apart.values())
    return Callers(seen.addresses, len(ranking), frozenset(_first(connection, ranking, limit)))


def _first(connection: sqlite3.Connection, ranking: Ranking, limit: int) -> list[str]:
    sure, equals, more = ranking.first(limit)
    return [*_addresses(connection, sure, len(sure)), *_addresses(connection, equals, more)]


def _runs(connection: sqlite3.Connection, window: Window) -> Iterator[list[_Row]]:
    """Return the runs of all identities in a window, some at a time; each identity's rows stand together."""
    parts: list[str] = []
    values: list[int | str] = []
    for query in windows.packed(window, "visit", "runs"):
        parts.append(f"SELECT {windows.NUMBER} AS number, runs, 0, 0, 0 FROM ({query.text})")  # noqa: S608
        values += query.values
    if brief_us := windows.rolled_up(window):
        parts.append(_BRIEF_RUNS)
        values += brief_us
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
    query = """
        SELECT address, id, kind FROM identity
        WHERE address IN (SELECT address FROM identity GROUP BY address HAVING count(*) > 1) ORDER BY address, id
    """
    address_of: dict[int, int] = {}
    visitor_of: dict[int, int] = {}
    for _, same in groupby(connection.execute(query), itemgetter(0)):
        of_kind: dict[str, int] = {}
        for _, number, kind in same:
            visitor_of[number] = of_kind.setdefault(kind, number)
            address_of[number] = next(iter(of_kind.values()))
    return address_of, visitor_of


def _addresses(connection: sqlite3.Connection, numbers: Iterable[int], limit: int) -> list[str]:
    """Return the first addresses of these identities."""
    query = "SELECT address FROM identity WHERE id IN (SELECT value FROM json_each(?)) ORDER BY address LIMIT ?"
    return [address for (address,) in connection.execute(query, (json.dumps(list(numbers)), limit))]

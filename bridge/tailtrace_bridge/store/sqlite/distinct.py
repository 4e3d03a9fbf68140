"""How many addresses without a name, user agents and requests a SQLite store keeps apart: their sender chooses them.

| what comes | is stored as |
|---|---|
| known already, or below the limit | itself |
| an address of a person or a device | itself, always |
| an address that nobody is behind, past the limit | `__other__`, of the same kind and for the same reason; counted |
| a user agent past the limit | `__other__`; counted |
| a request past the limit | the same without its path: that stands in the row itself, and nothing is lost |
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from tailtrace_bridge.core.records import OTHER

DISTINCT_MAX = 100_000
Texts = tuple[str | int, ...]
"""The columns that tell the rows of a table apart."""
_COUNT = {
    "identity": "SELECT count(*) FROM identity WHERE user = '' AND device = ''",
    "agent": "SELECT count(*) FROM agent",
    "request": "SELECT count(*) FROM request WHERE path <> ''",
}
_KIND, _USER, _DEVICE, _REASON, _EXPIRED = 1, 2, 3, 9, 10
_PATH = 2


@dataclass(slots=True)
class SqliteCounters:
    """What hit a limit of the store."""

    addresses_over_limit: int = 0
    agents_over_limit: int = 0


class Distinct:
    """Folds what is past the limit. For the writer's thread."""

    def __init__(self, limit: int) -> None:
        self.counters = SqliteCounters()
        self._limit = limit
        self._known: dict[str, int] = {}
        """How many there are, at most: some that came may have been known."""

    def forget(self) -> None:
        """Count anew: another process may have added or removed some."""
        self._known.clear()

    def has_room(self, writer: sqlite3.Connection, table: str, new: Sequence[Texts]) -> bool:
        """Whether all of `new` are stored as themselves, even if the store has none of them yet."""
        bounded = sum(_is_bounded(table, one) for one in new)
        return not bounded or bounded <= self._room(writer, table, bounded)

    def as_stored(self, writer: sqlite3.Connection, table: str, new: Sequence[Texts]) -> dict[Texts, Texts]:
        """Count `new`, which the store has not yet; return those that are stored as something else, and as what."""
        bounded = [one for one in new if _is_bounded(table, one)]
        if not bounded:
            return {}
        room = self._room(writer, table, len(bounded))
        self._known[table] += min(room, len(bounded))
        folded = {one: _fold(table, one) for one in bounded[room:]}
        self.counters.addresses_over_limit += len(folded) if table == "identity" else 0
        self.counters.agents_over_limit += len(folded) if table == "agent" else 0
        return folded

    def _room(self, writer: sqlite3.Connection, table: str, wanted: int) -> int:
        """Return how many more may come."""
        known = self._known.get(table)
        if known is None or known < self._limit < known + wanted:
            (self._known[table],) = writer.execute(_COUNT[table]).fetchone()
        return max(0, self._limit - self._known[table])


def _is_bounded(table: str, one: Texts) -> bool:
    if table == "identity":
        return not one[_USER] and not one[_DEVICE] and one[0] != OTHER
    if table == "request":
        return one[_PATH] != ""
    return table == "agent" and one[0] != OTHER


def _fold(table: str, one: Texts) -> Texts:
    if table == "agent":
        return (OTHER,)
    if table == "request":
        return (*one[:_PATH], "", *one[_PATH + 1 :])
    return (OTHER, one[_KIND], *("" for _ in range(_USER, _REASON)), one[_REASON], one[_EXPIRED])

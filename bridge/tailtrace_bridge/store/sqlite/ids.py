"""The ids of identities, endpoints, requests and user agents in a SQLite store: rows name what is stored once."""

import json
import sqlite3
from collections.abc import Sequence

from tailtrace_bridge.store.sqlite.anonymous import note_shared
from tailtrace_bridge.store.sqlite.distinct import Distinct, Texts
from tailtrace_bridge.store.sqlite.identities import IDENTITY_COLUMNS

CACHED_IDS_MAX = 10_000
"""Identities, endpoints or user agents."""
CACHED_REQUESTS_MAX = 50_000
"""An app has more of these: a path for each of its things, with each status."""
CACHED_PATHS_LENGTH_MAX = 2 * 1024 * 1024
"""Characters of their paths, which may be long."""
_PATH = 2
_NUMBERED = {"identity": IDENTITY_COLUMNS, "endpoint": "service, route", "agent": "text"} | {
    "request": "endpoint_id, method, path, status, traffic"
}
"""Tables whose rows are known by a number, and the columns that tell them apart."""
_FOUND_BY = {"identity": "address", "request": "path", "agent": "text"}
"""The column by which an index finds them, of tables with a limit."""
_FOUND = "UPDATE identity SET found_us = ?1 WHERE id = ?2 AND found_us IS NULL"
_FOUND_OF = "SELECT id, found_us FROM identity WHERE id IN (SELECT value FROM json_each(?))"


class Ids:
    """Finds and makes them, for whoever holds the store's lock."""

    def __init__(self, writer: sqlite3.Connection, distinct: Distinct) -> None:
        self._writer, self._distinct = writer, distinct
        self._ids: dict[str, dict[Texts, int]] = {table: {} for table in _NUMBERED}
        self._paths_length = 0
        self._found_us: dict[int, int] = {}
        self.pathless: set[int] = set()
        """Requests without a path: the rows have it, where it is not empty."""

    def of(self, table: str, wanted: Sequence[Texts]) -> list[int]:
        """Return the id of each, also of those that have none yet."""
        ids, writer = self._ids[table], self._writer
        self._bound(table, ids)
        missing = [one for one in dict.fromkeys(wanted) if one not in ids]
        if table == "identity" or not self._distinct.has_room(writer, table, missing):
            missing = self._look_up(table, missing)
        if missing:
            folded = self._distinct.as_stored(writer, table, missing)
            if folded:
                stored = dict.fromkeys(folded.get(one, one) for one in missing)
                missing = self._look_up(table, [one for one in stored if one not in ids])
            self._insert(table, missing)
            ids.update((one, ids[as_stored]) for one, as_stored in folded.items())
        return [ids[one] for one in wanted]

    def _look_up(self, table: str, wanted: Sequence[Texts]) -> list[Texts]:
        """Remember those that the store has, and return the others."""
        ids, names, by = self._ids[table], _NUMBERED[table], _FOUND_BY[table]
        query = f"SELECT id, {names} FROM {table} WHERE {by} IN (SELECT value FROM json_each(?))"  # noqa: S608  # our own names
        column = names.split(", ").index(by)
        of_these = self._writer.execute(query, (json.dumps([one[column] for one in wanted]),))
        self._remember(table, {row[1:]: row[0] for row in of_these})
        return [one for one in wanted if one not in ids]

    def _insert(self, table: str, missing: Sequence[Texts]) -> None:
        """Give each that is not remembered its id."""
        if not missing:
            return
        writer, names = self._writer, _NUMBERED[table]
        marks = ", ".join("?" * len(missing[0]))
        find = f"SELECT id FROM {table} WHERE ({names}) = ({marks})"  # noqa: S608  # our own names
        (last,) = writer.execute(f"SELECT ifnull(max(id), 0) FROM {table}").fetchone()  # noqa: S608  # our own names
        given = range(last + 1, last + 1 + len(missing))
        insert = f"INSERT OR IGNORE INTO {table} (id, {names}) VALUES (?, {marks})"  # noqa: S608
        rows = [(number, *one) for number, one in zip(given, missing, strict=True)]
        if writer.executemany(insert, rows).rowcount == len(rows):  # all at once: most logs are of anonymous visitors
            self._remember(table, dict(zip(missing, given, strict=True)))
        else:
            self._remember(table, {one: writer.execute(find, one).fetchone()[0] for one in missing})
        if table == "identity":
            note_shared(writer, last)

    def _remember(self, table: str, found: dict[Texts, int]) -> None:
        self._ids[table].update(found)
        if table == "request":
            self.pathless.update(number for one, number in found.items() if one[_PATH] == "")
            self._paths_length += sum(len(str(one[_PATH])) for one in found)

    def _bound(self, table: str, ids: dict[Texts, int]) -> None:
        is_request = table == "request"
        is_long = is_request and self._paths_length > CACHED_PATHS_LENGTH_MAX
        if is_long or len(ids) > (CACHED_REQUESTS_MAX if is_request else CACHED_IDS_MAX):
            ids.clear()
            self._paths_length = 0 if is_request else self._paths_length

    def found_us(self, identity_ids: Sequence[int], identified_us: Sequence[int]) -> list[int | None]:
        """Return when each was found out, µs; None where that is when it first was, which the store has."""
        known = self._found_us
        if len(known) > CACHED_IDS_MAX:
            known.clear()
        pairs = list(zip(identity_ids, identified_us, strict=True))
        if missing := [(when, number) for number, when in pairs if number not in known]:
            self._writer.executemany(_FOUND, missing)
            known.update(self._writer.execute(_FOUND_OF, (json.dumps([number for _, number in missing]),)))
        return [None if known[number] == when else when for number, when in pairs]

    def forget(self) -> None:
        """Ask the file again: it changed under us."""
        self._distinct.forget()
        self._found_us.clear()
        self.pathless.clear()
        self._paths_length = 0
        for ids in self._ids.values():
            ids.clear()

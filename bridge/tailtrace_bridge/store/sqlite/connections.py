"""Connections to one SQLite file: one that writes, and readers, each lent to one read at a time."""

import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from tailtrace_bridge.store.sqlite.database import connect, translated
from tailtrace_bridge.store.sqlite.read_only import connect_read_only, unchanged

READER_CACHE_KIB = 2000
"""Of each reader: a long read passes over its pages once."""


class Connections:
    """Opens and lends them. Raises `StoreError` for what SQLite says."""

    def __init__(self, path: str, *, is_read_only: bool) -> None:
        self.path = path
        self._is_read_only = is_read_only
        self._is_closed = False
        self.idle_readers: deque[sqlite3.Connection] = deque()
        self._open: list[sqlite3.Connection] = []

    @property
    def open_count(self) -> int:
        """How many connections there are."""
        return len(self._open)

    def open(self, cache_kib: int) -> sqlite3.Connection:
        """Return a new connection."""
        if self._is_closed:
            raise sqlite3.ProgrammingError("it was closed")
        connection = (connect_read_only if self._is_read_only else connect)(self.path, cache_kib)
        self._open.append(connection)
        return connection

    def read(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of one query."""
        with self.lent() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for several queries, which all see the store as of one moment."""
        with self.lent() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:  # SQLite ends it by itself where the disk fails
                    connection.execute("ROLLBACK")

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection: a web server's threads come and go, and each would leave one of its own behind."""
        with self.translated(), unchanged(self.path) if self._is_read_only else nullcontext():
            try:
                connection = self.idle_readers.pop()
            except IndexError:
                connection = self.open(READER_CACHE_KIB)
            try:
                yield connection
            finally:
                if self._is_read_only:
                    self._open.remove(connection)
                    connection.close()
                else:
                    self.idle_readers.append(connection)

    def translated(self) -> AbstractContextManager[None]:
        """Raise `StoreError` for SQLite's errors."""
        return translated(self.path)

    def close(self) -> None:
        """Close every connection."""
        self._is_closed = True
        for connection in self._open:
            connection.close()
        self._open.clear()

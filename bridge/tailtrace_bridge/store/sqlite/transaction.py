"""A transaction of the one writer of a SQLite file."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(writer: sqlite3.Connection) -> Iterator[None]:
    """Keep all that is written inside, or nothing where it raises."""
    writer.execute("BEGIN IMMEDIATE")
    try:
        yield
        writer.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:  # SQLite rolls back by itself when the disk is full
            writer.execute("ROLLBACK")
        raise

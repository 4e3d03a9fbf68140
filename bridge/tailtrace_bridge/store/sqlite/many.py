"""Many rows by few statements: one with ten rows costs two thirds of ten with one."""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

ROWS_AT_ONCE = 10


def insert_many(
    writer: sqlite3.Connection, into: str, marks: str, rows: Sequence[tuple[Any, ...]], on_conflict: str = ""
) -> int:
    """Run `INSERT … INTO into VALUES (marks), …` for all rows; return how many were inserted or changed."""
    if not rows:
        return 0
    whole = len(rows) // ROWS_AT_ONCE * ROWS_AT_ONCE
    width = len(rows[0]) * ROWS_AT_ONCE
    values = list(chain.from_iterable(rows[:whole]))
    several = f"{into} VALUES {', '.join([f'({marks})'] * ROWS_AT_ONCE)} {on_conflict}"
    changed = writer.executemany(several, (values[at : at + width] for at in range(0, len(values), width))).rowcount
    return max(0, changed) + max(0, writer.executemany(f"{into} VALUES ({marks}) {on_conflict}", rows[whole:]).rowcount)

"""Rejected lines, in SQLite: the first `REJECTED_MAX`, until their line is stored."""

import sqlite3
from collections.abc import Sequence

from tailtrace_bridge.core.records import RejectedLine

REJECTED_MAX = 100_000


def add(writer: sqlite3.Connection, rejected_lines: Sequence[RejectedLine]) -> None:
    """Keep lines, below the limit."""
    if rejected_lines and writer.execute("SELECT count(*) FROM refusal").fetchone()[0] < REJECTED_MAX:
        writer.executemany(
            "INSERT OR IGNORE INTO refusal VALUES (?, ?, ?, ?)",
            [(_storable(one.file), one.offset, one.reason, one.text) for one in rejected_lines],
        )


def settle(writer: sqlite3.Connection, file: str, places: Sequence[int]) -> int:
    """Remove the kept lines of a log that were stored since; return how many."""
    found = writer.execute("SELECT position FROM refusal WHERE file = ?", (_storable(file),)).fetchall()
    gone = {position for (position,) in found} - set(places)
    writer.executemany(
        "DELETE FROM refusal WHERE file = ? AND position = ?", [(_storable(file), place) for place in gone]
    )
    return len(gone)


def page(connection: sqlite3.Connection, after: tuple[str, int] | None, limit: int) -> list[RejectedLine]:
    """Return a page of the kept lines, by file and position."""
    query = """
        SELECT reason, file, position, text FROM refusal WHERE (file, position) > (?, ?)
        ORDER BY file, position LIMIT ?
    """
    return [RejectedLine(*row) for row in connection.execute(query, (*(after or ("", -1)), limit))]


def by_reason(connection: sqlite3.Connection) -> dict[str, int]:
    """Count the kept lines by reason."""
    return dict(connection.execute("SELECT reason, count(*) FROM refusal GROUP BY reason").fetchall())


def _storable(path: str) -> str:
    """Write a file's name, which may be any bytes, as SQLite's text, which may not."""
    return path.encode(errors="backslashreplace").decode()

"""Failed requests by group, and markers, in SQLite.

| table | holds |
|---|---|
| `failure` | for each failed request its group, and the app's version; who asked what stands in the request's row |
| `error_group` | what the failures of a group have in common; when it was first and last seen, mended, back |
| `marker` | deployments, notes |

A failure goes with its request. Its group stays, `GROUPS_MAX` of them: those not seen for longest go.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tailtrace_bridge.core.records import Failure, Identity, Marker
from tailtrace_bridge.store.error_groups import GROUPS_MAX, TRACES_LOOKED_AT, GroupState, Hits, error_group
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.identities import read_endpoints, read_identities
from tailtrace_bridge.store.sqlite.transaction import transaction
from tailtrace_bridge.store.values import BACK_US, HOUR_US, MARKERS_MAX, ErrorGroup, Window

MIGRATION = """
    CREATE TABLE error_group (
        id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, type TEXT NOT NULL, title TEXT NOT NULL,
        frames TEXT NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
        resolved_us INTEGER NOT NULL DEFAULT 0, back_us INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE failure (
        time_us INTEGER NOT NULL, key INTEGER NOT NULL, group_id INTEGER NOT NULL, version TEXT NOT NULL,
        PRIMARY KEY (time_us, key)
    ) WITHOUT ROWID;
    CREATE INDEX failure_by_group ON failure (group_id, time_us);
    CREATE TABLE marker (
        time_us INTEGER NOT NULL, kind TEXT NOT NULL, service TEXT NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (time_us, kind, service, text)
    ) WITHOUT ROWID;
"""
_SEEN = """
    INSERT INTO error_group (fingerprint, type, title, frames, first_us, last_us) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
    ON CONFLICT (fingerprint) DO UPDATE SET
        type = ?2, title = ?3, frames = ?4,
        back_us = CASE
            WHEN ?5 > last_us + ?6 OR (resolved_us > back_us AND ?5 > resolved_us) THEN ?5 ELSE back_us END,
        first_us = min(first_us, ?5), last_us = max(last_us, ?5)
    RETURNING id
"""
_FAILED = """
    INSERT OR IGNORE INTO failure SELECT ?1, ?2, 0, ?3
    WHERE EXISTS (SELECT 1 FROM entry WHERE time_us = ?1 AND key = ?2)
"""
_OF_WINDOW = """
    SELECT f.group_id, f.time_us / ?3 * ?3 AS hour, a.identity_id, a.endpoint_id, a.status, f.version, count(*)
    FROM failure f JOIN access a ON a.time_us = f.time_us AND a.key = f.key
    WHERE f.time_us >= ?1 AND f.time_us < ?2 GROUP BY 1, 2, 3, 4, 5, 6
"""
_NEWEST = """
    SELECT f.time_us, a.trace_id, a.identity_id,
           EXISTS (SELECT 1 FROM trace t WHERE t.time_us = f.time_us AND t.key = f.key)
    FROM failure f JOIN access a ON a.time_us = f.time_us AND a.key = f.key
    WHERE f.group_id = ? AND f.time_us >= ? AND f.time_us < ? AND a.trace_id IS NOT NULL
    ORDER BY f.time_us DESC LIMIT ?
"""


def add(writer: sqlite3.Connection, failures: Sequence[Failure]) -> int:
    """Keep failures of requests that are stored; return how many are new. In one transaction."""
    added = 0
    with transaction(writer):
        for one in sorted(failures):
            if not writer.execute(_FAILED, (one.time_us, one.key, one.version)).rowcount:
                continue
            values = one.fingerprint, one.type, one.title, one.frames, one.time_us, BACK_US
            (group_id,) = writer.execute(_SEEN, values).fetchone()
            writer.execute("UPDATE failure SET group_id = ? WHERE (time_us, key) = (?, ?)", (group_id, *one[:2]))
            added += 1
        if added:
            writer.execute(
                "DELETE FROM error_group WHERE id IN"
                " (SELECT id FROM error_group ORDER BY last_us DESC LIMIT -1 OFFSET ?)",
                (GROUPS_MAX,),
            )
            writer.execute("DELETE FROM failure WHERE group_id NOT IN (SELECT id FROM error_group)")
    return added


def resolve(writer: sqlite3.Connection, fingerprint: str, now_us: int) -> bool:
    """Note that a group is mended; False: there is none."""
    done = writer.execute("UPDATE error_group SET resolved_us = ? WHERE fingerprint = ?", (now_us, fingerprint))
    return bool(done.rowcount)


def groups(connection: sqlite3.Connection, scope: Scope, window: Window) -> list[ErrorGroup]:
    """Return the groups with failures in a window, those last seen first."""
    rows: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for group_id, *row in connection.execute(_OF_WINDOW, (*window, HOUR_US)):
        rows[group_id].append(tuple(row))
    identities = read_identities(connection, {row[1] for one in rows.values() for row in one})
    endpoints = read_endpoints(connection) if rows else {}
    found: list[ErrorGroup] = []
    for number, *state in connection.execute("SELECT * FROM error_group ORDER BY last_us DESC").fetchall():
        if number in rows:
            hits = (Hits(row[0], identities[row[1]], endpoints[row[2]][1], *row[3:]) for row in rows[number])
            newest = _newest(connection, scope, window, number, identities)
            found.append(error_group(scope, GroupState(*state), hits, newest))
    return found


def _newest(
    connection: sqlite3.Connection, scope: Scope, window: Window, number: int, identities: dict[int, Identity]
) -> list[tuple[int, str, bool]]:
    return [
        (time_us, trace_id.hex(), bool(is_kept))
        for time_us, trace_id, identity_id, is_kept in connection.execute(_NEWEST, (number, *window, TRACES_LOOKED_AT))
        if identity_id in identities and scope.has(identities[identity_id])
    ]


def of_requests(connection: sqlite3.Connection, requests: Sequence[tuple[int, int]]) -> list[Failure]:
    """Return the failures of requests, each given by time and key."""
    query = """
        SELECT f.time_us, f.key, g.fingerprint, g.type, g.title, g.frames, f.version
        FROM failure f JOIN error_group g ON g.id = f.group_id WHERE f.time_us = ? AND f.key = ?
    """
    return [Failure(*row) for one in requests for row in connection.execute(query, one)]


def remove(writer: sqlite3.Connection, where: str, values: Sequence[Any] = ()) -> None:
    """Remove failures within the caller's transaction. `where` is our own text."""
    writer.execute(f"DELETE FROM failure WHERE {where}", values)  # noqa: S608


def add_markers(writer: sqlite3.Connection, markers: Sequence[Marker]) -> None:
    """Keep markers; the oldest go. In one transaction."""
    with transaction(writer):
        writer.executemany("INSERT OR IGNORE INTO marker VALUES (?, ?, ?, ?)", markers)
        writer.execute(
            "DELETE FROM marker WHERE time_us <= (SELECT time_us FROM marker ORDER BY time_us DESC LIMIT 1 OFFSET ?)",
            (MARKERS_MAX,),
        )


def drop_markers(writer: sqlite3.Connection, found: Sequence[Marker]) -> None:
    """Remove markers, and what they were from the pages of the file. In one transaction."""
    writer.execute("PRAGMA secure_delete=ON")
    with transaction(writer):
        writer.executemany("DELETE FROM marker WHERE (time_us, kind, service, text) = (?, ?, ?, ?)", found)


def markers(connection: sqlite3.Connection, window: Window) -> list[Marker]:
    """Return the markers of a window, the oldest first."""
    query = "SELECT time_us, kind, service, text FROM marker WHERE time_us >= ? AND time_us < ? ORDER BY time_us"
    return [Marker(*row) for row in connection.execute(query, window)]

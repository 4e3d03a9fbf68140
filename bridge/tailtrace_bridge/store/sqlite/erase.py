"""Forget a person in the SQLite store: rows, rollups, names, rejected lines; what others did stays to the last digit.

| table | what becomes of it |
|---|---|
| `entry`, `identity`, `refusal` | theirs go |
| `usage`, `usage_identity`, `visit`, and their twins by day; `brief` | theirs go: a row is of one identity |
| `usage_endpoint` and its twin | less what `usage` and `brief` have of theirs |
| `latency`, `latency_all`, twins | less what their rows make: of pruned hours, counts by duration stay, of nobody |
| `uptime`, `hour` | less what their rows make: of pruned hours the answers of a minute stay, of nobody |
| `alert_event` | those that name them go |
| `trace`, `failure` | those of their requests go; `error_group` is of nobody; of `marker` see `wiring.erasing` |
| `minute` | stays: of nobody, and gone after a day |
| `agent`, `request`, `endpoint` | those that nothing names any more go |

All of it is one transaction. Then the file is written anew (VACUUM) and the WAL is cut off, so that no page of before
is left in either. What is still to be done stands in `meta` until then:

| `erasing` in `meta` | a crash left | who comes next |
|---|---|---|
| a person | their rows, or part of what stands beside the store | forgets them |
| nobody | old pages, or a WAL that a reader has open | writes the file anew, cuts the WAL off |

SQLite cuts the WAL off only when no reader needs it (https://sqlite.org/wal.html#avoiding_excessively_large_wal_files).
Our own readers are done within an answer; for others it waits `WAIT_S`, and says what is left.
"""

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.packed import add_counts, pack_counts
from tailtrace_bridge.store.person import Erased, Person, make_is_their_event, make_is_their_line, make_is_theirs
from tailtrace_bridge.store.rollups import COUNTED, SUMS, Rollups
from tailtrace_bridge.store.sqlite import failures, traces
from tailtrace_bridge.store.sqlite.database import BUSY_TIMEOUT_S
from tailtrace_bridge.store.sqlite.identities import IDENTITY_COLUMNS, KNOWN_ONLY, identity_of
from tailtrace_bridge.store.sqlite.totals import (
    KEY_BITS,
    by_day,
    by_hour,
    hour_rows,
    latency_all_rows,
    latency_rows,
    uptime_rows,
)
from tailtrace_bridge.store.sqlite.transaction import transaction
from tailtrace_bridge.store.values import DAY_US, HOUR_US

WAIT_S = 30
"""So long readers may keep the WAL from being cut off; SQLite waits in `BUSY_TIMEOUT_S` each."""
_ROWS_AT_ONCE = 10_000
_THEIRS = "identity_id IN (SELECT id FROM temp.gone)"
_THEIR_REQUEST = f"(time_us, key) IN (SELECT time_us, key FROM access WHERE {_THEIRS})"  # noqa: S608  # our own words
_THEIR_USAGE = f"""
    SELECT step, endpoint_id, status, traffic, {", ".join(SUMS)} FROM usage{{size}} WHERE {_THEIRS} UNION ALL
    SELECT time_us / {{step_us}}, endpoint_id, status, traffic, {", ".join(SUMS.values())} FROM brief WHERE {_THEIRS}
"""  # noqa: S608
_LESS = f"""
    UPDATE usage_endpoint{{size}} SET {", ".join(f"{name} = {name} - ?{place}" for place, name in enumerate(SUMS, 5))}
    WHERE step = ?1 AND endpoint_id = ?2 AND status = ?3 AND traffic = ?4
"""  # noqa: S608  # our own words
_LESS_OF_HOUR = """
    UPDATE hour SET usage_0 = usage_0 - ?2, usage_15 = usage_15 - ?3, usage_30 = usage_30 - ?4, usage_45 = usage_45 - ?5
    WHERE step = ?1
"""


def begin(connection: sqlite3.Connection, person: Person) -> None:
    """Note whom to forget."""
    named = {field: name for field, name in asdict(person).items() if name is not None}
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('erasing', ?)", (json.dumps(named),))


def unfinished(connection: sqlite3.Connection) -> Person | None:
    """Return whom an erase of before was to forget; `Person()`: the clean-up alone is left; None: nothing is."""
    noted = connection.execute("SELECT value FROM meta WHERE name = 'erasing'").fetchone()
    return None if noted is None else Person(**json.loads(noted[0]))


def erase(connection: sqlite3.Connection, path: str, person: Person, *, is_dry: bool) -> Erased:
    """Forget a person; with `is_dry`, only count. The connection is the writer's, outside of a transaction."""
    erased = _forget(connection, person, is_dry=is_dry)
    return erased if is_dry else replace(erased, left=_clean_up(connection, path))


def _clean_up(connection: sqlite3.Connection, path: str) -> str:
    """Write the file anew and cut the WAL off; return what is left, and why."""
    connection.execute("PRAGMA temp_store=FILE")  # VACUUM's copy may be larger than memory
    connection.execute("VACUUM")
    connection.execute("PRAGMA temp_store=MEMORY")
    for _ in range(WAIT_S // BUSY_TIMEOUT_S):
        is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not is_busy:
            connection.execute("DELETE FROM meta WHERE name = 'erasing'")
            return ""
    size = os.path.getsize(f"{path}-wal")  # noqa: PTH202 - beside the store, whatever its name
    return (
        f"not all is gone yet: {path} and {path}-wal ({size} bytes) still hold what was removed, since a program has "
        f"been reading the store for more than {WAIT_S} s. End it (`fuser {path}` names it) and erase again; the next "
        "start of tailtrace does so too"
    )


def _forget(connection: sqlite3.Connection, person: Person, *, is_dry: bool) -> Erased:
    connection.execute("PRAGMA secure_delete=ON")
    with transaction(connection):
        erased, places, events = _find(connection, person)
        if not is_dry and (erased.identities or places or events):
            _remove(connection, places)
            connection.executemany("DELETE FROM alert_event WHERE time_us = ?", [(time_us,) for time_us in events])
        if not is_dry:
            begin(connection, Person())
        connection.execute("DROP TABLE temp.gone")
    return erased


def _find(connection: sqlite3.Connection, person: Person) -> tuple[Erased, list[tuple[str, int]], list[int]]:
    """Count what is theirs, note their numbers in `temp.gone`; give the places of rejected lines, times of events."""
    known = _known(connection, person)
    is_theirs = make_is_theirs(person, known.values())
    gone = {number: one for number, one in known.items() if is_theirs(one)}
    known |= _at(connection, {one.address for one in gone.values()})
    connection.execute("CREATE TEMP TABLE gone (id INTEGER PRIMARY KEY)")
    connection.executemany("INSERT INTO temp.gone VALUES (?)", [(number,) for number in gone])
    others = [one for number, one in known.items() if number not in gone]
    is_their_line = make_is_their_line(gone.values(), others)
    places = [
        (file, position)
        for file, position, text in connection.execute("SELECT file, position, text FROM refusal")
        if is_their_line(text)
    ]
    is_their_event = make_is_their_event(gone.values(), others)
    events = [
        time_us
        for time_us, subject, text in connection.execute("SELECT time_us, subject, text FROM alert_event")
        if is_their_event(f"{subject} {text}")
    ]
    rows, first_us, last_us = connection.execute(
        f"SELECT count(*), min(time_us), max(time_us) FROM entry WHERE {_THEIRS}"  # noqa: S608
    ).fetchone()
    (requests,) = connection.execute(
        f"SELECT (SELECT ifnull(sum(requests), 0) FROM usage_identity WHERE {_THEIRS})"  # noqa: S608
        f" + (SELECT count(*) FROM brief WHERE {_THEIRS})"
    ).fetchone()
    (kept,) = connection.execute(f"SELECT count(*) FROM trace WHERE {_THEIR_REQUEST}").fetchone()  # noqa: S608
    erased = Erased(
        requests, rows, len(places), tuple(gone.values()), first_us, last_us, kept, len(events)
    )  # fmt: skip
    return erased, places, events


def _known(connection: sqlite3.Connection, person: Person) -> dict[int, Identity]:
    """Return who may be theirs, and all others with a name. Of 300,000 anonymous visitors few are read."""
    known = connection.execute(f"SELECT id, {IDENTITY_COLUMNS} FROM {KNOWN_ONLY}")  # noqa: S608
    found = {row[0]: identity_of(row[1:]) for row in known}
    return found if person.address is None else found | _at(connection, {person.address})


def _at(connection: sqlite3.Connection, addresses: Collection[str]) -> dict[int, Identity]:
    query = f"SELECT id, {IDENTITY_COLUMNS} FROM identity WHERE address IN (SELECT value FROM json_each(?))"  # noqa: S608
    rows = connection.execute(query, (json.dumps(list(addresses)),))
    return {row[0]: identity_of(row[1:]) for row in rows}


def _remove(connection: sqlite3.Connection, places: list[tuple[str, int]]) -> None:
    traces.remove(connection, _THEIR_REQUEST)
    failures.remove(connection, _THEIR_REQUEST)
    rollups = Rollups()
    for batch in _batches(connection.execute(f"SELECT {COUNTED} FROM access WHERE {_THEIRS}")):  # noqa: S608
        rollups.add(batch)
    for size, step_us in (("", HOUR_US), ("_day", DAY_US)):
        less = connection.execute(
            f"SELECT step, endpoint_id, status, traffic, {', '.join(f'sum({one})' for one in SUMS)}"  # noqa: S608
            f" FROM ({_THEIR_USAGE.format(size=size, step_us=step_us)}) GROUP BY step, endpoint_id, status, traffic"
        ).fetchall()
        connection.executemany(_LESS.format(size=size), less)
        connection.execute(f"DELETE FROM usage_endpoint{size} WHERE requests <= 0")  # noqa: S608
        for table in ("usage", "usage_identity"):
            connection.execute(f"DELETE FROM {table}{size} WHERE {_THEIRS}")  # noqa: S608
        connection.execute(
            f"DELETE FROM visit{size} WHERE (key & {(1 << KEY_BITS) - 1}) IN (SELECT id FROM temp.gone)"  # noqa: S608
        )
    of_hours = by_hour(rollups)
    for size, totals in (("", of_hours), ("_day", by_day(of_hours))):
        _less_counts(connection, f"latency{size}", ("proxy", "app"), latency_rows(totals))
        _less_counts(connection, f"latency_all{size}", ("proxy",), latency_all_rows(totals))
    service_of = dict(connection.execute("SELECT id, service FROM endpoint").fetchall())
    _less_counts(connection, "uptime", ("counts",), uptime_rows(rollups, service_of), key=("step", "service"))
    connection.executemany(_LESS_OF_HOUR, hour_rows(rollups))
    connection.execute(f"DELETE FROM brief WHERE {_THEIRS}")  # noqa: S608
    connection.execute(f"DELETE FROM entry WHERE {_THEIRS}")  # noqa: S608
    connection.execute("DELETE FROM identity WHERE id IN (SELECT id FROM temp.gone)")
    connection.execute("DELETE FROM agent WHERE id NOT IN (SELECT agent_id FROM entry)")
    connection.execute("DELETE FROM request WHERE id NOT IN (SELECT request_id FROM entry)")
    connection.execute(
        "DELETE FROM endpoint WHERE id NOT IN (SELECT endpoint_id FROM usage_endpoint)"
        " AND id NOT IN (SELECT endpoint_id FROM request)"
    )
    connection.executemany("DELETE FROM refusal WHERE file = ? AND position = ?", places)


def _batches(rows: sqlite3.Cursor) -> Iterator[list[Any]]:
    while batch := rows.fetchmany(_ROWS_AT_ONCE):
        yield batch


def _less_counts(
    connection: sqlite3.Connection,
    table: str,
    columns: tuple[str, ...],
    rows: Iterable[tuple[Any, ...]],
    key: tuple[str, ...] = ("key",),
) -> None:
    """Take the counts of rows, keys and cells, out of a table."""
    of_key = " AND ".join(f"{column} = ?" for column in key)
    for row in rows:
        values, theirs = row[: len(key)], row[len(key) :]
        kept = connection.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {of_key}", values).fetchone()  # noqa: S608
        if kept is None:
            continue
        rest = [_without(before, gone) for before, gone in zip(kept, theirs, strict=True)]
        if any(rest):
            cells = ", ".join(f"{column} = ?" for column in columns)
            connection.execute(f"UPDATE {table} SET {cells} WHERE {of_key}", (*rest, *values))  # noqa: S608
        else:
            connection.execute(f"DELETE FROM {table} WHERE {of_key}", values)  # noqa: S608


def _without(before: bytes, gone: bytes) -> bytes:
    counts: dict[int, int] = {}
    less: dict[int, int] = {}
    add_counts(counts, before)
    add_counts(less, gone)
    return pack_counts({n: count - less.get(n, 0) for n, count in counts.items() if count > less.get(n, 0)})

"""The tables of identities and endpoints, as reads see them: numbers in, records with the names of now out."""

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.names import Named, names_of_now

IDENTITY_COLUMNS = "address, kind, user, device, node_id, tags, provider, user_id, via, reason, expired"
"""In the order of `Identity`."""
IDENTITY = ", ".join(f"i.{name}" for name in IDENTITY_COLUMNS.split(", "))
KNOWN = (
    "(user <> '' OR device <> '' OR tags <> '' OR user_id <> '' OR node_id <> '' OR kind = 'tagged' OR kind = 'self')"
)
"""Who is not anonymous, in SQL: word for word the condition of the index."""
KNOWN_ONLY = f"(SELECT * FROM identity INDEXED BY identity_known WHERE {KNOWN})"  # noqa: S608  # our own words
"""In the place of the table `identity`, where nobody else is meant: there may be 300,000 anonymous visitors in it."""
_NAMED = f"{KNOWN_ONLY} AS i WHERE (i.user <> '' OR i.device <> '')"


def identity_of(values: Sequence[Any]) -> Identity:
    """Return the identity that `IDENTITY` selected."""
    return Identity(*[*values[:-1], bool(values[-1])])


def read_identities(connection: sqlite3.Connection, numbers: Collection[int]) -> dict[int, Identity]:
    """Return the identities with these numbers, with the names of now; everybody's name has a say in these."""
    if not numbers:
        return {}
    query = f"""
        SELECT i.id, i.named_us, {IDENTITY} FROM identity i
        WHERE i.id IN (SELECT i.id FROM {_NAMED} UNION SELECT value FROM json_each(?))
    """  # noqa: S608
    rows = connection.execute(query, (json.dumps(list(numbers)),))
    return names_of_now({row[0]: Named(identity_of(row[2:]), row[1]) for row in rows})


def read_endpoints(connection: sqlite3.Connection) -> dict[int, tuple[str, str]]:
    """Return service and route of all endpoints."""
    return {row[0]: row[1:] for row in connection.execute("SELECT id, service, route FROM endpoint")}


def named(connection: sqlite3.Connection) -> list[Named]:
    """Return everybody with a name, oldest first."""
    query = f"SELECT i.named_us, {IDENTITY} FROM {_NAMED} ORDER BY i.id"  # noqa: S608
    return [Named(identity_of(row[1:]), row[0]) for row in connection.execute(query)]

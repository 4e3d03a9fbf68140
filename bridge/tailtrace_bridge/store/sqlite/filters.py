"""What a reader filters by, as SQL over the columns of `access` and of the tables of usage. Values are bound."""

from tailtrace_bridge.store.sqlite.identities import KNOWN_ONLY
from tailtrace_bridge.store.values import Filters, statuses

_BY_NAME = """
    identity_id IN (
        SELECT id FROM {who} WHERE {name} = ?
        OR {id} IN (SELECT {id} FROM {who} WHERE {name} = ? AND {id} <> '')
        OR {id} = '' AND {name} IN (
            SELECT {name} FROM {who} WHERE {name} <> ''
            AND {id} IN (SELECT {id} FROM {who} WHERE {name} = ? AND {id} <> '')
        )
    )
"""
"""Any name that whoever has or had this one has had."""
_USER, _DEVICE = (
    _BY_NAME.format(name=name, id=number, who=KNOWN_ONLY)
    for name, number in (("user", "user_id"), ("device", "node_id"))
)
_OWN = f"""
    identity_id IN (
        WITH known AS (SELECT id, user, user_id, named_us FROM {KNOWN_ONLY} WHERE user <> ''),
        now AS (
            SELECT user_id, user FROM (
                SELECT user_id, user, row_number() OVER (PARTITION BY user_id ORDER BY named_us DESC, id DESC) AS place
                FROM known WHERE user_id <> ''
            ) WHERE place = 1
        ),
        alone AS (
            SELECT user, min(user_id) AS user_id FROM known WHERE user_id <> ''
            GROUP BY user HAVING min(user_id) = max(user_id)
        )
        SELECT known.id FROM known
        LEFT JOIN alone ON known.user_id = '' AND alone.user = known.user
        LEFT JOIN now ON now.user_id = coalesce(nullif(known.user_id, ''), alone.user_id)
        WHERE coalesce(now.user, known.user) = ?
    )
"""  # noqa: S608  # our own words
"""Whoever has a login by the names of now: the table at the head of `store.names`."""
_ADDRESS = "identity_id IN (SELECT id FROM identity WHERE address = ?)"
_CLAUSES = {
    "user": _USER,
    "own": _OWN,
    "device": _DEVICE,
    "address": _ADDRESS,
    "endpoint": "endpoint_id IN (SELECT id FROM endpoint WHERE route = ?)",
    "service": "endpoint_id IN (SELECT id FROM endpoint WHERE service = ?)",
    "method": "method = ?",
    "slower_us": "request_time_us >= ?",
    "path": "instr(lower(path), lower(?))",
}
"""Filters of one value, which each of the question marks stands for."""


def where(filters: Filters) -> tuple[str, list[object]]:
    """Return clauses that each begin with AND, and their values."""
    asked = [(clause, getattr(filters, name)) for name, clause in _CLAUSES.items()]
    asked = [(clause if value else clause.replace(KNOWN_ONLY, "identity"), value) for clause, value in asked]
    clauses = [clause for clause, value in asked if value is not None]
    values = [value for clause, value in asked if value is not None for _ in range(clause.count("?"))]
    if filters.users:
        clauses.append(f"({' OR '.join([f'{_USER} OR {_ADDRESS}'] * len(filters.users))})")
        values.extend(user for user in filters.users for _ in range(_USER.count("?") + 1))
    if filters.trace_id is not None:
        clauses.append("trace_id = ?")
        values.append(bytes.fromhex(filters.trace_id))
    if filters.status is not None:
        clauses.append("status BETWEEN ? AND ?")
        values.extend(statuses(filters.status))
    if filters.without:
        clauses.append(f"traffic NOT IN ({', '.join('?' * len(filters.without))})")
        values.extend(map(int, filters.without))
    return " ".join(f"AND {clause}" for clause in clauses), values

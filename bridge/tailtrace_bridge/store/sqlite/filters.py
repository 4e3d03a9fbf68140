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
_ADDRESS = "identity_id IN (SELECT id FROM identity WHERE address = ?)"
_CLAUSES = {
    "user": _USER,
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

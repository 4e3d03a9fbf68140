"""What a reader filters by, as SQL over the columns of `access` and of the tables of usage. Values are bound."""

from tailtrace_bridge.store.values import Filters, statuses

_BY_NAME = """
    AND identity_id IN (
        SELECT id FROM identity WHERE {name} = ?
        OR {id} IN (SELECT {id} FROM identity WHERE {name} = ? AND {id} <> '')
        OR {id} = '' AND {name} IN (
            SELECT {name} FROM identity WHERE {name} <> ''
            AND {id} IN (SELECT {id} FROM identity WHERE {name} = ? AND {id} <> '')
        )
    )
"""
"""Any name that whoever has or had this one has had."""


def where(filters: Filters) -> tuple[str, list[object]]:
    """Return clauses that each begin with AND, and their values."""
    clauses: list[str] = []
    values: list[object] = []
    if filters.user is not None:
        clauses.append(_BY_NAME.format(name="user", id="user_id"))
        values.extend([filters.user] * 3)
    if filters.device is not None:
        clauses.append(_BY_NAME.format(name="device", id="node_id"))
        values.extend([filters.device] * 3)
    if filters.address is not None:
        clauses.append("AND identity_id IN (SELECT id FROM identity WHERE address = ?)")
        values.append(filters.address)
    if filters.endpoint is not None:
        clauses.append("AND endpoint_id IN (SELECT id FROM endpoint WHERE route = ?)")
        values.append(filters.endpoint)
    if filters.service is not None:
        clauses.append("AND endpoint_id IN (SELECT id FROM endpoint WHERE service = ?)")
        values.append(filters.service)
    if filters.method is not None:
        clauses.append("AND method = ?")
        values.append(filters.method)
    if filters.trace_id is not None:
        clauses.append("AND trace_id = ?")
        values.append(bytes.fromhex(filters.trace_id))
    if filters.status is not None:
        clauses.append("AND status BETWEEN ? AND ?")
        values.extend(statuses(filters.status))
    return " ".join(clauses), values

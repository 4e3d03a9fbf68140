"""What a reader filters by: as InfluxQL over the rows, and as a test over rollups that were read."""

from collections.abc import Callable, Iterable, Sequence

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.rollups.encoding import Sought, Tables
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.query import names
from tailtrace_bridge.store.values import Filters, statuses


def where(reads: Reads, filters: Filters) -> tuple[str, dict[str, object]]:
    """Return clauses that each begin with AND, and their values."""
    clauses: list[str] = []
    values: dict[str, object] = {}
    asked = (("user", "user_id", filters.user), ("device", "node_id", filters.device))
    known = list(reads.known()) if filters.user or filters.device else []
    for name, stable, value in asked:
        if value is None:
            continue
        ids, called = _aliases(known, name, stable, value)
        bound_ids = names(name + "Id", [lines.tag(one) for one in sorted(ids)])
        bound_names = names(name + "Name", [lines.tag(one) for one in sorted(called)])
        same = [f'"{name}" = ${name}']
        same += [f'"{stable}" = ${one}' for one in bound_ids]
        same += [f'("{stable}" = \'\' AND "{name}" = ${one})' for one in bound_names]
        clauses.append(f" AND ({' OR '.join(same)})")
        values |= {name: lines.tag(value), **bound_ids, **bound_names}
    columns = (("endpoint", filters.endpoint), ("service", filters.service), ("method", filters.method))
    for column, value in columns:
        if value is not None:
            clauses.append(f' AND "{column}" = ${column}')
            values[column] = lines.tag(value)
    if filters.address is not None:
        clauses.append(' AND "ip" = $ip')
        values["ip"] = filters.address
    if filters.trace_id is not None:
        clauses.append(' AND "trace_id" = $trace')
        values["trace"] = filters.trace_id
    if filters.status is not None:
        is_class = filters.status.endswith("xx")
        clauses.append(' AND "status_class" = $status' if is_class else ' AND "status_code" = $status')
        clauses.append(' AND "status_code" <= $status_high' if filters.status == "4xx" else "")
        values["status"] = filters.status if is_class else int(filters.status)
        if filters.status == "4xx":  # without 499
            values["status_high"] = statuses(filters.status)[1]
    return "".join(clauses), values


def matches(
    filters: Filters,
    known: Iterable[Identity],
    identities: Sequence[Identity],
    endpoints: Sequence[tuple[str, str]],
) -> Callable[[int, int, str, int], bool]:
    """Return what tells whether rollups of an identity, endpoint, method and status are asked for."""
    who = set(range(-1, len(identities)))  # -1: blank
    for name, stable, value in (("user", "user_id", filters.user), ("device", "node_id", filters.device)):
        if value is not None:
            ids, called = _aliases(known, name, stable, value)
            who &= {
                place
                for place, one in enumerate(identities)
                if getattr(one, name) == value
                or getattr(one, stable) in ids
                or (not getattr(one, stable) and getattr(one, name) in called)
            }
    if filters.address is not None:
        who &= {place for place, one in enumerate(identities) if one.address == filters.address}
    where = {-1} | {
        place
        for place, (service, route) in enumerate(endpoints)
        if filters.endpoint in {None, route} and filters.service in {None, service}
    }
    low, high = _statuses(filters.status)

    def is_asked(identity: int, endpoint: int, method: str, status: int) -> bool:
        return (
            identity in who
            and endpoint in where
            and (filters.method is None or method == filters.method)
            and low <= status <= high
        )

    return is_asked


def sought(filters: Filters) -> Sought | None:
    """Return what can be told of a row by itself: most are left out before they are added up."""
    if (filters.service, filters.endpoint, filters.method, filters.status) == (None, None, None, None):
        return None
    return Sought(filters.service, filters.endpoint, filters.method, *_statuses(filters.status))


def of_service(tables: Tables, service: str | None) -> set[int]:
    """Return the places of a service's endpoints; of all, where none is asked for."""
    return {place for place, (name, _) in enumerate(tables.endpoints) if service in {None, name}}


def _aliases(known: Iterable[Identity], name: str, stable: str, value: str) -> tuple[set[str], set[str]]:
    """Return the ids of whoever has or had a name, and all names that these have had."""
    known = list(known)
    ids = {getattr(one, stable) for one in known if getattr(one, name) == value} - {""}
    return ids, {getattr(one, name) for one in known if getattr(one, stable) in ids} - {""}


def _statuses(status: str | None) -> tuple[int, int]:
    return (0, 1_000_000) if status is None else statuses(status)

"""What a reader filters by: as InfluxQL over the rows, and as a test over rollups that were read."""

from collections.abc import Callable, Collection, Sequence

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.directory import People
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.rollups.encoding import Sought, Tables
from tailtrace_bridge.store.influx.rollups.whose import Called, Whose
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.query import names
from tailtrace_bridge.store.values import Filters, statuses


def where(reads: Reads, filters: Filters) -> tuple[str, dict[str, object]]:
    """Return clauses that each begin with AND, and their values."""
    who, values = _who(reads, filters)
    what, of_what = _what(filters)
    clauses = [*who, *what]
    if filters.status is not None:
        is_class = filters.status.endswith("xx")
        clauses.append('"status_class" = $status' if is_class else '"status_code" = $status')
        values["status"] = filters.status if is_class else int(filters.status)
        if filters.status == "4xx":  # without 499
            clauses.append('"status_code" <= $status_high')
            values["status_high"] = statuses(filters.status)[1]
    return "".join(f" AND {clause}" for clause in clauses), {**values, **of_what}


def _who(reads: Reads, filters: Filters) -> tuple[list[str], dict[str, object]]:
    clauses: list[str] = []
    values: dict[str, object] = {}
    known = reads.people().found if filters.user or filters.device or filters.users else {}
    if filters.own is not None:
        clause, values = _owned(reads.people(), filters.own)
        clauses.append(f"({clause})")
    for name, stable, value in (("user", "user_id", filters.user), ("device", "node_id", filters.device)):
        if value is not None:
            clause, bound = _called(known, name, stable, value, name)
            clauses.append(f"({clause})")
            values |= bound
    any_of: list[str] = []
    for place, value in enumerate(filters.users):
        clause, bound = _called(known, "user", "user_id", value, f"any{place}x")
        any_of += (clause, f'"ip" = $any{place}ip')
        values |= {**bound, f"any{place}ip": value}
    if any_of:
        clauses.append(f"({' OR '.join(any_of)})")
    return clauses, values


def _what(filters: Filters) -> tuple[list[str], dict[str, object]]:
    asked: tuple[tuple[str, str, object], ...] = (
        ("endpoint", "=", None if filters.endpoint is None else lines.tag(filters.endpoint)),
        ("service", "=", None if filters.service is None else lines.tag(filters.service)),
        ("method", "=", None if filters.method is None else lines.tag(filters.method)),
        ("ip", "=", filters.address),
        ("trace_id", "=", filters.trace_id),
        ("response_time_ms", ">=", None if filters.slower_us is None else filters.slower_us / lines.MS_US),
        *(("traffic", "<>", int(one)) for one in filters.without),
    )
    wanted = [(f"what{place}", *one) for place, one in enumerate(asked) if one[2] is not None]
    clauses = [f'"{column}" {sign} ${name}' for name, column, sign, _ in wanted]
    if filters.path is not None:
        clauses.append(f'"path" =~ /(?i){_pattern(filters.path)}/')
    return clauses, {name: value for name, _, _, value in wanted}


def _called(
    known: Collection[Identity], name: str, stable: str, value: str, prefix: str
) -> tuple[str, dict[str, object]]:
    """Return a clause for whoever has or had a name, and its values, whose names begin with `prefix`."""
    ids, called = _aliases(known, name, stable, value)
    bound_ids = names(prefix + "Id", [lines.tag(one) for one in sorted(ids)])
    bound_names = names(prefix + "Name", [lines.tag(one) for one in sorted(called)])
    same = [f'"{name}" = ${prefix}']
    same += [f'"{stable}" = ${one}' for one in bound_ids]
    same += [f'("{stable}" = \'\' AND "{name}" = ${one})' for one in bound_names]
    return " OR ".join(same), {prefix: lines.tag(value), **bound_ids, **bound_names}


def _owned(people: People, login: str) -> tuple[str, dict[str, object]]:
    """Return a clause for whoever has a login by the names of now, and its values."""
    theirs = sorted({(one.user, one.user_id) for one in _holders(people, list(people.found), login)})
    values: dict[str, object] = {}
    for place, (user, user_id) in enumerate(theirs or [(login, "")]):
        values |= {f"own{place}": lines.tag(user), f"own{place}Id": lines.tag(user_id)}
    pairs = (f'("user" = $own{place} AND "user_id" = $own{place}Id)' for place in range(len(values) // 2))
    return " OR ".join(pairs), values


def _holders(people: People, identities: Sequence[Identity], login: str) -> list[Identity]:
    now = people.renamed(identities)
    return [one for one, named in zip(identities, now, strict=True) if named.user == login]


def _pattern(text: str) -> str:
    """Write a text as a pattern that means itself, of characters that end no statement: InfluxQL binds no patterns."""
    return "".join(one if one.isascii() and one.isalnum() else f"\\x{{{ord(one):x}}}" for one in text)


def matches(
    filters: Filters,
    people: People,
    identities: Sequence[Identity],
    endpoints: Sequence[tuple[str, str]],
) -> Callable[[int, int, str, int], bool]:
    """Return what tells whether rollups of an identity, endpoint, method and status are asked for."""
    who = set(range(-1, len(identities)))  # -1: blank
    if (whose := _whose(filters, people)) is not None:
        who = {place for place, one in enumerate(identities) if whose.has(one)}
    if filters.own is not None:
        theirs = set(_holders(people, identities, filters.own))
        who &= {place for place, one in enumerate(identities) if one in theirs}
    where = {-1} | {
        place
        for place, (service, route) in enumerate(endpoints)
        if filters.endpoint in {None, route} and filters.service in {None, service}
    }
    low, high = _statuses(filters.status)

    def is_wanted(identity: int, endpoint: int, method: str, status: int) -> bool:
        return (
            identity in who
            and endpoint in where
            and (filters.method is None or method == filters.method)
            and low <= status <= high
        )

    return is_wanted


def sought(filters: Filters, people: People) -> Sought | None:
    """Return what can be told of a row by itself: most are left out before they are added up."""
    whose = _whose(filters, people)
    if (whose, filters.service, filters.endpoint, filters.method, filters.status) == (None,) * 5:
        return None
    return Sought(whose, filters.service, filters.endpoint, filters.method, *_statuses(filters.status))


def _whose(filters: Filters, people: People) -> Whose | None:
    """Return whose rollups are asked for; None: everybody's. A member's may be among others' who had their login."""
    if not filters.has_identity:
        return None

    def called(name: str, stable: str, value: str | None) -> list[Called]:
        if value is None:
            return []
        ids, aliases = _aliases(people.found, name, stable, value)
        return [Called(name, stable, value, frozenset(ids), frozenset(aliases))]

    def user(value: str | None) -> list[Called]:
        return called("user", "user_id", value)

    all_of = [*user(filters.user), *user(filters.own), *called("device", "node_id", filters.device)]
    return Whose(filters.address, tuple(all_of), tuple(one for value in filters.users for one in user(value)))


def of_service(tables: Tables, service: str | None) -> set[int]:
    """Return the places of a service's endpoints; of all, where none is asked for."""
    return {place for place, (name, _) in enumerate(tables.endpoints) if service in {None, name}}


def _aliases(known: Collection[Identity], name: str, stable: str, value: str) -> tuple[set[str], set[str]]:
    """Return the ids of whoever has or had a name, and all names that these have had."""
    ids = {getattr(one, stable) for one in known if getattr(one, name) == value} - {""}
    return ids, {getattr(one, name) for one in known if getattr(one, stable) in ids} - {""}


def _statuses(status: str | None) -> tuple[int, int]:
    return (0, 1_000_000) if status is None else statuses(status)

"""Failed requests by group, in InfluxDB.

| measurement | bucket | tags | fields |
|---|---|---|---|
| `failure` | of the rows | source, group, endpoint, status, version; who asked, as below | time_us, key, trace_id |
| `error_group` | of the rollups | source, group | data: what its failures have in common; first and last seen, back |
| `error_resolved` | the same | group | resolved_us |

A failure has the time of its request's point, and goes with it. Of a group the newest point of each source counts, one
for each hour with failures; together they are its state, so that several bridges write it without asking each other.
Who asked is user, user_id, device and node_id; where nobody is known, ip, of which `distinct` bounds the number.
`GROUPS_MAX` groups are kept: those not seen for longest go; a server that cannot delete takes no more of them.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from tailtrace_bridge.core.records import Failure, Identity
from tailtrace_bridge.store.error_groups import (
    GROUPS_MAX,
    TRACES_LOOKED_AT,
    GroupState,
    Hits,
    error_group,
    seen,
)
from tailtrace_bridge.store.influx import traces
from tailtrace_bridge.store.influx.beside import Beside, Name, Stored, bounds, near
from tailtrace_bridge.store.influx.filters import where
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import HOUR_US, ErrorGroup, Filters, Window

FAILURE, GROUP, RESOLVED = "failure", "error_group", "error_resolved"
VERSION_LENGTH_MAX = 100
ASKED_MAX = 50
"""Groups that are asked for by name: of more, all are read."""
_WHO = ("ip", "user", "user_id", "device", "node_id")
_TAGS = ("group", "endpoint", "status", "version", *_WHO)
_GROUP_BY = ", ".join(f'"{one}"' for one in _TAGS)


def add(beside: Beside, failures: Sequence[Failure]) -> int:
    """Keep failures of requests that this source has stored; return how many are new. Raises `StoreError`."""
    with beside.lock:
        by_name = {(one.time_us, one.key): one for one in failures}
        text = f'SELECT "time_us", "key" FROM "{FAILURE}" WHERE "source" = $source AND {{span}}'  # noqa: S608
        there = {(time_us, key) for _, time_us, key in near(beside.reads, text, by_name, {"source": beside.source})}
        stored = beside.failed(by_name.keys() - there)
        fresh = sorted(by_name[name] for name in stored)
        if not fresh:
            return 0
        before = states(beside.reads, {one.fingerprint for one in fresh})
        fresh = _allowed(beside, fresh, before)
        after = dict(before)
        for one in fresh:
            after[one.fingerprint] = seen(after.get(one.fingerprint), one)
        beside.write_rollups([_group_point(beside.source, one) for key, one in after.items() if one != before.get(key)])
        beside.write_raw([_point(beside.source, one, stored[one[:2]]) for one in fresh])
        if after.keys() - before.keys() and beside.can_delete:
            _let_oldest_go(beside)
    return len(fresh)


def resolve(beside: Beside, fingerprint: str, now_us: int) -> bool:
    """Note that a group is mended; False: there is none. Raises `StoreError`."""
    if fingerprint not in states(beside.reads, {fingerprint}):
        return False
    with beside.lock:
        point = lines.point(RESOLVED, {"group": fingerprint}, {"resolved_us": now_us}, now_us * 1000)
        beside.write_rollups([point])
    return True


def groups(reads: Reads, scope: Scope, window: Window) -> list[ErrorGroup]:
    """Return the groups with failures in a window, those last seen first. Raises `StoreError`."""
    hits = _hits(reads, window)
    if not hits:
        return []
    newest = _newest(reads, scope, window)
    known = states(reads, hits.keys())
    in_order = sorted(known.values(), key=lambda one: one.last_us, reverse=True)
    return [error_group(scope, one, hits[one.fingerprint], newest[one.fingerprint]) for one in in_order]


def of_requests(reads: Reads, requests: Sequence[Name]) -> list[Failure]:
    """Return the failures of requests, each given by time and key. Raises `StoreError`."""
    text = f'SELECT "time_us", "key", "group", "version" FROM "{FAILURE}" WHERE {{span}}'  # noqa: S608
    found = {(row[1], row[2]): (str(row[3]), lines.untag(row[4])) for row in near(reads, text, requests, {})}
    asked = [name for name in requests if name in found]
    known = states(reads, {found[name][0] for name in asked}) if asked else {}
    return [
        Failure(*name, *known[group][:4], version)
        for name in asked
        for group, version in (found[name],)
        if group in known
    ]


def states(reads: Reads, fingerprints: Collection[str]) -> dict[str, GroupState]:
    """Return the state of groups, of those that there are. Raises `StoreError`."""
    values = {f"g{place}": one for place, one in enumerate(fingerprints)} if len(fingerprints) <= ASKED_MAX else {}
    only = " WHERE " + " OR ".join(f'"group" = ${name}' for name in values) if values else ""
    texts = (
        f'SELECT last("data") FROM "{GROUP}"{only} GROUP BY "group", "source"',  # noqa: S608
        f'SELECT last("resolved_us") FROM "{RESOLVED}"{only} GROUP BY "group"',  # noqa: S608
    )
    of_groups, resolved = reads.influx.query_all(reads.buckets.rollups, texts, values)
    mended = {result.tags["group"]: int(result.rows[0][1]) for result in resolved}
    by_group: defaultdict[str, list[GroupState]] = defaultdict(list)
    for result in of_groups:
        fingerprint = result.tags["group"]
        by_group[fingerprint].append(GroupState._make((fingerprint, *json.loads(result.rows[0][1]))))
    wanted = set(fingerprints)
    return {key: _merged(found, mended.get(key, 0)) for key, found in by_group.items() if key in wanted}


def _merged(found: Sequence[GroupState], resolved_us: int) -> GroupState:
    """Return the state of a group of what several bridges say of it."""
    newest = max(found, key=lambda one: one.last_us)
    return newest._replace(
        first_us=min(one.first_us for one in found), back_us=max(one.back_us for one in found), resolved_us=resolved_us
    )


def _allowed(beside: Beside, fresh: list[Failure], before: dict[str, GroupState]) -> list[Failure]:
    if beside.can_delete:
        return fresh
    room = GROUPS_MAX - len(_names(beside.reads))
    new = list(dict.fromkeys(one.fingerprint for one in fresh if one.fingerprint not in before))
    allowed = before.keys() | set(new[: max(room, 0)])
    return [one for one in fresh if one.fingerprint in allowed]


def _let_oldest_go(beside: Beside) -> None:
    names = _names(beside.reads)
    if len(names) <= GROUPS_MAX:
        return
    known = states(beside.reads, names)
    oldest = sorted(names, key=lambda one: known[one].last_us if one in known else 0)
    buckets = beside.reads.buckets
    for fingerprint in oldest[: len(names) - GROUPS_MAX]:
        for bucket, measurement in ((buckets.raw, FAILURE), (buckets.rollups, GROUP), (buckets.rollups, RESOLVED)):
            beside.delete(bucket, {"_measurement": measurement, "group": fingerprint})


def _names(reads: Reads) -> list[str]:
    rows = reads.influx.rows(reads.buckets.rollups, f'SHOW TAG VALUES FROM "{GROUP}" WITH KEY = "group"')
    return [row[1] for row in rows]


def _group_point(source: str, one: GroupState) -> bytes:
    hour_ns = one.last_us // HOUR_US * HOUR_US * 1000
    data = json.dumps(one._replace(resolved_us=0)[1:], separators=(",", ":"))
    return lines.point(GROUP, {"group": one.fingerprint, "source": source}, {"data": data}, hour_ns)


def _point(source: str, one: Failure, stored: Stored) -> bytes:
    tags = {
        "source": source, "group": one.fingerprint, "endpoint": stored.endpoint, "status": str(stored.status),
        "version": one.version[:VERSION_LENGTH_MAX], **_who(stored),
    }  # fmt: skip
    fields = {"time_us": one.time_us, "key": one.key, "trace_id": stored.trace_id}
    return lines.point(FAILURE, tags, fields, stored.slot_ns)


def _who(who: Stored) -> dict[str, str]:
    if not who.user and not who.device:
        return {"ip": who.address}
    return {"user": who.user, "user_id": who.user_id, "device": who.device, "node_id": who.node_id}


def _hits(reads: Reads, window: Window) -> dict[str, list[Hits]]:
    """Return what hit which group: counted by InfluxDB, so that an outage is as little to read as a single error."""
    text = (
        f'SELECT count("key") FROM "{FAILURE}" WHERE time >= $start AND time < $end'  # noqa: S608
        f" GROUP BY time(1h), {_GROUP_BY} fill(none)"
    )
    results = reads.influx.query(reads.buckets.raw, text, bounds(window))
    found = [({name: lines.untag(value) for name, value in one.tags.items()}, one.rows) for one in results]
    people = list(dict.fromkeys(_identity(tags) for tags, _ in found))
    now = dict(zip(people, reads.people().renamed(people) if people else [], strict=True))
    hits: defaultdict[str, list[Hits]] = defaultdict(list)
    for tags, rows in found:
        like = now[_identity(tags)], tags["endpoint"], int(tags["status"]), tags["version"]
        hits[tags["group"]] += (Hits(time_ns // 1000, *like, count) for time_ns, count in rows)
    return hits


def _identity(tags: Mapping[str, str]) -> Identity:
    return Identity(tags["ip"], "", tags["user"], tags["device"], tags["node_id"], user_id=tags["user_id"])


def _newest(reads: Reads, scope: Scope, window: Window) -> defaultdict[str, list[tuple[int, str, bool]]]:
    """Return the newest requests of each group: time, trace id, whether it is kept."""
    clauses, values = where(reads, scope.narrowed(Filters()))
    text = (
        f'SELECT "time_us", "trace_id", "source" FROM "{FAILURE}" WHERE time >= $start AND time < $end'  # noqa: S608
        f' AND "trace_id" != \'\'{clauses} GROUP BY "group" ORDER BY time DESC LIMIT {TRACES_LOOKED_AT}'
    )
    results = reads.influx.query(reads.buckets.raw, text, {**values, **bounds(window)})
    times_us = [row[1] for result in results for row in result.rows]
    kept = traces.slots(reads, Window(min(times_us), max(times_us) + 1)) if times_us else set()
    newest: defaultdict[str, list[tuple[int, str, bool]]] = defaultdict(list)
    for result in results:
        newest[result.tags["group"]] += (
            (time_us, trace_id, (source, slot_ns) in kept) for slot_ns, time_us, trace_id, source in result.rows
        )
    return newest

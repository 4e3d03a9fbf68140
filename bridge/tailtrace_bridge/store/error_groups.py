"""What the failures of a group have in common, added up for an answer. Pure, for every store.

| a failure comes | its group |
|---|---|
| for the first time | is new |
| `BACK_US` after the last one, or after the group was mended | is back, from that failure on |
| else | goes on |
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tailtrace_bridge.core.records import Failure, Identity
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import BACK_US, ErrorGroup

GROUPS_MAX = 5_000
"""Those not seen for longest go."""
TRACES_SHOWN = 5
TRACES_LOOKED_AT = 50
"""Of a group: of the newest, those that are kept are shown first."""


class GroupState(NamedTuple):
    """A group as it is stored; `ErrorGroup` has the same names."""

    fingerprint: str
    type: str
    title: str
    frames: str
    first_us: int
    last_us: int
    resolved_us: int = 0
    back_us: int = 0


class Hits(NamedTuple):
    """Failures of a group that are alike."""

    hour_us: int
    identity: Identity
    """With the names of now."""
    endpoint: str
    status: int
    version: str
    requests: int


def seen(before: GroupState | None, failure: Failure) -> GroupState:
    """Return a group after one more failure."""
    at_us, texts = failure.time_us, (failure.type, failure.title, failure.frames)
    if before is None:
        return GroupState(failure.fingerprint, *texts, at_us, at_us)
    was_mended = before.resolved_us > before.back_us and at_us > before.resolved_us
    is_back = was_mended or at_us > before.last_us + BACK_US
    return GroupState(
        before.fingerprint, *texts, min(before.first_us, at_us), max(before.last_us, at_us), before.resolved_us,
        at_us if is_back else before.back_us,
    )  # fmt: skip


def error_group(
    scope: Scope, state: GroupState, found: Iterable[Hits], newest: Iterable[tuple[int, str, bool]]
) -> ErrorGroup:
    """Return a group with what of a window hit it. `newest` are requests that the scope may see, as in `ErrorGroup`."""
    hours: Counter[int] = Counter()
    people: Counter[str] = Counter()
    own: Counter[str] = Counter()
    endpoints: Counter[str] = Counter()
    versions: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    devices: set[str] = set()
    for one in found:
        who = one.identity
        name = who.user or who.device or who.address
        hours[one.hour_us] += one.requests
        people[name] += one.requests
        if scope.has(who):
            own[name] += one.requests
            endpoints[one.endpoint] += one.requests
        devices.add(who.node_id or who.device or who.address)
        statuses[one.status] += one.requests
        if one.version:
            versions[one.version] += one.requests
    traces = sorted(newest, key=lambda one: (not one[2], -one[0]))  # those that can be looked at first
    return ErrorGroup(
        *state, hours.total(), dict(hours), dict(own.most_common()), len(people), len(devices),
        dict(endpoints.most_common()), dict(versions.most_common()), dict(statuses.most_common()),
        traces[:TRACES_SHOWN],
    )  # fmt: skip

"""What broke, as an answer: groups of failures with their state, and deployments with before and after. Pure.

| state | is |
|---|---|
| `new` | first seen within the window |
| `back` | came again within the window, after it was mended or silent for a week |
| `resolved` | somebody said that it is mended, and it has not come since |
| `ongoing` | any other |
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

from tailtrace_api.answers.deployments import Deployment
from tailtrace_api.answers.meaning import Window, meaning
from tailtrace_api.answers.record import LISTED_MAX, Record, record
from tailtrace_api.answers.requests import iso
from tailtrace_bridge.core.records import INVALID, Marker
from tailtrace_bridge.store.values import ErrorGroup
from tailtrace_bridge.store.values import Window as Period

NAMES_SHOWN = 10
"""People, endpoints and versions of a group."""


@record
class Share(Record):
    """A name, and how many of the group's requests are its own."""

    name: str
    requests: int


@record
class Hour(Record):
    """An hour, and the group's requests in it."""

    time: str
    requests: int


@record
class ErrorTrace(Record):
    """A request of the group."""

    timestamp: str
    trace_id: str
    kept: Annotated[bool, meaning("Whether `GET /analytics/traces/{trace_id}` has its spans.")]


@record
class BrokenThing(Record):
    """Failures that are the same one."""

    id: str
    type: Annotated[str | None, meaning("The exception's class; null where only status and endpoint are known.")]
    title: Annotated[str, meaning("The app's innermost function, or status and endpoint.")]
    frames: Annotated[tuple[str, ...], meaning("The app's own functions, the innermost last.")]
    state: Annotated[str, meaning("`new`, `back`, `ongoing` or `resolved`.")]
    first_seen: str
    last_seen: str
    resolved: str | None
    requests: int
    people: Annotated[int, meaning("Who was hit: logins, else devices, else addresses.")]
    devices: int
    hit: Annotated[tuple[Share, ...], meaning("Who was hit most; for a member, they alone.")]
    endpoints: tuple[Share, ...]
    statuses: tuple[Share, ...]
    versions: Annotated[tuple[Share, ...], meaning("`service.version` of the app that failed, where it is known.")]
    over_time: tuple[Hour, ...]
    traces: tuple[ErrorTrace, ...]


@record
class Mark(Record):
    """A deployment or a note."""

    time: str
    kind: Annotated[str, meaning("`version`: an app's spans name another one; `note`: `tailtrace mark`.")]
    service: str | None
    text: str


@record
class Markers(Record):
    """The deployments and notes of a window, the oldest first."""

    markers: tuple[Mark, ...]


@record
class WhatBroke(Record):
    """The groups of a window."""

    window: Window
    only: Annotated[
        str | None,
        meaning("Whose the names and requests are alone; groups and counts are of everybody."),
    ]
    failures: int
    errors_5xx: Annotated[
        int,
        meaning(
            "Of these failures, those answered 5xx; the others are 499 that the app failed at, or in a run, and 422."
        ),
    ]
    ungrouped: Annotated[
        int, meaning("5xx that are in no group: stored before there were groups, or seconds ago; for a member 0.")
    ]
    groups: tuple[BrokenThing, ...]
    truncated: bool
    markers: tuple[Mark, ...]
    deployments: Annotated[
        tuple[Deployment, ...], meaning("The newest markers, each with what was before and after; none for a member.")
    ]


def what_broke(
    groups: Sequence[ErrorGroup],
    markers: Iterable[Marker],
    window: Period,
    compared: tuple[Deployment, ...] = (),
    failed: int = 0,
    *,
    only: str | None = None,
) -> WhatBroke:
    """Answer `GET /analytics/errors`: new ones and those that are back first, then by how many they hit.

    `failed`: the 5xx of the window, in groups or not.
    """
    grouped = sum(count for one in groups for status, count in one.statuses.items() if status >= 500)
    things = sorted((_thing(one, window) for one in groups), key=_urgency)
    return WhatBroke(
        window={"from": iso(window.start_us), "to": iso(window.end_us)},
        only=only,
        failures=sum(one.requests for one in groups),
        errors_5xx=grouped,
        ungrouped=max(0, failed - grouped),
        groups=tuple(things[:LISTED_MAX]),
        truncated=len(things) > LISTED_MAX,
        markers=tuple(map(mark, markers)),
        deployments=compared,
    )


def mark(marker: Marker) -> Mark:
    """Return a marker as answers have it."""
    return Mark(time=iso(marker.time_us), kind=marker.kind, service=marker.service or None, text=marker.text)


def state_of(group: ErrorGroup, window: Period) -> str:
    """Return the state of a group, by the table above."""
    if group.resolved_us > group.last_us:
        return "resolved"
    if group.back_us >= window.start_us:
        return "back"
    return "new" if group.first_us >= window.start_us else "ongoing"


def _urgency(one: BrokenThing) -> tuple[bool, int, int, int]:
    """Return what groups are sorted by: what the app refused as invalid comes last."""
    is_refused = (one.type or "").startswith(INVALID)
    return is_refused, ("new", "back", "ongoing", "resolved").index(one.state), -one.people, -one.requests


def _thing(group: ErrorGroup, window: Period) -> BrokenThing:
    return BrokenThing(
        id=group.fingerprint,
        type=group.type or None,
        title=group.title,
        frames=tuple(group.frames.splitlines()),
        state=state_of(group, window),
        first_seen=iso(group.first_us),
        last_seen=iso(group.last_us),
        resolved=iso(group.resolved_us) if group.resolved_us else None,
        requests=group.requests,
        people=group.people_count,
        devices=group.devices_count,
        hit=_shares(group.people),
        endpoints=_shares(group.endpoints),
        statuses=_shares({str(status): count for status, count in group.statuses.items()}),
        versions=_shares(group.versions),
        over_time=tuple(Hour(time=iso(time_us), requests=count) for time_us, count in sorted(group.hours.items())),
        traces=tuple(
            ErrorTrace(timestamp=iso(time_us), trace_id=trace_id, kept=is_kept)
            for time_us, trace_id, is_kept in group.traces
        ),
    )


def _shares(counts: dict[str, int]) -> tuple[Share, ...]:
    return tuple(Share(name=name, requests=count) for name, count in list(counts.items())[:NAMES_SHOWN])

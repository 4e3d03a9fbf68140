"""Rollups of a batch that comes as columns: what `Rollups.add` makes of its rows, for a third of the time. Pure.

Each thing that is counted by several is counted by one number that stands for them all, so that no line of Python runs
for a row. A `Tally` holds these numbers as they are, by the places in the batch's tables: it passes between processes
as plain lists. `rolled_up` says what they stand for in a store.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import compress
from operator import add, le
from typing import NamedTuple

from tailtrace_bridge.core.columns import Columns, InterningTable
from tailtrace_bridge.core.histogram import bucket_of
from tailtrace_bridge.store.rollups import APP, PROXY, USAGE_TRAFFIC, Rollups
from tailtrace_bridge.store.values import MINUTE_US

_USAGE_TRAFFIC = frozenset(map(int, USAGE_TRAFFIC))
Kind = tuple[int, str, int, int]
"""What of a request is counted by: the place of its endpoint, its method, status and traffic."""


class Tally(NamedTuple):
    """What was counted of a batch, in plain lists and tuples."""

    width: int
    """Identities of the batch."""
    kinds: list[Kind]
    usage: list[list[int]]
    """Names (hour, identity, kind), then each sum of `Rollups.usage`, in its order."""
    activity: list[list[int]]
    """Names (minute, identity), first, last and requests."""
    latency: list[tuple[int, int, int, int, int]]
    """Side, hour, endpoint, bucket, requests."""
    answers: list[tuple[int, int, bool, int]]
    """Minute, endpoint, whether they were server errors, answers."""


def tally(columns: Columns) -> Tally:
    """Count the rows of a batch."""
    kinds: InterningTable[Kind] = InterningTable()
    places = [kinds[(one.endpoint, one.method, one.status, one.traffic)] for one in columns.requests]
    kind = list(map(places.__getitem__, columns.request))
    minute = [time_us // MINUTE_US for time_us in columns.time_us]
    return Tally(
        len(columns.identities),
        list(kinds),
        _usage(columns, minute, kind, len(kinds)),
        _activity(columns, minute, kind, [traffic in _USAGE_TRAFFIC for _, _, _, traffic in kinds]),
        _latency(columns, minute, kind, [endpoint for endpoint, _, _, _ in kinds]),
        _answers(minute, kind, kinds),
    )


def rolled_up(counted: Tally, identity_ids: Sequence[int], endpoint_ids: Sequence[int]) -> Rollups:
    """Return the rollups for a store that has these ids for the places; it may have folded several into one."""
    rollups = Rollups()
    width, kinds = len(counted.kinds), [(endpoint_ids[one[0]], *one[1:]) for one in counted.kinds]
    of_hour = counted.width * width
    usage = rollups.usage
    for name, *sums in zip(*counted.usage, strict=True):
        hour, rest = divmod(name, of_hour)
        identity, kind = divmod(rest, width)
        key = (hour, identity_ids[identity], *kinds[kind])
        known = usage.get(key)
        usage[key] = sums if known is None else list(map(add, known, sums))
    activity = rollups.activity
    for name, first_us, last_us, requests in zip(*counted.activity, strict=True):
        minute, identity = divmod(name, counted.width)
        who = (minute, identity_ids[identity])
        run = activity.get(who)
        activity[who] = (
            [first_us, last_us, requests]
            if run is None
            else [min(run[0], first_us), max(run[1], last_us), run[2] + requests]
        )
    for side, hour, endpoint, bucket, requests in counted.latency:
        counts = rollups.latency[(hour, endpoint_ids[endpoint])][side]
        counts[bucket] = counts.get(bucket, 0) + requests
    for minute, endpoint, is_error, answers in counted.answers:
        rollups.minutes.setdefault((minute, endpoint_ids[endpoint]), [0, 0])[is_error] += answers
    return rollups


def _usage(columns: Columns, minute: Sequence[int], kind: Sequence[int], width: int) -> list[list[int]]:
    of_hour = len(columns.identities) * width
    names = [
        at // 60 * of_hour + identity * width + one
        for at, identity, one in zip(minute, columns.identity, kind, strict=True)
    ]
    requests = Counter(names)
    distinct = list(requests)
    took_us, app_us = columns.request_time_us, columns.app_time_us
    outside_us: Sequence[int | None] = app_us
    if app_us.count(None) < len(app_us):
        outside_us = [
            None if whole is None or inside is None else whole - inside
            for whole, inside in zip(took_us, app_us, strict=True)
        ]
    return [
        distinct,
        list(requests.values()),
        *_known(distinct, names, took_us),
        *_known(distinct, names, app_us),
        _sums(distinct, names, columns.bytes_sent),
        *_known(distinct, names, outside_us),
    ]


def _known(distinct: Sequence[int], names: Sequence[int], values: Sequence[int | None]) -> tuple[list[int], list[int]]:
    """Count the values that are there, and sum them."""
    missing = values.count(None)
    if missing == len(values):
        return [0] * len(distinct), [0] * len(distinct)
    if missing:
        has_value = [value is not None for value in values]
        names, values = list(compress(names, has_value)), list(compress(values, has_value))
    counts = Counter(names)
    return [counts[name] for name in distinct], _sums(distinct, names, values)  # type: ignore[arg-type]


def _sums(distinct: Sequence[int], names: Sequence[int], values: Iterable[int]) -> list[int]:
    sums = dict.fromkeys(distinct, 0)
    for name, value in zip(names, values, strict=True):
        sums[name] += value
    return list(sums.values())


def _activity(
    columns: Columns, minute: Sequence[int], kind: Sequence[int], is_usage: Sequence[bool]
) -> list[list[int]]:
    identity, time_us, width = columns.identity, columns.time_us, len(columns.identities)
    if not all(is_usage):
        counts = list(map(is_usage.__getitem__, kind))
        minute, identity, time_us = (list(compress(column, counts)) for column in (minute, identity, time_us))
    if not all(map(le, time_us, time_us[1:])):
        order = sorted(range(len(time_us)), key=time_us.__getitem__)
        minute, identity, time_us = (list(map(column.__getitem__, order)) for column in (minute, identity, time_us))
    names = [at * width + who for at, who in zip(minute, identity, strict=True)]
    requests = Counter(names)
    last = dict(zip(names, time_us, strict=True))
    first = dict(zip(reversed(names), reversed(time_us), strict=True))
    return [list(requests), [first[name] for name in requests], list(last.values()), list(requests.values())]


def _latency(
    columns: Columns, minute: Sequence[int], kind: Sequence[int], endpoints: Sequence[int]
) -> list[tuple[int, int, int, int, int]]:
    found: list[tuple[int, int, int, int, int]] = []
    for side, values in ((PROXY, columns.request_time_us), (APP, columns.app_time_us)):
        if values.count(None) == len(values):
            continue
        buckets: dict[int | None, int | None] = {None: None}
        buckets |= {value: bucket_of(value) for value in set(values) if value is not None}
        hour = [at // 60 for at in minute]
        endpoint = map(endpoints.__getitem__, kind)
        counts = Counter(zip(hour, endpoint, map(buckets.__getitem__, values), strict=True))
        found += [(side, *name, requests) for name, requests in counts.items() if name[2] is not None]  # type: ignore[misc]
    return found


def _answers(minute: Sequence[int], kind: Sequence[int], kinds: Iterable[Kind]) -> list[tuple[int, int, bool, int]]:
    places: InterningTable[tuple[int, bool] | None] = InterningTable()
    place_of_kind = [places[(endpoint, status >= 500) if status else None] for endpoint, _, status, _ in kinds]
    answered = list(places)
    return [
        (at, *answer, answers)
        for (at, place), answers in Counter(zip(minute, map(place_of_kind.__getitem__, kind), strict=True)).items()
        if (answer := answered[place]) is not None
    ]

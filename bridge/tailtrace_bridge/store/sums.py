"""The sums of one batch of rows: what `usage`, `latency`, `activity` and `minutes` grow by. Pure."""

from collections.abc import Iterable

from tailtrace_bridge.histogram import bucket_of
from tailtrace_bridge.records import Traffic
from tailtrace_bridge.store.protocol import HOUR_US, MINUTE_US

PROXY, APP = 0, 1
USAGE_TRAFFIC = frozenset({Traffic.APP, Traffic.CARD})
"""Health checks, bots and static files are kept, and are no usage."""


Usage = dict[tuple[int, int, int, str, int, int], list[int]]
Latency = dict[tuple[int, int, int, int], int]
Stored = tuple[
    int, int, int, int, int, str, str, int, int,
    int | None, int | None, int | None, int, bytes | None, bytes | None, str | None, int,
]  # fmt: skip
"""A row of the table `access`."""
_USAGE_TRAFFIC = frozenset(map(int, USAGE_TRAFFIC))


class Sums:
    """Grows by rows. Keys are those of the tables; values are the columns behind the key."""

    def __init__(self) -> None:
        self.usage: Usage = {}
        self.latency: Latency = {}
        self.activity: dict[tuple[int, int], list[int]] = {}
        self.minutes: dict[int, list[int]] = {}

    def add(self, rows: Iterable[Stored]) -> None:
        """Count rows. The hot loop of a write: one pass, plain dictionaries."""
        usage, latency, activity, minutes = self.usage, self.latency, self.activity, self.minutes
        for (time_us, _, identity_id, endpoint_id, _, method, _, status, traffic, request_time_us, _, app_time_us,
             bytes_sent, _, _, _, _) in rows:  # fmt: skip
            hour, minute = time_us // HOUR_US, time_us // MINUTE_US
            key = (hour, identity_id, endpoint_id, method, status, traffic)
            sums = usage.get(key)
            if sums is None:
                sums = usage[key] = [0, 0, 0, 0, 0, 0]
            sums[0] += 1
            sums[5] += bytes_sent
            if request_time_us is not None:
                sums[1] += 1
                sums[2] += request_time_us
                cell = (PROXY, hour, endpoint_id, bucket_of(request_time_us))
                latency[cell] = latency.get(cell, 0) + 1
            if app_time_us is not None:
                sums[3] += 1
                sums[4] += app_time_us
                cell = (APP, hour, endpoint_id, bucket_of(app_time_us))
                latency[cell] = latency.get(cell, 0) + 1
            tally = minutes.get(minute)
            if tally is None:
                tally = minutes[minute] = [0, 0]
            tally[0] += 1
            tally[1] += 0 < status < 500
            if traffic in _USAGE_TRAFFIC:
                seen = activity.get((minute, identity_id))
                if seen is None:
                    activity[(minute, identity_id)] = [time_us, time_us, 1]
                else:
                    if time_us < seen[0]:
                        seen[0] = time_us
                    elif time_us > seen[1]:
                        seen[1] = time_us
                    seen[2] += 1


def by_day(sums: Sums) -> tuple[Usage, Latency]:
    """Add up the hours of `usage` and `latency` to days."""
    usage: Usage = {}
    for (hour, identity_id, endpoint_id, method, status, traffic), values in sums.usage.items():
        key = (hour // 24, identity_id, endpoint_id, method, status, traffic)
        known = usage.get(key)
        usage[key] = values if known is None else [a + b for a, b in zip(known, values, strict=True)]
    latency: Latency = {}
    for (side, hour, endpoint_id, bucket), requests in sums.latency.items():
        cell = (side, hour // 24, endpoint_id, bucket)
        latency[cell] = latency.get(cell, 0) + requests
    return usage, latency

"""The sums of one batch of rows: what `usage`, `latency`, `activity` and `minutes` grow by. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from tailtrace_bridge.histogram import bucket_of
from tailtrace_bridge.records import Row, Traffic
from tailtrace_bridge.store.protocol import HOUR_US, MINUTE_US

PROXY, APP = 0, 1
USAGE_TRAFFIC = frozenset({Traffic.APP, Traffic.CARD})
"""Health checks, bots and static files are kept, and are no usage."""


class Placed(NamedTuple):
    """A row with the ids that the store gave to its texts."""

    row: Row
    identity_id: int
    endpoint_id: int


class Sums:
    """Grows by rows. Keys are those of the tables; values are the columns behind the key."""

    def __init__(self) -> None:
        self.usage: dict[tuple[int, int, int, str, int, int], list[int]] = {}
        self.latency: dict[tuple[int, int, int, int], int] = {}
        self.activity: dict[tuple[int, int], list[int]] = {}
        self.minutes: dict[int, list[int]] = {}

    def add(self, placed: Iterable[Placed]) -> None:
        """Count rows. The hot loop of a write: one pass, plain dictionaries."""
        usage, latency, activity, minutes = self.usage, self.latency, self.activity, self.minutes
        for row, identity_id, endpoint_id in placed:
            access = row.access
            time_us, status = access.time_us, access.status
            hour, minute = time_us // HOUR_US, time_us // MINUTE_US
            key = (hour, identity_id, endpoint_id, access.method, status, int(row.traffic))
            sums = usage.get(key)
            if sums is None:
                sums = usage[key] = [0, 0, 0, 0, 0, 0]
            sums[0] += 1
            sums[5] += access.bytes_sent
            if access.request_time_us is not None:
                sums[1] += 1
                sums[2] += access.request_time_us
                cell = (hour, endpoint_id, PROXY, bucket_of(access.request_time_us))
                latency[cell] = latency.get(cell, 0) + 1
            if row.app_time_us is not None:
                sums[3] += 1
                sums[4] += row.app_time_us
                cell = (hour, endpoint_id, APP, bucket_of(row.app_time_us))
                latency[cell] = latency.get(cell, 0) + 1
            tally = minutes.get(minute)
            if tally is None:
                tally = minutes[minute] = [0, 0]
            tally[0] += 1
            tally[1] += 0 < status < 500
            if row.traffic in USAGE_TRAFFIC:
                seen = activity.get((minute, identity_id))
                if seen is None:
                    activity[(minute, identity_id)] = [time_us, time_us, 1]
                else:
                    seen[0] = min(seen[0], time_us)
                    seen[1] = max(seen[1], time_us)
                    seen[2] += 1

"""The sums of one batch of rows: by hour, by minute for when somebody was there. Pure, for every store."""

from collections import defaultdict
from collections.abc import Iterable

from tailtrace_bridge.core.histogram import bucket_of
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.values import HOUR_US, MINUTE_US

PROXY, APP = 0, 1
USAGE_TRAFFIC = frozenset({Traffic.APP, Traffic.CARD})
"""Health checks, bots and static files are kept, and are no usage."""


Usage = dict[tuple[int, int, int, str, int, int], list[int]]
Latency = dict[tuple[int, int], tuple[dict[int, int], dict[int, int]]]
Counted = tuple[int, int, int, str, int, int, int | None, int | None, int]
COUNTED = "time_us, identity_id, endpoint_id, method, status, traffic, request_time_us, app_time_us, bytes_sent"
"""What of a row is rolled up; as columns of `access`."""
_USAGE_TRAFFIC = frozenset(map(int, USAGE_TRAFFIC))


class Rollups:
    """Grows by rows.

    | sums | by | are |
    |---|---|---|
    | `usage` | hour, identity, endpoint, method, status, traffic | those of `protocol.Usage` |
    | `latency` | hour, endpoint | requests by bucket, on the side `PROXY` and on the side `APP` |
    | `activity` | minute, identity | first and last request (µs) and requests, of usage |
    | `minutes` | minute | whether a request of it was answered |
    """

    def __init__(self) -> None:
        self.usage: Usage = {}
        self.latency: Latency = defaultdict(lambda: ({}, {}))
        self.activity: dict[tuple[int, int], list[int]] = {}
        self.minutes: dict[int, bool] = {}

    def add(self, rows: Iterable[Counted]) -> None:
        """Count rows. The hot loop of a write: one pass, plain dictionaries."""
        usage, latency, activity, minutes = self.usage, self.latency, self.activity, self.minutes
        for (time_us, identity_id, endpoint_id, method, status, traffic, request_time_us, app_time_us,
             bytes_sent) in rows:  # fmt: skip
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
                bucket, proxy = bucket_of(request_time_us), latency[(hour, endpoint_id)][PROXY]
                proxy[bucket] = proxy.get(bucket, 0) + 1
            if app_time_us is not None:
                sums[3] += 1
                sums[4] += app_time_us
                bucket, app = bucket_of(app_time_us), latency[(hour, endpoint_id)][APP]
                app[bucket] = app.get(bucket, 0) + 1
            if not minutes.get(minute):
                minutes[minute] = 0 < status < 500
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

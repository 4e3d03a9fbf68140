"""The rollups of one batch of rows: by hour, by minute for when somebody was there. Pure, for every store."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from tailtrace_bridge.core.histogram import bucket_of
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.uptime import MINUTES, minute_number
from tailtrace_bridge.store.values import HOUR_US, MINUTE_US

PROXY, APP = 0, 1
USAGE_TRAFFIC = frozenset({Traffic.APP, Traffic.CARD})
"""Health checks, bots and static files are kept, and are no usage."""
SUMS = {
    "requests": "1",
    "timed": "request_time_us IS NOT NULL",
    "request_time_us": "ifnull(request_time_us, 0)",
    "app_timed": "app_time_us IS NOT NULL",
    "app_time_us": "ifnull(app_time_us, 0)",
    "bytes_sent": "bytes_sent",
    "both_timed": "request_time_us + app_time_us IS NOT NULL",
    "outside_us": "ifnull(request_time_us - app_time_us, 0)",
}
"""What is rolled up of requests, in the order of `values.Usage`; and what one row of `access` adds to each, in SQL."""


Usage = dict[tuple[int, int, int, str, int, int], list[int]]
Latency = dict[tuple[int, int], tuple[dict[int, int], dict[int, int]]]
Answers = dict[tuple[int, str], dict[int, int]]
Counted = tuple[int, int, int, str, int, int, int | None, int | None, int]
COUNTED = "time_us, identity_id, endpoint_id, method, status, traffic, request_time_us, app_time_us, bytes_sent"
"""What of a row is rolled up; as columns of `access`."""
_USAGE_TRAFFIC = frozenset(map(int, USAGE_TRAFFIC))


class Rollups:
    """Grows by rows.

    | rollups | by | are |
    |---|---|---|
    | `usage` | hour, identity, endpoint, method, status, traffic | `SUMS` |
    | `latency` | hour, endpoint | requests by bucket, on the side `PROXY` and on the side `APP` |
    | `activity` | minute, identity | first and last request (µs) and requests, of usage |
    | `minutes` | minute, endpoint | answers that are no server errors, answers that are; see `uptime` |
    """

    def __init__(self) -> None:
        self.usage: Usage = {}
        self.latency: Latency = defaultdict(lambda: ({}, {}))
        self.activity: dict[tuple[int, int], list[int]] = {}
        self.minutes: dict[tuple[int, int], list[int]] = {}

    def add(self, rows: Iterable[Counted]) -> None:  # noqa: C901 - one pass
        """Count rows. The hot loop of a write: one pass, plain dictionaries."""
        usage, latency, activity, minutes = self.usage, self.latency, self.activity, self.minutes
        for (time_us, identity_id, endpoint_id, method, status, traffic, request_time_us, app_time_us,
             bytes_sent) in rows:  # fmt: skip
            hour, minute = time_us // HOUR_US, time_us // MINUTE_US
            key = (hour, identity_id, endpoint_id, method, status, traffic)
            sums = usage.get(key)
            if sums is None:
                sums = usage[key] = [0, 0, 0, 0, 0, 0, 0, 0]
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
                if request_time_us is not None:
                    sums[6] += 1
                    sums[7] += request_time_us - app_time_us
            if status:
                counts = minutes.get((minute, endpoint_id))
                if counts is None:
                    counts = minutes[(minute, endpoint_id)] = [0, 0]
                counts[status >= 500] += 1
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

    def answers(self, service_of: Mapping[int, str]) -> Answers:
        """Count answers by hour and service, in each by `uptime.minute_number`; `service_of` knows the endpoints."""
        found: Answers = defaultdict(dict)
        for (minute, endpoint_id), (fine, errors) in self.minutes.items():
            of_hour = found[(minute // MINUTES, service_of[endpoint_id])]
            for is_error, count in ((False, fine), (True, errors)):
                if count:
                    number = minute_number(minute, is_error=is_error)
                    of_hour[number] = of_hour.get(number, 0) + count
        return found

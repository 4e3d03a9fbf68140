"""Which requests are exported: the trace's flag decides, and what went wrong goes always. Pure.

| the request | is exported |
|---|---|
| sampled (the flag of the `traceparent` that nginx sent) | yes |
| 5xx, or an error that the app reported | yes |
| slower than 99 of 100 of its endpoint | yes |
| any other | no, and counted |

Slow is measured against the endpoint itself: `/report` may take seconds, `/items/{id}` may not. Its durations are
counted in a histogram that halves itself from time to time, so that what was slow last month does not count for ever.
"""

from tailtrace_bridge.core.histogram import bucket_of
from tailtrace_bridge.core.records import INVALID, Row

SLOW_RANK = 0.99
KNOWN_MIN = 200
"""Requests of an endpoint before one of them can be slow."""
HALVED_AT = 20_000
ENDPOINTS_MAX = 2_000


def is_failed(row: Row) -> bool:
    """Whether something was wrong with the app: a 5xx, or an error that it told; not a request that it refused."""
    return row.access.status >= 500 or (bool(row.error_type) and not row.error_type.startswith(INVALID))


class Choice:
    """Decides, one row after another."""

    def __init__(self) -> None:
        self._slow = SlowRequests()

    def is_wanted(self, row: Row) -> bool:
        """Count the row, and say whether it is exported."""
        is_slow = self._slow.has(row)
        return row.access.sampled or is_failed(row) or is_slow


class SlowRequests:
    """Knows the durations of each endpoint, and so which requests are slow for theirs."""

    def __init__(self) -> None:
        self._endpoints: dict[tuple[str, str], _Durations] = {}

    def has(self, row: Row) -> bool:
        """Count a row, and say whether it is slower than 99 of 100 of its endpoint."""
        duration_us = row.access.request_time_us
        if duration_us is None or row.access.status in {101, 499}:  # a websocket's life; a client that left
            return False
        key = row.access.service, row.route
        durations = self._endpoints.get(key)
        if durations is None:
            if len(self._endpoints) >= ENDPOINTS_MAX:
                return False
            durations = self._endpoints[key] = _Durations()
        return durations.add(bucket_of(duration_us))


class _Durations:
    __slots__ = ("_above", "_counts", "_limit", "_total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._total = 0
        self._limit = 0
        self._above = 0

    def add(self, bucket: int) -> bool:
        """Count a duration; True: it is above the rank of those before it."""
        is_slow = self._total >= KNOWN_MIN and bucket > self._limit
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._total += 1
        # The limit is looked for anew when a hundredth has come since: a walk over some hundred buckets.
        self._above += 1
        if self._total <= KNOWN_MIN or self._above * 100 >= self._total:
            self._above = 0
            self._limit = self._find()
        if self._total >= HALVED_AT:
            self._counts = {bucket: count // 2 for bucket, count in self._counts.items() if count > 1}
            self._total = sum(self._counts.values())
        return is_slow

    def _find(self) -> int:
        needed, seen = SLOW_RANK * self._total, 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= needed:
                return bucket
        return 0

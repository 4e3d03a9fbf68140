"""Which requests are kept with all their spans. Pure: a row in, the reason or nothing out.

| the request | reason |
|---|---|
| 5xx, or an error that the app told | `error` |
| slower than 99 of 100 of its endpoint | `slow` |
| of a user or an endpoint that the settings name | `asked` |
| of the app, and the first or every `one_in`th of its endpoint | `sample` |
| any of these, beyond `per_minute` of its endpoint in a minute | not kept, counted |
| without a trace id, or any other | not kept |

The minute is that of the request, so that a log that is caught up with is bounded as a live one is.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from tailtrace_bridge.core.records import OTHER, Row, Traffic
from tailtrace_bridge.export.choice import ENDPOINTS_MAX, SlowRequests, is_failed

REASONS = ("error", "slow", "asked", "sample")
_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings say."""

    per_minute: int = 10
    one_in: int = 1000
    """Of each endpoint's requests; 0: none."""
    users: Collection[str] = ()
    """As they are stored: pseudonyms where these are on."""
    endpoints: Collection[str] = ()


@dataclass(slots=True)
class ChoiceCounters:
    """What was decided."""

    wanted: int = 0
    over_limit: int = 0
    """Requests worth keeping, beyond the limit of their endpoint's minute."""


class _Endpoint:
    __slots__ = ("kept", "minute", "seen")

    def __init__(self) -> None:
        self.seen = self.minute = self.kept = 0


class TraceChoice:
    """Decides, one row after another."""

    def __init__(self, wanted: Wanted) -> None:
        self.counters = ChoiceCounters()
        self._wanted = wanted
        self._slow = SlowRequests()
        self._endpoints: OrderedDict[tuple[str, str], _Endpoint] = OrderedDict()

    def reason(self, row: Row) -> str:
        """Return why a request is kept, or nothing."""
        endpoint = self._endpoint(row)
        reason = self._reason(row, endpoint)
        if not reason or not row.access.trace_id:
            return ""
        minute = row.access.time_us // _MINUTE_US
        if minute != endpoint.minute:
            endpoint.minute, endpoint.kept = minute, 0
        if endpoint.kept >= self._wanted.per_minute:
            self.counters.over_limit += 1
            return ""
        endpoint.kept += 1
        self.counters.wanted += 1
        return reason

    def _reason(self, row: Row, endpoint: _Endpoint) -> str:
        is_slow = self._slow.has(row)
        if is_failed(row):
            return "error"
        if is_slow:
            return "slow"
        if row.identity.user in self._wanted.users or row.route in self._wanted.endpoints:
            return "asked"
        if row.traffic is Traffic.APP and self._wanted.one_in:
            endpoint.seen += 1
            if endpoint.seen % self._wanted.one_in == 1 or self._wanted.one_in == 1:
                return "sample"
        return ""

    def _endpoint(self, row: Row) -> _Endpoint:
        key = row.access.service, row.route
        known = self._endpoints.get(key)
        if known is None:
            if len(self._endpoints) >= ENDPOINTS_MAX:
                key = "", OTHER
            known = self._endpoints.setdefault(key, _Endpoint())
        return known

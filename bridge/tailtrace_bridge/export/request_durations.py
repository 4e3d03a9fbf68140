"""How long requests took, as nginx saw it: the histogram `http.server.request.duration`. Pure.

| attribute | is |
|---|---|
| `http.request.method` | the method, or `_OTHER` |
| `http.route` | the app's template; missing where none is known |
| `http.response.status_code` | what the client got: 499 and 101 are series of their own, apart from response times |
| `error.type` | of a 5xx: what the app said, else the status |
| `url.scheme` | missing in lines of other formats than ours |
| `server.address` | nginx's `server_name` |

Never a person. Names, unit and bounds:
https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration . What is over
`SERIES_MAX` is counted in one series with `otel.metric.overflow`, as OpenTelemetry's SDKs do
(https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute).

It counts what was stored since the process began. Card views are no requests of the app's and are left out.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tailtrace_bridge.core.records import OTHER, Row, Traffic
from tailtrace_bridge.logs.exchange import scheme_of

NAME, UNIT, DESCRIPTION = "http.server.request.duration", "s", "Duration of HTTP server requests."
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""A bucket holds what is as long as its bound, and longer than the one before; one more is for what is longer."""
SERIES_MAX = 1000
_BOUNDS_US = tuple(round(bound * 1_000_000) for bound in BOUNDS_S)
_NAMES = (
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "error.type",
    "url.scheme",
    "server.address",
)
ATTRIBUTES = (*_NAMES, "otel.metric.overflow")
_Key = tuple[str, str, int, str, str, str]


class Series(NamedTuple):
    """One combination of attributes, as it is now."""

    attributes: Mapping[str, str | int | bool]
    """Those that have a value."""
    counts: tuple[int, ...]
    """Of each bucket."""
    sum_s: float


class RequestDurations:
    """Counts rows in the bridge's thread; is read in others."""

    def __init__(self) -> None:
        self._series: dict[_Key | None, list[int]] = {}
        """By attributes, None for what is over the limit: the counts, and the sum in microseconds behind them."""

    def offer(self, rows: Iterable[Row]) -> None:
        """Count stored rows."""
        for row in rows:
            access = row.access
            if access.request_time_us is None or row.traffic is Traffic.CARD:
                continue
            key = _key(row)
            found = self._series.get(key)
            if found is None:
                place = key if len(self._series) < SERIES_MAX else None
                found = self._series.setdefault(place, [0] * (len(BOUNDS_S) + 2))
            found[bisect_left(_BOUNDS_US, access.request_time_us)] += 1
            found[-1] += access.request_time_us

    def series(self) -> list[Series]:
        """Return all, as they are now."""
        return [
            Series(_attributes(key), tuple(counts[:-1]), counts[-1] / 1e6) for key, counts in list(self._series.items())
        ]


def _key(row: Row) -> _Key:
    access = row.access
    error = (row.error_type or str(access.status)) if access.status >= 500 else ""
    route = "" if row.route == OTHER else row.route
    return access.method, route, access.status, error, scheme_of(access.exchange), access.service


def _attributes(key: _Key | None) -> dict[str, str | int | bool]:
    if key is None:
        return {"otel.metric.overflow": True}
    values: tuple[str | int, ...] = key
    return {name: value for name, value in zip(_NAMES, values, strict=True) if value}

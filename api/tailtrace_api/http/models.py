"""The shapes of the three answers, for OpenAPI and for whoever reads it. Defined in words in `docs/definitions.md`."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [fields]})


_WINDOW = {"from": "2025-10-08T10:00:00.000Z", "to": "2025-10-09T10:00:00.000Z"}
_SUMMARY = {
    "total_requests": 1204,
    "unique_users": 1,
    "unique_devices": 1,
    "unique_addresses": 1,
    "avg_response_time_ms": 31.25,
    "errors_5xx": 3,
}
_TIMES = {"avg_ms": 31.25, "p50_ms": 24.8, "p95_ms": 81.2, "p99_ms": 240.6}
_APP_TIMES = {"avg_ms": 28.5, "p50_ms": 22.1, "p95_ms": 77.3, "p99_ms": 231.9}
_RATES = {"error_rate": 0.002492, "requests": 1204, "errors_5xx": 3, "errors_4xx": 7, "client_closed_499": 1}
_SPREAD = {"count": 40, "avg_ms": 1.2, "p50_ms": 0.9, "p95_ms": 3.1, "max_ms": 4.4}


def _is(meaning: str) -> Any:
    return Field(description=meaning)


_ALL = "of all traffic"
_USAGE = "of usage: traffic `app` and `card`, no health checks, bots and static files"


class LogLine(_Answer):
    """One request."""

    timestamp: str
    user: str | None
    device: str | None
    ip: str
    endpoint: str
    method: str
    status: int
    response_time_ms: float | None
    app_time_ms: float | None = _is("The duration of the app's span; null without one.")
    outside_ms: float | None = _is(
        "Time outside the app: nginx's less the app's; null without either, for 499, and where it would be below 0."
    )
    trace_id: str | None
    kind: str
    tags: list[str]
    identified_by: str | None
    identified_at: str | None
    via: str | None = None
    key_expired: bool
    reason: str | None = None
    path: str
    service: str | None
    traffic: str = _is("`app`, `card`, `static`, `health` or `bot`; the first two are usage.")
    bytes: int
    error_type: str | None


class _Counts(_Answer):
    total_requests: int
    unique_users: int = _is("People with a login; those without are among `unique_addresses`.")
    unique_devices: int
    unique_addresses: int
    avg_response_time_ms: float | None


class Summary(_Counts):
    """Counts all traffic of the window that the filters let through, not the page."""

    errors_5xx: int = _is(f"Requests with a status of 500 or more, {_ALL} that the filters let through.")


class UsageSummary(_Counts):
    """The same of usage only: health checks, bots and static files do not count here. And its sessions."""

    errors_5xx: int = _is(f"Requests with a status of 500 or more, {_USAGE}; `system-health-history` has all.")
    total_sessions: int


class AccessLogs(_Answer):
    """Who used what, and when."""

    model_config = _example(
        window=_WINDOW,
        summary=_SUMMARY,
        logs=[
            {
                "timestamp": "2025-10-09T09:59:58.250Z",
                "user": "ana@example.com",
                "device": "ana-laptop",
                "ip": "100.64.0.7",
                "endpoint": "/items/{item_id}",
                "method": "GET",
                "status": 500,
                "response_time_ms": 31.0,
                "app_time_ms": 28.4,
                "outside_ms": 2.6,
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                "kind": "user",
                "tags": [],
                "identified_by": "localapi",
                "identified_at": "2025-10-09T09:59:58.310Z",
                "key_expired": False,
                "path": "/items/7",
                "service": "factory.example",
                "traffic": "app",
                "bytes": 5290,
                "error_type": "ValueError",
            }
        ],
        next_cursor="1760003998250000-4611686018427387904",
    )

    window: dict[str, str]
    summary: Summary
    logs: list[LogLine] = _is("All traffic that the filters let through, newest first.")
    next_cursor: str | None = _is("Where the next page begins: pass it as `cursor`; null on the last page.")


class CardViews(_Answer):
    """A card and how often it was seen."""

    card: str
    name: str
    views: int


class PeakHour(_Answer):
    """An hour of the day, 0 to 23."""

    hour: int
    requests: int


class UserSessions(_Answer):
    """What one person did."""

    user: str
    kind: str
    sessions: int
    total_time_hours: float
    favorite_features: list[str]
    requests: int
    devices: list[str]
    last_seen: str


Truncated = Annotated[
    dict[str, int], _is("Lists of this answer that were cut: their name, and how many rows there are. Mostly empty.")
]


class DashboardUsage(_Answer):
    """What is used, by whom, at which hours."""

    model_config = _example(
        window=_WINDOW,
        timezone="Europe/Madrid",
        summary={**_SUMMARY, "total_sessions": 3},
        most_viewed_cards=[{"card": "prices", "name": "Prices of today", "views": 41}],
        peak_hours=[{"hour": 9, "requests": 310}],
        user_sessions=[
            {
                "user": "ana@example.com",
                "kind": "user",
                "sessions": 3,
                "total_time_hours": 1.25,
                "favorite_features": ["Dashboard", "/items/{item_id}"],
                "requests": 1204,
                "devices": ["ana-laptop"],
                "last_seen": "2025-10-09T09:59:58.250Z",
            }
        ],
        api_calls_by_endpoint=[{"/items/{item_id}": 1204}],
        truncated={},
    )

    window: dict[str, str]
    timezone: str
    summary: UsageSummary
    most_viewed_cards: list[CardViews]
    peak_hours: list[PeakHour] = _is(f"Requests {_USAGE}.")
    user_sessions: list[UserSessions]
    api_calls_by_endpoint: list[dict[str, int]] = _is("Requests to the app (`app`) by endpoint.")
    truncated: Truncated


class Times(_Answer):
    """Milliseconds; percentiles are at most 2% off. None where nothing was timed."""

    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class EndpointTimes(Times):
    """An endpoint's response times as nginx measured them, the app's part, and what is between them."""

    endpoint: str
    count: int
    app: Times
    proxy_avg_ms: float | None = _is(
        "Mean time outside the app, of requests that both nginx and the app timed, without 499; null where not known."
    )


class Rates(_Answer):
    """5xx over all requests, as a fraction; 4xx and 499 are counted apart. Of all traffic."""

    error_rate: float = _is(f"`errors_5xx` over `requests`, 0 to 1, {_ALL}; 0 without requests.")
    requests: int = _is(f"Requests {_ALL}.")
    errors_5xx: int = _is(f"Requests with a status of 500 or more, {_ALL}; `dashboard-usage` has those of usage.")
    errors_4xx: int
    client_closed_499: int


class EndpointRates(Rates):
    """The rates of one endpoint."""

    endpoint: str


class ErrorRate(_Answer):
    """Overall, and by endpoint with the worst first."""

    overall: Rates
    by_endpoint: list[EndpointRates]


class UptimeDay(_Answer):
    """One UTC day."""

    time: str
    uptime_percentage: float | None
    minutes_with_traffic: int


class Step(Times):
    """One hour or one day, of all traffic."""

    time: str
    requests: int = _is(f"Requests {_ALL}.")
    errors_5xx: int = _is(f"5xx {_ALL}.")
    error_rate: float


class QuerySpread(_Answer):
    """How long queries took."""

    count: int
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    max_ms: float | None


class QueryHour(QuerySpread):
    """One hour of them."""

    time: str


class QueryTimes(QuerySpread):
    """The store's own query times, measured by this process since it started."""

    store: str
    over_time: list[QueryHour]


class SystemHealth(_Answer):
    """How fast, and what broke."""

    model_config = _example(
        window=_WINDOW,
        uptime_percentage=99.5,
        uptime_method="traffic: minutes with an answer other than 5xx over minutes with traffic",
        minutes_with_traffic=200,
        uptime_over_time=[{"time": "2025-10-09T00:00:00.000Z", "uptime_percentage": 99.5, "minutes_with_traffic": 200}],
        api_response_times=[
            {**_TIMES, "endpoint": "/items/{item_id}", "count": 1204, "app": _APP_TIMES, "proxy_avg_ms": 2.75}
        ],
        truncated={},
        error_rate={"overall": _RATES, "by_endpoint": [{**_RATES, "endpoint": "/items/{item_id}"}]},
        over_time=[
            {
                **_TIMES,
                "time": "2025-10-09T09:00:00.000Z",
                "requests": 1204,
                "errors_5xx": 3,
                "error_rate": 0.002492,
            }
        ],
        influxdb_query_times={
            **_SPREAD,
            "store": "sqlite",
            "over_time": [{**_SPREAD, "time": "2025-10-09T09:00:00.000Z"}],
        },
        data_freshness_seconds=0.4,
    )

    window: dict[str, str]
    uptime_percentage: float | None = _is(f"By the minute, {_ALL}; null without traffic.")
    uptime_method: str
    minutes_with_traffic: int
    uptime_over_time: list[UptimeDay]
    api_response_times: list[EndpointTimes]
    truncated: Truncated
    error_rate: ErrorRate
    over_time: list[Step]
    influxdb_query_times: QueryTimes
    data_freshness_seconds: float | None

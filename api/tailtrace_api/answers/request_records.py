"""What access logs, dashboard usage and system health are made of. `docs/definitions.md` defines each in words."""

from typing import Annotated

from tailtrace_api.answers.meaning import InPart, Truncated, Window, meaning
from tailtrace_api.answers.record import Record, record

_ALL = "of all traffic"
_USAGE = "of usage: traffic `app` and `card`, no health checks, bots and static files"


@record
class LogLine(Record):
    """One request."""

    timestamp: str
    user: str | None
    device: str | None
    ip: str
    endpoint: str
    method: str
    status: int
    response_time_ms: float | None
    app_time_ms: Annotated[float | None, meaning("The duration of the app's span; null without one.")]
    outside_ms: Annotated[
        float | None,
        meaning(
            "Time outside the app: nginx's less the app's; null without either, for 499, and where it would be below 0."
        ),
    ]
    trace_id: str | None
    kind: str
    tags: tuple[str, ...]
    identified_by: str | None
    identified_at: str | None
    via: str | None = None
    key_expired: bool
    reason: str | None = None
    path: str
    service: str | None
    traffic: Annotated[str, meaning("`app`, `card`, `static`, `health` or `bot`; the first two are usage.")]
    bytes: int
    error_type: str | None


@record
class _Counts(Record):
    total_requests: int
    unique_users: Annotated[int, meaning("People with a login; those without are among `unique_addresses`.")]
    unique_devices: int
    unique_addresses: int
    avg_response_time_ms: float | None


@record
class Summary(_Counts):
    """Counts all traffic of the window that the filters let through, not the page."""

    errors_5xx: Annotated[int, meaning(f"Requests with a status of 500 or more, {_ALL} that the filters let through.")]


@record
class UsageSummary(_Counts):
    """The same of usage only: health checks, bots and static files do not count here. And its sessions."""

    errors_5xx: Annotated[
        int, meaning(f"Requests with a status of 500 or more, {_USAGE}; `system-health-history` has all.")
    ]
    total_sessions: int


@record
class AccessLogs(Record):
    """Who used what, and when."""

    window: Window
    summary: Summary
    logs: Annotated[tuple[LogLine, ...], meaning("All traffic that the filters let through, newest first.")]
    next_cursor: Annotated[
        str | None, meaning("Where the next page begins: pass it as `cursor`; null on the last page.")
    ]


@record
class CardViews(Record):
    """A card and how often it was seen."""

    card: str
    name: str
    views: int


@record
class PeakHour(Record):
    """An hour of the day, 0 to 23."""

    hour: int
    requests: int


@record
class UserSessions(Record):
    """What one person did."""

    user: str
    kind: str
    sessions: int
    total_time_hours: float
    favorite_features: tuple[str, ...]
    requests: int
    devices: tuple[str, ...]
    last_seen: str


@record
class ServiceCalls(Record):
    """Requests to the app (`app`) for one endpoint of one service."""

    service: Annotated[str | None, meaning("Null where the log names none.")]
    endpoint: str
    requests: int


@record
class DashboardUsage(Record):
    """What is used, by whom, at which hours."""

    window: Window
    timezone: str
    summary: UsageSummary
    most_viewed_cards: tuple[CardViews, ...]
    peak_hours: Annotated[tuple[PeakHour, ...], meaning(f"Requests {_USAGE}.")]
    user_sessions: tuple[UserSessions, ...]
    api_calls_by_endpoint: Annotated[tuple[dict[str, int], ...], meaning("Requests to the app (`app`) by endpoint.")]
    api_calls_by_service: Annotated[
        tuple[ServiceCalls, ...], meaning("The same by service and endpoint: equal names in two services are two.")
    ]
    truncated: Truncated


@record
class Times(Record):
    """Milliseconds; percentiles are at most 2% off. None where nothing was timed."""

    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@record
class EndpointTimes(Times):
    """An endpoint's response times as nginx measured them, the app's part, and what is between them."""

    endpoint: str
    service: Annotated[str | None, meaning("Which service it is an endpoint of; null where that is not known.")]
    count: int
    app: Times
    app_count: Annotated[int, meaning("How many of `count` have an app time: `app` is of these.")]
    proxy_avg_ms: Annotated[
        float | None,
        meaning(
            "Mean time outside the app, of requests that both nginx and the app timed, without 499; "
            "null where not known."
        ),
    ]
    proxy_count: Annotated[int, meaning("How many of `count` have both times: `proxy_avg_ms` is of these.")]


@record
class Rates(Record):
    """5xx over all requests, as a fraction; 4xx and 499 are counted apart. Of all traffic."""

    error_rate: Annotated[float, meaning(f"`errors_5xx` over `requests`, 0 to 1, {_ALL}; 0 without requests.")]
    requests: Annotated[int, meaning(f"Requests {_ALL}.")]
    errors_5xx: Annotated[
        int, meaning(f"Requests with a status of 500 or more, {_ALL}; `dashboard-usage` has those of usage.")
    ]
    errors_4xx: int
    client_closed_499: int


@record
class EndpointRates(Rates):
    """The rates of one endpoint."""

    endpoint: str
    service: str | None


@record
class ErrorRate(Record):
    """Overall, and by endpoint with the worst first."""

    overall: Rates
    by_endpoint: tuple[EndpointRates, ...]


@record
class Uptime(Record):
    """Minutes with answers, of each service by itself, and in how many of them it was down."""

    uptime_percentage: Annotated[float | None, meaning("Minutes that were not down, over all; null without any.")]
    minutes_with_traffic: Annotated[int, meaning("Minutes with an answer; of two services, a minute is two.")]
    minutes_partial: Annotated[int, meaning("Those with 5xx that were not down.")]
    minutes_down: Annotated[
        int, meaning("Those in which more than half of five answers or more, or all of fewer, were 5xx.")
    ]


@record
class UptimeDay(Uptime):
    """One UTC day."""

    time: str


@record
class UptimeService(Uptime):
    """One service."""

    service: Annotated[str | None, meaning("Null where the log names none.")]


@record
class Outage(Record):
    """Minutes in which a service was down, one after another; minutes without an answer between them do not end it."""

    service: str | None
    start: Annotated[str, meaning("When its first minute began.")]
    end: Annotated[str, meaning("When its last minute ended.")]
    minutes: Annotated[int, meaning("Those of them with answers.")]


@record
class Step(Times):
    """One hour or one day, of all traffic."""

    time: str
    requests: Annotated[int, meaning(f"Requests {_ALL}.")]
    errors_5xx: Annotated[int, meaning(f"5xx {_ALL}.")]
    error_rate: float


@record
class QuerySpread(Record):
    """How long queries took."""

    count: int
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    max_ms: float | None


@record
class QueryHour(QuerySpread):
    """One hour of them."""

    time: str


@record
class QueryTimes(QuerySpread):
    """The store's own query times, measured by this process since it started."""

    store: str
    over_time: tuple[QueryHour, ...]


@record
class SystemHealth(Uptime):
    """How fast, and what broke. Of all traffic, of all services or of the one that was asked for."""

    window: Window
    service: Annotated[str | None, meaning("Which one was asked for; null: all.")]
    uptime_method: str
    uptime_over_time: tuple[UptimeDay, ...]
    uptime_over_time_in_part: InPart
    uptime_by_service: tuple[UptimeService, ...]
    outages: Annotated[tuple[Outage, ...], meaning("The newest first.")]
    api_response_times: tuple[EndpointTimes, ...]
    truncated: Truncated
    error_rate: ErrorRate
    over_time: tuple[Step, ...]
    over_time_in_part: InPart
    influxdb_query_times: QueryTimes
    data_freshness_seconds: float | None


@record
class Report(Record):
    """The three answers over one window."""

    access_logs: AccessLogs
    dashboard_usage: DashboardUsage
    system_health_history: SystemHealth

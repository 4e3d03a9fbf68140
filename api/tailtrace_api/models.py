"""The shapes of the three answers, for OpenAPI and for whoever reads it. Defined in words in `docs/definitions.md`."""

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


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
    app_time_ms: float | None
    trace_id: str | None
    kind: str
    tags: list[str]
    identified_by: str | None
    path: str
    service: str | None
    traffic: str
    bytes: int
    error_type: str | None


class Summary(_Answer):
    """Counts the whole window, not the page."""

    total_requests: int
    unique_users: int
    unique_devices: int
    unique_addresses: int
    avg_response_time_ms: float | None
    errors_5xx: int


class UsageSummary(Summary):
    """The same, of usage only, and its sessions."""

    total_sessions: int


class AccessLogs(_Answer):
    """Who used what, and when."""

    window: dict[str, str]
    summary: Summary
    logs: list[LogLine]
    next_cursor: str | None


class CardViews(_Answer):
    """A card and how often it was seen."""

    card: str
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


class DashboardUsage(_Answer):
    """What is used, by whom, at which hours."""

    window: dict[str, str]
    timezone: str
    summary: UsageSummary
    most_viewed_cards: list[CardViews]
    peak_hours: list[PeakHour]
    user_sessions: list[UserSessions]
    api_calls_by_endpoint: list[dict[str, int]]


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
    proxy_avg_ms: float | None


class Rates(_Answer):
    """5xx over all requests, as a fraction; 4xx and 499 are counted apart."""

    error_rate: float
    requests: int
    errors_5xx: int
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
    """One hour or one day."""

    time: str
    requests: int
    errors_5xx: int
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

    window: dict[str, str]
    uptime_percentage: float | None
    uptime_method: str
    minutes_with_traffic: int
    uptime_over_time: list[UptimeDay]
    api_response_times: list[EndpointTimes]
    error_rate: ErrorRate
    over_time: list[Step]
    influxdb_query_times: QueryTimes
    data_freshness_seconds: float | None

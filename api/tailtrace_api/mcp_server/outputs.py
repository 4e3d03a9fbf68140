"""What the tools answer, where it is not what HTTP answers. A field with a default is left out while it has that."""

from tailtrace_api.answers.insight_records import EndpointRequests, Feature, MetricChange, TracedRequest, Verdict
from tailtrace_api.answers.meaning import Window
from tailtrace_api.answers.record import Record, record
from tailtrace_api.mcp_server.explained import Digest


@record
class ActiveUserOutput(Record):
    """Somebody who is here; by the address who has no login."""

    email: str | None
    device: str | None
    last_seen: str
    last_seen_at: str
    current_page: str | None
    online: bool | None
    address: str | None = None


@record
class ActiveUsersOutput(Record):
    """Of `get_active_users`."""

    active_users: tuple[ActiveUserOutput, ...]
    total_active: int


@record
class UsageStatsOutput(Record):
    """Of `get_usage_stats`. `top_features` is for people, `top_features_counts` the same for programs."""

    period_days: int
    total_sessions: int
    unique_users: int
    most_active_user: str | None
    top_features: tuple[str, ...]
    avg_session_duration_min: float
    total_requests: int
    top_features_counts: tuple[Feature, ...]


@record
class BlameOutput(Record):
    """Who is to blame, and why."""

    verdict: Verdict
    because: str
    app_share: float | None


@record
class AlertsOutput(Record):
    """What fires and what was told last, each in a line."""

    active: tuple[str, ...]
    recent: tuple[str, ...]


@record
class PerformanceOutput(Record):
    """Of `get_system_performance`. What has a unit in it is for people, its number follows for programs."""

    uptime_last_7d: str
    avg_api_response_ms: float | None
    slowest_endpoints: tuple[dict[str, str], ...]
    error_rate: str
    influxdb_status: str
    data_freshness: str
    store_ok: bool
    blame: BlameOutput
    advice: tuple[str, ...]
    uptime_percentage: float | None
    error_ratio: float | None
    data_freshness_seconds: float | None
    requests: int
    store: str
    slowest_p95_ms: tuple[float | None, ...]
    alerts: AlertsOutput | None


@record
class RequestOutput(Record):
    """One request."""

    timestamp: str
    user: str | None
    device: str | None
    method: str
    endpoint: str
    status: int
    response_time_ms: float | None
    trace_id: str | None


@record
class RequestsOutput(Record):
    """Of `list_requests`."""

    requests: tuple[RequestOutput, ...]
    total: int
    errors_5xx: int


@record
class TraceOutput(Record):
    """Of `explain_request`."""

    trace_id: str
    found: bool
    requests: tuple[TracedRequest, ...]
    trace: Digest | None = None


@record
class EndpointOutput(Record):
    """An endpoint of both periods."""

    endpoint: str
    p95_ms_now: float | None
    p95_ms_before: float | None
    requests_now: int
    requests_before: int


@record
class PeriodsOutput(Record):
    """Of `compare_periods`."""

    period_days: int
    now: Window
    before: Window
    metrics: tuple[MetricChange, ...]
    endpoints: tuple[EndpointOutput, ...]
    endpoints_new: tuple[EndpointRequests, ...]
    endpoints_gone: tuple[EndpointRequests, ...]
    endpoints_total: int
    endpoints_new_total: int
    endpoints_gone_total: int


@record
class DeviceOutput(Record):
    """A device in a list."""

    name: str
    user: str | None
    online: bool | None
    last_seen: str
    addresses: tuple[str, ...]
    tags: tuple[str, ...] = ()


@record
class DevicesOutput(Record):
    """Of `tailscale_list_devices`."""

    devices: tuple[DeviceOutput, ...]
    total: int
    online: int
    source: str


@record
class FullDevice(Record):
    """All of a device."""

    id: str
    name: str
    hostname: str
    user: str | None
    kind: str
    tags: tuple[str, ...]
    addresses: tuple[str, ...]
    online: bool | None
    last_seen: str
    key_expires: str | None
    last_seen_at: str | None


@record
class FoundDeviceOutput(Record):
    """Of `tailscale_get_device`."""

    found: bool
    device: FullDevice | None

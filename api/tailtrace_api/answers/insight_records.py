"""What the insights are made of. Defined in words in `docs/definitions.md`."""

from typing import Annotated, Literal

from tailtrace_api.answers.alerts import AlertsNow
from tailtrace_api.answers.meaning import Window, meaning
from tailtrace_api.answers.record import Record, record
from tailtrace_api.answers.request_records import Uptime

# --- who is here ---------------------------------------------------------------------------------------------------


@record
class ActiveUser(Record):
    """Somebody who made a request in the last five minutes. Who has no login goes by the address."""

    email: str | None
    device: str | None
    last_seen: str
    last_seen_seconds: int
    current_page: Annotated[str | None, meaning("The feature that they looked at last, by its human name.")]
    current_endpoint: str | None
    online: Annotated[bool | None, meaning("Whether the tailnet sees one of their devices; null where not known.")]
    kind: str
    address: str
    requests: int


@record
class ActiveUsers(Record):
    """Who is here, the latest first."""

    active_users: tuple[ActiveUser, ...]
    total_active: int
    services_active: Annotated[int, meaning("Tagged devices, which are nobody.")]
    offline_now: Annotated[int, meaning("People with a request whom the tailnet calls offline by now.")]


@record
class StreamEvent(Record):
    """What an open page is told: when the newest request began, and how many people are active."""

    newest: str | None
    active: int


# --- what is used --------------------------------------------------------------------------------------------------


@record
class Feature(Record):
    """Requests to one feature of the app."""

    feature: str
    requests: int


@record
class UsageStats(Record):
    """Usage of some days. `most_active_user` is None where nobody has a name; `features_total` counts all features."""

    period_days: int
    total_sessions: int
    unique_users: int
    most_active_user: str | None
    most_active_user_requests: int
    top_features: tuple[Feature, ...]
    features_total: int
    avg_session_duration_min: float
    total_requests: int


# --- how fast, and who is to blame ---------------------------------------------------------------------------------


@record
class SlowEndpoint(Record):
    """An endpoint of the app, in milliseconds."""

    endpoint: str
    service: str | None
    p95_ms: float | None
    avg_ms: float | None
    count: int


@record
class StoreState(Record):
    """How the store does: its queries as this process timed them, and what it said where it failed."""

    name: str
    ok: bool
    p95_ms: float | None
    queries: int
    problem: str | None


Verdict = Literal["store", "app", "proxy", "nobody", "unknown"]


@record
class Blame(Record):
    """Who is to blame, by the table at the head of `insights`, and the numbers that say so."""

    verdict: Verdict
    because: str
    error_rate: float
    p95_ms: float | None
    app_share: Annotated[float | None, meaning("The app's part of the time, 0 to 1; null without spans.")]
    store_p95_ms: float | None


@record
class FailingAdvice(Record):
    """Look at an endpoint that fails often."""

    code: Literal["failing-endpoint"] = "failing-endpoint"
    endpoint: str
    service: str | None
    error_rate: float


@record
class SlowAdvice(Record):
    """Look at an endpoint that is slow."""

    code: Literal["slow-endpoint"] = "slow-endpoint"
    endpoint: str
    service: str | None
    p95_ms: float | None


@record
class StaleAdvice(Record):
    """Look why nothing comes."""

    code: Literal["stale-data"] = "stale-data"
    data_freshness_seconds: float


Advice = FailingAdvice | SlowAdvice | StaleAdvice


@record
class Performance(Uptime):
    """How fast and how healthy some days were. Times are of requests to the app, uptime and errors of all traffic."""

    period_days: int
    avg_api_response_ms: float | None
    slowest_endpoints: tuple[SlowEndpoint, ...]
    endpoints_total: int
    error_rate: Annotated[float, meaning("5xx over all requests, 0 to 1, of all traffic.")]
    requests: int
    store: StoreState
    data_freshness_seconds: float | None
    blame: Blame
    advice: Annotated[tuple[Advice, ...], meaning("What to look at first; mostly empty.")]
    alerts: Annotated[AlertsNow | None, meaning("Null where the store does not answer.")]


# --- then and now --------------------------------------------------------------------------------------------------


@record
class MetricChange(Record):
    """A number of both periods; `change_percent` is null where there was nothing before."""

    metric: str
    now: int | float | None
    before: int | float | None
    change_percent: float | None


@record
class EndpointChange(Record):
    """An endpoint of both periods."""

    endpoint: str
    service: str | None
    requests_now: int
    requests_before: int
    p95_ms_now: float | None
    p95_ms_before: float | None
    p95_change_ms: float | None


@record
class EndpointRequests(Record):
    """An endpoint of one period only."""

    endpoint: str
    service: str | None
    requests: int


@record
class Periods(Record):
    """A period beside the one before it: numbers of all, the endpoints of both, and those of one of them only."""

    period_days: int
    now: Window
    before: Window
    before_covered: Annotated[bool, meaning("False: what is stored begins in the days before; nothing is compared.")]
    metrics: tuple[MetricChange, ...]
    endpoints: Annotated[tuple[EndpointChange, ...], meaning("The greatest changes of p95 first.")]
    endpoints_total: int
    endpoints_new: tuple[EndpointRequests, ...]
    endpoints_new_total: int
    endpoints_gone: tuple[EndpointRequests, ...]
    endpoints_gone_total: int


@record
class UnusedEndpoint(Record):
    """A route that nobody asked for in the window. `methods` is empty where the app does not declare it."""

    endpoint: str
    service: Annotated[str | None, meaning("Null where the log names none, or none was ever asked for it.")]
    feature: str
    methods: tuple[str, ...]
    requests_earlier: int


@record
class UnusedEndpoints(Record):
    """The routes that nobody asked for, those used most earlier first."""

    period_days: int
    unused_endpoints: tuple[UnusedEndpoint, ...]
    total_unused: int
    known_endpoints: int


@record
class Stored(Record):
    """From when until when there are requests, days of UTC; null where there are none. A member's are their own."""

    first_day: str | None
    last_day: str | None


# --- one request ---------------------------------------------------------------------------------------------------


@record
class NginxLine(Record):
    """What nginx logged."""

    method: str
    path: str
    status: int
    service: str | None
    bytes: int


@record
class SpanSummary(Record):
    """What the app said of it."""

    route: str
    error_type: str | None


@record
class Who(Record):
    """Who it was, and how that is known."""

    user: str | None
    device: str | None
    ip: str
    kind: str
    tags: tuple[str, ...]
    identified_by: str | None
    via: str | None
    reason: str | None


@record
class Timing(Record):
    """Where the time went, in milliseconds."""

    total_ms: float | None
    app_ms: float | None
    outside_ms: float | None


@record
class TracedRequest(Record):
    """One request of a trace."""

    timestamp: str
    nginx: NginxLine
    span: Annotated[SpanSummary | None, meaning("Null where the app said nothing.")]
    feature: str
    identity: Who
    timing: Timing
    traffic: str


@record
class TraceRequests(Record):
    """The requests of a trace: several where an app behind nginx calls another behind nginx."""

    trace_id: str
    searched_hours: int
    found: bool
    requests: tuple[TracedRequest, ...]

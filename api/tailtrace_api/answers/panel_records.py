"""What the panels of the dashboard are made of."""

from typing import Annotated, Literal

from tailtrace_api.answers.meaning import InPart, Truncated, Window, meaning
from tailtrace_api.answers.record import Record, record
from tailtrace_api.answers.request_records import (
    CardViews,
    LogLine,
    Outage,
    Rates,
    Uptime,
    UptimeDay,
    UptimeService,
    UserSessions,
)
from tailtrace_api.answers.steps import StepName

Metric = Literal["sessions", "users", "requests", "errors"]


@record
class Total(Record):
    """A number beside that of the period before, of usage."""

    metric: Metric
    now: Annotated[int | None, meaning("Null for sessions where the filters leave none that could be told.")]
    before: int | None
    change_percent: Annotated[float | None, meaning("Null where there was nothing before.")]


@record
class Named(Record):
    """How many requests of usage, without those of this machine itself, came from somebody with a name."""

    requests: int
    named: int
    share: Annotated[float | None, meaning("`named` over `requests`, 0 to 1; null without requests.")]


@record
class Bar(Record):
    """A step of the series: requests of usage, and those with a status of 500 or more."""

    time: str
    requests: int
    errors: int


@record
class Choices(Record):
    """What the filters offer, most used first. Who has no name goes by the address."""

    users: tuple[str, ...]
    devices: tuple[str, ...]
    endpoints: tuple[str, ...]
    services: Annotated[tuple[str, ...], meaning("Those with a name, of all traffic.")]


@record
class Overview(Record):
    """The first panel: totals, series and heat map."""

    window: Window
    timezone: str
    totals: tuple[Total, ...]
    before_covered: Annotated[bool, meaning("False: what is stored begins in the period before; nothing is compared.")]
    named: Named
    step: Annotated[
        StepName,
        meaning("How long a step of `series` is. An hour, where rows are gone that shorter steps would be made of."),
    ]
    series: tuple[Bar, ...]
    series_in_part: InPart
    series_before: Annotated[
        tuple[int, ...],
        meaning("Requests of as long a time before, by the steps of `series`; empty where not all of it is stored."),
    ]
    heat_days: Annotated[int, meaning("How many days `heat` is of.")]
    heat: Annotated[
        tuple[tuple[int, ...], ...],
        meaning("Requests of usage by day of the week, Monday first, and hour of the day, in `timezone`."),
    ]
    only: Annotated[str | None, meaning("Whom the answer is restricted to.")]
    newest: Annotated[
        str | None, meaning("When the newest request began; a member's: of theirs, since the window before.")
    ]


@record
class Person(UserSessions):
    """What one person did, and how many of their requests had a status of 500 or more."""

    errors: int
    favorite_endpoints: Annotated[
        tuple[str, ...], meaning("Of each of `favorite_features`, the endpoint that they asked for most.")
    ]


@record
class VariantViews(Record):
    """How often a variant of a card was seen, and how many saw it and no other. `variant` null: views without one."""

    variant: str | None
    views: int
    users: int


@record
class DividedCard(CardViews):
    """A card, and how its views divide: none for a card of which no variant was seen."""

    variants: tuple[VariantViews, ...]
    variants_left_out: int


@record
class People(Record):
    """Who used what, and the cards."""

    sessions_of_all: Annotated[bool, meaning("Sessions are of all that they did: the filters cannot tell them apart.")]
    users: tuple[Person, ...]
    cards: tuple[DividedCard, ...]
    truncated: Truncated


@record
class Endpoint(Record):
    """One endpoint of the app. Milliseconds; None where nothing was timed, or the filters leave no percentiles."""

    endpoint: str
    service: Annotated[str | None, meaning("Null where the log names none.")]
    feature: str
    calls: int
    calls_before: Annotated[int | None, meaning("In as long a time before; null where not all of that is stored.")]
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p95_before_ms: Annotated[float | None, meaning("As `p95_ms`, of the time of `calls_before`; null as that is.")]
    app_ms: Annotated[float | None, meaning("The mean of the app's part.")]
    app_calls: Annotated[int, meaning("How many of the calls `app_ms` is of: those with an app time.")]
    proxy_ms: Annotated[float | None, meaning("The mean of what passed outside the app.")]
    proxy_calls: Annotated[int, meaning("How many of the calls `proxy_ms` is of: those with both times, without 499.")]
    errors_5xx: int
    errors_4xx: Annotated[int, meaning("400 to 499 without 499.")]
    client_closed_499: Annotated[int, meaning("The client left before the answer came.")]
    error_rate: Annotated[float, meaning("`errors_5xx` over `calls`, 0 to 1.")]
    spark: Annotated[tuple[int, ...], meaning("Calls by step of time, the oldest first.")]


@record
class Endpoints(Record):
    """Calls, times and errors by endpoint, most called first."""

    endpoints: Annotated[tuple[Endpoint, ...], meaning("Of requests to the app (`app`).")]
    spark_in_part: InPart
    truncated: Truncated
    has_percentiles: Annotated[bool, meaning("False under filters that leave none.")]


@record
class HealthStep(Record):
    """One hour or one day, of all traffic."""

    time: str
    requests: int
    errors_5xx: int
    error_rate: float
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@record
class StoreHour(Record):
    """How long the store's queries took in one hour."""

    time: str
    count: int
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    max_ms: float | None


@record
class StoreTimes(Record):
    """How long the store's queries took, measured by this process since it started."""

    store: str
    count: int
    avg_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    max_ms: float | None
    over_time: tuple[StoreHour, ...]


@record
class Cause(Record):
    """5xx of one status and endpoint in an outage."""

    status: int
    endpoint: str
    requests: int


@record
class ExplainedOutage(Outage):
    """An outage, and what failed in it, most first: of the newest outages alone."""

    causes: tuple[Cause, ...]


@record
class Health(Uptime):
    """Uptime, times over time, errors, the store's query times and freshness. Of all traffic."""

    window: Window
    service: Annotated[str | None, meaning("Which one was asked for; null: all.")]
    uptime_method: str
    uptime_over_time: tuple[UptimeDay, ...]
    uptime_by_service: tuple[UptimeService, ...]
    outages: Annotated[tuple[ExplainedOutage, ...], meaning("The newest first.")]
    error_rate: Rates
    uptime_over_time_in_part: InPart
    step: Annotated[StepName, meaning("How long a step of `over_time` is.")]
    over_time: tuple[HealthStep, ...]
    over_time_in_part: InPart
    influxdb_query_times: StoreTimes
    data_freshness_seconds: float | None


@record
class Requests(Record):
    """A page of requests, newest first: all traffic that the filters let through."""

    requests: tuple[LogLine, ...]
    next_cursor: Annotated[str | None, meaning("Where the next page begins: pass it as `cursor`; null on the last.")]


@record
class SortedRequests(Record):
    """The first requests in another order than the newest first."""

    requests: tuple[LogLine, ...]
    looked_at: Annotated[int, meaning("So many requests were sorted: the newest that the filters let through.")]
    is_all: Annotated[bool, meaning("Those were all; false: older ones were left out.")]


@record
class EndpointParts(Record):
    """The mean time of an endpoint's requests in three parts, milliseconds."""

    endpoint: str
    service: Annotated[str | None, meaning("Null where the log names none.")]
    requests: Annotated[int, meaning("Of how many: those with all three times, without 499.")]
    client_ms: Annotated[float, meaning("nginx's time less the upstream's: the client and the network to it.")]
    proxy_ms: Annotated[float, meaning("The upstream's time less the app's.")]
    app_ms: float


@record
class EndpointsParts(Record):
    """Where the time went, by endpoint, of the newest requests to the app."""

    endpoints: tuple[EndpointParts, ...]
    looked_at: Annotated[int, meaning("How many requests were looked at: the newest.")]
    is_all: Annotated[bool, meaning("Those were all of the window.")]


@record
class RequestParts(Record):
    """The time of one request in three parts, milliseconds."""

    timestamp: str
    client_ms: float
    proxy_ms: float
    app_ms: float


@record
class TraceParts(Record):
    """The same for each request of a trace that has all three times."""

    requests: tuple[RequestParts, ...]


@record
class MissingPath(Record):
    """A path that was answered 404."""

    path: str
    service: Annotated[str | None, meaning("Null where the log names none.")]
    requests: int
    users: Annotated[int, meaning("People with a name who asked for it.")]
    last_seen: str


@record
class Missing(Record):
    """What people asked for in vain, most asked for first: without health checks, bots, scanners and card views."""

    paths: tuple[MissingPath, ...]
    requests: Annotated[int, meaning("How many such requests were looked at.")]
    has_more: Annotated[bool, meaning("There are older ones in the window, which were not looked at.")]
    truncated: Truncated

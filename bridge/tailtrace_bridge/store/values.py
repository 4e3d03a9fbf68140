"""What a store is asked with, and what it gives: windows, filters, and one frozen record for each kind of sum."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from tailtrace_bridge.core.records import Identity, Traffic

HOUR_US = 3_600_000_000
MINUTE_US = 60_000_000
QUARTER_US = 15 * MINUTE_US
DAY_US = 24 * HOUR_US
CLIENT_CLOSED = 499
"""What nginx logs where the client left: its time ends there, the app's goes on."""
INVALID_REQUEST = 422
"""What FastAPI answers to a request that does not validate."""
SESSION_GAP_US = 30 * MINUTE_US
"""A longer pause ends a session, and a run of `activity`."""


class Window(NamedTuple):
    """A span of time: start included, end not; µs."""

    start_us: int
    end_us: int


def back(end_us: int, hours: int) -> Window:
    """Return the window of so many hours that ends then."""
    return Window(end_us - hours * HOUR_US, end_us)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which requests: None means all. `status` is one code, or a class such as `5xx`.

    `user` and `device` are any name that the person or the device has had: all of their requests count, under whatever
    name. `address` is whence they came, whoever that was.
    """

    user: str | None = None
    device: str | None = None
    endpoint: str | None = None
    method: str | None = None
    status: str | None = None
    trace_id: str | None = None
    """32 lower-case hex digits. For `log` only: the rollups do not keep trace ids."""
    address: str | None = None
    service: str | None = None
    """Empty: requests of none that is known."""
    users: tuple[str, ...] = ()
    """Any of these: each a name like `user`, or an address. Empty: all."""
    slower_us: int | None = None
    """nginx's time is at least that. Like the two below for `log` only: the rollups cannot tell."""
    path: str | None = None
    """A part of the path, in whatever case its letters are."""
    without: tuple[Traffic, ...] = ()
    """Kinds of traffic that stay out."""
    own: str | None = None
    """A member's login: of whoever has it now (`names`), and of nobody who had it before. `Scope.narrowed` sets it."""

    @property
    def has_identity(self) -> bool:
        """Whether they ask who it was: rollups without identities cannot tell."""
        return self.of_identity != Filters()

    @property
    def of_identity(self) -> "Filters":
        """What they ask of who it was, and nothing else."""
        return Filters(user=self.user, device=self.device, address=self.address, users=self.users, own=self.own)

    @property
    def of_log(self) -> bool:
        """Whether they ask for what no rollup keeps."""
        return (self.trace_id, self.slower_us, self.path, self.without) != (None, None, None, ())


def statuses(status: str) -> tuple[int, int]:
    """Return the lowest and the highest status of a filter; `4xx` is without 499, which is counted apart."""
    if not status.endswith("xx"):
        return int(status), int(status)
    low = int(status[0]) * 100
    return low, CLIENT_CLOSED - 1 if low == 400 else low + 99


def may_fail(status: int) -> bool:
    """Whether a request with this status may be a failure: what 499 and 422 are, others say."""
    return status >= 500 or status in {INVALID_REQUEST, CLIENT_CLOSED}


class By(Enum):
    """What whoever asks for `usage` looks at, beside totals, status and traffic. A store may leave the rest blank.

    Blank is an identity or an endpoint without a name, and no method.
    """

    ALL = "all"
    IDENTITY = "identity"
    ENDPOINT = "endpoint"


def smallest_rollups(filters: Filters, by: By) -> By:
    """Return the smallest rollup that has what is grouped and filtered by; `ALL`: every dimension.

    Raises `ValueError` where none has it.
    """
    if filters.of_log:
        raise ValueError(f"rollups cannot be filtered by these: {filters}")
    if filters.method is None:
        if by is By.IDENTITY and (filters.endpoint, filters.service) == (None, None):
            return By.IDENTITY
        if by is By.ENDPOINT and not filters.has_identity:
            return By.ENDPOINT
    return By.ALL


def smallest_bucket_rollups(filters: Filters, by: By) -> By:
    """Return the same for `Store.endpoint_buckets`, where `ALL` looks at neither identity nor endpoint."""
    return smallest_rollups(filters, By.IDENTITY if by is By.ALL and filters.has_identity else By.ENDPOINT)


class Written(NamedTuple):
    """What became of a batch."""

    stored: int
    duplicate: int
    rejected: int = 0
    """Rows that this store cannot hold: of a time that it has pruned, or rejected by its server."""


class LogEntry(NamedTuple):
    """One stored request, as a page of the log shows it."""

    time_us: int
    key: int
    identity: Identity
    service: str
    endpoint: str
    method: str
    path: str
    status: int
    traffic: Traffic
    request_time_us: int | None
    app_time_us: int | None
    bytes_sent: int
    trace_id: str
    error_type: str
    identified_us: int = 0
    """When the identity was found out, or 0."""
    upstream_time_us: int | None = None
    span_id: str = ""
    user_agent: str = ""


class Usage(NamedTuple):
    """Requests that share identity, endpoint, method, status and traffic."""

    identity: Identity
    service: str
    endpoint: str
    method: str
    status: int
    traffic: Traffic
    requests: int
    timed: int
    """How many of them have a request time: `combined` lines have none."""
    request_time_us: int
    """Their sum."""
    app_timed: int
    app_time_us: int
    bytes_sent: int
    both_timed: int = 0
    """How many have both times, as far as that is known: of rows that were gone before it was kept, it is not."""
    outside_us: int = 0
    """The sum of nginx's time less the app's, over these."""


class Visits(NamedTuple):
    """Usage of one endpoint by one identity: `traffic` is `APP` or `CARD`."""

    identity: Identity
    endpoint: str
    traffic: Traffic
    requests: int
    service: str = ""


class BucketUsage(NamedTuple):
    """All requests of one bucket of time, an hour or a day."""

    time_us: int
    requests: int
    errors: int
    """5xx."""
    timed: int
    request_time_us: int


class EndpointBucket(NamedTuple):
    """The requests of one endpoint and kind of traffic in one bucket of time."""

    time_us: int
    endpoint: str
    traffic: Traffic
    requests: int
    errors: int
    """5xx."""
    service: str = ""


class Latency(NamedTuple):
    """How many requests of an endpoint fell into a histogram bucket."""

    endpoint: str
    side: str
    """`proxy` (nginx's request time) or `app` (the span's)."""
    bucket: int
    requests: int
    service: str = ""


class BucketLatency(NamedTuple):
    """How many requests of one bucket of time fell into a bucket of the histogram, by nginx's request time."""

    time_us: int
    bucket: int
    requests: int


Run = tuple[int, int, int]
"""First and last request, µs, and how many: no pause between them is longer than `SESSION_GAP_US`."""


class Activity(NamedTuple):
    """Usage of one identity: its runs, as long as they are, in order of time; one at least."""

    identity: Identity
    runs: list[Run]

    @property
    def first_us(self) -> int:
        """Return the time of the first request."""
        return self.runs[0][0]

    @property
    def last_us(self) -> int:
        """Return the time of the last request."""
        return self.runs[-1][1]

    @property
    def requests(self) -> int:
        """Count requests."""
        return sum(requests for _, _, requests in self.runs)


class Quarter(NamedTuple):
    """Usage of a quarter of an hour, that is of one hour of the day in any time zone."""

    time_us: int
    requests: int


class UptimeHour(NamedTuple):
    """The minutes of an hour of one service, as bits: the lowest is the hour's first. What they mean: `uptime`."""

    hour_us: int
    service: str
    minutes: int
    """Those with an answer."""
    partial: int
    """Those of them with server errors that were not down."""
    down: int


class Recent(NamedTuple):
    """Totals of a few minutes, all traffic."""

    requests: int
    errors: int
    """5xx."""
    minutes: int
    """Minutes with an answer, of each service by itself."""
    down: int
    """Those of them in which it was down (`uptime`)."""
    quantile_us: float | None
    """nginx's request time at the rank that was asked for; None: not asked, or no request has a time."""


EVENTS_MAX = 500
"""Events of alerts that a store keeps, the newest."""


MARKERS_MAX = 1_000
"""Deployments and notes that a store keeps, the newest."""


class AlertEvent(NamedTuple):
    """Something that an alert told, or would have told outside of quiet hours. Named by its time."""

    time_us: int
    rule: str
    kind: str
    what: str
    """`started`, `ended` or `seen`."""
    subject: str
    """The device or the user that was seen, or empty."""
    value: float | None
    text: str


class ErrorGroup(NamedTuple):
    """A group of failures, as far as a window has any of them."""

    fingerprint: str
    type: str
    title: str
    frames: str
    first_us: int
    """Ever seen first, ever seen last."""
    last_us: int
    resolved_us: int
    """When somebody said that it is mended; 0: nobody."""
    back_us: int
    """When it came again after it was mended, or silent for `BACK_US`; 0: never."""
    requests: int
    hours: dict[int, int]
    """Requests by the hour that they began in, µs."""
    people: dict[str, int]
    """Requests by who asked: login, else device, else address; of a member, their own alone."""
    people_count: int
    devices_count: int
    endpoints: dict[str, int]
    """Likewise."""
    versions: dict[str, int]
    statuses: dict[int, int]
    traces: list[tuple[int, str, bool]]
    """The newest: time, trace id, whether it is kept."""


BACK_US = 7 * DAY_US
"""A group that was silent for so long is back again when it comes."""

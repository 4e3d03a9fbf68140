"""What every store can do. Few verbs: `write` (acknowledged when it returns), `prune`, and reads of sums.

Reads give sums over a half-open window [start, end) of microseconds; the answers are made of these by pure functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tailtrace_bridge.columns import Columns
from tailtrace_bridge.records import Identity, Refusal, Row, Traffic

HOUR_US = 3_600_000_000
MINUTE_US = 60_000_000
DAY_US = 24 * HOUR_US


class Window(NamedTuple):
    """A span of time: start included, end not; µs."""

    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Filters:
    """Which requests: None means all. `status` is one code, or a class such as `5xx`.

    `user` and `device` are any name that the person or the device has had: all of their requests count, under whatever
    name.
    """

    user: str | None = None
    device: str | None = None
    endpoint: str | None = None
    method: str | None = None
    status: str | None = None


class Written(NamedTuple):
    """What became of a batch."""

    stored: int
    duplicate: int


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


class StepUsage(NamedTuple):
    """All requests of one step of time, an hour or a day."""

    time_us: int
    requests: int
    errors: int
    """5xx."""
    timed: int
    request_time_us: int


class Latency(NamedTuple):
    """How many requests of an endpoint fell into a histogram bucket."""

    endpoint: str
    side: str
    """`proxy` (nginx's request time) or `app` (the span's)."""
    bucket: int
    requests: int


class StepLatency(NamedTuple):
    """How many requests of one step of time fell into a histogram bucket, by nginx's request time."""

    time_us: int
    bucket: int
    requests: int


class Activity(NamedTuple):
    """One identity's usage within one minute."""

    identity: Identity
    first_us: int
    last_us: int
    requests: int


class Minute(NamedTuple):
    """One minute with traffic."""

    minute_us: int
    requests: int
    answered: int
    """Those with an answer that is not 5xx."""


class Store(Protocol):
    """Where rows are kept. Every verb raises `StoreError` where the store cannot do it.

    `log` gives identities as they were; `usage` and `activity` with the ids and names of now (`names`).
    """

    def write(self, rows: Sequence[Row], refusals: Sequence[Refusal] = ()) -> Written:
        """Keep rows and refusals. What was written before changes nothing; when this returns, all is safe on disk."""

    def write_columns(self, columns: Columns, refusals: Sequence[Refusal] = ()) -> Written:
        """Keep rows that come as columns, like `write`."""

    def prune(self, before_us: int) -> int:
        """Remove rows older than `before_us`; sums stay. Gives how many rows went."""

    def log(self, window: Window, filters: Filters, limit: int, before: tuple[int, int] | None) -> list[LogEntry]:
        """Give the newest requests first; `before` is (time_us, key) of the last entry of the page before."""

    def usage(self, window: Window, filters: Filters) -> list[Usage]:
        """Give sums by identity, endpoint, method, status and traffic."""

    def steps(self, window: Window, step_us: int) -> list[StepUsage]:
        """Give sums by step of time (`HOUR_US` or `DAY_US`), in order."""

    def latency(self, window: Window) -> list[Latency]:
        """Give histograms by endpoint and side."""

    def step_latency(self, window: Window, step_us: int) -> list[StepLatency]:
        """Give histograms by step of time."""

    def activity(self, window: Window) -> list[Activity]:
        """Give usage (apps and cards, no health checks, bots, static files) by identity and minute, in order."""

    def minutes(self, window: Window) -> list[Minute]:
        """Give the minutes with traffic, in order."""

    def newest_us(self) -> int | None:
        """Give the time of the newest row."""

    def close(self) -> None:
        """Let go of files and connections."""

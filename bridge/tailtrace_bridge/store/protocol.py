"""What every store can do. Few verbs: `write` (acknowledged when it returns), `prune`, and reads of rollups.

Reads give totals (`values`) over a half-open window [start, end) of microseconds; pure functions make the answers of
these.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from tailtrace_bridge.core.columns import Columns
from tailtrace_bridge.core.records import Failure, KeptTrace, Marker, RejectedLine, Row, Traffic
from tailtrace_bridge.store.anonymous import AnonymousUsage, Callers, Order
from tailtrace_bridge.store.names import Named
from tailtrace_bridge.store.person import Erased, Person
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.tally import Tally
from tailtrace_bridge.store.values import (
    Activity,
    AlertEvent,
    BucketLatency,
    BucketUsage,
    By,
    EndpointBucket,
    ErrorGroup,
    Filters,
    Latency,
    LogEntry,
    Quarter,
    Recent,
    UptimeHour,
    Usage,
    Visits,
    Window,
    Written,
)


class Store(Protocol):
    """Where rows are kept. Every verb raises `StoreError` where the store cannot do it.

    `log` gives identities as they were; `usage`, `visits` and `activity` with the ids and names of now (`names`).
    """

    @property
    def store_id(self) -> str:
        """Return which store this is: what was read into one was not read into another. Asks no server."""

    @property
    def writes(self) -> int:
        """How many writes it has had, also by others; InfluxDB: of this bridge. A backup has had fewer."""

    def remember(self, text: str) -> None:
        """Keep a text with the next write, in the same transaction or after it: how far the logs were read."""

    def remembered(self) -> str:
        """Return the text that was kept last, or nothing."""

    def write(self, rows: Sequence[Row], rejected_lines: Sequence[RejectedLine] = ()) -> Written:
        """Keep rows and rejected lines; what was written before changes nothing. When it returns, all is on disk."""

    def settle_rejected(self, file: str, places: Sequence[int]) -> int:
        """Remove the kept rejected lines of a log that do not lie at `places`: it was read again, and they were stored.

        Returns how many went. InfluxDB keeps them until their retention ends.
        """

    def write_columns(
        self, columns: Columns, rejected_lines: Sequence[RejectedLine] = (), counted: Tally | None = None
    ) -> Written:
        """Keep rows that come as columns, like `write`. `counted` is their tally, where somebody has made it."""

    def prune(self, before_us: int) -> int:
        """Remove rows older than `before_us`; rollups stay. Gives how many rows went.

        Rows as old as those that went are rejected from then on: they would count twice.
        """

    def begin_erase(self, person: Person) -> None:
        """Note on the disk that a person is to be forgotten, so that a crash leaves nothing half done."""

    def unfinished_erase(self) -> Person | None:
        """Return whom an erase of before was to forget and did not; `Person()`: traces of it alone are left."""

    def erase(self, person: Person, *, is_dry: bool) -> Erased:
        """Forget a person everywhere, and say what went; with `is_dry`, say what would. What others did stays."""

    def log(
        self, scope: Scope, window: Window, filters: Filters, limit: int, before: tuple[int, int] | None
    ) -> list[LogEntry]:
        """Return the newest requests first; `before` is (time_us, key) of the last entry of the page before."""

    def rows(self, scope: Scope, window: Window, after: tuple[int, int] | None, limit: int) -> list[Row]:
        """Return requests whole, oldest first; `after` is (time_us, key) of the last row of the page before.

        A row is as it was written, but for what served only to make it: `proxied`, `card` and `serve` are empty, and
        its address is the identity's.
        """

    def endpoints(self, scope: Scope) -> list[str]:
        """Return all endpoints that it has rows or rollups of; InfluxDB, of rows."""

    def named(self, scope: Scope) -> list[Named]:
        """Return everybody who was ever stored with a name, oldest first: what `rows` cannot tell once it is pruned."""

    def rejected_lines(self, scope: Scope, after: tuple[str, int] | None, limit: int) -> list[RejectedLine]:
        """Return the kept rejected lines by file and offset; `after` is both of the last one of the page before."""

    def usage(
        self,
        scope: Scope,
        window: Window,
        filters: Filters,
        by: By = By.ALL,
        *,
        listed: Collection[str] | None = None,
        with_rest: bool = True,
        requests_only: bool = False,
    ) -> list[Usage]:
        """Return totals by identity, endpoint, method, status and traffic, or by less of these.

        `listed` are addresses of anonymous visitors (`store.anonymous`) to tell apart: all others are one, `FOLDED`,
        or stay out, without the rest. None: all are told apart. By endpoint, nobody is, and nobody stays out.
        `requests_only`: of the totals, nothing else is looked at; the others may be 0.
        """

    def visits(
        self,
        scope: Scope,
        window: Window,
        *,
        listed: Collection[str] | None = None,
        traffic: Traffic | None = None,
    ) -> list[Visits]:
        """Return usage (apps and cards, no health checks, bots, static files) by identity, endpoint and traffic.

        Anonymous visitors that are not `listed`, if any are, stay out; so does what is not of this `traffic`.

        Two services may have endpoints of one name: each has rows of its own.
        """

    def bucket_usage(
        self, scope: Scope, window: Window, bucket_us: int, service: str | None = None
    ) -> list[BucketUsage]:
        """Return totals by bucket of time, in order; of one service, or of all.

        `bucket_us`, here and below: `DAY_US`, `HOUR_US`, or a part of it, which is made of the requests.
        """

    def has_any(self, scope: Scope, window: Window) -> bool:
        """Return whether anything was asked for in a window."""

    def endpoint_buckets(
        self, scope: Scope, window: Window, bucket_us: int, filters: Filters, by: By = By.ENDPOINT
    ) -> list[EndpointBucket]:
        """Return totals by bucket of time, endpoint and traffic, in order of time.

        Unless `by` is `ENDPOINT`, of all endpoints together: their names are blank.
        """

    def latency(self, scope: Scope, window: Window) -> list[Latency]:
        """Return histograms by service, endpoint and side."""

    def bucket_latency(
        self, scope: Scope, window: Window, bucket_us: int, service: str | None = None
    ) -> list[BucketLatency]:
        """Return histograms by bucket of time; of one service, or of all."""

    def activity(self, scope: Scope, window: Window, *, listed: Collection[str] | None = None) -> list[Activity]:
        """Return usage by identity, in runs; anonymous visitors that are not `listed`, if any are, stay out."""

    def anonymous_usage(self, scope: Scope, window: Window, order: Order, limit: int) -> AnonymousUsage:
        """Return the usage of anonymous visitors, and who of them come first; none for a member, who has a login."""

    def callers(self, scope: Scope, window: Window, filters: Filters, limit: int, *, usage_only: bool) -> Callers:
        """Return how many addresses asked, how many of them are anonymous, and the first of these by requests."""

    def quarters(self, scope: Scope, window: Window) -> list[Quarter]:
        """Return usage by quarter of an hour, those with any, in order."""

    def uptime(self, scope: Scope, window: Window) -> list[UptimeHour]:
        """Return the minutes with answers by hour and service, in order; a minute that the window cuts counts whole."""

    def newest_us(self, scope: Scope) -> int | None:
        """Return the time of the newest row."""

    def recent(
        self,
        scope: Scope,
        window: Window,
        *,
        endpoint: str | None = None,
        service: str | None = None,
        rank: float | None = None,
    ) -> Recent:
        """Return totals of the minutes that a window of the last day touches; `rank` (0-1) asks for a time."""

    def add_alert_events(self, events: Sequence[AlertEvent]) -> None:
        """Keep events. Those that are kept already change nothing."""

    def alert_events(self, scope: Scope, limit: int) -> list[AlertEvent]:
        """Return the newest events first."""

    def keep_traces(self, kept: Sequence[KeptTrace], bytes_max: int) -> int:
        """Keep traces of requests that are stored; the oldest go, so that all have `bytes_max` bytes at the most.

        InfluxDB bounds those of each source, and lets some more go than it must. Returns how many are new. A trace goes
        with its request: when that is pruned, or its person erased.
        """

    def drop_traces(self, is_chosen: Callable[[bytes], bool], *, is_dry: bool) -> int:
        """Remove the kept traces whose `KeptTrace.data` a function chooses; return how many; `is_dry`: only count."""

    def traces(self, scope: Scope, trace_id: str, window: Window | None = None) -> list[tuple[LogEntry, KeptTrace]]:
        """Return the kept requests of a trace with their spans, the oldest first; `trace_id` is 32 hex digits.

        `window`: those that began in it alone.
        """

    def add_failures(self, found: Sequence[Failure]) -> int:
        """Keep failures of requests that are stored, each in its group; return how many are new.

        A failure goes with its request; its group stays.
        """

    def error_groups(self, scope: Scope, window: Window) -> list[ErrorGroup]:
        """Return the groups with failures in a window, those last seen first. Of a member, no other's name or trace."""

    def failures_of(self, scope: Scope, requests: Sequence[tuple[int, int]]) -> list[Failure]:
        """Return the failures of requests, each given by time and key."""

    def resolve_error(self, fingerprint: str, now_us: int) -> bool:
        """Note that a group is mended; False: there is none."""

    def add_markers(self, found: Sequence[Marker]) -> None:
        """Keep markers. Those that are kept already change nothing."""

    def markers(self, scope: Scope, window: Window) -> list[Marker]:
        """Return the markers of a window, the oldest first; for everybody, as a deployment is."""

    def drop_markers(self, found: Sequence[Marker]) -> None:
        """Remove markers."""

    def keep_features(self, names: Mapping[str, str]) -> None:
        """Keep what features are called, by route; a card is `card=NAME`. In InfluxDB those of other routes stay."""

    def features(self, scope: Scope) -> dict[str, str]:
        """Return what features are called, by route; they are about nobody."""

    def close(self, *, soon: bool = False) -> None:
        """Let go of files and connections. `soon`: without what can be done by whoever opens the store next."""

"""Where a store keeps what in InfluxDB, and what it counts."""

from dataclasses import dataclass

from tailtrace_bridge.store.influx.distinct import DISTINCT_MAX
from tailtrace_bridge.store.influx.wire.query import Server


@dataclass(frozen=True, slots=True)
class InfluxConfig:
    """Where to keep what, and under which name. Retention in days; 0 is for ever."""

    server: Server
    bucket: str
    source: str
    raw_days: int = 0
    rollup_days: int = 0
    spans_bucket: str = ""
    """Where the collector keeps raw spans; asked only when a person is erased."""
    spans_hours: int = 0
    """How long that one keeps points; 0: it is somebody else's, and not made here."""
    distinct_max: int = DISTINCT_MAX


@dataclass(slots=True)
class InfluxCounters:
    """What hit a limit, or was not taken."""

    expired: int = 0
    """Rows older than the raw bucket keeps."""
    rejected: int = 0
    """Rows that InfluxDB did not take."""
    endpoints_over_limit: int = 0
    addresses_over_limit: int = 0
    refusals_over_limit: int = 0
    roll_failures: int = 0

"""Who is there now: the demo's live table, made of the bodies of `GET /analytics/access-logs`.

Pure: bodies in, a table out. Each body repeats most of the one before; a request counts once, by its trace id. The
latest `RECENT_MAX` times of each device make its p95.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape
from rich.table import Table

RECENT_MAX = 500
SEEN_MAX = 20_000
"""Trace ids remembered; far more than one body holds."""


@dataclass(slots=True)
class _Device:
    requests: int = 0
    last_page: str = ""
    last_time: str = ""
    times_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))


class LiveTable:
    """Takes bodies with `absorb`; `render` gives the table as of now."""

    def __init__(self) -> None:
        self._devices: dict[tuple[str, str], _Device] = {}
        self._seen: dict[str, None] = {}
        self.total = 0
        """Rows that the store holds."""

    def absorb(self, body: Mapping[str, Any]) -> None:
        """Count what is new in a body."""
        self.total = body["summary"]["total_requests"]
        for log in body["logs"]:
            if log["trace_id"] in self._seen:
                continue
            self._seen[log["trace_id"]] = None
            device = self._devices.setdefault((who(log), log["device"] or "-"), _Device())
            device.requests += 1
            if log["timestamp"] >= device.last_time:
                device.last_time, device.last_page = log["timestamp"], log["endpoint"]
            if log["response_time_ms"] is not None:
                device.times_ms.append(log["response_time_ms"])
        while len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]

    def render(self) -> Table:
        """Make the table, the busiest device first."""
        table = Table(title=f"{self.total} requests stored", title_justify="left")
        for name in ("who", "device"):
            table.add_column(name)
        table.add_column("requests", justify="right")
        table.add_column("last page", no_wrap=True)
        table.add_column("p95", justify="right")
        for (person, name), device in sorted(self._devices.items(), key=lambda item: -item[1].requests):
            table.add_row(
                escape(person),
                escape(name),
                str(device.requests),
                escape(device.last_page),
                f"{percentile(device.times_ms, 95):.0f} ms" if device.times_ms else "-",
            )
        return table


def who(log: Mapping[str, Any]) -> str:
    """Return the person of a request, else the service's tags, else the kind, such as `unknown`."""
    return log["user"] or ",".join(log["tags"]) or str(log["kind"])


def percentile(values: Sequence[float] | deque[float], share: float) -> float:
    """Return the smallest value that `share` percent of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]

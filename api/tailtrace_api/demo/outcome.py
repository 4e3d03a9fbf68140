"""Whether anything was lost: what the clients sent, nginx wrote, the bridge stored, and heard of from the app.

Each number comes from whoever knows it: the clients' own tally, the log file itself (read again here, from its first
byte), and the bridge's counters on `GET /metrics`.
"""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx

from tailtrace_api.demo.running import Running
from tailtrace_bridge.core.records import Access
from tailtrace_bridge.logs.parser import make_parser

SETTLE_S_MAX = 15.0
"""More than the 10 s for which the join lets a line wait for its span."""
LINES_S_MAX = 1.0
POLL_S = 0.1

_SAMPLE = re.compile(r"^([a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LogCounts:
    """What stands in nginx's log."""

    lines: int
    proxied: int
    """Lines of requests that were passed on to the app."""
    statuses: Counter[int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The numbers of one run."""

    sent: int
    failed: int
    log: LogCounts
    stored: int
    told: int
    """Lines that have the app's part: from its header, or from its span."""

    @property
    def complete(self) -> bool:
        """Whether each line was stored and each proxied one has the app's part."""
        return self.stored == self.log.lines and self.told == self.log.proxied

    def __str__(self) -> str:
        return (
            f"sent {self.sent} requests, nginx wrote {self.log.lines} lines, stored {self.stored}, "
            f"with the app's part {self.told} of {self.log.proxied} proxied lines"
        )


async def settle(stack: Running, client: httpx.AsyncClient, *, sent: int, failed: int) -> Outcome:
    """Wait, at most `SETTLE_S_MAX`, until the bridge has stored all that nginx wrote. No client may be at work."""
    loop = asyncio.get_running_loop()
    # nginx writes a line just after the client has its answer.
    end_s = loop.time() + LINES_S_MAX
    while (counts := await asyncio.to_thread(count_log, stack.log)).lines < sent and loop.time() < end_s:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    end_s = loop.time() + SETTLE_S_MAX
    while True:
        metrics = await _metrics(stack, client)
        outcome = Outcome(
            sent,
            failed,
            counts,
            int(metrics.get("tailtrace_rows_stored_total", 0)),
            sum(int(metrics.get(f'tailtrace_join_total{{result="{how}"}}', 0)) for how in ("told", "matched")),
        )
        if outcome.stored >= counts.lines or loop.time() >= end_s:
            return outcome
        await asyncio.sleep(POLL_S)


async def _metrics(stack: Running, client: httpx.AsyncClient) -> dict[str, float]:
    try:
        return parse_metrics((await client.get(f"{stack.api_url}/metrics")).text)
    except httpx.TransportError:
        return {}  # the stack's watch tells if the API is gone


def count_log(log: Path) -> LogCounts:
    """Read nginx's log from the start."""
    parser = make_parser("tailtrace")
    lines = proxied = 0
    statuses: Counter[int] = Counter()
    with log.open("rb") as file:
        for line in file:
            lines += 1
            access = parser.parse(line.rstrip(b"\n"), log.name, lines)
            if isinstance(access, Access):
                proxied += access.proxied
                statuses[access.status] += 1
    return LogCounts(lines, proxied, statuses)


def parse_metrics(text: str) -> dict[str, float]:
    """Return the samples of a Prometheus text by their name and labels, as they are written."""
    return {name: float(value) for name, value in _SAMPLE.findall(text)}

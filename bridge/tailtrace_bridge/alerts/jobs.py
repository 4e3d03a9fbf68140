"""What is sent at a set time, such as a report on the first of the month. Pure but for what a job does.

| a job | then |
|---|---|
| is seen for the first time | it is due at the next time after now |
| is due, also since tailtrace was not running | it runs once, and its message goes into the outbox |
| fails | it is logged, counted, and tried again after `RETRY_US` |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

RETRY_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class JobMessage:
    """What a job wants to have sent. The attachments must stay where they are until it is."""

    title: str
    body: str
    attachments: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """Something that runs in the thread of alerts, at times that `next_us` gives."""

    name: str
    """Under which its next time is remembered."""
    next_us: Callable[[int], int]
    """The first time after a given one; µs since the epoch."""
    run: Callable[[int], JobMessage | None]
    """Takes the time at which it was due. None: nothing to send."""


def first_of_month(zone: ZoneInfo, hour: int = 8) -> Callable[[int], int]:
    """Return `next_us` of the first of each month at `hour` o'clock in `zone`."""

    def next_us(after_us: int) -> int:
        now = datetime.fromtimestamp(after_us / 1e6, zone)
        for months in (0, 1):
            year, month = divmod(now.year * 12 + now.month - 1 + months, 12)
            due_us = int(datetime(year, month + 1, 1, hour, tzinfo=zone).timestamp()) * 1_000_000
            if due_us > after_us:
                break
        return due_us

    return next_us

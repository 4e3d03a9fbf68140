"""What a look at one thing found.

| status | means | exit code |
|---|---|---|
| ok | as it should be | 0 |
| warning | works, but something is lost or will be; or the doctor could not look | 0 |
| failure | requests, names or answers are lost now | 1 |
| skipped | nothing to look at: not set up, not asked for | 0 |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tailtrace_bridge.core.text import printable

Status = Literal["ok", "warning", "failure", "skipped"]
_WORST_FIRST: tuple[Status, ...] = ("failure", "warning", "ok", "skipped")
MESSAGE_LENGTH_MAX = 600
"""What is shown of a message or a cure; a longer one ends with `…`."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report."""

    name: str
    status: Status
    message: str
    cure: str = ""
    """What to do; empty only where there is nothing to do."""


def make_check(name: str, status: Status, message: str, cure: str = "") -> Check:
    """Make a check of texts that may be untrusted: printable, and cut."""
    return Check(_cut(name), status, _cut(message), _cut(cure))


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of some; `skipped` where there are none."""
    found = set(statuses)
    return next((status for status in _WORST_FIRST if status in found), "skipped")


def _cut(text: str) -> str:
    cut = text if len(text) <= MESSAGE_LENGTH_MAX else text[: MESSAGE_LENGTH_MAX - 1] + "…"
    return printable(cut, MESSAGE_LENGTH_MAX)

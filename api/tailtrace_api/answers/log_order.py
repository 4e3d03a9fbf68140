"""Requests of the log in another order than their time. Pure.

| by | is |
|---|---|
| `time` | when it began |
| `status` | its status |
| `path` | method and path |
| `user` | who it was: login, else device, else address |
| `duration` | nginx's time; a request without one stands last, in whichever order |
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal

from tailtrace_api.answers.requests import name
from tailtrace_bridge.store.values import LogEntry

LogSort = Literal["time", "status", "path", "user", "duration"]
_KEYS: dict[LogSort, Callable[[LogEntry], Any]] = {
    "time": lambda one: (one.time_us, one.key),
    "status": lambda one: one.status,
    "path": lambda one: (one.path, one.method),
    "user": lambda one: name(one.identity),
    "duration": lambda one: one.request_time_us,
}


def in_order(entries: Iterable[LogEntry], by: LogSort, *, is_descending: bool) -> list[LogEntry]:
    """Return them in an order; what is equal stays as it came."""
    key = _KEYS[by]
    known: list[LogEntry] = []
    unknown: list[LogEntry] = []
    for one in entries:
        (unknown if key(one) is None else known).append(one)
    return [*sorted(known, key=key, reverse=is_descending), *unknown]

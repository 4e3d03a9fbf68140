"""What people asked for in vain: the paths that were answered 404, as a pure function of the requests themselves.

No rollup keeps paths. So the newest of these requests are looked at, and the answer says of how many it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tailtrace_api.answers.panel_records import MissingPath
from tailtrace_api.answers.requests import iso
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.names import user_key
from tailtrace_bridge.store.values import LogEntry

NOT_FOUND = "404"
NOBODYS = (Traffic.HEALTH, Traffic.BOT, Traffic.CARD)
"""Kinds of traffic that tell nothing of what people miss: what scanners look for is `BOT`."""


@dataclass(slots=True)
class _Found:
    requests: int = 0
    users: set[str] = field(default_factory=set)
    newest_us: int = 0


def is_of_missing(status: str | None) -> bool:
    """Tell whether a filter by status lets 404 through."""
    return status in {None, "4xx", NOT_FOUND}


def missing_paths(entries: Iterable[LogEntry]) -> list[MissingPath]:
    """Return a row for each path of each service, most asked for first; `entries` are requests answered 404."""
    found: dict[tuple[str, str], _Found] = {}
    for entry in entries:
        one = found.setdefault((entry.service, entry.path), _Found())
        one.requests += 1
        one.newest_us = max(one.newest_us, entry.time_us)
        if user := user_key(entry.identity):
            one.users.add(user)
    rows = [
        MissingPath(
            path=path,
            service=service or None,
            requests=one.requests,
            users=len(one.users),
            last_seen=iso(one.newest_us),
        )
        for (service, path), one in found.items()
    ]
    return sorted(rows, key=lambda row: (-row.requests, row.path, row.service or ""))

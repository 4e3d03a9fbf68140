"""Where the time of requests went, in three parts that add up to nginx's time. Pure.

| part | is |
|---|---|
| `client` | nginx's time less the upstream's: the client's side and the network to it, with nginx's own work |
| `proxy` | the upstream's time less the app's: connecting to the app, waiting for it, taking its answer |
| `app` | the app's own time |

Only a request that has all three times has parts. A 499 has none: nginx's time ends where the client left. Each side
has a clock of its own, so one that lies outside another is cut to it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tailtrace_api.answers.panel_records import EndpointParts, RequestParts
from tailtrace_api.answers.requests import iso
from tailtrace_bridge.store.values import CLIENT_CLOSED, LogEntry


class Parts(NamedTuple):
    """Of one request, µs."""

    client_us: int
    proxy_us: int
    app_us: int


def parts_of(entry: LogEntry) -> Parts | None:
    """Return the parts of a request; None: it has not all three times."""
    total_us, upstream_us, app_us = entry.request_time_us, entry.upstream_time_us, entry.app_time_us
    if total_us is None or upstream_us is None or app_us is None or entry.status == CLIENT_CLOSED:
        return None
    app_us = min(app_us, total_us)
    inside_us = min(max(upstream_us, app_us), total_us)
    return Parts(total_us - inside_us, inside_us - app_us, app_us)


def of_request(entry: LogEntry) -> RequestParts | None:
    """Return the parts of a request as an answer has them."""
    parts = parts_of(entry)
    if parts is None:
        return None
    return RequestParts(
        timestamp=iso(entry.time_us),
        client_ms=_ms(parts.client_us),
        proxy_ms=_ms(parts.proxy_us),
        app_ms=_ms(parts.app_us),
    )


def by_endpoint(entries: Iterable[LogEntry]) -> tuple[EndpointParts, ...]:
    """Return the mean parts of each endpoint, by service and name."""
    counts: Counter[tuple[str, str]] = Counter()
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for entry in entries:
        if (parts := parts_of(entry)) is not None:
            name = entry.service, entry.endpoint
            counts[name] += 1
            sums[name] = [sum(pair) for pair in zip(sums[name], parts, strict=True)]
    return tuple(_endpoint(name, counts[name], sums[name]) for name in sorted(counts))


def _endpoint(name: tuple[str, str], count: int, sums: list[int]) -> EndpointParts:
    client_ms, proxy_ms, app_ms = (_ms(one / count) for one in sums)
    return EndpointParts(
        service=name[0] or None, endpoint=name[1], requests=count, client_ms=client_ms, proxy_ms=proxy_ms, app_ms=app_ms
    )


def _ms(time_us: float) -> float:
    return round(time_us / 1000, 3)

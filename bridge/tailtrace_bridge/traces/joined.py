"""What failed in a time that is stored: an import's, or the last hour's after a start.

| of the store is read | a failure is |
|---|---|
| 5xx | each |
| 422, 499 | one with an error that the app told |
| 499 with at least `RUN_MIN` near each other, and what else their endpoint answered meanwhile | one of a run (`runs`) |

An import has no spans, so its failures join by class or status, and endpoint. They are read from the store, so a second
import of the log, or one that a crash cut short, joins the same failures to the same groups.
"""

from collections.abc import Iterable, Iterator

from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import CLIENT_CLOSED, INVALID_REQUEST, Filters, LogEntry, Window
from tailtrace_bridge.traces.groups import Grouping, failed_entry
from tailtrace_bridge.traces.runs import GAP_US, RUN_MIN, Runs

JOINED_MAX = 20_000
"""Failures of a status that join: the newest."""
READ_MAX = 20_000
"""Requests that are read to find runs: where clients left within the shortest time first. It takes half a second."""
PAGE_MAX = 1_000
EARLIER_US = 60_000_000
"""So much longer than the client that left first, another request may have waited for its answer."""


def join_groups(store: Store, window: Window) -> int:
    """Let what failed in a window join its groups; return how many are new there. Raises `StoreError`."""
    grouping = Grouping()
    found = [grouping.failure(failed_entry(one), ()) for one in failed_requests(store, window, JOINED_MAX)]
    # Page by page, the oldest first: a group that was silent between is back, as it was then.
    return sum(store.add_failures(found[at : at + PAGE_MAX]) for at in range(0, len(found), PAGE_MAX))


def failed_requests(store: Store, window: Window, count_max: int) -> list[LogEntry]:
    """Return what failed in a window, the oldest first, at most so many of a status. Raises `StoreError`."""
    left = _newest(store, window, Filters(status=str(CLIENT_CLOSED)), count_max)
    found = [one for one in left if one.error_type]
    found += _of_runs(store, left)
    found += (one for one in _newest(store, window, Filters(status=str(INVALID_REQUEST)), count_max) if one.error_type)
    found += _newest(store, window, Filters(status="5xx"), count_max)
    by_name = {(one.time_us, one.key): one for one in found}
    return [by_name[name] for name in sorted(by_name)]


def _newest(store: Store, window: Window, filters: Filters, count_max: int) -> list[LogEntry]:
    """Return the newest requests of a window, the newest first."""
    return [one for page in _pages(store, window, filters, count_max) for one in page]


def _pages(store: Store, window: Window, filters: Filters, count_max: int) -> Iterator[list[LogEntry]]:
    """Return them a page at a time."""
    before: tuple[int, int] | None = None
    while count_max > 0:
        page = store.log(Scope.everybody(), window, filters, min(PAGE_MAX, count_max), before)
        yield page
        if len(page) < PAGE_MAX:
            return
        count_max -= len(page)
        before = page[-1].time_us, page[-1].key


def _crowds(left: Iterable[LogEntry]) -> Iterator[list[LogEntry]]:
    """Return those requests of each endpoint that are near and many enough to be a run; `left` is newest first."""
    by_endpoint: dict[tuple[str, str], list[list[LogEntry]]] = {}
    for one in left:
        crowds = by_endpoint.setdefault((one.service, one.endpoint), [[]])
        if crowds[-1] and crowds[-1][-1].time_us - one.time_us > GAP_US:
            crowds.append([])
        crowds[-1].append(one)
    for crowds in by_endpoint.values():
        yield from (crowd for crowd in crowds if len(crowd) >= RUN_MIN)


def _of_runs(store: Store, left: Iterable[LogEntry]) -> Iterator[LogEntry]:
    """Return those that no other answer of their endpoint parts."""
    budget = READ_MAX
    for crowd in sorted(_crowds(left), key=lambda crowd: (crowd[0].time_us - crowd[-1].time_us) / len(crowd)):
        newest, oldest = crowd[0], crowd[-1]
        window = Window(oldest.time_us - EARLIER_US, newest.time_us + (newest.request_time_us or 0) + 1)
        of_endpoint = Filters(endpoint=newest.endpoint, service=newest.service)
        answers = [
            (*_logged(one), failed_entry(one))  # a tenth of the entry, of which there may be 20,000
            for page in _pages(store, window, of_endpoint, budget)
            for one in page
        ]
        budget -= len(answers)
        runs = Runs()
        failures = {(one.time_us, one.key) for *_, entry in sorted(answers) for one in runs.failures(entry)}
        yield from (one for one in crowd if (one.time_us, one.key) in failures)
        if budget <= 0:
            break


def _logged(one: LogEntry) -> tuple[int, int]:
    """Return what the order of the log is: nginx writes a line at the end of its request."""
    return one.time_us + (one.request_time_us or 0), one.time_us

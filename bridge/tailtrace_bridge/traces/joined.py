"""What failed in an imported time joins its groups: by class or status, and endpoint: no spans are there.

It is read from the store, so a second import of the log, or one that a crash cut short, joins the same failures to the
same groups.
"""

from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import Filters, LogEntry, Window
from tailtrace_bridge.traces.groups import Grouping, failed_entry

JOINED_MAX = 20_000
"""Failures of an import that join: the newest."""
PAGE_MAX = 1_000


def join_groups(store: Store, window: Window) -> int:
    """Let the 5xx of a window join their groups; return how many are new there. Raises `StoreError`."""
    grouping = Grouping()
    found = [grouping.failure(failed_entry(one), ()) for one in reversed(_failed(store, window))]
    # Page by page, the oldest first: a group that was silent between is back, as it was then.
    return sum(store.add_failures(found[at : at + PAGE_MAX]) for at in range(0, len(found), PAGE_MAX))


def _failed(store: Store, window: Window) -> list[LogEntry]:
    """Return the failed requests of a window, the newest first."""
    found: list[LogEntry] = []
    before: tuple[int, int] | None = None
    while len(found) < JOINED_MAX:
        page = store.log(Scope.everybody(), window, Filters(status="5xx"), PAGE_MAX, before)
        found += page
        if len(page) < PAGE_MAX:
            break
        before = page[-1].time_us, page[-1].key
    return found[:JOINED_MAX]

"""Names and limits hold over restarts: what a store has is known before more is told apart.

A line whose app says nothing, as behind a 502, counts under the template that the app told for such a path before,
before a restart or after it. A store's endpoint is an app's template if it has names of its own in its braces, as no
folded path has. Others could be a folded path, which a middleware of the app refused before its router saw it: they are
a template if the app said its time, and answered without an error.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Row
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.routes import has_names
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, By, Filters, Usage, Window

RECALLED_DAYS = 90
"""How far back an app's templates are looked for."""


class Recall:
    """Lets the enricher know what a store has: at once, or as soon as one that is away takes rows."""

    def __init__(self, store: Store, enricher: Enricher, clock: Callable[[], int]) -> None:
        self._store, self._enricher, self._clock, self._is_done = store, enricher, clock, False
        self.offer(())

    def offer(self, _rows: Sequence[Row]) -> None:
        """Take rows that were stored, which says that the store is there."""
        if self._is_done:
            return
        with suppress(StoreError):  # asked again with the next rows
            self._enricher.recall(*recalled(self._store, self._clock()))
            self._is_done = True


def recalled(store: Store, now_us: int) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """Return a store's endpoints, and of late the (service, route) that apps told, and the services.

    Raises `StoreError`.
    """
    endpoints = store.endpoints(Scope.everybody())  # first: it makes the buckets of an InfluxDB that is new
    lately = Window(now_us - RECALLED_DAYS * DAY_US, now_us + DAY_US)
    usages = store.usage(Scope.everybody(), lately, Filters(), By.ENDPOINT)
    told = {(usage.service, usage.endpoint) for usage in usages if _is_reported(usage)}
    return endpoints, sorted(told), sorted({usage.service for usage in usages})


def _is_reported(usage: Usage) -> bool:
    return has_names(usage.endpoint) or (usage.app_timed > 0 and usage.status < 400)

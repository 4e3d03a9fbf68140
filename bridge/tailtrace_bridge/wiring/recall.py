"""The limits of paths and cards hold over restarts: what a store has is known before more is told apart."""

from collections.abc import Sequence
from contextlib import suppress

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Row
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope


class Recall:
    """Lets the enricher know the endpoints that a store has: at once, or as soon as one that is away takes rows."""

    def __init__(self, store: Store, enricher: Enricher) -> None:
        self._store, self._enricher, self._is_done = store, enricher, False
        self.offer(())

    def offer(self, _rows: Sequence[Row]) -> None:
        """Take rows that were stored, which says that the store is there."""
        if self._is_done:
            return
        with suppress(StoreError):  # asked again with the next rows
            self._enricher.recall(self._store.endpoints(Scope.everybody()))
            self._is_done = True

"""Reads groups of failures and markers from the store, for HTTP, the command line and MCP."""

from tailtrace_api.access.roles import scope_of
from tailtrace_api.answers.errors import Mark, WhatBroke, mark, what_broke
from tailtrace_bridge.core.records import Marker
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.values import Window


class Errors:
    """Asks one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def what_broke(self, window: Window, *, only: str | None = None) -> WhatBroke:
        """Answer `GET /analytics/errors`; `only` is the login of a member."""
        scope = scope_of(only)
        return what_broke(self._store.error_groups(scope, window), self._store.markers(scope, window), window)

    def mark(self, marker: Marker) -> Mark:
        """Keep a marker, and return it as answers have it."""
        self._store.add_markers([marker])
        return mark(marker)

"""What features are called goes into the store, so that it does not depend on who asks.

The bridge has the app's OpenAPI file and settings; who runs `tailtrace report` or an API elsewhere may have neither.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Row
from tailtrace_bridge.store.protocol import Store


class FeatureKeeper:
    """Keeps the names once, as soon as the store takes rows. Where there are none, those in the store stay."""

    def __init__(self, store: Store, names: Mapping[str, str]) -> None:
        self._store, self._names = store, names

    def offer(self, _rows: Sequence[Row]) -> None:
        """Take rows that were stored, which says that the store is there."""
        if not self._names:
            return
        with suppress(StoreError):  # asked again with the next rows
            self._store.keep_features(self._names)
            self._names = {}

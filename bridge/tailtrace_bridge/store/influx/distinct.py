"""How many unnamed addresses a bridge keeps apart in InfluxDB: their sender chooses them, and rollups go by them.

| what comes | is stored as |
|---|---|
| known already, or below the limit | itself |
| an address of a person or a device | itself, always |
| an address that nobody is behind, past the limit | `__other__`, of the same kind and for the same reason; counted |

Counted from the bridge's start and over the days before it that are recalled (`batch`). A user agent is text in a row
here, by which nothing is rolled up: it needs no limit.
"""

from collections.abc import Iterable

from tailtrace_bridge.core.records import OTHER, Identity

DISTINCT_MAX = 100_000


class Distinct:
    """Folds what is past the limit, and counts how often."""

    def __init__(self, limit: int) -> None:
        self.over_limit_count = 0
        self._limit = limit
        self._seen: set[int] = set()
        """Hashes: eight bytes say which identity it was."""

    def recall(self, identities: Iterable[Identity]) -> None:
        """Know who is kept apart already."""
        for one in identities:
            if one.address != OTHER and not (one.user or one.device) and len(self._seen) < self._limit:
                self._seen.add(hash(one))

    def as_stored(self, identities: Iterable[Identity]) -> list[Identity]:
        """Return what each is stored as."""
        return [one if one.user or one.device or self._is_kept(one) else _fold(one) for one in identities]

    def _is_kept(self, one: Identity) -> bool:
        seen, number = self._seen, hash(one)
        if number in seen:
            return True
        if len(seen) < self._limit:
            seen.add(number)
            return True
        self.over_limit_count += 1
        return False


def _fold(one: Identity) -> Identity:
    return Identity(OTHER, one.kind, reason=one.reason, expired=one.expired)

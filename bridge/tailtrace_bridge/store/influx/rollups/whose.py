"""Whose rollups are asked for, told of one identity by itself: so those of others are left out before they are read."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tailtrace_bridge.core.records import Identity

Find = Callable[[Sequence[Any]], Identity | None]
"""Gives the identity that has these values, where it is meant."""


class Called(NamedTuple):
    """Whoever has or had a name: of a user (`user`, `user_id`) or of a device (`device`, `node_id`)."""

    name: str
    stable: str
    value: str
    ids: frozenset[str]
    """Of all that ever had this name."""
    aliases: frozenset[str]
    """All names that these have had."""

    def has(self, one: Identity) -> bool:
        """Tell whether an identity is meant."""
        return bool(
            getattr(one, self.name) == self.value
            or getattr(one, self.stable) in self.ids
            or (not getattr(one, self.stable) and getattr(one, self.name) in self.aliases)
        )


class Whose(NamedTuple):
    """Who is all of `all_of`, is any of `any_of` by name or address, and came from an address. None, empty: any."""

    address: str | None
    all_of: tuple[Called, ...]
    any_of: tuple[Called, ...]

    @property
    def by_address(self) -> bool:
        """Tell whether somebody without a name may be meant."""
        return not self.all_of and (self.address is not None or bool(self.any_of))

    def has(self, one: Identity) -> bool:
        """Tell whether an identity is meant."""
        return (
            self.address in {None, one.address}
            and all(called.has(one) for called in self.all_of)
            and (not self.any_of or any(called.has(one) or one.address == called.value for called in self.any_of))
        )

    def finder(self) -> Find:
        """Return what finds those that are meant. It looks at each once: the steps of a month have the same few."""
        known: dict[tuple[Any, ...], Identity | None] = {}

        def find(values: Sequence[Any]) -> Identity | None:
            key = tuple(values)
            if key not in known:
                one = Identity(*values)
                known[key] = one if self.has(one) else None
            return known[key]

        return find

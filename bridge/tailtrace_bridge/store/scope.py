"""Whose rows a store may tell of. No verb that reads can be called without it. Pure.

| verb | of a member |
|---|---|
| `log`, `usage`, `endpoint_buckets`, `traces` | of who has their login now; another's login gives nothing |
| `visits`, `activity` | those of identities with their login |
| `alert_events` | those about nobody: what was seen of a person or a device stays out |
| any other: it cannot be restricted to one person | `ScopeError` |

A scope is made by `everybody`, for admins and for what serves no one person, or by `access`, which knows who asks.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Identity

if TYPE_CHECKING:
    from tailtrace_bridge.store.values import Filters


class ScopeError(StoreError):
    """A member's answer was to be made of what cannot be restricted to them, or of another's: a defect of ours."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows: a login's, or everybody's where it is None."""

    login: str | None

    @classmethod
    def everybody(cls) -> "Scope":
        """Return the scope of all rows."""
        return cls(None)

    @classmethod
    def member(cls, login: str) -> "Scope":
        """Return the scope of one person's rows. For `access` alone, which knows who asks."""
        return cls(login)

    def narrowed(self, filters: "Filters") -> "Filters":
        """Return the filters with the login of this scope. Raises `ScopeError` where they ask for another's.

        A filter by login finds whoever has had it. Once it is given to somebody else, that is not them alone.
        """
        if self.login is None:
            return filters
        if filters.user not in {None, self.login} or filters.users:
            raise ScopeError("a member's answer was filtered by another login: please report this")
        return replace(filters, user=None, own=self.login)

    def has(self, identity: Identity) -> bool:
        """Whether what an identity did may be told."""
        return self.login is None or identity.user == self.login

    def require_everybody(self, verb: str) -> None:
        """Raise `ScopeError` in a member's scope: what `verb` tells cannot be restricted to one person."""
        if self.login is not None:
            raise ScopeError(f"{verb} cannot be restricted to one person: please report this")

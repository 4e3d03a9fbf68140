"""Whose requests an answer is narrowed to, in the words of the store. Pure.

| `user` says | asked by an admin | by a member |
|---|---|---|
| nothing | everybody's | their own |
| a login | that person's, under whatever name | their own, if it is theirs; else `NotYoursError` |
| several of these | what any of them did | `NotYoursError` |
| an address, or `unix:` | what came from it, whoever that was: so those without a name are called | `NotYoursError` |
"""

from collections.abc import Sequence
from dataclasses import replace

from tailtrace_api.access.roles import requested_user
from tailtrace_bridge.core.text import parse_address
from tailtrace_bridge.store.values import Filters


def narrowed(
    user: str | None,
    only: str | None,
    *,
    device: str | None = None,
    endpoint: str | None = None,
    method: str | None = None,
    status: str | None = None,
    service: str | None = None,
) -> Filters:
    """Return the filters of what was asked for; `only` is the login that an answer is restricted to, or None.

    Raises `NotYoursError`.
    """
    who = requested_user(user, only)
    if who is None or only is not None:  # a member is restricted to a login, whatever it looks like
        return Filters(who, device, endpoint, method, status, service=service)
    address = _address(who)
    if address is None:
        return Filters(who, device, endpoint, method, status, service=service)
    return Filters(None, device, endpoint, method, status, address=address, service=service)


def narrowed_to_any(users: Sequence[str], only: str | None, rest: Filters) -> Filters:
    """Return the filters of several users: those of `rest`, which has none. Raises `NotYoursError`."""
    distinct = tuple(dict.fromkeys(users))
    if len(distinct) < 2:
        one = narrowed(next(iter(distinct), None), only)
        return replace(rest, user=one.user, address=one.address)
    for user in distinct:
        requested_user(user, only)
    return replace(rest, users=tuple(_address(user) or user for user in distinct))


def _address(user: str) -> str | None:
    address = user if user == "unix:" else parse_address(user)
    return None if address is None else str(address)

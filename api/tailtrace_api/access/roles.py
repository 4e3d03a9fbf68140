"""Who asks, in one record that the guard leaves with the request."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tailtrace_bridge.store.scope import Scope

KEY = "tailtrace.caller"
"""Where the guard leaves the caller in the ASGI scope."""
KNOWN = "tailtrace.known"
"""Where the server leaves, in the scope's `state`, what the guard calls when it knows who asks on this connection."""


class Role(IntEnum):
    """What somebody may see: nothing, what is theirs, all."""

    NOBODY = 0
    MEMBER = 1
    ADMIN = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    role: Role = Role.NOBODY
    login: str = ""
    """As the store has it; empty for an admin who is no person: this machine, a token."""
    way: str = ""
    """How it is known: `local`, `whois`, `serve`, `token` or `session`."""
    why: str = ""
    """Why it is nobody, and what to do."""
    sends_spans: bool = False
    """May write to the OTLP receiver."""
    token: str = ""
    """The name of the token, of the request or of its session."""


def caller_of(scope: Mapping[str, Any]) -> Caller | None:
    """Return who asks; None: no guard stands before the app, and who made it so decides who reaches it."""
    found = scope.get(KEY)
    return found if isinstance(found, Caller) else None


def only_of(scope: Mapping[str, Any]) -> str | None:
    """Return the login that an answer is restricted to; None: no restriction."""
    caller = caller_of(scope)
    if caller is None or caller.role is Role.ADMIN:
        return None
    return caller.login


def sees_all(scope: Mapping[str, Any]) -> bool:
    """Whether an admin asks."""
    caller = caller_of(scope)
    return caller is None or caller.role is Role.ADMIN


def scope_of(login: str | None) -> Scope:
    """Return whose rows the store may tell of, of the login that an answer is restricted to; None: everybody's."""
    return Scope.everybody() if login is None else Scope.member(login)


class NotYoursError(Exception):
    """Somebody asked for what another one did. Its words are for whoever asked."""


def requested_user(asked: str | None, only: str | None) -> str | None:
    """Return the login to filter by, of the one asked for and the one that an answer is restricted to.

    Raises `NotYoursError` where these differ.
    """
    if only is not None and asked not in {None, only}:
        raise NotYoursError("only your own requests are yours to see: leave out user")
    return only if asked is None else asked

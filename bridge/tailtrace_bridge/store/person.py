"""Whom to forget, or to tell what is stored about them: which identities are theirs, and which rejected lines. Pure.

| asked for | theirs is |
|---|---|
| a user | each identity with that login, or with a user id that ever had it, under whatever login since |
| a device | the same, by name and node id |
| an address | each identity with that address, whoever had it |

A rejected line is text that nobody could read; it is theirs if one of their logins stands in it, or an address that
nobody else had. What an alert told, or a kept trace of somebody else says, is theirs if it names one of their logins or
devices, or such an address.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tailtrace_bridge.core.records import Identity


@dataclass(frozen=True, slots=True)
class Person:
    """Who is meant: one of the three; none of them, nobody."""

    user: str | None = None
    device: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Erased:
    """What was removed, or would be."""

    requests: int
    """By the rollups, which may reach further back than the rows."""
    rows: int
    rejected_lines: int
    identities: tuple[Identity, ...]
    first_us: int | None
    """Times of the first and the last row; None: there is none."""
    last_us: int | None
    spans: int = 0
    """Traces whose spans were removed: kept ones, in InfluxDB raw ones too."""
    events: int = 0
    """What alerts told of them."""
    left: str = ""
    """Where on the disk something of what was removed still stands, why, and what to do; empty: nowhere."""


IsTheirs = Callable[[Identity], bool]


def make_is_theirs(person: Person, known: Iterable[Identity]) -> IsTheirs:
    """Return what tells whether an identity is theirs; `known` are all that the store has with a name."""
    if person == Person():
        return lambda _one: False
    if person.address is not None:
        address = person.address
        return lambda one: one.address == address
    name, stable = ("user", "user_id") if person.user is not None else ("device", "node_id")
    value = person.user if person.user is not None else person.device
    known = list(known)
    ids = {getattr(one, stable) for one in known if getattr(one, name) == value} - {""}
    called = {getattr(one, name) for one in known if getattr(one, stable) in ids} - {""}

    def is_theirs(one: Identity) -> bool:
        mine, own_id = getattr(one, name), getattr(one, stable)
        return bool(mine or own_id) and (mine == value or own_id in ids or (not own_id and mine in called))

    return is_theirs


def make_is_their_line(theirs: Iterable[Identity], others: Iterable[Identity]) -> Callable[[str], bool]:
    """Return what tells whether the text of a rejected line is theirs."""
    theirs = list(theirs)
    words = {one.address for one in theirs} - {one.address for one in others}
    return _names_one_of(words | {one.user for one in theirs})


def make_is_their_event(theirs: Iterable[Identity], others: Iterable[Identity]) -> Callable[[str], bool]:
    """Return what tells whether the text of what an alert told is theirs."""
    theirs, others = list(theirs), list(others)
    words = {one.address for one in theirs} - {one.address for one in others}
    words |= {one.device for one in theirs} - {one.device for one in others}
    return _names_one_of(words | {one.user for one in theirs})


def names_of(words: Iterable[str]) -> re.Pattern[str] | None:
    """Return what finds any of these as a word of its own, in whatever case; None: there is nothing to find."""
    words = set(words) - {"", "unix:", "127.0.0.1", "::1"}
    if not words:
        return None
    patterns = []
    for has_colons in (False, True):
        either = "|".join(re.escape(word) for word in sorted(words) if (":" in word) is has_colons)
        if either:
            # A colon goes on with an address of IPv6. Behind any other name it begins what is said of them, or a port.
            colon = ":" if has_colons else ""
            patterns.append(rf"(?<![0-9A-Za-z.@_{colon}-])(?:{either})(?![0-9A-Za-z@_{colon}-]|\.[0-9A-Za-z])")
    return re.compile("|".join(patterns), re.IGNORECASE)


def _names_one_of(words: Iterable[str]) -> Callable[[str], bool]:
    pattern = names_of(words)
    return lambda text: pattern is not None and pattern.search(text) is not None

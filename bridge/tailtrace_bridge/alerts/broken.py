"""Which groups of errors to report: those that are new, and those that are back. Pure.

| a group | is told as |
|---|---|
| not known, first seen since the rules were begun with | `new_error` |
| known or not, came back since it was told of last | `error_back` |
| of requests that the app refused as invalid: what a client sends is no defect | nothing |
| any other | nothing |
"""

from collections.abc import Iterable

from tailtrace_bridge.core.records import INVALID
from tailtrace_bridge.store.values import ErrorGroup

KNOWN_MAX = 5_000
"""Groups that are told apart; those known for longest are forgotten for more, and a store keeps no more either."""


def new_or_back(groups: Iterable[ErrorGroup], known: dict[str, int]) -> list[tuple[str, ErrorGroup]]:
    """Return what is to be told, and know it from now on. `known` is when each was told of last, µs."""
    told: list[tuple[str, ErrorGroup]] = []
    for group in groups:
        if group.type.startswith(INVALID):
            continue
        last_us = known.get(group.fingerprint)
        if last_us is None and group.back_us == 0:
            told.append(("new_error", group))
        elif group.back_us > (last_us or 0):
            told.append(("error_back", group))
        else:
            continue
        known[group.fingerprint] = group.last_us
    while len(known) > KNOWN_MAX:
        del known[next(iter(known))]
    return told


def learn(groups: Iterable[ErrorGroup]) -> dict[str, int]:
    """Return what is known of the groups that are there already: nothing to report."""
    return {group.fingerprint: group.last_us for group in groups}

"""Anonymous visitors, addresses without a name: an answer lists the first and adds up the rest. Pure.

| of anonymous visitors | an answer has |
|---|---|
| those that come first in the order of its list | each by itself, as of anybody with a name |
| all of them | how many, with how many sessions and requests, for how long (`AnonymousUsage`) |

Whoever has a name, a tag or an id, and the machine itself, is not anonymous, and is always listed.
"""

import heapq
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from itertools import compress
from typing import NamedTuple

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.packed import join_runs
from tailtrace_bridge.store.rollups import USAGE_TRAFFIC
from tailtrace_bridge.store.values import Activity, Run, Usage

FOLDED = Identity("")
"""Who stands for all anonymous visitors that are not listed."""
_REQUESTS_BITS = 40


class Order(Enum):
    """Who comes first: with most sessions, and of these with most requests; with most requests; or who was here last.

    Of equals, by address.
    """

    SESSIONS = "sessions"
    REQUESTS = "requests"
    LATEST = "latest"


class AnonymousUsage(NamedTuple):
    """All anonymous visitors of a window, by their usage; and who of them come first."""

    first: frozenset[str] = frozenset()
    """Addresses."""
    visitors: int = 0
    sessions: int = 0
    requests: int = 0
    spent_us: int = 0
    addresses: int = 0
    """Of everybody, not of anonymous visitors alone."""


class Callers(NamedTuple):
    """Whoever asked for something in a window, by all kinds of traffic or by usage alone."""

    addresses: int
    """How many, of everybody."""
    anonymous: int
    """How many visitors of them are anonymous visitors."""
    first: frozenset[str]
    """The addresses of the anonymous visitors with most requests; of as many, by address."""


def is_anonymous(who: Identity) -> bool:
    """Whether nobody can tell who it was."""
    return not (who.user or who.device or who.tags or who.user_id or who.node_id) and who.kind not in {"tagged", "self"}


class Ranking:
    """Whose keys are largest, of many that are known by numbers, in few bytes."""

    def __init__(self) -> None:
        self._numbers, self._keys = array("Q"), array("Q")

    def __len__(self) -> int:
        """Count them."""
        return len(self._keys)

    def add(self, number: int, key: int) -> None:
        """Add one."""
        self._numbers.append(number)
        self._keys.append(key)

    def extend(self, numbers: Iterable[int], keys: Iterable[int]) -> None:
        """Add many."""
        self._numbers.extend(numbers)
        self._keys.extend(keys)

    def first(self, limit: int) -> tuple[list[int], list[int], int]:
        """Return who surely is among the first, who may be (they are equals), and how many of the latter are."""
        if len(self._keys) <= limit or not limit:
            return list(self._numbers) if limit else [], [], 0
        last = heapq.nlargest(limit, self._keys)[-1]
        sure, equals = (
            list(compress(self._numbers, map(is_theirs, self._keys))) for is_theirs in (last.__lt__, last.__eq__)
        )
        return sure, equals, limit - len(sure)


class Tally:
    """Adds up anonymous visitors one after another, each known by a number."""

    def __init__(self, order: Order) -> None:
        self.ranking = Ranking()
        self._order = order
        self._sessions = self._requests = self._spent_us = 0

    def add(self, number: int, runs: Sequence[Run]) -> None:
        """Add one, with all that it did."""
        last_us = runs[-1][1]
        requests = sum(run[2] for run in runs)
        self._sessions += len(runs)
        self._requests += requests
        self._spent_us += sum(run[1] - run[0] for run in runs)
        if self._order is Order.SESSIONS:
            self.ranking.add(number, len(runs) << _REQUESTS_BITS | requests)
        else:
            self.ranking.add(number, requests if self._order is Order.REQUESTS else last_us)

    def add_who_came_once(
        self, numbers: Iterable[int], firsts_us: Sequence[int], lasts_us: Sequence[int], requests: Sequence[int]
    ) -> None:
        """Add many, each with one run: most visitors. No line of Python runs for one."""
        self._sessions += len(firsts_us)
        self._requests += sum(requests)
        self._spent_us += sum(lasts_us) - sum(firsts_us)
        keys = lasts_us if self._order is Order.LATEST else requests
        once = 1 << _REQUESTS_BITS if self._order is Order.SESSIONS else 0
        self.ranking.extend(numbers, map(once.__or__, keys))

    def anonymous_usage(self, first: Iterable[str], addresses: int) -> AnonymousUsage:
        """Return the totals."""
        return AnonymousUsage(
            frozenset(first), len(self.ranking), self._sessions, self._requests, self._spent_us, addresses
        )


def anonymous_usage_of(activity: Iterable[Activity], order: Order, limit: int) -> AnonymousUsage:
    """Return the totals, of what was read of everybody."""
    runs: dict[tuple[str, str], list[Run]] = {}
    addresses = set()
    for one in activity:
        addresses.add(one.identity.address)
        if is_anonymous(one.identity):
            runs.setdefault((one.identity.address, one.identity.kind), []).extend(one.runs)
    visitors, tally = sorted(runs), Tally(order)
    for number, visitor in enumerate(visitors):
        tally.add(number, join_runs(runs[visitor]))
    sure, equals, more = tally.ranking.first(limit)
    return tally.anonymous_usage([visitors[number][0] for number in (*sure, *equals[:more])], len(addresses))


def callers_of(usages: Iterable[Usage], limit: int, *, usage_only: bool) -> Callers:
    """Return the callers, of what was read of everybody."""
    asked = [one for one in usages if not usage_only or one.traffic in USAGE_TRAFFIC]
    requests: Counter[tuple[str, str]] = Counter()
    for one in asked:
        if is_anonymous(one.identity):
            requests[one.identity.address, one.identity.kind] += one.requests
    first = sorted(requests, key=lambda visitor: (-requests[visitor], visitor))[:limit]
    addresses = {one.identity.address for one in asked}
    return Callers(len(addresses), len(requests), frozenset(address for address, _ in first))


def is_listed(who: Identity, listed: Collection[str] | None) -> bool:
    """Whether somebody stands by themselves; `listed` are the anonymous visitors' addresses, None: all of them."""
    return listed is None or who.address in listed or not is_anonymous(who)


def folded(usages: Iterable[Usage], listed: Collection[str] | None) -> list[Usage]:
    """Add up the usage of anonymous visitors that are not listed."""
    if listed is None:
        return list(usages)
    kept: list[Usage] = []
    rest: dict[tuple[object, ...], list[int]] = {}
    for one in usages:
        if is_listed(one.identity, listed):
            kept.append(one)
            continue
        sums = rest.setdefault(one[1:6], [0] * len(one[6:]))
        for place, value in enumerate(one[6:]):
            sums[place] += value
    return kept + [Usage(FOLDED, *key, *sums) for key, sums in rest.items()]  # type: ignore[arg-type]  # as in `Usage`

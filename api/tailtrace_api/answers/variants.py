"""Which variant of a card works better, and whether that can be told at all. Pure; defined in `docs/definitions.md`.

Of each two variants, the first row that fits:

| users of either | the interval of the difference | verdict |
|---|---|---|
| fewer than `USERS_MIN` | any | too-little-data |
| as many | above 0 | higher |
| as many | below 0 | lower |
| as many | holds 0 | undecided |

A person who saw several variants (two devices, a login in between) tells nothing about either, and is left out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tailtrace_api.answers.panel_records import DividedCard, VariantViews
from tailtrace_api.answers.proportions import newcombe, wilson
from tailtrace_api.answers.record import Record, record
from tailtrace_api.answers.request_records import CardViews
from tailtrace_api.answers.requests import person
from tailtrace_bridge.core.cards import split_endpoint
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.values import LogEntry, Visits

USERS_MIN = 10
"""Of each variant: from fewer no difference is told."""
VARIANTS_MAX = 8
"""Of a card: those with most views, as anyone can write one into a URL."""
_DIGITS = 4


class Viewers(NamedTuple):
    """Who saw one variant: how often it was seen, and when each person saw it first, µs."""

    views: int
    first_us: Mapping[str, int]


Verdict = Literal["too-little-data", "higher", "lower", "undecided"]
Bounds = tuple[float, float]


@record
class Variant(Record):
    """One variant: its views, its users and how many of them used the goal later. `variant` None: views without one.

    `share` is `converted` over `users`, with its 95% `interval`; all three are None where no goal was named.
    """

    variant: str | None
    views: int
    users: int
    converted: int | None
    share: float | None
    interval: Bounds | None


@record
class Comparison(Record):
    """A variant beside the first: the difference of their shares, its 95% interval, and what that tells."""

    variant: str | None
    against: str | None
    difference: float | None
    interval: Bounds | None
    verdict: Verdict
    because: str


@dataclass(frozen=True, slots=True)
class Compared:
    """The variants of a card and their comparisons; `users_of_several` saw more than one, and tell nothing."""

    variants: tuple[Variant, ...]
    users_of_several: int
    users_of_goal: int | None
    comparisons: tuple[Comparison, ...]


def viewers(entries: Iterable[LogEntry]) -> Viewers:
    """Sum up the views of one variant, which come newest first."""
    views, first_us = 0, {}
    for entry in entries:
        if entry.traffic is Traffic.CARD:
            views += 1
            first_us[person(entry.identity)] = entry.time_us
    return Viewers(views, first_us)


def divided(cards: Iterable[CardViews], visits: Iterable[Visits]) -> list[DividedCard]:
    """Add to cards how their views divide: `variants`, most views first, and how many were left out.

    `users` are counted as in `compare`: who saw this variant and no other. `variant` is None for views without one. A
    card that no variant was seen of has none.
    """
    views: dict[str, Counter[str]] = defaultdict(Counter)
    seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for visit in visits:
        if visit.traffic is Traffic.CARD:
            card, variant = split_endpoint(visit.endpoint)
            views[card][variant] += visit.requests
            seen[card][person(visit.identity)].add(variant)
    return [_divided(row, views[row.card], seen[row.card].values()) for row in cards]


def _divided(card: CardViews, views: Mapping[str, int], seen: Iterable[set[str]]) -> DividedCard:
    users = Counter(name for names in seen if len(names) == 1 for name in names)
    names = sorted(views if any(views) else (), key=lambda name: (-views[name], name))
    return DividedCard(
        card=card.card,
        name=card.name,
        views=card.views,
        variants=tuple(
            VariantViews(variant=name or None, views=views[name], users=users[name]) for name in names[:VARIANTS_MAX]
        ),
        variants_left_out=len(names[VARIANTS_MAX:]),
    )


def last_use(entries: Iterable[LogEntry]) -> dict[str, int]:
    """Return when each person last used the goal, µs, of its requests, newest first. Refusals and errors are no use."""
    last_us: dict[str, int] = {}
    for entry in entries:
        if entry.traffic is Traffic.APP and entry.status < 400:
            last_us.setdefault(person(entry.identity), entry.time_us)
    return last_us


def compare(seen: Mapping[str, Viewers], last_us: Mapping[str, int] | None) -> Compared:
    """Set variants beside each other, the first in order of name as the measure of the others.

    `last_us`: who used the goal and when last; None where no goal was named, then only views and users are counted.
    """
    met = Counter(who for one in seen.values() for who in one.first_us)
    rows = tuple(_variant(name, one, met, last_us) for name, one in sorted(seen.items()))
    named = [row for row in rows if row.variant is not None]
    return Compared(
        variants=rows,
        users_of_several=sum(count > 1 for count in met.values()),
        users_of_goal=None if last_us is None else len(last_us),
        comparisons=() if last_us is None else tuple(_comparison(row, named[0]) for row in named[1:]),
    )


def _variant(name: str, one: Viewers, met: Mapping[str, int], last_us: Mapping[str, int] | None) -> Variant:
    mine = {who: at_us for who, at_us in one.first_us.items() if met[who] == 1}
    converted = None if last_us is None else sum(last_us.get(who, -1) > at_us for who, at_us in mine.items())
    return Variant(
        variant=name or None,
        views=one.views,
        users=len(mine),
        converted=converted,
        share=_rounded(converted / len(mine)) if converted is not None and mine else None,
        interval=_interval(wilson(converted, len(mine))) if converted is not None and mine else None,
    )


def _comparison(row: Variant, against: Variant) -> Comparison:
    mine, theirs = row.converted or 0, against.converted or 0
    interval = newcombe(mine, row.users, theirs, against.users) if row.users and against.users else None
    shares = " and ".join(f"{one.converted} of {one.users} with {one.variant}" for one in (row, against))
    verdict: Verdict
    if interval is None or min(row.users, against.users) < USERS_MIN:
        verdict, because = "too-little-data", f"{shares}: each needs {USERS_MIN} users or more"
    else:
        low, high = interval
        verdict = "higher" if low > 0 else "lower" if high < 0 else "undecided"
        because = f"{shares}: the difference is between {100 * low:+.1f} and {100 * high:+.1f} percentage points"
    return Comparison(
        variant=row.variant,
        against=against.variant,
        difference=None if interval is None else _rounded(mine / row.users - theirs / against.users),
        interval=None if interval is None else _interval(interval),
        verdict=verdict,
        because=because,
    )


def _interval(bounds: Bounds) -> Bounds:
    return _rounded(bounds[0]), _rounded(bounds[1])


def _rounded(share: float) -> float:
    return round(share, _DIGITS)

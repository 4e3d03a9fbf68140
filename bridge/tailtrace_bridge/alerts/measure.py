"""The values that rules are judged by, from rollups of the store: what a read costs does not grow with the traffic.

| what | is read from | how often |
|---|---|---|
| rates, silence of an endpoint | the minutes of the window (`Store.recent`) | as `interval_us` says |
| silence of all | the time of the newest row | each round |
| new users, devices | everybody with a name; two hours of rollups by identity if somebody is new | each round |

A value that cannot be told (too little traffic, nothing ever seen) is None.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tailtrace_bridge.alerts.state import hashed
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.store.names import device_key, names_of_now, user_key
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import HOUR_US, By, Filters, Recent, Window

INTERVAL_US_MAX = 300_000_000
ACTIVE_HOURS = 2
"""Who is new must have asked for something within so many hours, or came by an import of an old log."""
_SHARE = 20
_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """A value, and the numbers behind it."""

    value: float | None
    facts: dict[str, object] = field(default_factory=dict)


class Person(NamedTuple):
    """A user or a device."""

    kind: str
    """`new_user` or `new_device`: the kind of rule that tells of it."""
    mark: str
    """What stands for it in the state."""
    same: str
    """Likewise, of its name alone: it was known before its id was."""
    identity: Identity


def interval_us(rule: AlertRule) -> int:
    """Return how long a value of a rule is good: a twentieth of its window, five minutes at most."""
    return min(rule.window * _S // _SHARE, INTERVAL_US_MAX)


def measure(store: Store, rule: AlertRule, was_seen: bool, now_us: int) -> Measured:
    """Measure what a rule on requests asks for. Raises `StoreError`."""
    if rule.kind == "no_data":
        return _age(store.newest_us(Scope.everybody()), rule, was_seen, now_us)
    rank = 0.95 if rule.kind == "p95" else None
    window = Window(now_us - rule.window * _S, now_us)
    recent = store.recent(Scope.everybody(), window, endpoint=rule.endpoint, service=rule.service, rank=rank)
    if rule.kind != "endpoint_silent":
        return _rate(recent, rule)
    if recent.requests:
        return Measured(0.0, {"is_seen": True})
    return Measured(1.0 if was_seen else None)


def _age(newest_us: int | None, rule: AlertRule, was_seen: bool, now_us: int) -> Measured:
    age_s = None if newest_us is None else (now_us - newest_us) / _S
    if age_s is None or (not was_seen and age_s > rule.window):
        return Measured(None)  # a new store, or one that only an import has filled so far
    return Measured(age_s if age_s > rule.window else 0.0, {"is_seen": True})


def _rate(recent: Recent, rule: AlertRule) -> Measured:
    facts: dict[str, object] = {"requests": recent.requests, "errors": recent.errors}
    if recent.requests < rule.min_requests:
        return Measured(None, facts)
    if rule.kind == "p95":
        return Measured(None if recent.quantile_us is None else recent.quantile_us / 1000, facts)
    if rule.kind == "error_rate":
        return Measured(recent.errors / recent.requests, facts)
    facts |= {"bad": recent.down, "minutes": recent.minutes}
    return Measured(100 * (recent.minutes - recent.down) / recent.minutes if recent.minutes else None, facts)


def people(store: Store) -> list[Person]:
    """Return everybody that the store has a name for, under the names of now. Raises `StoreError`."""
    return list(_people(names_of_now(dict(enumerate(store.named(Scope.everybody())))).values()))


def active_marks(store: Store, now_us: int) -> set[str]:
    """Return the marks of who asked for something in the last hours, by whole hours. Raises `StoreError`."""
    usage = store.usage(Scope.everybody(), active_window(now_us), Filters(), By.IDENTITY, listed=())
    return {one.mark for one in _people(usage.identity for usage in usage)}


def active_window(now_us: int) -> Window:
    """Return the hours in which somebody must have asked for something to be here now."""
    hour = now_us // HOUR_US
    return Window((hour - ACTIVE_HOURS + 1) * HOUR_US, (hour + 1) * HOUR_US)


def _people(identities: Iterable[Identity]) -> Iterator[Person]:
    for who in identities:
        if who.user:
            yield Person("new_user", hashed(f"u:{user_key(who)}"), hashed(f"u:{who.user}"), who)
        if who.device:
            yield Person("new_device", hashed(f"d:{device_key(who)}"), hashed(f"d:{who.device}"), who)

"""Where an alert points to: the endpoint, the people and the newest request behind what it tells.

| kind | the requests behind it are |
|---|---|
| `error_rate`, `uptime` | those of the window that ended in 5xx |
| `p95` | those of the window above the threshold |
| `no_data`, `endpoint_silent` | the last ones, of the day before |
| `new_device`, `new_user` | theirs, of the last hours |
| `tailscaled_down`, `store_down` | the last ones, of the hour before: none is to blame, and these are whom it touches |

One read of the newest `LOOKED_AT_MAX` requests at the most: the numbers of an alert are the rule's own.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tailtrace_bridge.settings.alert_rules import PROBES, SILENCES, AlertRule
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, ErrorGroup, Filters, LogEntry, Window

LOOKED_AT_MAX = 300
_S = 1_000_000


class Pointed(NamedTuple):
    """Whom and what it is about, those with the most requests first; the newest request that can be looked at."""

    endpoints: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    trace_id: str = ""
    is_around: bool = False
    """No request is to blame: these are who was there when it began."""


def behind(store: Store, rule: AlertRule, now_us: int) -> Pointed:
    """Return what stands behind a rule that is about to fire. Raises `StoreError`."""
    start_us = now_us - (DAY_US if rule.kind in SILENCES else rule.window * _S)
    status = "5xx" if rule.kind in {"error_rate", "uptime"} else None
    filters = Filters(endpoint=rule.endpoint, service=rule.service, status=status)
    limit = 1 if rule.kind in SILENCES else LOOKED_AT_MAX
    found = store.log(Scope.everybody(), Window(start_us, now_us + 1), filters, limit, None)
    if rule.kind == "p95" and rule.threshold is not None:
        slow_us = rule.threshold * 1000
        found = [one for one in found if (one.request_time_us or 0) > slow_us]
    return _of(found)._replace(is_around=rule.kind in PROBES)


def of_person(store: Store, filters: Filters, window: Window) -> Pointed:
    """Return what somebody who is new asked for. Raises `StoreError`."""
    return _of(store.log(Scope.everybody(), window, filters, LOOKED_AT_MAX, None))._replace(people=())


def of_group(group: ErrorGroup) -> Pointed:
    """Return what a group of errors hit."""
    return Pointed(tuple(group.endpoints), tuple(group.people), group.traces[0][1] if group.traces else "")


def _of(found: Iterable[LogEntry]) -> Pointed:
    endpoints: Counter[str] = Counter()
    people: Counter[str] = Counter()
    traces = []
    for one in found:
        endpoints[one.endpoint] += 1
        people[one.identity.user or one.identity.device or one.identity.address] += 1
        traces.append(one.trace_id)
    newest = next(filter(None, traces), "")
    return Pointed(_names(endpoints), _names(people), newest)


def _names(counted: Counter[str]) -> tuple[str, ...]:
    return tuple(name for name, _ in counted.most_common())

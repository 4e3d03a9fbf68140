"""What alerts told, as an answer: for HTTP, the command line and MCP. The store has it, so every process can tell.

A rule fires while its newest event but `seen` is `started`. The rules are those of the settings of who answers; an
alert of a rule that they lack, as in an `api` without the bridge's file, stands in `active` all the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tailtrace_api.answers.requests import iso
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import EVENTS_MAX, AlertEvent

RECENT_SHOWN = 5


def alerts(store: Store, rules: Sequence[AlertRule], *, limit: int = 100) -> dict[str, Any]:
    """Answer `GET /analytics/alerts`. Raises `StoreError`."""
    events = store.alert_events(Scope.everybody(), EVENTS_MAX)
    active = _active(events)
    return {
        "active": [_shown(event) for event in active.values()],
        "rules": [_rule(rule, active.get(rule.name), events) for rule in rules],
        "events": [_shown(event) for event in events[:limit]],
        "truncated": len(events) > limit,
    }


def summary(store: Store, scope: Scope) -> dict[str, Any]:
    """Return what fires and what was told last, for another answer. Of a member, nothing about who was seen."""
    events = store.alert_events(scope, EVENTS_MAX)
    return {
        "active": [_shown(event) for event in _active(events).values()],
        "recent": [_shown(event) for event in events[:RECENT_SHOWN]],
    }


def in_short(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a `summary` as an assistant gets it: each event in a line."""
    if told is None:
        return None
    return {
        "active": [f"{one['rule']} since {one['time']}: {one['text']}" for one in told["active"]],
        "recent": [f"{one['time']} {one['rule']} {one['what']}: {one['text']}" for one in told["recent"]],
    }


def _active(events: Sequence[AlertEvent]) -> dict[str, AlertEvent]:
    """Return the start of what fires, by rule; `events` are newest first."""
    newest: dict[str, AlertEvent] = {}
    for event in events:
        if event.what != "seen":
            newest.setdefault(event.rule, event)
    return {rule: event for rule, event in newest.items() if event.what == "started"}


def _shown(event: AlertEvent) -> dict[str, Any]:
    return {
        "time": iso(event.time_us),
        "rule": event.rule,
        "kind": event.kind,
        "what": event.what,
        "subject": event.subject or None,
        "value": event.value,
        "text": event.text,
    }


def _rule(rule: AlertRule, start: AlertEvent | None, events: Sequence[AlertEvent]) -> dict[str, Any]:
    last = next((event for event in events if event.rule == rule.name), None)
    return {
        "name": rule.name,
        "kind": rule.kind,
        "window_s": rule.window,
        "threshold": rule.threshold,
        "clear": rule.clear,
        "for_s": rule.hold,
        "min_requests": rule.min_requests,
        "endpoint": rule.endpoint,
        "service": rule.service,
        "quiet": rule.quiet,
        "firing": start is not None,
        "since": iso(start.time_us) if start else None,
        "last_event": iso(last.time_us) if last else None,
    }

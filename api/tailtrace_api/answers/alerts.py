"""What alerts told, as an answer: for HTTP, the command line and MCP. The store has it, so every process can tell.

A rule fires while its newest event but `seen` is `started`. The rules are those of the settings of who answers; an
alert of a rule that they lack, as in an `api` without the bridge's file, stands in `active` all the same.
"""

from collections.abc import Sequence

from tailtrace_api.answers.record import Record, record
from tailtrace_api.answers.requests import iso
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import EVENTS_MAX, AlertEvent
from tailtrace_bridge.texts.reworded import reworded

RECENT_SHOWN = 5


@record
class AlertLine(Record):
    """One event, as it was told. `subject` is the device or the user that was seen, `value` what was measured."""

    time: str
    rule: str
    kind: str
    what: str
    subject: str | None
    value: float | None
    text: str


@record
class RuleState(Record):
    """A rule of the settings, and whether it fires."""

    name: str
    kind: str
    window_s: int
    threshold: float | None
    clear: float | None
    for_s: int
    min_requests: int
    endpoint: str | None
    service: str | None
    quiet: str | None
    firing: bool
    since: str | None
    last_event: str | None


@record
class Alerts(Record):
    """What fires now, the rules with their state, and what was told, newest first."""

    active: tuple[AlertLine, ...]
    rules: tuple[RuleState, ...]
    events: tuple[AlertLine, ...]
    truncated: bool


@record
class AlertsNow(Record):
    """What fires now and what was told last, for another answer."""

    active: tuple[AlertLine, ...]
    recent: tuple[AlertLine, ...]


def alerts(store: Store, rules: Sequence[AlertRule], *, limit: int = 100, lang: str | None = None) -> Alerts:
    """Answer `GET /analytics/alerts`; in the language that was told in, or in `lang`. Raises `StoreError`."""
    events = store.alert_events(Scope.everybody(), EVENTS_MAX)
    active = _active(events)
    return Alerts(
        active=tuple(_line(event, lang) for event in active.values()),
        rules=tuple(_state(rule, active.get(rule.name), events) for rule in rules),
        events=tuple(_line(event, lang) for event in events[:limit]),
        truncated=len(events) > limit,
    )


def summary(store: Store, scope: Scope) -> AlertsNow:
    """Return what fires and what was told last, for another answer. Of a member, nothing about who was seen."""
    events = store.alert_events(scope, EVENTS_MAX)
    return AlertsNow(
        active=tuple(map(_line, _active(events).values())), recent=tuple(map(_line, events[:RECENT_SHOWN]))
    )


def _active(events: Sequence[AlertEvent]) -> dict[str, AlertEvent]:
    """Return the start of what fires, by rule; `events` are newest first."""
    newest: dict[str, AlertEvent] = {}
    for event in events:
        if event.what != "seen":
            newest.setdefault(event.rule, event)
    return {rule: event for rule, event in newest.items() if event.what == "started"}


def _line(event: AlertEvent, lang: str | None = None) -> AlertLine:
    return AlertLine(
        time=iso(event.time_us),
        rule=event.rule,
        kind=event.kind,
        what=event.what,
        subject=event.subject or None,
        value=event.value,
        text=event.text if lang is None else reworded(event.text, event.kind, event.what, lang),
    )


def _state(rule: AlertRule, start: AlertEvent | None, events: Sequence[AlertEvent]) -> RuleState:
    last = next((event for event in events if event.rule == rule.name), None)
    return RuleState(
        name=rule.name,
        kind=rule.kind,
        window_s=rule.window,
        threshold=rule.threshold,
        clear=rule.clear,
        for_s=rule.hold,
        min_requests=rule.min_requests,
        endpoint=rule.endpoint,
        service=rule.service,
        quiet=rule.quiet,
        firing=start is not None,
        since=iso(start.time_us) if start else None,
        last_event=iso(last.time_us) if last else None,
    )

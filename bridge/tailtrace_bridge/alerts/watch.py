"""Judges the rules, round by round, in a thread beside the bridge.

| a round | may fail by | then |
|---|---|---|
| measures: reads of rollups, tailscaled's status | `StoreError` | rules on requests wait; `store_down` knows |
| judges, and writes down what started and ended | a full disk | counted, tried again |
| gives the events to the store | `StoreError` | they wait in the state |
| runs the jobs that are due | anything | logged, counted, tried again in an hour |

An error that nobody expected ends the round, is logged and counted; the next round begins anew. The bridge is another
thread and notices nothing.

| an event | in quiet hours | when they end |
|---|---|---|
| started, still firing | held | told, with since when |
| started and ended within them; ended; seen | held | one message sums these up |
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from tailtrace_bridge.alerts.broken import learn, new_or_back
from tailtrace_bridge.alerts.jobs import RETRY_US, Job
from tailtrace_bridge.alerts.judge import RuleState, judge
from tailtrace_bridge.alerts.measure import Measured, Person, active_marks, active_window, interval_us, measure, people
from tailtrace_bridge.alerts.pointed import Pointed, behind, of_group, of_person
from tailtrace_bridge.alerts.state import KNOWN_MAX, Message, Outbox
from tailtrace_bridge.alerts.words import PEOPLE_TOLD, Words, duration
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.settings.alert_rules import BROKEN, PROBES, SEEN, AlertRule, is_quiet
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import AlertEvent, ErrorGroup, Filters, Window

ABSENT_US_MAX = 600_000_000
"""Who has a name in the store and asked for nothing for so long came by an import: known from now on, and not told."""
BROKEN_US = 3_600_000_000
"""Groups that were seen within it are looked at: a failure joins its group some seconds after its end."""
POINTED_MAX = 20
"""New ones of a round whose requests are looked up."""
_LOGGER = logging.getLogger(__name__)
_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Probes:
    """What is wrong with tailscaled, and with what the bridge stores; empty: nothing."""

    tailscaled: Callable[[], str]
    storing: Callable[[], str]


class Watch:
    """Judges rules over one store. `clock` gives microseconds since the epoch; `send_to` names the destinations."""

    def __init__(
        self,
        rules: Sequence[AlertRule],
        store: Store,
        outbox: Outbox,
        *,
        probes: Probes,
        words: Words,
        zone: ZoneInfo,
        clock: Callable[[], int],
        send_to: Sequence[str] = (),
        quiet: str = "",
        jobs: Sequence[Job] = (),
    ) -> None:
        self.jobs = list(jobs)
        self._rules, self._store, self._outbox = list(rules), store, outbox
        self._probes, self._words, self._zone, self._clock = probes, words, zone, clock
        self._send_to, self._quiet = list(send_to), quiet
        self._due_us: dict[str, int] = {}
        self._absent_since_us: dict[str, int] = {}
        self._pointed: dict[str, Pointed] = {}
        """Of what is about to be told: by a rule's name, or a new person's mark. Read before the lock is taken."""
        self._around: dict[str, Pointed] = {}
        """Who was there of late, by the name of a rule that blames no request: a store that fails says nothing."""
        self._lacks_rules = {rule.name for rule in rules}
        self._has_begun = False
        for rule in rules:
            outbox.state.rules.setdefault(rule.name, RuleState())

    def round(self) -> None:
        """Do all of the above, once."""
        start_us = self._clock()
        try:
            self._round(start_us)
        except Exception:
            self._outbox.counters.failed_rounds += 1
            _LOGGER.exception("a round of alerts failed; the next one begins anew, please report")
        self._outbox.counters.rounds += 1
        self._outbox.counters.round_us = max(0, self._clock() - start_us)

    def _round(self, now_us: int) -> None:
        problem = self._store_problem()
        self._pointed.clear()
        measured = self._measure_all(now_us, problem)
        unknown, active = self._look_for_new() if not problem else ([], set())
        groups = self._look_for_broken(now_us) if not problem else None
        outbox = self._outbox
        with outbox.lock:
            if not self._has_begun:
                self._end_removed_rules(now_us)
            for rule in self._rules:
                if rule.name in measured:
                    self._judge(rule, measured[rule.name], now_us)
            self._meet(unknown, active, now_us)
            if groups is not None:
                self._report_broken(groups, now_us)
            self._report_held(now_us)
            outbox.counters.firing = sum(1 for one in outbox.state.rules.values() if one.firing_since_us)
            outbox.save()
            unstored = list(outbox.state.unstored)
        if unstored and not problem:
            self._store_events(unstored)
        for job in self.jobs:
            self._run_if_due(job, now_us)

    # Measuring: no lock, for a read may take its time.

    def _store_problem(self) -> str:
        try:
            self._store.newest_us(Scope.everybody())
        except StoreError as error:
            return str(error)
        return ""

    def _measure_all(self, now_us: int, problem: str) -> dict[str, Measured]:
        measured: dict[str, Measured] = {}
        for rule in self._rules:
            if rule.kind in SEEN | BROKEN:
                continue
            if rule.kind in PROBES:
                found = (
                    self._probes.tailscaled() if rule.kind == "tailscaled_down" else problem or self._probes.storing()
                )
                measured[rule.name] = Measured(1.0 if found else 0.0, {"problem": found})
                self._look_around(rule, now_us, problem)
                if self._may_start(rule, measured[rule.name].value):
                    self._pointed[rule.name] = self._around.get(rule.name, Pointed())
                continue
            if problem or self._is_early(rule, now_us):
                continue
            try:
                was_seen = self._outbox.state.rules[rule.name].was_seen
                measured[rule.name] = found_now = measure(self._store, rule, was_seen, now_us)
                if self._may_start(rule, found_now.value):
                    self._pointed[rule.name] = behind(self._store, rule, now_us)
            except StoreError as error:
                self._outbox.counters.failed_rounds += 1
                _LOGGER.warning("alert %s cannot be judged: %s", rule.name, error)
                continue
            # While something is about to change, no round is left out: it would lengthen the wait.
            self._due_us[rule.name] = now_us + interval_us(rule)
        return measured

    def _is_early(self, rule: AlertRule, now_us: int) -> bool:
        return now_us < self._due_us.get(rule.name, 0) <= now_us + interval_us(rule)

    def _look_around(self, rule: AlertRule, now_us: int, problem: str) -> None:
        """See who is there, for when the rule fires: the store may not be able to say it then."""
        if problem or self._is_early(rule, now_us):
            return
        try:
            self._around[rule.name] = behind(self._store, rule, now_us)
        except StoreError as error:
            _LOGGER.warning("alert %s cannot name anybody: %s", rule.name, error)
        self._due_us[rule.name] = now_us + interval_us(rule)

    def _may_start(self, rule: AlertRule, value: float | None) -> bool:
        return value is not None and rule.is_bad(value) and not self._outbox.state.rules[rule.name].firing_since_us

    def _look_for_new(self) -> tuple[list[Person], set[str]]:
        kinds = {rule.kind for rule in self._rules} & SEEN
        if not kinds:
            return [], set()
        known = self._outbox.state.known
        found = {one.mark: one for one in people(self._store) if known is None or one.mark not in known}
        unknown = list(found.values())
        active = active_marks(self._store, self._clock()) if unknown and known is not None else set()
        for one in [one for one in unknown if one.mark in active and one.kind in kinds][:POINTED_MAX]:
            who = one.identity
            theirs = Filters(user=who.user) if one.kind == "new_user" else Filters(device=who.device)
            self._pointed[one.mark] = of_person(self._store, theirs, active_window(self._clock()))
        return unknown, active

    def _look_for_broken(self, now_us: int) -> list[ErrorGroup] | None:
        """Return the groups of the last hour; None where nobody wants to know."""
        if not any(rule.kind in BROKEN for rule in self._rules):
            return None
        return self._store.error_groups(Scope.everybody(), Window(now_us - BROKEN_US, now_us))

    # Judging: with the lock, and nothing in it waits.

    def _judge(self, rule: AlertRule, measured: Measured, now_us: int) -> None:
        state = self._outbox.state.rules[rule.name]
        state.was_seen = state.was_seen or "is_seen" in measured.facts
        began_us = state.firing_since_us
        what = judge(rule, state, measured.value, now_us)
        if state.changing_since_us:
            self._due_us.pop(rule.name, None)
        if not what:
            return
        facts: Mapping[str, object] = {**measured.facts, "lasted": duration((now_us - began_us) / _S)}
        event = self._event(rule.name, rule.kind, what, self._words.event(rule, what, measured.value, facts), now_us)
        pointed = self._pointed.get(rule.name, Pointed()) if what == "started" else Pointed()
        self._report(rule, event._replace(value=measured.value), now_us, pointed)

    def _meet(self, unknown: Sequence[Person], active: set[str], now_us: int) -> None:
        """Get to know who is new, and tell of those who are really there."""
        state = self._outbox.state
        if not any(rule.kind in SEEN for rule in self._rules):
            return
        if state.known is None:
            state.known = {mark for one in unknown for mark in (one.mark, one.same)}
            state.learning_since_us = 0 if unknown else now_us
            return
        told: dict[str, list[Person]] = {}
        for one in unknown:
            since_us = self._absent_since_us.setdefault(one.mark, now_us)
            if one.mark not in active and now_us - since_us < ABSENT_US_MAX:
                continue
            del self._absent_since_us[one.mark]
            if one.mark in active and one.same not in state.known and len(state.known) < KNOWN_MAX:
                told.setdefault(one.kind, []).append(one)
        done = [one for one in unknown if one.mark not in self._absent_since_us]
        for rule in self._rules:
            is_learning = state.learning_since_us and now_us - state.learning_since_us < rule.window * _S
            if rule.kind in told and not is_learning:
                self._report_new(rule, told[rule.kind], now_us)
        if len(state.known) < KNOWN_MAX:
            state.known.update(mark for one in done for mark in (one.mark, one.same))

    def _report_broken(self, groups: Sequence[ErrorGroup], now_us: int) -> None:
        state = self._outbox.state
        if state.broken is None:
            state.broken = learn(groups)
            return
        for kind, group in new_or_back(groups, state.broken):
            facts: Mapping[str, object] = {
                "what": f"{group.type} {group.title}".strip(),
                "requests": group.requests,
                "people": group.people_count,
                "hit": ", ".join(list(group.people)[:PEOPLE_TOLD]),
                "trace": self._words.trace(group.traces[0][1] if group.traces else ""),
            }
            for rule in self._rules:
                if rule.kind == kind:
                    event = self._event(rule.name, kind, "seen", self._words.event(rule, "seen", None, facts), now_us)
                    told = of_group(group)._replace(trace_id="")  # its text has people and trace already
                    self._report(rule, event._replace(subject=group.fingerprint), now_us, told)

    def _report_new(self, rule: AlertRule, found: Sequence[Person], now_us: int) -> None:
        events = []
        lines: list[str] = []
        for one in found:
            who = one.identity
            user, device = printable(who.user), printable(who.device)
            both = self._words.say("of", device=device, user=user) if user and device else user or device
            subject = user if rule.kind == "new_user" else device
            text = self._words.event(rule, "seen", None, {"subject": both})
            events.append(self._event(rule.name, rule.kind, "seen", text, now_us)._replace(subject=subject))
            pointed = self._pointed.get(one.mark, Pointed())
            lines += [text, *self._words.pointed(pointed)]
        if is_quiet(self._quiet_of(rule), now_us, self._zone):
            for event, one in zip(events, found, strict=True):
                self._report(rule, event, now_us, self._pointed.get(one.mark, Pointed()))
            return
        for event in events:
            self._note(event)
        body = self._words.message(rule.kind, lines, is_bad=True)
        self._post(self._words.title(rule.name, "seen"), body, now_us, is_bad=True)

    def _report(self, rule: AlertRule, event: AlertEvent, now_us: int, pointed: Pointed) -> None:
        """Note an event and tell it, with where it points to: the history has no names that a member must not see."""
        self._note(event)
        text = "\n".join([event.text, *self._words.pointed(pointed)])
        if is_quiet(self._quiet_of(rule), now_us, self._zone):
            self._outbox.keep(self._outbox.state.held, event._replace(text=text))
        else:
            self._post_event(event, text, now_us)

    def _note(self, event: AlertEvent) -> None:
        """Put an event into the history, the counters and the log."""
        outbox = self._outbox
        setattr(outbox.counters, event.what, getattr(outbox.counters, event.what) + 1)
        outbox.keep(outbox.state.unstored, event)
        level = logging.INFO if event.what == "ended" else logging.WARNING
        _LOGGER.log(level, "alert %s %s: %s", event.rule, event.what, event.text)

    def _report_held(self, now_us: int) -> None:
        """Return what was held for quiet hours that are over."""
        state, rules = self._outbox.state, {rule.name: rule for rule in self._rules}
        over = [
            one
            for one in state.held
            if one.rule not in rules or not is_quiet(self._quiet_of(rules[one.rule]), now_us, self._zone)
        ]
        if not over:
            return
        state.held = [one for one in state.held if one not in over]
        firing = [one for one in over if one.what == "started" and one is _last(over, one.rule)]
        for event in firing:
            first, *lines = event.text.splitlines()
            self._post_event(event, "\n".join([f"{first} {self._words.since(event.time_us)}", *lines]), now_us)
        if rest := [one for one in over if one not in firing]:
            title, body = self._words.quiet(rest)
            self._post(title, body, now_us, is_bad=False)

    def _end_removed_rules(self, now_us: int) -> None:
        """End what fires by a rule that is no longer in the settings: the history must not show it for ever."""
        self._has_begun = True
        states = self._outbox.state.rules
        for name in [name for name in states if name not in self._lacks_rules]:
            if states.pop(name).firing_since_us:
                self._note(self._event(name, "", "ended", self._words.say("removed"), now_us))

    def _event(self, rule: str, kind: str, what: str, text: str, now_us: int) -> AlertEvent:
        """Make an event, which its time names: no two have the same."""
        state = self._outbox.state
        state.last_event_us = max(now_us, state.last_event_us + 1)
        return AlertEvent(state.last_event_us, rule, kind, what, "", None, text)

    def _post_event(self, event: AlertEvent, text: str, now_us: int) -> None:
        is_bad = event.what != "ended"
        body = self._words.message(event.kind, [text], is_bad=is_bad)
        self._post(self._words.title(event.rule, event.what), body, now_us, is_bad=is_bad)

    def _post(self, title: str, body: str, now_us: int, *, is_bad: bool) -> None:
        self._outbox.put(Message(title, body, now_us, is_bad), self._send_to)

    def _quiet_of(self, rule: AlertRule) -> str:
        return self._quiet if rule.quiet is None else rule.quiet

    # What comes after.

    def _store_events(self, events: Sequence[AlertEvent]) -> None:
        try:
            self._store.add_alert_events(events)
        except StoreError as error:
            _LOGGER.warning("%s; %d events of alerts wait", error, len(events))
            return
        with self._outbox.lock:
            state = self._outbox.state
            state.unstored = [one for one in state.unstored if one not in events]
            self._outbox.save()

    def _run_if_due(self, job: Job, now_us: int) -> None:
        outbox = self._outbox
        with outbox.lock:
            due_us = outbox.state.jobs.setdefault(job.name, job.next_us(now_us))
            outbox.save()
        if now_us < max(due_us, self._due_us.get(f"job {job.name}", 0)):
            return
        try:
            message = job.run(due_us)
        except Exception:
            outbox.counters.failed_jobs += 1
            self._due_us[f"job {job.name}"] = now_us + RETRY_US
            _LOGGER.exception("%s failed; trying again in an hour", job.name)
            return
        with outbox.lock:
            if message is not None:
                files = [str(path) for path in message.attachments]
                outbox.put(Message(message.title, message.body, now_us, is_bad=False, attachments=files), self._send_to)
            outbox.state.jobs[job.name] = job.next_us(now_us)
            outbox.save()


def _last(events: Sequence[AlertEvent], rule: str) -> AlertEvent:
    return [one for one in events if one.rule == rule][-1]

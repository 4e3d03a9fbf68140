"""When an alert starts and ends: a state machine for each rule. Pure.

| the rule is | the value | then |
|---|---|---|
| at rest | is bad, for `hold` without a break | **started** |
| firing | is good, for `hold` without a break | **ended** |
| either | neither, or not known (too little traffic, no answer) | it stays, and `hold` begins anew |

Between threshold and clear a value is neither, so one that trembles about the threshold tells nothing. That something
is about to change is forgotten at a restart, that it fires is not.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a bridge without alerts loads no rules
    from tailtrace_bridge.settings.alert_rules import AlertRule


@dataclass(slots=True)
class RuleState:
    """Where a rule stands. Times in µs since the epoch, 0: it is not so."""

    firing_since_us: int = 0
    changing_since_us: int = 0
    """Since when the contrary holds."""
    value: float | None = None
    was_seen: bool = False
    """Of `endpoint_silent`: there was a request once."""


def judge(rule: "AlertRule", state: RuleState, value: float | None, now_us: int) -> str:
    """Take a new value; give `started`, `ended` or nothing."""
    state.value = value
    is_contrary = value is not None and (rule.is_good(value) if state.firing_since_us else rule.is_bad(value))
    if not is_contrary:
        state.changing_since_us = 0
        return ""
    # A clock that was set back begins the wait anew.
    if not state.changing_since_us or state.changing_since_us > now_us:
        state.changing_since_us = now_us
    if now_us - state.changing_since_us < rule.hold * 1_000_000:
        return ""
    state.changing_since_us = 0
    if state.firing_since_us:
        state.firing_since_us = 0
        return "ended"
    state.firing_since_us = now_us
    return "started"

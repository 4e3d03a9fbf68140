"""Messages of alerts: short, with numbers, what to do next, and where to look. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from tailtrace_bridge.alerts.pointed import Pointed
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.store.values import AlertEvent
from tailtrace_bridge.texts.catalogue import Texts

LINES_MAX = 20
"""Of a message that rolls up."""
PEOPLE_TOLD = 3
"""People that an alert names."""


class Words:
    """Writes in one language. `public_url` is where people find the dashboard, or empty."""

    def __init__(self, lang: str, zone: ZoneInfo, public_url: str = "") -> None:
        self.say, self._is_comma = Texts("alerts", lang), lang == "es"
        self._zone, self._url = zone, public_url

    def event(self, rule: AlertRule, what: str, value: float | None, facts: Mapping[str, object]) -> str:
        """Return what happened, in one line. `facts` are the numbers that the text of the kind asks for."""
        text = self.say(
            f"{rule.kind}.{what}",
            value=self.value(rule.kind, value),
            threshold=self.value(rule.kind, rule.threshold),
            window=duration(rule.window),
            **{name: self._shown(fact) if isinstance(fact, str) else fact for name, fact in facts.items()},
        )
        return " ".join([text, *self._scope(rule)])

    def title(self, rule_name: str, what: str) -> str:
        """Return a message's title."""
        return self.say("title", name=rule_name, what=self.say(what))

    def message(self, kind: str, texts: Sequence[str], *, is_bad: bool) -> str:
        """Put a message together: what happened, what to do, where to look."""
        lines = list(texts[:LINES_MAX])
        if len(texts) > LINES_MAX:
            lines.append(self.say("more", count=len(texts) - LINES_MAX))
        if is_bad and f"{kind}.next" in self.say:
            lines.append(self.say(f"{kind}.next"))
        return "\n".join([*lines, self._url] if self._url else lines)

    def trace(self, trace_id: str) -> str:
        """Return where a request is looked at: a link where people find the dashboard, else its trace id."""
        if not trace_id:
            return "-"
        return self._link("request", trace_id) or trace_id

    def pointed(self, pointed: Pointed) -> list[str]:
        """Return what an alert is about, a line each: endpoint, people, newest request; with links if there are any."""
        lines = []
        at, hit = ("around.at", "around.hit") if pointed.is_around else ("at", "hit")
        if pointed.endpoints:
            first = pointed.endpoints[0]
            lines.append(self._line(at, "endpoint", first, self._shown(first), len(pointed.endpoints) - 1))
        if pointed.people:
            told = ", ".join(printable(name, 100) for name in pointed.people[:PEOPLE_TOLD])
            key = "user" if "@" in pointed.people[0] else ""
            lines.append(self._line(hit, key, pointed.people[0], told, len(pointed.people) - PEOPLE_TOLD))
        if pointed.trace_id:
            lines.append(self.say("newest", trace=self.trace(pointed.trace_id)))
        return lines

    def _line(self, text: str, key: str, value: str, shown: str, others: int) -> str:
        said = self.say(text, shown=shown) + (f" {self.say('others', count=others)}" if others > 0 else "")
        link = self._link(key, value) if key else ""
        return f"{said} {link}".rstrip()

    def _link(self, key: str, value: str) -> str:
        return f"{self._url.rstrip('/')}/?{urlencode({key: value})}" if self._url else ""

    def since(self, time_us: int) -> str:
        """Return since when it has been so."""
        return self.say("since", time=self.clock(time_us))

    def quiet(self, events: Sequence[AlertEvent]) -> tuple[str, str]:
        """Roll up what happened in quiet hours: title and body."""
        lines = [f"{self.clock(one.time_us)} {one.rule}: {one.text}" for one in events]
        return self.say("quiet.title", count=len(events)), self.message("", lines, is_bad=False)

    def clock(self, time_us: int) -> str:
        """Return the time of the day."""
        return datetime.fromtimestamp(time_us / 1e6, self._zone).strftime("%H:%M")

    def value(self, kind: str, value: float | None) -> str:
        """Return a value of a kind, with its unit."""
        if value is None:
            return "?"
        if kind == "p95":
            return self._number(f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms")
        if kind == "no_data":
            return duration(value)
        return self._number(f"{100 * value if kind == 'error_rate' else value:.4g}%")

    def _number(self, text: str) -> str:
        return text.replace(".", ",") if self._is_comma else text

    def _shown(self, fact: str) -> str:
        return self.say.named(printable(fact, 300))

    def _scope(self, rule: AlertRule) -> list[str]:
        scope = [("where", {"endpoint": self.say.named(rule.endpoint)})] if rule.endpoint else []
        scope += [("service", {"service": rule.service})] if rule.service else []
        return [self.say(key, **values) for key, values in scope]


def duration(span_s: float) -> str:
    """Return a span of time in its two largest units: `90 s`, `5 min`, `1 h 20 min`, `2 d 3 h`."""
    minutes = round(span_s / 60)
    if span_s < 120:
        return f"{span_s:.0f} s" if span_s % 60 else f"{minutes} min"
    for large, small, names in ((1440, 60, "d h"), (60, 1, "h min")):
        if minutes >= large:
            first, second = names.split()
            rest = minutes % large // small
            return f"{minutes // large} {first}" + (f" {rest} {second}" if rest else "")
    return f"{minutes} min"

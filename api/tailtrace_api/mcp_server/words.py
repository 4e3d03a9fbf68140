"""Values as words for people, in the language set: `2 min ago`, `99.8%`, `1 session`, `234 accesos`. Pure."""

from tailtrace_api.answers.insights import CARD
from tailtrace_bridge.core.text import duration, percentage
from tailtrace_bridge.texts.catalogue import Texts


class Words:
    """Texts of one language, and its forms of values. Raises `ValueError` for a language that we do not speak."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self.say, self._on_page = Texts("mcp", lang), Texts("page", lang)

    def count(self, what: str, number: int) -> str:
        """`1 session`, `2 sessions`."""
        return self.say.count(f"count.{what}", number)

    def kind(self, kind: str) -> str:
        """`service` of `tagged`: an identity's kind, as the page calls it."""
        return self._on_page(f"kind-{kind}")

    def page(self, page: str) -> str:
        """Return what somebody looks at: of a card, which answers call `card: prices`, as the page calls it."""
        name = page.removeprefix(CARD)
        return page if name == page else self._on_page("card-named", name=name)

    def up_to(self, at: str | None) -> str:
        """` up to 2025-10-08 14:32 UTC`, of a time in ISO 8601 and UTC; nothing where the end is now."""
        return "" if at is None else self.say("up_to", at=at[:16].replace("T", " "))

    def ago(self, seconds: float | None) -> str:
        """`2 min ago`."""
        if seconds is None:
            return self.say("unknown")
        return self.say("now") if seconds < 5 else self.say("ago", span=self.span(seconds))

    def span(self, seconds: float) -> str:
        """`12 s`, `2 min`, `3 h`, `4 d`: the largest unit that fits."""
        for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
            if seconds >= size:
                return f"{int(seconds // size)} {unit}"
        return f"{int(seconds)} s"

    def percent(self, value: float | None) -> str:
        """`99.8%` of 99.8; small values keep two decimals."""
        if value is None:
            return self.say("unknown")
        digits = 1 if value >= 1 else 2
        less, shown = percentage(value, digits)
        return f"{less}{round(shown, digits):g}%"

    def millis(self, value: float | None) -> str:
        """`892ms`, `1.34s`, `4.2ms`: the numbers and units of the page."""
        if value is None:
            return self.say("unknown")
        shown, digits, unit = duration(value)
        return f"{shown:.{digits}f}{unit}"

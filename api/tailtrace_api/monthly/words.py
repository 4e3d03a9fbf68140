"""What the monthly report says, and how its languages write numbers and dates (by CLDR, through Babel)."""

from datetime import date, datetime, tzinfo
from typing import Literal

from babel.dates import format_date, format_skeleton, get_day_names
from babel.numbers import format_decimal

from tailtrace_api.monthly.month import Month
from tailtrace_bridge.core.text import duration, percentage, spent
from tailtrace_bridge.texts.catalogue import Texts

_LOCALES = {"en": "en_GB", "es": "es"}
_DAYS = {"en": "EEEE d MMMM", "es": "EEEE d 'de' MMMM"}

NONE = "–"
"""What is not known."""


class Words:
    """One language. Numbers and dates come out as a reader of it writes them."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self._texts = Texts("monthly", lang)
        self._locale = _LOCALES[lang]

    def __call__(self, key: str, **values: str) -> str:
        """Return a text."""
        return self._texts(key, **values)

    def named(self, text: str) -> str:
        """Return a name of an endpoint as the page says it."""
        return self._texts.named(text)

    def count(self, key: str, n: float) -> str:
        """Return a text about so many: `1 request`, `2 requests`."""
        return self._texts.count(key, n, self.number(n))

    def number(self, value: float) -> str:
        """`12345` → `12,345`; fractions keep two digits at most."""
        return str(format_decimal(value, "#,##0.##", locale=self._locale))

    def short(self, value: float) -> str:
        """`12345` → `12k`: for an axis."""
        if value >= 1_000_000:
            return f"{self.number(round(value / 1_000_000, 1))}M"
        return f"{self.number(round(value / 1000, 1))}k" if value >= 10_000 else self.number(value)

    def percent(self, part: float | None, digits: int = 0) -> str:
        """`0.1234` → `12%`, in Spanish `12 %`."""
        if part is None:
            return NONE
        less, shown = percentage(100 * part, digits)
        text = less + format_decimal(shown, "#,##0" + ("." + "#" * digits if digits else ""), locale=self._locale)
        return f"{text}\N{NO-BREAK SPACE}%" if self.lang == "es" else f"{text}%"

    def duration(self, value_ms: float | None) -> str:
        """`83.1` → `83 ms`, `1530` → `1.53 s`, `12345` → `12.3 s`: as the dashboard writes it."""
        if value_ms is None:
            return NONE
        shown, digits, unit = duration(value_ms)
        return f"{self.number(round(shown, digits))}\N{NO-BREAK SPACE}{unit}"

    def hours(self, value: float) -> str:
        """`0.2` → `12 min`, `3.25` → `3 h 15 min`: as the dashboard writes it."""
        words = [word for less, part, unit in spent(value) for word in (less, self.number(part), unit) if word]
        return "\N{NO-BREAK SPACE}".join(words)

    def month(self, month: Month) -> str:
        """`October 2025`, `octubre de 2025`."""
        return str(format_skeleton("yMMMM", month.first, locale=self._locale))

    def month_name(self, month: Month) -> str:
        """`October`, `octubre`: where the year is plain."""
        return str(format_date(month.first, "LLLL", locale=self._locale))

    def day(self, day: date) -> str:
        """`3 October 2025`, `3 de octubre de 2025`."""
        return str(format_date(day, "long", locale=self._locale))

    def short_day(self, day: date) -> str:
        """`Friday 3 October`, `viernes 3 de octubre`."""
        return str(format_date(day, _DAYS[self.lang], locale=self._locale))

    def time(self, time_us: int, zone: tzinfo) -> tuple[str, str]:
        """Return day and time of day."""
        local = datetime.fromtimestamp(time_us / 1e6, zone)
        return self.day(local.date()), f"{local:%H:%M}"

    def moment(self, time_us: int, zone: tzinfo) -> str:
        """`7 Oct, 11:00`, `7 oct, 11:00`: where the year is plain."""
        local = datetime.fromtimestamp(time_us / 1e6, zone)
        return f"{format_skeleton('MMMd', local.date(), locale=self._locale)}, {local:%H:%M}"

    def weekdays(self, width: Literal["abbreviated", "wide"] = "abbreviated") -> list[str]:
        """Return the names of the days, Monday first."""
        names = get_day_names(width, locale=self._locale)
        return [str(names[index]) for index in range(7)]

"""How the terminal writes numbers: as the page does, in either language. Pure."""

from tailtrace_bridge.core.text import duration, percentage, spent

NONE = "–"
"""What is not known."""
_SPANISH = str.maketrans(",.", ".,")


def decimal(value: float, lang: str, digits: int = 0) -> str:
    """`1712.25` → `1,712.25`, in Spanish `1.712,25`; of `digits` behind the point those that say something."""
    text = f"{value:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if digits else text
    return text.translate(_SPANISH) if lang == "es" else text


def milliseconds(value: float | None, lang: str) -> str:
    """`4.25` → `4.2 ms`, `83.1` → `83 ms`, `1530` → `1.53 s`."""
    if value is None:
        return NONE
    shown, digits, unit = duration(value)
    return f"{decimal(shown, lang, digits)} {unit}"


def hours(value: float, lang: str) -> str:
    """`0.2` → `12 min`, `13.7` → `13 h 42 min`."""
    return " ".join(f"{less}{' ' if less else ''}{decimal(part, lang)} {unit}" for less, part, unit in spent(value))


def percent(value: float | None, lang: str) -> str:
    """`99.954` → `99.95%`, in Spanish `99,95 %`."""
    if value is None:
        return NONE
    less, shown = percentage(value, 2)
    return f"{less}{decimal(shown, lang, 2)}{' ' if lang == 'es' else ''}%"

"""How the terminal writes numbers: as the page does, in either language. Pure."""

from tailtrace_bridge.core.text import percentage

NONE = "–"
"""What is not known."""
_SECOND_MS = 1000
_LONG_S = 10
_SHORT_MS = 10
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
    if value >= _SECOND_MS:
        seconds = value / _SECOND_MS
        return f"{decimal(seconds, lang, 1 if seconds >= _LONG_S else 2)} s"
    return f"{decimal(value, lang, 0 if value >= _SHORT_MS else 1)} ms"


def percent(value: float | None, lang: str) -> str:
    """`99.954` → `99.95%`, in Spanish `99,95 %`."""
    if value is None:
        return NONE
    less, shown = percentage(value, 2)
    return f"{less}{decimal(shown, lang, 2)}{' ' if lang == 'es' else ''}%"

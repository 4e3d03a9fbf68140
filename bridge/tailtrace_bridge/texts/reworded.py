"""What an alert told, in another language than that of who gets the messages. Pure.

An event is stored as the text that was told. Each text has the form of its kind, so its values are read out of it and
put into the form of another language:

| in the text | in the other language |
|---|---|
| a number with its unit, `1,5 %`, `812 ms` | its decimal sign is that of the language |
| what fits no route | `otras direcciones`, `other addresses` |
| `DEVICE of USER` | with that language's word |
| times, names, ids, what a daemon said | as they are |

A text that has no form of ours, since an older or newer version wrote it, stays as it is.
"""

import re
from collections.abc import Sequence
from functools import cache

from tailtrace_bridge.core.records import OTHER
from tailtrace_bridge.texts.catalogue import LANGUAGES, Texts, read

_VALUE = re.compile(r"\{(\w+)\}")
_NUMBER = re.compile(r"[\d.,]+(?:e[+-]\d+)?(?:%| ms| s)")
_SCOPES = (("where", "service"), ("where",), ("service",), ())
"""What may stand behind a text. Without any a text fits each, so that comes last."""


def reworded(text: str, kind: str, what: str, lang: str) -> str:
    """Return the text of an event of a kind in a language. Raises `ValueError` for one that we do not speak."""
    say = Texts("alerts", lang)
    key = f"{kind}.{what}" if kind else "removed"
    if key not in say:
        return text
    for spoken in LANGUAGES:
        for scope in _SCOPES:
            keys = (key, *scope)
            found = _values(text, _form(spoken, keys))
            if found is not None:
                values = {name: _value(name, value, spoken, lang) for name, value in found.items()}
                return " ".join(say(one, **values) for one in keys)
    return text


@cache
def _form(lang: str, keys: tuple[str, ...]) -> list[str]:
    """Return the texts of these keys, one behind another, in parts: words, a value's name, words, …, words."""
    texts = read("alerts", lang)
    return _VALUE.split(" ".join(texts[key] for key in keys))


def _values(text: str, form: Sequence[str]) -> dict[str, str] | None:
    """Return the values of a text by name; None: it has another form.

    Each value is as short as can be, so the words between are looked for once. A pattern would try all places for all
    of them, and who names an endpoint or a device could have it do so for long.
    """
    first, last = form[0], form[-1]
    if len(form) == 1:
        return {} if text == first else None
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return None
    values, at, end = {}, len(first), len(text) - len(last)
    for name, words in zip(form[1:-2:2], form[2:-1:2], strict=True):
        place = text.find(words, at, end)
        if place < 0:
            return None
        values[name], at = text[at:place], place + len(words)
    return {**values, form[-2]: text[at:end]}


def _value(name: str, value: str, spoken: str, lang: str) -> str:
    if _NUMBER.fullmatch(value):
        return re.sub(r"[.,]", "," if lang == "es" else ".", value)
    if name == "subject":
        found = _values(value, _form(spoken, ("of",)))
        return value if found is None else Texts("alerts", lang)("of", **found)
    others = read("page", spoken)["other-paths"]
    return value.replace(others, Texts("alerts", lang).named(OTHER)) if name in {"endpoint", "what"} else value

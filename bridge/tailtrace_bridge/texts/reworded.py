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
            if found := _form(spoken, keys).fullmatch(text):
                values = {name: _value(name, value, spoken, lang) for name, value in found.groupdict().items()}
                return " ".join(say(one, **values) for one in keys)
    return text


@cache
def _form(lang: str, keys: tuple[str, ...]) -> re.Pattern[str]:
    """Return what matches the texts of these keys, one behind another, with their values as groups."""
    texts = read("alerts", lang)
    parts = _VALUE.split(" ".join(texts[key] for key in keys))
    return re.compile(
        "".join(f"(?P<{part}>.*?)" if place % 2 else re.escape(part) for place, part in enumerate(parts)), re.DOTALL
    )


def _value(name: str, value: str, spoken: str, lang: str) -> str:
    if _NUMBER.fullmatch(value):
        return re.sub(r"[.,]", "," if lang == "es" else ".", value)
    if name == "subject":
        found = _form(spoken, ("of",)).fullmatch(value)
        return Texts("alerts", lang)("of", **found.groupdict()) if found else value
    others = read("page", spoken)["other-paths"]
    return value.replace(others, Texts("alerts", lang).named(OTHER)) if name in {"endpoint", "what"} else value

"""All texts for people, in every language: a folder for each language here, in it a JSON file for each area.

| area | who reads it |
|---|---|
| `alerts` | who gets a message |
| `login` | who opens a login link; `make web` bundles them |
| `mcp` | the model that a person asks, and the person |
| `monthly` | who gets the monthly report |
| `page`, `widget` | who looks at the page, or at one that has our widget; `make web` bundles them |
| `request` | who has a request open on the page: what words of the server mean; bundled, loaded when first asked for |
| `report` | who runs `tailtrace report` |

A text with a number comes in two forms, `….one` and `….other`. The languages have the same keys with the same values in
them, as a test checks. A new language is a folder, its name in `Lang`, and how it writes numbers where an area says so.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from tailtrace_bridge.core.records import OTHER

Lang = Literal["en", "es"]
LANGUAGES: tuple[str, ...] = get_args(Lang)
Area = Literal["alerts", "login", "mcp", "monthly", "page", "report", "request", "widget"]
_HERE = Path(__file__).parent
_OTHER = re.compile(rf"(?<![\w/=]){OTHER}(?!\w)")
"""As an endpoint, or in the title of what broke at it: no part of a path, nor of a card's name."""


class Texts:
    """The texts of one area in one language. Raises `ValueError` for a language that we do not speak."""

    def __init__(self, area: Area, lang: str) -> None:
        if lang not in LANGUAGES:
            raise ValueError(f"{lang!r} is none of our languages: {', '.join(LANGUAGES)}")
        self._texts, self._lang = read(area, lang), lang

    def __call__(self, key: str, /, **values: object) -> str:
        """Return a text with its values. A value is put in as it is: what stands in it is no format."""
        return self._texts[key].format(**values)

    def count(self, key: str, n: float, shown: str | None = None) -> str:
        """Return a text about so many: `1 request`, `2 requests`. `shown` is the number as it is to be written."""
        return self(f"{key}.{'one' if n == 1 else 'other'}", n=n if shown is None else shown)

    def named(self, text: str) -> str:
        """Return a text with what the page calls the endpoint `OTHER`: it has one name wherever it is read."""
        return _OTHER.sub(lambda _: read("page", self._lang)["other-paths"], text) if OTHER in text else text

    def __contains__(self, key: str) -> bool:
        return key in self._texts


@cache
def read(area: Area, lang: str) -> Mapping[str, str]:
    """Return the texts of an area in a language, by key."""
    texts: dict[str, str] = json.loads((_HERE / lang / f"{area}.json").read_text(encoding="utf-8"))
    return texts

"""Why FastAPI refused a request: which field, and what was wrong with it. Never its value.

| of the first error | is said |
|---|---|
| where it stands: `body`, `query`, `path`, `header`, `cookie` | as it is |
| the field below it, if it is a plain name | as it is; else, or if nobody asked for it, `*` |
| what lies deeper: places in lists, keys that a client may choose | `*` |
| its type, such as `missing`, `int_parsing` | as it is |

So `body.price:missing`, `query.limit:int_parsing`, `body.lines.*:missing`. A process tells `KINDS_MAX` of them apart.
"""

import re
from typing import Any

KINDS_MAX = 200
OTHER = "other:other"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_UNASKED = "extra_forbidden"


class Invalid:
    """Names refusals, and so many of them. Holds no request."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def of(self, error: BaseException | None) -> str:
        """Return what an exception says, if it is FastAPI's of a request that does not fit; else nothing."""
        if type(error).__name__ != "RequestValidationError":
            return ""
        found = list(getattr(error, "errors", list)())
        said = _said(found[0]) if found else ""
        if said in self._known or not said:
            return said
        if len(self._known) >= KINDS_MAX:
            return OTHER
        self._known.add(said)
        return said


def _said(first: Any) -> str:
    kind, place = str(first.get("type", "")), tuple(first.get("loc", ()))
    parts = [_name(one) for one in place[:2]]
    if kind == _UNASKED and len(parts) > 1:
        parts[1] = "*"
    if len(place) > 2:
        parts.append("*")
    return f"{'.'.join(parts)}:{_name(kind)}"


def _name(part: Any) -> str:
    return part if isinstance(part, str) and _NAME.fullmatch(part) else "*"

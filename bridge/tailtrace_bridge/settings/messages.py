"""What is wrong with a setting, in words: its value, and what is accepted in its place. Pure.

| pydantic finds | said is |
|---|---|
| a number that is none, or out of its range | the range; of a duration, in its own units |
| a word that is not one of a few | these |
| a text that does not fit, a list or a table that is none | one that would do |
| a name that is no setting | the nearest that is one |
| what a check of ours finds | its own message, which has all of it |

The value of a secret is not shown, nor an address with a password in it.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tailtrace_bridge.core.text import quoted
from tailtrace_bridge.settings.alert_rules import AlertRule, seconds

EXAMPLES = {
    "admins": '["ana@example.com", "ben@example.com"]',
    "hosts": '["tailtrace.example.ts.net"]',
    "cors_origins": '["https://intranet.example.ts.net"]',
    "health_paths": '["/up", "/ping"]',
    "static_paths": '["/ui/", "/media/"]',
    "features": '{"/route": "name"}',
    "alerts": '[{"kind": "error_rate"}]',
    "public_url": "https://stats.example.ts.net",
}
"""Of settings whose default is none."""
IN_A_FILE = {"features": '[features] and below it "/route" = "name"', "alerts": '[[alerts]] and below it kind = "p95"'}
"""As `tailtrace.toml` writes them, where that is not as JSON does."""
_CHOICE = re.compile(r"\^\(([a-z]+(?:\|[a-z]*)+)\)\$")
_NUMBERS = frozenset({
    "int_parsing", "int_type", "int_from_float", "int_parsing_size", "float_parsing", "float_type", "finite_number",
    "greater_than_equal", "less_than_equal",
})  # fmt: skip
_SHAPES = frozenset({"string_type", "list_type", "dict_type", "string_pattern_mismatch", "path_type"})
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"))


def no_json(field: str, value: str) -> str:
    """Return what a variable should hold that is read as JSON."""
    return f"{quoted(value)} is no JSON; write it like {EXAMPLES[field]}"


def describe(error: ErrorDetails, fields: Mapping[str, FieldInfo], *, is_file: bool) -> str:
    """Return what is wrong with one setting; `fields` are the settings' by name, `is_file`: it stands in the file."""
    kind, location, message = error["type"], error["loc"], error["msg"]
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    is_rule = len(location) > 2 and location[0] == "alerts"
    known = {info.alias or name: info for name, info in AlertRule.model_fields.items()} if is_rule else fields
    if kind == "extra_forbidden":
        return _no_such(str(location[-1]), known, "alerts" if is_rule else "settings")
    if kind == "missing":
        return f"is missing; add it: docs/{'alerts' if is_rule else 'settings'}.md has examples"
    name = str(location[2] if is_rule else location[0]).lower()
    field = known.get(name)
    value = "this value" if field is None or _is_secret(field) else quoted(error["input"])
    accepted = "" if field is None else _accepted(error, name, field, is_file)
    if accepted:
        return f"{value} is not accepted; write {accepted}"
    return f"{value}: {message[:1].lower()}{message[1:]}"


def meant(name: str, known: Iterable[str], page: str) -> str:
    """Return which of the known names is nearest to one that is none, or where they stand."""
    nearest = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {nearest[0]}?" if nearest else f"docs/{page}.md lists them"


def _accepted(error: ErrorDetails, name: str, field: FieldInfo, is_file: bool) -> str:
    """Return what to write; empty: the message says it."""
    kind, said = error["type"], error.get("ctx", {})
    if kind in _NUMBERS:
        return _range(field)
    if kind in {"bool_parsing", "bool_type"}:
        return "true or false"
    if kind == "literal_error":
        return str(said["expected"])
    choice = _CHOICE.fullmatch(said.get("pattern", ""))
    if choice:
        return " or ".join(filter(None, choice[1].split("|")))
    example = _example(name, field, is_file) if kind in _SHAPES or name == "alerts" else ""
    return f"it like {example}" if example else ""


def _no_such(name: str, known: Mapping[str, FieldInfo], page: str) -> str:
    return f"there is no such setting; {meant(name, known, page)}"


def _example(name: str, field: FieldInfo, is_file: bool) -> str:
    if is_file and name in IN_A_FILE:
        return IN_A_FILE[name]
    if not is_file and name in EXAMPLES and "list[str]" in str(field.annotation):
        return ",".join(json.loads(EXAMPLES[name]))
    return EXAMPLES.get(name) or (field.default if isinstance(field.default, str) else "")


def _range(field: FieldInfo) -> str:
    bounds = {key: getattr(one, key) for one in field.metadata for key in ("ge", "le") if hasattr(one, key)}
    low, high = bounds.get("ge"), bounds.get("le")
    if any(getattr(one, "func", None) is seconds for one in field.metadata):
        return f"a duration from {_duration(low)} to {_duration(high)}, such as 90s, 5m, 2h or 1d"
    what = "a whole number" if field.annotation is int else "a number"
    return f"{what} from {low:g} to {high:.10g}" if high is not None else f"{what}, {low or 0:g} or more"


def _duration(value_s: Any) -> str:
    return next((f"{value_s // unit}{name}" for unit, name in _UNITS if value_s and value_s % unit == 0), f"{value_s}s")


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr.__name__ in str(field.annotation)

"""Records as JSON: the schema of a tool's answer, made of the record that it is, the answer as values, and back.

Each tool's schema costs tokens on every conversation: so titles and meanings, which HTTP's document has, stay out, and
a part stands where it is used. The fields of the answer itself that have no default are always there, and others may
be, such as `note`; of the parts this goes without saying, and what is more than `LEVELS` deep is an object, no more.
"""

from typing import Any, TypeVar

from pydantic import TypeAdapter

from tailtrace_api.answers.record import Record

R = TypeVar("R", bound=Record)
Schema = dict[str, Any]
LEVELS = 2
"""The answer, and the rows of its lists or its parts."""


_ADAPTERS: dict[type[Record], TypeAdapter[Any]] = {}
"""By kind: to make one takes longer than to use it."""


def _adapter(kind: type[R]) -> TypeAdapter[R]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def from_json(kind: type[R], body: bytes) -> R:
    """Read an answer of HTTP; fields that it has besides are passed over. Raises pydantic's `ValidationError`."""
    return _adapter(kind).validate_json(body)


def as_values(record: Record) -> Schema:
    """Return the answer as values for JSON, without what has its default."""
    found: Schema = _adapter(type(record)).dump_python(record, mode="json", exclude_defaults=True)
    return found


def output_schema(kind: type[Record]) -> Schema:
    """Return the JSON schema of such an answer."""
    schema = _adapter(kind).json_schema(mode="serialization")
    return _short(schema, schema.get("$defs", {}), LEVELS) | {"required": schema["required"]}


def _short(schema: Schema, parts: dict[str, Schema], levels: int) -> Schema:
    if "$ref" in schema:
        return _short(parts[schema["$ref"].rpartition("/")[2]], parts, levels)
    if "anyOf" in schema:
        return _either([_short(one, parts, levels) for one in schema["anyOf"]])
    kept: Schema = {name: schema[name] for name in ("type", "enum", "const") if name in schema}
    if "properties" in schema and levels:
        inner = {name: _short(one, parts, levels - 1) for name, one in schema["properties"].items()}
        kept["properties"] = inner
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            kept[name] = _short(schema[name], parts, levels)
    return kept


def _either(either: list[Schema]) -> Schema:
    """Return the schema of what is one of these: of one form, if any, of numbers, or null."""
    types = [one["type"] for one in either]
    types = [one for one in types if one != "integer" or "number" not in types]  # each is a number
    (form,) = [one for one in either if one["type"] in types[:1]]
    return form | {"type": types}

"""Records as JSON: the schema of a tool's answer, made of the record that it is, the answer as values, and back.

Each tool's schema costs tokens on every conversation. So it has the answer's own fields and their types, no meanings;
of a part it says no more than that it is an object, of rows that they are a list. HTTP's document, of the same records,
has the rest. All fields are there that have no default; others may be, such as `note`.
"""

from typing import Any, TypeVar

from pydantic import TypeAdapter

from tailtrace_api.answers.record import Record

R = TypeVar("R", bound=Record)
Schema = dict[str, Any]
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
    fields = {name: _field(one) for name, one in schema["properties"].items()}
    return {"type": "object", "properties": fields, "required": schema["required"]}


def _field(schema: Schema) -> Schema:
    if "items" in schema and "$ref" not in schema["items"]:
        return {"type": "array", "items": _field(schema["items"])}
    types = [_type(one) for one in schema.get("anyOf", [schema])]
    return {"type": types if len(types) > 1 else types[0]}


def _type(schema: Schema) -> str:
    found: str = "object" if "$ref" in schema else schema["type"]
    return found

"""The schema of a tool's answer is that of its record, and short; what is as by default is left out of the answer."""

from typing import Literal

from tailtrace_api.answers.record import Record, Window, record
from tailtrace_api.mcp_server.schema import LEVELS, as_values, output_schema
from tailtrace_api.mcp_server.server import _tool_info
from tailtrace_api.mcp_server.tools import TOOLS


@record
class Deep(Record):
    """A part of a part."""

    one: int


@record
class Inner(Record):
    """A part."""

    title: str
    description: int | float | None
    note: str | None = None
    deeper: Deep | None = None


@record
class Outer(Record):
    """A whole."""

    parts: tuple[Inner, ...]
    first: Inner | None
    kind: Literal["a", "b"]
    window: Window
    more: tuple[str, ...] = ()


def test_a_part_stands_where_it_is_used_and_no_word_is_too_many():
    inner = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "description": {"type": ["number", "null"]},
            "note": {"type": ["string", "null"]},
            "deeper": {"type": ["object", "null"]},
        },
    }
    assert output_schema(Outer) == {
        "type": "object",
        "properties": {
            "parts": {"type": "array", "items": inner},
            "first": inner | {"type": ["object", "null"]},
            "kind": {"type": "string", "enum": ["a", "b"]},
            "window": {"type": "object", "additionalProperties": {"type": "string"}},
            "more": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["parts", "first", "kind", "window"],
    }


def test_values_are_as_they_were_given_and_what_is_as_by_default_is_left_out():
    parts = (Inner(title="x", description=1), Inner(title="y", description=1.0, note="z"))
    whole = Outer(parts=parts, first=None, kind="a", window={"from": "f", "to": "t"})
    values = as_values(whole)
    assert values == {
        "parts": [{"title": "x", "description": 1}, {"title": "y", "description": 1.0, "note": "z"}],
        "first": None,
        "kind": "a",
        "window": {"from": "f", "to": "t"},
    }
    assert [type(part["description"]) for part in values["parts"]] == [int, float]


def test_each_tool_says_what_it_answers():
    assert [tool.name for tool in TOOLS if _gaps(_tool_info(tool).output_schema, LEVELS)] == []


def _gaps(schema, levels):
    """Say whether something above the last level may be anything: an object without fields, a list without items."""
    inner = list(schema.get("properties", {}).values())
    lists = [schema[name] for name in ("items", "additionalProperties") if name in schema]
    types = schema.get("type", "object")
    is_open = levels and not inner and not lists and ("object" in types or "array" in types)
    return bool(is_open) or any(_gaps(one, levels - 1) for one in inner) or any(_gaps(one, levels) for one in lists)

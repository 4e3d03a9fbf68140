"""The schema of a tool's answer is that of its record, and short; what is as by default is left out of the answer."""

from tailtrace_api.answers.meaning import Window
from tailtrace_api.answers.record import Record, record
from tailtrace_api.mcp_server.schema import as_values, output_schema


@record
class Inner(Record):
    """A part."""

    title: str
    description: int | float | None
    note: str | None = None


@record
class Outer(Record):
    """A whole."""

    parts: tuple[Inner, ...]
    first: Inner | None
    kind: str | None
    window: Window
    is_whole: bool
    by_name: tuple[dict[str, int], ...]
    more: tuple[str, ...] = ()


def test_a_schema_has_the_fields_of_the_answer_and_no_word_too_many():
    assert output_schema(Outer) == {
        "type": "object",
        "properties": {
            "parts": {"type": "array"},
            "first": {"type": ["object", "null"]},
            "kind": {"type": ["string", "null"]},
            "window": {"type": "object"},
            "is_whole": {"type": "boolean"},
            "by_name": {"type": "array", "items": {"type": "object"}},
            "more": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["parts", "first", "kind", "window", "is_whole", "by_name"],
    }


def test_values_are_as_they_were_given_and_what_is_as_by_default_is_left_out():
    parts = (Inner(title="x", description=1), Inner(title="y", description=1.0, note="z"))
    whole = Outer(
        parts=parts, first=None, kind="a", window={"from": "f", "to": "t"}, is_whole=True, by_name=({"/a": 1},)
    )
    values = as_values(whole)
    assert values == {
        "parts": [{"title": "x", "description": 1}, {"title": "y", "description": 1.0, "note": "z"}],
        "first": None,
        "kind": "a",
        "window": {"from": "f", "to": "t"},
        "is_whole": True,
        "by_name": [{"/a": 1}],
    }
    assert [type(part["description"]) for part in values["parts"]] == [int, float]

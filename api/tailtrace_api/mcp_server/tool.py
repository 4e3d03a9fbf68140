"""What a tool is: a name, its arguments, the shape of its answer, and how a source's answer is shown.

Each answer is shown twice: as values for programs (`structured`, of the tool's output schema), and as a text for
people. A list in it is cut at `limit`; what is cut is said, with how to see more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tailtrace_api.mcp_server.parameters import Parameter
from tailtrace_api.mcp_server.words import Words

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as it goes to the assistant."""

    structured: dict[str, Any]
    lines: list[str]
    shown: int = 0
    total: int = 0
    """Rows of its list, cut or not; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a presenter may know besides the answer."""

    arguments: Fields
    words: Words
    limit: int
    """Rows of the list at most."""


Present = Callable[[Fields, Asked], Shown]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    name: str
    group: str
    """`analytics` or `tailscale`."""
    about: str
    """For the assistant: what it answers, in few words, as each costs on every conversation."""
    question: str
    """What the source is asked."""
    parameters: tuple[Parameter, ...]
    answers: Fields
    """Its output: field → shape, see `shape`."""
    present: Present
    rows: str = ""
    """What its list holds, a word of `words`; empty without one."""
    limit_goes_along: bool = False
    """Whether the source itself is asked for `limit` rows."""


def output_schema(fields: Fields) -> dict[str, Any]:
    """Return the JSON schema of an answer. All of its fields are there, others may be."""
    return {"type": "object", "properties": {name: shape(one) for name, one in fields.items()}, "required": [*fields]}


def shape(one: Any) -> dict[str, Any]:
    """Return the JSON schema of a shape: `"string"`, `"number?"` (or null), `[...]` a list, `{...}` an object."""
    match one:
        case list():
            return {"type": "array", "items": shape(one[0])} if one else {"type": "array"}
        case dict():
            return {"type": "object", "properties": {name: shape(part) for name, part in one.items()}}
    if one.endswith("?"):
        return {"type": [one[:-1], "null"]}
    return {"type": one}

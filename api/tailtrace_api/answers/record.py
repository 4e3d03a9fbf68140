"""What every answer is made of: frozen records. HTTP's response models and MCP's output schemas are made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import ConfigDict, Field

LISTED_MAX = 500
"""Rows of one list in an answer: the first in its order."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Record:
    """An answer or a part of one, to build classes upon. Its schema is made when somebody asks, not at a start."""

    __pydantic_config__: ClassVar[ConfigDict] = {"defer_build": True}


def fields_of(record: Record) -> dict[str, Any]:
    """Return the fields of a record by name, to make another of them. What is within stays as it is."""
    return {one.name: getattr(record, one.name) for one in fields(record)}


def meaning(said: str) -> Any:
    """Say what a field is, for the schema. In `Annotated`."""
    return Field(description=said)


Window = dict[str, str]
"""`from` and `to`, as `iso` writes them."""
Truncated = Annotated[
    dict[str, int],
    meaning("Lists of this answer that were cut: their name, and how many rows there are. Mostly empty."),
]


def cut(rows: Sequence[T]) -> tuple[T, ...]:
    """Cut a list of an answer at `LISTED_MAX`."""
    return tuple(rows[:LISTED_MAX])


def truncated(more: Mapping[str, int] | None = None, /, **lists: Sequence[object]) -> dict[str, int]:
    """Return the length of each list that `cut` cuts; `more` are rows that were not even made."""
    lengths = {name: len(rows) + (more or {}).get(name, 0) for name, rows in lists.items()}
    return {name: length for name, length in lengths.items() if length > LISTED_MAX}

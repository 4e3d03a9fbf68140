"""What every answer is made of: frozen records. HTTP's response models and MCP's output schemas are made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar, dataclass_transform

LISTED_MAX = 500
"""Rows of one list in an answer: the first in its order."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Record:
    """An answer or a part of one, to build classes upon. Its schema is made when somebody asks, not at a start."""

    __pydantic_config__: ClassVar[Mapping[str, bool]] = {"defer_build": True}

    def __eq__(self, other: object) -> bool:
        """Compare like a dataclass."""
        return type(other) is type(self) and fields_of(other) == fields_of(self)

    def __hash__(self) -> int:
        """Hash what is compared."""
        return hash(tuple(fields_of(self).values()))

    def __repr__(self) -> str:
        """Show like a dataclass."""
        return f"{type(self).__name__}({', '.join(f'{name}={one!r}' for name, one in fields_of(self).items())})"


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(kind: type[T]) -> type[T]:
    """Make a class a record. What `Record` does for all of them is not made for each, which takes a start its time."""
    return dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)(kind)


def fields_of(one: Record) -> dict[str, Any]:
    """Return the fields of a record by name, to make another of them. What is within stays as it is."""
    return {field.name: getattr(one, field.name) for field in fields(one)}


def cut(rows: Sequence[T]) -> tuple[T, ...]:
    """Cut a list of an answer at `LISTED_MAX`."""
    return tuple(rows[:LISTED_MAX])


def truncated(more: Mapping[str, int] | None = None, /, **lists: Sequence[object]) -> dict[str, int]:
    """Return the length of each list that `cut` cuts; `more` are rows that were not even made."""
    lengths = {name: len(rows) + (more or {}).get(name, 0) for name, rows in lists.items()}
    return {name: length for name, length in lengths.items() if length > LISTED_MAX}

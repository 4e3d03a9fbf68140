"""What a tool is: a name, its arguments, what its source answers, and how that is shown.

Each answer is shown twice: as a record for programs (`structured`, whose schema is the tool's), and as a text for
people. A list in it is cut at `limit`; what is cut is said, with how to see more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tailtrace_api.answers.record import Record
from tailtrace_api.mcp_server.parameters import Parameter
from tailtrace_api.mcp_server.words import Words

A = TypeVar("A", bound=Record)
S = TypeVar("S", bound=Record)


@dataclass(frozen=True, slots=True)
class Rendered(Generic[S]):
    """An answer as it goes to the assistant."""

    structured: S
    lines: list[str]
    shown: int = 0
    total: int = 0
    """Rows of its list, cut or not; 0 where there is none."""
    is_empty: bool = False
    """Nothing was asked for in the window: whoever calls the tool says where there is something."""
    note: str = ""
    """What a program must know besides; of a list that is cut it is made by whoever calls the tool."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a presenter may know besides the answer."""

    arguments: Mapping[str, Any]
    words: Words
    limit: int
    """Rows of the list at most."""

    @property
    def until(self) -> str:
        """Where the window ends; nothing where that is now."""
        return self.words.up_to(self.arguments.get("at"))

    def days(self, count: int) -> str:
        """`7 days`, and where they end."""
        return self.words.count("days", count) + self.until


@dataclass(frozen=True, slots=True)
class Tool(Generic[A, S]):
    """One tool."""

    name: str
    group: str
    """`analytics` or `tailscale`."""
    about: str
    """For the assistant: what it answers, in few words, as each costs on every conversation."""
    answer: type[A]
    """What the source is asked for."""
    parameters: tuple[Parameter, ...]
    output: type[S]
    """Its output."""
    present: Callable[[A, Call], Rendered[S]]
    rows: str = ""
    """What its list holds, a word of `words`; empty without one."""
    limit_goes_along: bool = False
    """Whether the source itself is asked for `limit` rows."""


AnyTool = Tool[Any, Any]

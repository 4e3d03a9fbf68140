"""What a tool may be asked with: one table makes its JSON schema, the check and the message for whoever got it wrong.

A check never guesses: `"7"` for a number is taken, since clients send it; anything else is told the right form.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tailtrace_bridge.core.text import parse_address
from tailtrace_bridge.core.times import parse_time

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
"""Times are counted from here."""


class WrongArgumentError(ValueError):
    """An argument that cannot be used. The message says the right form."""


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number from `low` to `high`."""

    name: str
    default: int
    low: int
    high: int
    about: str = ""

    @property
    def required(self) -> bool:
        """Never: it has a default."""
        return False

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        about = {"description": self.about} if self.about else {}
        return {"type": "integer", "default": self.default, "minimum": self.low, "maximum": self.high, **about}

    def check(self, value: object) -> int:
        """Return the number. Raises `WrongArgumentError`."""
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise WrongArgumentError(
                f"{self.name}: {_quoted(value)} is wrong; give a whole number from {self.low} to {self.high}, such as "
                f'{{"{self.name}": {self.default}}}'
            )
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a form."""

    name: str
    form: str
    """A regular expression that all of it must fit."""
    example: str
    about: str = ""
    required: bool = False
    length_max: int = 256

    @property
    def default(self) -> None:
        """Return None: it was not given."""
        return

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        return {"type": "string", **({"description": self.about} if self.about else {})}

    def check(self, value: object) -> str:
        """Return the text. Raises `WrongArgumentError`."""
        if not isinstance(value, str) or len(value) > self.length_max or not re.fullmatch(self.form, value):
            raise WrongArgumentError(
                f"{self.name}: {_quoted(value)} is wrong; give {self.about or 'a text'}, such as "
                f'{{"{self.name}": "{self.example}"}}'
            )
        return value


@dataclass(frozen=True, slots=True)
class Address(Text):
    """An IP address without a port."""

    def check(self, value: object) -> str:
        """Return the address as it is usually written. Raises `WrongArgumentError`."""
        text = Text.check(self, value)
        parsed = parse_address(text)
        if parsed is None:
            raise WrongArgumentError(
                f"{self.name}: {_quoted(text)} is no address; give {self.about}, such as "
                f'{{"{self.name}": "{self.example}"}}'
            )
        return str(parsed)


@dataclass(frozen=True, slots=True)
class Moment(Text):
    """A time as answers write it; without a zone it is UTC."""

    def check(self, value: object) -> str:
        """Return the time in UTC. Raises `WrongArgumentError`."""
        text = Text.check(self, value)
        try:
            parsed = parse_time(text).astimezone(UTC)
        except (ValueError, OverflowError):
            parsed = None
        if parsed is None or parsed < _FIRST:
            raise WrongArgumentError(
                f"{self.name}: {_quoted(text)} is no time; give {self.about}, such as "
                f'{{"{self.name}": "{self.example}"}}'
            )
        return parsed.isoformat()


Parameter = Number | Text


def schema(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments."""
    required = [one.name for one in parameters if one.required]
    return {
        "type": "object",
        "properties": {one.name: one.schema() for one in parameters},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def check(tool: str, parameters: Sequence[Parameter], given: Mapping[str, object]) -> dict[str, Any]:
    """Return the arguments with their defaults; one that was not given and has none is left out.

    Raises `WrongArgumentError`.
    """
    known = {one.name: one for one in parameters}
    for name in given:
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no arguments"
            raise WrongArgumentError(f"{tool} has no argument {_quoted(name)}; it {takes}")
    checked: dict[str, Any] = {}
    for name, one in known.items():
        value = given.get(name)
        if value is not None:
            checked[name] = one.check(value)
        elif one.required:
            assert isinstance(one, Text)
            raise WrongArgumentError(f'{tool} needs {name}: {one.about}, such as {{"{name}": "{one.example}"}}')
        elif one.default is not None:
            checked[name] = one.default
    return checked


def _quoted(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:60] + "…"

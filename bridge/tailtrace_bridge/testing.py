"""Fakes of the bridge's seams, for our own tests and for those of its users."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tailtrace_bridge.identity.chain import Answer, NotFound


@dataclass(slots=True)
class FakeClock:
    """A clock that stands still until it is told: microseconds."""

    now_us: int = 0

    def __call__(self) -> int:
        """Return the time."""
        return self.now_us


@dataclass(slots=True)
class FakeProvider:
    """An `IdentityProvider` that answers from a table, and remembers what it was asked.

    `answers` may be changed while it is in use; an address that is not in it gets `default`.
    """

    name: str = "fake"
    answers: Mapping[str, Answer] = field(default_factory=dict)
    default: Answer = field(default_factory=NotFound)
    asked: list[str] = field(default_factory=list)

    def whois(self, address: str) -> Answer:
        """Answer from the table."""
        self.asked.append(address)
        return self.answers.get(address, self.default)

"""Lines whose holder cannot be told yet wait, some of them and for some time; then they go on as they are. Pure.

| the line | goes on |
|---|---|
| needs nobody to tell (`waits` says no) | at once |
| waits for tailscaled, or for the change of hands that may be under way | as soon as `waits` says no |
| is one too many (`LINES_MAX`) | the one that waits longest goes on; counted |

How long something may wait is for `waits` to say.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tailtrace_bridge.core.records import Access
from tailtrace_bridge.rows.join import Joined

LINES_MAX = 10_000
T = TypeVar("T")


@dataclass(slots=True)
class HoldCounters:
    """What happened so far."""

    held: int = 0
    """Lines that had to wait to be named."""
    over_limit: int = 0
    """Lines that went on early because too many waited."""


class Hold(Generic[T]):
    """Lets lines wait. `waits` takes a line and the time now, µs since the epoch."""

    def __init__(self, waits: Callable[[Access, int], bool], *, lines_max: int = LINES_MAX) -> None:
        self.counters = HoldCounters()
        self._waits = waits
        self._lines_max = lines_max
        self._held: deque[Joined[T]] = deque()

    def add(self, joined: list[Joined[T]], now_us: int) -> list[Joined[T]]:
        """Return those that go on now."""
        going = []
        for one in joined:
            if not self._waits(one[0], now_us):
                going.append(one)
                continue
            self.counters.held += 1
            self._held.append(one)
            if len(self._held) > self._lines_max:
                self.counters.over_limit += 1
                going.append(self._held.popleft())
        return going

    def release(self, now_us: int) -> list[Joined[T]]:
        """Return those that have waited enough."""
        if not self._held:
            return []
        going: list[Joined[T]] = []
        still: deque[Joined[T]] = deque()
        for one in self._held:
            (still if self._waits(one[0], now_us) else going).append(one)
        self._held = still
        return going

    def clear(self) -> None:
        """Forget what waits: it is read again."""
        self._held.clear()

    def __len__(self) -> int:
        return len(self._held)

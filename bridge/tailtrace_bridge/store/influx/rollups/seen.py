"""Which requests there were, where they may be 100,000: numbers side by side, 12 bytes a request.

As tuples in a set they would take 200. They are looked for by second, and what is asked about is of few seconds.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TypeVar

SECOND_US = 1_000_000
Name = tuple[int, int]
"""A request: its time, µs, and key."""
T = TypeVar("T")


class Seen:
    """Grows by names."""

    def __init__(self) -> None:
        self.count = 0
        self._seconds: defaultdict[int, tuple[array[int], array[int]]] = defaultdict(lambda: (array("I"), array("q")))
        """The µs of requests in their second, and their keys."""

    def of(self, second: int) -> Iterator[Name]:
        """Return the names of one second since the epoch."""
        begin_us = second * SECOND_US
        for within_us, key in zip(*self._seconds.get(second, ((), ())), strict=True):
            yield begin_us + within_us, key

    def add(self, name: Name) -> None:
        """Take a name, which may be here."""
        second, within_us = divmod(name[0], SECOND_US)
        of_second = self._seconds[second]
        of_second[0].append(within_us)
        of_second[1].append(name[1])
        self.count += 1

    def new(self, things: Iterable[T], name_of: Callable[[T], Name]) -> Iterator[T]:
        """Return the things whose name is not here, each name once; quick where they come nearly in order of time."""
        for second, of_second in groupby(things, lambda thing: name_of(thing)[0] // SECOND_US):
            known = set(self.of(second))
            for thing in of_second:
                if (name := name_of(thing)) not in known:
                    known.add(name)
                    yield thing

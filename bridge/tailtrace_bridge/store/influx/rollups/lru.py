"""What was made of points, for who asks again: bounded, and never old.

A name says of what a thing was made, down to when that was written. So what has changed since has another name, is not
found, and is made anew; the rest is not read twice, by the verbs of one answer nor by the answers of a day. What has
not been asked for longest goes first. Safe to share between threads.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class LruCache(Generic[T]):
    """Keeps things up to a weight, all together."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max, self._weight = weight_max, 0
        self._things: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: Hashable) -> T | None:
        """Return what has this name."""
        with self._lock:
            if (found := self._things.get(name)) is None:
                return None
            self._things.move_to_end(name)
            return found[0]

    def put(self, name: Hashable, thing: T, weight: int) -> None:
        """Keep a thing; what is heavier than all may be together is not kept."""
        if weight > self._weight_max:
            return
        with self._lock:
            self._weight += weight - self._things.pop(name, (None, 0))[1]
            self._things[name] = (thing, weight)
            while self._weight > self._weight_max:
                self._weight -= self._things.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Keep nothing: a person is forgotten."""
        with self._lock:
            self._things.clear()
            self._weight = 0

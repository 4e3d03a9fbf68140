"""Remember one answer of the control API, and load it once for all who ask.

| the answer we have | the load | given |
|---|---|---|
| younger than `fresh_us` | not made | that answer |
| older, or none | works | the new one |
| older, but not than `stale_us` | fails | the old one, `stale`, with its age and the reason |
| older still, or none | fails | the error |

After a load that failed none is made for `RETRY_US`; who asks meanwhile gets what the last two lines say.
One load at a time: who asks during it waits for it. A caller that is cancelled leaves the load to the next one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from tailtrace_bridge.core.errors import ControlApiError

FRESH_US = 300_000_000
RETRY_US = 30_000_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Aged(Generic[T]):
    """An answer, how old it is, and whether it is older than it should be and why."""

    value: T
    loaded_us: int
    age_us: int
    stale: bool = False
    reason: str = ""


class Cache(Generic[T]):
    """One answer. `clock` gives microseconds."""

    def __init__(
        self,
        load: Callable[[], Awaitable[T]],
        *,
        clock: Callable[[], int],
        stale_us: int,
        fresh_us: int = FRESH_US,
        retry_us: int = RETRY_US,
    ) -> None:
        self.loads = 0
        self.stale_answers = 0
        self._load = load
        self._clock = clock
        self._stale_us = stale_us
        self._fresh_us = fresh_us
        self._retry_us = retry_us
        self._lock = anyio.Lock()
        self._kept: tuple[T, int] | None = None
        self._failure: ControlApiError | None = None
        self._failed_us = 0

    async def get(self) -> Aged[T]:
        """Return the answer by the table above. Raises `ControlApiError`."""
        answer = self.peek()
        if answer is not None and answer.age_us < self._fresh_us:
            return answer
        async with self._lock:
            # Whoever had the lock before may have loaded it.
            answer = self.peek()
            if answer is not None and answer.age_us < self._fresh_us:
                return answer
            if self._failure is None or self._clock() - self._failed_us >= self._retry_us:
                await self._renew()
            return self._best()

    def peek(self) -> Aged[T] | None:
        """Return what is here, of whatever age, without a load."""
        if self._kept is None:
            return None
        value, loaded_us = self._kept
        return Aged(value, loaded_us, max(0, self._clock() - loaded_us))

    async def _renew(self) -> None:
        self.loads += 1
        try:
            value = await self._load()
        except ControlApiError as failure:
            self._failure, self._failed_us = failure, self._clock()
        else:
            self._kept, self._failure = (value, self._clock()), None

    def _best(self) -> Aged[T]:
        answer = self.peek()
        if self._failure is None:
            assert answer is not None
            return answer
        if answer is None or answer.age_us > self._stale_us:
            raise self._failure.with_traceback(None)
        self.stale_answers += 1
        return Aged(answer.value, answer.loaded_us, answer.age_us, stale=True, reason=str(self._failure))

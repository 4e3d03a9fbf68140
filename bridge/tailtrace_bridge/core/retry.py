"""Try again what may yet succeed, until time is up: waits that double, half of each by chance, or as long as asked."""

from collections.abc import Callable
from typing import NamedTuple

from tenacity import RetryCallState, Retrying, retry_if_exception_type


class TryAgainError(Exception):
    """May succeed later. `retry_after_s`: how long the other side wants to be left alone; None: it did not say."""

    def __init__(self, said: str, retry_after_s: float | None) -> None:
        super().__init__(said)
        self.retry_after_s = retry_after_s


class Pace(NamedTuple):
    """The first wait and the longest, s; the clock, what sleeps, and a number from 0 to 1 that spreads the waits."""

    first_s: float
    longest_s: float
    monotonic_s: Callable[[], float]
    sleep: Callable[[float], object]
    jitter: Callable[[], float]


def retrying(pace: Pace, until_s: Callable[[], float], say: Callable[[TryAgainError], object]) -> Retrying:
    """Return what calls a function until it raises no `TryAgainError`, or the next call would come after `until_s`.

    The last error is raised then. `say` is called before each wait; `until_s` is asked each time, by the same clock.
    """

    def wait_s(state: RetryCallState) -> float:
        asked_s = _failure(state).retry_after_s
        backoff_s = min(pace.longest_s, pace.first_s * 2.0 ** (state.attempt_number - 1))
        return backoff_s * (0.5 + pace.jitter() / 2) if asked_s is None else asked_s

    return Retrying(
        sleep=pace.sleep,  # type: ignore[arg-type]  # what it returns does not matter
        wait=wait_s,
        stop=lambda state: pace.monotonic_s() + state.upcoming_sleep > until_s(),
        retry=retry_if_exception_type(TryAgainError),
        before_sleep=lambda state: say(_failure(state)),  # type: ignore[arg-type]
        reraise=True,
    )


def _failure(state: RetryCallState) -> TryAgainError:
    failure = state.outcome.exception() if state.outcome else None
    assert isinstance(failure, TryAgainError)
    return failure

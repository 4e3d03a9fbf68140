"""Whether the store answers, asked so that nobody waits long: what asks (Docker, a load balancer) has little patience.

A store that hangs keeps one thread at most: who asks meanwhile waits for the same answer.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from tailtrace_bridge.core.errors import StoreError

ANSWER_S_MAX = 3.0
"""The health checks of docker-compose.yml wait for 4 s."""


class TimelyCheck:
    """Calls `check`, and raises `StoreError` where it raises, or takes longer than `ANSWER_S_MAX`."""

    def __init__(self, check: Callable[[], object]) -> None:
        self._check = check
        self._lock = threading.Lock()
        self._asked: Future[object] | None = None

    def __call__(self) -> None:
        """Ask."""
        try:
            self._ask().result(ANSWER_S_MAX)
        except TimeoutError:
            raise StoreError(f"the store gave no answer within {ANSWER_S_MAX:g} s") from None

    def _ask(self) -> Future[object]:
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                threading.Thread(target=self._run, args=(self._asked,), name="ready", daemon=True).start()
            return self._asked

    def _run(self, asked: Future[object]) -> None:
        try:
            asked.set_result(self._check())
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            asked.set_exception(error)

"""The identity provider `control`: who has an address, by an index of devices that a thread renews.

| the index | `whois` |
|---|---|
| not loaded yet | unavailable, with the reason |
| has the address | found |
| has not, or several devices list it | not found |
| older than `REFRESH_S` + `stale_us`: the API has not answered for that long | unavailable, with the reason |

`whois` is a lookup in a dict and never waits. The thread loads the index every `REFRESH_S`, and `RETRY_S` after a load
that failed. A device that takes over an address is known by its new name after the next load; LocalAPI, which comes
first in the chain, knows at once.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from tailtrace_bridge.core.errors import ControlApiError
from tailtrace_bridge.identity.chain import Answer, Unavailable
from tailtrace_bridge.identity.control.devices import PROVIDER, DeviceIndex, Holder
from tailtrace_bridge.identity.control.lookups import STALE_US, DeviceSource
from tailtrace_bridge.identity.control.transport import TransportCounts

REFRESH_S = 300.0
RETRY_S = 30.0
JOIN_S = 2.0

_log = logging.getLogger(__name__)


class DeviceIndexProvider:
    """The provider. `open_source` is called in its thread; `clock` gives microseconds since the epoch."""

    name = PROVIDER

    def __init__(
        self,
        open_source: Callable[[], DeviceSource],
        *,
        clock: Callable[[], int],
        stale_us: int = STALE_US,
        refresh_s: float = REFRESH_S,
        retry_s: float = RETRY_S,
        on_load: Callable[[DeviceIndex], None] = lambda _index: None,
        client_counts: TransportCounts | None = None,
    ) -> None:
        self.client_counts = client_counts
        """Of the calls that the source makes; None where it counts none."""
        self.loads = 0
        self.failures = 0
        self.on_load = on_load
        """What is told of each list, in the thread."""
        self.problem = "the list of devices is not loaded yet; start() loads it"
        """What the last load failed with, or empty."""
        self._open_source = open_source
        self._clock = clock
        self._valid_us = int(refresh_s * 1_000_000) + stale_us
        self._refresh_s = refresh_s
        self._retry_s = retry_s
        # Replaced as a whole by the thread: a reader sees the old index or the new one.
        self._index: DeviceIndex | None = None
        self._first_load = threading.Event()
        self._running: tuple[threading.Thread, asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None

    def start(self) -> None:
        """Begin to load, in a thread that does not keep the program alive. A second call does nothing."""
        if self._running is None:
            loop = asyncio.new_event_loop()
            task = loop.create_task(self._renew())
            thread = threading.Thread(target=_run, args=(loop, task), name="control-devices", daemon=True)
            self._running = thread, loop, task
            thread.start()

    def close(self) -> None:
        """End the thread, in the middle of a load too. A closed provider stays closed."""
        if self._running is not None:
            thread, loop, task = self._running
            with suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(task.cancel)
            thread.join(JOIN_S)
            self._running = None

    def wait_loaded(self, timeout_s: float) -> bool:
        """Wait until the first load has ended, well or not; for `import` and `whois`, never for the pipeline."""
        return self._first_load.wait(timeout_s)

    def whois(self, address: str) -> Answer:
        """Return who has `address`: the table above."""
        index = self.usable_index()
        if isinstance(index, Unavailable):
            return index
        return index.whois(address)

    def holder_at(self, address: str, time_us: int) -> Holder:
        """Return who had `address` at `time_us`, microseconds since the epoch: see `DeviceIndex.holder_at`."""
        index = self.usable_index()
        return Holder(None, index.reason) if isinstance(index, Unavailable) else index.holder_at(address, time_us)

    def usable_index(self) -> DeviceIndex | Unavailable:
        """Return the index, if it is not too old."""
        index = self._index
        if index is None:
            return Unavailable(self.problem)
        if self._clock() - index.as_of_us > self._valid_us:
            return Unavailable(f"the list of devices is too old: {self.problem or 'its thread has stopped'}")
        return index

    async def _renew(self) -> None:
        source = self._open_source()
        try:
            while True:
                loaded = await self._load(source)
                self._first_load.set()
                await asyncio.sleep(self._refresh_s if loaded else self._retry_s)
        finally:
            await source.aclose()

    async def _load(self, source: DeviceSource) -> bool:
        self.loads += 1
        try:
            devices = await source.load_devices()
        except Exception as error:  # noqa: BLE001 - the thread must outlive what it did not foresee
            # Of an error that is not ours only the kind: its text might quote a header.
            self.problem = str(error) if isinstance(error, ControlApiError) else f"a defect: {type(error).__name__}"
            self.failures += 1
            _log.warning("control: no list of devices: %s", self.problem)
            return False
        index = DeviceIndex(devices, as_of_us=self._clock())
        self.on_load(index)
        self._index = index
        self.problem = ""
        return True


def _run(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]") -> None:
    try:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
    finally:
        loop.close()

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
from urllib.parse import urlsplit

from tailtrace_bridge.core.errors import ControlApiError, SettingsError
from tailtrace_bridge.identity.chain import Answer, Unavailable
from tailtrace_bridge.identity.control.auth import OAuthClient
from tailtrace_bridge.identity.control.client import TailscaleClient
from tailtrace_bridge.identity.control.devices import PROVIDER, DeviceIndex, Holder
from tailtrace_bridge.identity.control.headscale import HeadscaleClient
from tailtrace_bridge.identity.control.lookups import STALE_US, DeviceSource
from tailtrace_bridge.identity.control.transport import TransportCounts
from tailtrace_bridge.settings.table import Settings

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
        client_counts: TransportCounts | None = None,
    ) -> None:
        self.client_counts = client_counts
        """Of the calls that the source makes; None where it counts none."""
        self.loads = 0
        self.failures = 0
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
        """Say who has `address`: the table above."""
        index = self.usable_index()
        if isinstance(index, Unavailable):
            return index
        return index.whois(address)

    def holder_at(self, address: str, time_us: int) -> Holder:
        """Say who had `address` at `time_us`, microseconds since the epoch: see `DeviceIndex.holder_at`."""
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
        self._index = DeviceIndex(devices, as_of_us=self._clock())
        self.problem = ""
        return True


def _run(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]") -> None:
    try:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
    finally:
        loop.close()


def make_client(settings: Settings, clock: Callable[[], int]) -> TailscaleClient | HeadscaleClient | None:
    """Make the client that the settings name; None: they name no key. Raises `SettingsError` or `BadKeyError`.

    Where `TAILTRACE_CONTROL` is empty, it is Headscale if the URL is not Tailscale's and the key does not look like
    Tailscale's (`tskey-…`).
    """
    key = settings.secret("tailscale_api_key")
    secret = settings.secret("tailscale_oauth_client_secret")
    client_id_secret = settings.secret("tailscale_oauth_client_id")
    client_id = client_id_secret.get_secret_value() if client_id_secret is not None else ""
    if bool(secret) != bool(client_id):
        raise SettingsError("TAILSCALE_OAUTH_CLIENT_ID and TAILSCALE_OAUTH_CLIENT_SECRET go together; set both")
    if key and secret:
        raise SettingsError("TAILSCALE_API_KEY and an OAuth client are both set; keep one")
    url, stale_us = settings.tailscale_api_url, settings.control_stale_s * 1_000_000
    if not key and not secret:
        return None
    foreign = not (urlsplit(url).hostname or "").endswith("tailscale.com")
    looks_foreign = foreign and key is not None and not key.get_secret_value().startswith("tskey-")
    if settings.control == "headscale" or (not settings.control and looks_foreign):
        if key is None or not foreign:
            raise SettingsError("Headscale needs its URL in TAILSCALE_API_URL and its key in TAILSCALE_API_KEY")
        return HeadscaleClient(key, base_url=url, clock=clock, stale_us=stale_us)
    oauth = OAuthClient(client_id, secret, clock=clock) if secret else None
    return TailscaleClient(key, settings.tailnet, oauth=oauth, base_url=url, clock=clock, stale_us=stale_us)


def make_device_provider(settings: Settings, clock: Callable[[], int]) -> DeviceIndexProvider | None:
    """Make the provider that the settings ask for, not started yet; None: they name no key.

    `clock` gives microseconds since the epoch. Raises `SettingsError` where the settings contradict each other.
    """
    try:
        client = make_client(settings, clock)
    except ControlApiError as error:
        raise SettingsError(str(error)) from None
    if client is None:
        return None
    return DeviceIndexProvider(
        lambda: client,
        clock=clock,
        stale_us=settings.control_stale_s * 1_000_000,
        client_counts=client.transport.counts,
    )

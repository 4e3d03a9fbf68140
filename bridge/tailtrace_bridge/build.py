"""The composition root of the bridge: settings in, connected parts out. The only place that reads the clock."""

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailtrace_bridge.access_log import LineParser, make_parser
from tailtrace_bridge.checkpoint import Checkpoint, TailLine
from tailtrace_bridge.enrich import Enricher
from tailtrace_bridge.errors import SettingsError, StoreError
from tailtrace_bridge.identity import Identities, IdentityProvider, Unavailable
from tailtrace_bridge.identity_file import IdentityFile
from tailtrace_bridge.join import Join
from tailtrace_bridge.pipeline import Pipeline
from tailtrace_bridge.receiver import ReceiverCounters, SpanQueue
from tailtrace_bridge.routes import Routes
from tailtrace_bridge.settings import Settings
from tailtrace_bridge.snapshot import Snapshot
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.sqlite import SqliteStore
from tailtrace_bridge.tail import Tail
from tailtrace_bridge.tailscale import LocalApi
from tailtrace_bridge.traffic import HEALTH_PATHS

if TYPE_CHECKING:
    from tailtrace_bridge.control.devices import DeviceIndex
    from tailtrace_bridge.control.provider import DeviceIndexProvider

OPENAPI_BYTES_MAX = 8 * 1024 * 1024
LOAD_DEVICES_S = 30.0


def clock_us() -> int:
    """Give microseconds since the epoch."""
    return time.time_ns() // 1000


def monotonic_us() -> int:
    """Give microseconds that never go back."""
    return time.monotonic_ns() // 1000


def open_store(settings: Settings) -> Store:
    """Open the store that the settings name. Raises `SettingsError` for a store there is not."""
    kind, _, path = settings.store.partition(":")
    if kind != "sqlite" or not path:
        raise SettingsError(f"TAILTRACE_STORE: {settings.store!r} is no store; write sqlite:PATH")
    return SqliteStore(path)


def require_store(settings: Settings) -> None:
    """Raise `StoreError` where there is nothing to read yet: a reader must not make an empty store by a wrong path."""
    path = settings.store.partition(":")[2]
    if not Path(path).is_file():
        raise StoreError(
            f"store {settings.store}: there is no such file; set TAILTRACE_STORE (or --store) to the store that "
            "`tailtrace serve` or `tailtrace import` writes"
        )


def make_devices(settings: Settings) -> "DeviceIndexProvider | None":
    """Make the control API's provider, not started; None: there is no key. Raises `SettingsError`."""
    from tailtrace_bridge.control.provider import make_device_provider  # noqa: PLC0415  # an HTTP client loads slowly

    return make_device_provider(settings, clock_us)


def load_devices(settings: Settings) -> "DeviceIndex | None":
    """Ask the control API once, for an import; None: there is no key, or no answer, which is in the log."""
    named = (settings.tailscale_api_key, settings.tailscale_api_key_file)
    oauth = (settings.tailscale_oauth_client_secret, settings.tailscale_oauth_client_secret_file)
    if not any((*named, *oauth)):
        return None
    devices = make_devices(settings)
    if devices is None:
        return None
    devices.start()
    try:
        devices.wait_loaded(LOAD_DEVICES_S)
        index = devices.usable_index()
    finally:
        devices.close()
    return None if isinstance(index, Unavailable) else index


def make_identities(settings: Settings, devices: "DeviceIndexProvider | None" = None) -> Identities:
    """Make the chain of providers for live lines; `devices` is the control API's, started by the caller."""
    local_api, snapshot = make_local(settings)
    providers: list[IdentityProvider] = [local_api, snapshot]
    if devices is not None:
        providers.append(devices)
    if settings.identities is not None:
        providers.append(IdentityFile(settings.identities, clock=monotonic_us))
    return Identities(providers, clock=monotonic_us, wall=clock_us, changes=snapshot.changed)


def make_local(settings: Settings) -> tuple[LocalApi, Snapshot]:
    """Make the two providers that ask this machine's tailscaled."""
    local_api = LocalApi(str(settings.tailscale_socket), clock=monotonic_us)
    return local_api, Snapshot(local_api, clock=monotonic_us, has_serve=settings.serve_headers)


def userspace_problem(settings: Settings) -> str | None:
    """Say what is wrong, and the cure, where tailscaled runs in userspace-networking mode and `serve` is not set up."""
    return make_local(settings)[1].userspace_problem()


def make_routes(settings: Settings) -> Routes:
    """Make the table of routes, with what the app's OpenAPI file says."""
    routes = Routes()
    if settings.openapi is not None:
        routes.learn_openapi(_read_openapi(settings.openapi))
    return routes


def _read_openapi(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(OPENAPI_BYTES_MAX))  # a longer file is cut, and so no JSON
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(
            f"TAILTRACE_OPENAPI: {path} cannot be used ({error}); save the app's /openapi.json there"
        ) from error
    if not isinstance(document, dict):
        raise SettingsError(f"TAILTRACE_OPENAPI: {path} is no OpenAPI document; save the app's /openapi.json there")
    return document


def line_parser(settings: Settings) -> LineParser:
    """Make the parser of one log."""
    return make_parser(settings.log_format, settings.zone)


def make_enricher(settings: Settings, identities: Identities, routes: Routes) -> Enricher:
    """Make the last step before the store."""
    return Enricher(
        identities.holder,
        routes,
        HEALTH_PATHS | frozenset(settings.health_paths),
        serve_headers=settings.serve_headers,
    )


@dataclass(slots=True)
class Bridge:
    """A pipeline and what feeds it."""

    pipeline: Pipeline
    identities: Identities
    routes: Routes
    store: Store
    spans: SpanQueue
    receiver_counters: ReceiverCounters
    poll_s: float
    devices: "DeviceIndexProvider | None" = None
    """The control API's, where there is a key."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the threads that do the work."""
        if self.devices is not None:
            self.devices.start()
        self._thread = threading.Thread(
            target=self.pipeline.run, args=(self._stop, self.poll_s), name="tailtrace-bridge", daemon=True
        )
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Store what waits and end the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self.devices is not None:
            self.devices.close()
        self.pipeline.tail.close()
        self.store.close()


def make_bridge(settings: Settings) -> Bridge:
    """Connect the parts of a live bridge. Raises `SettingsError`, `IdentityError`, `StoreError`, `FormatError`."""
    line_parser(settings)  # a wrong format shows now, not at the first line
    devices = make_devices(settings)
    store = open_store(settings)
    identities = make_identities(settings, devices)
    routes = make_routes(settings)
    spans = SpanQueue()
    join: Join[TailLine] = Join(wait_us=settings.span_wait_ms * 1000)
    pipeline = Pipeline(
        tail=Tail(settings.log, Checkpoint(settings.checkpoint)),
        make_parser=lambda: line_parser(settings),
        join=join,
        enricher=make_enricher(settings, identities, routes),
        spans=spans,
        store=store,
        clock=clock_us,
        retention_days=settings.retention_days,
    )
    return Bridge(pipeline, identities, routes, store, spans, ReceiverCounters(), settings.poll_ms / 1000, devices)

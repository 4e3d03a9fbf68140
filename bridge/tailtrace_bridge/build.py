"""The composition root of the bridge: settings in, connected parts out. The only place that reads the clock."""

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tailtrace_bridge.access_log import LineParser, make_parser
from tailtrace_bridge.checkpoint import Checkpoint, TailLine
from tailtrace_bridge.enrich import Enricher
from tailtrace_bridge.errors import SettingsError, StoreError
from tailtrace_bridge.identity import Identities, IdentityProvider
from tailtrace_bridge.identity_file import IdentityFile
from tailtrace_bridge.join import Join
from tailtrace_bridge.pipeline import Pipeline
from tailtrace_bridge.receiver import ReceiverCounters, SpanQueue
from tailtrace_bridge.routes import Routes
from tailtrace_bridge.settings import Settings
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.sqlite import SqliteStore
from tailtrace_bridge.tail import Tail
from tailtrace_bridge.tailscale import LocalApi
from tailtrace_bridge.traffic import HEALTH_PATHS

OPENAPI_BYTES_MAX = 8 * 1024 * 1024


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


def make_identities(settings: Settings, *, live: bool = True) -> Identities:
    """Make the chain of providers. Old logs (`live=False`) are named by the file only: whois knows today's holder."""
    providers: list[IdentityProvider] = []
    if live:
        providers.append(LocalApi(str(settings.tailscale_socket), clock=monotonic_us))
    if settings.identities is not None:
        providers.append(IdentityFile(settings.identities, clock=monotonic_us))
    return Identities(providers, clock=monotonic_us)


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
    return Enricher(identities.identify, routes, HEALTH_PATHS | frozenset(settings.health_paths))


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
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread that does the work."""
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
        self.pipeline.tail.close()
        self.store.close()


def make_bridge(settings: Settings) -> Bridge:
    """Connect the parts of a live bridge. Raises `SettingsError`, `IdentityError`, `StoreError`, `FormatError`."""
    line_parser(settings)  # a wrong format shows now, not at the first line
    store = open_store(settings)
    identities = make_identities(settings)
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
    return Bridge(pipeline, identities, routes, store, spans, ReceiverCounters(), settings.poll_ms / 1000)

"""The parts of a bridge, each made from the settings alone: `build` connects them, a command takes what it needs.

With `build` the only place that reads the clock.
"""

import json
import os
import random
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tailtrace_bridge.core.errors import BusyError, SettingsError, StoreError
from tailtrace_bridge.core.files.lock import FileLock, FileLockedError
from tailtrace_bridge.core.text import quoted
from tailtrace_bridge.identity.chain import Found, Identities, IdentityProvider, Unavailable
from tailtrace_bridge.identity.loopback import Loopback
from tailtrace_bridge.identity.near import Near, make_loopback
from tailtrace_bridge.identity.proxies import LOOPBACK, UNIX, Proxies
from tailtrace_bridge.identity.pseudonyms import KEY_LENGTH_MIN, Pseudonyms
from tailtrace_bridge.identity.sockets import find_socket
from tailtrace_bridge.identity.static_file import IdentityFile
from tailtrace_bridge.logs.parser import LineParser, make_parser
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.rows.traffic import HEALTH_PATHS
from tailtrace_bridge.settings.derived import TAILSCALE_SOCKET
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.wiring.recall import recalled

if TYPE_CHECKING:
    from tailtrace_bridge.identity.control.devices import DeviceIndex
    from tailtrace_bridge.identity.control.provider import DeviceIndexProvider
    from tailtrace_bridge.identity.local_api import LocalApi
    from tailtrace_bridge.identity.snapshot import Snapshot
    from tailtrace_bridge.identity.watcher import Watcher
    from tailtrace_bridge.settings.table import Settings
    from tailtrace_bridge.store.influx.store import InfluxStore

DAY_US = 24 * 3_600_000_000
OPENAPI_BYTES_MAX = 8 * 1024 * 1024
LOAD_DEVICES_S = 30.0

_FILE_NAME = re.compile(r"[\w./-]{1,60}")
_ADDRESS = re.compile(r"(?:\w+:)?https?://", re.IGNORECASE)


def clock_us() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000


def monotonic_us() -> int:
    """Return microseconds that never go back."""
    return time.monotonic_ns() // 1000


def worked_us() -> int:
    """Return the microseconds that this thread has had of a CPU."""
    return time.thread_time_ns() // 1000


def open_store(settings: "Settings", *, reading: bool = False) -> Store:
    """Open the store that the settings name. Raises `SettingsError` for a store there is not.

    `reading`: one that cannot be written will do.
    """
    if settings.store == "influxdb":
        return open_influx(settings)
    _require_no_address(settings)
    kind, _, path = settings.store.partition(":")
    if kind != "sqlite" or not path:
        meant = settings.store if _FILE_NAME.fullmatch(settings.store) else "PATH"
        raise SettingsError(f"TAILTRACE_STORE: {quoted(settings.store)} is no store; write sqlite:{meant} or influxdb")
    if path == ":memory:":
        raise SettingsError("TAILTRACE_STORE: sqlite::memory: would lose all at the end; write sqlite:PATH, a file's")
    from tailtrace_bridge.store.sqlite.store import SqliteStore  # noqa: PLC0415  # 2 MiB of those who keep rows in InfluxDB

    return SqliteStore(path, clock_us, reading=reading, distinct_max=settings.distinct_max)


@contextmanager
def existing_store(settings: "Settings", *, reading: bool = True) -> Iterator[Store]:
    """Open the store that there must be already, and close it. Raises `StoreError`, `SettingsError`.

    `reading`: as in `open_store`.
    """
    require_store(settings)
    with closing(open_store(settings, reading=reading)) as store:
        yield store


def open_influx(settings: "Settings") -> "InfluxStore":
    """Make the store in InfluxDB that the settings name; nothing is asked of it. Raises `SettingsError`."""
    # Who keeps rows in SQLite does not pay for it.
    from tailtrace_bridge.store.influx.config import InfluxConfig  # noqa: PLC0415
    from tailtrace_bridge.store.influx.store import InfluxStore  # noqa: PLC0415
    from tailtrace_bridge.store.influx.wire.query import Server  # noqa: PLC0415
    from tailtrace_bridge.store.influx.wire.write import Timing  # noqa: PLC0415

    token = settings.secret("influxdb_v2_token")
    if token is None:
        raise SettingsError(
            "TAILTRACE_STORE is influxdb, and there is no token: set INFLUXDB_V2_TOKEN or INFLUXDB_V2_TOKEN_FILE"
        )
    server = Server(settings.influxdb_v2_url.rstrip("/"), settings.influxdb_v2_org, token.get_secret_value())
    config = InfluxConfig(
        server=server,
        bucket=settings.influxdb_v2_bucket,
        source=settings.source or socket.gethostname(),
        raw_days=settings.retention_days,
        rollup_days=settings.rollup_retention_days,
        spans_bucket=settings.traces_bucket,
        spans_hours=settings.traces_retention_hours,
        distinct_max=settings.distinct_max,
    )
    # The random number only spreads retries.
    return InfluxStore(config, Timing(monotonic_us, time.sleep, random.random, clock_us))  # noqa: S311


def _require_no_address(settings: "Settings") -> None:
    """Raise `SettingsError` for a server's address, which may hold a password: it is not repeated."""
    if _ADDRESS.match(settings.store):
        raise SettingsError("TAILTRACE_STORE is an address; write influxdb there, and the address in INFLUXDB_V2_URL")


def require_store(settings: "Settings") -> None:
    """Raise `StoreError` where there is nothing to read yet: a reader must not make an empty store by a wrong path.

    Raises `SettingsError` for an address.
    """
    _require_no_address(settings)
    kind, _, path = settings.store.partition(":")
    if kind != "sqlite" or not path:
        return  # InfluxDB says by itself what is missing, `open_store` what is no store
    if os.path.isfile(path):  # noqa: PTH113 - Path's raises where a folder may not be looked into
        return
    folder = os.path.dirname(path) or "."  # noqa: PTH120
    if os.path.isdir(folder) and not os.access(folder, os.X_OK):  # noqa: PTH112
        said = f"this user may not look into {folder}; run tailtrace as its owner, or `chmod` it"
    else:
        said = "this is a folder" if os.path.isdir(path) else "there is no such file"  # noqa: PTH112
        said += "; set TAILTRACE_STORE (or --store) to the store that `tailtrace serve` or `tailtrace import` writes"
    raise StoreError(f"store {settings.store}: {said}")


def lock_checkpoint(path: Path) -> FileLock:
    """Keep a second bridge from the positions of this one. Raises `BusyError`; `SettingsError` without its folder."""
    where = f"TAILTRACE_CHECKPOINT: {path}"
    if not path.parent.is_dir():
        raise SettingsError(f"{where}: there is no folder {path.parent}; make it, or name a file elsewhere")
    try:
        return FileLock(path.with_name(path.name + ".lock"))
    except FileLockedError as error:
        who = f"process {error.holder}" if error.holder else "another process"
        raise BusyError(
            f"{where}: {who} reads the logs from there already; end it, or give each bridge a checkpoint of its own"
        ) from None
    except OSError as error:
        raise BusyError(f"{where}: its lock: {error.strerror}; mend the mode of its folder") from None


def make_devices(settings: "Settings") -> "DeviceIndexProvider | None":
    """Make the control API's provider, not started; None: there is no key. Raises `SettingsError`."""
    if not settings.has_control_key:
        return None
    # Its HTTP client takes some MiB, which most do without.
    from tailtrace_bridge.wiring.devices import make_device_provider  # noqa: PLC0415

    return make_device_provider(settings, clock_us)


def load_devices(settings: "Settings") -> "DeviceIndex | None":
    """Ask the control API once, for an import; None: there is no key, or no answer, which is in the log."""
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


def make_identities(
    settings: "Settings", devices: "DeviceIndexProvider | None" = None, watched: "Watched | None" = None
) -> Identities:
    """Make the chain of providers; `devices` is the control API's, started by the caller.

    With `watched` for live lines, without for who has an address now.
    """
    local_api, snapshot = (watched.local_api, watched.snapshot) if watched is not None else make_local(settings)
    providers: list[IdentityProvider] = [local_api, snapshot]
    if devices is not None:
        providers.append(devices)
    if settings.identities is not None:
        providers.append(IdentityFile(settings.identities, clock=monotonic_us))
    providers.append(Near(loopback_of(settings).look, local_api.serves_loopback, has_serve=settings.serve_headers))
    return Identities(
        providers,
        clock=monotonic_us,
        wall=clock_us,
        changes=snapshot.changed,
        is_watched=snapshot.is_current,
        history=watched.watcher.history if watched is not None else None,
    )


class Watched(NamedTuple):
    """Who asks this machine's tailscaled in a bridge: told of each change."""

    local_api: "LocalApi"
    snapshot: "Snapshot"
    watcher: "Watcher"


def make_watched(settings: "Settings") -> Watched:
    """Make what watches tailscaled for a bridge, not started. Raises `SettingsError`, `LogFileError`."""
    from tailtrace_bridge.identity.history import History  # noqa: PLC0415
    from tailtrace_bridge.identity.history_file import HistoryFile  # noqa: PLC0415
    from tailtrace_bridge.identity.local_api import LocalApi  # noqa: PLC0415
    from tailtrace_bridge.identity.snapshot import Snapshot  # noqa: PLC0415
    from tailtrace_bridge.identity.watcher import INSTALLED, Watcher  # noqa: PLC0415

    history = History(pseudonyms=make_pseudonyms(settings), keep_us=settings.retention_days * DAY_US)
    file = HistoryFile(settings.history_path, history)
    socket = tailscale_socket(settings)
    local_api = LocalApi(socket, clock=monotonic_us)
    snapshot = Snapshot(local_api, clock=monotonic_us, has_serve=settings.serve_headers, is_fed=True)
    local_api.live_peers = snapshot.live
    named = None if settings.identities is None else IdentityFile(settings.identities, clock=monotonic_us)
    is_default = settings.tailscale_socket == TAILSCALE_SOCKET
    watcher = Watcher(
        Path(socket),
        local_api,
        snapshot,
        history,
        file,
        wall=clock_us,
        clock=monotonic_us,
        named_by_file=lambda address: named is not None and isinstance(named.whois(address), Found),
        is_expected=bool(history.seen_us) or (is_default and INSTALLED.exists()),
    )
    return Watched(local_api, snapshot, watcher)


def make_local(settings: "Settings") -> "tuple[LocalApi, Snapshot]":
    """Make the two providers that ask this machine's tailscaled."""
    from tailtrace_bridge.identity.local_api import LocalApi  # noqa: PLC0415
    from tailtrace_bridge.identity.snapshot import Snapshot  # noqa: PLC0415  # an import without Tailscale starts without them

    local_api = LocalApi(tailscale_socket(settings), clock=monotonic_us)
    return local_api, Snapshot(local_api, clock=monotonic_us, has_serve=settings.serve_headers)


def tailscale_socket(settings: "Settings") -> str:
    """Return tailscaled's socket: the setting's, or the first known place that has one."""
    return find_socket(str(settings.tailscale_socket))


def loopback_of(settings: "Settings") -> Loopback:
    """Make what knows whether loopback is this machine."""
    return make_loopback(str(settings.tailscale_socket), monotonic_us, is_trusted=settings.trust_loopback)


def make_serve_proxies(settings: "Settings") -> Proxies:
    """Make the proxies whose serve headers are believed."""
    return Proxies(serve_peers(settings))


def serve_peers(settings: "Settings") -> tuple[str, ...]:
    """Return the peers whose serve headers are believed, as settings name them."""
    return (*settings.serve_proxies, *((UNIX, *LOOPBACK) if settings.serve_headers else ()))


def make_routes(settings: "Settings") -> Routes:
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
        said = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"TAILTRACE_OPENAPI: {path} cannot be used ({said}); save the app's /openapi.json there"
        ) from error
    if not isinstance(document, dict):
        raise SettingsError(f"TAILTRACE_OPENAPI: {path} is no OpenAPI document; save the app's /openapi.json there")
    return document


def line_parser(settings: "Settings") -> LineParser:
    """Make the parser of one log."""
    return make_parser(settings.log_format, settings.zone)


def make_enricher(settings: "Settings", identities: Identities, routes: Routes) -> Enricher:
    """Make the last step before the store. Raises `SettingsError` for pseudonyms without a key."""
    return Enricher(
        identities.holder,
        routes,
        HEALTH_PATHS | frozenset(settings.health_paths),
        static_paths=tuple(settings.static_paths),
        serve=make_serve_proxies(settings),
        pseudonyms=make_pseudonyms(settings),
    )


def recalled_endpoints(settings: "Settings") -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """Return the endpoints that the store has, where there is one, the (service, route) of apps, the services."""
    kind, _, path = settings.store.partition(":")
    if kind == "sqlite" and not os.path.exists(path):  # noqa: PTH110 - a folder that is closed has none for us
        return [], [], []
    with closing(open_store(settings, reading=True)) as store:
        return recalled(store, clock_us())


def make_pseudonyms(settings: "Settings") -> Pseudonyms | None:
    """Make what turns names into pseudonyms; None: names are stored. Raises `SettingsError` without a key."""
    key = pseudonyms_key(settings)
    return Pseudonyms(key) if key else None


def pseudonyms_key(settings: "Settings") -> str:
    """Return the key of pseudonyms; empty: names are stored. Raises `SettingsError` where it is missing."""
    return required_key(settings, "TAILTRACE_PSEUDONYMS") if settings.pseudonyms else ""


def required_key(settings: "Settings", wanted_by: str) -> str:
    """Return the key of pseudonyms, which the setting `wanted_by` needs. Raises `SettingsError` where it is missing."""
    key = settings.secret("pseudonyms_key")
    if key is None or len(key.get_secret_value()) < KEY_LENGTH_MIN:
        raise SettingsError(
            f"{wanted_by} needs a secret of {KEY_LENGTH_MIN} characters or more: `openssl rand -hex 32` makes "
            "one; write it into a file that only tailtrace may read, and set TAILTRACE_PSEUDONYMS_KEY_FILE"
        )
    return key.get_secret_value()

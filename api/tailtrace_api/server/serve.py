"""What runs until a signal ends it: the bridge in a thread, HTTP servers on one event loop, all in one process.

| command | bridge | OTLP receiver | on HTTP |
|---|---|---|---|
| `tailtrace serve` | yes | `otlp_listen` | the API, with the bridge's health and counters: `listen` |
| `tailtrace bridge` | yes | `otlp_listen` | health and counters, no answers: `bridge_listen` |
| `tailtrace api` | no | no | the API; `/metrics` is 404, and `/ready` speaks of the store alone: `listen` |

The two halves meet in the store, which must be one that two processes can share: InfluxDB, or the same SQLite file.
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from uvicorn.config import Config
from uvicorn.server import Server

from tailtrace_api.access.auth_methods import make_callers, make_sessions, make_trusted_proxies, require_way
from tailtrace_api.access.guard import AccessCounters, Guard, of_spans
from tailtrace_api.http.hosts import host_forms
from tailtrace_api.http.operation import Keeps, create_operation_app
from tailtrace_api.http.page_files import STATIC, Built
from tailtrace_api.server import loading
from tailtrace_api.server.answers import BELOW, Answers
from tailtrace_api.server.connections import BACKLOG, WAITING_MAX, BoundedProtocol, Held
from tailtrace_api.server.heap import give_back_at_times, share_one
from tailtrace_api.server.late_api import LateApi
from tailtrace_api.server.open_files import allow_open_files, say_once
from tailtrace_bridge.core import interrupted
from tailtrace_bridge.core.errors import BusyError, SettingsError
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.settings.derived import environment_name, listen_host, split_listen, unix_path
from tailtrace_bridge.spans.receiver import make_receiver
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.wiring.bridge import Bridge, make_bridge
from tailtrace_bridge.wiring.parts import clock_us, make_routes, monotonic_us, open_store, require_store

if TYPE_CHECKING:
    from tailtrace_api.http.api import Api
    from tailtrace_bridge.settings.table import Settings

SHUTDOWN_S = 5
BODY_BYTES_MAX = 256 * 1024
"""Of a request to the API: but for a call by MCP, which is some hundred bytes, none has a body."""
UNIX_MODE = 0o660
"""Of the socket that the API listens on: for its user, and for a group that the proxy is in."""
ANSWERS_AT_ONCE_MAX = 4
"""Answers are made in threads; more of them at once would only take more memory."""
_LOGGER = logging.getLogger("tailtrace")


class _Server(Server):
    """Leaves signals to us: several servers share one loop. `on_exit` ends what would hold up the shutdown."""

    on_exit: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(WAITING_MAX)  # asyncio takes one number for this, and for how many it takes at one go

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.on_exit is not None:
            self.on_exit()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


Listening = tuple[_Server, socket.socket]


def serve(settings: "Settings") -> None:
    """Run bridge and API. Raises `BusyError` where a port is taken, and what `make_bridge` raises."""
    interrupted.raise_again()
    share_one()
    allow_open_files()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(settings, "listen"))
        counters = AccessCounters()
        bridge, receiver = _enter_bridge(stack, settings, counters)
        app = make_guarded(settings, bridge.store, bridge.routes, bridge, counters)
        bridge.start()
        _LOGGER.info("API on %s", _name(listener))
        asyncio.run(_run([(_server_of_api(settings, app), listener), receiver], bridge))


def serve_bridge(settings: "Settings") -> None:
    """Run the bridge without the API. Raises like `serve`."""
    interrupted.raise_again()
    share_one()
    allow_open_files()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(settings, "bridge_listen"))
        counters = AccessCounters()
        bridge, receiver = _enter_bridge(stack, settings, counters)
        app = create_operation_app(
            lambda: bridge.store.newest_us(Scope.everybody()), bridge, clock=clock_us, access=counters
        )
        guarded = _guarded(settings, app, counters)
        bridge.start()
        _LOGGER.info("health and counters on %s", _name(listener))
        asyncio.run(_run([(_server(guarded, counters.closed), listener), receiver], bridge))


def serve_api(settings: "Settings") -> None:
    """Run the API on a store that a bridge elsewhere fills.

    Raises `BusyError` where the port is taken, and `StoreError` where there is no store.
    """
    interrupted.raise_again()
    share_one()
    allow_open_files()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(settings, "listen"))
        require_store(settings)
        store = open_store(settings, reading=True)
        stack.callback(store.close)
        app = make_guarded(settings, store, make_routes(settings))
        _LOGGER.info("API on %s, reading the store %s", _name(listener), settings.store)
        asyncio.run(_run([(_server_of_api(settings, app), listener)]))


def make_guarded(
    settings: "Settings",
    store: Store,
    routes: Routes,
    bridge: Bridge | None = None,
    counters: AccessCounters | None = None,
) -> Guard:
    """Make the API behind its guard, with what it knows of the tailnet and `/mcp`; nothing of it is loaded yet."""
    counters = counters or AccessCounters()
    files = Built(STATIC, settings.lang, settings.timezone)
    app = LateApi(lambda: make_app(settings, store, routes, bridge, counters, files), _hosts(settings))
    return _guarded(settings, app, counters, is_unix=unix_path(settings.listen) is not None)


def _server_of_api(settings: "Settings", guard: Guard) -> "_Server":
    from tailtrace_api.http.cors import PagesElsewhere  # noqa: PLC0415

    # Outside the guard, so that a page of another origin can read why it was refused.
    app = PagesElsewhere(guard, settings.cors_origins)
    return _server(app, guard.counters.closed, guard.app.close)


def _guarded(settings: "Settings", app: Any, counters: AccessCounters, *, is_unix: bool = False) -> Guard:
    return Guard(
        app, make_callers(settings), counters, clock=monotonic_us, requests_per_s=settings.requests_per_s,
        trusted=make_trusted_proxies(settings), is_unix=is_unix, body_bytes_max=BODY_BYTES_MAX,
    )  # fmt: skip


def make_app(
    settings: "Settings",
    store: Store,
    routes: Routes,
    bridge: Bridge | None = None,
    counters: AccessCounters | None = None,
    files: Built | None = None,
) -> "Api":
    """Make the API with the page, the tailnet and `/mcp`, without its guard: whoever reaches this one sees all.

    Nothing asks anything yet. `state.event_stream.close` ends the streams of open pages, which would not end
    by themselves.
    """
    # A bridge without an API does not pay for it.
    loading.import_fastapi()
    from starlette.routing import Route  # noqa: PLC0415

    from tailtrace_api.http.app import create_app  # noqa: PLC0415
    from tailtrace_api.http.event_stream import EventStream  # noqa: PLC0415
    from tailtrace_api.http.login import login_router  # noqa: PLC0415
    from tailtrace_api.http.page import dashboard_router  # noqa: PLC0415
    from tailtrace_api.mcp_server.mount import Mcp  # noqa: PLC0415

    answers = Answers(settings, store, routes, clock_us)
    mcp = Mcp(
        answers.source,
        lang=settings.lang,
        hosts=(*host_forms(listen_host(settings.listen)), *settings.hosts),
        is_own_only=settings.mcp_scope == "own",
    )
    app = create_app(
        lambda: store.newest_us(Scope.everybody()), clock=clock_us, bridge=bridge, hosts=_hosts(settings),
        mcp_counts=mcp.counts, access=counters, keeps=_keeps(settings),
    )  # fmt: skip
    stream = app.state.event_stream = EventStream(lambda: answers.insights.latest(clock_us()))
    app.take(dashboard_router(files or Built(STATIC, settings.lang, settings.timezone)))
    app.take(login_router(make_sessions(settings)))
    app.put_off(BELOW, lambda: answers.routers(stream))
    app.router.routes.append(Route("/mcp", endpoint=mcp))
    return app


def _keeps(settings: "Settings") -> Keeps:
    """Return how long what is kept, in days; null is for ever. In SQLite rollups have no end of their own."""
    is_influx = settings.store == "influxdb"
    return Keeps(
        requests_days=settings.retention_days or None,
        sums_days=(settings.rollup_retention_days or None) if is_influx else None,
        pseudonyms=settings.pseudonyms,
    )


def _hosts(settings: "Settings") -> list[str]:
    listening = host_forms(listen_host(settings.listen))
    return ["localhost", "127.0.0.1", "::1", "[::1]", *listening, *settings.hosts]


def _enter_bridge(
    stack: contextlib.ExitStack, settings: "Settings", access: AccessCounters
) -> tuple[Bridge, Listening]:
    """Make the bridge, not started, and its receiver, whose connections and peers over a limit `access` counts.

    `stack` stops it, after the servers and before their sockets.
    """
    listener = stack.enter_context(_listen(settings, "otlp_listen"))
    bridge = make_bridge(settings)
    stack.callback(bridge.stop)
    _add_report(bridge, settings)
    _LOGGER.info("log %s → store %s, OTLP on %s", settings.log, settings.store, _name(listener))
    receiver = make_receiver(bridge.spans.put, bridge.receiver_counters, bridge.keeper.hold)
    # Its refusals are counted where the receiver's own are.
    counters = AccessCounters(bridge.receiver_counters.refused, access.closed, access.peers_forgotten)
    guard = Guard(receiver, make_callers(settings), counters, clock=monotonic_us, judge=of_spans)
    return bridge, (_server(guard, access.closed), listener)


def _add_report(bridge: Bridge, settings: "Settings") -> None:
    if not settings.monthly_report or not settings.alerts_here:
        return
    if bridge.alerts is None or settings.secret("alert_urls") is None:
        raise SettingsError("TAILTRACE_MONTHLY_REPORT is set, and there is nobody to send it to: TAILTRACE_ALERT_URLS")
    from tailtrace_api.monthly.job import monthly_job  # noqa: PLC0415 - who wants no report loads nothing of it

    bridge.alerts.add_job(monthly_job(settings))


def _listen(settings: "Settings", field: str) -> socket.socket:
    require_way(settings, field)
    address = getattr(settings, field)
    if (path := unix_path(address)) is not None:
        return _listen_unix(path, environment_name(field))
    host, port = split_listen(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # By its protocol asyncio knows that it is TCP's, and switches Nagle's algorithm off. Else the body of each answer
    # but a connection's first waits 40 ms for the client to acknowledge its head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        where = f"{environment_name(field)}: cannot listen on {address}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            raise BusyError(f"{where}; end what listens there, or choose another port") from error
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise BusyError(f"{where}; choose a port of 1024 or more, or let this user have it") from error
        raise SettingsError(f"{where}; write an address that this machine has, such as 127.0.0.1:8470") from error
    return listener


def _listen_unix(path: Path, name: str) -> socket.socket:
    """Listen on a unix socket. One that is left over from before, with nobody behind it, is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not _answers(path):
            path.unlink()
        before = os.umask(0o777 & ~UNIX_MODE)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        listener.close()
        where = f"{name}: cannot listen on {path}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            raise BusyError(f"{where}; end what listens there, or choose another path") from error
        raise SettingsError(f"{where}; name a file in a folder that this user may write to") from error
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        return asker.connect_ex(str(path)) == 0


def _name(listener: socket.socket) -> str:
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(app: object, closed: dict[str, int], on_exit: Callable[[], None] | None = None) -> _Server:
    server = _Server(
        Config(
            app,  # type: ignore[arg-type]
            log_level="error",  # its warnings are a line for each stranger's request that is none
            access_log=False,
            server_header=False,
            lifespan="off",
            http=partial(BoundedProtocol, closed=closed, held=Held()),  # type: ignore[arg-type]
            ws="none",
            # The peer is the socket's: who believes a proxy, and which, is for `access.callers` to say.
            proxy_headers=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
            backlog=BACKLOG,
        )
    )
    server.on_exit = on_exit
    return server


async def _run(servers: list[Listening], bridge: Bridge | None = None) -> None:
    loading.end()
    loop = asyncio.get_running_loop()
    say_once(loop)
    anyio.to_thread.current_default_thread_limiter().total_tokens = ANSWERS_AT_ONCE_MAX

    def stop() -> None:
        for server, _ in servers:
            server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    beside = [asyncio.create_task(give_back_at_times())]
    if bridge is not None:
        beside.append(asyncio.create_task(_watch(bridge)))
    try:
        await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in servers))
    finally:
        for task in beside:
            task.cancel()


async def _watch(bridge: Bridge) -> None:
    while bridge.running:  # noqa: ASYNC110  # a thread sets no asyncio.Event
        await asyncio.sleep(1)
    _LOGGER.error("the bridge ended on its own; `/ready` says so until it is started again")

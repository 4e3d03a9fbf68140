"""Embedded mode: the bridge in a thread, the API and the OTLP receiver on one event loop, all in one process."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator, Mapping

import anyio.to_thread
import uvicorn

from tailtrace_api.app import create_app
from tailtrace_api.queries import Queries
from tailtrace_bridge.build import Bridge, make_bridge
from tailtrace_bridge.errors import SettingsError
from tailtrace_bridge.parts import clock_us
from tailtrace_bridge.receiver import make_receiver
from tailtrace_bridge.routes import Routes
from tailtrace_bridge.settings import Settings, environment_name, split_listen
from tailtrace_bridge.store.protocol import Store

SHUTDOWN_S = 5
ANSWERS_AT_ONCE_MAX = 4
"""Answers are made in threads; more of them at once would only take more memory."""
_LOGGER = logging.getLogger("tailtrace")


def make_queries(settings: Settings, store: Store, routes: Routes) -> Queries:
    """Connect the answers to a store."""
    return Queries(
        store,
        zone=settings.zone,
        features=_Features(routes, settings.features),
        store_name=settings.store.partition(":")[0],
    )


class _Features(Mapping[str, str]):
    """A route's human name: from the settings, else from the app's OpenAPI summary, else the route itself."""

    def __init__(self, routes: Routes, names: Mapping[str, str]) -> None:
        self._routes = routes
        self._names = names

    def __getitem__(self, route: str) -> str:
        return self._names.get(route) or self._routes.feature(route)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def serve(settings: Settings) -> None:
    """Run until a signal ends it. Raises `SettingsError` where a port is taken, and what `make_bridge` raises."""
    with contextlib.ExitStack() as stack:
        api_socket = stack.enter_context(_listen(settings.listen, "listen"))
        otlp_socket = stack.enter_context(_listen(settings.otlp_listen, "otlp_listen"))
        bridge = make_bridge(settings)
        stack.callback(bridge.stop)
        app = create_app(make_queries(settings, bridge.store, bridge.routes), clock=clock_us, bridge=bridge)
        receiver = make_receiver(bridge.spans.put, bridge.receiver_counters)
        bridge.start()
        _LOGGER.info("log %s → store %s", settings.log, settings.store)
        _LOGGER.info("API on http://%s, OTLP on http://%s", _name(api_socket), _name(otlp_socket))
        asyncio.run(_run([(_server(app), api_socket), (_server(receiver), otlp_socket)], bridge))


def _listen(address: str, field: str) -> socket.socket:
    host, port = split_listen(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"{environment_name(field)}: cannot listen on {address}: {error.strerror}; "
            "end what listens there, or choose another port"
        ) from error
    return listener


def _name(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Server(uvicorn.Server):
    """Leaves signals to us: two servers share one loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: object) -> _Server:
    return _Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
    )


async def _run(servers: list[tuple[_Server, socket.socket]], bridge: Bridge) -> None:
    loop = asyncio.get_running_loop()
    anyio.to_thread.current_default_thread_limiter().total_tokens = ANSWERS_AT_ONCE_MAX

    def stop() -> None:
        for server, _ in servers:
            server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    watch = asyncio.create_task(_watch(bridge))
    try:
        await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in servers))
    finally:
        watch.cancel()


async def _watch(bridge: Bridge) -> None:
    while bridge.running:  # noqa: ASYNC110  # a thread sets no asyncio.Event
        await asyncio.sleep(1)
    _LOGGER.error("the bridge ended on its own; `/ready` says so until it is started again")

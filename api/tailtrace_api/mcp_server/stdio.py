"""`tailtrace mcp`: the server on stdin and stdout, which carry nothing but the protocol; all else goes to stderr.

It ends when its client closes stdin, or on a signal.
"""

import contextlib
import logging
from functools import partial

import anyio
import anyio.to_thread
from mcp.server.stdio import stdio_server

from tailtrace_api.mcp_server.api_source import HttpSource
from tailtrace_api.mcp_server.server import make_server
from tailtrace_api.mcp_server.source import LocalSource, Source
from tailtrace_api.mcp_server.tool import AnyTool
from tailtrace_api.mcp_server.tools import Toolbox
from tailtrace_api.mcp_server.words import Words
from tailtrace_api.queries.insights import Insights
from tailtrace_bridge.settings.table import Settings

CALLS_AT_ONCE_MAX = 4
"""Answers are made in threads; more of them at once would only take more memory."""


def run_stdio(settings: Settings, tools: tuple[AnyTool, ...], url: str | None) -> None:
    """Serve one client until it goes. Raises `StoreError` where there is no store, `SettingsError` for a wrong URL."""
    for name in ("mcp", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with contextlib.ExitStack() as stack:
        source = _remote(settings, url) if url else _local(settings, stack)
        anyio.run(partial(_serve, Toolbox(tools, source, Words(settings.lang)), settings.lang))


def _remote(settings: Settings, url: str) -> Source:
    token = settings.secret("api_token")
    return HttpSource(url, token.get_secret_value() if token is not None else "")


def _local(settings: Settings, stack: contextlib.ExitStack) -> Source:
    # Not for a client of an API, which starts faster without them.
    from tailtrace_api.queries.errors import Errors  # noqa: PLC0415
    from tailtrace_api.queries.make import make_insights, make_queries, make_tailnet  # noqa: PLC0415
    from tailtrace_api.queries.traces import Traces  # noqa: PLC0415
    from tailtrace_bridge.wiring.parts import clock_us, existing_store, make_routes  # noqa: PLC0415

    store = stack.enter_context(existing_store(settings))
    routes, tailnet = make_routes(settings), make_tailnet(settings)
    insights: Insights = make_insights(settings, store, routes, make_queries(settings, store, routes), tailnet)
    return LocalSource(insights, tailnet, clock_us, Traces(store), Errors(store))


async def _serve(toolbox: Toolbox, lang: str) -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = CALLS_AT_ONCE_MAX
    server = make_server(toolbox, lang)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())

"""`/mcp` of the API, by streamable HTTP: an ASGI app that loads the SDK when it is first asked, in a thread.

Without sessions: each POST is answered by itself as JSON, so that a client goes on after the API was started again.

| a request | is answered |
|---|---|
| other than POST | 405: there is no session to listen to or to end, so no stream is left open |
| whose Host is none of ours, or whose Origin is a page of another origin (DNS rebinding) | 421, 403, by the SDK |
| of a member | with theirs; a tool for admins is refused (`access.policy`) |
| of an admin, with `TAILTRACE_MCP_SCOPE=all` | with everyone's data |
| with `own`, of anybody with a login | with theirs |
| with an error that is no JSON-RPC | in the API's one form, `{"detail": …}`; the SDK has plain text |
| with `own`, of an admin without one: this machine, a token | with an error that says how callers are known |

Who asks is what the guard before the app found (`access.callers`).
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import Server

from tailtrace_api.access.roles import Role, caller_of
from tailtrace_bridge.core.lazy_models import models_deferred
from tailtrace_bridge.core.lazy_module import load_later
from tailtrace_bridge.core.lazy_package import gather_lazily

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from tailtrace_api.mcp_server.source import Source
    from tailtrace_api.mcp_server.tools import Toolbox

BODY_BYTES_MAX = 256 * 1024
"""Of a request: a call of a tool is some hundred bytes."""
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class Mcp:
    """The app. `make_source` is called when it is first asked; `hosts` are more names that the API is asked by."""

    def __init__(
        self,
        make_source: "Callable[[], Source]",
        *,
        lang: str,
        hosts: Sequence[str] = (),
        is_own_only: bool = False,
    ) -> None:
        self._make_source = make_source
        self._lang = lang
        self._hosts = (*LOCAL_HOSTS, *hosts)
        self._is_own_only = is_own_only
        self._loading: asyncio.Future[StreamableHTTPSessionManager] | None = None
        self._running: asyncio.Task[None] | None = None
        self._toolbox: Toolbox | None = None

    def counts(self) -> dict[str, int]:
        """Count calls, and what hit a limit; empty before the first call."""
        return self._toolbox.all_counts() if self._toolbox is not None else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to `/mcp`."""
        if scope["method"] != "POST":
            refusal = JSONResponse({"detail": "ask by POST: there are no sessions"}, 405, {"Allow": "POST"})
            await refusal(scope, receive, send)
            return
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._loading))
        manager = await asyncio.shield(self._loading)
        await manager.handle_request(scope, receive, _in_one_form(send))

    async def _run(self, loading: "asyncio.Future[StreamableHTTPSessionManager]") -> None:
        """Load, and hold what the SDK needs open, until the loop ends."""
        try:
            manager = await asyncio.to_thread(self._make)
            async with manager.run():
                loading.set_result(manager)
                await asyncio.Event().wait()
        except Exception as error:  # noqa: BLE001 - whoever waits for it must hear of it, and the next may try again
            self._loading = None
            if not loading.done():
                loading.set_exception(error)

    def _make(self) -> "StreamableHTTPSessionManager":
        gather_lazily("mcp", "mcp.server")
        # Where the SDK's stream of events looks for the server. A command line and `multiprocessing` came with it.
        load_later("uvicorn.main")
        vars(sys.modules["uvicorn.main"]).setdefault("Server", Server)
        with models_deferred():  # of a protocol in two versions, 500 models: a server needs some twenty of them
            from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # noqa: PLC0415
            from mcp.server.transport_security import TransportSecuritySettings  # noqa: PLC0415

        from tailtrace_api.mcp_server.server import make_server  # noqa: PLC0415
        from tailtrace_api.mcp_server.tools import TOOLS, Toolbox  # noqa: PLC0415
        from tailtrace_api.mcp_server.words import Words  # noqa: PLC0415

        # It logs a line or two for each request, each being a session of its own, and a warning for each it refuses.
        logging.getLogger("mcp").setLevel(logging.ERROR)
        toolbox = self._toolbox = Toolbox(TOOLS, self._make_source(), Words(self._lang))
        names = [name for host in self._hosts for name in (host, f"{host}:*")]
        security = TransportSecuritySettings(
            allowed_hosts=names,
            allowed_origins=[f"{scheme}://{name}" for scheme in ("http", "https") for name in names],
        )
        return StreamableHTTPSessionManager(
            make_server(toolbox, self._lang, self._caller),
            stateless=True,
            json_response=True,
            security_settings=security,
            max_request_body_size=BODY_BYTES_MAX,
        )

    def _caller(self, request: Any) -> str | None:
        from mcp.shared.exceptions import MCPError  # noqa: PLC0415
        from mcp_types import INVALID_REQUEST  # noqa: PLC0415

        caller = caller_of(request.scope) if request is not None else None
        if caller is None or (caller.role is Role.ADMIN and not self._is_own_only):
            return None
        if not caller.login:
            raise MCPError(
                INVALID_REQUEST,
                "TAILTRACE_MCP_SCOPE is own, and nobody knows who you are: ask through tailscale serve with "
                "TAILTRACE_SERVE_HEADERS=true, from a person's tailnet address, or with a person's token",
            )
        return caller.login


def _in_one_form(send: Send) -> Send:
    begun: Message = {}

    async def sending(message: Message) -> None:
        nonlocal begun
        if message["type"] == "http.response.start" and message["status"] >= 400 and not _is_json(message):
            begun = message  # its length is another one: said when the text is here
        elif begun:
            said = JSONResponse({"detail": bytes(message["body"]).decode(errors="replace")}, begun["status"])
            await send({**begun, "headers": said.raw_headers})
            await send({**message, "body": said.body})
        else:
            await send(message)

    return sending


def _is_json(message: Message) -> bool:
    return any(name.lower() == b"content-type" and b"json" in value for name, value in message["headers"])

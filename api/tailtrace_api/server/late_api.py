"""The API, made when somebody asks for more than `/health`: FastAPI and the routes take a fourth of a start."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tailtrace_api.http.hosts import Hosts
from tailtrace_api.server import loading

if TYPE_CHECKING:
    from tailtrace_api.http.api import Api


class LateApi:
    """The app. `make` makes the API; `hosts` are the names that a request may have in its Host header."""

    def __init__(self, make: "Callable[[], Api]", hosts: Sequence[str]) -> None:
        self._make = make
        self._health: ASGIApp = Hosts(JSONResponse({"status": "ok"}), hosts)

    @cached_property
    def api(self) -> "Api":
        """Return the API; the first time it is made, and nobody is answered meanwhile."""
        with loading.quickly():
            return self._make()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what the API would."""
        is_health = scope["type"] == "http" and (scope["method"], scope["path"]) == ("GET", "/health")
        app = self._health if is_health else self.api
        await app(scope, receive, send)

    def close(self) -> None:
        """End the streams of open pages, which would not end by themselves."""
        if "api" in vars(self):
            self.api.state.event_stream.close()

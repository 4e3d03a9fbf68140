"""Which pages of other origins may read what.

That a page may read an answer says nothing about who asks: `access.policy` does, by the address that the browser has.

| asked for by a page of another origin | it may read it |
|---|---|
| the scripts of `COMPONENTS` | whatever its origin: they hold no data, and a module comes no other way |
| `/analytics/widget` | if its origin is one of `TAILTRACE_CORS_ORIGINS`; with GET, without credentials |
| anything else | no |
"""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

COMPONENTS = "/static/js/components/"
WIDGET = "/analytics/widget"
PREFLIGHT_S = 600


class PagesElsewhere:
    """Lets pages of other origins read what the table above says. Outermost, so that refusals can be read too."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._scripts = CORSMiddleware(app, allow_origins=["*"], allow_methods=["GET"], max_age=PREFLIGHT_S)
        self._widget = CORSMiddleware(app, allow_origins=list(origins), allow_methods=["GET"], max_age=PREFLIGHT_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        path = scope.get("path", "")
        if path == WIDGET:
            await self._widget(scope, receive, send)
        elif path.startswith(COMPONENTS):
            await self._scripts(scope, receive, send)
        else:
            await self._app(scope, receive, send)

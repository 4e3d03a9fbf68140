"""The app: routes whose making waits until somebody asks below one of their paths, and a document with examples.

FastAPI reads the types of a route's parameters and of its answer when the route is made. All of them together take a
fourth of a start, and `/health`, the page and a login need none.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

MakeRouters = Callable[[], Sequence[APIRouter]]


class Api(FastAPI):
    """An app. `put_off` says what is made later; until then it is not among the routes that a request is matched to."""

    def __init__(self, **more: Any) -> None:
        self._below: Collection[str] = ()
        self._make: MakeRouters = tuple
        super().__init__(**more)

    def put_off(self, below: Collection[str], make: MakeRouters) -> None:
        """Make routers when a path is asked for whose first part is one of these.

        Nobody else is answered meanwhile: FastAPI sets the filters of warnings as it makes a route, those of all
        threads.
        """
        self._below, self._make = below, make

    def take(self, router: APIRouter) -> None:
        """Add the routes of a router as they are: FastAPI's `include_router` makes each of them again."""
        self.router.routes.extend(router.routes)

    @property
    def routes(self) -> list[BaseRoute]:
        """Return all routes, for the document."""
        self._take_all()
        return super().routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and make the routes that it is for."""
        if scope["type"] == "http" and _first_part(scope["path"]) in self._below:
            self._take_all()
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the document. It is made when it is first asked for."""
        if self.openapi_schema is None:
            from importlib.metadata import version  # noqa: PLC0415 - it reads a file of the package

            from tailtrace_api.http.document import complete  # noqa: PLC0415 - it knows the records of the answers

            self.version = version("tailtrace")
            complete(super().openapi())
        return super().openapi()

    def _take_all(self) -> None:
        if self._below:
            for router in self._make():
                self.take(router)
            self._below = ()


def _first_part(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""

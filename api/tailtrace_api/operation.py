"""How a process is: `/health`, `/ready` and `/metrics`, as a small app for a bridge that has no API.

It is made of Starlette alone: FastAPI and the models of the answers would take 9 MiB of the bridge's memory.
"""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tailtrace_api import metrics
from tailtrace_bridge.build import Bridge
from tailtrace_bridge.errors import StoreError

_STALLED_US = 60_000_000
"""A bridge that took no step for so long is not ready."""


def create_operation_app(check_store: Callable[[], object], bridge: Bridge, *, clock: Callable[[], int]) -> Starlette:
    """Make the app of a bridge without an API: health, readiness and counters, no answers."""

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    def ready(_request: Request) -> Response:  # in a thread: the store may keep it waiting
        return ready_response(problems(check_store, bridge, clock()))

    def counters(_request: Request) -> Response:
        return Response(metrics.render(bridge, {}), media_type=metrics.CONTENT_TYPE)

    routes = {"/health": health, "/ready": ready, "/metrics": counters}
    return Starlette(routes=[Route(path, endpoint) for path, endpoint in routes.items()])


def ready_response(found: list[str]) -> Response:
    """Give the answer of `/ready`."""
    return JSONResponse({"status": "not ready" if found else "ready", "problems": found}, 503 if found else 200)


def problems(check_store: Callable[[], object], bridge: Bridge | None, now_us: int) -> list[str]:
    """Say whether the store answers, the bridge works and its logs can be read: empty where all is well."""
    found = []
    try:
        check_store()
    except StoreError as error:
        found.append(str(error))
    if bridge is not None:
        found.extend(bridge.pipeline.tail.problems().values())
        if bridge.pipeline.problem:
            found.append(bridge.pipeline.problem)
        if not bridge.running:
            found.append("the bridge has ended; see the log of tailtrace, and start it again")
        elif now_us - bridge.pipeline.counters.last_step_us > _STALLED_US:
            found.append("the bridge took no step for a minute; see the log of tailtrace")
    return found

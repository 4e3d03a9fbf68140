"""How a process is: `/health`, `/ready` and `/metrics`, as a small app for a bridge that has no API.

It is made of Starlette alone: FastAPI and the models of the answers would take 9 MiB of the bridge's memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tailtrace_api.access.guard import AccessCounters
from tailtrace_api.access.roles import sees_all
from tailtrace_api.answers.record import Record, record
from tailtrace_api.http.ready import TimelyCheck
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.wiring.bridge import Bridge

_STALLED_US = 60_000_000
"""A bridge that took no step for so long is not ready."""


def create_operation_app(
    check_store: Callable[[], object], bridge: Bridge, *, clock: Callable[[], int], access: AccessCounters | None = None
) -> Starlette:
    """Make the app of a bridge without an API: health, readiness and counters, no answers."""
    check = TimelyCheck(check_store)

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    def answer_ready(request: Request) -> Response:  # in a thread: the store may keep it waiting
        is_shown = sees_all(request.scope)
        return ready_response(ready(problems(check, bridge, clock()), bridge, is_shown=is_shown))

    def counters(_request: Request) -> Response:
        from tailtrace_api.http import metrics  # noqa: PLC0415 - a server starts before it is counted

        return Response(metrics.render(bridge, {}, access or AccessCounters()), media_type=metrics.CONTENT_TYPE)

    routes = {"/health": health, "/ready": answer_ready, "/metrics": counters}
    return Starlette(routes=[Route(path, endpoint) for path, endpoint in routes.items()])


@record
class Keeps(Record):
    """How long what is kept, in days; null is for ever. `pseudonyms`: whether names are stored as such."""

    requests_days: int | None
    sums_days: int | None
    pseudonyms: bool


@record
class Setup(Record):
    """What of the way of a request works, by what came since this process started."""

    log_seen: bool
    line_parsed: bool
    app_joined: bool
    name_found: bool


@record
class Ready(Record):
    """What `/ready` answers. A bridge without an API has no `keeps`, and who exports no spans no `export`.

    `setup` is there for an admin, where this process reads logs.
    """

    status: Literal["ready", "not ready"]
    problems: tuple[str, ...]
    keeps: Keeps | None = None
    export: str | None = None
    setup: Setup | None = None


def ready(found: Sequence[str], bridge: Bridge | None, keeps: Keeps | None = None, *, is_shown: bool = True) -> Ready:
    """Make the answer of `/ready`. What is wrong is shown to admins only: it names files and addresses."""
    return Ready(
        status="not ready" if found else "ready",
        problems=tuple(found) if is_shown else (),
        keeps=keeps,
        export=_export(bridge, is_shown=is_shown),
        setup=_setup(bridge) if bridge is not None and is_shown else None,
    )


def ready_response(answer: Ready) -> Response:
    """Return it, as 503 where something is not ready. What there is none of is left out."""
    body = {name: value for name, value in asdict(answer).items() if value is not None}
    return JSONResponse(body, 200 if answer.status == "ready" else 503)


def _setup(bridge: Bridge) -> Setup:
    pipeline = bridge.pipeline
    return Setup(
        log_seen=pipeline.tail.sees_log,
        line_parsed=pipeline.counters.stored + pipeline.counters.duplicate > 0,
        app_joined=pipeline.enricher.app_headers["read"] + pipeline.join.counters.matched > 0,
        name_found=pipeline.enricher.senders["named"] > 0,
    )


def _export(bridge: Bridge | None, *, is_shown: bool) -> str | None:
    """Return how the export of nginx's spans and metrics goes, if there is one: it holds up no storing."""
    if bridge is None or bridge.exporter is None:
        return None
    problem = bridge.exporter.problem or (bridge.request_metrics.problem if bridge.request_metrics else "")
    return (problem if is_shown else "failing") if problem else "ok"


def problems(check_store: Callable[[], object], bridge: Bridge | None, now_us: int) -> list[str]:
    """Return whether the store answers, the bridge works and its logs can be read: empty where all is well."""
    found = []
    try:
        check_store()
    except StoreError as error:
        found.append(str(error))
    if bridge is not None:
        found.extend(bridge.pipeline.tail.problems().values())
        found.extend(bridge.pipeline.tail.losses().values())
        if bridge.pipeline.problem:
            found.append(bridge.pipeline.problem)
        if bridge.raw_spans is not None and (lost := bridge.raw_spans.problem()):
            found.append(lost)
        if not bridge.running:
            found.append("the bridge has ended; see the log of tailtrace, and start it again")
        elif now_us - bridge.pipeline.counters.last_bucket_us > _STALLED_US:
            found.append("the bridge took no step for a minute; see the log of tailtrace")
    return found

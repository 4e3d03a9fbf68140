"""The HTTP side of what broke, and of deployments. Parameters are checked here; the answer is `answers.errors`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import APIRouter, Depends, Query, Request
from pydantic import ConfigDict, Field

from tailtrace_api.access.roles import only_of
from tailtrace_api.answers.errors import Mark, Markers, WhatBroke
from tailtrace_api.http.cross_origin import UNSUPPORTED, refuse_cross_origin
from tailtrace_api.http.errors import ERRORS
from tailtrace_api.http.parameters import KNOWN_ONLY, moment_us
from tailtrace_api.http.windows import Ends, ends_of, window_of
from tailtrace_api.queries.errors import Errors
from tailtrace_bridge.core.records import Marker
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.store.values import Window

HOURS_MAX = 720
TEXT_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class NewMarker:
    """What happened, such as `shop 1.4 deployed`; of which app; when, in ISO 8601, now where it is left out."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}  # `at` for `time` would be now
    text: Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH_MAX, pattern=r"\S")]
    service: Annotated[str, Field(max_length=TEXT_LENGTH_MAX)] = ""
    time: Annotated[str | None, Field(max_length=40)] = None


def error_router(errors: Errors, clock: Callable[[], int]) -> APIRouter:
    """Make the routes. `clock` gives microseconds since the epoch."""
    router = APIRouter(prefix="/analytics", dependencies=[KNOWN_ONLY], responses=ERRORS)
    ends_type = Annotated[Ends, Depends(ends_of(clock))]
    window_type = Annotated[Window, Depends(window_of(clock))]

    @router.get("/errors", tags=["analytics"])
    def groups(
        request: Request,
        ends: ends_type,
        *,
        hours: Annotated[int, Query(ge=1, le=HOURS_MAX, description="How far the window reaches back.")] = 24,
    ) -> WhatBroke:
        """Return what broke, in groups: whom it hit, since when, in which version; and the deployments of that time.

        Every 5xx, and every error that the app told. For a member names and traces are their own, numbers are of all.
        """
        return errors.what_broke(ends.window(hours), only=only_of(request.scope))

    @router.get("/panels/errors", tags=["dashboard"])
    def panel(request: Request, window: window_type) -> WhatBroke:
        """Return the same for the page, whatever its filters say."""
        return errors.what_broke(window, only=only_of(request.scope))

    @router.get("/panels/markers", tags=["dashboard"])
    def marks(window: window_type) -> Markers:
        """Return deployments and notes, which stand as lines in the charts of the page."""
        return errors.markers(window)

    @router.post(
        "/markers",
        tags=["analytics"],
        status_code=201,
        dependencies=[Depends(refuse_cross_origin)],
        responses=UNSUPPORTED,
    )
    def new_marker(marker: NewMarker) -> Mark:
        """Write down that something happened, such as a deployment. For admins."""
        at_us = clock() if marker.time is None else moment_us(marker.time, "time", "body")
        return errors.mark(Marker(at_us, "note", printable(marker.service), printable(marker.text.strip())))

    return router

"""The HTTP side of what broke, and of deployments. Parameters are checked here; the answer is `answers.errors`.

`POST /analytics/markers` is the one route of ours that changes something. A page elsewhere, open in the browser of
somebody who may post here, must not:

| the request | is answered |
|---|---|
| with another type than `application/json`, as a form of a page elsewhere has | 415 |
| that a browser says comes from another origin (`Origin`, `Sec-Fetch-Site`) | 403 |
| of another origin by script | never sent: its browser asks first, and no route of ours allows it |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from pydantic import Field

from tailtrace_api.access.roles import only_of
from tailtrace_api.answers.errors import Mark, Markers, WhatBroke
from tailtrace_api.http.errors import Error
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

    text: Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH_MAX, pattern=r"\S")]
    service: Annotated[str, Field(max_length=TEXT_LENGTH_MAX)] = ""
    time: Annotated[str | None, Field(max_length=40)] = None


def refuse_elsewhere(request: Request) -> None:
    """Answer 415 or 403 to what a page elsewhere could have sent."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")
    origin, fetched = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    if not is_ours or fetched not in {None, "same-origin", "none"}:
        raise HTTPException(403, "this comes from a page elsewhere")


def error_router(errors: Errors, clock: Callable[[], int]) -> APIRouter:
    """Make the routes. `clock` gives microseconds since the epoch."""
    router = APIRouter(prefix="/analytics", dependencies=[KNOWN_ONLY])
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
        dependencies=[Depends(refuse_elsewhere)],
        responses={415: {"description": "The body is not `application/json`.", "model": Error}},
    )
    def new_marker(marker: NewMarker) -> Mark:
        """Write down that something happened, such as a deployment. For admins."""
        at_us = clock() if marker.time is None else moment_us(marker.time)
        return errors.mark(Marker(at_us, "note", printable(marker.service), printable(marker.text.strip())))

    return router

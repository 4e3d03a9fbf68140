"""The HTTP side of what broke. Parameters are checked here; the answer is `answers.errors`."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request

from tailtrace_api.access.roles import only_of
from tailtrace_api.answers.errors import WhatBroke
from tailtrace_api.answers.panels import PERIODS
from tailtrace_api.http.parameters import KNOWN_ONLY, at_of
from tailtrace_api.queries.errors import Errors, NotKeptError

HOURS_MAX = 720


def error_router(errors: Errors, clock: Callable[[], int]) -> APIRouter:
    """Make the routes. `clock` gives microseconds since the epoch."""
    router = APIRouter(prefix="/analytics", dependencies=[KNOWN_ONLY])
    at_type = Annotated[int, Depends(at_of(clock))]

    @router.get("/errors", tags=["analytics"])
    def groups(
        request: Request,
        at: at_type,
        *,
        hours: Annotated[int, Query(ge=1, le=HOURS_MAX, description="How far the window reaches back.")] = 24,
    ) -> WhatBroke:
        """Return what broke, in groups: whom it hit, since when, in which version; and the deployments of that time.

        Every 5xx, and every error that the app told. For a member names and traces are their own, numbers are of all.
        """
        try:
            return errors.what_broke(at, hours=hours, only=only_of(request.scope))
        except NotKeptError as error:
            raise HTTPException(404, str(error)) from None

    @router.get("/panels/errors", tags=["dashboard"])
    def panel(
        request: Request,
        at: at_type,
        period: Annotated[str, Query(pattern=f"^({'|'.join(PERIODS)})$", description="How far it reaches back.")],
    ) -> WhatBroke | None:
        """Return the same for the page; null where the store keeps no groups. Whatever the filters of the page say."""
        return errors.in_panel(at, hours=PERIODS[period].hours, only=only_of(request.scope))

    return router

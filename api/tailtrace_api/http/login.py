"""Logging in by a link, logging out, and who one is. `access.sessions` has the rules.

A login by GET would be a login by whatever looks at a link before its reader does. So the link shows a page (`page`),
whose button posts what the address has behind its `#`.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import Field

from tailtrace_api.access.roles import Role, caller_of
from tailtrace_api.access.sessions import Sessions, cookie_of, set_cookie
from tailtrace_api.http.cross_origin import UNSUPPORTED, refuse_cross_origin
from tailtrace_api.http.errors import ERRORS

LINK_OVER = "this login link was used already, is too old, or was revoked: ask for another one"
CODE_LENGTH_MAX = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Code:
    """What a login link has behind its `#`."""

    code: Annotated[str, Field(min_length=1, max_length=CODE_LENGTH_MAX)]


@dataclass(frozen=True, slots=True)
class Me:
    """Who asks. `way` is how that is known; `token` names the token of a program or of a login."""

    user: str | None
    role: Literal["member", "admin"]
    way: str | None
    token: str | None


def login_router(sessions: Sessions, random: Callable[[int], str] = secrets.token_urlsafe) -> APIRouter:
    """Make the routes. `random` gives as many random bytes as it is asked for, as text."""
    router = APIRouter(tags=["access"], responses=ERRORS)
    from_here = [Depends(refuse_cross_origin)]

    @router.post("/login", status_code=204, dependencies=from_here, responses=UNSUPPORTED)
    def log_in(request: Request, code: Code) -> Response:
        """Use a login link up: the browser has a new session, as a cookie."""
        made = sessions.log_in(code.code, cookie_of(request.headers.getlist("cookie")), random=random)
        if made is None:
            raise HTTPException(401, LINK_OVER, headers={"WWW-Authenticate": "Bearer"})
        session, life_s = made
        token = sessions.find(session)
        _log.info("somebody logged in by a link of the token %r", token.name if token else "")
        return _with_cookie(request, session, life_s)

    @router.post("/logout", status_code=204, dependencies=from_here, responses=UNSUPPORTED)
    def log_out(request: Request) -> Response:
        """End the browser's session; without one, do nothing."""
        sessions.log_out(cookie_of(request.headers.getlist("cookie")))
        return _with_cookie(request, "", 0)

    @router.get("/session")
    def session(request: Request) -> Me:
        """Return who asks."""
        caller = caller_of(request.scope)
        if caller is None:
            return Me(None, "admin", None, None)
        role: Literal["member", "admin"] = "admin" if caller.role is Role.ADMIN else "member"
        return Me(caller.login or None, role, caller.way or None, caller.token or None)

    return router


def _with_cookie(request: Request, secret: str, life_s: int) -> Response:
    """Answer with the cookie. A proxy may end TLS before us; its browser says by which scheme it came."""
    is_https = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    return Response(status_code=204, headers={"Set-Cookie": set_cookie(secret, life_s=life_s, is_https=is_https)})

"""How every answer of the HTTP API is asked: what is the same on all routes below `/analytics` and `/tailnet`.

| asked with | answered |
|---|---|
| a parameter that the route does not take, such as `houres=3` | 422: which one, the near ones, all that there are |
| a time that is none, or times that are no window (`windows`) | 422 |
| anything else | by the route |

Unknown parameters get a 422: ignoring a typo would return numbers nobody asked for. So no answer is tolerant, the
widget's neither: the script that asks for it comes from here, and its answer is never cached. What answers with no
numbers of its parameters is: the page, its files (a `?v=3` is no harm there) and `/health`, `/ready`, `/metrics`.
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from fastapi import Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from tailtrace_api.access.roles import only_of

TOLD_MAX = 10
"""Unknown parameters that are told of one by one; a 422 names the first."""
TEXT_MAX = 512
_CURSOR = re.compile(r"(\d{1,18})-(\d{1,19})")
AT_US_MAX = 253_402_300_800_000_000
"""The year 10000."""

Text = Annotated[str | None, Query(max_length=TEXT_MAX)]
User = Annotated[
    str | None,
    Query(max_length=TEXT_MAX, description="A login, under any name it has had; or an address, whoever had it."),
]
Service = Annotated[
    str | None, Query(max_length=TEXT_MAX, description="A service; empty: requests of which none is known.")
]
Days = Annotated[int, Query(ge=1, le=30, description="How far the window reaches back.")]
TraceId = Annotated[str, Path(pattern="^[0-9A-Fa-f]{32}$", description="32 hex digits.")]


def _only(request: Request) -> str | None:
    return only_of(request.scope)


Only = Annotated[str | None, Depends(_only)]
"""The login that an answer is restricted to: that of a member who asks."""


def wrong(name: str, message: str, value: str, kind: str, within: str = "query") -> RequestValidationError:
    """Make the 422 of a parameter, in the form that FastAPI gives its own."""
    return RequestValidationError([{"type": kind, "loc": [within, name], "msg": message, "input": value}])


async def refuse_unknown(request: Request) -> None:
    """Answer 422 to parameters that the route does not take. A coroutine, so that it costs no thread."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = _names(route) if request.query_params else []
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise RequestValidationError(
            [
                {
                    "type": "unknown_parameter",
                    "loc": ["query", name],
                    "msg": _unknown(route.path, name, known),
                    "input": request.query_params[name],
                }
                for name in unknown[:TOLD_MAX]
            ]
        )


KNOWN_ONLY = Depends(refuse_unknown)
"""For the `dependencies` of a router."""


_NAMES: WeakKeyDictionary[Callable[..., Any], list[str]] = WeakKeyDictionary()
"""By the function of a route: its OpenAPI document takes milliseconds, once."""


def _names(route: APIRoute) -> list[str]:
    """Return the parameters of a route, those of what it depends on too, as its OpenAPI document has them."""
    if (known := _NAMES.get(route.endpoint)) is None:
        paths: Mapping[str, Mapping[str, Any]] = get_openapi(title="", version="", routes=[route])["paths"]
        operations = [operation for path in paths.values() for operation in path.values()]
        parameters = [one for operation in operations for one in operation.get("parameters", ())]
        known = _NAMES[route.endpoint] = [one["name"] for one in parameters if one["in"] == "query"]
    return known


def _unknown(path: str, name: str, known: list[str]) -> str:
    if not known:
        return f"{path} takes no parameters."
    near = get_close_matches(name.lower(), known, n=3)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{path} does not take this parameter. {meant}It takes: {', '.join(known)}."


def at_of(clock: Callable[[], int]) -> Callable[[str | None], int]:
    """Make what gives the end of a window, µs, for `Depends`. `clock` gives microseconds since the epoch."""

    async def at_us(
        at: Annotated[
            str | None,
            Query(max_length=40, description="End of the window: ISO 8601, UTC where it names no zone. Default: now."),
        ] = None,
    ) -> int:
        return clock() if at is None else moment_us(at)

    return at_us  # type: ignore[return-value]  # a coroutine, which FastAPI awaits


def moment_us(text: str, name: str = "at", within: str = "query") -> int:
    """Read a time. Answers 422, of the parameter of this name, to what is none."""
    from tailtrace_api.answers.requests import time_us  # noqa: PLC0415 - a start needs no records of answers

    try:
        found_us = time_us(text)
    except (ValueError, OverflowError):
        found_us = -1
    if not 0 <= found_us <= AT_US_MAX:
        said = "No time: write one like 2025-10-09T10:00:00Z. The + of a zone is written %2B in an address."
        raise wrong(name, said, text, "time", within)
    return found_us


def place(cursor: str | None) -> tuple[int, int] | None:
    """Return the place in the log where a page ended. Answers 422 to what is no cursor of ours."""
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None or int(match[2]) >= 1 << 63:
        said = "No cursor of ours: pass the `next_cursor` of the page before, or leave it out."
        raise wrong("cursor", said, cursor, "cursor")
    return int(match[1]), int(match[2])

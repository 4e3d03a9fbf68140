"""Cross-site request forgery: what guards each route that changes something from pages of other origins.

| the request | is answered |
|---|---|
| with another type than `application/json`, as a form of a page of another origin has | 415 |
| that a browser says comes from another origin (`Origin`, `Sec-Fetch-Site`) | 403 |
| of another origin by script | never sent: its browser asks first, and no route of ours allows it |
"""

from typing import Any

from fastapi import HTTPException, Request

from tailtrace_api.access.cross_origin import CROSS_ORIGIN, is_cross_origin
from tailtrace_api.http.errors import Error

UNSUPPORTED: dict[int | str, dict[str, Any]] = {
    415: {"description": "The body is not `application/json`.", "model": Error}
}


def refuse_cross_origin(request: Request) -> None:
    """Answer 415 or 403 to what a page of another origin could have sent."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")
    if is_cross_origin(request.headers):
        raise HTTPException(403, CROSS_ORIGIN)

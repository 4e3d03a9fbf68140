"""What stands before each route that changes something: a page elsewhere, open in the browser of who may, must not.

| the request | is answered |
|---|---|
| with another type than `application/json`, as a form of a page elsewhere has | 415 |
| that a browser says comes from another origin (`Origin`, `Sec-Fetch-Site`) | 403 |
| of another origin by script | never sent: its browser asks first, and no route of ours allows it |
"""

from typing import Any

from fastapi import HTTPException, Request

from tailtrace_api.access.elsewhere import FROM_ELSEWHERE, is_elsewhere
from tailtrace_api.http.errors import Error

UNSUPPORTED: dict[int | str, dict[str, Any]] = {
    415: {"description": "The body is not `application/json`.", "model": Error}
}


def refuse_elsewhere(request: Request) -> None:
    """Answer 415 or 403 to what a page elsewhere could have sent."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")
    if is_elsewhere(request.headers):
        raise HTTPException(403, FROM_ELSEWHERE)

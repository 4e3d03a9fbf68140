"""What any route may answer with instead, in one form: `{"detail": …}`, a sentence, or a list of wrong parameters."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class WrongParameter(BaseModel):
    """One parameter that is wrong."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="The kind of mistake, for programs.")
    loc: list[str | int] = Field(description="Where: `query`, `path` or `body`, and the name.")
    msg: str = Field(description="What is wrong, and what to write.")


class Error(BaseModel):
    """An answer that is an error."""

    model_config = ConfigDict(extra="forbid")

    detail: str | list[WrongParameter] = Field(description="What is wrong, and what to do.")


_MEANINGS = {
    400: "The Host header names none of ours, or the length of the body is said twice.",
    401: "Nobody knows who asks: `detail` says what to send.",
    403: "It is for admins, or it is another person's.",
    404: "There is no such thing.",
    413: "The body is too long: a question has none.",
    422: "A parameter is wrong, or there is none of its name.",
    429: "Too much from one address; `Retry-After` says how many seconds to wait.",
    503: "The store or the tailnet does not answer, or too much is open already; `Retry-After` says when to ask again.",
}
_SCHEMA = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
RETRY_AFTER = {
    "Retry-After": {"description": "How many seconds to wait.", "required": True, "schema": {"type": "integer"}}
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": meaning, "content": _SCHEMA} | ({"headers": RETRY_AFTER} if status in {429, 503} else {})
    for status, meaning in _MEANINGS.items()
}
"""For the `responses` of a router. By the name of the model: FastAPI would make a validator of it for each route, and
say of a route whose own answer is no JSON that its errors are none either.
"""

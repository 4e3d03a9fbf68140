"""What fields of answers mean, for their schemas. Apart from `record`, which a bridge without an API has too."""

from typing import Annotated, Any

from pydantic import Field


def meaning(said: str) -> Any:
    """Return what a field is, for the schema. In `Annotated`."""
    return Field(description=said)


Window = dict[str, str]
"""`from` and `to`, as `iso` writes them."""
InPart = Annotated[
    tuple[int, ...],
    meaning("Places in the list of steps that are not whole: not over, cut by the window, or where the data begins."),
]
Truncated = Annotated[
    dict[str, int],
    meaning("Lists of this answer that were cut: their name, and how many rows there are. Mostly empty."),
]

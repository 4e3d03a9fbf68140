"""Models of pydantic whose validators are made when one is first used.

A library defines all the models of its protocol when it is imported, and pydantic makes a validator of each: FastAPI
of an OpenAPI document, MCP of each version of its protocol. A server uses a few of them, or none.
"""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def models_deferred() -> Iterator[None]:
    """Defer those (pydantic's `defer_build`) that are defined by what is imported meanwhile; all others stay."""
    from pydantic import BaseModel  # noqa: PLC0415 - a bridge without an API loads it for its settings alone

    usual = BaseModel.model_config
    BaseModel.model_config = {**usual, "defer_build": True}
    try:
        yield
    finally:
        BaseModel.model_config = usual

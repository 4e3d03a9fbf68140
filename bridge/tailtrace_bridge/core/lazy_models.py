"""Models and type adapters of pydantic whose validators are made when one is first used.

A library defines all the models of its protocol when it is imported, and pydantic makes a validator of each: FastAPI
of an OpenAPI document, MCP of each version of its protocol. A server uses a few of them, or none.
"""

from collections.abc import Iterator
from contextlib import contextmanager

_DEFERS = "_defer_build"
"""What an adapter reads of its `config`, which a library does not give it."""


@contextmanager
def models_deferred() -> Iterator[None]:
    """Defer those (pydantic's `defer_build`) that are defined by what is imported meanwhile; all others stay."""
    from pydantic import BaseModel, TypeAdapter  # noqa: PLC0415 - a bridge without an API loads it for its settings

    usual, kept = BaseModel.model_config, vars(TypeAdapter).get(_DEFERS)
    BaseModel.model_config = {**usual, "defer_build": True}
    setattr(TypeAdapter, _DEFERS, property(lambda _: True))
    try:
        yield
    finally:
        BaseModel.model_config = usual
        setattr(TypeAdapter, _DEFERS, kept)

"""How a server loads what it needs: without work that nobody asked for yet. `bench/startup.py` measures it.

| is put off | until |
|---|---|
| the search for cycles among all that is being loaded, over and over | the server listens (`end`) |
| FastAPI's models of an OpenAPI document, which it builds when it is imported | `/openapi.json` is asked for |
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """Load without a search for cycles, up to `end`."""
    gc.disable()
    try:
        yield
    finally:
        end()


def end() -> None:
    """Search for cycles again."""
    gc.enable()


def import_fastapi() -> None:
    """Import FastAPI with its own models deferred (pydantic's `defer_build`): each is built when it is first used."""
    from pydantic import BaseModel  # noqa: PLC0415 - a bridge without an API loads neither

    usual = BaseModel.model_config
    BaseModel.model_config = {**usual, "defer_build": True}
    try:
        import fastapi  # noqa: F401, PLC0415
    finally:
        BaseModel.model_config = usual

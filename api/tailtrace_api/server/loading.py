"""How a server loads what it needs: without work that nobody asked for yet. `bench/startup.py` measures it.

| is put off | until |
|---|---|
| the search for cycles among all that is being loaded, over and over | the server listens (`end`) |
| FastAPI's models of an OpenAPI document, which it builds when it is imported | `/openapi.json` is asked for |
| the models of pydantic 1, for one of which FastAPI looks at each type that it is given | never: there is none |
| the answers, their records and their routes (`server/answers.py`) | a question comes, by HTTP or by MCP |
| uvicorn's own command line | never |
"""

import contextlib
import gc
import sys
from collections.abc import Iterator

from tailtrace_bridge.core.lazy_models import models_deferred


@contextlib.contextmanager
def quickly(*gathering: str) -> Iterator[None]:
    """Load without a search for cycles, up to `end`, and of these packages what is asked for alone."""
    gc.disable()
    if gathering:
        from tailtrace_bridge.core.lazy_package import gather_lazily  # noqa: PLC0415 - it reads Python

        gather_lazily(*gathering)
    try:
        yield
    finally:
        end()


def end() -> None:
    """Search for cycles again, though not among what is loaded: it stays, and a search of it stops all threads."""
    gc.freeze()
    gc.enable()


def import_fastapi() -> None:
    """Import FastAPI with its own models deferred: each is built when it is first used."""
    # https://docs.python.org/3/reference/import.html#the-module-cache: None is a module that is not there.
    sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]
    with models_deferred():
        import fastapi  # noqa: F401, PLC0415 - a bridge without an API does not load it

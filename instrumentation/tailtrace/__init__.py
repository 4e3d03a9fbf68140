"""tailtrace in an app: one line, `tailtrace.instrument(app)`. Importing this imports nothing else."""

from typing import Any

__all__ = ["instrument"]


def instrument(app: Any) -> None:
    """Trace the requests of a FastAPI (or Starlette) app, as the standard `OTEL_*` variables say.

    Call it once for each app that a server runs, before or after routes and middleware are added; mounted apps belong
    to the app that they are mounted in. It never raises. `tailtrace.settings` lists the variables.
    """
    from tailtrace.attach import attach  # noqa: PLC0415 - an app pays for tracing when it asks for it

    attach(app)

"""tailtrace in an app: one line, `tailtrace.instrument(app)`."""

from tailtrace.instrument import instrument

__all__ = ["instrument"]

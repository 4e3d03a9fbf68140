"""What we print and log, made harmless: a name of a file, a device or a server's answer may hold escapes and line ends.

A terminal obeys escapes, and one line of a log must not look like two (CWE-117, CWE-150). Other letters stay.
"""

import logging
import os
import sys
from functools import cache
from typing import TYPE_CHECKING

from tailtrace_bridge.core.text import printable

if TYPE_CHECKING:  # 3 MiB of a server that never draws a table, so brought where one is drawn
    from rich.console import Console

TEXT_LENGTH_MAX = 20_000
PIPED_COLUMNS = 1000
"""A pipe or a file has no width: there a row stays on one line, unless COLUMNS says how wide to write."""


def console() -> "Console":
    """Return the standard output for tables."""
    from rich.console import Console  # noqa: PLC0415

    is_wide = not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdigit()
    return Console(width=PIPED_COLUMNS if is_wide else None)


@cache
def errors() -> "Console":
    """Return the standard error, for what is no answer: progress, notes, what went wrong."""
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True)


def note(text: object, style: str | None = None) -> None:
    """Print a text to the standard error as it is; untrusted text is given through `lines`."""
    if sys.stderr.isatty() or os.environ.get("FORCE_COLOR"):
        errors().print(text, style=style, markup=False, highlight=False, soft_wrap=True)
    else:  # a tenth of a small import was to load what colours this
        sys.stderr.write(f"{text}\n")


def lines(text: object) -> str:
    """Return a text of ours whose lines are meant, and nothing in them that a terminal would obey."""
    return "\n".join(printable(line, TEXT_LENGTH_MAX) for line in str(text).split("\n"))


class Formatter(logging.Formatter):
    """Makes one line of each message; a traceback behind it keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format a message that is one line."""
        record.message = printable(record.message, TEXT_LENGTH_MAX)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802
        """Format a traceback without escapes."""
        return lines(super().formatException(ei))  # type: ignore[arg-type]

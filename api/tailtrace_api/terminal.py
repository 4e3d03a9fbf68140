"""What we print and log, made harmless: a name of a file, a device or a server's answer may hold escapes and line ends.

A terminal obeys escapes, and one line of a log must not look like two (CWE-117, CWE-150). Other letters stay.
"""

import logging
import os
import sys

from rich.console import Console

from tailtrace_bridge.identity import printable

TEXT_LENGTH_MAX = 20_000
PIPED_COLUMNS = 1000
"""A pipe or a file has no width: there a row stays on one line, unless COLUMNS says how wide to write."""


def console() -> Console:
    """Give the standard output for tables."""
    is_wide = not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdigit()
    return Console(width=PIPED_COLUMNS if is_wide else None)


def lines(text: object) -> str:
    """Give a text of ours whose lines are meant, and nothing in them that a terminal would obey."""
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

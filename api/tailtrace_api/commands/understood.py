"""Show what a log was read as: for each format its name, its text and three lines by field."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tailtrace_api.terminal.console import note
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.logs.recognise import CUT, OF_ERROR_LOG, TWO_REQUESTS
from tailtrace_bridge.logs.understood import FormatFound, Understood

WIDTH_MAX = 60
FORMATS_SHOWN = 4
_OF_NO_FORMAT = {OF_ERROR_LOG, TWO_REQUESTS, CUT}
"""What no format would help."""


def print_understood(found: Understood, say: Callable[[str], None] = note) -> None:
    """Print it: to standard error, which progress and hints go to, unless `say` does otherwise."""
    if not found.looked_at:
        return
    file = printable(found.file, WIDTH_MAX * 2)
    for one in found.formats[:FORMATS_SHOWN]:
        say(f"{file}: {one.name}, {one.lines} of {_looked_at(found)}")
        say(f"  {printable(one.source, 1000)}")
        _print_table(one, say)
    if len(found.formats) > FORMATS_SHOWN:
        say(f"  and {len(found.formats) - FORMATS_SHOWN} more formats, in few lines each; --json has all")
    for why, count in found.unsure.items():
        say(f"{file}: not sure of {count} of {_looked_at(found)}: {why}")
    if found.unsure.keys() - _OF_NO_FORMAT or not (found.formats or found.unsure):
        say(
            "  Say the format: --nginx-conf /etc/nginx/nginx.conf, or --log-format '…' as `nginx -T` prints it; "
            f"`tailtrace inspect {file}` tries it without storing anything."
        )


def _looked_at(found: Understood) -> str:
    if found.from_line == 1:
        return f"the first {found.looked_at} lines"
    return f"{found.looked_at} lines that were looked at, from line {found.from_line} on"


def _print_table(one: FormatFound, say: Callable[[str], None]) -> None:
    if not one.rows:
        return
    fields = list(one.rows[0])
    name_width = max(map(len, fields))
    shown = [{name: printable(row[name], WIDTH_MAX) or "-" for name in fields} for row in one.rows]
    widths = [min(WIDTH_MAX, max(len(row[name]) for name in fields)) for row in shown]
    for name in fields:
        cells = "  ".join(row[name].ljust(width) for row, width in zip(shown, widths, strict=True))
        say(f"    {name.ljust(name_width)}  {cells.rstrip()}")


def as_plain(found: Understood) -> dict[str, Any]:
    """Return it for JSON."""
    return {**asdict(found), "sure": found.is_sure}

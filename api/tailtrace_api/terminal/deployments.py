"""What deployments changed, in the terminal: a line of name and time, a line of numbers. Names are untrusted."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from tailtrace_api.answers.deployments import Deployment
from tailtrace_api.terminal.numbers import NONE, decimal, milliseconds, percent
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.core.times import parse_time
from tailtrace_bridge.texts.catalogue import Texts


def print_deployments(console: Console, found: Sequence[Deployment], lang: str, zone: ZoneInfo | None = None) -> None:
    """Print them, the oldest first; with their times as answers have them, or in a zone."""
    for one in found:
        name = f"{one.service or ''} {one.text}".strip()
        time = one.time if zone is None else f"{parse_time(one.time).astimezone(zone):%Y-%m-%d %H:%M}"
        console.print(Text(printable(f"▲ {time} {name}"), style="cyan"), soft_wrap=True)
        if one.before or one.after:
            console.print(Text(printable(f"  {change_of(one, lang)}")), soft_wrap=True)


def change_of(one: Deployment, lang: str) -> str:
    """Return before and after in numbers."""
    sides = one.before, one.after
    return Texts("report", lang)(
        "deployment",
        rate=_arrow([NONE if side is None else decimal(side.requests_per_minute, lang, 1) for side in sides]),
        errors=_arrow([NONE if side is None else _share(side.error_rate, lang) for side in sides]),
        p95=_arrow([NONE if side is None else milliseconds(side.p95_ms, lang) for side in sides]),
        new=one.new_errors,
    ) + (f" ({one.of})" if one.of else "")


def _share(share: float | None, lang: str) -> str:
    return percent(None if share is None else 100 * share, lang)


def _arrow(values: Sequence[str]) -> str:
    return " → ".join(values)

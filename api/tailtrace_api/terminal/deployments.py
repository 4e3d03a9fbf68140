"""What deployments changed, in the terminal: a line of name and time, a line of numbers. Names are untrusted."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from tailtrace_api.answers.deployments import Deployment
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.texts.catalogue import Texts


def print_deployments(console: Console, found: Sequence[Deployment], lang: str) -> None:
    """Print them, the oldest first."""
    texts = Texts("report", lang)
    for one in found:
        name = f"{one.service or ''} {one.text}".strip()
        console.print(Text(printable(f"▲ {one.time} {name}"), style="cyan"), soft_wrap=True)
        if one.before or one.after:
            console.print(Text(printable(f"  {change_of(one, texts)}")), soft_wrap=True)


def change_of(one: Deployment, texts: Texts) -> str:
    """Return before and after in numbers."""
    sides = one.before, one.after
    return texts(
        "deployment",
        rate=_arrow([None if side is None else f"{side.requests_per_minute:g}" for side in sides]),
        errors=_arrow([None if side is None else _percent(side.error_rate) for side in sides]),
        p95=_arrow([None if side is None else _ms(side.p95_ms) for side in sides]),
        new=one.new_errors,
    ) + (f" ({one.of})" if one.of else "")


def _arrow(values: Sequence[str | None]) -> str:
    return " → ".join(value or "–" for value in values)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.4g}%"


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:g} ms"

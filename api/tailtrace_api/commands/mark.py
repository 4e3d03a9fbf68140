"""`tailtrace mark TEXT`: write down that something happened now, such as a deployment."""

from typing import Annotated

import typer

from tailtrace_api.commands.options import StoreOption, time_us

TEXT_LENGTH_MAX = 200


def mark(
    text: Annotated[str, typer.Argument(help="What happened: `shop 1.4 deployed`.")],
    *,
    service: Annotated[str, typer.Option(help="Of which app.")] = "",
    at: Annotated[str | None, typer.Option(help="When, ISO 8601 (default: now).")] = None,
    store: StoreOption = None,
) -> None:
    """Write down that something happened: errors and the dashboard show it."""
    from tailtrace_bridge.core.records import Marker
    from tailtrace_bridge.core.text import printable
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.wiring import parts

    if not text.strip() or len(text) > TEXT_LENGTH_MAX or len(service) > TEXT_LENGTH_MAX:
        raise typer.BadParameter(f"write what happened in {TEXT_LENGTH_MAX} characters or fewer")
    chosen = settings.load(store=store)
    when_us = parts.clock_us() if at is None else time_us("--at", at)
    with parts.existing_store(chosen, reading=False) as opened:
        opened.add_markers([Marker(when_us, "note", printable(service), printable(text.strip()))])
    typer.echo("noted")

"""`tailtrace errors`: what broke, in groups, and whom it hit."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from tailtrace_api.commands.options import Json, StoreOption, time_us


def errors(
    *,
    hours: Annotated[int, typer.Option(min=1, max=720, help="How far back to look.")] = 24,
    at: Annotated[str | None, typer.Option(help="End of the window, ISO 8601 (default: now).")] = None,
    resolve: Annotated[str | None, typer.Option(metavar="ID", help="Note that a group is mended.")] = None,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Print what broke: groups of failed requests, whom they hit, since when, in which version."""
    from tailtrace_api.queries.errors import Errors
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.store.values import back
    from tailtrace_bridge.wiring import parts

    chosen = settings.load(store=store)
    with parts.existing_store(chosen, reading=resolve is None) as opened:
        if resolve is not None:
            if not opened.resolve_error(resolve, parts.clock_us()):
                raise typer.BadParameter(
                    f"--resolve {resolve!r}: there is no such group; `tailtrace errors` has the ids"
                )
            typer.echo(f"{resolve} is mended; it is back when it comes again")
            return
        end_us = parts.clock_us() if at is None else time_us("--at", at)
        found = Errors(opened).what_broke(back(end_us, hours))
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    from tailtrace_api.terminal.broken import print_broken
    from tailtrace_api.terminal.console import console

    print_broken(console(), found)

"""`tailtrace mcp`: an assistant's questions, on the standard input and output."""

import gc
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from tailtrace_api.commands.options import StoreOption


def mcp(
    *,
    store: StoreOption = None,
    url: Annotated[
        str | None, typer.Option(help="Ask a running API instead of a store: http://127.0.0.1:8470.")
    ] = None,
    tools: Annotated[
        str | None, typer.Option(help="Offer these only: analytics, tailscale, or names of tools, with commas.")
    ] = None,
    print_config: Annotated[
        Literal["claude-desktop", "claude-code", "cursor"] | None,
        typer.Option(metavar="CLIENT", help="Print what claude-desktop, claude-code or cursor needs, and exit."),
    ] = None,
) -> None:
    """Answer an assistant by the Model Context Protocol, on stdin and stdout."""
    from tailtrace_api.mcp_server.parameters import WrongArgumentError
    from tailtrace_api.mcp_server.tools import select
    from tailtrace_bridge.settings import table as settings

    if store is not None and url is not None:
        raise typer.BadParameter("give --store or --url, not both")
    try:
        chosen = select(tools)
    except WrongArgumentError as error:
        raise typer.BadParameter(str(error)) from None
    if print_config is not None:
        from tailtrace_api.mcp_server.client_config import CLIENTS, client_config

        typer.echo(client_config(print_config, _program(), settings.load(store=store), url=url, tools=tools))
        typer.echo(CLIENTS[print_config], err=True)
        return
    # Loading the SDK makes many objects and no garbage; to look for it took a fifth of the time of a start.
    gc.disable()
    from tailtrace_api.mcp_server.stdio import run_stdio

    gc.freeze()
    gc.enable()
    run_stdio(settings.load(store=store), chosen, url)


def _program() -> Path:
    """Find the program `tailtrace` that runs: beside its Python, else by the name it was called by."""
    beside = Path(sys.executable).with_name("tailtrace")
    return beside if beside.is_file() else Path(shutil.which(sys.argv[0]) or sys.argv[0])

"""`tailtrace demo`: all of it, with a real nginx and a real app."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    *,
    seconds: Annotated[float | None, typer.Option(min=1, help="End by itself, with a report.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="Requests per second.")] = 20,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="nginx's port; another is taken if it is not free.")
    ] = 8080,
    api_port: Annotated[int, typer.Option(min=0, max=65535, help="The API's port; likewise.")] = 8470,
    docker: Annotated[bool, typer.Option("--docker", help="As containers, by docker-compose.yml of a clone.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Keep logs and store here (default: a temporary folder).")] = None,
) -> None:
    """Show it all: a real nginx, a real FastAPI app, several people, the three answers."""
    from tailtrace_api.demo.run import run_demo

    raise typer.Exit(run_demo(seconds=seconds, rate=rate, port=port, api_port=api_port, folder=folder, docker=docker))

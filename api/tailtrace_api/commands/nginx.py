"""`tailtrace nginx`: the files that nginx includes."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tailtrace_api.commands.options import Json


def nginx(
    folder: Annotated[Path, typer.Argument(help="Where the include files go.")] = Path("/etc/nginx/tailtrace"),
    *,
    log: Annotated[Path, typer.Option(help="The access log that nginx writes.")] = Path("/var/log/nginx/tailtrace.log"),
    trusted: Annotated[
        list[str] | None, typer.Option(help="A peer (address or CIDR) whose traceparent is believed; repeatable.")
    ] = None,
    sample: Annotated[
        float, typer.Option(help="Percent of the requests whose app makes a span; a trusted peer decides for its own.")
    ] = 100,
    app_header: Annotated[
        str, typer.Option(help="The response header of the app: its TAILTRACE_RESPONSE_HEADER.")
    ] = "X-Tailtrace",
    behind_serve: Annotated[
        bool, typer.Option("--behind-serve", help="Also the file for a server that stands behind `tailscale serve`.")
    ] = False,
    socket: Annotated[Path, typer.Option(help="The socket on which it listens there.")] = Path(
        "/run/tailtrace-nginx/nginx.sock"
    ),
    as_json: Json = False,
) -> None:
    """Write the files that nginx includes, and say where each goes."""
    from tailtrace_api.nginx.include_files import instructions, serve_instructions, write_files

    written = write_files(
        folder,
        log=log,
        trusted=trusted or (),
        sample_percent=sample,
        app_header=app_header,
        behind_serve=socket if behind_serve else None,
    )
    if as_json:
        typer.echo(json.dumps({"files": [str(path) for path in written], "log": str(log)}))
    else:
        typer.echo("".join(f"wrote {path}\n" for path in written))
        typer.echo(instructions(folder, log=log))
        if behind_serve:
            typer.echo(serve_instructions(folder, socket))

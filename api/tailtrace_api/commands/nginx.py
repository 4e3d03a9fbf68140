"""`tailtrace nginx`: the files that nginx includes."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tailtrace_api.commands.options import Json

NGINX_CONF = Path("/etc/nginx/nginx.conf")


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
    nginx_conf: Annotated[
        Path | None, typer.Option(help="nginx's configuration, whose logs are kept (default: /etc/nginx/nginx.conf).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the files that nginx includes, and say where each goes."""
    from tailtrace_api.nginx.include_files import instructions, serve_instructions, write_files
    from tailtrace_api.nginx.kept_logs import kept_logs, missed_logs

    if nginx_conf is not None and not nginx_conf.is_file():
        raise typer.BadParameter(f"--nginx-conf {nginx_conf}: no such file; `nginx -T` begins with its path")

    has_conf = (conf := nginx_conf or NGINX_CONF).is_file()
    kept = kept_logs(conf) if has_conf else ()
    missed = missed_logs(conf) if has_conf else {}
    written = write_files(
        folder,
        log=log,
        trusted=trusted or (),
        sample_percent=sample,
        app_header=app_header,
        behind_serve=socket if behind_serve else None,
        kept=kept,
    )
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "files": [str(path) for path in written],
                    "log": str(log),
                    "kept_logs": list(kept),
                    "missed_logs": missed,
                }
            )
        )
    else:
        typer.echo("".join(f"wrote {path}\n" for path in written))
        for line in kept:
            typer.echo(f"kept beside it, as {conf} has it: access_log {line};\n")
        for server, lines in missed.items():
            again = " ".join(f"access_log {line};" for line in lines)
            typer.echo(
                f"server {server}: an access_log of its own ends those of http {{}}; beside its include: {again}\n"
            )
        typer.echo(instructions(folder, log=log))
        if behind_serve:
            typer.echo(serve_instructions(folder, socket))

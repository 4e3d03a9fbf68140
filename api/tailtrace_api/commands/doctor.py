"""`tailtrace doctor`: the whole path, checked."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tailtrace_api.commands.options import IdentitiesOption, Json, checked_address
from tailtrace_api.terminal.console import console


def doctor(
    *,
    nginx_conf: Annotated[
        Path | None, typer.Option(help="nginx.conf, or what `nginx -T` printed (default: ask `nginx -T`).")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Say too who this IP address is.")] = None,
    identities: IdentitiesOption = None,
    as_json: Json = False,
) -> None:
    """Check the whole path and say what to change. Changes nothing; exit code 1 if anything fails."""
    from tailtrace_api.doctor.run import examine, print_report
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.wiring.parts import clock_us

    if address is not None:
        checked_address(address)
    if nginx_conf is not None and not nginx_conf.is_file():
        said = "this is a folder, name a file in it" if nginx_conf.is_dir() else "no such file"
        raise typer.BadParameter(f"--nginx-conf {nginx_conf}: {said}")
    report = examine(settings.load(identities=identities), clock_us(), nginx_conf=nginx_conf, address=address)
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        print_report(console(), report)
    if report.failed:
        raise typer.Exit(1)

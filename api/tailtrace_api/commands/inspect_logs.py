"""`tailtrace inspect`: what a log is read as."""

from pathlib import Path
from typing import Annotated

import typer

from tailtrace_api.commands.options import FormatOption, Json, NginxConfOption, conf_formats


def inspect_logs(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", readable=False, allow_dash=True, help="Access logs, compressed too; - is stdin."
        ),
    ],
    *,
    log_format: FormatOption = None,
    nginx_conf: NginxConfOption = None,
    show: Annotated[int, typer.Option(min=0, max=10_000, help="Rejected lines shown of each reason.")] = 5,
    as_json: Json = False,
) -> None:
    """Show what a log is read as and what is rejected, without storing. Exit 1 if a line is rejected."""
    from tailtrace_api.commands.inspect import run_inspect
    from tailtrace_bridge.logs.parser import make_parser_of
    from tailtrace_bridge.settings.table import load

    formats, others = conf_formats(files, nginx_conf, log_format)
    known = dict(formats)
    found = load(log_format=others)
    run_inspect(
        files,
        lambda path: make_parser_of(known.get(str(path), (found.log_format,)), found.zone),
        as_json=as_json,
        show=show,
    )

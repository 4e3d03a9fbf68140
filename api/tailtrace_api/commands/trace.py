"""`tailtrace trace ID`: a kept trace as a waterfall in the terminal."""

import json
import re
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from tailtrace_api.commands.options import Json, StoreOption


def trace(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="The trace's id: 32 hex digits.")],
    *,
    otlp: Annotated[bool, typer.Option("--otlp", help="Print it as OTLP/JSON, a line for each request.")] = False,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Draw a kept trace: who asked, where the time went, what broke in which line."""
    from tailtrace_api.queries.traces import Traces
    from tailtrace_api.terminal.console import console
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.wiring import parts

    if re.fullmatch("[0-9A-Fa-f]{32}", trace_id) is None:
        raise typer.BadParameter(f"{trace_id!r} is no trace id: 32 hex digits, as the dashboard and access-logs show")
    chosen = settings.load(store=store)
    with parts.existing_store(chosen) as opened:
        traces = Traces(opened, chosen.trace_url)
        if otlp:
            sys.stdout.buffer.write(traces.otlp(trace_id))
            return
        found = traces.trace(trace_id)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    from tailtrace_api.terminal.waterfall import print_trace

    print_trace(console(), found)

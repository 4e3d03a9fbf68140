"""`tailtrace export`: the exporter with a progress bar, into a file or the standard output."""

import dataclasses
import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from tailtrace_api.commands.options import Json, StoreOption, person_of, time_us
from tailtrace_api.terminal.console import errors, note

if TYPE_CHECKING:
    from rich.console import Console

    from tailtrace_bridge.store.protocol import Store
    from tailtrace_bridge.store.values import Window
    from tailtrace_bridge.transfer.exporter import Exported


def export(
    *,
    format_: Annotated[
        Literal["ndjson", "csv", "parquet"],
        typer.Option("--format", help="ndjson (what `tailtrace import` reads back), csv or parquet."),
    ] = "ndjson",
    since: Annotated[str | None, typer.Option(help="Requests from this time on, ISO 8601 (default: all).")] = None,
    until: Annotated[str | None, typer.Option(help="Requests before this time, ISO 8601 (default: all).")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="File, gzipped if it ends in .gz; - prints.")] = "-",
    user: Annotated[str | None, typer.Option(help="All that is stored about one person, to give to them.")] = None,
    device: Annotated[str | None, typer.Option(help="The same of a device.")] = None,
    address: Annotated[str | None, typer.Option(help="The same of an IP address.")] = None,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Write what the store holds into a file that another store can import."""
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.store.values import Window
    from tailtrace_bridge.transfer.exporter import ALL_TIME
    from tailtrace_bridge.wiring import parts

    if not output:
        raise typer.BadParameter("--output is empty: name a file, or write - to print")
    if not (user is None and device is None and address is None):
        from tailtrace_api.commands.privacy import run_personal_export

        if since or until or format_ == "parquet":
            raise typer.BadParameter(
                "of a person everything is given, as ndjson or csv: leave out --since, --until and --format parquet"
            )
        person = person_of(user, device, address)
        run_personal_export(settings.load(store=store), person, format_, output, as_json=as_json)
        return
    if format_ == "parquet" and output == "-" and sys.stdout.isatty():
        raise typer.BadParameter("--format parquet is no text for a terminal: add --output FILE")
    window = Window(
        ALL_TIME.start_us if since is None else time_us("--since", since),
        ALL_TIME.end_us if until is None else time_us("--until", until),
    )
    if window.start_us >= window.end_us:
        raise typer.BadParameter("--since is not before --until: no request can be between them")
    chosen = settings.load(store=store)
    start = time.monotonic()
    with parts.existing_store(chosen) as opened:
        done, counted = run_export(
            opened, chosen.store, window, format_, output, sys.stdout.buffer, None if as_json else errors()
        )
    result = {**dataclasses.asdict(done), "pruned": max(0, counted - done.requests)}
    result["seconds"] = round(time.monotonic() - start, 3)
    typer.echo(
        json.dumps(result)
        if as_json
        else f"{done.requests} requests, {done.refusals} rejected lines, {done.identities} names"
        f" in {result['seconds']} s",
        err=output == "-",  # else it would stand in the export
    )
    if result["pruned"] and not as_json:
        note(
            f"tailtrace: {result['pruned']} more are only in the rollups of this store, since it has removed old rows: "
            "these stay behind"
        )


def run_export(
    store: "Store", origin: str, window: "Window", form: str, output: str, stdout: BinaryIO, console: "Console | None"
) -> "tuple[Exported, int]":
    """Export, and give what was written and how many requests the store counts.

    `output` is a path, or `-` for `stdout`; `console` shows the progress, if there is one. Raises `BridgeError` where
    the output cannot be written.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tailtrace_api.commands.output import opened
    from tailtrace_bridge.transfer.exporter import FORMATS, Export

    total = Export(store, origin, window).counted()
    with (
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console or Console(quiet=True),
            disable=console is None or not console.is_terminal,
            transient=True,
        ) as progress,
        opened(output, stdout) as file,
    ):
        task = progress.add_task("exporting", total=total)
        export = Export(store, origin, window, lambda count: progress.advance(task, count))
        return FORMATS[form](export, file), total

"""`tailtrace import`: the importer with a progress bar over the bytes of the files."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tailtrace_bridge import build
from tailtrace_bridge.importer import Imported, import_logs
from tailtrace_bridge.settings import Settings


def run_import(files: Sequence[Path], settings: Settings, console: Console | None) -> Imported:
    """Import `files`, oldest names last as given; `console` shows the progress, if there is one."""
    store = build.open_store(settings)
    try:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=console or Console(quiet=True),
            disable=console is None,
            transient=True,
        ) as progress:
            task = progress.add_task("importing", total=sum(path.stat().st_size for path in files if path.is_file()))
            return import_logs(
                files,
                make_parser=lambda: build.line_parser(settings),
                enricher=build.make_enricher(
                    settings, build.make_identities(settings, live=False), build.make_routes(settings)
                ),
                store=store,
                on_bytes=lambda count: progress.advance(task, count),
            )
    finally:
        store.close()

"""`tailtrace backup`: a copy of the store, as of one moment."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from tailtrace_api.commands.options import Json, StoreOption
from tailtrace_api.terminal.console import errors


def backup(
    file: Annotated[Path, typer.Argument(help="The copy: a SQLite store of its own, in one file.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Copy the store into a file, also while `tailtrace serve` writes it. docs/backup.md says how to put it back."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from tailtrace_bridge.core.errors import BridgeError, SettingsError
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.store.sqlite.backup import BESIDE
    from tailtrace_bridge.store.sqlite.backup import backup as copy
    from tailtrace_bridge.wiring import parts

    chosen = settings.load(store=store)
    kind, _, path = chosen.store.partition(":")
    if kind == "influxdb":
        raise SettingsError(
            "backup: the store is InfluxDB, which makes its own: `influx backup FOLDER` with a token that may read all "
            "(docs/backup.md)"
        )
    parts.require_store(chosen)
    if file.exists() and str(file.resolve()) in {str(Path(path).resolve()) + ending for ending in ("", *BESIDE)}:
        raise BridgeError(f"backup: {file} is the store itself; name another file")
    if file.exists() and not file.is_file():
        raise BridgeError(f"backup: {file} is no plain file; name one, as a store cannot be written there")
    if file.exists() and not force:
        raise BridgeError(f"backup: {file} is there already; name another file, or add --force to replace it")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    console = Console(quiet=True) if as_json else errors()
    with _ending_clean(), Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{path} → {file}", total=None)
        size = copy(path, file, lambda done, total: progress.update(task, completed=done, total=total))
    told = {"file": str(file), "bytes": size}
    typer.echo(json.dumps(told) if as_json else f"{file}: {size / 2**20:.1f} MiB, a store as of now")


@contextmanager
def _ending_clean() -> Iterator[None]:
    """Have SIGTERM, by which a timer's service is stopped, remove the part that is copied, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)

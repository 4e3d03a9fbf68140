"""`tailtrace export`: the exporter with a progress bar, into a file or the standard output.

| the output | how it is written |
|---|---|
| `-` | as it comes |
| a file, there or not | beside it under a name of its own, then renamed: it is there whole, or as it was before |
| a device or a pipe | as it comes: it cannot be replaced |
| a name that ends in `.gz` | gzipped |

A file is the owner's alone (mode 0600): it says who did what.
"""

import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tailtrace_bridge.core.errors import BridgeError
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.values import Window
from tailtrace_bridge.transfer.exporter import FORMATS, Export, Exported

GZIP_LEVEL = 6


def run_export(
    store: Store, origin: str, window: Window, form: str, output: str, stdout: BinaryIO, console: Console | None
) -> tuple[Exported, int]:
    """Export, and give what was written and how many requests the store counts.

    `output` is a path, or `-` for `stdout`; `console` shows the progress, if there is one. Raises `BridgeError` where
    the output cannot be written.
    """
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
        _opened(output, stdout) as file,
    ):
        task = progress.add_task("exporting", total=total)
        export = Export(store, origin, window, lambda count: progress.advance(task, count))
        return FORMATS[form](export, file), total


@contextmanager
def _opened(output: str, stdout: BinaryIO) -> Iterator[BinaryIO]:
    if output == "-":
        yield stdout
        stdout.flush()
        return
    path = Path(output)
    try:
        with _whole(path) as file:
            if path.suffix != ".gz":
                yield file
            else:
                # Without a name and a time: the same store gives the same bytes.
                with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed:
                    yield cast("BinaryIO", packed)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BridgeError(
            f"export: {output}: cannot be written: {error.strerror or error}; is the folder there and writable, and "
            "the disk not full?"
        ) from error


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    target = path.resolve()  # a link stays one
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as temporary:
            yield temporary
            _to_disk(temporary)
        Path(name).replace(target)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())

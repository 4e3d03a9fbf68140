"""Where an export goes.

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

from tailtrace_bridge.core.errors import BridgeError

GZIP_LEVEL = 6


@contextmanager
def opened(output: str, stdout: BinaryIO) -> Iterator[BinaryIO]:
    """Open a path, or `-` for `stdout`, to be written. Raises `BridgeError` where it cannot be."""
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

"""`tailtrace import`: the importer with a progress bar over the bytes of the files.

A large import parses in a process of its own, which loads its code while this one loads the rest.
"""

import stat
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tailtrace_bridge.transfer.worker import ImportWorker

if TYPE_CHECKING:
    from tailtrace_bridge.settings.table import Settings
    from tailtrace_bridge.transfer.importer import Imported, ImportJob

WORKER_BYTES_MIN = 8 * 1024 * 1024
"""Smaller imports are over before a second process would be of use."""
PACKED = frozenset({".gz", ".zst", ".xz", ".bz2", ".zip"})
STDIN = "-"
GZIP_RATIO = 10
"""About how much smaller gzip makes an access log."""


def run_import(
    files: Sequence[Path],
    flags: Mapping[str, Any],
    console: Console | None,
    formats: Sequence[tuple[str, str]] = (),
) -> "Imported":
    """Import `files`, oldest names last as given; `console` shows the progress, if there is one.

    `formats` are the formats of those logs that nginx.conf names.
    `flags` are those of `settings.load`, whose errors this raises too.
    """
    sizes = {path: _size(path) for path in files}
    total_bytes = sum(sizes.values())
    unpacked_bytes = sum(size * (GZIP_RATIO if path.suffix in PACKED else 1) for path, size in sizes.items())
    is_large = unpacked_bytes >= WORKER_BYTES_MIN and Path(STDIN) not in files  # a worker's own input is its job
    with ImportWorker() if is_large else nullcontext() as worker:
        from tailtrace_bridge.settings.table import load  # noqa: PLC0415

        settings = load(**flags)
        job = _job(files, settings, formats)
        chunks = job.chunks() if worker is None else worker.chunks(job)

        # The worker is at it by now, and the rest loads meanwhile.
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        from tailtrace_bridge.transfer.importer import store_chunks  # noqa: PLC0415
        from tailtrace_bridge.wiring.parts import open_store  # noqa: PLC0415

        store = open_store(settings)
        try:
            with Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TimeRemainingColumn(),
                console=console or Console(quiet=True),
                disable=console is None or not console.is_terminal,
                transient=True,
            ) as progress:
                task = progress.add_task("importing", total=total_bytes)
                return store_chunks(chunks, store, lambda count: progress.advance(task, count))
        finally:
            store.close()


def _size(path: Path) -> int:
    """Return the size of a file; of what is none, or may not be looked at, 0: the importer says so by itself."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _job(files: Sequence[Path], settings: "Settings", formats: Sequence[tuple[str, str]]) -> "ImportJob":
    from tailtrace_bridge.rows.traffic import HEALTH_PATHS  # noqa: PLC0415
    from tailtrace_bridge.transfer.importer import ImportJob  # noqa: PLC0415
    from tailtrace_bridge.wiring.parts import load_devices, make_routes, pseudonyms_key  # noqa: PLC0415

    return ImportJob(
        tuple(files),
        settings.log_format,
        settings.zone,
        settings.identities,
        make_routes(settings),
        HEALTH_PATHS | frozenset(settings.health_paths),
        settings.tailscale_socket if settings.tailscale_socket.is_socket() else None,
        load_devices(settings),
        settings.serve_headers,
        pseudonyms_key(settings),
        tuple(formats),
    )

"""`tailtrace import`: the importer with a progress bar over the bytes of the files.

A large import parses in a process of its own, which loads its code while this one loads the rest.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tailtrace_bridge.import_worker import ImportWorker
from tailtrace_bridge.settings import Settings

if TYPE_CHECKING:
    from tailtrace_bridge.importer import Imported

WORKER_BYTES_MIN = 8 * 1024 * 1024
"""Smaller imports are over before a second process would be of use."""


def run_import(files: Sequence[Path], settings: Settings, console: Console | None) -> "Imported":
    """Import `files`, oldest names last as given; `console` shows the progress, if there is one."""
    total_bytes = sum(path.stat().st_size for path in files if path.is_file())
    with ImportWorker() if total_bytes >= WORKER_BYTES_MIN else nullcontext() as worker:
        from tailtrace_bridge import build  # noqa: PLC0415  # the worker loads its code while we load ours
        from tailtrace_bridge.importer import ImportJob, store_chunks  # noqa: PLC0415
        from tailtrace_bridge.traffic import HEALTH_PATHS  # noqa: PLC0415

        job = ImportJob(
            tuple(files),
            settings.log_format,
            settings.zone,
            settings.identities,
            build.make_routes(settings),
            HEALTH_PATHS | frozenset(settings.health_paths),
            settings.tailscale_socket if settings.tailscale_socket.is_socket() else None,
            build.load_devices(settings),
            settings.serve_headers,
        )
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
                task = progress.add_task("importing", total=total_bytes)
                return store_chunks(
                    job.chunks() if worker is None else worker.chunks(job),
                    store,
                    lambda count: progress.advance(task, count),
                )
        finally:
            store.close()

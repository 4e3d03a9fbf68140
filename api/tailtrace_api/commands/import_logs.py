"""`tailtrace import`: the importer with a progress bar over the bytes of the files.

A large import parses in a process of its own, which loads its code while this one loads the rest.
"""

import json
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailtrace_api.commands.options import FormatOption, IdentitiesOption, Json, OpenapiOption, StoreOption
from tailtrace_api.terminal.console import errors, lines, note

if TYPE_CHECKING:
    from rich.console import Console

    from tailtrace_bridge.settings.table import Settings
    from tailtrace_bridge.transfer.importer import Imported, ImportJob

WORKER_BYTES_MIN = 8 * 1024 * 1024
"""Smaller imports are over before a second process would be of use."""
GZIP_RATIO = 10
"""About how much smaller gzip makes an access log."""
REFUSED_LENGTH_MAX = 120
"""Characters shown of a refused line, or of its file's name."""


def import_logs(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", readable=False, help="Access logs and exports, .gz too.")
    ],
    *,
    store: StoreOption = None,
    log_format: FormatOption = None,
    identities: IdentitiesOption = None,
    openapi: OpenapiOption = None,
    as_json: Json = False,
) -> None:
    """Import whole logs. Importing a log again changes nothing. Exit 1 if every line is refused."""
    start = time.monotonic()
    flags = {"store": store, "log_format": log_format, "identities": identities, "openapi": openapi}
    done = run_import(files, flags, None if as_json else errors())
    result: dict[str, Any] = {
        "lines": done.lines,
        "stored": done.stored,
        "duplicate": done.duplicate,
        "refused": done.refused,
        "refused_by_reason": dict(sorted(done.refused_by_reason.items())),
        "seconds": round(time.monotonic() - start, 3),
    }
    if as_json:
        typer.echo(json.dumps(result))
    else:
        reasons = ", ".join(f"{reason} {count}" for reason, count in result["refused_by_reason"].items())
        typer.echo(
            f"{done.lines} lines: {done.stored} stored, {done.duplicate} known already, {done.refused} refused"
            f"{f' ({reasons})' if reasons else ''} in {result['seconds']} s"
        )
    for problem in done.problems:
        note(f"tailtrace: {lines(problem)}", "red")
    if 2 * done.refused > done.lines:
        _print_refused(done)
    if done.problems or done.lines == done.refused > 0:
        raise typer.Exit(1)


def run_import(files: Sequence[Path], flags: Mapping[str, Any], console: "Console | None") -> "Imported":
    """Import `files`, oldest names last as given; `console` shows the progress, if there is one.

    `flags` are those of `settings.load`, whose errors this raises too.
    """
    from tailtrace_bridge.transfer.worker import ImportWorker

    sizes = {path: _size(path) for path in files}
    total_bytes = sum(sizes.values())
    unpacked_bytes = sum(size * (GZIP_RATIO if path.suffix == ".gz" else 1) for path, size in sizes.items())
    with ImportWorker() if unpacked_bytes >= WORKER_BYTES_MIN else nullcontext() as worker:
        from tailtrace_bridge.settings.table import load

        settings = load(**flags)
        job = _job(files, settings)
        chunks = job.chunks() if worker is None else worker.chunks(job)

        # The worker is at it by now, and the rest loads meanwhile.
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        from tailtrace_bridge.transfer.importer import store_chunks
        from tailtrace_bridge.wiring.parts import open_store

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


def _job(files: Sequence[Path], settings: "Settings") -> "ImportJob":
    from tailtrace_bridge.rows.traffic import HEALTH_PATHS
    from tailtrace_bridge.transfer.importer import ImportJob
    from tailtrace_bridge.wiring.parts import load_devices, make_routes, pseudonyms_key, serve_peers, tailscale_socket

    return ImportJob(
        tuple(files),
        settings.log_format,
        settings.zone,
        settings.identities,
        make_routes(settings),
        HEALTH_PATHS | frozenset(settings.health_paths),
        socket if (socket := Path(tailscale_socket(settings))).is_socket() else None,
        load_devices(settings),
        serve_peers(settings),
        settings.serve_headers,
        settings.trust_loopback,
        pseudonyms_key(settings),
        settings.history_path,
    )


def _print_refused(done: "Imported") -> None:
    """Show the first refused line of each reason, and what to do."""
    from tailtrace_bridge.core.text import printable

    too_old = done.refused_by_reason.get("store", 0)
    cure = (
        "They are older than what this store keeps: TAILTRACE_RETENTION_DAYS has removed rows of their time, or "
        "InfluxDB's bucket takes none so old. Import them into another store (--store)."
        if 2 * too_old > done.refused
        else "Name the format that nginx writes (`nginx -T` prints it) with --log-format '…'; "
        "scripts/validate_log_parser in a clone says more of each reason."
    )
    note(f"tailtrace: {done.refused} of {done.lines} lines were refused. {cure}", "yellow")
    for reason, refusal in sorted(done.first_refused.items()):
        text = printable(refusal.text, REFUSED_LENGTH_MAX)
        note(f"  {reason}: {printable(refusal.file, REFUSED_LENGTH_MAX)}, byte {refusal.offset}: {text}")

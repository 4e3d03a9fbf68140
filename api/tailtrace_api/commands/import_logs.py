"""`tailtrace import`: the importer with a progress bar over the bytes of the files.

A large import parses in a process of its own, which loads its code while this one loads the rest.
"""

import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailtrace_api.commands.options import (
    FormatOption,
    IdentitiesOption,
    Json,
    NginxConfOption,
    OpenapiOption,
    StoreOption,
    conf_formats,
)
from tailtrace_api.server import loading
from tailtrace_api.terminal.console import errors, lines, note

if TYPE_CHECKING:
    from rich.console import Console

    from tailtrace_bridge.core.records import Row
    from tailtrace_bridge.export.exporter import SpanExporter
    from tailtrace_bridge.settings.table import Settings
    from tailtrace_bridge.store.protocol import Store
    from tailtrace_bridge.transfer.importer import Imported, ImportJob
    from tailtrace_bridge.transfer.worker import ImportWorker

WORKER_BYTES_MIN = 8 * 1024 * 1024
"""Smaller imports are over before a second process would be of use."""
PACKED = frozenset({".gz", ".zst", ".xz", ".bz2", ".zip"})
STDIN = "-"
GZIP_RATIO = 10
"""About how much smaller gzip makes an access log."""
REJECTED_LENGTH_MAX = 120
"""Characters shown of a rejected line, or of its file's name."""


def import_logs(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            readable=False,
            allow_dash=True,
            help="Access logs and exports, compressed too; - is stdin.",
        ),
    ],
    *,
    store: StoreOption = None,
    log_format: FormatOption = None,
    nginx_conf: NginxConfOption = None,
    max_rejected: Annotated[
        float, typer.Option("--max-rejected", min=0, max=100, help="Percent of lines rejected, above which it exits 1.")
    ] = 1.0,
    identities: IdentitiesOption = None,
    openapi: OpenapiOption = None,
    export: Annotated[
        bool, typer.Option("--export", help="Send nginx's span of each line to TAILTRACE_EXPORT_ENDPOINT too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Import whole logs. Importing a log again changes nothing. Exit 1 if more is rejected than --max-rejected."""
    from tailtrace_bridge.core.lazy_module import load_later

    load_later("asyncio")  # what reads the settings imports it, and nobody here uses it
    from tailtrace_api.commands.advice import advice_on
    from tailtrace_api.commands.understood import as_plain, print_understood

    start = time.monotonic()
    formats, others = conf_formats(files, nginx_conf, log_format)
    flags = {"store": store, "log_format": others, "identities": identities, "openapi": openapi}
    shown = errors() if sys.stderr.isatty() and not as_json else None
    done = run_import(files, flags, shown, formats, export=export)
    share = 100 * done.rejected / done.lines if done.lines else 0.0
    result: dict[str, Any] = {
        "lines": done.lines,
        "stored": done.stored,
        "duplicate": done.duplicate,
        "refused": done.rejected,
        "refused_by_reason": dict(sorted(done.rejected_by_reason.items())),
        "refused_percent": round(share, 3),
        "refused_examples": [
            {"reason": reason, "file": one.file, "line": done.first_rejected_line[reason], "byte": one.offset}
            | {"text": one.text, "advice": advice_on(reason, one.text)}
            for reason, one in sorted(done.first_rejected.items())
        ],
        "understood": [as_plain(one) for one in done.understood],
        "notes": done.notes,
        **({"spans_exported": done.spans_exported} if export else {}),
        "seconds": round(time.monotonic() - start, 3),
    }
    if as_json:
        typer.echo(json.dumps(result))
    else:
        for one in done.understood:
            print_understood(one)
        reasons = ", ".join(f"{reason} {count}" for reason, count in result["refused_by_reason"].items())
        if done.lines or not done.problems:  # of what could not be read at all there is nothing to count
            typer.echo(
                f"{done.lines} lines: {done.stored} stored, {done.duplicate} known already, {done.rejected} rejected"
                f"{f' ({reasons})' if reasons else ''} in {result['seconds']} s"
            )
        if export:
            typer.echo(f"{done.spans_exported} spans exported")
    for text in done.notes:
        note(f"tailtrace: {lines(text)}")
    for problem in done.problems:
        note(f"tailtrace: {lines(problem)}", "red")
    if done.rejected:
        _print_rejected(done, share, max_rejected)
    if done.problems or share > max_rejected or not all(one.is_sure for one in done.understood):
        raise typer.Exit(1)


def run_import(
    files: Sequence[Path],
    flags: Mapping[str, Any],
    console: "Console | None",
    formats: Sequence[tuple[str, tuple[str, ...]]] = (),
    *,
    export: bool = False,
) -> "Imported":
    """Import `files`, oldest names last as given; `console` shows the progress, if there is one.

    `formats` are the formats of those logs that nginx.conf names.
    `flags` are those of `settings.load`, whose errors this raises too.
    """
    if missing := _nothing_there(files):
        return missing
    sizes = {path: _size(path) for path in files}
    total_bytes = sum(sizes.values())
    unpacked_bytes = sum(size * (GZIP_RATIO if path.suffix in PACKED else 1) for path, size in sizes.items())
    # A worker's own input is its job; and what makes spans is loaded here.
    is_large = unpacked_bytes >= WORKER_BYTES_MIN and Path(STDIN) not in files and not export
    with _worker() if is_large else nullcontext() as worker:
        with loading.quickly():
            from tailtrace_bridge.settings.table import load

            settings = load(**flags)
            job = _job(files, settings, formats)
            exporter = _exporter(settings) if export else None
            chunks = job.chunks(with_rows=export) if worker is None else worker.chunks(job)

            # The worker is at it by now, and the rest loads meanwhile.
            from tailtrace_bridge.transfer.importer import store_chunks
            from tailtrace_bridge.wiring.parts import open_store

        with closing(open_store(settings)) as store:
            with _progress(console, total_bytes) as on_bytes:
                if exporter is None:
                    done = store_chunks(chunks, store, on_bytes)
                else:
                    done = _exported(exporter, lambda offer: store_chunks(chunks, store, on_bytes, offer))
            done.notes += _folded(store)
            if done.failed_within is not None:
                from tailtrace_bridge.traces.joined import join_groups

                join_groups(store, done.failed_within)
            return done


def _worker() -> "ImportWorker":
    from tailtrace_bridge.transfer.worker import ImportWorker

    return ImportWorker()


def _nothing_there(files: Sequence[Path]) -> "Imported | None":
    """Return an import of nothing where no file can be read: it must not make an empty store. None: one can."""
    if any(str(path) == STDIN or (os.access(path, os.R_OK) and not path.is_dir()) for path in files):
        return None
    from tailtrace_bridge.core.errors import LogFileError
    from tailtrace_bridge.logs.files import read_pieces
    from tailtrace_bridge.transfer.importer import Imported

    done = Imported()
    for path in files:
        try:
            next(read_pieces(path), None)
        except LogFileError as error:
            done.problems.append(str(error))
    return done


def _folded(store: "Store") -> list[str]:
    """Return which addresses and user agents a store did not keep apart."""
    counters = getattr(store, "counters", None)  # a store of somebody's own may have none
    addresses, agents = (
        getattr(counters, f"{what}_over_limit", 0) for what in ("addresses", "agents")
    )  # InfluxDB has no limit of agents
    if not (addresses or agents):
        return []
    of_what = f"{addresses} addresses without a name and {agents} user agents"
    return [f"{of_what}, past the limit of TAILTRACE_DISTINCT_MAX, are stored as __other__"]


@contextmanager
def _progress(console: "Console | None", total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show how many bytes were read, to who looks; a script does not wait until that is loaded."""
    if console is None:
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        yield partial(progress.advance, progress.add_task("importing", total=total_bytes))


def _exporter(settings: "Settings") -> "SpanExporter":
    from tailtrace_bridge.core.errors import SettingsError
    from tailtrace_bridge.wiring.export import make_exporter

    if not settings.export_endpoint:
        raise SettingsError("--export: set TAILTRACE_EXPORT_ENDPOINT to where the spans are to go, http://HOST:4318")
    return make_exporter(settings)


def _exported(exporter: "SpanExporter", run: "Callable[[Callable[[Sequence[Row]], None]], Imported]") -> "Imported":
    """Import while the exporter works, and wait for it. What it could not send is a problem of the import."""
    exporter.start()
    try:
        done = run(exporter.offer_history)
        exporter.drain()
    finally:
        exporter.stop()
    counters = exporter.counters
    done.spans_exported = counters.exported
    if counters.failed or counters.rejected or counters.dropped:
        done.problems.append(
            f"not all spans were exported: {exporter.problem}; the lines are stored: import them again with --export, "
            "and each span has the same ids"
        )
    return done


def _size(path: Path) -> int:
    """Return the size of a file; of what is none, or may not be looked at, 0: the importer says so by itself."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _job(files: Sequence[Path], settings: "Settings", formats: Sequence[tuple[str, tuple[str, ...]]]) -> "ImportJob":
    from tailtrace_bridge.rows.traffic import HEALTH_PATHS
    from tailtrace_bridge.transfer.importer import ImportJob
    from tailtrace_bridge.wiring.parts import (
        load_devices,
        make_routes,
        pseudonyms_key,
        recalled_endpoints,
        serve_peers,
        tailscale_socket,
    )

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
        tuple(formats),
        recalled_endpoints(settings),
        tuple(settings.static_paths),
    )


def _print_rejected(done: "Imported", share: float, share_max: float) -> None:
    """Show the first rejected line of each reason, the share and what it may be, and what to do."""
    from tailtrace_api.commands.advice import advice_on
    from tailtrace_bridge.core.text import printable

    note(
        f"tailtrace: {done.rejected} of {done.lines} lines were rejected ({share:.2f} %{_than(share, share_max)}).",
        "yellow",
    )
    for reason, count in sorted(done.rejected_by_reason.items()):
        one = done.first_rejected.get(reason)
        note(f"  {reason}, {count}: {advice_on(reason, one.text if one else '')}", "yellow")
        if one is not None:
            file, text = printable(one.file, REJECTED_LENGTH_MAX), printable(one.text, REJECTED_LENGTH_MAX)
            note(f"    {file}:{done.first_rejected_line[reason]} (byte {one.offset}): {text}")


def _than(share: float, share_max: float) -> str:
    return f", more than the {share_max:g} % of --max-rejected: exit status 1" if share > share_max else ""

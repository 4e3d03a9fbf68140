"""The program `tailtrace`. Exit 0 done, 1 failed, 2 wrong use; each command imports what it needs when it runs."""

import dataclasses
import functools
import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console

from tailtrace_bridge.errors import BridgeError

P = ParamSpec("P")

app = typer.Typer(
    name="tailtrace",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Who used what, when, how fast, and what broke: request analytics for FastAPI behind nginx on a tailnet.",
)
_errors = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
StoreOption = Annotated[str | None, typer.Option("--store", help="Where rows are kept [TAILTRACE_STORE].")]
FormatOption = Annotated[
    str | None, typer.Option("--log-format", help="auto, tailtrace, combined, common or a log_format string.")
]
IdentitiesOption = Annotated[
    Path | None, typer.Option("--identities", help="File that names addresses [TAILTRACE_IDENTITIES].")
]
OpenapiOption = Annotated[
    Path | None, typer.Option("--openapi", help="The app's openapi.json: routes and names [TAILTRACE_OPENAPI].")
]


def _reported(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into a message and exit code 1, and Ctrl-C into a quiet 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except BridgeError as error:
            _errors.print(f"tailtrace: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("tailtrace"))
        raise typer.Exit


@app.callback()
def _common(
    *,
    version: Annotated[  # noqa: ARG001 - eager: it has printed and ended before this runs
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@app.command()
@_reported
def serve(
    *,
    log: Annotated[str | None, typer.Option(help="Access log: path or glob [TAILTRACE_LOG].")] = None,
    store: StoreOption = None,
    listen: Annotated[str | None, typer.Option(help="API address [TAILTRACE_LISTEN].")] = None,
    otlp_listen: Annotated[str | None, typer.Option(help="OTLP address [TAILTRACE_OTLP_LISTEN].")] = None,
    log_format: FormatOption = None,
    identities: IdentitiesOption = None,
    openapi: OpenapiOption = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Position file [TAILTRACE_CHECKPOINT].")] = None,
) -> None:
    """Run the bridge and the API in one process (embedded mode)."""
    from tailtrace_api.serve import serve as run
    from tailtrace_bridge import settings

    run(
        settings.load(
            log=log,
            store=store,
            listen=listen,
            otlp_listen=otlp_listen,
            log_format=log_format,
            identities=identities,
            openapi=openapi,
            checkpoint=checkpoint,
        )
    )


@app.command(name="import")
@_reported
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Access logs, .gz too.")],
    *,
    store: StoreOption = None,
    log_format: FormatOption = None,
    identities: IdentitiesOption = None,
    openapi: OpenapiOption = None,
    as_json: Json = False,
) -> None:
    """Import whole logs. Importing a log again changes nothing."""
    from tailtrace_api.import_command import run_import

    start = time.monotonic()
    flags = {"store": store, "log_format": log_format, "identities": identities, "openapi": openapi}
    done = run_import(files, flags, None if as_json else _errors)
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
        _errors.print(f"tailtrace: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    if done.problems:
        raise typer.Exit(1)


@app.command()
@_reported
def report(
    *,
    hours: Annotated[int | None, typer.Option(min=1, max=720, help="Window in hours.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=30, help="Window in days (default 7).")] = None,
    at: Annotated[str | None, typer.Option(help="End of the window, ISO 8601 (default: now).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Log lines with --json.")] = 100,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Print the three answers."""
    from tailtrace_api.report import print_report
    from tailtrace_api.serve import make_queries
    from tailtrace_bridge import parts, settings

    if hours is not None and days is not None:
        raise typer.BadParameter("give --hours or --days, not both")
    chosen = settings.load(store=store)
    parts.require_store(chosen)
    queries = make_queries(chosen, parts.open_store(chosen), parts.make_routes(chosen))
    window_hours = hours or 24 * (days or 7)
    answer = queries.report(_end_us(at), hours=window_hours, limit=limit)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        print_report(Console(), answer, chosen.lang)


def _end_us(at: str | None) -> int:
    from tailtrace_bridge.parts import clock_us

    if at is None:
        return clock_us()
    try:
        end = datetime.fromisoformat(at)
    except ValueError:
        end = None
    if end is None or not 1970 < end.year < 2100:
        raise typer.BadParameter(f"--at {at!r}: write a time like 2025-10-08T14:00:00+02:00")
    return int((end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp() * 1_000_000)


@app.command()
@_reported
def whois(
    address: Annotated[str, typer.Argument(help="An IPv4 or IPv6 address.")],
    *,
    identities: IdentitiesOption = None,
    as_json: Json = False,
) -> None:
    """Say who the bridge would take an address for, and which provider said so."""
    from tailtrace_bridge import parts, settings
    from tailtrace_bridge.identity import parse_address

    if parse_address(address) is None:
        raise typer.BadParameter(f"{address!r} is no IP address; write one like 100.64.0.7, without a port")
    chosen = settings.load(identities=identities)
    devices = parts.make_devices(chosen)
    if devices is not None:
        devices.start()
        devices.wait_loaded(parts.LOAD_DEVICES_S)
    chain = parts.make_identities(chosen, devices)
    identity = chain.identify(address)
    answers = chain.explain(address)
    if devices is not None:
        devices.close()
    if as_json:
        typer.echo(
            json.dumps({"identity": dataclasses.asdict(identity), "providers": [list(answer) for answer in answers]})
        )
        return
    for provider, text in answers:
        typer.echo(f"{provider:10} {text}")


@app.command()
@_reported
def nginx(
    folder: Annotated[Path, typer.Argument(help="Where the include files go.")] = Path("/etc/nginx/tailtrace"),
    *,
    log: Annotated[Path, typer.Option(help="The access log that nginx writes.")] = Path("/var/log/nginx/tailtrace.log"),
    trusted: Annotated[
        list[str] | None, typer.Option(help="A peer (address or CIDR) whose traceparent is believed; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the files that nginx includes, and say where each goes."""
    from tailtrace_api.nginx_files import instructions, write_files

    written = write_files(folder, log=log, trusted=trusted or ())
    if as_json:
        typer.echo(json.dumps({"files": [str(path) for path in written], "log": str(log)}))
    else:
        typer.echo("".join(f"wrote {path}\n" for path in written))
        typer.echo(instructions(folder, log=log))


@app.command()
@_reported
def doctor(
    *,
    nginx_conf: Annotated[
        Path | None, typer.Option(help="nginx.conf, or what `nginx -T` printed (default: ask `nginx -T`).")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Say too who this IP address is.")] = None,
    as_json: Json = False,
) -> None:
    """Check the whole path and say what to change. Changes nothing; exit code 1 if anything fails."""
    from tailtrace_api.doctor.run import examine, print_report
    from tailtrace_bridge import settings
    from tailtrace_bridge.identity import parse_address
    from tailtrace_bridge.parts import clock_us

    if address is not None and parse_address(address) is None:
        raise typer.BadParameter(f"{address!r} is no IP address; write one like 100.64.0.7, without a port")
    if nginx_conf is not None and not nginx_conf.is_file():
        raise typer.BadParameter(f"--nginx-conf {nginx_conf}: no such file")
    report = examine(settings.load(), clock_us(), nginx_conf=nginx_conf, address=address)
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        print_report(Console(), report)
    if report.failed:
        raise typer.Exit(1)


@app.command()
@_reported
def demo(
    *,
    seconds: Annotated[float | None, typer.Option(min=1, help="End by itself, with a report.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="Requests per second.")] = 20,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="nginx's port; another is taken if it is not free.")
    ] = 8080,
    api_port: Annotated[int, typer.Option(min=0, max=65535, help="The API's port; likewise.")] = 8470,
    folder: Annotated[Path | None, typer.Option(help="Keep logs and store here (default: a temporary folder).")] = None,
) -> None:
    """Show it all: a real nginx, a real FastAPI app, several people, the three answers."""
    from tailtrace_api.demo.run import run_demo

    raise typer.Exit(run_demo(seconds=seconds, rate=rate, port=port, api_port=api_port, folder=folder))


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()

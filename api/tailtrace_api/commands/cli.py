"""The program `tailtrace`. Exit 0 done, 1 failed, 2 wrong use; each command imports what it needs when it runs."""

import dataclasses
import functools
import gc
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from tailtrace_api.terminal.console import Formatter, console, errors, lines, note
from tailtrace_bridge.core.errors import BridgeError, FormatError, IdentityError, SettingsError

if TYPE_CHECKING:
    from tailtrace_bridge.settings.table import Settings
    from tailtrace_bridge.store.person import Person
    from tailtrace_bridge.transfer.importer import Imported

P = ParamSpec("P")

app = typer.Typer(
    name="tailtrace",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Who used what, when, how fast, and what broke: request analytics for FastAPI behind nginx on a tailnet.",
)
WRONG_USE = (SettingsError, FormatError, IdentityError)
"""What a user wrote is wrong: trying again does not help."""
REFUSED_LENGTH_MAX = 120
"""Characters shown of a refused line, or of its file's name."""

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
StoreOption = Annotated[str | None, typer.Option("--store", help="Where rows are kept [TAILTRACE_STORE].")]
LogOption = Annotated[str | None, typer.Option("--log", help="Access log: path or glob [TAILTRACE_LOG].")]
ListenOption = Annotated[str | None, typer.Option("--listen", help="API address [TAILTRACE_LISTEN].")]
OtlpOption = Annotated[str | None, typer.Option("--otlp-listen", help="OTLP address [TAILTRACE_OTLP_LISTEN].")]
CheckpointOption = Annotated[Path | None, typer.Option("--checkpoint", help="Position file [TAILTRACE_CHECKPOINT].")]
FormatOption = Annotated[
    str | None,
    typer.Option("--log-format", help="auto, a known format's name (combined, main, vhost …) or a log_format string."),
]
NginxConfOption = Annotated[
    Path | None, typer.Option("--nginx-conf", help="Take the logs' formats from this nginx.conf.")
]
IdentitiesOption = Annotated[
    Path | None, typer.Option("--identities", help="File that names addresses [TAILTRACE_IDENTITIES].")
]
OpenapiOption = Annotated[
    Path | None, typer.Option("--openapi", help="The app's openapi.json: routes and names [TAILTRACE_OPENAPI].")
]


def _reported(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into a message and an exit code, and Ctrl-C into a quiet 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except BridgeError as error:
            note(f"tailtrace: {lines(error)}", "red")
            raise typer.Exit(2 if isinstance(error, WRONG_USE) else 1) from None
        except PermissionError as error:
            said = (
                f"{error.filename}: {error.strerror}; run tailtrace as a user who may, or mend its mode or its folder's"
            )
            note(f"tailtrace: {lines(said)}", "red")
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
    log = logging.StreamHandler(sys.stderr)
    log.setFormatter(Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[log])
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@app.command()
@_reported
def serve(
    *,
    log: LogOption = None,
    store: StoreOption = None,
    listen: ListenOption = None,
    otlp_listen: OtlpOption = None,
    log_format: FormatOption = None,
    identities: IdentitiesOption = None,
    openapi: OpenapiOption = None,
    checkpoint: CheckpointOption = None,
) -> None:
    """Run the bridge and the API in one process (embedded mode)."""
    from tailtrace_api.server.serve import serve as run
    from tailtrace_bridge.settings import table as settings

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


@app.command()
@_reported
def bridge(
    *,
    log: LogOption = None,
    store: StoreOption = None,
    bridge_listen: Annotated[
        str | None, typer.Option("--listen", help="Address of health and counters [TAILTRACE_BRIDGE_LISTEN].")
    ] = None,
    otlp_listen: OtlpOption = None,
    log_format: FormatOption = None,
    identities: IdentitiesOption = None,
    openapi: OpenapiOption = None,
    checkpoint: CheckpointOption = None,
) -> None:
    """Run the bridge alone: from the log and the spans to the store, no answers."""
    from tailtrace_api.server.serve import serve_bridge
    from tailtrace_bridge.settings import table as settings

    serve_bridge(
        settings.load(
            log=log,
            store=store,
            bridge_listen=bridge_listen,
            otlp_listen=otlp_listen,
            log_format=log_format,
            identities=identities,
            openapi=openapi,
            checkpoint=checkpoint,
        )
    )


@app.command()
@_reported
def api(
    *,
    store: StoreOption = None,
    listen: ListenOption = None,
    openapi: OpenapiOption = None,
) -> None:
    """Run the API alone, on the store that a bridge fills."""
    from tailtrace_api.server.serve import serve_api
    from tailtrace_bridge.settings import table as settings

    serve_api(settings.load(store=store, listen=listen, openapi=openapi))


@app.command(name="import")
@_reported
def import_(
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
        float, typer.Option("--max-rejected", min=0, max=100, help="Percent of lines refused, above which it exits 1.")
    ] = 1.0,
    identities: IdentitiesOption = None,
    openapi: OpenapiOption = None,
    as_json: Json = False,
) -> None:
    """Import whole logs. Importing a log again changes nothing. Exit 1 if more is refused than --max-rejected."""
    from tailtrace_api.commands.import_logs import run_import
    from tailtrace_api.commands.understood import as_plain, print_understood

    start = time.monotonic()
    flags = {"store": store, "log_format": log_format, "identities": identities, "openapi": openapi}
    done = run_import(files, flags, None if as_json else errors(), _conf_formats(files, nginx_conf, log_format))
    share = 100 * done.refused / done.lines if done.lines else 0.0
    result: dict[str, Any] = {
        "lines": done.lines,
        "stored": done.stored,
        "duplicate": done.duplicate,
        "refused": done.refused,
        "refused_by_reason": dict(sorted(done.refused_by_reason.items())),
        "refused_percent": round(share, 3),
        "understood": [as_plain(one) for one in done.understood],
        "notes": done.notes,
        "seconds": round(time.monotonic() - start, 3),
    }
    if as_json:
        typer.echo(json.dumps(result))
    else:
        for one in done.understood:
            print_understood(one)
        reasons = ", ".join(f"{reason} {count}" for reason, count in result["refused_by_reason"].items())
        typer.echo(
            f"{done.lines} lines: {done.stored} stored, {done.duplicate} known already, {done.refused} refused"
            f"{f' ({reasons})' if reasons else ''} in {result['seconds']} s"
        )
    for text in done.notes:
        note(f"tailtrace: {lines(text)}")
    for problem in done.problems:
        note(f"tailtrace: {lines(problem)}", "red")
    if done.refused:
        _print_refused(done, share)
    if done.problems or share > max_rejected or not all(one.is_sure for one in done.understood):
        raise typer.Exit(1)


def _conf_formats(files: list[Path], conf: Path | None, log_format: str | None) -> list[tuple[str, str]]:
    if conf is None:
        return []
    if log_format is not None:
        raise typer.BadParameter("--nginx-conf says the format, so --log-format cannot be given too")
    from tailtrace_api.nginx.conf_formats import format_of, read_conf

    formats, logs = read_conf(conf)
    return [(str(file), format_of(file, formats, logs)) for file in files]


def _print_refused(done: "Imported", share: float) -> None:
    """Show the first refused line of each reason, the share, and what to do."""
    from tailtrace_api.commands.understood import ADVICE
    from tailtrace_bridge.identity.chain import printable

    note(f"tailtrace: {done.refused} of {done.lines} lines were refused ({share:.2f} %).", "yellow")
    for reason, count in sorted(done.refused_by_reason.items()):
        note(f"  {reason}, {count}: {ADVICE.get(reason, '')}", "yellow")
        if (refusal := done.first_refused.get(reason)) is not None:
            file, text = printable(refusal.file, REFUSED_LENGTH_MAX), printable(refusal.text, REFUSED_LENGTH_MAX)
            note(f"    {file}:{done.first_refused_line[reason]} (byte {refusal.offset}): {text}")


@app.command()
@_reported
def inspect(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", readable=False, allow_dash=True, help="Access logs, compressed too; - is stdin."
        ),
    ],
    *,
    log_format: FormatOption = None,
    nginx_conf: NginxConfOption = None,
    show: Annotated[int, typer.Option(min=0, max=10_000, help="Refused lines shown of each reason.")] = 5,
    as_json: Json = False,
) -> None:
    """Show what a log is read as and what is refused, without storing. Exit 1 if a line is refused."""
    from tailtrace_api.commands.inspect import run_inspect
    from tailtrace_bridge.logs.parser import make_parser
    from tailtrace_bridge.settings import table as settings

    known = dict(_conf_formats(files, nginx_conf, log_format))
    found = settings.load(log_format=log_format)
    run_inspect(
        files,
        lambda path: make_parser(known.get(str(path), found.log_format), found.zone),
        as_json=as_json,
        show=show,
    )


@app.command()
@_reported
def erase(
    *,
    user: Annotated[str | None, typer.Option(help="Whom to forget: a login, also a former one.")] = None,
    device: Annotated[str | None, typer.Option(help="Or a device, by name.")] = None,
    address: Annotated[str | None, typer.Option(help="Or an IP address.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only show what would go.")] = False,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Forget a person: requests, sums, names, refused lines. Shows what it would remove; --yes removes it."""
    from tailtrace_api.commands.privacy import run_erase
    from tailtrace_bridge.settings import table as settings

    run_erase(settings.load(store=store), _person(user, device, address), is_dry=not yes, as_json=as_json)


def _person(user: str | None, device: str | None, address: str | None) -> "Person":
    from tailtrace_bridge.identity.chain import parse_address
    from tailtrace_bridge.store.person import Person

    if sum(bool(one) for one in (user, device, address)) != 1:
        raise typer.BadParameter("say who: one of --user, --device, --address")
    parsed = parse_address(address) if address else None
    if address and parsed is None and address != "unix:":
        raise typer.BadParameter(f"--address {address!r} is no IP address; write one like 100.64.0.7, without a port")
    return Person(user, device, None if address is None else str(parsed or address))


@app.command()
@_reported
def export(
    *,
    format_: Annotated[
        str, typer.Option("--format", help="ndjson (what `tailtrace import` reads back), csv or parquet.")
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
    from tailtrace_api.commands.export import run_export
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.store.protocol import Window
    from tailtrace_bridge.transfer.exporter import ALL_TIME, FORMATS
    from tailtrace_bridge.wiring import parts

    if format_ not in FORMATS:
        raise typer.BadParameter(f"--format {format_!r}: write {', '.join(FORMATS)}")
    if not output:
        raise typer.BadParameter("--output is empty: name a file, or write - to print")
    if not (user is None and device is None and address is None):
        from tailtrace_api.commands.privacy import run_personal_export

        if since or until or format_ not in {"ndjson", "csv"}:
            raise typer.BadParameter(
                "of a person everything is given, as ndjson or csv: leave out --since, --until and --format parquet"
            )
        person = _person(user, device, address)
        run_personal_export(settings.load(store=store), person, format_, output, as_json=as_json)
        return
    if format_ == "parquet" and output == "-" and sys.stdout.isatty():
        raise typer.BadParameter("--format parquet is no text for a terminal: add --output FILE")
    window = Window(
        ALL_TIME.start_us if since is None else _time_us("--since", since),
        ALL_TIME.end_us if until is None else _time_us("--until", until),
    )
    if window.start_us >= window.end_us:
        raise typer.BadParameter("--since is not before --until: no request can be between them")
    chosen = settings.load(store=store)
    parts.require_store(chosen)
    opened = parts.open_store(chosen, reading=True)
    start = time.monotonic()
    try:
        done, counted = run_export(
            opened, chosen.store, window, format_, output, sys.stdout.buffer, None if as_json else errors()
        )
    finally:
        opened.close()
    result = {**dataclasses.asdict(done), "pruned": max(0, counted - done.requests)}
    result["seconds"] = round(time.monotonic() - start, 3)
    typer.echo(
        json.dumps(result)
        if as_json
        else f"{done.requests} requests, {done.refusals} refused lines, {done.identities} names"
        f" in {result['seconds']} s",
        err=output == "-",  # else it would stand in the export
    )
    if result["pruned"] and not as_json:
        note(
            f"tailtrace: {result['pruned']} more are only in the sums of this store, since it has removed old rows: "
            "these stay behind"
        )


@app.command()
@_reported
def report(
    *,
    hours: Annotated[int | None, typer.Option(min=1, max=720, help="Window in hours.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=30, help="Window in days (default 7).")] = None,
    at: Annotated[str | None, typer.Option(help="End of the window, ISO 8601 (default: now).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Log lines with --json.")] = 100,
    month: Annotated[str | None, typer.Option(help="Tell of this month instead, such as 2025-10.")] = None,
    pdf: Annotated[Path | None, typer.Option(help="With --month: write the report to read into this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="With --month: the same as one HTML page.")] = None,
    lang: Annotated[str | None, typer.Option(help="en or es [TAILTRACE_LANG].")] = None,
    openapi: OpenapiOption = None,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Print the three answers; with --month, the report of a month."""
    from tailtrace_api.queries.make import make_queries
    from tailtrace_api.terminal.report import print_report
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.wiring import parts

    if hours is not None and days is not None:
        raise typer.BadParameter("give --hours or --days, not both")
    if lang not in {None, "en", "es"}:
        raise typer.BadParameter(f"--lang {lang!r}: write en or es")
    if month is None and (pdf or html):
        raise typer.BadParameter("--pdf and --html are of a month: add --month, such as --month 2025-10")
    if month is not None and (hours, days, at) != (None, None, None):
        raise typer.BadParameter("give --month, or --hours, --days and --at, not both")
    chosen = settings.load(store=store, lang=lang, openapi=openapi)
    parts.require_store(chosen)
    if month is not None:
        _report_month(chosen, month, pdf, html, as_json=as_json)
        return
    end_us, routes = _end_us(at), parts.make_routes(chosen)
    opened = parts.open_store(chosen, reading=True)
    try:
        answer = make_queries(chosen, opened, routes).report(end_us, hours=hours or 24 * (days or 7), limit=limit)
    finally:
        opened.close()
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        print_report(console(), answer, chosen.lang)


def _report_month(chosen: "Settings", month: str, pdf: Path | None, html: Path | None, *, as_json: bool) -> None:
    from tailtrace_api.commands.month import run_month
    from tailtrace_api.monthly.month import MonthError, parse_month, span
    from tailtrace_bridge.wiring import parts

    now_us = parts.clock_us()
    try:
        wanted = parse_month(month)
        span(wanted, chosen.zone, now_us)
    except MonthError as error:
        raise typer.BadParameter(f"--month: {error}") from None
    opened = parts.open_store(chosen, reading=True)
    try:
        run_month(chosen, opened, wanted, now_us, pdf=pdf, html=html, as_json=as_json)
    finally:
        opened.close()


def _end_us(at: str | None) -> int:
    from tailtrace_bridge.wiring.parts import clock_us

    return clock_us() if at is None else _time_us("--at", at)


def _time_us(option: str, text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or not 1970 < time.year < 2100:
        raise typer.BadParameter(f"{option} {text!r}: write a time like 2025-10-08T14:00:00+02:00")
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1_000_000)


@app.command()
@_reported
def whois(
    address: Annotated[str, typer.Argument(help="An IPv4 or IPv6 address.")],
    *,
    identities: IdentitiesOption = None,
    as_json: Json = False,
) -> None:
    """Say who the bridge would take an address for, and which provider said so."""
    from tailtrace_bridge.identity.chain import parse_address
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.wiring import parts

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
        typer.echo(json.dumps({"identity": identity._asdict(), "providers": [list(answer) for answer in answers]}))
        return
    for provider, text in answers:
        typer.echo(f"{provider:10} {text}")


@app.command()
@_reported
def token(
    action: Annotated[str, typer.Argument(help="create, list or revoke.")],
    name: Annotated[str | None, typer.Argument(help="The token's name.")] = None,
    *,
    role: Annotated[str, typer.Option(help="member (with --user), admin, or spans: may send spans only.")] = "member",
    user: Annotated[str, typer.Option(help="Whose data a member's token shows: a login.")] = "",
    as_json: Json = False,
) -> None:
    """Make, list or revoke tokens for the API, MCP and the OTLP receiver."""
    from tailtrace_api.commands.token import ACTIONS, run_token
    from tailtrace_bridge.settings import table as settings

    if action not in ACTIONS:
        raise typer.BadParameter(f"{action!r}: write {', '.join(ACTIONS)}")
    if action != "list" and name is None:
        raise typer.BadParameter(f"tailtrace token {action}: which one? Add its NAME")
    run_token(settings.load(), action, name, role, user, as_json=as_json)


@app.command()
@_reported
def nginx(
    folder: Annotated[Path, typer.Argument(help="Where the include files go.")] = Path("/etc/nginx/tailtrace"),
    *,
    log: Annotated[Path, typer.Option(help="The access log that nginx writes.")] = Path("/var/log/nginx/tailtrace.log"),
    trusted: Annotated[
        list[str] | None, typer.Option(help="A peer (address or CIDR) whose traceparent is believed; repeatable.")
    ] = None,
    sample: Annotated[
        float, typer.Option(help="Percent of the requests whose app makes a span; a trusted peer decides for its own.")
    ] = 100,
    app_header: Annotated[
        str, typer.Option(help="The response header of the app: its TAILTRACE_RESPONSE_HEADER.")
    ] = "X-Tailtrace",
    as_json: Json = False,
) -> None:
    """Write the files that nginx includes, and say where each goes."""
    from tailtrace_api.nginx.include_files import instructions, write_files

    written = write_files(folder, log=log, trusted=trusted or (), sample_percent=sample, app_header=app_header)
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
    identities: IdentitiesOption = None,
    as_json: Json = False,
) -> None:
    """Check the whole path and say what to change. Changes nothing; exit code 1 if anything fails."""
    from tailtrace_api.doctor.run import examine, print_report
    from tailtrace_bridge.identity.chain import parse_address
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.wiring.parts import clock_us

    if address is not None and parse_address(address) is None:
        raise typer.BadParameter(f"{address!r} is no IP address; write one like 100.64.0.7, without a port")
    if nginx_conf is not None and not nginx_conf.is_file():
        said = "this is a folder, name a file in it" if nginx_conf.is_dir() else "no such file"
        raise typer.BadParameter(f"--nginx-conf {nginx_conf}: {said}")
    report = examine(settings.load(identities=identities), clock_us(), nginx_conf=nginx_conf, address=address)
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        print_report(console(), report)
    if report.failed:
        raise typer.Exit(1)


@app.command()
@_reported
def alert(
    *,
    test: Annotated[bool, typer.Option("--test", help="Send a test message; exit 1 if one does not arrive.")] = False,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Show the alerts: rules, what fires, what was told. Or try the destinations."""
    from tailtrace_api.commands.alert import run_list, run_test
    from tailtrace_bridge.settings import table as settings

    chosen = settings.load(store=store)
    if not test:
        run_list(chosen, console(), as_json=as_json)
    elif not run_test(chosen, as_json=as_json):
        raise typer.Exit(1)


@app.command()
@_reported
def mcp(
    *,
    store: StoreOption = None,
    url: Annotated[
        str | None, typer.Option(help="Ask a running API instead of a store: http://127.0.0.1:8470.")
    ] = None,
    tools: Annotated[
        str | None, typer.Option(help="Offer these only: analytics, tailscale, or names of tools, with commas.")
    ] = None,
    print_config: Annotated[
        str | None,
        typer.Option(metavar="CLIENT", help="Print what claude-desktop, claude-code or cursor needs, and exit."),
    ] = None,
) -> None:
    """Answer an assistant by the Model Context Protocol, on stdin and stdout."""
    from tailtrace_api.mcp_server.parameters import WrongArgumentError
    from tailtrace_api.mcp_server.tools import select
    from tailtrace_bridge.settings import table as settings

    if store is not None and url is not None:
        raise typer.BadParameter("give --store or --url, not both")
    try:
        chosen = select(tools)
    except WrongArgumentError as error:
        raise typer.BadParameter(str(error)) from None
    if print_config is not None:
        from tailtrace_api.mcp_server.client_config import CLIENTS, client_config

        if print_config not in CLIENTS:
            raise typer.BadParameter(f"--print-config {print_config!r}: write {', '.join(CLIENTS)}")
        typer.echo(client_config(print_config, _program(), settings.load(store=store), url=url, tools=tools))
        typer.echo(CLIENTS[print_config], err=True)
        return
    # Loading the SDK makes many objects and no garbage; to look for it took a fifth of the time of a start.
    gc.disable()
    from tailtrace_api.mcp_server.stdio import run_stdio

    gc.freeze()
    gc.enable()
    run_stdio(settings.load(store=store), chosen, url)


def _program() -> Path:
    """Find the program `tailtrace` that runs: beside its Python, else by the name it was called by."""
    beside = Path(sys.executable).with_name("tailtrace")
    return beside if beside.is_file() else Path(shutil.which(sys.argv[0]) or sys.argv[0])


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

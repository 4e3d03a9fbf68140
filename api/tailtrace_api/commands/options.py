"""The options that several commands have, and how their words are read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailtrace_bridge.core.times import parse_time, since_epoch_us

if TYPE_CHECKING:
    from tailtrace_bridge.store.person import Person

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
    Path | None, typer.Option("--nginx-conf", help="The logs' formats: nginx.conf, or what `nginx -T` prints.")
]
IdentitiesOption = Annotated[
    Path | None, typer.Option("--identities", help="File that names addresses [TAILTRACE_IDENTITIES].")
]
OpenapiOption = Annotated[
    Path | None, typer.Option("--openapi", help="The app's openapi.json: routes and names [TAILTRACE_OPENAPI].")
]


def conf_formats(
    files: Sequence[Path], conf: Path | None, log_format: str | None
) -> tuple[list[tuple[str, tuple[str, ...]]], str | None]:
    """Return each log with the formats that nginx.conf says it has, and the format of all others.

    Beside `--nginx-conf`, `--log-format` is the name of a format in it, and all logs have that one.
    """
    if conf is None:
        return [], log_format
    from tailtrace_api.nginx.conf_formats import formats_of, read_conf

    formats, logs = read_conf(conf)
    if log_format is None:
        return [(str(file), tuple(formats_of(file, formats, logs))) for file in files], None
    if log_format not in formats:
        raise typer.BadParameter(
            f"--log-format {log_format!r}: beside --nginx-conf it is the name of a log_format in that: "
            f"{', '.join(sorted(formats))}"
        )
    return [(str(file), (formats[log_format],)) for file in files], None


def time_us(option: str, text: str) -> int:
    """Return a time of an option, ISO 8601 (UTC where it has no offset), in µs since 1970. Raises `BadParameter`."""
    try:
        time = parse_time(text)
    except ValueError:
        time = None
    if time is None or not 1970 < time.year < 2100:
        raise typer.BadParameter(f"{option} {text!r}: write a time like 2025-10-08T14:00:00+02:00")
    return since_epoch_us(time)


def checked_address(text: str, option: str = "") -> str:
    """Return an IP address as it is written in one way. Raises `BadParameter`."""
    from tailtrace_bridge.core.text import parse_address

    address = parse_address(text)
    if address is None:
        raise typer.BadParameter(f"{option}{text!r} is no IP address; write one like 100.64.0.7, without a port")
    return str(address)


def person_of(user: str | None, device: str | None, address: str | None) -> "Person":
    """Return who is meant by the one option of three that is given. Raises `BadParameter`."""
    from tailtrace_bridge.store.person import Person

    if sum(bool(one) for one in (user, device, address)) != 1:
        raise typer.BadParameter("say who: one of --user, --device, --address")
    if address and address != "unix:":
        address = checked_address(address, "--address ")
    return Person(user, device, address)

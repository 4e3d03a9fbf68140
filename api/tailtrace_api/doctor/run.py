"""Run every check in the order of a request's way, and show what came out.

The doctor changes nothing: it reads, asks, and prints a patch that a person applies.
"""

import os
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from tailtrace_api.access.auth_methods import tokens_path
from tailtrace_api.access.tokens import Tokens
from tailtrace_api.doctor.alerts import check_alerts
from tailtrace_api.doctor.checks import Check, Status, make_check
from tailtrace_api.doctor.control import TIMEOUT_S, check_control
from tailtrace_api.doctor.log import check_logs
from tailtrace_api.doctor.nginx import diagnose
from tailtrace_api.doctor.nginx_fronts import check_fronts
from tailtrace_api.doctor.nginx_logs import check_lost_logs
from tailtrace_api.doctor.patch import make_patch
from tailtrace_api.doctor.peers import Facts, check_peers
from tailtrace_api.doctor.servers import (
    check_api,
    check_clock,
    check_collector,
    check_receiver,
    check_server,
    check_store,
)
from tailtrace_api.doctor.tailscale import check_address, check_local
from tailtrace_api.nginx.config import Config, ConfigError, read_config
from tailtrace_api.nginx.include_files import DEFAULT_FOLDER
from tailtrace_api.nginx.process import NginxError
from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.identity.chain import Unavailable
from tailtrace_bridge.identity.local_api import LocalApi
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.wiring.devices import make_device_provider
from tailtrace_bridge.wiring.parts import (
    clock_us,
    line_parser,
    make_identities,
    make_serve_proxies,
    monotonic_us,
    open_influx,
    tailscale_socket,
)

_MARKS: dict[Status, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warning": ("⚠", "yellow"),
    "failure": ("✗", "red"),
    "skipped": ("–", "dim"),
}


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, and the patch of nginx's files that cures what can be cured so."""

    checks: tuple[Check, ...]
    patch: str

    @property
    def failed(self) -> bool:
        """Whether any check is a failure."""
        return any(check.status == "failure" for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        counts = {status: sum(check.status == status for check in self.checks) for status in _MARKS}
        return {"checks": [asdict(check) for check in self.checks], "counts": counts, "patch": self.patch}


def examine(settings: Settings, now_us: int, *, nginx_conf: Path | None = None, address: str | None = None) -> Report:
    """Run all checks. Raises `FormatError` for a log format, `IdentityError` for a file, that cannot be used."""
    socket = Path(tailscale_socket(settings))
    local = LocalApi(str(socket), clock=monotonic_us)
    status = local.status()
    has_tun = None if isinstance(status, Unavailable) else status.has_tun
    nginx, patch, has_recipe = _nginx(settings.log, nginx_conf, has_tun=has_tun)
    log = check_logs(settings.log, line_parser(settings), now_us)
    has_file = settings.identities is not None
    people = check_local(
        socket, local, now_us, has_file=has_file, has_recipe=has_recipe, serve_headers=settings.serve_headers
    )
    people += check_peers(log.lines, Facts(has_tun, local.serves_loopback(), make_serve_proxies(settings)))
    if address is not None:
        people.append(_who(address, settings))
    people += check_control(settings, clock_us)
    checks = [
        *nginx,
        *log.checks,
        *people,
        check_api(settings.listen),
        check_receiver(settings.otlp_listen, span_tokens=_span_tokens(settings)),
        *([check_collector(settings.collector_metrics_url)] if settings.collector_metrics_url else []),
        *_store(settings),
        check_alerts(settings),
        check_clock(log.newest_us, log.changed_us, now_us),
    ]
    return Report(tuple(checks), patch)


def _store(settings: Settings) -> list[Check]:
    if settings.store != "influxdb":
        return check_store(settings.store)
    try:
        store = open_influx(settings)
    except SettingsError as error:
        return [make_check("store", "failure", str(error), "set it")]
    with closing(store):
        return [check_server(store.about)]


def _span_tokens(settings: Settings) -> int:
    return sum(token.role in {"spans", "admin"} for token in Tokens(tokens_path(settings)).now())


def _who(address: str, settings: Settings) -> Check:
    """Ask the whole chain that the bridge asks, the control API's list included."""
    try:
        devices = make_device_provider(settings, clock_us)
    except SettingsError:  # the check of the control API says it
        devices = None
    if devices is None:
        return check_address(address, make_identities(settings))
    devices.start()
    try:
        devices.wait_loaded(TIMEOUT_S)
        return check_address(address, make_identities(settings, devices))
    finally:
        devices.close()


def _nginx(log: str, conf: Path | None, *, has_tun: bool | None) -> tuple[list[Check], str, bool]:
    try:
        config = read_config(conf)
    except NginxError as error:
        cure = "if nginx runs elsewhere: `nginx -T > FILE` there, then --nginx-conf FILE"
        return [make_check("nginx", "warning", str(error), cure)], "", False
    except ConfigError as error:
        return [make_check("nginx", "warning" if error.ours else "failure", str(error), error.cure)], "", False
    diagnosis = diagnose(config, log, include_folder(config))
    # `patch` refuses a link, and sites-enabled/ is full of them.
    texts = {os.path.realpath(path): text for path, text in config.texts.items()}
    edits = [replace(edit, file=os.path.realpath(edit.file)) for edit in diagnosis.edits]
    fronts = check_fronts(config, has_tun=has_tun)
    return [*diagnosis.checks, *fronts.checks, *check_lost_logs(config)], make_patch(texts, edits), fronts.is_safe


def include_folder(config: Config) -> str:
    """Return the folder that our include files are in, or should go to."""
    ours = next((path for path in config.texts if Path(path).name.startswith("tailtrace-")), None)
    return str(Path(ours).parent if ours else DEFAULT_FOLDER)


def print_report(console: Console, report: Report) -> None:
    """Show the checks, then the patch. Lines are not wrapped, so that paths can be copied."""
    for check in report.checks:
        mark, style = _MARKS[check.status]
        # As Text: untrusted text is no markup.
        line = Text.assemble((f"{mark} ", style), (check.name, "bold"), f"\n    {check.message}")
        if check.cure:
            line.append(f"\n    → {check.cure}", style="cyan")
        console.print(line, soft_wrap=True)
    counts = report.as_json()["counts"]
    console.print(", ".join(f"{count} {status}" for status, count in counts.items()), highlight=False)
    if report.patch:
        console.print("\nThis patch mends nginx's files: save it, `sudo patch -d / -p1 < FILE`, `nginx -t`, reload.\n")
        console.print(Text(report.patch), soft_wrap=True)

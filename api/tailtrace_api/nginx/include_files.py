"""Write the files that nginx includes, and say where each goes.

The texts ship as templates in `tailtrace/nginx`. These places in them are filled in:

| place | with |
|---|---|
| `@LOG_FORMAT@` | the `log_format` directive, made of `log_format.TAILTRACE_FORMAT`: one source for writer and reader |
| `@TRUSTED@` | a line of `geo` for each peer whose `traceparent` is believed |
| `@LOG@` | the quoted path of the access log |
| `@KEPT@` | the access logs of http {}, which ours would replace: `kept_logs` |
| `@PID@` | the path of nginx's pid file, which logrotate signals |
| `@VERSION@` | `FILES_VERSION`, by which `tailtrace doctor` knows files of another version |
| `@APP_HEADER@` | the response header in which the app says what it did |
| `@SOCKET@` | the socket that nginx listens on behind `tailscale serve` |
| `@SAMPLED@`, `@SAMPLE@`, `@OWN_FLAGS@` | the share of requests that are traced, chosen by `$request_id` |
| `@TRACEPARENT@`, `@TRACESTATE@`, `@FORWARDED_FOR@`, `@START@` | what asks for the trace of a trusted peer |
| `@ROOT_SPAN@` | the id of nginx's span in a trace that nginx starts |
"""

import ipaddress
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from tailtrace_bridge.core.errors import BusyError, SettingsError
from tailtrace_bridge.core.records import ROOT_SPAN_ID
from tailtrace_bridge.logs.format import TAILTRACE_FORMAT, UNTRUSTED_FIELDS

BEHIND_SERVE = "tailtrace-behind-serve.conf"
TEMPLATES = ("tailtrace-http.conf", "tailtrace-server.conf", "tailtrace-proxy.conf", "tailtrace.logrotate")
DEFAULT_FOLDER = Path("/etc/nginx/tailtrace")
DEFAULT_LOG = Path("/var/log/nginx/tailtrace.log")
DEFAULT_SOCKET = Path("/run/tailtrace-nginx/nginx.sock")
DEFAULT_PID = Path("/run/nginx.pid")

DEFAULT_APP_HEADER = "X-Tailtrace"
FILES_VERSION = 5
"""Of the files that are written: grows when they change."""

_TRUSTING = {
    "@TRACEPARENT@": "00-$tailtrace_trace_id-$tailtrace_span_id-$tailtrace_flags",
    "@TRACESTATE@": "$tailtrace_tracestate",
    "@FORWARDED_FOR@": "$tailtrace_forwarded_for",
    "@START@": """\
# Computes the ids before a location is chosen. Later, the maps' regexes would overwrite the $1 of the location's regex.
set $tailtrace_start $tailtrace_inbound_trace_id$tailtrace_span_id;
""",
}
_UNTRUSTING = {
    "@TRACEPARENT@": "00-$request_id-@ROOT_SPAN@-@OWN_FLAGS@",
    "@TRACESTATE@": '""',
    "@FORWARDED_FOR@": "$remote_addr",
    "@START@\n": "",
}
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_TAKEN_NAMES = frozenset({"connection", "content-length", "content-type", "date", "location", "server", "set-cookie"})
_FOLDERS_INCLUDED_WHOLE = frozenset({"conf.d", "sites-enabled", "http.d", "modules-enabled"})
_PACKAGED_LOG_FOLDER = Path("/var/log/nginx")
"""Where the nginx packages of Debian, Ubuntu, Fedora and nginx.org rotate `*.log` already."""


def write_files(
    folder: Path,
    *,
    log: Path = DEFAULT_LOG,
    trusted: Sequence[str] = (),
    pid: Path = DEFAULT_PID,
    sample_percent: float = 100,
    app_header: str = DEFAULT_APP_HEADER,
    behind_serve: Path | None = None,
    kept: Sequence[str] = (),
) -> list[Path]:
    """Write the four files into `folder`, over older ones, and give their paths; a fifth for `behind_serve`.

    `trusted` are addresses or CIDR networks; `sample_percent` of the requests are traced, 0 to 100 with two decimals;
    `app_header` is the app's TAILTRACE_RESPONSE_HEADER; `behind_serve` the socket to listen on; `kept` what stands
    behind `access_log` in http {}, to be repeated. Raises `SettingsError` for a peer that is neither, a share or a name
    that nginx would refuse, a path that it would misread, and for a
    folder that it includes whole; `BusyError` for one that cannot be written.
    """
    if folder.name in _FOLDERS_INCLUDED_WHOLE:
        raise SettingsError(
            f"{folder}: nginx includes every file of this folder in one place, but these belong in different places; "
            f"choose another folder, such as {DEFAULT_FOLDER}"
        )
    if log.is_dir():
        raise SettingsError(f"--log {log}: this is a folder; name the file in it that nginx writes")
    sampling = _sampling(sample_percent)
    networks = _networks(trusted)
    filled = {
        "@LOG_FORMAT@": log_format_directive(
            _header_name(app_header),
            None if networks else UNTRUSTED_FIELDS | {"tailtrace_flags": sampling["@OWN_FLAGS@"]},
        ),
        "@TRUSTED@": "\n".join(f"    {network} 1;" for network in networks),
        **(_TRUSTING if networks else _UNTRUSTING),
        "@ROOT_SPAN@": ROOT_SPAN_ID,
        "@LOG@": f'"{_plain_path(log)}"',
        "@KEPT@": "".join(f"access_log {line};\n" for line in kept),
        "@PID@": _plain_path(pid),
        "@VERSION@": str(FILES_VERSION),
        "@APP_HEADER@": app_header,
        "@SOCKET@": _plain_path(behind_serve or DEFAULT_SOCKET),
        **sampling,
    }
    written = []
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name in (*TEMPLATES, *((BEHIND_SERVE,) if behind_serve else ())):
            text = (files("tailtrace") / "nginx" / name).read_text(encoding="utf-8")
            for place, value in filled.items():
                text = text.replace(place, value)
            with open(folder / name, "w", encoding="utf-8", opener=_for_owner_to_write) as file:
                file.write(text)
            written.append(folder / name)
    except OSError as error:
        raise BusyError(
            f"{folder}: cannot write the include files: {error.strerror}; "
            "run as a user who may (sudo), or choose another folder"
        ) from error
    return written


def _for_owner_to_write(name: str, flags: int) -> int:
    """Open a file that nginx reads as root: whatever the umask, nobody else is to write orders into it."""
    return os.open(name, flags, 0o644)


def serve_instructions(folder: Path, socket: Path) -> str:
    """Return how `tailscale serve` is put before nginx, as text for a terminal."""
    here = socket.absolute()
    return f"""\
Behind `tailscale serve`:

    laptop ──WireGuard──► tailscaled ──► {here} ──► nginx ──► the app

a. In that server {{}}, in place of each `listen`:

       include {_word(folder.absolute() / BEHIND_SERVE)};

b. A folder that no other user of this machine enters, for the socket; tailscaled runs as root, or shares its user:

       install -d -m 0700 {shlex.quote(str(here.parent))}

c. After nginx was reloaded, once (--http=80 where the tailnet has no certificates):

       tailscale serve --bg --https=443 unix:{here}

d. TAILTRACE_SERVE_HEADERS is not needed: nginx takes the address from serve, and tailscaled knows whose it is.
   `tailtrace doctor` looks at all of it.
"""


def instructions(folder: Path = DEFAULT_FOLDER, *, log: Path = DEFAULT_LOG) -> str:
    """Return where each file that `write_files` wrote goes, as text for a terminal."""
    http, server, proxy, logrotate = (folder.absolute() / name for name in TEMPLATES)
    rotation = f"cp {shlex.quote(str(logrotate))} /etc/logrotate.d/tailtrace"
    if log.absolute().parent == _PACKAGED_LOG_FOLDER:
        rotation = f"ls /etc/logrotate.d/nginx || {rotation}    # a packaged nginx rotates {log.parent}/*.log already"
    return f"""\
1. In http {{}} of nginx.conf, above the servers and their includes:

       include {_word(http)};

2. In each server {{}} that is to be counted:

       include {_word(server)};

3. In each location {{}} that has a proxy_pass, in place of its own lines
   for Host, X-Real-IP, X-Forwarded-*, X-Request-ID, traceparent and tracestate:

       include {_word(proxy)};

4. Check, then reload:

       nginx -t && nginx -s reload

5. Rotation of the log:

       {rotation}

6. tailtrace reads {log.absolute()}: set TAILTRACE_LOG to it.

"""


def log_format_directive(app_header: str = DEFAULT_APP_HEADER, known: Mapping[str, str] | None = None) -> str:
    """Return `log_format tailtrace …;`, one variable on each line: what `make_parser("tailtrace")` reads.

    `known` are the variables whose value is known beforehand, which then stands in their place.
    """
    escape, _, body = TAILTRACE_FORMAT.partition(" ")
    values = {f"${name}": value for name, value in (known or {}).items()}
    values["$upstream_http_x_tailtrace"] = "$upstream_http_" + app_header.lower().replace("-", "_")
    pieces = [values.get(piece, piece) for piece in body.split("\t")]
    lines = [f"    '{piece}\\t'" for piece in pieces[:-1]] + [f"    '{pieces[-1]}'"]
    return f"log_format tailtrace {escape}\n" + "\n".join(lines) + ";"


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _TAKEN_NAMES:
        raise SettingsError(
            f"--app-header {name!r}: no name for a header of the app's own; "
            f"letters, digits and -, such as {DEFAULT_APP_HEADER}"
        )
    return name


def _sampling(percent: float) -> dict[str, str]:
    """Return what makes `percent` of the requests sampled; by the id, so that it is the same wherever it is asked."""
    if not 0 <= percent <= 100 or round(percent, 2) != percent:
        raise SettingsError(f"--sample {percent}: a percentage from 0 to 100, with at most two decimals")
    if percent in {0, 100}:
        return {"@SAMPLED@": "yes" if percent else "no", "@SAMPLE@\n": "", "@OWN_FLAGS@": "01" if percent else "00"}
    text = f"{percent:.2f}".rstrip("0").rstrip(".")
    return {
        "@SAMPLED@": f"{text} %",
        "@SAMPLE@": f"split_clients $request_id $tailtrace_own_flags {{\n    {text}% 01;\n    *    00;\n}}\n",
        "@OWN_FLAGS@": "$tailtrace_own_flags",
    }


def _word(path: Path) -> str:
    """Write a path as one word of nginx.conf, where a space would end it."""
    return f'"{path}"' if " " in str(path) else str(path)


def _networks(trusted: Sequence[str]) -> list[str]:
    """Normalise, each once: nginx warns of a network given twice."""
    networks: dict[str, None] = {}
    for text in trusted:
        try:
            networks[str(ipaddress.ip_network(text.strip(), strict=False))] = None
        except ValueError as error:
            raise SettingsError(
                f"trusted peer {text!r}: {error}; give an address or a network, such as 10.0.0.5 or 10.0.0.0/24"
            ) from None
    return list(networks)


def _plain_path(path: Path) -> str:
    """Make absolute: nginx would look from its own prefix. It also expands `$` in the path of a log."""
    text = str(path.absolute())
    if bad := sorted({char for char in text if char in "\"'\\$`{};" or not char.isprintable()}):
        raise SettingsError(f"{text!r}: nginx would misread {''.join(bad)!r} in this path; choose another path")
    return text

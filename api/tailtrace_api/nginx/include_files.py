"""Write the files that nginx includes, and say where each goes.

The texts ship as templates in `tailtrace/nginx`. Four places in them are filled in:

| place | with |
|---|---|
| `@LOG_FORMAT@` | the `log_format` directive, made of `log_format.TAILTRACE_FORMAT`: one source for writer and reader |
| `@TRUSTED@` | a line of `geo` for each peer whose `traceparent` is believed |
| `@LOG@` | the quoted path of the access log |
| `@PID@` | the path of nginx's pid file, which logrotate signals |
"""

import ipaddress
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from tailtrace_bridge.core.errors import BusyError, SettingsError
from tailtrace_bridge.logs.format import TAILTRACE_FORMAT

TEMPLATES = ("tailtrace-http.conf", "tailtrace-server.conf", "tailtrace-proxy.conf", "tailtrace.logrotate")
DEFAULT_FOLDER = Path("/etc/nginx/tailtrace")
DEFAULT_LOG = Path("/var/log/nginx/tailtrace.log")
DEFAULT_PID = Path("/run/nginx.pid")

_FOLDERS_INCLUDED_WHOLE = frozenset({"conf.d", "sites-enabled", "http.d", "modules-enabled"})
_PACKAGED_LOG_FOLDER = Path("/var/log/nginx")
"""Where the nginx packages of Debian, Ubuntu, Fedora and nginx.org rotate `*.log` already."""


def write_files(
    folder: Path, *, log: Path = DEFAULT_LOG, trusted: Sequence[str] = (), pid: Path = DEFAULT_PID
) -> list[Path]:
    """Write the four files into `folder`, over older ones, and give their paths.

    `trusted` are addresses or CIDR networks. Raises `SettingsError` for one that is neither, for a path that nginx
    would misread, and for a folder that nginx includes whole; `BusyError` for one that cannot be written.
    """
    if folder.name in _FOLDERS_INCLUDED_WHOLE:
        raise SettingsError(
            f"{folder}: nginx includes every file of this folder in one place, but these belong in different places; "
            f"choose another folder, such as {DEFAULT_FOLDER}"
        )
    if log.is_dir():
        raise SettingsError(f"--log {log}: this is a folder; name the file in it that nginx writes")
    filled = {
        "@LOG_FORMAT@": log_format_directive(),
        "@TRUSTED@": "\n".join(f"    {network} 1;" for network in _networks(trusted)),
        "@LOG@": f'"{_plain_path(log)}"',
        "@PID@": _plain_path(pid),
    }
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in TEMPLATES:
            text = (files("tailtrace") / "nginx" / name).read_text(encoding="utf-8")
            for place, value in filled.items():
                text = text.replace(place, value)
            (folder / name).write_text(text, encoding="utf-8")
            written.append(folder / name)
    except OSError as error:
        raise BusyError(
            f"{folder}: cannot write the include files: {error.strerror}; "
            "run as a user who may (sudo), or choose another folder"
        ) from error
    return written


def instructions(folder: Path = DEFAULT_FOLDER, *, log: Path = DEFAULT_LOG) -> str:
    """Say where each file that `write_files` wrote goes, as text for a terminal."""
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


def log_format_directive() -> str:
    """Return `log_format tailtrace …;`, one variable on each line: what `make_parser("tailtrace")` reads."""
    escape, _, body = TAILTRACE_FORMAT.partition(" ")
    lines = body.replace(",", ",\n").splitlines()
    return f"log_format tailtrace {escape}\n" + "\n".join(f"    '{line}'" for line in lines) + ";"


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

"""Which log has which formats, as nginx.conf says: its `log_format` and `access_log` lines, includes and all.

| the log | its formats |
|---|---|
| an `access_log` names it, or what a rotation makes of it is called so | those of these lines; `combined` without |
| the same, but in another folder, as of a copy | those, if all such lines agree |
| the path of an `access_log` has variables, and may be the log's | the same |
| no `access_log` names it, and all of them have one format | that one |
| anything else | `SettingsError`, with the formats that there are: `--log-format NAME` takes one of them |

Several lines may write to one log, each in its format: all are read. Logs of `stream` and `mail` have no requests, and
formats of their own, which may be called as those of `http`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tailtrace_api.nginx.config import ConfigError, Directive, read_config
from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.logs.rotation import is_rotated_name

_OTHER_SERVERS = frozenset({"stream", "mail"})
_VARIABLE = re.compile(r"(?:\$(?:\{\w+\}|\w+))+")
_ROTATED = r"(?:[._-][\w.-]*)?"


def read_conf(path: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the formats by name, and by log the names of its formats. Raises `SettingsError`."""
    try:
        config = read_config(path, missing_includes=True)
    except ConfigError as error:
        raise SettingsError(f"--nginx-conf: {error}; {error.cure}") from error
    formats: dict[str, str] = {"combined": "combined"}
    logs: dict[str, list[str]] = {}
    for one in _directives(config.directives):
        args = one.args
        if one.name == "log_format" and len(args) > 1:
            escape = f"{args[1]} " if args[1].startswith("escape=") else ""
            formats[args[0]] = escape + "".join(args[2:] if escape else args[1:])
        elif one.name == "access_log" and args and args[0] != "off":
            named = args[1] if len(args) > 1 and "=" not in args[1] else "combined"
            if named not in logs.setdefault(args[0], []):
                logs[args[0]].append(named)
    if not logs and len(formats) == 1:
        raise SettingsError(f"--nginx-conf: {path}: no log_format and no access_log in it")
    return formats, logs


def _directives(found: Sequence[Directive]) -> Iterator[Directive]:
    for one in found:
        if one.name not in _OTHER_SERVERS:
            yield one
            yield from _directives(one.block or ())


def formats_of(file: Path, formats: dict[str, str], logs: dict[str, list[str]]) -> list[str]:
    """Return the formats of a log. Raises `SettingsError` where the configuration does not say."""
    path, name = str(file.absolute()), file.name
    folder = str(file.absolute().parent)
    matchers: tuple[Callable[[str], bool], ...] = (
        lambda log: log == path,
        lambda log: str(Path(log).parent) == folder and is_rotated_name(name, Path(log).name),
        lambda log: "$" in log and _is_one_of(path, log),
        lambda log: Path(log).name == name,
        lambda log: is_rotated_name(name, Path(log).name),
        lambda log: "$" in log and _is_one_of(name, Path(log).name),
        lambda _: True,
    )
    for matches in matchers:
        found = {tuple(logs[log]) for log in logs if matches(log)}
        if len(found) == 1 and (known := [formats[one] for one in found.pop() if one in formats]):
            return known
    raise SettingsError(
        f"--nginx-conf: it does not say which format {file} has; say it with --log-format beside it: "
        f"{', '.join(sorted(formats))}"
    )


def _is_one_of(name: str, log: str) -> bool:
    """Return whether a log whose name has variables may be this one, or was it before a rotation."""
    parts = [re.escape(part) for part in _VARIABLE.split(log)]
    return re.fullmatch("[^/]*".join(parts) + _ROTATED, name) is not None

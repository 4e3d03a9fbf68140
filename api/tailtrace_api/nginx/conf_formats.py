"""Which log has which format, as nginx.conf says: its `log_format` and `access_log` lines, includes and all.

| the log | its format |
|---|---|
| an `access_log` names it, or its name, or what a rotation makes of it | the one of that line; `combined` without |
| no `access_log` names it, and all of them have one format | that one |
| anything else | `SettingsError`, with the formats that there are |
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.logs.rotation import is_rotated_name


def read_conf(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the formats by name and the format's name by log. Raises `SettingsError` for what cannot be read."""
    import crossplane  # type: ignore[import-untyped]  # noqa: PLC0415 - few imports need it

    if not path.is_file():
        raise SettingsError(f"--nginx-conf: {path}: no such file; `nginx -T` begins with its path")
    parsed = crossplane.parse(str(path), combine=True, catch_errors=True)
    if not parsed["config"]:
        raise SettingsError(f"--nginx-conf: {path}: nothing in it can be read; `nginx -t` says what is wrong")
    formats: dict[str, str] = {"combined": "combined"}
    logs: dict[str, str] = {}
    for block in parsed["config"]:
        _walk(block["parsed"], formats, logs)
    if not logs and len(formats) == 1:
        said = "; ".join(str(error["error"]) for error in parsed.get("errors", [])[:3])
        raise SettingsError(
            f"--nginx-conf: {path}: no log_format and no access_log in it{f' ({said})' if said else ''}"
        )
    return formats, logs


def _walk(directives: Sequence[dict[str, Any]], formats: dict[str, str], logs: dict[str, str]) -> None:
    for one in directives:
        args = one.get("args", [])
        if one["directive"] == "log_format" and len(args) > 1:
            escape = f"{args[1]} " if args[1].startswith("escape=") else ""
            formats[args[0]] = escape + "".join(args[2:] if escape else args[1:])
        elif one["directive"] == "access_log" and args and args[0] != "off":
            named = args[1] if len(args) > 1 and "=" not in args[1] else "combined"
            logs.setdefault(args[0], named)
        _walk(one.get("block", []), formats, logs)


def format_of(file: Path, formats: dict[str, str], logs: dict[str, str]) -> str:
    """Return the format of a log. Raises `SettingsError` where the configuration does not say."""
    absolute = str(file.absolute())
    names = {log: Path(log).name for log in logs}
    matchers = (
        lambda log: log == absolute,
        lambda log: names[log] == file.name,
        lambda log: is_rotated_name(file.name, names[log]),
        lambda _: len(set(logs.values())) == 1,
    )
    for matches in matchers:
        found = {logs[log] for log in logs if matches(log)}
        if len(found) == 1 and (name := found.pop()) in formats:
            return formats[name]
    known = ", ".join(sorted(formats))
    raise SettingsError(
        f"--nginx-conf: no access_log there is {file}, so its format is not known ({known}); give it with --log-format"
    )

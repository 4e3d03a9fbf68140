"""The access logs that a server would lose with ours: an `access_log` in `server {}` replaces those of `http {}`.

GoAccess, fail2ban and log shippers read those, so the include file repeats them:

| http {} has | the servers have | `kept_logs` |
|---|---|---|
| logs | none of their own, or ours alone | the lines of http {} |
| logs | one has its own, and so never wrote those | none; `missed_logs` names the servers that do, for a hand |
| none, or `off` | | none |

What stands in our own include file is of neither: the lines that an earlier run repeated there are no server's own, or
the next run would drop them.

https://nginx.org/en/docs/http/ngx_http_log_module.html#access_log
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import crossplane  # type: ignore[import-untyped]

SERVER_FILE = "tailtrace-server.conf"


def kept_logs(conf: Path) -> tuple[str, ...]:
    """Return the arguments of each `access_log` that the include file is to repeat. What cannot be read has none."""
    lines: list[str] = []
    for http in _http_blocks(conf):
        if any(map(_logs, _servers(http))):
            return ()
        lines += _lines(http)
    return tuple(dict.fromkeys(lines))


def missed_logs(conf: Path) -> dict[str, tuple[str, ...]]:
    """Return the logs of http {} by the servers that write them, where others do not: no include file fits both."""
    blocks = _http_blocks(conf)
    if not any(_logs(server) for http in blocks for server in _servers(http)):
        return {}
    return {
        _name(server): tuple(lines)
        for http in blocks
        if (lines := _lines(http))
        for server in _servers(http)
        if not any(one["directive"] == "access_log" and not _is_ours(one) for one in server["block"])
    }


def _http_blocks(conf: Path) -> list[dict[str, Any]]:
    parsed = crossplane.parse(str(conf), combine=True, catch_errors=True)
    return [one for block in parsed["config"] for one in block["parsed"] if one["directive"] == "http"]


def _servers(http: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in http["block"] if one["directive"] == "server"]


def _name(server: dict[str, Any]) -> str:
    said = {one["directive"]: " ".join(one["args"]) for one in server["block"]}
    return f"{said.get('server_name', '_')} (listen {said.get('listen', '80')})"


def _lines(http: dict[str, Any]) -> list[str]:
    return [" ".join(map(_quoted, one["args"])) for one in _logs(http)]


def _logs(block: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Return the logs of a block itself, but for `off`, ours, and what our include file has."""
    found = [one for one in block.get("block", []) if one["directive"] == "access_log" and not _is_ours(one)]
    return [one for one in found if one["args"][:1] != ["off"]]


def _is_ours(log: dict[str, Any]) -> bool:
    return Path(log["file"]).name == SERVER_FILE or log["args"][1:2] == ["tailtrace"]


def _quoted(word: str) -> str:
    return f'"{word}"' if not word or set(word) & set(" ;{}") else word

"""The access logs that a server would lose with ours: an `access_log` in `server {}` replaces those of `http {}`.

GoAccess, fail2ban and log shippers read those, so the include file repeats them:

| http {} has | the servers have | `kept_logs` |
|---|---|---|
| logs | none of their own, or ours alone | the lines of http {} |
| logs | one has its own, and so never wrote those | none; the user repeats them where they are missed |
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
    parsed = crossplane.parse(str(conf), combine=True, catch_errors=True)
    directives = [one for block in parsed["config"] for one in block["parsed"]]
    lines: list[str] = []
    for http in (one for one in directives if one["directive"] == "http"):
        own = _logs(http)
        if any(_logs(server) for server in http["block"] if server["directive"] == "server"):
            return ()
        lines += [" ".join(map(_quoted, one["args"])) for one in own]
    return tuple(dict.fromkeys(lines))


def _logs(block: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Return the logs of a block itself, but for `off`, ours, and what our include file has."""
    found = [
        one
        for one in block.get("block", [])
        if one["directive"] == "access_log" and Path(one["file"]).name != SERVER_FILE
    ]
    return [one for one in found if one["args"][:1] != ["off"] and one["args"][1:2] != ["tailtrace"]]


def _quoted(word: str) -> str:
    return f'"{word}"' if not word or set(word) & set(" ;{}") else word

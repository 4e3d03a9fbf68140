"""Look whether a server that writes our log has lost the logs of http {}. Pure.

| http {} has an access_log | the server has | status |
|---|---|---|
| yes | ours alone | warning: what reads those logs no longer sees its requests |
| yes | it repeated, or another of its own | nothing to say |

https://nginx.org/en/docs/http/ngx_http_log_module.html#access_log
"""

from collections.abc import Sequence

from tailtrace_api.doctor.checks import Check, make_check
from tailtrace_api.doctor.nginx import servers
from tailtrace_api.nginx.config import Config, Directive


def check_lost_logs(config: Config) -> list[Check]:
    """Look at every server."""
    checks: list[Check] = []
    for http in (one for one in config.directives if one.name == "http"):
        lines = [" ".join(one.args) for one in _logs(http) if one.args[:1] != ("off",)]
        for server in servers(http) if lines else ():
            own = _logs(server)
            if own and all(one.args[1:2] == ("tailtrace",) for one in own):
                checks.append(_lost(server, lines))
    return checks


def _logs(block: Directive) -> Sequence[Directive]:
    return [one for one in block.block or () if one.name == "access_log"]


def _lost(server: Directive, lines: Sequence[str]) -> Check:
    names = next((item.args for item in server.block or () if item.name == "server_name"), ())
    return make_check(
        f"nginx server {' '.join(names) or '_'} logs",
        "warning",
        f"{server.file}:{server.line}: it writes tailtrace's log alone: what reads "
        f"{', '.join(line.split()[0] for line in lines)} (GoAccess, fail2ban, a shipper) no longer sees its requests",
        "repeat them beside the include: "
        + " ".join(f"access_log {line};" for line in lines)
        + " (`sudo tailtrace nginx` writes an include file that has them, where no server has logs of its own)",
    )

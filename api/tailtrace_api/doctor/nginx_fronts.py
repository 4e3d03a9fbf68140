"""Look at whom nginx believes: real addresses, headers with underscores, sockets behind serve. Pure.

| the configuration | status |
|---|---|
| `set_real_ip_from` a network as wide as the world | failure: whoever connects writes who they are |
| `underscores_in_headers on` | failure: `Tailscale_User_Login` passes serve, which removes the name with dashes |
| a server on a unix socket, without `set_real_ip_from unix:` and a header | failure: nobody is named |
| the same, with | ok |
| no TUN, and an address from a header of 127.0.0.1 | failure: whoever goes past serve writes it |
| no TUN, and PROXY protocol on 127.0.0.1 or on all addresses | failure: likewise; 127.0.0.2 is not reached by peers |
| no TUN, and PROXY protocol on another address of loopback | ok |

Sources: https://nginx.org/en/docs/http/ngx_http_realip_module.html ,
https://nginx.org/en/docs/http/ngx_http_core_module.html#underscores_in_headers , and `acceptTCP` of
tailscale.com/wgengine/netstack, which dials 127.0.0.1 or ::1 and no other address of loopback
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from tailtrace_api.doctor.checks import Check, make_check
from tailtrace_api.doctor.nginx import servers
from tailtrace_api.doctor.peers import RECIPE
from tailtrace_api.nginx.config import Config, Directive

PREFIX_MIN = {4: 8, 6: 16}
"""A network shorter than this is no proxy of somebody's own."""
_NAMES = ("set_real_ip_from", "real_ip_header", "underscores_in_headers")
_EVERYWHERE = frozenset({"", "*", "0.0.0.0", "::", "[::]"})


@dataclass(frozen=True, slots=True)
class Fronts:
    """What was found, and whether some server takes addresses in a way that no peer can forge."""

    checks: tuple[Check, ...]
    is_safe: bool = False


def check_fronts(config: Config, *, has_tun: bool | None) -> Fronts:
    """Look at every server."""
    checks: list[Check] = []
    is_safe = False
    for http in (directive for directive in config.directives if directive.name == "http"):
        outer = _own(http)
        for settings in (outer, *(_own(server) for server in servers(http))):
            checks += _wide(settings.get("set_real_ip_from", ()))
            checks += _underscores(settings.get("underscores_in_headers", ()))
        for server in servers(http):
            found = _server(server, {**outer, **_own(server)}, has_tun=has_tun)
            checks += found
            is_safe = is_safe or any(check.status in {"ok", "warning"} for check in found)
    return Fronts(tuple(checks), is_safe)


def _own(block: Directive) -> dict[str, tuple[Directive, ...]]:
    found: dict[str, tuple[Directive, ...]] = {}
    for item in block.block or ():
        if item.name in _NAMES:
            found[item.name] = (*found.get(item.name, ()), item)
    return found


def _where(item: Directive) -> str:
    return f"{item.file}:{item.line}"


def _wide(items: Sequence[Directive]) -> list[Check]:
    wide = [item for item in items if _is_wide(item.args[0] if item.args else "")]
    return [
        make_check(
            "nginx set_real_ip_from",
            "failure",
            f"{_where(item)}: set_real_ip_from {item.args[0]}: whoever connects may write in a header who they are",
            "name the address of the proxy in front alone; without a proxy remove the line",
        )
        for item in wide
    ]


def _is_wide(text: str) -> bool:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return network.prefixlen < PREFIX_MIN[network.version]


def _underscores(items: Sequence[Directive]) -> list[Check]:
    return [
        make_check(
            "nginx underscores_in_headers",
            "failure",
            f"{_where(item)}: with `on`, a client's Tailscale_User_Login passes `tailscale serve` as its own",
            "underscores_in_headers off, which is the default",
        )
        for item in items
        if item.args[:1] == ("on",)
    ]


def _server(server: Directive, settings: dict[str, tuple[Directive, ...]], *, has_tun: bool | None) -> list[Check]:
    names = next((item.args for item in server.block or () if item.name == "server_name"), ())
    listens = [item.args for item in server.block or () if item.name == "listen" and item.args]
    believed = [item.args[0] for item in settings.get("set_real_ip_from", ()) if item.args]
    header = next((item.args[0].lower() for item in settings.get("real_ip_header", ()) if item.args), "x-real-ip")
    title = f"nginx server {' '.join(names) or ' '.join(listens[0] if listens else ())} behind a proxy"
    if sockets := [args[0] for args in listens if args[0].startswith("unix:")]:
        if "unix:" in believed and header in {"x-forwarded-for", "proxy_protocol"}:
            how = "X-Forwarded-For" if header == "x-forwarded-for" else "PROXY protocol"
            return [
                make_check(title, "ok", f"{_where(server)}: {sockets[0]}, the address by {how}: no peer can forge it")
            ]
        words = f"{_where(server)}: listens on {sockets[0]} and does not take the address from what comes by it"
        return [make_check(title, "failure", f"{words}: nobody is named", RECIPE)]
    if has_tun is not False or not any(_is_loopback(peer) for peer in believed):
        return []
    if header != "proxy_protocol":
        words = f"{_where(server)}: without TUN every peer reaches 127.0.0.1 past serve, and writes {header} itself"
        return [make_check(title, "failure", f"{words}: rows by it are unknown", RECIPE)]
    hosts = {args[0].rpartition(":")[0] if ":" in args[0] else "" for args in listens if "proxy_protocol" in args}
    if any(host in _EVERYWHERE or host in {"127.0.0.1", "[::1]", "localhost"} for host in hosts):
        words = f"{_where(server)}: a peer that goes past serve can write PROXY protocol too: rows by it are unknown"
        cure = (
            "listen 127.0.0.2:PORT proxy_protocol, which no peer reaches, and "
            "`tailscale serve --tcp=80 --proxy-protocol=1 tcp://127.0.0.2:PORT`"
        )
        return [make_check(title, "failure", words, cure)]
    return [make_check(title, "ok", f"{_where(server)}: PROXY protocol where no peer reaches it")]


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_network(text, strict=False).is_loopback
    except ValueError:
        return text == "localhost"

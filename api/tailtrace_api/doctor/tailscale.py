"""Look at the local tailscaled: reachable, Running, with a TUN device, its key good; and who an address is.

| `/status` says | status |
|---|---|
| no answer | failure; warning where a file of identities is set, since names come from it |
| a state other than `Running` | failure |
| `TUN` false, and nginx does not take addresses in a way that no peer can forge | failure: all are 127.0.0.1 |
| no socket, but one in another known place | failure, and which |
| our key expired / expires within `KEY_WARNING_US` | failure / warning |

Sources: https://pkg.go.dev/tailscale.com/ipn/ipnstate#Status and
https://tailscale.com/kb/1112/userspace-networking
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tailtrace_api.doctor.checks import Check, make_check
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.core.times import parse_time, since_epoch_us
from tailtrace_bridge.identity.chain import Identities, Unavailable, describe
from tailtrace_bridge.identity.local_api import HOST, LocalApi
from tailtrace_bridge.identity.sockets import MACOS_APP, PLACES, signature

TIMEOUT_S = 1.0
STATUS_BYTES_MAX = 1024 * 1024
KEY_WARNING_US = 14 * 86_400_000_000
_USERSPACE_CURE = (
    "put `tailscale serve` in front, by a socket: `sudo tailtrace nginx --behind-serve` writes it; or give tailscaled "
    "a TUN device: in a container TS_USERSPACE=false, cap_add NET_ADMIN and device /dev/net/tun; on a host drop "
    "--tun=userspace-networking"
)
_MACOS = "the macOS app of Tailscale lets no other program ask; Homebrew's tailscaled does: `brew install tailscale`"


def check_local(
    socket: Path, local: LocalApi, now_us: int, *, has_file: bool, has_recipe: bool = False, serve_headers: bool = False
) -> list[Check]:
    """Look at tailscaled.

    `has_file`: names come from a file too; `has_recipe`: nginx takes addresses from a proxy as no peer can forge them;
    `serve_headers`: the setting.
    """
    name = "tailscale"
    found = local.status()
    if isinstance(found, Unavailable):
        words, _, cure = found.reason.partition("; ")
        others = [place for place in PLACES if place != str(socket) and signature(place)]
        if signature(str(socket)) is None and others:
            words, cure = f"{words}; there is one at {others[0]}", f"set TAILSCALE_SOCKET={others[0]}"
        elif signature(str(socket)) is None:
            words += f", nor at {', '.join(place for place in PLACES if place != str(socket))}"
            cure = _MACOS if MACOS_APP.exists() else cure
        return [make_check(name, "warning" if has_file else "failure", words, cure or "see tailscaled's log")]
    checks = [make_check(f"{name} socket", "ok", f"tailscaled answers at {socket}")]
    if found.state != "Running":
        return [
            *checks,
            make_check(f"{name} state", "failure", f"tailscaled is {found.state}, not Running", "tailscale up"),
        ]
    try:
        status = _status(socket)
    except (httpx.HTTPError, ValueError) as error:
        cure = "see tailscaled's log"
        return [*checks, make_check(f"{name} state", "warning", f"/status cannot be read: {error}", cure)]
    return [*checks, *judge(status, now_us, has_recipe=has_recipe, serve_headers=serve_headers)]


def judge(
    status: Mapping[str, Any], now_us: int, *, has_recipe: bool = False, serve_headers: bool = False
) -> list[Check]:
    """Judge the answer of a tailscaled that is Running."""
    own = status.get("Self")
    node: Mapping[str, Any] = own if isinstance(own, dict) else {}
    addresses = node.get("TailscaleIPs")
    shown = ", ".join(str(item) for item in addresses) if isinstance(addresses, list) else "no address"
    checks = [
        make_check("tailscale state", "ok", f"Running, this node is {node.get('HostName') or 'nameless'} ({shown})")
    ]
    if status.get("TUN") is False and has_recipe:
        words = "userspace-networking mode, and nginx takes addresses from what `tailscale serve` says"
        checks.append(make_check("tailscale TUN", "ok", words))
    elif status.get("TUN") is False and serve_headers:
        words = (
            "userspace-networking mode: headers of `tailscale serve` that come by TCP are not believed, since every "
            "peer reaches 127.0.0.1 past it and could write them"
        )
        checks.append(make_check("tailscale TUN", "failure", words, _USERSPACE_CURE))
    elif status.get("TUN") is False:
        words = "userspace-networking mode: every peer of nginx is 127.0.0.1, so nobody has a name"
        checks.append(make_check("tailscale TUN", "failure", words, _USERSPACE_CURE))
    elif status.get("TUN") is True:
        checks.append(make_check("tailscale TUN", "ok", "a TUN device: nginx sees the addresses of people"))
    else:
        checks.append(
            make_check("tailscale TUN", "skipped", "this tailscaled does not say whether it has a TUN device")
        )
    checks.append(_check_key(node, now_us))
    return checks


def _check_key(node: Mapping[str, Any], now_us: int) -> Check:
    name, expiry = "tailscale key", node.get("KeyExpiry")
    cure = "`sudo tailscale up --force-reauth`, or disable key expiry for this node in the admin console"
    if node.get("Expired") is True:
        return make_check(name, "failure", "this node's key has expired", cure)
    if not isinstance(expiry, str) or not expiry:
        return make_check(name, "ok", "this node's key does not expire")
    try:
        end_us = since_epoch_us(parse_time(expiry))
    except ValueError:
        return make_check(name, "warning", f"KeyExpiry cannot be read: {expiry}", cure)
    if end_us <= now_us:
        return make_check(name, "failure", f"this node's key expired on {expiry}", cure)
    days = (end_us - now_us) // 86_400_000_000
    if end_us - now_us < KEY_WARNING_US:
        return make_check(name, "warning", f"this node's key expires in {days} days ({expiry})", cure)
    return make_check(name, "ok", f"this node's key is good for {days} days")


def check_address(address: str, identities: Identities) -> Check:
    """Return who an address is, and what each provider said."""
    name = f"address {address}"
    identity = identities.identify(address)
    if identity.provider:
        return make_check(name, "ok", f"{describe(identity)}; {identity.provider} says so")
    said = "; ".join(f"{provider}: {answer}" for provider, answer in identities.explain(address))
    if identity.kind == "self":
        return make_check(name, "ok", f"this machine itself ({said})")
    cure = "mend what is unavailable; a device of your own without Tailscale can be named in TAILTRACE_IDENTITIES"
    return make_check(name, "warning", f"{identity.kind}: {said}", cure)


def _status(socket: Path) -> dict[str, Any]:
    """Ask `/status` without peers. Raises `httpx.HTTPError` and `ValueError`."""
    with (
        httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)),
            base_url=f"http://{HOST}",
            timeout=TIMEOUT_S,
            trust_env=False,
        ) as client,
        client.stream("GET", "/localapi/v0/status", params={"peers": "false"}) as response,
    ):
        response.raise_for_status()
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > STATUS_BYTES_MAX:
                raise ValueError(f"more than {STATUS_BYTES_MAX} bytes")
    try:
        status = json.loads(body)
    except RecursionError:
        status = None
    if not isinstance(status, dict):
        raise ValueError(  # noqa: TRY004 - of what came, not of what we passed
            f"no JSON object: {printable(bytes(body[:80]).decode('utf-8', 'replace'))}"
        )
    return status

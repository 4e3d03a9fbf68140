"""Look at who connected, by the newest lines of the log: whether nginx meets people, or what stands in front. Pure.

| the lines | status |
|---|---|
| carry a login or Funnel's mark that no setting believes, from loopback or a socket | failure |
| came by a unix socket, and none has an address | failure |
| all from loopback, and tailscaled has no TUN, or its serve hands on to 127.0.0.1 | failure |
| all from loopback, else | warning: a proxy, or nobody but this machine asks |
| all from one private address | failure: a published port, or a proxy that is not told of |
| none from the tailnet | warning |
| from the tailnet, or named by PROXY protocol or by what came by a socket | ok |

Nobody is advised to name a gateway in the file of identities: everybody behind it would be that one person.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tailtrace_api.doctor.checks import Check, make_check
from tailtrace_bridge.core.records import Access
from tailtrace_bridge.core.text import parse_address
from tailtrace_bridge.identity.chain import is_tailnet
from tailtrace_bridge.identity.fronts import is_loopback, is_within_reach, peer_of
from tailtrace_bridge.identity.proxies import UNIX, Proxies

LINES_MIN = 3
"""Fewer lines tell nothing of all."""
NAME = "peers"
RECIPE = (
    "take the address from a socket that no peer reaches: `sudo tailtrace nginx --behind-serve` writes it and says the "
    "rest (docs/TAILSCALE_MONITORING.md, How nginx meets the tailnet)"
)
_GATEWAY = (
    "let nginx have the peers' own addresses: in a container `network_mode: host`, or in the network of tailscaled's "
    "container (`network_mode: service:tailscale`) without a published port; a proxy of your own there: PROXY "
    "protocol, and set_real_ip_from with its address alone"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What else is known: of tailscaled (None: it does not say), and which proxies settings believe."""

    has_tun: bool | None
    serves_loopback: bool
    believed: Proxies


def check_peers(lines: Sequence[Access], facts: Facts) -> list[Check]:
    """Look at the newest lines."""
    if len(lines) < LINES_MIN:
        return [make_check(NAME, "skipped", f"{len(lines)} lines tell nothing of who connects")]
    peers = Counter(map(peer_of, lines))
    named = [line for line in lines if line.peer and line.peer != line.address]
    checks = _headers(lines, facts)
    near = [line for line in lines if is_loopback(peer_of(line))]
    if by_socket := [line for line in lines if line.address == UNIX]:
        words = f"{len(by_socket)} of {len(lines)} lines came by a unix socket, and have no address: nobody is named"
        checks.append(make_check(NAME, "failure", words, f"set_real_ip_from unix: and real_ip_header; {RECIPE}"))
    elif len(near) == len(lines) and not named:
        checks.append(_all_near(lines, facts))
    elif gateway := _gateway(peers, lines):
        words = (
            f"all of the newest {len(lines)} lines are from {gateway}, a private address: a published container port, "
            "or a proxy; everybody is one"
        )
        checks.append(make_check(NAME, "failure", words, _GATEWAY))
    elif not any(_is_of_tailnet(line.address) for line in lines):
        seen = _most_common(Counter(line.address for line in lines))
        words = f"none of the newest {len(lines)} lines is of the tailnet: {seen}"
        cure = "ask by the tailnet's name or address of this machine; what stands in front must pass addresses on"
        checks.append(make_check(NAME, "warning", words, cure))
    elif facts.has_tun is False and (forged := [x for x in named if is_within_reach(x)]):
        words = (
            f"{len(forged)} of {len(lines)} lines have an address that somebody on 127.0.0.1 wrote, and without TUN "
            "every peer reaches that: nobody is named by it"
        )
        checks.append(make_check(NAME, "failure", words, RECIPE))
    else:
        of = sum(_is_of_tailnet(line.address) for line in lines)
        how = f"; {len(named)} were named by {_most_common(Counter(line.peer for line in named))}" if named else ""
        checks.append(make_check(NAME, "ok", f"{of} of the newest {len(lines)} lines are of the tailnet{how}"))
    return checks


def _headers(lines: Sequence[Access], facts: Facts) -> list[Check]:
    from_front = [line for line in lines if line.serve and (is_loopback(peer_of(line)) or peer_of(line) == UNIX)]
    lost = [line for line in from_front if peer_of(line) not in facts.believed and line.address == peer_of(line)]
    if not lost:
        return []
    words = f"{len(lost)} of {len(lines)} lines carry headers of `tailscale serve` or Funnel, which no setting believes"
    return [make_check("serve headers", "failure", words, RECIPE)]


def _all_near(lines: Sequence[Access], facts: Facts) -> Check:
    words = f"all of the newest {len(lines)} lines are from 127.0.0.1"
    if facts.has_tun is False:
        words += ": tailscaled runs without TUN (userspace-networking), so every peer comes from there"
        return make_check(NAME, "failure", words, RECIPE)
    if all(peer_of(line) in facts.believed for line in lines) and any(line.serve for line in lines):
        return make_check(NAME, "ok", f"{words}, and `tailscale serve` names people by its headers")
    if facts.serves_loopback:
        words += ": `tailscale serve` stands in front, and everybody is one"
        return make_check(NAME, "failure", words, RECIPE)
    cure = f"where a proxy stands in front, {RECIPE}; else ask by the tailnet's address of this machine"
    return make_check(NAME, "warning", f"{words}: a proxy in front, or nobody but this machine asks", cure)


def _gateway(peers: Counter[str], lines: Sequence[Access]) -> str:
    """Return the one private address that all lines are from; empty: there is none."""
    if len(peers) > 1 or any(line.address != peer_of(line) for line in lines):
        return ""
    peer = next(iter(peers))
    address = parse_address(peer)
    is_private = address is not None and address.is_private and not address.is_loopback and not is_tailnet(address)
    return peer if is_private else ""


def _is_of_tailnet(text: str) -> bool:
    address = parse_address(text)
    return address is not None and is_tailnet(address)


def _most_common(counts: Counter[str]) -> str:
    shown = ", ".join(f"{what} ({count})" for what, count in counts.most_common(3))
    return shown + (", …" if len(counts) > 3 else "")

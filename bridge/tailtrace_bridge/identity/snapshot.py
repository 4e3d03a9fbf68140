"""Who is behind an address by tailscaled's last `/status`: it still answers while tailscaled is away.

| the address | the status is of now, and Running | tailscaled is away since less than `AGE_US_MAX` | for longer |
|---|---|---|---|
| of a peer | found | found, as it was | unavailable |
| of our own node | found, kind self | the same | unavailable |
| in a peer's `PrimaryRoutes` (a subnet router) | found, kind subnet, `via` its name | the same | unavailable |
| the public endpoint of a peer that is an exit node | found, kind subnet, `via` its name | the same | unavailable |
| loopback, in userspace-networking mode | found, kind unknown: everyone comes from there | the same | unavailable |
| any other | not found | not found outside the tailnet's ranges; else unavailable | the same |

A status that is not Running counts as away: after a logout it lists nobody. The status is asked at most every
`REFRESH_US`, and so seldom that it takes no more than a twentieth of the time. `changed` tells whose holder it shows
to be another than before, so that a name in a cache does not outlive its address's change.

Source: https://pkg.go.dev/tailscale.com/ipn/ipnstate#PeerStatus
"""

import ipaddress
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.core.text import parse_address, printable
from tailtrace_bridge.identity.chain import USERSPACE_NETWORKING, Answer, Found, NotFound, Unavailable, is_tailnet
from tailtrace_bridge.identity.local_api import LocalApi, node_identity, table_of, tags_of, text_of, time_us_of

REFRESH_US = 5_000_000
AGE_US_MAX = 300_000_000
SHARE = 20
"""The time between two statuses is at least so many times what one takes."""
ROUTES_MAX = 10_000
USERSPACE_PROBLEM = (
    "tailscaled runs in userspace-networking mode: nginx sees each peer as 127.0.0.1, so nobody can be named. Run "
    "tailscaled with a TUN device (TS_USERSPACE=false, /dev/net/tun and NET_ADMIN in a container), or put `tailscale "
    "serve` before nginx and set TAILTRACE_SERVE_HEADERS=true"
)

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Peers:
    """What one `/status` says, by address."""

    nodes: dict[str, Found] = field(default_factory=dict)
    routes: list[tuple[_Network, Found]] = field(default_factory=list)
    """Longest prefix first."""
    exits: dict[str, Found] = field(default_factory=dict)
    routes_over_limit: int = 0
    is_userspace: bool = False

    def find(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Found | None:
        """Say who it is; the identity's address is for the caller to set."""
        text = str(address)
        if found := self.nodes.get(text):
            return found
        if address.is_loopback:
            unknown = Identity(text, reason=USERSPACE_NETWORKING, provider=Snapshot.name)
            return Found(unknown, 0) if self.is_userspace else None
        for network, found in self.routes:
            if address in network:
                return found
        return self.exits.get(text)


class Snapshot:
    """The provider `snapshot`. `clock` gives microseconds and never goes back.

    `has_serve`: `tailscale serve` says who a loopback peer is, so that userspace-networking mode is no problem.
    """

    name = "snapshot"

    def __init__(
        self,
        local_api: LocalApi,
        *,
        clock: Callable[[], int],
        refresh_us: int = REFRESH_US,
        age_us_max: int = AGE_US_MAX,
        has_serve: bool = False,
    ) -> None:
        self.refreshes = 0
        self.failures = 0
        self.routes_over_limit = 0
        """Routes of the last status past `ROUTES_MAX`, which are not looked at."""
        self._local_api = local_api
        self._clock = clock
        self._refresh_us = refresh_us
        self._age_us_max = age_us_max
        self._peers: Peers | None = None
        self._peers_us = 0
        self._due_us: int | None = None
        self._problem = ""
        self._changed: set[str] = set()
        self._has_serve = has_serve
        self._said_userspace = False

    def whois(self, address: str) -> Answer:
        """Say who has `address`: the table above."""
        parsed = parse_address(address)
        if parsed is None:
            return NotFound()
        self._refresh_if_due()
        age_us = self._clock() - self._peers_us
        if self._peers is not None and age_us < self._age_us_max and (found := self._peers.find(parsed)):
            return replace(found, identity=found.identity._replace(address=address))
        if not self._problem or not is_tailnet(parsed):
            return NotFound()
        return Unavailable(self._problem, rests=False)

    def changed(self) -> set[str]:
        """Return the addresses whose holder has changed since this was last asked."""
        self._refresh_if_due()
        changed, self._changed = self._changed, set()
        return changed

    def is_current(self) -> bool:
        """Say whether `changed` can tell now: the last status was had, and is of a tailscaled that runs."""
        return self._peers is not None and not self._problem

    def _refresh_if_due(self) -> None:
        start_us = self._clock()
        if self._due_us is not None and start_us < self._due_us:
            return
        self.refreshes += 1
        document = self._local_api.status_with_peers()
        now_us = self._clock()
        self._due_us = now_us + max(self._refresh_us, SHARE * (now_us - start_us))
        if isinstance(document, Unavailable):
            self.failures += 1
            self._problem = document.reason
            return
        state = text_of(document, "BackendState")
        if state != "Running":
            self.failures += 1
            self._problem = f"tailscaled is in state {state or 'none'}, not Running; run `tailscale up`"
            return
        self._problem = ""
        peers = read_peers(document)
        if self._peers is not None:
            before = self._peers.nodes
            self._changed |= {
                one for one in before.keys() | peers.nodes.keys() if before.get(one) != peers.nodes.get(one)
            }
        self._peers, self._peers_us = peers, now_us
        self.routes_over_limit = peers.routes_over_limit
        if peers.is_userspace and not self._has_serve and not self._said_userspace:
            self._said_userspace = True
            _log.warning("identity: %s", USERSPACE_PROBLEM)


def read_peers(status: Mapping[str, object]) -> Peers:
    """Read a `/status`. What is not of its documented type is left out."""
    peers = Peers(is_userspace=status.get("TUN") is False)
    users = table_of(status, "User")
    suffix = (text_of(table_of(status, "CurrentTailnet"), "MagicDNSSuffix") or text_of(status, "MagicDNSSuffix")).strip(
        "."
    )
    own = table_of(status, "Self")
    for peer in (own, *_tables(table_of(status, "Peer"))):
        identity = _identity(peer, users, suffix, is_own=peer is own)
        if identity is None:
            continue
        since_us = time_us_of(peer, "Created")
        for address in map(parse_address, _texts(peer, "TailscaleIPs")):
            if address is not None:
                peers.nodes[str(address)] = Found(identity._replace(address=str(address)), since_us)
        if peer is own:
            continue
        behind = Found(Identity("", "subnet", provider=Snapshot.name, via=identity.device), since_us)
        peers.routes += [(network, behind) for network in map(_network, _texts(peer, "PrimaryRoutes")) if network]
        if peer.get("ExitNodeOption") is True:
            for endpoint in (text_of(peer, "CurAddr"), *_texts(peer, "Addrs")):
                address = parse_address(endpoint.rpartition(":")[0].strip("[]"))
                if address is not None and address.is_global:
                    peers.exits[str(address)] = behind
    peers.routes.sort(key=lambda route: -route[0].prefixlen)
    peers.routes_over_limit = max(0, len(peers.routes) - ROUTES_MAX)
    del peers.routes[ROUTES_MAX:]
    return peers


def _identity(peer: Mapping[str, object], users: Mapping[str, object], suffix: str, *, is_own: bool) -> Identity | None:
    node_id = text_of(peer, "ID")
    if not node_id:
        return None
    name = text_of(peer, "DNSName").rstrip(".")
    user_id = peer.get("UserID")
    return node_identity(
        "",
        node_id=node_id,
        # As whois names it: a node of our tailnet by its label, one of another by its full name.
        device=(name.removesuffix(f".{suffix}") if suffix else name.partition(".")[0]) or text_of(peer, "HostName"),
        tags=tags_of(peer),
        profile=table_of(users, str(user_id)),
        is_own=is_own,
        is_shared=bool(peer.get("AltSharerUserID")) or peer.get("ShareeNode") is True,
        is_expired=peer.get("Expired") is True,
        provider=Snapshot.name,
    )


def _tables(parent: Mapping[str, object]) -> list[Mapping[str, object]]:
    return [value for value in parent.values() if isinstance(value, dict)]


def _texts(parent: Mapping[str, object], key: str) -> list[str]:
    value = parent.get(key)
    return [printable(one) for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _network(text: str) -> _Network | None:
    """Read a route; those of a single exit node, 0.0.0.0/0 and ::/0, say nothing about an address."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return None
    return network if network.prefixlen else None

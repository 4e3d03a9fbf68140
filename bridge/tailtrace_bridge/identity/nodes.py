"""What tailscaled says of nodes, read: the peers of a `/status`, and a node as whois and the bus describe it. Pure.

| the node | kind | user |
|---|---|---|
| is our own | self | none: what runs on this machine is no person |
| is the router of a subnet (`PrimaryRoutes`) | subnet, `via` its name | none: others may come with its address (SNAT) |
| has tags, or the login `tagged-devices` | tagged | none: a service is no person |
| is of another tailnet (shared with or from it) | shared | its login |
| has a login | user | its login |
| has none | unknown, `node-without-owner` | none |

A route of everything (0.0.0.0/0, ::/0) makes an exit node and no router: nobody comes from there with its address.

Sources: https://pkg.go.dev/tailscale.com/ipn/ipnstate#PeerStatus, https://pkg.go.dev/tailscale.com/tailcfg#Node
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.core.text import Address, parse_address, printable
from tailtrace_bridge.core.times import go_time_us
from tailtrace_bridge.identity.chain import NO_OWNER, USERSPACE_NETWORKING, Found

PROVIDER = "snapshot"
TAGGED_LOGIN = "tagged-devices"
"""The login that Tailscale gives to every device without a person."""
ROUTES_MAX = 10_000

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Users = Mapping[str, object]
"""`UserProfile`s by the number of the user, in digits."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node, as far as it says who is behind an address."""

    number: int
    """`tailcfg.NodeID`, by which the bus tells that it is gone; 0: not told."""
    identity: Identity
    """Its address is empty."""
    since_us: int | None
    key: str
    """Its node key: a new one at each login."""
    addresses: tuple[str, ...]
    routes: tuple[Network, ...]
    exits: tuple[str, ...]
    """Public addresses from which those come who use it as an exit node."""


@dataclass(slots=True)
class Peers:
    """What tailscaled knows, by address."""

    nodes: dict[str, Found] = field(default_factory=dict)
    routes: list[tuple[Network, Found]] = field(default_factory=list)
    """Longest prefix first."""
    exits: dict[str, Found] = field(default_factory=dict)
    routes_over_limit: int = 0
    is_userspace: bool = False

    def find(self, address: Address) -> Found | None:
        """Return who it is; the identity's address is for the caller to set."""
        text = str(address)
        if found := self.nodes.get(text):
            return found
        if address.is_loopback:
            unknown = Identity(text, reason=USERSPACE_NETWORKING, provider=PROVIDER)
            return Found(unknown, 0) if self.is_userspace else None
        for network, found in self.routes:
            if address in network:
                return found
        return self.exits.get(text)

    def add(self, node: Node) -> None:
        """Enter the addresses of a node; its routes are for `set_routes`."""
        for address in node.addresses:
            identity = node.identity._replace(address=address)
            self.nodes[address] = Found(identity, node.since_us, address, node.key)
        for address in node.exits:
            self.exits[address] = Found(_behind(node), node.since_us)

    def remove(self, node: Node) -> None:
        """Take the addresses of a node out, those that another has taken over not."""
        for address in node.addresses:
            found = self.nodes.get(address)
            if found is not None and found.identity.node_id == node.identity.node_id and found.key == node.key:
                del self.nodes[address]
        for address in node.exits:
            self.exits.pop(address, None)

    def set_routes(self, nodes: Iterable[Node]) -> None:
        """Enter the routes of all nodes anew."""
        routes = [
            (network, Found(_behind(node), node.since_us, str(network), node.key))
            for node in nodes
            for network in node.routes
        ]
        routes.sort(key=lambda route: -route[0].prefixlen)
        self.routes_over_limit = max(0, len(routes) - ROUTES_MAX)
        self.routes = routes[:ROUTES_MAX]

    def held(self) -> dict[str, Found]:
        """Return who holds what: addresses, and networks behind routers, as text."""
        return self.nodes | {found.place: found for _, found in self.routes}


def _behind(node: Node) -> Identity:
    return Identity("", "subnet", provider=PROVIDER, via=node.identity.via or node.identity.device)


def read_nodes(status: Mapping[str, object]) -> list[Node]:
    """Read the nodes of a `/status`, our own first. What is not of its documented type is left out."""
    users = table_of(status, "User")
    suffix = suffix_of(status)
    own = table_of(status, "Self")
    read = (_read_peer(peer, users, suffix, is_own=peer is own) for peer in (own, *_tables(table_of(status, "Peer"))))
    return [node for node in read if node is not None]


def make_peers(nodes: Iterable[Node], *, is_userspace: bool = False) -> Peers:
    """Put nodes into a table by address."""
    peers = Peers(is_userspace=is_userspace)
    nodes = list(nodes)
    for node in nodes:
        peers.add(node)
    peers.set_routes(nodes)
    return peers


def read_peers(status: Mapping[str, object]) -> Peers:
    """Read a `/status` as a table by address."""
    return make_peers(read_nodes(status), is_userspace=status.get("TUN") is False)


def suffix_of(status: Mapping[str, object]) -> str:
    """Return the tailnet's domain, `tail1234.ts.net`; empty where there is none."""
    name = text_of(table_of(status, "CurrentTailnet"), "MagicDNSSuffix") or text_of(status, "MagicDNSSuffix")
    return name.strip(".")


def _read_peer(peer: Mapping[str, object], users: Users, suffix: str, *, is_own: bool) -> Node | None:
    node_id = text_of(peer, "ID")
    if not node_id:
        return None
    name = text_of(peer, "DNSName").rstrip(".")
    routes = () if is_own else _networks(peer, "PrimaryRoutes")
    is_exit = peer.get("ExitNodeOption") is True and not is_own
    endpoints = (text_of(peer, "CurAddr"), *_texts(peer, "Addrs")) if is_exit else ()
    identity = node_identity(
        "",
        node_id=node_id,
        # As whois names it: a node of our tailnet by its label, one of another by its full name.
        device=(name.removesuffix(f".{suffix}") if suffix else name.partition(".")[0]) or text_of(peer, "HostName"),
        tags=tags_of(peer),
        profile=table_of(users, str(peer.get("UserID"))),
        is_own=is_own,
        is_shared=bool(peer.get("AltSharerUserID")) or peer.get("ShareeNode") is True,
        is_expired=peer.get("Expired") is True,
        is_router=bool(routes),
        provider=PROVIDER,
    )
    return Node(
        _number(peer, "NodeID"),
        identity,
        go_time_us(peer.get("Created")),
        text_of(peer, "PublicKey"),
        _addresses(_texts(peer, "TailscaleIPs")),
        routes,
        _public(endpoints),
    )


def read_node(node: Mapping[str, object], users: Users, *, is_own: bool) -> Node | None:
    """Read a node as the bus and whois describe it (`tailcfg.Node`); None: it has no id."""
    if not text_of(node, "StableID"):
        return None
    identity = identity_of(node, "", table_of(users, str(node.get("User"))), is_own=is_own, provider=PROVIDER)
    allowed = _texts(node, "AllowedIPs")
    is_exit = not is_own and ("0.0.0.0/0" in allowed or "::/0" in allowed)
    return Node(
        _number(node, "ID"),
        identity,
        go_time_us(node.get("Created")),
        text_of(node, "Key"),
        _addresses(text.partition("/")[0] for text in _texts(node, "Addresses")),
        () if is_own else _networks(node, "PrimaryRoutes"),
        _public(_texts(node, "Endpoints") if is_exit else ()),
    )


def identity_of(
    node: Mapping[str, object], address: str, profile: Mapping[str, object], *, is_own: bool, provider: str
) -> Identity:
    """Make an identity of a `tailcfg.Node` and its user's profile."""
    return node_identity(
        address,
        node_id=text_of(node, "StableID"),
        device=text_of(node, "ComputedName") or text_of(node, "Name").partition(".")[0],
        tags=tags_of(node),
        profile=profile,
        is_own=is_own,
        is_shared=bool(node.get("Sharer")) or table_of(node, "Hostinfo").get("ShareeNode") is True,
        is_expired=node.get("Expired") is True,
        is_router=bool(_networks(node, "PrimaryRoutes")),
        provider=provider,
    )


def node_identity(
    address: str,
    *,
    node_id: str,
    device: str,
    tags: str,
    profile: Mapping[str, object],
    is_own: bool,
    is_shared: bool,
    is_expired: bool,
    provider: str,
    is_router: bool = False,
) -> Identity:
    """Decide by the table above; `profile` is the `UserProfile` of the node's user."""
    login = text_of(profile, "LoginName")
    if is_own:
        kind = "self"
    elif is_router:
        return Identity(address, "subnet", provider=provider, via=device)
    elif tags or login == TAGGED_LOGIN:
        kind = "tagged"
    elif is_shared:
        kind = "shared"
    else:
        kind = "user" if login else "unknown"
    has_person = kind in {"user", "shared"}
    number = profile.get("ID")
    return Identity(
        address,
        kind,
        login if has_person else "",
        device,
        node_id,
        tags,
        provider,
        user_id=str(number) if has_person and isinstance(number, int) and number > 0 else "",
        reason=NO_OWNER if kind == "unknown" else "",
        expired=is_expired,
    )


def renamed(found: Found, address: str) -> Found:
    """Return an answer under the address that was asked for."""
    return replace(found, identity=found.identity._replace(address=address))


def table_of(parent: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Return a member that is an object; an empty one where it is none."""
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def text_of(parent: Mapping[str, object], key: str) -> str:
    """Return a member that is text, made printable; an empty one where it is none."""
    value = parent.get(key)
    return printable(value) if isinstance(value, str) else ""


def tags_of(node: Mapping[str, object]) -> str:
    """Return the member `Tags` as `tag:a,tag:b`."""
    tags = node.get("Tags")
    return printable(",".join(tag for tag in tags if isinstance(tag, str))) if isinstance(tags, list) else ""


def _number(parent: Mapping[str, object], key: str) -> int:
    value = parent.get(key)
    return value if isinstance(value, int) else 0


def _tables(parent: Mapping[str, object]) -> list[Mapping[str, object]]:
    return [value for value in parent.values() if isinstance(value, dict)]


def _texts(parent: Mapping[str, object], key: str) -> list[str]:
    value = parent.get(key)
    return [printable(one) for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _addresses(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(address) for address in map(parse_address, texts) if address is not None)


def _networks(parent: Mapping[str, object], key: str) -> tuple[Network, ...]:
    """Read routes; those of everything say nothing about an address."""
    networks = []
    for text in _texts(parent, key):
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            continue
        if network.prefixlen:
            networks.append(network)
    return tuple(networks)


def _public(endpoints: Iterable[str]) -> tuple[str, ...]:
    parsed = (parse_address(endpoint.rpartition(":")[0].strip("[]")) for endpoint in endpoints)
    return tuple(dict.fromkeys(str(address) for address in parsed if address is not None and address.is_global))

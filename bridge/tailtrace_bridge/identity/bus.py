"""What tailscaled's bus says, put together: who holds what, change by change. Bytes in, changes out; no I/O.

https://pkg.go.dev/tailscale.com/ipn#Notify, one JSON object to a line, as `watch-ipn-bus` of the LocalAPI streams them.

| the message has | what follows |
|---|---|
| `InitialStatus` | all nodes anew, if its state is Running |
| `UserProfiles` | names of the users that nodes refer to from now on |
| `PeersChanged` | these nodes are as they say |
| `PeersRemoved` | these are gone |
| `SelfChange` with `PeersChanged` | the whole table: nodes that are not in it are gone |
| `SelfChange` alone, or a node whose user is not known | `Resync`: ask for the status |
| `State` other than Running | `Away`: nobody is known until it runs |
| `State` Running, or `NetMap` (tailscaled before 1.98, which sends none of the above) | `Resync` |
| anything else, such as `PeerChangedPatch` (online, endpoints) | nothing: it is no change of hands |
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tailtrace_bridge.identity.chain import Found
from tailtrace_bridge.identity.nodes import (
    Node,
    Peers,
    make_peers,
    read_node,
    read_nodes,
    suffix_of,
    table_of,
    text_of,
)

MASK = (1 << 1) | (1 << 12) | (1 << 14) | (1 << 15)
"""`NotifyInitialState`, `NotifyPeerChanges`, `NotifyInitialStatus`, `NotifyPeerPatches`; who does not know a bit
ignores it."""
MESSAGE_BYTES_MAX = 128 * 1024 * 1024
"""The first one has all peers, a kilobyte each."""
RUNNING = 6
STATES = ("NoState", "InUseOtherUser", "NeedsLogin", "NeedsMachineAuth", "Stopped", "Starting", "Running")


class BusError(Exception):
    """What comes is no bus, or more than we take."""


@dataclass(frozen=True, slots=True)
class Resync:
    """The status must be asked for: the message does not say it all."""


@dataclass(frozen=True, slots=True)
class Away:
    """tailscaled does not run any more; `state` is its state."""

    state: str


@dataclass(frozen=True, slots=True)
class All:
    """All that is held now."""

    holders: Mapping[str, Found]


@dataclass(frozen=True, slots=True)
class Some:
    """What is held otherwise than before; None: by nobody."""

    holders: Mapping[str, Found | None]


Change = Resync | Away | All | Some


class Lines:
    """Cuts a stream into messages."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def is_whole(self) -> bool:
        """Whether no message is half read."""
        return not self._size

    def feed(self, data: bytes) -> Iterator[Mapping[str, object]]:
        """Return the messages that are whole now. Raises `BusError`."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole, self._parts, self._size = b"".join([*self._parts, line]), [], 0
            if whole.strip():
                yield _message(whole)
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
        if self._size > MESSAGE_BYTES_MAX:
            raise BusError(f"a message of more than {MESSAGE_BYTES_MAX} bytes")


def _message(line: bytes) -> Mapping[str, object]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise BusError("a message that is no JSON object")
    return message


class Table:
    """The nodes of a tailnet as they are now. `peers` is changed in place, so a reader has it at hand."""

    def __init__(self) -> None:
        self.peers = Peers()
        self._nodes: dict[int, Node] = {}
        self._own: Node | None = None
        self._users: dict[str, object] = {}

    def reset(self, status: Mapping[str, object]) -> All:
        """Take a whole status."""
        nodes = read_nodes(status)
        own_id = text_of(table_of(status, "Self"), "ID")
        self._own = nodes[0] if nodes and nodes[0].identity.node_id == own_id else None
        others = nodes[1:] if self._own is not None else nodes
        # A tailscaled that does not tell a peer's number tells no changes by it either.
        self._nodes = {node.number or -number: node for number, node in enumerate(others, start=1)}
        self._users = dict(table_of(status, "User"))
        self.peers = make_peers(nodes, is_userspace=status.get("TUN") is False)
        self.suffix = suffix_of(status)
        return All(self.peers.held())

    def apply(self, message: Mapping[str, object]) -> Change | None:
        """Take one message; None: it changes nothing."""
        status = message.get("InitialStatus")
        state = message.get("State")
        if isinstance(status, dict):
            said = text_of(status, "BackendState")
            return self.reset(status) if said == "Running" else Away(said or "NoState")
        if isinstance(state, int):
            if state != RUNNING:
                return Away(STATES[state] if 0 <= state < len(STATES) else str(state))
            return Resync()
        if message.get("NetMap") is not None:
            return Resync()
        self._users.update(table_of(message, "UserProfiles"))
        changed, removed = message.get("PeersChanged"), message.get("PeersRemoved")
        has_all = isinstance(message.get("SelfChange"), dict)
        if has_all and not changed:
            return Resync()
        nodes = changed if isinstance(changed, list) else []
        gone = [number for number in removed if isinstance(number, int)] if isinstance(removed, list) else []
        return self._update(nodes, gone, has_all=has_all) if nodes or gone else None

    def _update(self, tables: list[object], gone: list[int], *, has_all: bool) -> Change | None:
        before = self._nodes
        after = {} if has_all else dict(before)
        touched = set(gone)
        for table in tables:
            if not isinstance(table, dict):
                continue
            if str(table.get("User")) not in self._users and not table.get("Tags"):
                return Resync()
            node = read_node(table, self._users, is_own=False)
            if node is None:
                continue
            after[node.number] = node
            if before.get(node.number) != node:
                touched.add(node.number)
        for number in gone:
            after.pop(number, None)
        touched |= before.keys() - after.keys()
        if not touched:
            return None
        return self._replace(after, touched)

    def _replace(self, after: dict[int, Node], touched: set[int]) -> Some:
        before, peers = self._nodes, self.peers
        old = [before[number] for number in touched if number in before]
        new = [after[number] for number in touched if number in after]
        places = {address for node in (*old, *new) for address in node.addresses}
        routes = {str(network) for node in (*old, *new) for network in node.routes}
        for node in old:
            peers.remove(node)
        for node in new:
            peers.add(node)
        self._nodes = after
        held: dict[str, Found | None] = {address: peers.nodes.get(address) for address in places}
        if routes:
            peers.set_routes(after.values())
            now = {found.place: found for _, found in peers.routes}
            held |= {network: now.get(network) for network in routes}
        return Some(held)

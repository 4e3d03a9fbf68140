"""Token buckets: what one peer may ask for in a second, with a burst. `clock` gives µs and never goes back.

A bucket may go below zero by what is counted afterwards (the bytes of a body whose length nobody said before): then its
peer waits until it is even. An IPv6 peer is its /64, of which one machine has all addresses.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

PEERS_MAX = 10_000
"""Peers remembered; beyond it, who has been silent longest is forgotten, and starts with a full bucket."""
_SECOND_US = 1_000_000


class Buckets:
    """A bucket for each peer. For one event loop."""

    def __init__(
        self, per_s: float, burst: float, clock: Callable[[], int], on_forgotten: Callable[[], None] | None = None
    ) -> None:
        self.peers_forgotten = 0
        self._on_forgotten = on_forgotten
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._peers: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """Peer → what is left, and as of when; who came last stands last."""

    def wait_s(self, peer: str, amount: float) -> float:
        """Take `amount` and give 0; where there is not so much, take nothing and give how long to wait, s."""
        name, left, now_us = self._now(peer)
        if left < amount:
            self._keep(name, left, now_us)
            return (amount - left) / self._per_s
        self._keep(name, left - amount, now_us)
        return 0.0

    def charge(self, peer: str, amount: float) -> None:
        """Take `amount`, there or not."""
        name, left, now_us = self._now(peer)
        self._keep(name, left - amount, now_us)

    def _now(self, peer: str) -> tuple[str, float, int]:
        name, now_us = peer_name(peer), self._clock()
        left, then_us = self._peers.pop(name, (self._burst, now_us))
        return name, min(self._burst, left + (now_us - then_us) * self._per_s / _SECOND_US), now_us

    def _keep(self, name: str, left: float, now_us: int) -> None:
        if len(self._peers) >= PEERS_MAX:
            self._peers.popitem(last=False)
            self.peers_forgotten += 1
            if self._on_forgotten is not None:
                self._on_forgotten()
        self._peers[name] = (left, now_us)


def peer_name(peer: str) -> str:
    """Return the name under which a peer is counted."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return peer

"""Which peers are proxies that are believed, and for whom they speak: `X-Forwarded-For`, read from its end. Pure.

| `X-Forwarded-For` of a believed peer | for whom it speaks |
|---|---|
| `1.1.1.1, 100.64.0.2` | 100.64.0.2: what stands before it, that one may have written itself |
| `100.64.0.2, 10.0.0.5`, where 10.0.0.5 is believed too | 100.64.0.2 |
| none, or only believed ones | nobody: it does not say |
| the last that is not believed is no address alone (`100.64.0.2:4711`) | nobody |

Several such headers are one, in their order (RFC 9110 section 5.3).
"""

import ipaddress
from collections.abc import Sequence

from tailtrace_bridge.core.text import parse_address

UNIX = "unix:"
"""A peer on a unix socket, as nginx writes it."""
LOOPBACK = ("127.0.0.0/8", "::1")
HOPS_MAX = 50

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """Peers by address, CIDR network or `unix:`. Raises `ValueError` for what is none of these."""

    def __init__(self, peers: Sequence[str] = ()) -> None:
        names = [peer.strip() for peer in peers]
        self._has_unix = UNIX in names
        self._networks: tuple[_Network, ...] = tuple(
            ipaddress.ip_network(name, strict=False) for name in names if name != UNIX
        )

    def __bool__(self) -> bool:
        return self._has_unix or bool(self._networks)

    def __contains__(self, peer: str) -> bool:
        """Whether a peer, an address or `unix:`, is believed."""
        if peer == UNIX:
            return self._has_unix
        address = parse_address(peer)
        return address is not None and any(address in network for network in self._networks)

    def forwarded(self, headers: Sequence[str]) -> str:
        """Return the address that the headers `X-Forwarded-For` of a believed peer speak for; empty: of none."""
        address = parse_address(self.last_hop(headers))
        return "" if address is None else str(address)

    def last_hop(self, headers: Sequence[str]) -> str:
        """Return the last hop that is not believed, as it is written: untrusted text; empty: there is none."""
        hops = [hop.strip() for header in headers for hop in header.split(",")]
        return next((hop for hop in reversed(hops[-HOPS_MAX:]) if hop not in self), "")

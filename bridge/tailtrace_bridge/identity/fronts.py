"""Who a request is from where something stands in front of nginx: `tailscale serve`, Funnel, another proxy. Pure.

The peer is who really connected; the address is the peer's, or, by nginx's `set_real_ip_from`, one that the peer named.
What the peer says is worth what is known of it: a unix socket no node of the tailnet reaches; 127.0.0.1 everybody
reaches where tailscaled has no TUN, and may then say what they like.

| the peer | and | identity |
|---|---|---|
| is loopback or a socket, or believed | Funnel's header | kind funnel: never a person |
| named another by a header | the peer is loopback, which may be anybody (`loopback`) | unknown, `forged-where-no-tun` |
| named another by PROXY protocol | likewise, on an address that peers reach | unknown, `proxied-within-reach` |
| named another address | the peer is a person's device that no setting names | unknown, `forwarded-by-device` |
| named another address | a believed login that its holder denies | unknown, `serve-contradicted` |
| named another address | a believed login, for an address that no tailnet has | the address's |
| named another address | a believed login, and nobody else names the address | that login |
| named another address | else | the address's |
| a unix socket | no login that is believed | unknown, `unix-peer` |
| loopback, which may be anybody | a login | unknown, `forged-where-no-tun` |
| loopback | a login that is not believed | unknown, `serve-not-believed` |
| believed | a login | kind user, that login, no device: serve does not tell it |
| believed, on loopback | no login | unknown, `no-login-from-serve` |
| any other | whatever the headers say | the address's |
| is named by the file of identities | | that one |

Serve has peers of the tailnet alone: a login beside another address was handed on by another proxy of that place.

A login has no comma: nginx writes one between two headers of a name, and which of them the proxy wrote nobody knows.
Such a login is none.

Where tailscaled has no TUN it hands what a peer sends to any of its ports to 127.0.0.1 (or ::1), and to no other
address of loopback (`acceptTCP` of tailscale.com/wgengine/netstack). So PROXY protocol on 127.0.0.2 comes from serve
alone, and on 127.0.0.1 from anybody. Which it was, the line tells by nginx's own address; one that does not tell is
not believed.

`Identity.via` says through whom it came: `forwarded by unix:`, `PROXY protocol by 127.0.0.1`, `serve by unix:`.
"""

from functools import lru_cache

from tailtrace_bridge.core.records import Access, Identity
from tailtrace_bridge.core.text import parse_address, printable
from tailtrace_bridge.identity.chain import (
    FORGED,
    FORWARDED_BY_DEVICE,
    LOOPBACK_UNPROVEN,
    NO_LOGIN_FROM_SERVE,
    PROXIED_WITHIN_REACH,
    SERVE_CONTRADICTED,
    SERVE_NOT_BELIEVED,
    UNIX_PEER,
    USERSPACE_NETWORKING,
    is_tailnet,
)
from tailtrace_bridge.identity.proxies import UNIX, Proxies
from tailtrace_bridge.identity.serve_headers import FUNNEL, decoded

PROVIDER = "serve"
FORWARDED, PROXY_PROTOCOL, SERVE, FUNNELED = "forwarded by", "PROXY protocol by", "serve by", "Funnel by"
FRONTS = frozenset(
    f"{how} {peer}" for how in (FORWARDED, PROXY_PROTOCOL, SERVE, FUNNELED) for peer in (UNIX, "127.0.0.1", "::1")
)
"""What `via` says of a proxy on this machine: it tells of no person."""
ANYBODY = frozenset({USERSPACE_NETWORKING, LOOPBACK_UNPROVEN})
"""Why loopback is unknown: anybody may come from there."""


def peer_of(access: Access) -> str:
    """Return who connected, as far as the line tells."""
    return access.peer or access.address


def came_by(access: Access) -> str:
    """Return how a line's address came about: `forwarded by unix:`, or `its own connection`."""
    if access.peer and access.peer != access.address:
        return f"{_how(access)} {access.peer}"
    return "its own connection"


def _how(access: Access) -> str:
    return PROXY_PROTOCOL if access.proxy_protocol == access.address else FORWARDED


def is_front(access: Access, believed: Proxies) -> bool:
    """Whether the table above has a say."""
    return bool(access.peer or access.serve or access.address == UNIX or (believed and access.address in believed))


@lru_cache(maxsize=4096)
def is_loopback(peer: str) -> bool:
    """Whether a peer is on loopback."""
    address = parse_address(peer)
    return address is not None and address.is_loopback


@lru_cache(maxsize=4096)
def is_of_tailnet(text: str) -> bool:
    """Whether Tailscale may have given a node this address."""
    address = parse_address(text)
    return address is not None and is_tailnet(address)


def is_within_reach(access: Access) -> bool:
    """Whether a peer of a node without TUN, too, may have said the address of this line."""
    at = access.proxy_protocol_at
    is_beyond = _how(access) == PROXY_PROTOCOL and is_loopback(at) and at not in {"127.0.0.1", "::1"}
    return is_loopback(peer_of(access)) and not is_beyond


def identity_in_front(access: Access, by_address: Identity, by_peer: Identity, believed: Proxies) -> Identity | None:
    """Return the identity by the table above; None: the address's. `by_peer` is the peer's own."""
    if by_address.provider == "static":
        return None
    peer, near = peer_of(access), is_loopback(peer_of(access))
    is_believed = peer in believed
    if access.serve == FUNNEL and (near or peer == UNIX or is_believed):
        return Identity(access.address, "funnel", provider=PROVIDER, via=f"{FUNNELED} {peer}")
    login = "" if access.serve == FUNNEL else printable(decoded(access.serve).strip())
    login = "" if "," in login else login
    is_anybody = near and by_peer.reason in ANYBODY
    if access.peer and access.address != access.peer:
        if by_peer.kind in {"user", "shared"} and not is_believed:
            return Identity(access.address, reason=FORWARDED_BY_DEVICE, via=f"{FORWARDED} {peer}")
        return _forwarded(access, by_address, login if is_believed else "", is_anybody=is_anybody)
    return _direct(access, login, is_believed=is_believed, is_anybody=is_anybody)


def _direct(access: Access, login: str, *, is_believed: bool, is_anybody: bool) -> Identity | None:
    peer = peer_of(access)
    near = is_loopback(peer)
    if login and is_believed and not is_anybody:
        return Identity(access.address, "user", login, provider=PROVIDER, via=f"{SERVE} {peer}")
    reason = ""
    if is_anybody:
        reason = FORGED if login else ""
    elif peer == UNIX:
        reason = UNIX_PEER
    elif near and is_believed:
        reason = NO_LOGIN_FROM_SERVE
    elif near and login:
        reason = SERVE_NOT_BELIEVED
    return Identity(access.address, reason=reason) if reason else None


def _forwarded(access: Access, by_address: Identity, login: str, *, is_anybody: bool) -> Identity:
    how = _how(access)
    via = f"{how} {access.peer}"
    if is_anybody and is_within_reach(access):
        reason = FORGED if how == FORWARDED else PROXIED_WITHIN_REACH
        return Identity(access.address, reason=reason, via=via)
    is_foreign = not by_address.provider and not is_of_tailnet(access.address)
    if not login or by_address.kind == "self" or is_foreign:
        return by_address._replace(via=", ".join(filter(None, (by_address.via, via))))
    if not by_address.provider:
        return Identity(access.address, "user", login, provider=PROVIDER, via=f"{SERVE} {access.peer}")
    if by_address.user.casefold() != login.casefold():
        return Identity(access.address, reason=SERVE_CONTRADICTED, via=via)
    return by_address._replace(via=via)

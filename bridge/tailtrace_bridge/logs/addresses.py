"""Addresses as access logs write them: in one form, and the client in a list of proxies."""

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from tailtrace_bridge.logs.rejected import UnreadableError

_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!$)|$)){4}")
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")
_PROXY_NETWORKS = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"))
)
_TAILNET = ip_network("fd7a:115c:a1e0::/48")
"""Of these networks the one whose addresses are people's."""

_DOTTED_BITS = 48
"""Dots are written in addresses whose bits above these are zero: `::ffff:192.0.2.1`, `::192.0.2.1`."""


@lru_cache(maxsize=16384)
def address_of(value: str) -> str:
    """Return an address in its one form. Raises `UnreadableError` for what is none."""
    # An IPv4 address has one form only: to know it is a tenth of the work of `ip_address`, which asks for each octet.
    if _IPV4.fullmatch(value) or value == "unix:":
        return value
    try:
        address = ip_address(value)
    except ValueError:
        raise UnreadableError("bad-address") from None
    if isinstance(address, IPv6Address):
        if address.scope_id or ("." in value and int(address) >> _DOTTED_BITS):  # so glued lines look, and no address
            raise UnreadableError("bad-address")
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
    return str(address)


def address_or_empty(value: str) -> str:
    """Return an address in its one form; empty for what is none."""
    try:
        return address_of(value)
    except UnreadableError:
        return ""


@lru_cache(maxsize=16384)
def client_of(value: str) -> str:
    """Return the client of a list such as `$http_x_forwarded_for`; empty where it names none.

    Each proxy appends who came to it, so from the right the first that is none of our own proxies' addresses is as far
    as anybody can be sure of; what stands left of it the client may have made up. So may what stands left of a word
    such as `unknown`, by which a proxy says that it does not tell who came.
    """
    client = ""
    for item in reversed(value.split(",")):
        if not item.strip():
            continue
        address = _listed(item.strip())
        if address and not _is_proxys(address):
            return address
        if not address:
            break
        client = address
    return client


@lru_cache(maxsize=4096)
def proxied_by(value: str) -> tuple[str, str]:
    """Read `ADDRESS@SERVER`: what a PROXY line said, which nginx does not check, and where nginx took it."""
    address, _, server = value.partition("@")
    return address_or_empty(address), address_or_empty(server)


def _listed(item: str) -> str:
    if match := _WITH_PORT.fullmatch(item):
        item = match[1] or match[2]
    try:
        return address_of(item)
    except UnreadableError:
        return ""


def _is_proxys(text: str) -> bool:
    address = None if text == "unix:" else ip_address(text)
    return (
        address is None
        or address.is_loopback
        or (address not in _TAILNET and any(address in network for network in _PROXY_NETWORKS))
    )

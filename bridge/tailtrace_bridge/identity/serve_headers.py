"""Who a request is from by what `tailscale serve` says of it: believed only of a loopback peer, and by setting. Pure.

`tailscale serve` stands before nginx on the same machine, so each peer is loopback. It removes these headers from what
a client sends and sets its own; whoever reaches nginx past it can write what they like: hence the setting
`TAILTRACE_SERVE_HEADERS`, off by default.

| the peer | the headers | identity |
|---|---|---|
| not loopback | whatever they say | none from here: the address speaks |
| is named by a provider (a static file that names loopback) | whatever they say | that one |
| loopback | `Tailscale-User-Login` | kind user, that login, no device: serve does not tell it |
| loopback | `Tailscale-Funnel-Request: ?1` | kind funnel |
| loopback | neither: a tagged node, or a process of this machine | unknown, reason `no-login-from-serve` |

Source: https://tailscale.com/kb/1312/serve#identity-headers. A login that is not ASCII comes as RFC 2047 Q-encoding.
"""

from email.errors import HeaderParseError
from email.header import decode_header
from functools import lru_cache

from tailtrace_bridge.core.records import Access, Identity
from tailtrace_bridge.core.text import parse_address, printable
from tailtrace_bridge.identity.chain import NO_LOGIN_FROM_SERVE

FUNNEL = "?1"
"""The value of `Tailscale-Funnel-Request`: no login looks like this."""
PROVIDER = "serve"


def identity_of_serve(access: Access, by_address: Identity) -> Identity | None:
    """Return the identity by the table above; None: that of the address counts."""
    if by_address.provider == "static":
        return None
    return _identity(access.address, access.serve)


@lru_cache(maxsize=4096)
def _identity(address: str, serve: str) -> Identity | None:
    peer = parse_address(address)
    if peer is None or not peer.is_loopback:
        return None
    if serve == FUNNEL:
        return Identity(address, "funnel", provider=PROVIDER)
    login = printable(decoded(serve).strip())
    if not login:
        return Identity(address, "unknown", reason=NO_LOGIN_FROM_SERVE)
    return Identity(address, "user", login, provider=PROVIDER)


def decoded(value: str) -> str:
    """Undo RFC 2047 (`=?utf-8?q?zo=C3=A9@example.com?=`); a value that cannot be decoded is empty."""
    try:
        parts = decode_header(value)
        return "".join(part.decode(charset or "ascii") if isinstance(part, bytes) else part for part, charset in parts)
    except (HeaderParseError, LookupError, ValueError):
        return ""

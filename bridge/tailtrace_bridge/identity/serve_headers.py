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

import binascii
import re
from functools import lru_cache

from tailtrace_bridge.core.records import Access, Identity
from tailtrace_bridge.identity.chain import NO_LOGIN_FROM_SERVE, parse_address, printable

FUNNEL = "?1"
"""The value of `Tailscale-Funnel-Request`: no login looks like this."""
PROVIDER = "serve"
WORDS_MAX = 32
"""Encoded words of a login. Go writes 75 characters into each, so 16 hold the longest that a line is kept of."""
_WORD = re.compile(r"=\?([^?\s]{1,64}+)\?([QqBb])\?([^?\s]*+)\?=")


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
    """Undo RFC 2047 (`=?utf-8?q?zo=C3=A9@example.com?=`); a value that cannot be decoded is empty.

    Python's own decoder takes the square of the length for words that do not end.
    """
    if "=?" not in value:
        return value
    parts: list[str] = []
    end = 0
    try:
        for count, word in enumerate(_WORD.finditer(value)):
            if count >= WORDS_MAX:
                return ""
            between = value[end : word.start()]
            if not (end and between.isspace()):  # white space between two words belongs to neither
                parts.append(between)
            charset, encoding, text = word.groups()
            raw = (
                binascii.a2b_qp(text, header=True) if encoding in "Qq" else binascii.a2b_base64(text, strict_mode=True)
            )
            parts.append(raw.decode(charset))
            end = word.end()
    except (LookupError, ValueError):
        return ""
    return "".join((*parts, value[end:]))

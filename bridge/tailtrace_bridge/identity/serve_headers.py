"""The headers that `tailscale serve` sets: it removes these from what a client sends, and writes its own.

`Tailscale-User-Login` has the login of a person, `Tailscale-Funnel-Request: ?1` says that the internet asks; of a
tagged node there is neither. A login that is not ASCII comes as RFC 2047 Q-encoding. Who is believed, `fronts` and
`access.callers` decide.

Source: https://tailscale.com/kb/1312/serve#identity-headers
"""

from email.errors import HeaderParseError
from email.header import decode_header
from functools import lru_cache

FUNNEL = "?1"
"""The value of `Tailscale-Funnel-Request`: no login looks like this."""


@lru_cache(maxsize=4096)
def decoded(value: str) -> str:
    """Undo RFC 2047 (`=?utf-8?q?zo=C3=A9@example.com?=`); a value that cannot be decoded is empty."""
    try:
        parts = decode_header(value)
        return "".join(part.decode(charset or "ascii") if isinstance(part, bytes) else part for part, charset in parts)
    except (HeaderParseError, LookupError, ValueError):
        return ""

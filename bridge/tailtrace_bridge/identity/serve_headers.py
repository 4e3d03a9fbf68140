"""The headers that `tailscale serve` sets: it removes these from what a client sends, and writes its own.

`Tailscale-User-Login` has the login of a person, `Tailscale-Funnel-Request: ?1` says that the internet asks; of a
tagged node there is neither. A login that is not ASCII comes as RFC 2047 Q-encoding. Who is believed, `fronts` and
`access.callers` decide.

Source: https://tailscale.com/kb/1312/serve#identity-headers
"""

import binascii
import re
from functools import lru_cache

FUNNEL = "?1"
"""The value of `Tailscale-Funnel-Request`: no login looks like this."""
WORDS_MAX = 32
"""Encoded words of a login. Go writes 75 characters into each, so 16 hold the longest that a line is kept of."""
_WORD = re.compile(r"=\?([^?\s]{1,64}+)\?([QqBb])\?([^?\s]*+)\?=")


@lru_cache(maxsize=4096)
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

"""Untrusted text: made printable, and read as an address."""

import ipaddress
from functools import lru_cache

TEXT_LENGTH_MAX = 254
"""Characters of a login or a device name: the longest e-mail address, the longest DNS name."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


_OCTETS = {str(number): number for number in range(256)}
_IPV4_LENGTH_END = 16


def octets_of(text: str) -> tuple[int, int, int, int] | None:
    """Return the octets of an IPv4 address in its usual form; None: it is none."""
    texts = text.split(".") if len(text) < _IPV4_LENGTH_END else ()
    if len(texts) == 4:
        one, two, three, four = map(_OCTETS.get, texts)
        if one is not None and two is not None and three is not None and four is not None:
            return one, two, three, four
    return None


@lru_cache(maxsize=4096)  # each provider reads the address that it is asked for, and so do we
def parse_address(text: str) -> Address | None:
    """Read an address; an IPv4 address in IPv6 clothes (`::ffff:100.64.0.2`) is the IPv4 address. None: it is none."""
    if octets := octets_of(text):  # each address of a scanners' log is another, and `ipaddress` takes its time
        one, two, three, four = octets
        return ipaddress.IPv4Address(one << 24 | two << 16 | three << 8 | four)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def exception_of(error_type: str) -> str:
    """Return the exception that an `error.type` names; empty where it has none: a status (`500`), or `_OTHER`."""
    return "" if error_type.isdigit() or error_type == "_OTHER" else error_type


def percentage(value: float, digits: int) -> tuple[str, float]:
    """Return a percentage as it is written with so many digits, after what stands before it: `<`, or nothing.

    Some is not 0 %, and not all is not 100 %.
    """
    least: float = 10**-digits
    if 0 < value < least / 2:
        return "<", least
    return "", 100 - least if 100 - least / 2 <= value < 100 else value


def duration(value_ms: float) -> tuple[float, int, str]:
    """Return how a time is written: the number, its digits behind the point, and the unit, `ms` or `s`.

    `4.25` is 4.2 ms, `83.1` 83 ms, `999.7` 1 s, `1530` 1.53 s, `12345` 12.3 s.
    """
    if round(value_ms) >= 1000:
        return value_ms / 1000, 1 if value_ms >= 10_000 else 2, "s"
    return value_ms, 0 if value_ms >= 10 else 1, "ms"


def spent(value_h: float) -> list[tuple[str, int, str]]:
    """Return how time that somebody spent is written: parts of what stands before a number, the number, and its unit.

    `0.2` is 12 min, `13.7` 13 h 42 min, `0.001` < 1 min.
    """
    whole, minutes = divmod(round(60 * value_h), 60)
    if not whole:
        return [("", minutes, "min")] if minutes or not value_h else [("<", 1, "min")]
    return [("", whole, "h"), *([("", minutes, "min")] if minutes else [])]


def replaced(text: str, but: str = "") -> str:
    """Return a text with U+FFFD for each character that cannot be printed, but for those of `but`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in but else "\N{REPLACEMENT CHARACTER}" for char in text)


def printable(text: str, length_max: int = TEXT_LENGTH_MAX) -> str:
    """Cut, and make every character printable: a device's name is what its owner typed."""
    cut = text[:length_max]
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in cut)[:length_max]


QUOTED_LENGTH_MAX = 80


def quoted(value: object) -> str:
    """Return a wrong value as a message has it: cut, and no address with a password."""
    text = repr(value)
    if "://" in text and "@" in text:
        return "this address"
    return text if len(text) <= QUOTED_LENGTH_MAX else f"{text[: QUOTED_LENGTH_MAX - 1]}…"


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def harmless_cell(text: str) -> str:
    """Keep a text from being a formula of a spreadsheet."""
    return "'" + text if text.startswith(FORMULA_STARTS) else text

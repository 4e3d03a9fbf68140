"""Texts of a log line, cut and printable: they are an attacker's."""

from functools import lru_cache

PATH_LENGTH_MAX = 512
AGENT_LENGTH_MAX = 256
SERVICE_LENGTH_MAX = 128
SERVE_LENGTH_MAX = 1024
"""A login of 254 characters, none of them ASCII, in `tailscale serve`'s encoding."""
FUNNEL = "?1"
"""`Tailscale-Funnel-Request` of what came from the internet."""
_IN_PATH = [chr(byte) if 0x20 <= byte < 0x7F else f"%{byte:02X}" for byte in range(256)]
"""How a byte stands in a path: one look-up each, a third of what `urllib.parse.quote` takes."""


def clean_path(path: str) -> str:
    """Cut, and write what is not printable ASCII the way a URL does: `%FF`."""
    cut = path[:PATH_LENGTH_MAX]
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(map(_IN_PATH.__getitem__, cut.encode("utf-8", "surrogateescape")))[:PATH_LENGTH_MAX]


def clean(text: str, length_max: int) -> str:
    """Cut, and make every character printable: log text is an attacker's text."""
    cut = text[:length_max]
    if cut.isprintable():
        return cut
    shown = cut.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if shown.isprintable():
        return shown[:length_max]
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown)[:length_max]


@lru_cache(maxsize=4096)
def agent_of(agent: str) -> str:
    """Return a user agent, cut; empty for `-`."""
    return "" if agent == "-" else clean(agent, AGENT_LENGTH_MAX)


@lru_cache(maxsize=1024)
def service_of(service: str) -> str:
    """Return a service, cut; empty for `-`."""
    return "" if service == "-" else clean(service, SERVICE_LENGTH_MAX)


def serve_of(login: str, funnel: str) -> str:
    """Return what `tailscale serve`'s headers say: `FUNNEL`, whatever else they say, or a login; empty: nothing."""
    if FUNNEL in funnel:
        return FUNNEL
    return "" if login == "-" else clean(login, SERVE_LENGTH_MAX)

"""Which names a request may have in its Host header: those of the settings, and the address that it came to.

A page of another origin that leads its own name to one of our addresses (DNS rebinding) sends that name; it cannot send
an address. So the address of the connection's own end needs no setting, in whatever form it is written.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tailtrace_bridge.core.text import parse_address


class Hosts:
    """Answers 400 to any other name. `*` is every name, `*.example.com` all names that end so."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self.app = app
        self._takes_all = "*" in names
        self._names = frozenset(name.lower() for name in names)
        self._ends = tuple(name[1:].lower() for name in names if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, or refuse."""
        if self._takes_all or scope["type"] != "http" or self._is_ours(scope):
            await self.app(scope, receive, send)
        else:
            why = "the Host header names none of ours: TAILTRACE_HOSTS has the names that the API is asked by"
            await JSONResponse({"detail": why}, 400)(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        name = _name(Headers(scope=scope).get("host", "").lower())
        return bool(name) and (name in self._names or name.endswith(self._ends or ("\0",)) or _is_own(scope, name))


def host_forms(host: str) -> tuple[str, ...]:
    """Return the forms in which a Host header may name what we listen on: IPv6 has brackets and a short form."""
    address = parse_address(host)
    if address is None or address.version == 4:
        return (host,)
    return tuple(dict.fromkeys((host, f"[{host}]", str(address), f"[{address}]")))


def _is_own(scope: Scope, name: str) -> bool:
    end = parse_address(scope["server"][0]) if scope.get("server") else None
    return end is not None and parse_address(name) == end


def _name(host: str) -> str:
    """`[fd7a::1]:8470` → `fd7a::1`; `100.64.0.7:8470` → `100.64.0.7`; what is neither → empty."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
    else:
        name, colon, port = host.partition(":")
        bracket, port = "]", colon + port
    return name if bracket and (not port or (port[0] == ":" and port[1:].isdigit())) else ""

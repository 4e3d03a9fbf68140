"""Which names a request may have in its Host header: those of the settings, and the address that it came to.

A page elsewhere that leads its own name to one of our addresses (DNS rebinding) sends that name; it cannot send an
address. So the address of the connection's own end needs no setting, in whatever form it is written.
"""

from fastapi.middleware.trustedhost import TrustedHostMiddleware
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from tailtrace_bridge.core.text import parse_address


class Hosts(TrustedHostMiddleware):
    """Starlette's, which answers 400 to a name that is none of ours, with the rule above."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, or refuse."""
        if scope["type"] == "http" and _is_own_address(scope):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def host_forms(host: str) -> tuple[str, ...]:
    """Return the forms in which a Host header may name what we listen on: IPv6 has brackets and a short form."""
    address = parse_address(host)
    if address is None or address.version == 4:
        return (host,)
    return tuple(dict.fromkeys((host, f"[{host}]", str(address), f"[{address}]")))


def _is_own_address(scope: Scope) -> bool:
    end = parse_address(scope["server"][0]) if scope.get("server") else None
    return end is not None and parse_address(_name(Headers(scope=scope).get("host", ""))) == end


def _name(host: str) -> str:
    """`[fd7a::1]:8470` → `fd7a::1`; `100.64.0.7:8470` → `100.64.0.7`."""
    name, bracket, rest = host.removeprefix("[").partition("]")
    if host.startswith("["):
        return name if bracket and (not rest or rest.startswith(":")) else ""
    return host.partition(":")[0]

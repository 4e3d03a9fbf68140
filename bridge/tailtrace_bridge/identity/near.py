"""The provider of loopback: says that it is not this machine, where that is known or cannot be.

| loopback | answer |
|---|---|
| is anybody of the tailnet: no TUN | found, kind unknown, `userspace-networking` |
| is not known | found, kind unknown, `loopback-unproven` |
| is this machine, and its `tailscale serve` hands on to it over TCP | found, kind unknown, `serve-in-front` |
| is this machine | not found: the kind of loopback is self |

With `TAILTRACE_SERVE_HEADERS` there is a tailscaled; while none can be asked, loopback is not known.
"""

import os
from collections.abc import Callable

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.chain import (
    LOOPBACK_UNPROVEN,
    SERVE_IN_FRONT,
    USERSPACE_NETWORKING,
    Answer,
    Found,
    NotFound,
)
from tailtrace_bridge.identity.fronts import is_loopback
from tailtrace_bridge.identity.loopback import Loopback, Verdict
from tailtrace_bridge.identity.machine import Machine
from tailtrace_bridge.identity.sockets import PLACES, signature


class Near:
    """The provider `loopback`. `is_served` asks tailscaled whether it serves to this machine's loopback."""

    name = "loopback"

    def __init__(self, look: Callable[[], Verdict], is_served: Callable[[], bool], *, has_serve: bool = False) -> None:
        self._look, self._is_served, self._has_serve = look, is_served, has_serve

    def whois(self, address: str) -> Answer:
        """Return what loopback is, and nothing of any other address."""
        if not is_loopback(address):
            return NotFound()
        verdict = self._look()
        if verdict.is_userspace:
            return Found(Identity(address, reason=USERSPACE_NETWORKING), 0)
        if not verdict.is_this_machine or (self._has_serve and not verdict.is_said):
            return Found(Identity(address, reason=LOOPBACK_UNPROVEN), 0)
        if not self._has_serve and self._is_served():
            return Found(Identity(address, reason=SERVE_IN_FRONT), 0)
        return NotFound()


def make_loopback(socket: str, clock: Callable[[], int], *, is_trusted: bool) -> Loopback:
    """Make what knows whether loopback is this machine, of this process's environment; `socket` is the setting's."""
    from tailtrace_bridge.identity.local_api import LocalApi  # noqa: PLC0415 - an import without Tailscale needs none

    return Loopback(
        (socket, *PLACES),
        ask=lambda path: LocalApi(path, clock=clock).status(),
        signature=signature,
        signs=Machine(os.environ),
        clock=clock,
        is_trusted=is_trusted,
    )

"""Whether a peer at 127.0.0.1 is a process of this machine: where tailscaled has no TUN, everybody comes from there.

| tailscaled | and | loopback is |
|---|---|---|
| says that it has TUN | | this machine |
| cannot be asked now | said so before, and its socket is still that one | this machine |
| says that it has none | | anybody of the tailnet, whatever a setting says |
| cannot be asked | `TAILTRACE_TRUST_LOOPBACK` | this machine, as the setting says |
| cannot be asked | a sign of Tailscale (`machine`), a socket among them | not known |
| cannot be asked | a container with other processes in its network | not known |
| cannot be asked | neither | this machine: a plain one, or a container with a network of its own |

All sockets that are there count, the setting's and those in `sockets.PLACES`: one without TUN is enough. That a
tailscaled cannot be asked is never kept: it may be there the next moment. That none is near is, for `KEPT_US`: to see
that takes a look at each process of the machine, and any request would be one.

Source: `TUN` of https://pkg.go.dev/tailscale.com/ipn/ipnstate#Status
"""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tailtrace_bridge.identity.chain import Unavailable
from tailtrace_bridge.identity.sockets import Signature

if TYPE_CHECKING:
    from tailtrace_bridge.identity.local_api import BackendStatus

KEPT_US = 250_000
"""How long what was not there is believed not to be: a tailscaled takes longer to let the first peer in."""
WITHOUT_TUN = "tailscaled runs without TUN, so every peer of the tailnet looks like this machine"
_SETTING = (
    "or set TAILTRACE_TRUST_LOOPBACK=true, which makes every peer of the tailnet an admin wherever tailscaled turns "
    "out to run without TUN"
)


class Verdict(NamedTuple):
    """What loopback is."""

    is_this_machine: bool
    why: str = ""
    """Why it is not, and what to do; for whoever asked."""
    is_userspace: bool = False
    """tailscaled itself says so."""
    is_said: bool = False
    """tailscaled itself says that it has TUN, or a setting stands for it."""


THIS_MACHINE = Verdict(is_this_machine=True)
WITH_TUN = Verdict(is_this_machine=True, is_said=True)
USERSPACE = Verdict(is_this_machine=False, why=f"{WITHOUT_TUN}: send a token", is_userspace=True)


class Signs(Protocol):
    """What of the machine is looked at."""

    def sign_of_tailscale(self) -> str:
        """Return what shows that a tailscaled may be near."""

    def sign_of_container(self) -> str:
        """Return what shows that this is a container."""

    def has_others(self) -> bool:
        """Whether our network has sockets of others, or of Tailscale."""


class _Absent:
    """Looks for something, one thread for all that ask; that it is not there is believed for `KEPT_US`."""

    def __init__(self, look: Callable[[], str | bool], clock: Callable[[], int]) -> None:
        self._look, self._clock = look, clock
        self._lock = threading.Lock()
        self._until_us: int | None = None

    def look(self) -> str | bool:
        """Return what there is, or something false."""
        with self._lock:
            now_us = self._clock()
            if self._until_us is not None and now_us < self._until_us:
                return False
            found = self._look()
            self._until_us = None if found else now_us + KEPT_US
            return found


class Loopback:
    """Knows what loopback is. `ask` asks the tailscaled of a socket; `clock` gives µs and never goes back."""

    def __init__(
        self,
        sockets: Sequence[str],
        *,
        ask: "Callable[[str], BackendStatus | Unavailable]",
        signature: Callable[[str], Signature | None],
        signs: Signs,
        clock: Callable[[], int],
        is_trusted: bool = False,
    ) -> None:
        self._sockets, self._ask, self._signature = tuple(dict.fromkeys(sockets)), ask, signature
        self._signs, self._is_trusted = signs, is_trusted
        self._near, self._others = _Absent(signs.sign_of_tailscale, clock), _Absent(signs.has_others, clock)
        self._said: dict[str, tuple[Signature, bool]] = {}
        """Socket → which one it was, and whether its tailscaled has TUN."""

    def look(self) -> Verdict:
        """Return what loopback is now. It may wait for tailscaled."""
        said: dict[str, bool | None] = {}
        for path in self._sockets:
            if signature := self._signature(path):
                said[path] = self._has_tun(path, signature)
        if False in said.values():
            return USERSPACE
        if self._is_trusted or (said and None not in said.values()):
            return WITH_TUN
        if silent := [path for path, has_tun in said.items() if has_tun is None]:
            return _not_known(f"the tailscaled of {silent[0]} does not answer")
        if sign := self._near.look():
            return _not_known(f"tailscaled cannot be asked, and may be near: {sign}")
        if (sign := self._signs.sign_of_container()) and self._others.look():
            return _not_known(f"this is a container ({sign}), and others share its network")
        return THIS_MACHINE

    def _has_tun(self, path: str, signature: Signature) -> bool | None:
        kept = self._said.get(path)
        if kept is not None and kept[0] == signature:
            return kept[1]
        status = self._ask(path)
        if isinstance(status, Unavailable) or status.has_tun is None:
            return None
        # Asked of the socket that was looked at, and not of one that came meanwhile.
        if self._signature(path) == signature:
            self._said[path] = signature, status.has_tun
        return status.has_tun


def _not_known(reason: str) -> Verdict:
    why = f"nothing proves that 127.0.0.1 is this machine: {reason}. Send a token; {_SETTING}"
    return Verdict(is_this_machine=False, why=why)

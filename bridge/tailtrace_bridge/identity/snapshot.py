"""Who is behind an address by tailscaled's last `/status`: it still answers while tailscaled is away.

| the address | the status is of now, and Running | tailscaled is away since less than `AGE_US_MAX` | for longer |
|---|---|---|---|
| of a peer | found | found, as it was | unavailable |
| of our own node | found, kind self | the same | unavailable |
| in a peer's `PrimaryRoutes` (a subnet router) | found, kind subnet, `via` its name | the same | unavailable |
| the public endpoint of a peer that is an exit node | found, kind subnet, `via` its name | the same | unavailable |
| loopback, in userspace-networking mode | found, kind unknown: everyone comes from there | the same | unavailable |
| any other | not found | not found outside the tailnet's ranges; else unavailable | the same |

A status that is not Running counts as away: after a logout it lists nobody. The status is asked at most every
`REFRESH_US`, and so seldom that it takes no more than a twentieth of the time. `changed` tells whose holder it shows
to be another than before, so that a name in a cache does not outlive its address's change. In a bridge it asks nobody:
`watcher` feeds it.

Source: https://pkg.go.dev/tailscale.com/ipn/ipnstate#PeerStatus
"""

import logging
from collections.abc import Callable

from tailtrace_bridge.core.text import parse_address
from tailtrace_bridge.identity.chain import Answer, Found, NotFound, Unavailable, is_tailnet
from tailtrace_bridge.identity.local_api import LocalApi
from tailtrace_bridge.identity.nodes import Peers, read_peers, renamed, text_of

REFRESH_US = 5_000_000
AGE_US_MAX = 300_000_000
SHARE = 20
"""The time between two statuses is at least so many times what one takes."""
USERSPACE_PROBLEM = (
    "tailscaled runs in userspace-networking mode: nginx sees each peer as 127.0.0.1, so nobody can be named. Run "
    "tailscaled with a TUN device (TS_USERSPACE=false, /dev/net/tun and NET_ADMIN in a container), or put `tailscale "
    "serve` before nginx and set TAILTRACE_SERVE_HEADERS=true"
)

_log = logging.getLogger(__name__)


class Snapshot:
    """The provider `snapshot`. `clock` gives microseconds and never goes back.

    `has_serve`: `tailscale serve` says who a loopback peer is, so that userspace-networking mode is no problem.
    `is_fed`: somebody else tells it what tailscaled says (`feed`, `lost`), so it asks nobody.
    """

    name = "snapshot"

    def __init__(
        self,
        local_api: LocalApi,
        *,
        clock: Callable[[], int],
        refresh_us: int = REFRESH_US,
        age_us_max: int = AGE_US_MAX,
        has_serve: bool = False,
        is_fed: bool = False,
    ) -> None:
        self.refreshes = 0
        self.failures = 0
        self.routes_over_limit = 0
        """Routes of the last status past `ROUTES_MAX`, which are not looked at."""
        self._local_api = local_api
        self._clock = clock
        self._refresh_us = refresh_us
        self._age_us_max = age_us_max
        self._peers: Peers | None = None
        self._peers_us = 0
        self._due_us: int | None = None
        self._problem = "tailscaled has not answered yet" if is_fed else ""
        self._is_fed = is_fed
        self._changed: set[str] = set()
        self._has_serve = has_serve
        self._said_userspace = False

    def whois(self, address: str) -> Answer:
        """Return who has `address`: the table above."""
        parsed = parse_address(address)
        if parsed is None:
            return NotFound()
        self._refresh_if_due()
        age_us = 0 if self.live() else self._clock() - self._peers_us
        if self._peers is not None and age_us < self._age_us_max and (found := self._peers.find(parsed)):
            return renamed(found, address)
        if not self._problem or not is_tailnet(parsed):
            return NotFound()
        return Unavailable(self._problem, rests=False)

    def changed(self) -> set[str]:
        """Return the addresses whose holder has changed since this was last asked."""
        self._refresh_if_due()
        changed, self._changed = self._changed, set()
        return changed

    def is_current(self) -> bool:
        """Return whether `changed` can tell now: the last status was had, and is of a tailscaled that runs."""
        return self._peers is not None and not self._problem

    def live(self) -> Peers | None:
        """Return the nodes of now, where somebody tells of each change; else None."""
        return self._peers if self._is_fed and not self._problem else None

    def held(self) -> dict[str, Found]:
        """Return who holds what by a status of now; empty where there is none."""
        self._refresh_if_due()
        return self._peers.held() if self._peers is not None and not self._problem else {}

    def feed(self, peers: Peers) -> None:
        """Take what tailscaled says now; the table may be changed afterwards, and is then what it says then."""
        self._peers, self._peers_us, self._problem = peers, self._clock(), ""
        self._look(peers)

    def lost(self, problem: str) -> None:
        """Nobody can tell now what tailscaled says."""
        if not self._problem:
            self._peers_us = self._clock()
        self._problem = problem

    def _refresh_if_due(self) -> None:
        start_us = self._clock()
        if self._is_fed or (self._due_us is not None and start_us < self._due_us):
            return
        self.refreshes += 1
        document = self._local_api.status_with_peers()
        now_us = self._clock()
        self._due_us = now_us + max(self._refresh_us, SHARE * (now_us - start_us))
        if isinstance(document, Unavailable):
            self.failures += 1
            self._problem = document.reason
            return
        state = text_of(document, "BackendState")
        if state != "Running":
            self.failures += 1
            self._problem = f"tailscaled is in state {state or 'none'}, not Running; run `tailscale up`"
            return
        self._problem = ""
        peers = read_peers(document)
        if self._peers is not None:
            before = self._peers.nodes
            self._changed |= {
                one for one in before.keys() | peers.nodes.keys() if before.get(one) != peers.nodes.get(one)
            }
        self._peers, self._peers_us = peers, now_us
        self._look(peers)

    def _look(self, peers: Peers) -> None:
        self.routes_over_limit = peers.routes_over_limit
        if peers.is_userspace and not self._has_serve and not self._said_userspace:
            self._said_userspace = True
            _log.warning("identity: %s", USERSPACE_PROBLEM)

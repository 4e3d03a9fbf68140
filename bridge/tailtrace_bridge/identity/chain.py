"""Who stands behind an address: a chain of providers with a cache before it.

A wrong name is worse than "unknown": a name comes from a provider or not at all.

| the providers, in order | the answer | kept for |
|---|---|---|
| one says found | that identity; later ones are not asked | `FOUND_TTL_US`; `WATCHED_TTL_US`, see below |
| all say not found | the address's kind, from the table below | `NOT_FOUND_TTL_US` |
| one is certain that nobody has it | those in `FROM_MEMORY`, which may know less, are not asked | the same |
| one is unavailable | what the others make of it | until that one is asked again |

| the line, of an address that a provider in `EVIDENCED` names | gets |
|---|---|
| `history` saw today's holder have it since before the line began | the name of now |
| `history` saw another have it from before its begin until after its end | that one's, provider `history` |
| it touches a change of hands that `history` watched | unknown, `changed-hands` |
| none of these: before anybody looked, or in an outage | unknown, `address-reused-or-unknown-then` |
| the same, and nobody can be asked now, or nobody has the address | unknown, `provider-unavailable`, `no-such-node` |

So lines of an outage, or of an old log, never get the name of who has their address today and had not then. Where there
is no `history` (`tailtrace whois`: nothing but now is asked), a node's creation date stands for it. The file of
identities, and what is no node's, are of all times.

An address that changes hands loses its entry in the cache as soon as `history` or `changes` tells it. While somebody
tells (`is_watched`), what the providers in `WATCHED` found holds for `WATCHED_TTL_US`, so that an address costs one
call in five minutes. Where nobody tells, `FOUND_TTL_US` is the longest that a wrong name could last; where `history`
says that nobody looks any more, nothing is kept.

| an address that nobody names | kind |
|---|---|
| loopback (127.0.0.0/8, ::1), unless `near` knows better | self |
| `unix:` | unknown: a proxy, and nobody knows for whom it asks |
| the tailnet's (100.64.0.0/10, fd7a:115c:a1e0::/48) | unknown: a node that we could not name |
| private, link-local, reserved, or no address at all | unknown |
| public | external |

A provider that is unavailable rests before it is asked again, `BACKOFF_US_MIN` at first and twice as long each time
up to `BACKOFF_US_MAX`: while it is down, lines do not wait for it. It is well again when it names somebody.
"""

import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.core.text import Address, octets_of, parse_address

UNKNOWN_THEN = "address-reused-or-unknown-then"
CHANGED_HANDS = "changed-hands"
UNAVAILABLE = "provider-unavailable"
NO_SUCH_NODE = "no-such-node"
NO_OWNER = "node-without-owner"
PRIVATE_ADDRESS = "private-address"
NO_ADDRESS = "no-address"
USERSPACE_NETWORKING = "userspace-networking"
NO_LOGIN_FROM_SERVE = "no-login-from-serve"
UNIX_PEER = "unix-peer"
LOOPBACK_UNPROVEN = "loopback-unproven"
SERVE_IN_FRONT = "serve-in-front"
SERVE_NOT_BELIEVED = "serve-not-believed"
SERVE_CONTRADICTED = "serve-contradicted"
FORGED = "forged-where-no-tun"
PROXIED_WITHIN_REACH = "proxied-within-reach"
FORWARDED_BY_DEVICE = "forwarded-by-device"
REASONS = {
    UNKNOWN_THEN: "whoever has the address now may not have had it then",
    CHANGED_HANDS: "the address went from one holder to another at that moment",
    UNAVAILABLE: "who could tell was out of reach; `tailtrace doctor` says why",
    NO_SUCH_NODE: "no node of the tailnet has the address",
    NO_OWNER: "the node has no owner and no tags",
    PRIVATE_ADDRESS: "a private address that no subnet router announces: a gateway, a proxy, or a device without "
    "Tailscale",
    NO_ADDRESS: "the line has no IP address",
    USERSPACE_NETWORKING: "tailscaled runs without TUN, so everyone is 127.0.0.1",
    NO_LOGIN_FROM_SERVE: "`tailscale serve` named nobody: a tagged node, or a process of this machine",
    UNIX_PEER: "a proxy came by a unix socket, and nginx does not take the address from it: "
    "`tailtrace nginx --behind-serve`",
    LOOPBACK_UNPROVEN: "nothing proves that 127.0.0.1 is this machine: tailscaled cannot be asked; "
    "`tailtrace doctor` says why",
    SERVE_IN_FRONT: "`tailscale serve` hands on to 127.0.0.1, so everybody comes from there: "
    "`tailtrace nginx --behind-serve`",
    SERVE_NOT_BELIEVED: "a header of `tailscale serve` that no setting believes: `tailtrace nginx --behind-serve`",
    FORWARDED_BY_DEVICE: "a person's device named another address, and nginx believes it: set_real_ip_from is too wide",
    SERVE_CONTRADICTED: "a proxy named another person than has the address",
    PROXIED_WITHIN_REACH: "tailscaled runs without TUN, or cannot be asked: whoever goes past the proxy says what "
    "they like in PROXY protocol on 127.0.0.1; no peer is led to 127.0.0.2: `listen 127.0.0.2:PORT proxy_protocol`",
    FORGED: "tailscaled runs without TUN, or cannot be asked: whoever goes past the proxy says what they like at "
    "127.0.0.1; a unix socket cannot be reached so: `tailtrace nginx --behind-serve`",
}
"""Why an identity is unknown, and what that means."""

FROM_MEMORY = frozenset({"snapshot", "control"})
"""Providers that tell what they heard some time ago."""
WATCHED = frozenset({"localapi", "snapshot"})
"""Providers whose changes `changes` tells of."""
EVIDENCED = frozenset({"localapi", "snapshot", "control"})
"""Providers that tell who has an address now, which says nothing about the past."""
RECENT_US = 600_000_000
SKEW_US = 60_000_000
"""Clocks of two machines differ by less."""
WATCH_US = 1_000_000
"""How often `changes` is asked."""
FOUND_TTL_US = 30_000_000
WATCHED_TTL_US = 300_000_000
NOT_FOUND_TTL_US = 10_000_000
BACKOFF_US_MIN = 1_000_000
BACKOFF_US_MAX = 8_000_000
ENTRIES_MAX = 16_384
_OF_SEVERAL_KINDS = frozenset({100, 169, 172, 192, 198, 203})
"""First numbers of IPv4 addresses of which some are for special use and some are not (RFC 6890)."""
TAILNET_RANGES = (ipaddress.ip_network("100.64.0.0/10"), ipaddress.ip_network("fd7a:115c:a1e0::/48"))
"""https://tailscale.com/kb/1015/100.x-addresses and https://tailscale.com/kb/1033/ip-and-dns-addresses"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """The provider knows who it is."""

    identity: Identity
    since_us: int | None = None
    """When the node came to be, µs since the epoch; 0: the answer holds for all times; None: not known."""
    place: str = field(default="", compare=False)
    """What `History` has it under: the address, or the network behind a router; empty: it has not."""
    key: str = field(default="", compare=False)
    """The node's key, a new one at each login."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """The provider works, and knows of nobody at this address."""

    is_certain: bool = False
    """There is nobody, whatever others remember."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The provider cannot tell now; `reason` says what is wrong and what to do."""

    reason: str
    rests: bool = True
    """Whether to leave it alone for a while; not one that has nothing to wait for."""


class Past(NamedTuple):
    """Who had an address, as far as it is proved. Times are µs since the epoch."""

    identity: Identity
    from_us: int
    until_us: int
    ended_us: int = 0
    """When it was seen to be over; 0: it is not."""
    was_watched: bool = False
    """Whether that was seen as it happened."""


class Holder(NamedTuple):
    """Who has an address now, and for which lines that counts; and who had it before."""

    identity: Identity
    from_us: int = 0
    """Lines that began before this, µs since the epoch, are not this one's."""
    identified_us: int = 0
    """When it was found out, µs since the epoch."""
    past: tuple[Past, ...] = ()
    otherwise: str = UNKNOWN_THEN
    """Why a line of nobody's time is unknown."""

    def at(self, begin_us: int, end_us: int = 0) -> Identity:
        """Return the identity of a line that lasted from `begin_us` to `end_us`: the second table above."""
        if begin_us >= self.from_us:
            return self.identity
        end_us = max(begin_us, end_us)
        address = self.identity.address
        for one in self.past:
            if one.from_us <= begin_us and end_us <= one.until_us:
                concealed = one.identity.address.startswith("2001:db8:")
                return one.identity if concealed else one.identity._replace(address=address)
        if any(one.was_watched and begin_us <= one.ended_us and end_us > one.until_us for one in self.past):
            return Identity(address, reason=CHANGED_HANDS)
        return Identity(address, reason=self.otherwise)


Answer = Found | NotFound | Unavailable


class IdentityProvider(Protocol):
    """Something that knows who is behind an address. It never raises, and answers within half a second."""

    @property
    def name(self) -> str:
        """What `Identity.provider` says of its answers."""

    def whois(self, address: str) -> Answer:
        """Return who is behind `address`, an IPv4 or IPv6 address or `unix:`."""


class Evidence(Protocol):
    """Who had an address when: `history.History`."""

    is_current: bool
    """Whether somebody looks now."""
    epoch: int
    """Grows whenever what was said of any address may be wrong."""

    def changed(self) -> set[str]:
        """Return the addresses that have changed hands since this was last asked."""

    def since(self, place: str, identity: Identity) -> int | None:
        """Return since when somebody holds an address, µs since the epoch; None: it is not known to be theirs now."""

    def past(self, place: str) -> tuple[Past, ...]:
        """Return who had an address, and last who holds it, as far as that is proved."""


@dataclass(slots=True)
class IdentityCounts:
    """What happened so far."""

    hits: int = 0
    """Answered by the cache."""
    misses: int = 0
    found: int = 0
    """Misses that a provider named."""
    not_found: int = 0
    """Misses that nobody named."""
    unavailable: int = 0
    """Times that a provider could not tell."""
    rested: int = 0
    """Times that a provider was not asked because it had been unavailable just before."""
    evicted: int = 0
    """Entries that left the cache because it was full."""
    changed: int = 0
    """Entries that left the cache because their address has changed hands."""


@dataclass(slots=True)
class _Source:
    """A provider and its rest."""

    provider: IdentityProvider
    backoff_us: int = 0
    """The last rest; 0 while it works."""
    retry_at_us: int = 0


class Identities:
    """The chain and its cache; for use by one thread.

    `clock` gives microseconds and never goes back; `wall` gives microseconds since the epoch, by the clock that lines
    are written by. `changes` gives the addresses that have changed hands since it was last asked; `is_watched` says
    whether it can tell now. `history` says who had an address when.

    `entries_max` bounds the cache: the entry that was longest not renewed leaves first. An entry is renewed once in its
    time to live, not at each hit, so that a hit moves nothing.
    """

    def __init__(
        self,
        providers: Sequence[IdentityProvider],
        *,
        clock: Callable[[], int],
        wall: Callable[[], int] | None = None,
        changes: Callable[[], Iterable[str]] = tuple,
        is_watched: Callable[[], bool] = bool,
        history: Evidence | None = None,
        ttl_us: int = FOUND_TTL_US,
        watched_ttl_us: int = WATCHED_TTL_US,
        not_found_ttl_us: int = NOT_FOUND_TTL_US,
        entries_max: int = ENTRIES_MAX,
    ) -> None:
        self.counts = IdentityCounts()
        self._sources = [_Source(provider) for provider in providers]
        self._clock = clock
        self._wall = wall or clock
        self._changes = changes
        self._is_watched = is_watched
        self._history = history
        self._epoch = 0 if history is None else history.epoch
        self._watch_at_us = clock()
        self._ttl_us = ttl_us
        self._watched_ttl_us = watched_ttl_us
        self._not_found_ttl_us = not_found_ttl_us
        self._entries_max = entries_max
        # To find the first of a plain dict, each entry that left before it is stepped over: 40 µs for each new address.
        self._entries: OrderedDict[str, tuple[Holder, int]] = OrderedDict()

    @property
    def providers(self) -> tuple[IdentityProvider, ...]:
        """Return the providers, in the order in which they are asked."""
        return tuple(source.provider for source in self._sources)

    def identify(self, address: str) -> Identity:
        """Return who is behind `address` now. Never raises."""
        return self.holder(address).identity

    def holder(self, address: str) -> Holder:
        """Return who is behind `address` now, and for which lines that counts. Never raises."""
        now_us = self._clock()
        if self._history is not None:
            self._heed(self._history)
        if now_us >= self._watch_at_us:
            self._forget(self._changes())
            self._watch_at_us = now_us + WATCH_US
        entry = self._entries.get(address)
        if entry is not None and now_us < entry[1]:
            self.counts.hits += 1
            return entry[0]
        self.counts.misses += 1
        holder, ttl_us = self._ask(address, now_us)
        self._keep(address, holder, now_us + ttl_us)
        return holder

    def explain(self, address: str) -> list[tuple[str, str]]:
        """Ask every provider, whatever the cache says: (provider, answer in words), and last what the answer is.

        The last pair is that of `tailtrace` where no provider knows the address.
        """
        lines: list[tuple[str, str]] = []
        named = is_out_of_reach = False
        for source in self._sources if parse_address(address) or address == "unix:" else ():
            match source.provider.whois(address):
                case Found(identity):
                    answer = f"{describe(identity)}{' (an earlier provider has the word)' if named else ''}"
                    named = True
                case NotFound():
                    answer = "not found"
                case Unavailable(problem):
                    answer = f"unavailable: {problem}"
                    is_out_of_reach = True
            lines.append((source.provider.name, answer))
        if not named:
            reason = reason_of(address)
            if reason == NO_SUCH_NODE and is_out_of_reach:
                reason = UNAVAILABLE
            why = f" ({REASONS[reason]})" if reason else ""
            lines.append(("tailtrace", f"{kind_of(address)}: no provider names this address{why}"))
        return lines

    def _heed(self, history: Evidence) -> None:
        if history.epoch != self._epoch:
            self._epoch = history.epoch
            self._entries.clear()
        changed = history.changed()
        if changed:
            self._forget(changed)
            if any("/" in place for place in changed):  # a network: whoever is in it
                self._entries.clear()

    def _forget(self, changed: Iterable[str]) -> None:
        for address in changed:
            if self._entries.pop(address, None) is not None:
                self.counts.changed += 1

    def _ask(self, address: str, now_us: int) -> tuple[Holder, int]:
        """Walk the chain; give who it is and for how long that holds."""
        holds_us = self._watched_ttl_us
        is_certain = is_out_of_reach = False
        for source in self._sources if self._sources and (parse_address(address) or address == "unix:") else ():
            if is_certain and source.provider.name in FROM_MEMORY:
                continue
            answer = self._ask_source(source, address, now_us)
            if isinstance(answer, Found):
                self.counts.found += 1
                is_watched = source.provider.name in WATCHED and self._is_watched()
                ttl_us = min(holds_us, self._watched_ttl_us if is_watched else self._ttl_us)
                if self._history is None or source.provider.name not in EVIDENCED:
                    return self._dated(answer), ttl_us
                return self._proved(answer, self._history, ttl_us)
            if isinstance(answer, Unavailable):
                is_out_of_reach = True
                holds_us = min(holds_us, max(0, source.retry_at_us - now_us) if answer.rests else BACKOFF_US_MIN)
            else:
                is_certain = is_certain or answer.is_certain
        self.counts.not_found += 1
        kind = kind_of(address)
        reason = reason_of(address) if kind == "unknown" else ""
        if reason == NO_SUCH_NODE and is_out_of_reach and not is_certain:
            reason = UNAVAILABLE
        nobody = Holder(Identity(address, kind, reason=reason), 0, self._wall())
        if reason and self._history is not None:
            return self._gone(nobody, self._history, min(holds_us, self._not_found_ttl_us))
        return nobody, min(holds_us, self._not_found_ttl_us)

    def _proved(self, found: Found, history: Evidence, ttl_us: int) -> tuple[Holder, int]:
        """Return who has an address now with the evidence for it, and for how long that holds."""
        identified_us = self._wall()
        if found.since_us == 0:
            return Holder(found.identity, 0, identified_us), ttl_us
        if not found.place:
            return self._dated(found), ttl_us
        since_us, past = history.since(found.place, found.identity), history.past(found.place)
        if history.is_current and since_us is not None:
            return Holder(found.identity, since_us, identified_us, past), ttl_us
        # A change that one has heard of and the other not yet, or nobody looks: what was proved before counts.
        otherwise = UNKNOWN_THEN if history.is_current else UNAVAILABLE
        return Holder(found.identity, identified_us, identified_us, past, otherwise), 0

    def _gone(self, nobody: Holder, history: Evidence, ttl_us: int) -> tuple[Holder, int]:
        """Return who had an address that nobody is named for now."""
        past = history.past(str(parse_address(nobody.identity.address)))
        if not past:
            return nobody, ttl_us
        from_us, kept_us = (past[-1].ended_us, ttl_us) if past[-1].ended_us else (nobody.identified_us, 0)
        return nobody._replace(from_us=from_us, past=past, otherwise=nobody.identity.reason), kept_us

    def _dated(self, found: Found) -> Holder:
        identified_us = self._wall()
        from_us = identified_us - RECENT_US if found.since_us is None else found.since_us - SKEW_US
        return Holder(found.identity, max(0, from_us), identified_us)

    def _ask_source(self, source: _Source, address: str, now_us: int) -> Answer:
        if now_us < source.retry_at_us:
            self.counts.rested += 1
            return Unavailable("resting")
        answer = source.provider.whois(address)
        if isinstance(answer, Unavailable):
            self.counts.unavailable += 1
            if not answer.rests:
                return answer
            if not source.backoff_us:
                _log.warning("identity: %s is unavailable: %s", source.provider.name, answer.reason)
            source.backoff_us = min(source.backoff_us * 2, BACKOFF_US_MAX) or BACKOFF_US_MIN
            # From after the answer: one that took long to fail must not eat its own rest.
            source.retry_at_us = self._clock() + source.backoff_us
        elif source.backoff_us and isinstance(answer, Found):
            # A "not found" proves nothing: a provider may give it without asking anyone.
            _log.info("identity: %s is back", source.provider.name)
            source.backoff_us = 0
        return answer

    def _keep(self, address: str, holder: Holder, until_us: int) -> None:
        self._entries.pop(address, None)
        if len(self._entries) >= self._entries_max:
            self._entries.popitem(last=False)
            self.counts.evicted += 1
        self._entries[address] = (holder, until_us)


def is_tailnet(address: Address) -> bool:
    """Whether Tailscale may have given this address to a node."""
    return any(address in network for network in TAILNET_RANGES)


def kind_of(text: str) -> str:
    """Return the kind of an address that nobody names: the second table above."""
    octets = octets_of(text)
    if octets and octets[0] not in _OF_SEVERAL_KINDS:
        return _kind_of_first(octets[0])  # each address of a scanner's log is another
    return _kind(parse_address(text))


@lru_cache(maxsize=256)
def _kind_of_first(number: int) -> str:
    return _kind(ipaddress.IPv4Address(number << 24 | 1))


@lru_cache(maxsize=4096)
def _kind(address: Address | None) -> str:
    if address and address.is_loopback:
        return "self"
    if address and address.is_global and not address.is_multicast:
        return "external"
    return "unknown"


def reason_of(text: str) -> str:
    """Return why an address that nobody names is of kind unknown; empty: it is not."""
    if kind_of(text) != "unknown":
        return ""
    address = parse_address(text)
    if text == "unix:":
        return UNIX_PEER
    if address is None:
        return NO_ADDRESS
    return NO_SUCH_NODE if is_tailnet(address) else PRIVATE_ADDRESS


def describe(identity: Identity) -> str:
    """Return an identity in words: `user ana@example.com, device ana-laptop`."""
    parts = [f"{identity.kind} {identity.user}".rstrip()]
    words = (
        ("device", identity.device),
        ("via", identity.via),
        ("tags", identity.tags),
        ("node", identity.node_id),
        ("because", REASONS.get(identity.reason, identity.reason)),
    )
    parts += [f"{word} {value}" for word, value in words if value]
    return ", ".join([*parts, *(["key expired"] if identity.expired else [])])

"""Who stands behind an address: a chain of providers with a cache before it.

A wrong name is worse than "unknown": a name comes from a provider or not at all.

| the providers, in order | the answer | kept for |
|---|---|---|
| one says found | that identity; later ones are not asked | `FOUND_TTL_US` |
| all say not found | the address's kind, from the table below | `NOT_FOUND_TTL_US` |
| one is unavailable | what the others make of it | until that one is asked again |

| an address that nobody names | kind |
|---|---|
| loopback (127.0.0.0/8, ::1) and `unix:` | self |
| the tailnet's (100.64.0.0/10, fd7a:115c:a1e0::/48) | unknown: a node that we could not name |
| private, link-local, reserved, or no address at all | unknown |
| public | external |

A provider that is unavailable rests before it is asked again, `BACKOFF_US_MIN` at first and twice as long each time
up to `BACKOFF_US_MAX`: while it is down, lines do not wait for it. It is well again when it names somebody.
"""

import ipaddress
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tailtrace_bridge.records import Identity

FOUND_TTL_US = 30_000_000
NOT_FOUND_TTL_US = 10_000_000
BACKOFF_US_MIN = 1_000_000
BACKOFF_US_MAX = 8_000_000
ENTRIES_MAX = 65_536
TEXT_LENGTH_MAX = 254
"""Characters of a login or a device name: the longest e-mail address, the longest DNS name."""

TAILNET_RANGES = (ipaddress.ip_network("100.64.0.0/10"), ipaddress.ip_network("fd7a:115c:a1e0::/48"))
"""https://tailscale.com/kb/1015/100.x-addresses and https://tailscale.com/kb/1033/ip-and-dns-addresses"""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """The provider knows who it is."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class NotFound:
    """The provider works, and knows of nobody at this address."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The provider cannot tell now; `reason` says what is wrong and what to do."""

    reason: str


Answer = Found | NotFound | Unavailable


class IdentityProvider(Protocol):
    """Something that knows who is behind an address. It never raises, and answers within half a second."""

    @property
    def name(self) -> str:
        """What `Identity.provider` says of its answers."""

    def whois(self, address: str) -> Answer:
        """Say who is behind `address`, an IPv4 or IPv6 address or `unix:`."""


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


@dataclass(slots=True)
class _Source:
    """A provider and its rest."""

    provider: IdentityProvider
    backoff_us: int = 0
    """The last rest; 0 while it works."""
    retry_at_us: int = 0


class Identities:
    """The chain and its cache; for use by one thread.

    `clock` gives microseconds and never goes back. `entries_max` bounds the cache: the entry that was longest not
    renewed leaves first. An entry is renewed once in its time to live, not at each hit, so that a hit moves nothing.
    """

    def __init__(
        self,
        providers: Sequence[IdentityProvider],
        *,
        clock: Callable[[], int],
        ttl_us: int = FOUND_TTL_US,
        not_found_ttl_us: int = NOT_FOUND_TTL_US,
        entries_max: int = ENTRIES_MAX,
    ) -> None:
        self.counts = IdentityCounts()
        self._sources = [_Source(provider) for provider in providers]
        self._clock = clock
        self._ttl_us = ttl_us
        self._not_found_ttl_us = not_found_ttl_us
        self._entries_max = entries_max
        self._entries: dict[str, tuple[Identity, int]] = {}

    def identify(self, address: str) -> Identity:
        """Say who is behind `address` now. Never raises."""
        entry = self._entries.get(address)
        now_us = self._clock()
        if entry is not None and now_us < entry[1]:
            self.counts.hits += 1
            return entry[0]
        self.counts.misses += 1
        identity, ttl_us = self._ask(address, now_us)
        self._keep(address, identity, now_us + ttl_us)
        return identity

    def explain(self, address: str) -> list[tuple[str, str]]:
        """Ask every provider, whatever the cache says: (provider, answer in words), and last what the answer is.

        The last pair is that of `tailtrace` where no provider knows the address.
        """
        lines: list[tuple[str, str]] = []
        named = False
        for source in self._sources if parse_address(address) or address == "unix:" else ():
            match source.provider.whois(address):
                case Found(identity):
                    answer = f"{describe(identity)}{' (an earlier provider has the word)' if named else ''}"
                    named = True
                case NotFound():
                    answer = "not found"
                case Unavailable(reason):
                    answer = f"unavailable: {reason}"
            lines.append((source.provider.name, answer))
        if not named:
            lines.append(("tailtrace", f"{kind_of(address)}: no provider names this address"))
        return lines

    def _ask(self, address: str, now_us: int) -> tuple[Identity, int]:
        """Walk the chain; give the identity and for how long it holds."""
        holds_us = self._ttl_us
        for source in self._sources if parse_address(address) or address == "unix:" else ():
            answer = self._ask_source(source, address, now_us)
            if isinstance(answer, Found):
                self.counts.found += 1
                return answer.identity, holds_us
            if isinstance(answer, Unavailable):
                holds_us = min(holds_us, max(0, source.retry_at_us - now_us))
        self.counts.not_found += 1
        return Identity(address, kind_of(address)), min(holds_us, self._not_found_ttl_us)

    def _ask_source(self, source: _Source, address: str, now_us: int) -> Answer:
        if now_us < source.retry_at_us:
            self.counts.rested += 1
            return Unavailable("resting")
        answer = source.provider.whois(address)
        if isinstance(answer, Unavailable):
            self.counts.unavailable += 1
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

    def _keep(self, address: str, identity: Identity, until_us: int) -> None:
        self._entries.pop(address, None)
        if len(self._entries) >= self._entries_max:
            del self._entries[next(iter(self._entries))]
            self.counts.evicted += 1
        self._entries[address] = (identity, until_us)


def parse_address(text: str) -> Address | None:
    """Read an address; an IPv4 address in IPv6 clothes (`::ffff:100.64.0.2`) is the IPv4 address. None: it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_tailnet(address: Address) -> bool:
    """Whether Tailscale may have given this address to a node."""
    return any(address in network for network in TAILNET_RANGES)


def kind_of(text: str) -> str:
    """Give the kind of an address that nobody names: the second table above."""
    address = parse_address(text)
    if text == "unix:" or (address and address.is_loopback):
        return "self"
    if address and address.is_global and not address.is_multicast:
        return "external"
    return "unknown"


def describe(identity: Identity) -> str:
    """Say an identity in words: `user ana@example.com, device ana-laptop`."""
    parts = [f"{identity.kind} {identity.user}".rstrip()]
    for word, value in (("device", identity.device), ("tags", identity.tags), ("node", identity.node_id)):
        if value:
            parts.append(f"{word} {value}")
    return ", ".join(parts)


def printable(text: str, length_max: int = TEXT_LENGTH_MAX) -> str:
    """Cut, and make every character printable: a device's name is what its owner typed."""
    cut = text[:length_max]
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in cut)[:length_max]

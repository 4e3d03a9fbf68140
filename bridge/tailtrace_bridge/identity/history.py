"""Who had an address when, by evidence: what was seen of it, from when until when. Pure; safe for two threads.

A holder is a node with its owner, tags and key. tailscaled tells who holds an address now, never who did; so what
counts is what was seen, and when. `seen_us` is the last moment at which all of it was known to hold still.

| what is seen | what it proves |
|---|---|
| the same holder as at the last look | it held all the time between, however long nobody looked: see below |
| the same node under another key | somebody logged in meanwhile, perhaps twice: nothing about the time between |
| another holder, or none, or one where there was none | the former until the last look, the latter from now on |
| nobody was ever seen there | nothing: an older node may have been another's then, or have had another address |

Whoever logs a node in anew gives it another key. So a node with the same key, owner and address before and after an
outage of tailtrace was that owner's in between; only an admin who gave it away and back would be missed.

| the line, from its begin to its end | gets |
|---|---|
| lies within one holder's time | that holder's name |
| touches a change that was watched (both sides within `WATCHED_CHANGE_US`) | unknown, `changed-hands` |
| anything else | unknown, `address-reused-or-unknown-then`, or why nobody can be asked now |

tailscaled changes its table before it tells of it, so the former holder's time ends `LATENCY_US` before the last look.
A line is therefore asked about once what was seen is that much younger than its end (`is_settled`).

| limit | what goes |
|---|---|
| `ENTRIES_MAX` times of holders that are over | the one that ended first; counted |
| `keep_us` after its end | that time |
| a wall clock that was set back | times that lie in the future now |
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tailtrace_bridge.core.records import Access, Identity
from tailtrace_bridge.identity.chain import Found, Past
from tailtrace_bridge.identity.pseudonyms import Pseudonyms

LATENCY_US = 200_000
"""tailscaled tells of a change within a few ms; on a busy machine this is how late it may be read."""
WATCHED_CHANGE_US = 70_000
"""A change between two looks so near each other was seen as it happened."""
COARSE_US = 1_000_000
"""Lines of a format without `$request_time` have the second of their end, and no begin."""
ENTRIES_MAX = 50_000
HOLDERS_MAX = 200_000
"""Addresses with a holder now: ten thousand devices have twenty thousand."""
SET_BACK_US = 1_000_000
"""A wall clock that goes back by more has been set."""


class Held(NamedTuple):
    """That somebody held an address. Times are µs since the epoch."""

    identity: Identity
    """With the address; with pseudonyms on, without names."""
    key: str
    from_us: int
    until_us: int
    """The last moment that is proved; of one who still holds it, the last look."""
    ended_us: int = 0
    """When it was seen to be over; 0: it is not."""
    was_watched: bool = False
    """Whether that was seen as it happened."""


@dataclass(slots=True)
class HistoryCounters:
    """What happened so far."""

    changes: int = 0
    """Addresses that changed hands."""
    dropped: int = 0
    """Times of former holders past `ENTRIES_MAX`, and holders past `HOLDERS_MAX`."""
    expired: int = 0
    """Times of former holders that ended longer ago than rows are kept."""
    unsaved: int = 0
    """Times that the file could not be written."""


class History:
    """The evidence. `pseudonyms`: names are replaced before anything is kept; `keep_us`: 0 is for ever."""

    def __init__(
        self,
        *,
        pseudonyms: Pseudonyms | None = None,
        keep_us: int = 0,
        entries_max: int = ENTRIES_MAX,
        holders_max: int = HOLDERS_MAX,
    ) -> None:
        self.counters = HistoryCounters()
        self.seen_us = 0
        """The last look, µs since the epoch; 0: never."""
        self.is_current = False
        """Whether somebody looks now."""
        self.epoch = 0
        """Grows whenever what was said of any address may be wrong."""
        self.revision = 0
        """Grows with each change that is worth a file."""
        self._pseudonyms = pseudonyms
        self._keep_us = keep_us
        self._entries_max = entries_max
        self._holders_max = holders_max
        self._open: dict[str, Held] = {}
        self._past: dict[str, list[Held]] = {}
        self._order: deque[tuple[int, str]] = deque()
        """(end, address) of what is over, in the order in which it ended."""
        self._changed: set[str] = set()
        self._lock = threading.Lock()

    def observe(self, holders: Mapping[str, Found], now_us: int) -> None:
        """Take all that is held now."""
        with self._lock:
            self._step_back(now_us)
            for place in [place for place in self._open if place not in holders]:
                self._set(place, None, now_us)
            for place, found in holders.items():
                self._set(place, found, now_us)
            self._look(now_us, is_current=True)

    def change(self, holders: Mapping[str, Found | None], now_us: int) -> None:
        """Take what has changed since the last look, None for what nobody holds; all else is as it was."""
        with self._lock:
            self._step_back(now_us)
            for place, found in holders.items():
                self._set(place, found, now_us)
            self._look(now_us, is_current=True)

    def confirm(self, now_us: int) -> None:
        """Nothing has changed until now."""
        if now_us >= self.seen_us:
            self.seen_us = now_us
        elif self.seen_us - now_us > SET_BACK_US:
            with self._lock:
                self._step_back(now_us)

    def lose(self) -> None:
        """Nobody looks any more."""
        with self._lock:
            if self.is_current:
                self.is_current = False
                self.epoch += 1

    def is_settled(self, end_us: int) -> bool:
        """Whether what was seen reaches past the end of a line."""
        return self.is_current and end_us + LATENCY_US <= self.seen_us

    def changed(self) -> set[str]:
        """Return the addresses that have changed hands since this was last asked."""
        if not self._changed:
            return set()
        with self._lock:
            changed, self._changed = self._changed, set()
            return changed

    def since(self, place: str, identity: Identity) -> int | None:
        """Return since when somebody holds an address (or a network); None: it is not known to be theirs now."""
        held = self._open.get(self._conceal_address(place))
        if held is None or _who(held.identity) != _who(self._conceal(identity)):
            return None
        return held.from_us

    def past(self, place: str) -> tuple[Past, ...]:
        """Return who had it, and last who holds it, as far as that is proved."""
        concealed = self._conceal_address(place)
        with self._lock:
            now = self._open.get(concealed)
            past = [
                Past(_as_history(held.identity), held.from_us, held.until_us, held.ended_us, held.was_watched)
                for held in self._past.get(concealed, ())
            ]
            if now is not None:
                proved_us = self.seen_us - LATENCY_US
                past.append(Past(_as_history(now.identity), now.from_us, proved_us, now.ended_us, was_watched=False))
        return tuple(past)

    def entries(self) -> list[Held]:
        """Return all of it: those that hold an address have the last look as their end."""
        with self._lock:
            over = [held for entries in self._past.values() for held in entries]
            return over + [held._replace(until_us=self.seen_us) for held in self._open.values()]

    def restore(self, entries: Iterable[Held], seen_us: int) -> None:
        """Begin with what was kept, as it was at the last look."""
        with self._lock:
            for held in sorted((self._concealed(held) for held in entries), key=lambda held: held.ended_us):
                if held.ended_us:
                    self._bury(held.identity.address, held)
                else:
                    self._open[held.identity.address] = held
            self.seen_us = seen_us

    def forget(self, is_kept: Callable[[Held], bool], now_us: int) -> None:
        """Drop what was erased; whoever holds an address still is seen from now on."""
        with self._lock:
            for place, entries in list(self._past.items()):
                self._past[place] = [held for held in entries if is_kept(held)]
            for place, held in list(self._open.items()):
                if not is_kept(held):
                    self._open[place] = held._replace(from_us=now_us)
            self.epoch += 1

    def __iter__(self) -> Iterator[Held]:
        return iter(self.entries())

    def __len__(self) -> int:
        return len(self._open) + len(self._order)

    def _set(self, place: str, found: Found | None, now_us: int) -> None:
        asked, place = place, self._conceal_address(place)
        before = self._open.get(place)
        if found is None:
            held = None
        else:
            identity = self._conceal(found.identity)._replace(address=place)
            held = Held(identity, self._conceal_key(found.key), now_us, now_us)
        if before is not None and held is not None and _is_one(before, held):
            if before.identity != held.identity:  # a new name of the device, or its key has expired
                self._open[place] = before._replace(identity=held.identity)
                self._changed.add(asked)
                self.revision += 1
            return
        if before is None and held is None:
            return
        if before is not None:
            was_watched = self.is_current and now_us - self.seen_us <= WATCHED_CHANGE_US
            until_us = max(before.from_us, self.seen_us - LATENCY_US)
            del self._open[place]
            self._bury(place, before._replace(until_us=until_us, ended_us=now_us, was_watched=was_watched))
            self.counters.changes += 1
        if held is not None:
            if len(self._open) < self._holders_max:
                self._open[place] = held
            else:
                self.counters.dropped += 1
        self._changed.add(asked)
        self.revision += 1

    def _bury(self, place: str, held: Held) -> None:
        self._past.setdefault(place, []).append(held)
        self._order.append((held.ended_us, place))
        while len(self._order) > self._entries_max:
            self._drop_first()
            self.counters.dropped += 1

    def _look(self, now_us: int, *, is_current: bool) -> None:
        self.seen_us = now_us
        if self.is_current != is_current:
            self.is_current = is_current
            self.epoch += 1
        while self._keep_us and self._order and self._order[0][0] < now_us - self._keep_us:
            self._drop_first()
            self.counters.expired += 1

    def _drop_first(self) -> None:
        ended_us, place = self._order.popleft()
        kept = [held for held in self._past.get(place, ()) if held.ended_us != ended_us]
        if kept:
            self._past[place] = kept
        else:
            self._past.pop(place, None)
        self.revision += 1

    def _step_back(self, now_us: int) -> None:
        if self.seen_us - now_us <= SET_BACK_US:
            return
        self.seen_us = now_us
        self._open = {place: held._replace(from_us=min(held.from_us, now_us)) for place, held in self._open.items()}
        over = [held for entries in self._past.values() for held in entries if held.ended_us <= now_us]
        self._past, self._order = {}, deque()
        for held in sorted(over, key=lambda held: held.ended_us):
            self._bury(held.identity.address, held)
        self.epoch += 1

    def _conceal(self, identity: Identity) -> Identity:
        return identity if self._pseudonyms is None else self._pseudonyms.identity(identity)

    def _conceal_address(self, place: str) -> str:
        return place if self._pseudonyms is None else self._pseudonyms.address(place)

    def _conceal_key(self, key: str) -> str:
        return key if self._pseudonyms is None else self._pseudonyms.key(key)

    def _concealed(self, held: Held) -> Held:
        if self._pseudonyms is None or held.identity.address.startswith("2001:db8:"):
            return held
        place = self._conceal_address(held.identity.address)
        identity = self._conceal(held.identity)._replace(address=place)
        return held._replace(identity=identity, key=self._conceal_key(held.key))


def times_of(access: Access) -> tuple[int, int]:
    """Return the first and the last moment that a line may be about, µs since the epoch."""
    if access.request_time_us is None:
        return access.time_us - COARSE_US, access.time_us + COARSE_US
    return access.time_us, access.time_us + access.request_time_us


def _is_one(before: Held, now: Held) -> bool:
    # tailscaled spoils the key of a node when it expires, so that nobody connects with it.
    has_same_key = before.key == now.key or now.identity.expired
    return has_same_key and _who(before.identity) == _who(now.identity)


def _who(identity: Identity) -> tuple[str, ...]:
    """Return what of an identity makes it somebody: not the device's name, which its owner may change."""
    router = "" if identity.node_id else identity.via
    return identity.kind, identity.node_id, identity.user, identity.tags, router


def _as_history(identity: Identity) -> Identity:
    return identity._replace(provider="history", expired=False)

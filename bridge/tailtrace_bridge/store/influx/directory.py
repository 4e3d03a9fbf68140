"""Who was ever behind a request, with a name: what renames need. One small point each, in the bucket of the rollups.

Measurement `identity`: tags `id` (a hash of the identity) and source, one string field `data`: when it was last found
out, µs; a number that grows with when it was first stored; the identity. A point is written before the first row that
names the identity, and again when it was found out later. The newest point of each id and source counts.

All are kept: a tailnet has so many people and devices, and no stranger can add one.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, Self

import xxhash

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.query import InfluxQL
from tailtrace_bridge.store.names import Named, Names
from tailtrace_bridge.store.values import MINUTE_US

MEASUREMENT = "identity"
_VALUES = attrgetter(
    "address", "kind", "user", "device", "node_id", "tags", "provider", "user_id", "via", "reason", "expired"
)
ALL_AGAIN_US = 10 * MINUTE_US
OVERLAP_NS = 2 * MINUTE_US * 1000
"""How much older than the newest a point may be that comes after it: of another bridge, whose clock is behind."""


Found = tuple[int, int]
"""When an identity was last found out, µs, and its number."""

_NEVER: Found = (0, sys.maxsize)


def read(influx: InfluxQL, bucket: str, source: str | None = None) -> dict[Identity, Found]:
    """Return each identity with what is known of it."""
    return _read_up_to(influx, bucket, source)[0]


def _read_up_to(influx: InfluxQL, bucket: str, source: str | None) -> tuple[dict[Identity, Found], int]:
    """Read all, and tell the time of the newest point, ns."""
    where, values = (" WHERE source = $source", {"source": source}) if source else ("", {})
    text = f'SELECT last("data") FROM "{MEASUREMENT}"{where} GROUP BY "id", "source"'  # noqa: S608  # our own name
    rows = [row for result in influx.query(bucket, text, values) for row in result.rows]
    return _merged({}, rows), max((row[0] for row in rows), default=0)


def _merged(known: Mapping[Identity, Found], rows: Iterable[list[Any]]) -> dict[Identity, Found]:
    """Return what is known, and what points say besides."""
    merged = dict(known)
    for _, data in rows:
        named_us, number, texts = json.loads(data)
        identity = Identity(*texts)
        before = merged.get(identity, (0, number))
        merged[identity] = (max(named_us, before[0]), min(number, before[1]))
    return merged


class People(NamedTuple):
    """Everybody with a name, as they are known at one time."""

    found: Mapping[Identity, Found]
    names: Names

    @classmethod
    def of(cls, found: Mapping[Identity, Found], others: Iterable[Identity] = ()) -> Self:
        """Make it of the known, and of others, of whom nobody knows since when."""
        # Of two that were found out at the same time, the last word has the one stored later.
        return cls(found, Names(sorted([*found, *others], key=lambda one: found.get(one, _NEVER))))

    def in_order(self) -> list[Named]:
        """Return all, in the order in which they were first stored."""
        return [Named(one, self.found[one][0]) for one in sorted(self.found, key=lambda one: self.found[one][1])]

    def renamed(self, identities: Sequence[Identity]) -> list[Identity]:
        """Return identities with the ids and names of now, in the same order."""
        unknown = [one for one in identities if (one.user or one.device) and one not in self.found]
        names = self.of(self.found, unknown).names if unknown else self.names
        return [names.of(one) for one in identities]


NOBODY = People.of({})


class DirectoryReader:
    """Reads the directory once, then what was written since. Safe to share between threads.

    To read all is two seconds of both sides where 20,000 have a name, and an answer asks several times. All is read
    again now and then: another process may have removed somebody, or written late what an outage held back.
    """

    def __init__(self, influx: InfluxQL, bucket: str, monotonic_us: Callable[[], int]) -> None:
        self._influx, self._bucket, self._monotonic_us = influx, bucket, monotonic_us
        self._lock = threading.Lock()
        self._people: People | None = None
        self._newest_ns = self._read_us = 0

    def people(self) -> People:
        """Return everybody with a name. Raises `StoreError`."""
        with self._lock:
            now_us = self._monotonic_us()
            if self._people is None or now_us - self._read_us >= ALL_AGAIN_US:
                found, self._newest_ns = _read_up_to(self._influx, self._bucket, None)
                self._people, self._read_us = People.of(found), now_us
                return self._people
            text = f'SELECT "data" FROM "{MEASUREMENT}" WHERE time >= $start'  # noqa: S608  # our own name
            rows = self._influx.rows(self._bucket, text, {"start": self._newest_ns - OVERLAP_NS})
            found = _merged(self._people.found, rows)
            self._newest_ns = max((self._newest_ns, *(row[0] for row in rows)))
            if found != self._people.found:
                self._people = People.of(found)
            return self._people

    def forget(self) -> None:
        """Keep nothing of what was read."""
        with self._lock:
            self._people = None


def id_of(identity: Identity) -> str:
    """Return the tag `id` of an identity's points."""
    return xxhash.xxh3_64_hexdigest(json.dumps(_VALUES(identity)).encode())


class Directory:
    """A writer's own view of what it has stored."""

    def __init__(self, known: dict[Identity, Found], source: str) -> None:
        self._known, self._source = known, source
        self._next = max((number for _, number in known.values()), default=0) + 1

    def take(self, found: Iterable[tuple[Identity, int]], now_us: int) -> list[bytes]:
        """Return the points to write before rows of these identities; where that fails, the directory is read anew.

        `found` has identities and when they were found out, µs.
        """
        points: list[bytes] = []
        for identity, named_us in found:
            known = self._known.get(identity)
            if (identity.user or identity.device) and (known is None or named_us > known[0]):
                number = max(self._next, now_us) if known is None else known[1]
                self._next = max(self._next, number + 1)
                self._known[identity] = (named_us, number)
                points.append(self._point(identity, named_us, number, now_us))
        return points

    def _point(self, identity: Identity, named_us: int, number: int, now_us: int) -> bytes:
        texts = _VALUES(identity)
        tags = {"id": id_of(identity), "source": self._source}
        data = json.dumps([named_us, number, texts], separators=(",", ":"))
        return lines.point(MEASUREMENT, tags, {"data": data}, now_us * 1000)

"""Who was ever behind a request, with a name: what renames need. One small point each, in the bucket of the rollups.

Measurement `identity`: tags `id` (a hash of the identity) and source, one string field `data`: when it was last found
out, µs; a number that grows with when it was first stored; the identity. A point is written before the first row that
names the identity, and again when it was found out later. The newest point of each id and source counts.

At most `IDENTITIES_MAX` are told apart; a further one's rows go to the user and device `__other__`, and are counted.
"""

import json
from collections.abc import Iterable
from operator import attrgetter

import xxhash

from tailtrace_bridge.core.records import OTHER, Identity
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.query import InfluxQL
from tailtrace_bridge.store.names import Named

MEASUREMENT = "identity"
IDENTITIES_MAX = 20_000
_VALUES = attrgetter(
    "address", "kind", "user", "device", "node_id", "tags", "provider", "user_id", "via", "reason", "expired"
)
_SELECT = f'SELECT last("data") FROM "{MEASUREMENT}"'  # noqa: S608  # our own name


def read(influx: InfluxQL, bucket: str, source: str | None = None) -> dict[Identity, tuple[int, int]]:
    """Return each identity with when it was last found out, and its number."""
    where, values = (" WHERE source = $source", {"source": source}) if source else ("", {})
    known: dict[Identity, tuple[int, int]] = {}
    for result in influx.query(bucket, f'{_SELECT}{where} GROUP BY "id", "source"', values):
        for _, data in result.rows:
            named_us, number, texts = json.loads(data)
            identity = Identity(*texts)
            before = known.get(identity, (0, number))
            known[identity] = (max(named_us, before[0]), min(number, before[1]))
    return known


def numbered(known: dict[Identity, tuple[int, int]], others: Iterable[Identity]) -> dict[int, Named]:
    """Return what `names_of_now` takes: the known in the order in which they were first stored, then `others`."""
    in_order = sorted(known, key=lambda identity: known[identity][1])
    rest = [identity for identity in others if identity not in known]
    return {
        number: Named(identity, known[identity][0] if identity in known else 0)
        for number, identity in enumerate([*in_order, *rest])
    }


def id_of(identity: Identity) -> str:
    """Return the tag `id` of an identity's points."""
    return xxhash.xxh3_64_hexdigest(json.dumps(_VALUES(identity)).encode())


class Directory:
    """A writer's own view of what it has stored."""

    def __init__(self, known: dict[Identity, tuple[int, int]], source: str) -> None:
        self.over_limit_count = 0
        """Times that an identity became `__other__`."""
        self._known, self._source = known, source
        self._next = max((number for _, number in known.values()), default=0) + 1

    def take(self, found: Iterable[tuple[Identity, int]], now_us: int) -> tuple[list[Identity], list[bytes]]:
        """Return the identities under which rows are stored, and the points to write first; on failure, read anew.

        `found` has identities and when they were found out, µs.
        """
        admitted: list[Identity] = []
        points: list[bytes] = []
        for identity, named_us in found:
            known = self._known.get(identity)
            is_named = bool(identity.user or identity.device)
            if is_named and known is None and len(self._known) >= IDENTITIES_MAX:
                self.over_limit_count += 1
                admitted.append(Identity(identity.address, identity.kind, OTHER, OTHER))
                continue
            admitted.append(identity)
            if is_named and (known is None or named_us > known[0]):
                number = max(self._next, now_us) if known is None else known[1]
                self._next = max(self._next, number + 1)
                self._known[identity] = (named_us, number)
                points.append(self._point(identity, named_us, number, now_us))
        return admitted, points

    def _point(self, identity: Identity, named_us: int, number: int, now_us: int) -> bytes:
        texts = _VALUES(identity)
        tags = {"id": id_of(identity), "source": self._source}
        data = json.dumps([named_us, number, texts], separators=(",", ":"))
        return lines.point(MEASUREMENT, tags, {"data": data}, now_us * 1000)

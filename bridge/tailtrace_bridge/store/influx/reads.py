"""What every read of InfluxDB needs: the server, its buckets, the rollups in them, and who is called what now."""

from collections.abc import Sequence
from typing import NamedTuple

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx import directory
from tailtrace_bridge.store.influx.rollups.encoding import Tables
from tailtrace_bridge.store.influx.rollups.reader import Buckets, RollupReader
from tailtrace_bridge.store.influx.wire.query import InfluxQL
from tailtrace_bridge.store.names import names_of_now


class Reads(NamedTuple):
    """For any thread."""

    influx: InfluxQL
    buckets: Buckets
    rollups: RollupReader

    def known(self) -> dict[Identity, tuple[int, int]]:
        """Return each identity with a name, when it was last found out, and its number."""
        return directory.read(self.influx, self.buckets.rollups)

    def names_of_now(self, tables: Tables) -> list[Identity]:
        """Return the identities of rollups with the ids and names of now, in the same order."""
        return renamed(self.known() if tables.identities else {}, list(tables.identities))


def renamed(known: dict[Identity, tuple[int, int]], identities: Sequence[Identity]) -> list[Identity]:
    """Return identities with the ids and names of now, in the same order."""
    numbered = directory.numbered(known, identities)
    found = names_of_now(numbered)
    now = {named.identity: found[number] for number, named in numbered.items()}
    return [now[identity] for identity in identities]

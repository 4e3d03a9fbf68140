"""What every read of InfluxDB needs: the server, its buckets, the rollups in them, and who is called what now."""

from typing import NamedTuple

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.directory import DirectoryReader, People
from tailtrace_bridge.store.influx.rollups.encoding import Tables
from tailtrace_bridge.store.influx.rollups.reader import Buckets, RollupReader
from tailtrace_bridge.store.influx.wire.query import InfluxQL


class Reads(NamedTuple):
    """For any thread."""

    influx: InfluxQL
    buckets: Buckets
    rollups: RollupReader
    directory: DirectoryReader

    def people(self) -> People:
        """Return everybody with a name."""
        return self.directory.people()

    def names_of_now(self, tables: Tables) -> list[Identity]:
        """Return the identities of rollups with the ids and names of now, in the same order."""
        return self.people().renamed(list(tables.identities)) if tables.identities else []

    def forget(self) -> None:
        """Keep nothing of what was read: a person is forgotten."""
        self.rollups.forget()
        self.directory.forget()

"""Names of features in InfluxDB: what a bridge read in the app's OpenAPI file and its settings, for all who ask.

Measurement `feature`, in the bucket of the rollups: tag route, field name, of which the newest counts.
"""

from collections.abc import Mapping

from tailtrace_bridge.store.influx.beside import Beside
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.wire import lines

MEASUREMENT = "feature"


def keep(beside: Beside, names: Mapping[str, str], now_us: int) -> None:
    """Keep names by route; those of other routes stay: they may be another bridge's. Raises `StoreError`."""
    with beside.lock:
        beside.write_rollups(
            [lines.point(MEASUREMENT, {"route": route}, {"name": name}, now_us * 1000) for route, name in names.items()]
        )


def kept(reads: Reads) -> dict[str, str]:
    """Return the names by route. Raises `StoreError`."""
    text = f'SELECT last("name") FROM "{MEASUREMENT}" GROUP BY "route"'  # noqa: S608
    results = reads.influx.query(reads.buckets.rollups, text)
    return {lines.untag(result.tags["route"]): result.rows[0][1] for result in results}

"""How far a bridge had read its logs as of each of its writes, kept beside the rows: a bucket of an earlier time shows.

Measurement `progress`, a point an hour in the bucket of the rows: tag source; fields `writes`, which counts them, and
`data`, what `logs.checkpoint` asked to remember. A point is written after the rows that it counts, so where it is, they
are. A text that is longer than a field can be is left out: after a restore the logs are then read from their start.
"""

from typing import NamedTuple

from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.query import InfluxQL
from tailtrace_bridge.store.values import HOUR_US

MEASUREMENT = "progress"
DATA_BYTES_MAX = 60_000
"""InfluxDB takes 64 KiB: https://docs.influxdata.com/influxdb/v2/reference/faq/"""
_SELECT = f'SELECT max("writes"), "data" FROM "{MEASUREMENT}" WHERE "source" = $source'  # noqa: S608  # our own name


class Progress(NamedTuple):
    """How many writes there were, and what was to be remembered with the last."""

    writes: int = 0
    text: str = ""

    def point(self, source: str, now_us: int) -> bytes:
        """Return the point that says so."""
        text = self.text if len(self.text.encode()) <= DATA_BYTES_MAX else ""
        fields = {"writes": self.writes, "data": text}
        return lines.point(MEASUREMENT, {"source": source}, fields, now_us // HOUR_US * HOUR_US * 1000)


def read(influx: InfluxQL, bucket: str, source: str) -> Progress:
    """Return what the bucket has of a source. Raises `StoreError`."""
    rows = influx.rows(bucket, _SELECT, {"source": source})
    return Progress(int(rows[0][1]), rows[0][2] or "") if rows else Progress()

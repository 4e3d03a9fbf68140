"""A session of writing to InfluxDB: what this source has stored already, and the two writers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event

from tailtrace_bridge.core.errors import StoreError, StoreRestoredError
from tailtrace_bridge.store.influx import directory, progress, rejected
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.rollups.known import Known
from tailtrace_bridge.store.influx.rollups.reader import Buckets, RollupReader
from tailtrace_bridge.store.influx.rollups.writer import Roller
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.kind import V2_WRITE
from tailtrace_bridge.store.influx.wire.setup import DAY_S, HOUR_S, Bucket, ensure
from tailtrace_bridge.store.influx.wire.write import Timing, WriteCounters, WriteLog, Writer, client_post, plain_post


@dataclass(slots=True)
class Session:
    """What the store knows while it writes; made anew after a failure."""

    writer: Writer
    write_log: WriteLog
    buckets: Buckets
    rollups: RollupReader
    roller: Roller
    known: Known
    directory: directory.Directory
    routes: set[str]
    rejected: set[int]
    progress: progress.Progress
    close: Callable[[], None]
    heads: dict[lines.Head, str] = field(default_factory=dict)

    def write_raw(self, points: list[bytes]) -> int:
        """Write points to the bucket of the rows; return how many were rejected."""
        return self.write_log.write(self.writer, self.buckets.raw, points)

    def write_rollups(self, points: list[bytes]) -> None:
        """Write points to the bucket of the rollups."""
        if points:
            self.write_log.write(self.writer, self.buckets.rollups, points)


def open_session(
    config: InfluxConfig,
    timing: Timing,
    reads: Reads,
    write_log: WriteLog,
    counters: Mapping[str, WriteCounters],
    writes: int,
    stop: Event,
) -> Session:
    """Make the buckets, write again what an earlier session failed to, and read what this source has stored.

    Raises `StoreError`; `StoreRestoredError` where it has fewer than `writes`. `counters` are those of the writers of
    rows and of rollups, in this order. `stop` ends what is being rolled up.
    """
    influx, buckets = reads.influx, reads.buckets
    for bucket, days in ((buckets.raw, config.raw_days), (buckets.rollups, config.rollup_days)):
        ensure(influx, config.server.url, config.server.org, Bucket(bucket, days * DAY_S))
    if config.spans_bucket and config.spans_hours:
        spans = Bucket(config.spans_bucket, config.spans_hours * HOUR_S)
        ensure(influx, config.server.url, config.server.org, spans)
    known = progress.read(influx, buckets.raw, config.source)
    if known.writes < writes:
        raise StoreRestoredError(
            f"store {config.server.url}: has {known.writes} of {writes} writes that it acknowledged: a backup was put"
            " in its place, or its disk lost what was written; the logs are read again from where it ends"
        )
    post, close = (
        client_post(config.server)
        if influx.kind.write_path == V2_WRITE
        else (plain_post(influx, config.server.org), _nothing)
    )
    writer, rolling = (Writer(config.server.url, post, timing, each) for each in counters.values())
    try:
        write_log.write_again(writer)
        routes = influx.rows(buckets.raw, f'SHOW TAG VALUES FROM "{lines.RAW}" WITH KEY = "endpoint"')
        session = Session(
            writer=writer, write_log=write_log, buckets=buckets, close=close,
            rollups=reads.rollups, roller=Roller(
                reads.rollups, config.source, lambda points: rolling.write(buckets.rollups, points),
                lambda points: rolling.write(buckets.raw, points), timing.wall_us, stop,
            ),
            known=Known(
                influx, buckets, reads.rollups, config.source,
                lambda points: write_log.write(writer, buckets.raw, points),
            ),
            directory=directory.Directory(directory.read(influx, buckets.rollups, config.source), config.source),
            routes={lines.untag(row[1]) for row in routes}, rejected=rejected.known_places(reads, config.source),
            progress=known,
        )  # fmt: skip
        session.roller.load()
    except StoreError:
        close()
        raise
    return session


def _nothing() -> None:
    """Close nothing: the connections are the reader's."""

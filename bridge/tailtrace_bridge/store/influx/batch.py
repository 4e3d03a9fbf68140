"""A batch of rows on its way into InfluxDB: what of it is new is written, to `api_access` and to a batch."""

from collections.abc import Callable, Sequence

from tailtrace_bridge.core.columns import Columns
from tailtrace_bridge.core.records import OTHER, Identity
from tailtrace_bridge.store.influx.config import InfluxConfig, InfluxCounters
from tailtrace_bridge.store.influx.distinct import Distinct
from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups.encoding import Tables
from tailtrace_bridge.store.influx.session import Session
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.write import BATCH_LINES_MAX
from tailtrace_bridge.store.values import DAY_US, HOUR_US, Window, Written

ENDPOINTS_MAX = 5_000
RECALLED_DAYS = 30
"""Before its start, of which a bridge knows whose addresses it kept apart."""
EXPIRY_MARGIN_US = 2 * HOUR_US
"""Before the raw bucket's retention ends: a step that is rolled up again must still have all of its rows."""


class BatchWriter:
    """Writes one batch at a time. It outlives sessions: what of a batch that failed was stored is found by the next."""

    def __init__(self, config: InfluxConfig, clock: Callable[[], int], counters: InfluxCounters) -> None:
        self._config, self._clock, self._counters = config, clock, counters
        self._distinct = Distinct(config.distinct_max)
        self._is_recalled = False
        self._unsure: set[tuple[int, int]] = set()
        """(time, key) of the new rows of a batch that failed on the way: some may have been stored."""

    def write(self, session: Session, columns: Columns) -> Written:
        """Write rows. Raises `StoreError`; the same rows are then to be given again, in another session."""
        found = zip(columns.identities, columns.identified_us, strict=True)
        session.write_rollups(session.directory.take(found, self._clock()))
        if not self._is_recalled:
            self._recall(session)
        identities = self._distinct.as_stored(columns.identities)
        self._counters.addresses_over_limit = self._distinct.over_limit_count
        known = session.known.around(columns.time_us)
        taken = set(known.values())
        oldest_us = self._oldest_us()
        fresh: list[tuple[int, int]] = []
        stored = duplicate = expired = 0
        for row, name in enumerate(zip(columns.time_us, columns.key, strict=True)):
            if name in known:
                was_unsure = name in self._unsure
                self._unsure.discard(name)
                stored += was_unsure
                duplicate += not was_unsure
            elif name[0] < oldest_us:
                expired += 1
            else:
                slot_ns = lines.first_slot(*name)
                while slot_ns in taken:
                    slot_ns = lines.next_slot(slot_ns)
                taken.add(slot_ns)
                known[name] = slot_ns
                fresh.append((slot_ns, row))
        self._unsure.update((columns.time_us[row], columns.key[row]) for _, row in fresh)
        rejected = self._write_fresh(session, columns, identities, fresh)
        self._unsure.clear()
        self._counters.expired += expired
        self._counters.rejected += rejected
        return Written(stored + len(fresh) - rejected, duplicate, expired + rejected)

    def _recall(self, session: Session) -> None:
        """Know who was kept apart lately, so that the limit holds over restarts: of one day at a time."""
        tomorrow_us = (self._clock() // DAY_US + 1) * DAY_US  # what comes later is of a wrong clock
        for start_us in range(tomorrow_us - RECALLED_DAYS * DAY_US, tomorrow_us, DAY_US):
            day = Window(start_us, start_us + DAY_US)
            self._distinct.recall(session.rollups.identities(day, self._config.source))
        session.rollups.forget()
        self._is_recalled = True

    def _write_fresh(
        self, session: Session, columns: Columns, identities: Sequence[Identity], fresh: Sequence[tuple[int, int]]
    ) -> int:
        routes = [self._route(session, route) for _, route in columns.endpoints]
        maker = lines.LineMaker(columns, identities, routes, self._config.source, session.heads)
        rejected = 0
        for start in range(0, len(fresh), BATCH_LINES_MAX):
            part = fresh[start : start + BATCH_LINES_MAX]
            session.write_rollups(session.roller.announce(columns.time_us[row] for _, row in part))
            dropped = session.write_raw([maker.line(row, time_ns) for time_ns, row in part])
            tables = Tables()
            requests = batches.requests_of(columns, identities, routes, part, tables)
            if dropped:  # which of them, InfluxDB does not say
                rejected += dropped
                session.known.find({one.time_us for one in requests})
                continue
            points = batches.points(requests, tables, self._config.source)
            session.write_raw(points)
            slots = (slot_ns for slot_ns, _ in part)
            session.known.add(zip(((one.time_us, one.key) for one in requests), slots, strict=True), points)
        return rejected

    def _oldest_us(self) -> int:
        days = self._config.raw_days
        return self._clock() - days * DAY_US + EXPIRY_MARGIN_US if days else -(2**62)

    def _route(self, session: Session, route: str) -> str:
        if route in session.routes:
            return route
        if len(session.routes) >= ENDPOINTS_MAX:
            self._counters.endpoints_over_limit += 1
            return OTHER
        session.routes.add(route)
        return route

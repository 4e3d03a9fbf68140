"""The request log in InfluxDB: a page of it as a reader sees it, and of whole rows for an export.

| a page | is read from |
|---|---|
| of all, or without kinds of traffic | batches, which say which series its requests are in; then those series |
| with filters, or of few requests far apart | the rows of an hour, of a day, of a week, of all the window |
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from tailtrace_bridge.core.columns import InterningTable
from tailtrace_bridge.core.records import Row
from tailtrace_bridge.store.influx.filters import where
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups.batches import BUCKET_US
from tailtrace_bridge.store.influx.rollups.encoding import Tables
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.values import DAY_US, HOUR_US, Filters, LogEntry, Window

PAGE_EXTRA = 16
SERIES_AT_ONCE = 200
"""Whose rows are asked for in one call."""
_SERIES = ("source", "user", "device", "service", "endpoint", "method", "status_class")
_LOG_SPANS_US = (HOUR_US, DAY_US, 7 * DAY_US)
"""How far back a page of the log is looked for, before all of the window is: the newest rows are asked for most."""


class _Between(NamedTuple):
    """Which requests: (time, key) after the one and before the other."""

    after: tuple[int, int]
    before: tuple[int, int]


def page(reads: Reads, window: Window, filters: Filters, limit: int, before: tuple[int, int] | None) -> list[LogEntry]:
    """Return a page of the log, newest first."""
    last = min(before or (window.end_us, -1), (window.end_us, -1))
    if filters == Filters(without=filters.without):
        newest = _newest(reads, window, last, limit, {int(one) for one in filters.without})
        if newest is not None:
            return newest
    clauses, values = where(reads, filters)
    found: list[LogEntry] = []
    newest_us = last[0]
    for span_us in (*_LOG_SPANS_US, newest_us - window.start_us):
        start_us = max(window.start_us, newest_us - span_us)
        span, between = Window(start_us, last[0]), _Between((start_us, -1), last)
        page = _scan(reads, span, between, clauses, values, limit - len(found), is_newest_first=True)
        found += [_entry(row, key_time) for row, key_time in page]
        last = min(last, (start_us, -1))
        if len(found) >= limit or start_us <= window.start_us:
            break
    return found[:limit]


def rows(reads: Reads, window: Window, after: tuple[int, int] | None, limit: int) -> list[Row]:
    """Return a page of whole rows, oldest first."""
    start_us, key = max(after or (window.start_us, -1), (window.start_us, -1))
    found = _scan(reads, Window(start_us, window.end_us), _Between((start_us, key), (window.end_us, -1)), "", {}, limit)
    return [row for row, _ in found[:limit]]


def _newest(
    reads: Reads, window: Window, before: tuple[int, int], limit: int, without: Collection[int]
) -> list[LogEntry] | None:
    """Return a page of all but some kinds of traffic, of the series that batches name. None: they are too far apart."""
    for span_us in (BUCKET_US, HOUR_US):
        start_us = max(window.start_us, before[0] - span_us)
        tables = Tables()
        found = [
            (one[2:4], source, one)
            for (source, _), requests in reads.rollups.requests(
                {None: [Window(start_us, before[0] + 1)]}, tables, is_kept=True
            )
            for one in requests
            if one[2:4] < before and one[7] not in without
        ]
        if len(found) >= limit or start_us <= window.start_us:
            page = sorted(found, key=lambda one: one[:2], reverse=True)[:limit]
            return _entries(reads, [(source, one) for _, source, one in page], tables)
    return None


def _entries(reads: Reads, page: Sequence[tuple[str, batches.Request]], tables: Tables) -> list[LogEntry]:
    """Return requests as they are in `api_access`: one question for each series, many in one call."""
    identities, endpoints, reader = list(tables.identities), list(tables.endpoints), lines.RowReader()
    series: dict[tuple[str, ...], list[int]] = {}
    for source, one in page:
        who, (service, route) = identities[one.identity], endpoints[one.endpoint]
        tags: tuple[str, ...] = (source, who.user, who.device, service, route, one.method, f"{one.status // 100}xx")
        series.setdefault(tags, []).append(lines.first_slot(one.time_us, one.key) + one.shift)
    places: InterningTable[str] = InterningTable()
    asked: list[tuple[str, str]] = []
    for values, slots in series.items():
        where = "".join(
            f' AND "{name}" = $v{places[lines.tag(value)]}' for name, value in zip(_SERIES, values, strict=True)
        )
        asked.append((values[0], f"{lines.SELECT_ROWS} WHERE time >= {min(slots)} AND time <= {max(slots)}{where}"))
    bound = {f"v{place}": value for value, place in places.items()}
    wanted = {(source, one.time_us, one.key) for source, one in page}
    entries: list[LogEntry] = []
    for start in range(0, len(asked), SERIES_AT_ONCE):
        some = asked[start : start + SERIES_AT_ONCE]
        answers = reads.influx.query_all(reads.buckets.raw, [text for _, text in some], bound)
        for (source, _), results in zip(some, answers, strict=True):
            for row in (reader.row(values) for result in results for values in result.rows):
                name = (row.access.time_us, row.access.key)
                if (source, *name) in wanted:
                    entries.append(_entry(row, name))
    return sorted(entries, key=lambda one: one[:2], reverse=True)


def _scan(
    reads: Reads,
    span: Window,
    between: _Between,
    clauses: str,
    values: dict[str, object],
    limit: int,
    *,
    is_newest_first: bool = False,
) -> list[tuple[Row, tuple[int, int]]]:
    """Return the first requests of a span, with times and keys; it may be some more than `limit`.

    A millisecond is read whole: within one, points are in another order than requests.
    """
    reader = lines.RowReader()
    low_ns = span.start_us // lines.MS_US * lines.MS_NS
    high_ns = (span.end_us // lines.MS_US + 1) * lines.MS_NS
    text = f"{lines.SELECT_ROWS} WHERE time >= $low AND time < $high{clauses}"
    order = " ORDER BY time DESC" if is_newest_first else ""
    found: list[tuple[Row, tuple[int, int]]] = []
    while len(found) < limit and low_ns < high_ns:
        rows_max = limit - len(found) + PAGE_EXTRA
        bounds = {**values, "low": low_ns, "high": high_ns}
        points = reads.influx.rows(reads.buckets.raw, f"{text}{order} LIMIT {rows_max}", bounds)
        if len(points) == rows_max:
            cut_ns = points[-1][0] // lines.MS_NS * lines.MS_NS
            after_ns = cut_ns + lines.MS_NS
            whole = [one for one in points if not cut_ns <= one[0] < after_ns]
            if whole:  # most often there are enough of them
                points = whole
                low_ns, high_ns = (low_ns, after_ns) if is_newest_first else (cut_ns, high_ns)
            else:
                points = reads.influx.rows(reads.buckets.raw, text, {**values, "low": cut_ns, "high": after_ns})
                low_ns, high_ns = (low_ns, cut_ns) if is_newest_first else (after_ns, high_ns)
        else:
            high_ns = low_ns
        page = [(row, (row.access.time_us, row.access.key)) for row in map(reader.row, points)]
        page = [one for one in page if between.after < one[1] < between.before]
        found += sorted(page, key=lambda one: one[1], reverse=is_newest_first)
    return found


def _entry(row: Row, name: tuple[int, int]) -> LogEntry:
    access = row.access
    return LogEntry(
        *name, row.identity, access.service, row.route, access.method, access.path, access.status, row.traffic,
        access.request_time_us, row.app_time_us, access.bytes_sent, access.trace_id, row.error_type, row.identified_us,
        access.upstream_time_us, access.span_id, access.user_agent,
    )  # fmt: skip

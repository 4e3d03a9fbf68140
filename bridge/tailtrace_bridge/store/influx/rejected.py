"""Rejected lines, in InfluxDB: at most `REJECTED_MAX` of each source, as points in the bucket of the rollups."""

from collections.abc import Sequence

import xxhash

from tailtrace_bridge.core.records import RejectedLine
from tailtrace_bridge.store.influx.config import InfluxCounters
from tailtrace_bridge.store.influx.reads import Reads
from tailtrace_bridge.store.influx.wire import lines

REJECTED_MAX = 10_000
_REJECTED = "refusal"


def known_places(reads: Reads, source: str) -> set[int]:
    """Return what tells apart the lines that a source has kept."""
    rows = reads.influx.rows(
        reads.buckets.rollups,
        f'SELECT "place" FROM "{_REJECTED}" WHERE "source" = $source LIMIT {REJECTED_MAX}',  # noqa: S608
        {"source": source},
    )
    return {row[1] for row in rows}


def points_of(
    rejected_lines: Sequence[RejectedLine], known: set[int], source: str, now_us: int, counters: InfluxCounters
) -> list[bytes]:
    """Return the points of lines that are not known yet, which then are."""
    now_ns = now_us * 1000
    points: list[bytes] = []
    for one in rejected_lines:
        place = xxhash.xxh3_64_intdigest(f"{one.offset}:{one.file}".encode(errors="backslashreplace")) >> 1
        if place in known:
            continue
        if len(known) >= REJECTED_MAX:
            counters.refusals_over_limit += 1
            continue
        known.add(place)
        file = one.file.encode(errors="backslashreplace").decode()
        fields = {"place": place, "file": file, "position": one.offset, "text": one.text}
        tags = {"reason": one.reason, "source": source}
        points.append(lines.point(_REJECTED, tags, fields, now_ns + place % lines.MS_NS))
    return points


def page(reads: Reads, after: tuple[str, int] | None, limit: int) -> list[RejectedLine]:
    """Return a page of the kept lines, by file and position."""
    text = f'SELECT "file", "position", "reason", "text" FROM "{_REJECTED}"'  # noqa: S608  # our own names
    rows = reads.influx.rows(reads.buckets.rollups, text)
    kept = {
        (file, position): RejectedLine(reason, file, position, said or "") for _, file, position, reason, said in rows
    }
    return [kept[place] for place in sorted(kept) if after is None or place > after][:limit]


def by_reason(reads: Reads) -> dict[str, int]:
    """Count the kept lines by reason."""
    text = f'SELECT count("place") FROM "{_REJECTED}" GROUP BY "reason"'  # noqa: S608
    results = reads.influx.query(reads.buckets.rollups, text)
    return {result.tags["reason"]: int(result.rows[0][1]) for result in results}

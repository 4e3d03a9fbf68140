"""The first requests of whoever came for a moment: a row for each, in the place of six rollups. Most come so.

| a visitor's first batch has | goes to |
|---|---|
| few requests (`REQUESTS_MAX`), that are one run of use | `brief` |
| more, or with a pause between them | `usage`, `usage_identity`, `visit` and their twins by day |

What comes later goes to these tables, too: an answer adds up both. `brief` has the names of `access`, so that what
reads requests reads it as well; it stays when they are pruned.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from tailtrace_bridge.core.columns import Columns
from tailtrace_bridge.store.rollups import Rollups
from tailtrace_bridge.store.values import SESSION_GAP_US

MIGRATION = """
    CREATE TABLE brief (
        time_us INTEGER NOT NULL, identity_id INTEGER NOT NULL, endpoint_id INTEGER NOT NULL,
        method TEXT NOT NULL, status INTEGER NOT NULL, traffic INTEGER NOT NULL,
        request_time_us INTEGER, app_time_us INTEGER, bytes_sent INTEGER NOT NULL,
        PRIMARY KEY (time_us, identity_id)
    ) WITHOUT ROWID;
"""
BY_IDENTITY = "CREATE INDEX brief_by_identity ON brief (identity_id)"
"""An answer lists few of those who came for a moment; 20 bytes each spare it to look at all of them."""
WIDTH = 9
"""Columns of `brief`."""
REQUESTS_MAX = 4
"""Of one visitor: more of them take no less than the rollups."""
BriefRow = tuple[Any, ...]


def brief_rows(
    columns: Columns, identity_ids: Sequence[int], endpoint_ids: Sequence[int], last_known: int
) -> list[BriefRow]:
    """Return the rows of `brief`. Identities with a number past `last_known` are new."""
    if max(identity_ids, default=0) <= last_known:
        return []
    who = list(map(identity_ids.__getitem__, columns.identity))
    few = {number for number, count in Counter(who).items() if count <= REQUESTS_MAX and number > last_known}
    rows: dict[int, list[BriefRow]] = defaultdict(list)
    for time_us, number, request, request_time_us, app_time_us, sent in zip(
        columns.time_us, who, columns.request, columns.request_time_us, columns.app_time_us, columns.bytes_sent,
        strict=True,
    ):  # fmt: skip
        if number in few:
            endpoint, method, _, status, traffic = columns.requests[request]
            rows[number].append(
                (time_us, number, endpoint_ids[endpoint], method, status, traffic, request_time_us, app_time_us, sent)
            )
    return [row for theirs in rows.values() if len(theirs) == 1 or _are_one_run(theirs) for row in theirs]


def _are_one_run(rows: Sequence[BriefRow]) -> bool:
    """Whether their requests come at different times, with no pause that ends a session."""
    times_us = sorted(row[0] for row in rows)
    return len(set(times_us)) == len(times_us) and times_us[-1] - times_us[0] <= SESSION_GAP_US


def without(rollups: Rollups, gone: Collection[int]) -> Rollups:
    """Return the rollups of identities without those of some."""
    rest = Rollups()
    rest.latency, rest.minutes = rollups.latency, rollups.minutes
    rest.usage = {key: values for key, values in rollups.usage.items() if key[1] not in gone}
    rest.activity = {key: run for key, run in rollups.activity.items() if key[1] not in gone}
    return rest

"""A step of the schema: requests with both times, and by how much these differ; up and down by service and minute.

| a store of before has | so it gets |
|---|---|
| groups in which each request has both times | both totals, from the rollups that there are |
| groups in which some lack one | both totals, from the rows that are still there; of those that are gone 0: not known |
| minutes whose rows are there | their answers by service |
| minutes whose rows are gone | one answer each, a server error where no other answer was told then |

What is gone is of no service where the store has several.
`minute.answered` told whether there was an answer other than 5xx, and counts answers since.
"""

from tailtrace_bridge.store.uptime import MINUTE_NUMBER
from tailtrace_bridge.store.values import HOUR_US, MINUTE_US

_KEY = ("step", "identity_id", "endpoint_id", "method", "status", "traffic")
_GROUP = ", ".join(str(place) for place, _ in enumerate(_KEY, 1))
_LESS_THAN_USAGE = {
    "usage_day": "step / 24 AS step, identity_id, endpoint_id, method, status, traffic",
    "usage_identity": "step, identity_id, 0 AS endpoint_id, '' AS method, status, traffic",
    "usage_identity_day": "step / 24 AS step, identity_id, 0 AS endpoint_id, '' AS method, status, traffic",
    "usage_endpoint": "step, 0 AS identity_id, endpoint_id, '' AS method, status, traffic",
    "usage_endpoint_day": "step / 24 AS step, 0 AS identity_id, endpoint_id, '' AS method, status, traffic",
}
"""Tables that `usage` has all of, and how their keys are made of its own."""
_PRUNED_US = "(SELECT value FROM meta WHERE name = 'pruned_us')"


def _is_found(table: str) -> str:
    return " AND ".join(f"{table}.{one} = found.{one}" for one in _KEY)


_COLUMNS = "".join(
    f"ALTER TABLE {table} ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0;"
    for table in ("usage", *_LESS_THAN_USAGE)
    for column in ("both_timed", "outside_us")
)
_OF_SUMS = """
    UPDATE usage SET both_timed = app_timed, outside_us = request_time_us - app_time_us
    WHERE app_timed = requests AND timed = requests;
"""
_OF_ROWS = f"""
    UPDATE usage SET both_timed = found.both_timed, outside_us = found.outside_us
    FROM (
        SELECT time_us / {HOUR_US} AS step, identity_id, endpoint_id, method, status, traffic,
               count(*) AS both_timed, sum(request_time_us - app_time_us) AS outside_us
        FROM (SELECT DISTINCT step AS mixed FROM usage WHERE app_timed > 0 AND timed > 0 AND both_timed = 0)
             CROSS JOIN access ON time_us >= mixed * {HOUR_US} AND time_us < (mixed + 1) * {HOUR_US}
        WHERE request_time_us IS NOT NULL AND app_time_us IS NOT NULL GROUP BY {_GROUP}
    ) AS found
    WHERE usage.both_timed = 0 AND {_is_found("usage")};
"""  # noqa: S608  # our own words, here and below
_OF_USAGE = "".join(
    f"""
    UPDATE {table} SET both_timed = found.both_timed, outside_us = found.outside_us
    FROM (
        SELECT {key}, sum(both_timed) AS both_timed, sum(outside_us) AS outside_us
        FROM usage WHERE both_timed > 0 GROUP BY {_GROUP}
    ) AS found
    WHERE {_is_found(table)};
    """  # noqa: S608
    for table, key in _LESS_THAN_USAGE.items()
)
_UPTIME = f"""
    CREATE TABLE uptime (
        step INTEGER NOT NULL, service TEXT NOT NULL, counts BLOB NOT NULL, PRIMARY KEY (step, service)
    ) WITHOUT ROWID;
    INSERT INTO uptime
        SELECT time_us / {HOUR_US}, service, packed_numbers({MINUTE_NUMBER})
        FROM access JOIN endpoint ON endpoint.id = endpoint_id
        WHERE status > 0 AND time_us / {MINUTE_US} * {MINUTE_US} >= {_PRUNED_US}
        GROUP BY 1, 2;
    INSERT INTO uptime
        WITH RECURSIVE bit (place) AS (SELECT 0 UNION ALL SELECT place + 1 FROM bit WHERE place < 59)
        SELECT step, (SELECT iif(count(DISTINCT service) = 1, min(service), '') FROM endpoint),
               packed_numbers(place << 1 | NOT (answered >> place & 1))
        FROM hour JOIN bit ON minutes >> place & 1
        WHERE (step * 60 + place) * {MINUTE_US} < {_PRUNED_US} GROUP BY step
        ON CONFLICT DO UPDATE SET counts = merged_counts(counts, excluded.counts);
    ALTER TABLE hour DROP COLUMN minutes;
    ALTER TABLE hour DROP COLUMN answered;
    UPDATE minute SET answered = iif(answered, requests, errors)
"""  # noqa: S608
MIGRATION = _COLUMNS + _OF_SUMS + _OF_ROWS + _OF_USAGE + _UPTIME

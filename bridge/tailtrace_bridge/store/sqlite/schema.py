"""The tables of the SQLite store, as a list of migrations: each runs once, in order. A semicolon ends a statement.

`meta` holds the store's `id`, and `pruned_us`: rows before it were removed, so that their replay could not be told.
`identity` holds who was ever behind a row, as of then; `named_us` is when it was last found out, for the newest name.
`entry` holds a row for each request, in order of time: (time_us, key) is a pure function of the log line, so a replay
meets its own rows. What was asked for and how it went stands once in `request`; past the limit of `distinct` it stands
there without its path, which the entry then has itself. When an identity was found out stands in `identity.found_us`,
and in an entry where that differs. nginx's own span id, which most have, is 0 there. `access` is both together.
The tables after these are rollups that the same transaction keeps true: `totals` says of what, `brief` of whom not.
"""

from tailtrace_bridge.core.records import ROOT_SPAN_ID
from tailtrace_bridge.store.sqlite import alert_events, anonymous, both_times, brief, failures, minutes, traces

APPLICATION_ID = 0x7461696C
"""In the head of each store's file (https://sqlite.org/pragma.html#pragma_application_id): "tail"."""

_USAGE = """
    CREATE TABLE {} (
        step INTEGER NOT NULL, identity_id INTEGER NOT NULL, endpoint_id INTEGER NOT NULL,
        method TEXT NOT NULL, status INTEGER NOT NULL, traffic INTEGER NOT NULL,
        requests INTEGER NOT NULL, timed INTEGER NOT NULL, request_time_us INTEGER NOT NULL,
        app_timed INTEGER NOT NULL, app_time_us INTEGER NOT NULL, bytes_sent INTEGER NOT NULL,
        PRIMARY KEY (step, identity_id, endpoint_id, method, status, traffic)
    ) WITHOUT ROWID;
"""
_PACKED = """
    CREATE TABLE {} (key INTEGER PRIMARY KEY, {} BLOB NOT NULL);
"""

_META = """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('id', lower(hex(randomblob(8)))), ('pruned_us', -1 << 62);
"""
_REQUESTS = """
    CREATE TABLE request (
        id INTEGER PRIMARY KEY, endpoint_id INTEGER NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
        status INTEGER NOT NULL, traffic INTEGER NOT NULL, UNIQUE (path, endpoint_id, method, status, traffic)
    );
    CREATE TABLE entry (
        time_us INTEGER NOT NULL, key INTEGER NOT NULL,
        identity_id INTEGER NOT NULL, request_id INTEGER NOT NULL, agent_id INTEGER NOT NULL, path TEXT,
        request_time_us INTEGER, upstream_time_us INTEGER, app_time_us INTEGER, bytes_sent INTEGER NOT NULL,
        trace_id BLOB, span_id BLOB, error_type TEXT, identified_us INTEGER,
        PRIMARY KEY (time_us, key)
    ) WITHOUT ROWID;
    ALTER TABLE identity ADD COLUMN found_us INTEGER;
    INSERT INTO request (endpoint_id, method, path, status, traffic)
        SELECT DISTINCT endpoint_id, method, '', status, traffic FROM access;
    INSERT INTO entry
        SELECT a.time_us, a.key, a.identity_id, r.id, a.agent_id, a.path, a.request_time_us, a.upstream_time_us,
               a.app_time_us, a.bytes_sent, a.trace_id, a.span_id, a.error_type, a.identified_us
        FROM access a CROSS JOIN request r ON r.path = '' AND (r.endpoint_id, r.method, r.status, r.traffic)
            = (a.endpoint_id, a.method, a.status, a.traffic)
        ORDER BY a.time_us, a.key;
    DROP TABLE access;
"""
_ACCESS = f"""
    CREATE VIEW access AS
        SELECT time_us, key, identity_id, endpoint_id, agent_id, method, ifnull(entry.path, request.path) AS path,
               status, traffic, request_time_us, upstream_time_us, app_time_us, bytes_sent, trace_id,
               iif(span_id = 0, x'{ROOT_SPAN_ID}', span_id) AS span_id, error_type, ifnull(
                   identified_us, (SELECT found_us FROM identity WHERE identity.id = identity_id)
               ) AS identified_us
        FROM entry CROSS JOIN request ON request.id = entry.request_id;
"""  # noqa: S608  # our own words
_IDENTITY = """
        id INTEGER PRIMARY KEY,
        address TEXT NOT NULL, kind TEXT NOT NULL, user TEXT NOT NULL, device TEXT NOT NULL,
        node_id TEXT NOT NULL, tags TEXT NOT NULL, provider TEXT NOT NULL, user_id TEXT NOT NULL, via TEXT NOT NULL,
        reason TEXT NOT NULL, expired INTEGER NOT NULL, named_us INTEGER NOT NULL DEFAULT 0
"""
_BY_ADDRESS = f"""
    CREATE TABLE slim ({_IDENTITY}, found_us INTEGER);
    INSERT INTO slim SELECT * FROM identity;
    DROP VIEW access;
    DROP TABLE identity;
    ALTER TABLE slim RENAME TO identity;
    {anonymous.MIGRATION};
    CREATE INDEX identity_by_address ON identity (address);
"""  # noqa: S608  # our own words
"""An index of all columns was as large as the table: an address is enough to find who had it."""
MIGRATIONS = (
    _META + f"""
    CREATE TABLE identity (
        {_IDENTITY},
        UNIQUE (address, kind, user, device, node_id, tags, provider, user_id, via, reason, expired)
    );
    """
    """
    CREATE TABLE endpoint (
        id INTEGER PRIMARY KEY, service TEXT NOT NULL, route TEXT NOT NULL, UNIQUE (service, route)
    );
    CREATE TABLE agent (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
    CREATE TABLE access (
        time_us INTEGER NOT NULL, key INTEGER NOT NULL,
        identity_id INTEGER NOT NULL, endpoint_id INTEGER NOT NULL, agent_id INTEGER NOT NULL,
        method TEXT NOT NULL, path TEXT NOT NULL, status INTEGER NOT NULL, traffic INTEGER NOT NULL,
        request_time_us INTEGER, upstream_time_us INTEGER, app_time_us INTEGER, bytes_sent INTEGER NOT NULL,
        trace_id BLOB, span_id BLOB, error_type TEXT, identified_us INTEGER NOT NULL,
        PRIMARY KEY (time_us, key)
    ) WITHOUT ROWID;
    CREATE TABLE refusal (
        file TEXT NOT NULL, position INTEGER NOT NULL, reason TEXT NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (file, position)
    ) WITHOUT ROWID;
    CREATE TABLE hour (
        step INTEGER PRIMARY KEY, minutes INTEGER NOT NULL, answered INTEGER NOT NULL,
        usage_0 INTEGER NOT NULL, usage_15 INTEGER NOT NULL, usage_30 INTEGER NOT NULL, usage_45 INTEGER NOT NULL
    );
    """
    + "".join(_USAGE.format("usage" + of + size) for of in ("", "_identity", "_endpoint") for size in ("", "_day"))
    + "".join(
        _PACKED.format(table + size, columns)
        for table, columns in (
            ("visit", "visits BLOB NOT NULL, runs"),
            ("latency", "proxy BLOB NOT NULL, app"),
            ("latency_all", "proxy"),
        )
        for size in ("", "_day")
    ),
    minutes.MIGRATION + alert_events.MIGRATION,
    traces.MIGRATION,
    _REQUESTS + _ACCESS,
    anonymous.MIGRATION,
    both_times.MIGRATION,
    failures.MIGRATION,
    brief.MIGRATION + _BY_ADDRESS + _ACCESS,
    "DROP VIEW access;" + _ACCESS,
    anonymous.SHARED_MIGRATION + brief.BY_IDENTITY,
)

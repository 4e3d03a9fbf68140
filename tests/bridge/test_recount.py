"""What the SQLite store has rolled up is what a recount of all its requests gives, however they came in batches."""

import sqlite3
from collections import Counter
from operator import itemgetter

from hypothesis import given, settings
from hypothesis import strategies as st

from tailtrace_bridge.core.columns import Columns, RequestShape
from tailtrace_bridge.core.histogram import bucket_of
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.packed import add_counts, unpack_runs
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.tally import tally
from tailtrace_bridge.store.values import DAY_US, HOUR_US, MINUTE_US

T0 = 1_759_924_800_000_000
ENDPOINTS = [("shop", "/a"), ("shop", "/b"), ("desk", "/a"), ("desk", "/a")]
"""Two places of a batch may be one in the store; so may two identities."""
ASKED = [
    RequestShape(0, "GET", "/a", 200, 0), RequestShape(0, "GET", "/b", 500, 0), RequestShape(1, "GET", "/a", 200, 4),
    RequestShape(1, "POST", "/a", 0, 1), RequestShape(3, "GET", "/c", 200, 0), RequestShape(2, "GET", "/d", 404, 3),
    RequestShape(2, "GET", "/d", 503, 0),
]  # fmt: skip
PEOPLE = [
    Identity("100.64.0.1", "user", "ana"),
    Identity("9.9.9.9"),
    Identity("100.64.0.1", "user", "ana"),
    Identity("8.8.8.8"),
]
MOMENTS = (0, 1, MINUTE_US - 1, MINUTE_US, 30 * MINUTE_US, 30 * MINUTE_US + 1, HOUR_US - 1, HOUR_US, DAY_US - 1, DAY_US)
TIMES = st.one_of(st.integers(0, 50 * HOUR_US), st.sampled_from(MOMENTS))
TOOK = st.one_of(st.none(), st.integers(0, 3_000_000), st.sampled_from((0, 1, 10**13)))
ROWS = st.tuples(
    TIMES, st.integers(0, len(PEOPLE) - 1), st.integers(0, len(ASKED) - 1), TOOK, TOOK, st.integers(0, 10**13)
)
OF_USAGE = {0, 4}


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(ROWS, max_size=25), min_size=1, max_size=3),
    zero=st.sampled_from((T0, 0)),
    in_order=st.booleans(),
    timeless=st.booleans(),
    counts_elsewhere=st.booleans(),
)
def test_rollups_are_those_of_a_recount(tmp_path_factory, batches, zero, in_order, timeless, counts_elsewhere):
    path = tmp_path_factory.mktemp("store") / "rollups.db"
    store, all_rows = SqliteStore(str(path)), []
    for batch in batches:
        rows = [(zero + at, *rest) for at, *rest in (sorted(batch, key=itemgetter(0)) if in_order else batch)]
        if timeless:
            rows = [(*row[:3], None, None, row[5]) for row in rows]
        columns = columns_of(rows, first_key=len(all_rows))
        counted = tally(columns) if counts_elsewhere else None
        store.write_columns(columns, (), counted)
        all_rows += rows
    store.close()
    with sqlite3.connect(path) as connection:
        found, expected = totals_of(connection), recount(all_rows, ids_of(connection))
    assert found == expected


def columns_of(rows, first_key):
    at, who, request, took_us, app_us, sent = [list(column) for column in zip(*rows, strict=True)] or [[]] * 6
    none = [None] * len(rows)
    return Columns(
        PEOPLE, ENDPOINTS, ASKED, ["agent"], [T0] * len(PEOPLE), at, [first_key + number for number in range(len(rows))],
        who, request, [0] * len(rows), took_us, none, app_us, sent, none, none, none,
    )  # fmt: skip


def ids_of(connection):
    addresses = dict(connection.execute("SELECT address, id FROM identity").fetchall())
    endpoints = {(service, route): number for number, service, route in connection.execute("SELECT * FROM endpoint")}
    return addresses, endpoints


def recount(rows, ids):
    """Return every rollup by its table and key: numbers added up, packed cells unpacked."""
    addresses, endpoints = ids
    found, runs = {}, {}
    for at_us, place, asked, took_us, app_us, sent in rows:
        _, method, _, status, traffic = ASKED[asked]
        service, route = ENDPOINTS[ASKED[asked].endpoint]
        who, where = addresses[PEOPLE[place].address], endpoints[service, route]
        sums = sums_of(took_us, app_us, sent)
        for size, step in (("", at_us // HOUR_US), ("_day", at_us // DAY_US)):
            for key in (
                (f"usage{size}", step, who, where, method, status, traffic),
                (f"usage_identity{size}", step, who, 0, "", status, traffic),
                (f"usage_endpoint{size}", step, 0, where, "", status, traffic),
            ):
                found.setdefault(key, Counter()).update(sums)
            if traffic in OF_USAGE:
                found.setdefault((f"visits{size}", step, who), Counter())[where << 1 | (traffic == 4)] += 1
                runs.setdefault((f"runs{size}", step, who), []).append((at_us, at_us, 1))
            for side, took in (("proxy", took_us), ("app", app_us)):
                if took is not None:
                    found.setdefault((f"latency_{side}{size}", step, where), Counter())[bucket_of(took)] += 1
            if took_us is not None:
                found.setdefault((f"latency_all{size}", step), Counter())[bucket_of(took_us)] += 1
        if status:
            number = at_us // MINUTE_US % 60 * 2 + (status >= 500)
            found.setdefault(("uptime", at_us // HOUR_US, service), Counter())[number] += 1
        if traffic in OF_USAGE:
            found.setdefault(("hour", at_us // HOUR_US), Counter())[at_us % HOUR_US // (15 * MINUTE_US)] += 1
    counted = {key: without_zeros(counts) for key, counts in found.items()}
    return counted | {key: merged(moments) for key, moments in runs.items()}


def totals_of(connection):
    """Return what a store has rolled up, like `recount`; the rows of `brief` are counted where it lacks them."""
    found, runs = rolled_up(connection)
    moments = {}
    brief = connection.execute("SELECT * FROM brief ORDER BY time_us")
    for at_us, who, where, method, status, traffic, took_us, app_us, sent in brief:
        sums = sums_of(took_us, app_us, sent)
        for size, step in (("", at_us // HOUR_US), ("_day", at_us // DAY_US)):
            found.setdefault((f"usage{size}", step, who, where, method, status, traffic), Counter()).update(sums)
            found.setdefault((f"usage_identity{size}", step, who, 0, "", status, traffic), Counter()).update(sums)
            if traffic in OF_USAGE:
                found.setdefault((f"visits{size}", step, who), Counter())[where << 1 | (traffic == 4)] += 1
                moments.setdefault((f"runs{size}", step, who), []).append((at_us, at_us, 1))
    runs |= {key: merged([*runs.get(key, []), *these]) for key, these in moments.items()}
    return {key: left for key, counts in found.items() if (left := without_zeros(counts))} | runs


def rolled_up(connection):
    found, runs = {}, {}
    for size in ("", "_day"):
        for table in ("usage", "usage_identity", "usage_endpoint"):
            rows = connection.execute(f"SELECT * FROM {table}{size}")
            names = [one[0] for one in rows.description]
            for row in rows:
                found[table + size, *row[:6]] = Counter(dict(zip(names[6:], row[6:], strict=True)))
        for key, visits, cell in connection.execute(f"SELECT * FROM visit{size}"):
            found[f"visits{size}", key >> 32, key & 0xFFFFFFFF] = unpacked(visits)
            runs[f"runs{size}", key >> 32, key & 0xFFFFFFFF] = unpack_runs(cell)
        for key, proxy, app in connection.execute(f"SELECT * FROM latency{size}"):
            found[f"latency_proxy{size}", key >> 32, key & 0xFFFFFFFF] = unpacked(proxy)
            found[f"latency_app{size}", key >> 32, key & 0xFFFFFFFF] = unpacked(app)
        for key, cell in connection.execute(f"SELECT * FROM latency_all{size}"):
            found[f"latency_all{size}", key >> 32] = unpacked(cell)
    for step, service, cell in connection.execute("SELECT * FROM uptime"):
        found["uptime", step, service] = unpacked(cell)
    for step, *quarters in connection.execute("SELECT * FROM hour"):
        found["hour", step] = Counter(dict(enumerate(quarters)))
    return found, runs


def sums_of(took_us, app_us, sent):
    has_both = took_us is not None and app_us is not None
    return Counter(
        requests=1, timed=took_us is not None, request_time_us=took_us or 0, app_timed=app_us is not None,
        app_time_us=app_us or 0, bytes_sent=sent, both_timed=has_both, outside_us=took_us - app_us if has_both else 0,
    )  # fmt: skip


def merged(runs):
    made = []
    for first, last, requests in sorted(runs):
        if made and first - made[-1][1] <= 30 * MINUTE_US:
            made[-1] = (made[-1][0], max(made[-1][1], last), made[-1][2] + requests)
        else:
            made.append((first, last, requests))
    return made


def unpacked(cell):
    counts = {}
    add_counts(counts, cell)
    return Counter(counts)


def without_zeros(counts):
    return {name: count for name, count in counts.items() if count}

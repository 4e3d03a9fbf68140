"""Forgetting a person in InfluxDB where it is more than rows: sums whose rows expired, raw spans, other sources."""

import itertools
import json
import time
import urllib.request
import zlib
from base64 import b64decode

import pytest

from tailtrace_bridge.core.records import Access, Identity, KeptTrace, Row, Traffic
from tailtrace_bridge.store.influx import traces as kept_traces
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.delete import VALUES_MAX
from tailtrace_bridge.store.influx.wire.query import InfluxQL, Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, By, Filters, Window

pytestmark = pytest.mark.influxdb
S = 1_000_000
T0 = 1_759_924_800 * S
ANA = Identity("100.64.0.7", "user", 'ana "x", y@example.com', "ana laptop", "n1", "", "localapi", "u1")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "static")
WINDOW = Window(T0 - DAY_US, T0 + DAY_US)
BUCKETS = itertools.count()


def row(n, who, trace=""):
    access = Access(
        T0 + n * 61 * S, 10 * n + (who is ANA), who.address, "GET", "/a", 200, 5_000, None, True, 10, "", trace, "", "curl", ""
    )  # fmt: skip
    return Row(access, who, "/a" if n % 2 else f"/{who.device}", Traffic.APP, None, "")


@pytest.fixture
def make(influxdb):
    made, bucket = [], f"erase-{next(BUCKETS)}"
    ticks = itertools.count(T0 + 30 * DAY_US, 1_000)
    server = Server(influxdb.url, influxdb.org, influxdb.token)

    def store(source="a", **more):
        timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, lambda: 0.5, lambda: next(ticks))
        made.append(InfluxStore(InfluxConfig(server, bucket, source, **more), timing, is_rolling=False))
        return made[-1]

    store.influx, store.bucket, store.org = InfluxQL(server), bucket, server.org
    yield store
    for one in made:
        one.close()
    store.influx.close()


def sums(store):
    usages = sorted(store.usage(Scope.everybody(), WINDOW, Filters()), key=repr)
    return (
        usages,
        sorted(store.usage(Scope.everybody(), WINDOW, Filters(), By.ENDPOINT), key=repr),
        store.activity(Scope.everybody(), WINDOW),
    )


def delete_rows(make):
    body = {"start": "1970-01-01T00:00:00Z", "stop": "2262-01-01T00:00:00Z"}
    status, _ = make.influx.call("POST", f"/api/v2/delete?org={make.org}&bucket={make.bucket}", body=body)
    assert status == 204


def test_sums_whose_rows_have_expired(make):
    store, reader = make(), make()
    store.write([row(n, who) for n in range(40) for who in (ANA, BEN)])
    store.settle()
    assert ANA in {one.identity for one in sums(reader)[2]}
    delete_rows(make)  # as the bucket's retention does
    other = InfluxStore(InfluxConfig(store._config.server, f"{make.bucket}-ben", "a"), store._timing, is_rolling=False)
    other.write([row(n, BEN) for n in range(40)])
    other.settle()
    done = store.erase(Person(user=ANA.user), is_dry=False)
    assert (done.requests, done.rows, done.identities) == (40, 0, (ANA,))
    assert sums(store) == sums(other)
    assert sums(reader) == sums(other), "what another process keeps in mind is not given any more"
    assert [one.identity for one in store.named(Scope.everybody())] == [BEN]
    # A route that nobody else asked for stays with its durations: it is the app's, and of nobody.
    stored = everything_stored(make)
    assert [
        text for text in ("y@example.com", "100.64.0.7", "n1", "u1") if f'"{text}' in stored or f'{text}"' in stored
    ] == []
    other.close()


def everything_stored(make):
    """All texts that queries can still give, chunks unpacked."""
    texts = []
    for bucket in (make.bucket, f"{make.bucket}_rollups"):
        for result in make.influx.query(bucket, "SELECT * FROM /.*/"):
            texts.append(json.dumps([dict(result.tags), result.rows]))
            values = [value for one in result.rows for value in one if isinstance(value, str)]
            texts += [
                zlib.decompress(b64decode(value)).decode("latin-1") for value in values if value[:2] in {"eJ", "eA"}
            ]
    return "\n".join(texts)


def test_all_sources_and_nothing_that_a_query_gives(make):
    stores = [make("a"), make("b")]
    for store in stores:
        store.write([row(n, who) for n in range(20) for who in (ANA, BEN)])
    stores[0].settle()
    assert "ana" in everything_stored(make)
    before = sums(stores[0])
    done = stores[1].erase(Person(device=ANA.device), is_dry=False)
    assert (done.rows, sum(one.requests for one in before[0])) == (40, 80)
    assert "ana" not in everything_stored(make)
    assert sum(one.requests for one in stores[0].usage(Scope.everybody(), WINDOW, Filters())) == 40


def test_kept_traces_that_a_function_chooses_of_all_sources(make, monkeypatch):
    monkeypatch.setattr(kept_traces, "BYTES_AT_ONCE", 250)
    stores = {source: make(source) for source in "ab"}
    for source, store in stores.items():
        rows = [row(n, BEN, f"{n:032x}") for n in range(9)]
        store.write(rows)
        kept = [
            KeptTrace(one.access.time_us, one.access.key, n.to_bytes(16), "error", 1, f"{source}{n}".encode() * 50)
            for n, one in enumerate(rows)
        ]
        assert store.keep_traces(kept, 1 << 20) == 9
    seen = []

    def is_chosen(data):
        seen.append(data[:2].decode())
        return data[:2] in {b"a0", b"a4", b"b4", b"b8"}

    assert stores["b"].drop_traces(is_chosen, is_dry=True) == 4
    assert seen == [f"{source}{n}" for source in "ab" for n in range(9)], "each is looked at once"
    assert stores["b"].drop_traces(is_chosen, is_dry=False) == 4
    seen.clear()
    assert stores["a"].drop_traces(is_chosen, is_dry=True) == 0
    assert seen == [f"a{n}" for n in (1, 2, 3, 5, 6, 7, 8)] + [f"b{n}" for n in (0, 1, 2, 3, 5, 6, 7)]


def test_raw_spans_of_their_traces(make, influxdb):
    spans = influxdb.new_bucket()
    theirs, others = [[f"{who}{n:031x}" for n in range(VALUES_MAX + 1)] for who in "ab"]
    store = make(spans_bucket=spans)
    store.write(
        [row(n, who, trace) for who, traces in ((ANA, theirs), (BEN, others)) for n, trace in enumerate(traces)]
    )
    written = [f"spans,trace_id={trace},span_id=c duration_nano=1i {T0 * 1000}" for trace in (*theirs, *others)]
    request = urllib.request.Request(
        f"{influxdb.url}/api/v2/write?org={influxdb.org}&bucket={spans}&precision=ns", "\n".join(written).encode(),
        {"Authorization": f"Token {influxdb.token}"},
    )  # fmt: skip
    urllib.request.urlopen(request, timeout=10).close()
    done = store.erase(Person(user=ANA.user), is_dry=False)
    assert done.spans == len(theirs)
    left = make.influx.query(spans, 'SELECT * FROM "spans" GROUP BY *')
    assert sorted(result.tags["trace_id"] for result in left) == others

"""Who asks for one person fetches the texts with theirs alone, whoever wrote the rollups."""

import itertools
import time

import pytest

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.rollups import encoding, owners
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Tables, decode, encode, texts_of
from tailtrace_bridge.store.influx.rollups.whose import Called, Whose
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.query import InfluxQL, Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, By, Filters, Window

S = 1_000_000
DAY = Window(20_000 * DAY_US, 20_001 * DAY_US)
STRANGER = Identity("203.0.113.9", "anonymous")
PEOPLE = [
    Identity(f"100.64.0.{n}", "user", f"p{n}@example.com", f"laptop{n}", f"n{n}", "", "localapi") for n in range(5)
]
BUCKETS = itertools.count()


def whose(person):
    return Whose(None, (Called("user", "user_id", person.user, frozenset(), frozenset()),), ())


def test_a_text_says_whose_rows_it_has(monkeypatch):
    monkeypatch.setattr(encoding, "DOCUMENT_ROWS", 2)
    tables = Tables()
    rows = [(tables.identities[one], 600 + n, 620, 1) for n in range(2) for one in (STRANGER, *PEOPLE)]
    texts = texts_of(Kind.RUNS, [rows], tables)
    assert len(texts) == 6, "one for each: nobody is in two"

    def theirs(asked):
        find = asked.finder()
        points = [(at, 5, len(texts), one.who, 5) for at, one in enumerate(texts)]
        return [at for at, one in enumerate(points) if owners.may_have(one, find, by_address=asked.by_address)]

    for asked, expected in (
        (whose(PEOPLE[3]), [3]),
        (whose(PEOPLE[3])._replace(address=STRANGER.address), []),
        (Whose(STRANGER.address, (), ()), [5]),
        (Whose(None, (), (Called("user", "user_id", "100.64.0.1", frozenset(), frozenset()),)), [1, 5]),
    ):
        assert theirs(asked) == expected
        find = asked.finder()
        some = decode(Kind.RUNS, [texts[at].data for at in expected], tables, find) if expected else []
        assert some == decode(Kind.RUNS, [one.data for one in texts], tables, find)


def test_the_devices_of_a_person_are_in_one_text(monkeypatch):
    monkeypatch.setattr(encoding, "DOCUMENT_ROWS", 2)
    tables = Tables()
    devices = [one._replace(user="ana@example.com") if n % 3 == 0 else one for n, one in enumerate(PEOPLE)]
    rows = [(tables.identities[one], 600, 620, 1) for one in devices]
    texts = texts_of(Kind.RUNS, [rows], tables)
    find = whose(devices[0]).finder()
    assert [owners.may_have((0, 5, 3, one.who, 5), find, by_address=False) for one in texts] == [True, False, False]


def test_of_another_making_or_of_none_it_may_be_anybodys():
    find = whose(PEOPLE[0]).finder()
    of_another = owners.pack(PEOPLE[1:2])
    assert not owners.may_have((0, 7, 1, of_another, 7), find, by_address=False)
    assert owners.may_have((0, 8, 1, of_another, 7), find, by_address=False), "it was written over"
    assert owners.may_have((0, 8, 1, None, None), find, by_address=False)


def row(n, who):
    access = Access(
        DAY.start_us + n * 60 * S, n, who.address, "GET", "/a", 200, 9_000, None, True, 10, "", "", "", "curl", ""
    )
    return Row(access, who, "/a", Traffic.APP, None, "", 0)


ROWS = [row(n, who) for n, who in enumerate([*PEOPLE, STRANGER] * 7)]


@pytest.fixture
def store(influxdb, monkeypatch):
    monkeypatch.setattr(encoding, "DOCUMENT_ROWS", 1)
    timing = Timing(lambda: time.monotonic_ns() // 1000, lambda _: None, lambda: 0.5, lambda: time.time_ns() // 1000)
    config = InfluxConfig(Server(influxdb.url, influxdb.org, influxdb.token), f"owners-{next(BUCKETS)}", "a")
    made = InfluxStore(config, timing, is_rolling=False)
    made.write(ROWS)
    made.settle()
    made._reads.forget()
    yield made
    made.close()


def requests_of(store, filters):
    return sum(one.requests for one in store.usage(Scope.everybody(), DAY, filters, By.ENDPOINT))


@pytest.mark.influxdb
def test_others_are_not_fetched(store, monkeypatch):
    fetched = []
    query_all = InfluxQL.query_all

    def noted(self, bucket, texts, values=None):
        found = query_all(self, bucket, texts, values)
        fetched.extend(row[3] for text, of_text in zip(texts, found, strict=True) if '"data" FROM "usage"' in text
                       for one in of_text for row in one.rows)  # fmt: skip
        return found

    monkeypatch.setattr(InfluxQL, "query_all", noted)
    assert requests_of(store, Filters(user=PEOPLE[2].user)) == 7
    assert [one.user for text in fetched for one in encoding.identities_of([text])] == [PEOPLE[2].user]
    assert requests_of(store, Filters(address=STRANGER.address)) == 7
    assert requests_of(store, Filters()) == len(ROWS)


@pytest.mark.influxdb
def test_what_an_older_tailtrace_wrote_over_it_counts(store):
    reads, tables = store._reads, Tables()
    (part,) = reads.rollups.parts(DAY, Kind.USAGE, tables, (DAY_US,))
    as_of = reads.rollups.asofs(DAY_US, "a")[DAY.start_us] + 1
    rows = [row for row in part.rows for _ in range(2)]  # as many again, and those of others where theirs were
    whole = "".join(encode(Kind.USAGE, rows, tables))
    parts = len(PEOPLE) + 1
    length = -(-len(whole) // parts)
    tags = {"size": "1d", "source": "a"}
    store._open().write_rollups([
        lines.point(
            Kind.USAGE, tags, {"asof_us": as_of, "parts": parts, "data": whole[at * length : (at + 1) * length]},
            DAY.start_us * 1000 + at,
        )
        for at in range(parts)
    ])  # fmt: skip
    reads.forget()
    assert requests_of(store, Filters(user=PEOPLE[2].user)) == 14
    assert requests_of(store, Filters(address=STRANGER.address)) == 14

"""What a server is, and whether it computes as InfluxDB does: with real ones of each kind."""

import itertools
import time
from dataclasses import replace

import httpx
import pytest

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.delete import Deleter
from tailtrace_bridge.store.influx.wire.kind import Erases, Kind, kind_of
from tailtrace_bridge.store.influx.wire.probe import AGAIN, FIRST, LARGE, TEXT, find_wrong
from tailtrace_bridge.store.influx.wire.query import InfluxQL, Server
from tailtrace_bridge.store.influx.wire.setup import Bucket, ensure
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import Filters, Window

NAMES = itertools.count()
NOW_S = 1_759_924_800
ROW = Row(
    Access(NOW_S * 10**6, 1, "100.64.0.7", "GET", "/a", 200, 5_000, None, True, 10, "shop", "", "", "curl/8", ""),
    Identity("100.64.0.7", "user", "ana@example.com", "laptop", "n1", "", "localapi"),
    "/a", Traffic.APP, None, "", 0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "shown", "erases", "is_known"),
    [
        ({"x-influxdb-version": "v2.7.12", "x-influxdb-build": "OSS"}, "InfluxDB 2.7.12", "/api/v2/delete", True),
        ({"x-influxdb-version": "2.9.1"}, "InfluxDB 2.9.1", "/api/v2/delete", True),
        ({"x-influxdb-version": "1.13.2"}, "InfluxDB 1.13.2", "DELETE", True),
        ({"x-influxdb-version": "1.8.10"}, "InfluxDB 1.8.10", "DELETE", True),
        ({"x-influxdb-build": "Cloud", "x-influxdb-version": "abc"}, "InfluxDB abc", "/api/v2/delete", True),
        ({"x-influxdb-version": "3.0.1"}, "unknown server 3.0.1", "", False),
        ({"x-geminidb-version": "", "x-geminidb-build": "OSS"}, "openGemini", "", False),
        ({"server": "nginx"}, "unknown server", "", False),
    ],
)
def test_what_a_server_is(said, shown, erases, is_known):
    kind = kind_of(said)
    assert (str(kind), kind.erases, kind.is_known) == (shown, erases, is_known)


def store_on(server, bucket):
    timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, lambda: 0.5, lambda: NOW_S * 10**6)
    config = InfluxConfig(Server(server.url, server.org, server.token), bucket, "a")
    return InfluxStore(config, timing, is_rolling=False)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("influxdb", "InfluxDB", marks=pytest.mark.influxdb),
        pytest.param("influxdb1", "InfluxDB 1", marks=pytest.mark.influxdb1),
    ],
)
def test_a_known_server_computes_as_it_should(request, name, shown):
    server, bucket = request.getfixturevalue(name), f"kind-{next(NAMES)}"
    influx = InfluxQL(Server(server.url, server.org, server.token))
    ensure(influx, server.url, server.org, Bucket(bucket, 0))

    def write(body):
        status, said, _ = influx.post_lines(f"/write?db={bucket}&precision=ns", body)
        assert status == 204, said

    def ask(text, values):
        return [(one.tags, one.rows) for one in influx.query(bucket, text, values)]

    assert find_wrong(write, ask, "abc", NOW_S * 10**9) is None
    store = store_on(server, bucket)
    assert store.about().startswith(shown)
    store.close()
    influx.close()


def good(text):
    if text.startswith("SELECT count"):
        return [({"who": "ana"}, [[0, 2, AGAIN + 4, 4]]), ({"who": "ben"}, [[0, 1, LARGE, LARGE]])]
    if text.startswith('SELECT "n"'):
        return [({}, [[2, 4]])]
    return [({}, [[place, who, n, n % 2 == 0, TEXT] for place, (who, n) in enumerate(FIRST)])]


@pytest.mark.parametrize(
    ("asked", "answer", "says"),
    [
        ('SELECT "who"', [], "are not there to be read"),
        ('SELECT "who"', [({}, [[0, "ana", 2, 1.0, TEXT]])], "were read as"),
        ("SELECT count", [({"who": "ana"}, [[0, 3, AGAIN + 6, 4]])], "written again"),
        ("SELECT count", [({"who": "ana"}, [[0, 2, 10, 4]]), ({"who": "ben"}, [[0, 1, 2.0**53, 0]])], "count, sum"),
        ('SELECT "n"', [({}, [[0, AGAIN]])], "newest"),
        ('SELECT "n"', [], "newest"),
    ],
)
def test_each_thing_that_is_wrong_is_seen(asked, answer, says):
    def ask(text, _values):
        return answer if text.startswith(asked) else good(text)

    assert find_wrong(lambda _: None, lambda text, _: good(text), "x", 10**18) is None
    assert says in find_wrong(lambda _: None, ask, "x", 10**18)


@pytest.mark.opengemini
@pytest.mark.parametrize(
    ("is_tried", "says"),
    [
        (False, r"openGemini is refused: while nodes of it are dead .* leave points out .*use InfluxDB 1\.8"),
        (True, r"openGemini does not compute .*not there to be read.*use InfluxDB 1\.8"),
    ],
    ids=["known to be wrong", "probed"],
)
def test_a_cluster_that_answers_short_is_refused_for_reading_and_writing(opengemini, is_tried, says):
    """Its index takes a second to show a new series; `bench/cluster.py` has what it says with nodes dead."""
    bucket = f"kind{next(NAMES)}"
    for call in (
        lambda store: store.write([ROW]),
        lambda store: store.log(Scope.everybody(), Window(0, 2**53), Filters(), 10, None),
        lambda store: store.about(),
    ):
        store = store_on(opengemini, bucket)
        if is_tried:
            influx = store._reads.influx
            influx._kind = replace(influx.kind, wrong="")
        with pytest.raises(StoreError, match=says):
            call(store)
        store.close()
    databases = httpx.get(f"{opengemini.url}/query", params={"q": "SHOW DATABASES"}).text
    assert (bucket in databases) is is_tried, "nothing is made where nothing will be written"


def test_a_server_that_shows_a_new_series_by_luck_once_is_seen():
    """It shows them each second; the first question came right after one."""
    asked = itertools.count()

    def ask(text, _values):
        return good(text) if next(asked) < 3 else []

    assert "are not there to be read" in find_wrong(lambda _: None, ask, "x", 10**18)


def test_who_cannot_delete_is_refused_before_anything_is_removed():
    class Influx:
        kind = Kind("newcomer", "1", False, "/write", Erases.NOTHING, False)

    store = store_on(Server("http://127.0.0.1:1", "", ""), "b")
    store._delete = Deleter(Influx(), "http://127.0.0.1:1", "")
    with pytest.raises(StoreError, match="newcomer 1 cannot delete single points, and nothing was removed"):
        store.erase(Person(user="ana@example.com"), is_dry=False)
    store.close()

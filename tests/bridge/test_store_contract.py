"""What every store promises, run over each; and that both give the same answers on the same input."""

import gzip
import itertools
import json
import random
import threading
import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime

import pytest

from tailtrace_api.queries.requests import Queries, stored_days
from tailtrace_bridge.core.records import Access, Failure, Identity, KeptTrace, Marker, RejectedLine, Row, Traffic
from tailtrace_bridge.identity.chain import Identities
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.rows.traffic import HEALTH_PATHS
from tailtrace_bridge.store.influx import failures as influx_failures
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.setup import ROLLUPS_SUFFIX
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.scope import Scope, ScopeError
from tailtrace_bridge.store.sqlite import failures as sqlite_failures
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import (
    BACK_US,
    DAY_US,
    HOUR_US,
    MARKERS_MAX,
    Activity,
    AlertEvent,
    BucketUsage,
    By,
    EndpointBucket,
    ErrorGroup,
    Filters,
    Quarter,
    UptimeHour,
    Usage,
    Visits,
    Window,
    Written,
)
from tailtrace_bridge.testing import FakeClock, FakeProvider
from tailtrace_bridge.traces.joined import failed_requests, join_groups
from tailtrace_bridge.transfer.importer import import_logs

S = 1_000_000
T0 = 1_759_924_800 * S  # 2025-10-08T12:00:00Z, a whole hour
DAY = Window(T0 - DAY_US, T0 + DAY_US)
ALL = Filters()
EVERYBODY = Scope.everybody()
BUCKETS = itertools.count()
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "static")
CI = Identity("fd7a:115c:a1e0::9", "tagged", "", "runner", "n3", "tag:ci,tag:server", "localapi", expired=True)
STRANGER = Identity("203.0.113.9", "external")


def row(
    at_us, key, who=ANA, route="/a", status=200, *, method="GET", traffic=Traffic.APP, took_us=5_000, app_us=None,
    sent=10, error="", trace="", service="factory", path=None, named_us=0,
):  # fmt: skip
    access = Access(
        at_us, key, who.address, method, route if path is None else path, status, took_us, None, True, sent, service,
        trace, trace[:16], "curl/8", "",
    )  # fmt: skip
    return Row(access, who, route, traffic, app_us, error, named_us)


ROWS = [
    row(T0, 1, app_us=4_000, trace="ab" * 16),
    row(T0 + 10 * S, 2, took_us=7_001),
    row(T0 + 70 * S, 3, BEN, "/b", 503, method="POST", error="TimeoutError", sent=3),
    row(T0 + HOUR_US, 4, CI, "/health", traffic=Traffic.HEALTH, took_us=None, service=""),
]


@pytest.fixture
def clock():
    ticks = itertools.count(T0 + 30 * DAY_US, 1_000)
    return lambda: next(ticks)


SERVERS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("influxdb", "influxdb1")]
each_server = pytest.mark.parametrize("server", SERVERS)


@pytest.fixture
def make_influx(request, clock):
    """Makes stores in one bucket: `make_influx(source="b")` is a second bridge."""
    asked = request.node.callspec.params
    name = asked.get("server") or asked["store"]
    made, used, bucket = [], set(), f"contract-{next(BUCKETS)}"

    def make(source="a", bucket=bucket, **config):
        server = request.getfixturevalue(name)
        timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, lambda: 0.5, clock)
        settings = InfluxConfig(Server(server.url, server.org, server.token), bucket, source, **config)
        made.append(InfluxStore(settings, timing, is_rolling=False))
        used.update((bucket, bucket + ROLLUPS_SUFFIX))
        return made[-1]

    yield make
    for store in made:
        store.close()
    if used:
        request.getfixturevalue(name).drop(*used)


@pytest.fixture
def sqlite(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    yield made
    made.close()


@pytest.fixture(params=["sqlite", *SERVERS])
def store(request):
    return request.getfixturevalue("sqlite") if request.param == "sqlite" else request.getfixturevalue("make_influx")()


@pytest.fixture(params=["as written", "rolled up"])
def settle(request):
    """What is asked right after a write, or after the store has put its sums in order."""

    def do(store):
        if request.param == "rolled up" and isinstance(store, InfluxStore):
            store.settle()

    return do


def everything(store, window=DAY):
    return (
        store.log(Scope.everybody(), window, ALL, 1_000, None),
        sorted(store.usage(Scope.everybody(), window, ALL), key=repr),
        store.bucket_usage(Scope.everybody(), window, HOUR_US),
        store.bucket_usage(Scope.everybody(), window, DAY_US),
        *(sorted(store.endpoint_buckets(Scope.everybody(), window, bucket_us, ALL)) for bucket_us in (HOUR_US, DAY_US)),
        sorted(store.latency(Scope.everybody(), window)),
        sorted(store.bucket_latency(Scope.everybody(), window, HOUR_US)),
        sorted(store.activity(Scope.everybody(), window), key=repr),
        store.quarters(Scope.everybody(), window),
        store.uptime(Scope.everybody(), window),
        sorted(store.visits(Scope.everybody(), window), key=repr),
        *(sorted(store.usage(Scope.everybody(), window, ALL, by), key=repr) for by in (By.IDENTITY, By.ENDPOINT)),
        store.rows(Scope.everybody(), window, None, 10_000),
        store.named(Scope.everybody()),
        store.newest_us(Scope.everybody()),
    )


def test_an_empty_store_answers(store):
    assert store.write([]) == Written(0, 0)
    assert everything(store) == (*([],) * 16, None)


def test_rows_come_back_whole(store, settle):
    assert store.write(ROWS) == Written(4, 0)
    settle(store)
    newest = store.log(Scope.everybody(), DAY, ALL, 10, None)
    assert [entry.key for entry in newest] == [4, 3, 2, 1]
    assert newest[3] == (
        T0, 1, ANA, "factory", "/a", "GET", "/a", 200, Traffic.APP, 5_000, 4_000, 10, "ab" * 16, "", 0, None, "ab" * 8, "curl/8",
    )  # fmt: skip
    assert newest[0].identity == CI
    assert newest[0].request_time_us is None
    assert newest[1].error_type == "TimeoutError"
    assert store.newest_us(Scope.everybody()) == T0 + HOUR_US


@pytest.mark.parametrize("is_settled", [True, False])
@pytest.mark.parametrize(
    "filters",
    [
        ALL, Filters(user=ANA.user), Filters(user=BEN.user, status="5xx"), Filters(user=ANA.user, endpoint="/a"),
        Filters(device=CI.device), Filters(address=BEN.address), Filters(status="200"), Filters(endpoint="/b"),
        Filters(user=ANA.user, method="GET"), Filters(method="POST"),
    ],
)  # fmt: skip
def test_steps_of_all_endpoints_are_those_of_each_added_up(store, settle, filters, is_settled):
    store.write(ROWS)
    if is_settled:
        settle(store)
    expected: dict[tuple[int, Traffic], list[int]] = {}
    for one in store.endpoint_buckets(Scope.everybody(), DAY, HOUR_US, filters):
        total = expected.setdefault((one.time_us, one.traffic), [0, 0])
        total[0] += one.requests
        total[1] += one.errors
    assert sum(requests for requests, _ in expected.values()) == len(
        store.log(Scope.everybody(), DAY, filters, 100, None)
    )
    steps = store.endpoint_buckets(Scope.everybody(), DAY, HOUR_US, filters, By.ALL)
    assert {(one.time_us, one.traffic): [one.requests, one.errors] for one in steps} == expected
    assert {one.endpoint for one in steps} <= {""}


def test_from_when_until_when_there_are_requests(store, settle):
    """Of all times since 1970, and of one person: who found nothing is told where something is."""
    store.write([])
    assert stored_days(store, Scope.everybody(), T0) is None
    store.write([row(T0 - 900 * DAY_US, 1), row(T0, 2), row(T0 + DAY_US, 3, BEN)])
    settle(store)
    days = [f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d}" for at_us in (T0 - 900 * DAY_US, T0, T0 + DAY_US)]
    now_us = T0 + 30 * DAY_US
    assert stored_days(store, Scope.everybody(), now_us) == (days[0], days[2])
    assert stored_days(store, Scope.member(ANA.user), now_us) == (days[0], days[1])
    assert stored_days(store, Scope.member(BEN.user), now_us) == (days[2], days[2])
    assert stored_days(store, Scope.member("nobody@example.com"), now_us) is None


@pytest.mark.parametrize("by", [By.ENDPOINT, By.ALL])
def test_buckets_of_less_than_an_hour_are_made_of_the_requests(store, settle, by):
    store.write([*ROWS, row(T0 + 25 * 60 * S, 5, took_us=9_000)])
    settle(store)
    everybody, window = Scope.everybody(), Window(T0 + 1, T0 + HOUR_US + 1)
    a, b, health = ("/a", "/b", "/health") if by is By.ENDPOINT else ("", "", "")
    service = "factory" if by is By.ENDPOINT else ""
    minute, ten = 60 * S, 600 * S
    assert sorted(store.endpoint_buckets(everybody, window, minute, ALL, by)) == [
        EndpointBucket(T0, a, Traffic.APP, 1, 0, service),
        EndpointBucket(T0 + minute, b, Traffic.APP, 1, 1, service),
        EndpointBucket(T0 + 25 * minute, a, Traffic.APP, 1, 0, service),
        EndpointBucket(T0 + HOUR_US, health, Traffic.HEALTH, 1, 0),
    ]
    assert store.endpoint_buckets(everybody, window, minute, Filters(user=BEN.user), by) == [
        EndpointBucket(T0 + minute, b, Traffic.APP, 1, 1, service)
    ]
    assert store.bucket_usage(everybody, window, ten, "factory") == [
        BucketUsage(T0, 2, 1, 2, 12_001), BucketUsage(T0 + 2 * ten, 1, 0, 1, 9_000),
    ]  # fmt: skip
    for one in (None, "factory"):
        times = store.bucket_latency(everybody, window, minute, one)
        assert [(cell.time_us, cell.requests) for cell in times] == [
            (T0, 1), (T0 + minute, 1), (T0 + 25 * minute, 1),
        ]  # fmt: skip


def test_whether_anything_was_asked_for(store, settle):
    store.write(ROWS)
    settle(store)
    times = sorted(one.access.time_us for one in ROWS)
    for window in (DAY, Window(times[0], times[0] + 1), Window(times[-1], DAY.end_us), Window(T0, T0 + HOUR_US)):
        assert store.has_any(Scope.everybody(), window)
    for window in (Window(times[0] - DAY_US, times[0]), Window(times[-1] + 1, times[-1] + 9 * DAY_US)):
        assert not store.has_any(Scope.everybody(), window)


@pytest.mark.parametrize("by", By)
@pytest.mark.parametrize("filters", [ALL, Filters(user="ana@example.com"), Filters(status="5xx")])
def test_requests_alone_are_the_same_requests(store, settle, by, filters):
    store.write(ROWS)
    settle(store)

    def counted(*, requests_only):
        found = store.usage(Scope.everybody(), DAY, filters, by, listed=(), requests_only=requests_only)
        return sorted((repr(one.identity), one.endpoint, one.status, one.traffic, one.requests) for one in found)

    assert counted(requests_only=True) == counted(requests_only=False) != []


def test_sums(store, settle):
    store.write(ROWS)
    settle(store)
    assert max(store.usage(Scope.everybody(), DAY, ALL), key=lambda one: one.requests) == Usage(
        ANA, "factory", "/a", "GET", 200, Traffic.APP, 2, 2, 12_001, 1, 4_000, 20, 1, 1_000
    )
    assert store.bucket_usage(Scope.everybody(), DAY, HOUR_US) == [
        BucketUsage(T0, 3, 1, 3, 17_001),
        BucketUsage(T0 + HOUR_US, 1, 0, 0, 0),
    ]
    assert sorted(store.endpoint_buckets(Scope.everybody(), DAY, HOUR_US, ALL)) == [
        EndpointBucket(T0, "/a", Traffic.APP, 2, 0, "factory"), EndpointBucket(T0, "/b", Traffic.APP, 1, 1, "factory"),
        EndpointBucket(T0 + HOUR_US, "/health", Traffic.HEALTH, 1, 0),
    ]  # fmt: skip
    assert store.endpoint_buckets(Scope.everybody(), DAY, DAY_US, Filters(user=ANA.user)) == [
        EndpointBucket(T0 // DAY_US * DAY_US, "/a", Traffic.APP, 2, 0, "factory")
    ]
    assert store.endpoint_buckets(Scope.everybody(), DAY, HOUR_US, ALL, By.ALL) == [
        EndpointBucket(T0, "", Traffic.APP, 3, 1), EndpointBucket(T0 + HOUR_US, "", Traffic.HEALTH, 1, 0),
    ]  # fmt: skip
    assert sorted(store.activity(Scope.everybody(), DAY), key=repr) == [
        Activity(ANA, [(T0, T0 + 10 * S, 2)]), Activity(BEN, [(T0 + 70 * S, T0 + 70 * S, 1)]),
    ]  # fmt: skip
    assert store.quarters(Scope.everybody(), DAY) == [Quarter(T0, 3)]
    assert store.uptime(Scope.everybody(), DAY) == [
        UptimeHour(T0, "factory", 0b11, 0, 0b10), UptimeHour(T0 + HOUR_US, "", 0b1, 0, 0),
    ]  # fmt: skip
    assert sorted(store.visits(Scope.everybody(), DAY), key=repr) == [
        Visits(ANA, "/a", Traffic.APP, 2, "factory"), Visits(BEN, "/b", Traffic.APP, 1, "factory"),
    ]  # fmt: skip
    assert {
        (one.status, one.requests)
        for one in store.usage(Scope.everybody(), DAY, ALL, By.ENDPOINT)
        if one.endpoint == "/a"
    } == {(200, 2)}
    assert {
        one.requests for one in store.usage(Scope.everybody(), DAY, Filters(method="GET", user=ANA.user), By.IDENTITY)
    } == {2}


def test_outside_the_app_is_of_requests_with_both_times(store, settle):
    store.write([
        row(T0, 1, took_us=9_000, app_us=8_000), row(T0, 2, took_us=50_000), row(T0, 3, took_us=None, app_us=70_000),
        row(T0 + HOUR_US, 4, took_us=8_000, app_us=8_700), row(T0 + 1, 5, BEN, took_us=3_000, app_us=1_000),
    ])  # fmt: skip
    settle(store)
    for window in (DAY, Window(T0, T0 + 2 * HOUR_US), Window(T0 - 1, T0 + HOUR_US + 7)):
        for by in By:
            found = store.usage(Scope.everybody(), window, ALL, by)
            assert (sum(one.both_timed for one in found), sum(one.outside_us for one in found)) == (3, 2_300)
        (of_ben,) = store.usage(Scope.everybody(), window, Filters(user=BEN.user))
        assert (of_ben.both_timed, of_ben.outside_us) == (1, 2_000)


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        ([200], "up"), ([500], "down"), ([499, 404, 302, 101], "up"), ([500] * 4, "down"), ([500] * 3 + [404], "partial"),
        ([500] * 59 + [200], "down"), ([500] * 3 + [200] * 2, "down"), ([500] * 3 + [200] * 3, "partial"), ([0], ""),
        ([0, 0, 0, 503], "down"), ([500, 200], "partial"),
    ],
)  # fmt: skip
def test_when_a_minute_is_down(store, settle, statuses, state):
    store.write([row(T0 + 7 * 60 * S + key, key, status=status) for key, status in enumerate(statuses)])
    settle(store)
    bits = [1 << 7 if state in which else 0 for which in (("up", "partial", "down"), ("partial",), ("down",))]
    assert store.uptime(Scope.everybody(), DAY) == ([UptimeHour(T0, "factory", *bits)] if state else [])


def test_two_services_are_up_or_down_each_by_itself(store, settle):
    routes = ("/", "/health", "/items/{id}")
    rows = [
        row(T0 + minute * 60 * S + key, key, BEN, routes[key % 3], 500 if service == "shop" and minute < 2 else 200, service=service)
        for minute in range(3)
        for key, service in enumerate(("shop", "wiki") * 6)
    ]  # fmt: skip
    for start in range(0, len(rows), 5):  # a minute comes in several batches
        store.write(rows[start : start + 5])
    settle(store)
    assert store.uptime(Scope.everybody(), DAY) == [
        UptimeHour(T0, "shop", 0b111, 0, 0b011), UptimeHour(T0, "wiki", 0b111, 0, 0),
    ]  # fmt: skip


def test_endpoints_of_one_name_are_told_apart_by_service(store, settle):
    rows = [row(T0 + key, key, route="/", service=f"app{key % 4}", took_us=1_000 * (1 + key % 4)) for key in range(20)]
    rows += [row(T0 + HOUR_US + 30, 99, BEN, "/", 500, service="app0")]
    store.write(rows)
    settle(store)
    everybody = Scope.everybody()
    services = [f"app{number}" for number in range(4)]
    for window in (DAY, Window(T0 - 1, T0 + HOUR_US + 31)):
        assert sorted({one.service for one in store.usage(everybody, window, ALL, By.ENDPOINT)}) == services
        assert {
            one.service: one.requests for one in store.latency(everybody, window) if one.requests > 1
        } == dict.fromkeys(services, 5)
        assert sorted({one.service for one in store.endpoint_buckets(everybody, window, HOUR_US, ALL)}) == services
        assert sorted({one.service for one in store.visits(everybody, window)}) == services
        for filters, count in (
            (Filters(service="app0"), 6),
            (Filters(service="app0", user=BEN.user), 1),
            (Filters(service="app1", user=BEN.user), 0),
        ):
            assert len(store.log(everybody, window, filters, 100, None)) == count
            for by in By:
                assert sum(one.requests for one in store.usage(everybody, window, filters, by)) == count
                assert (
                    sum(one.requests for one in store.endpoint_buckets(everybody, window, DAY_US, filters, by)) == count
                )
        assert store.bucket_usage(everybody, window, HOUR_US, "app0") == [
            BucketUsage(T0, 5, 0, 5, 5_000), BucketUsage(T0 + HOUR_US, 1, 1, 1, 5_000),
        ]  # fmt: skip
        assert store.bucket_usage(everybody, window, HOUR_US, "none") == []
        assert sum(one.requests for one in store.bucket_latency(everybody, window, HOUR_US, "app0")) == 6
        assert sum(one.requests for one in store.bucket_latency(everybody, window, DAY_US, "app3")) == 5


def test_a_replay_changes_nothing_though_it_says_something_else(store, settle):
    store.write(ROWS)
    settle(store)
    before = everything(store)
    # The same lines, read again when another person holds the address and the app's routes are known.
    replayed = [one._replace(identity=BEN, route="/other", app_time_us=1) for one in ROWS]
    assert store.write(replayed) == Written(0, 4)
    assert store.write([*replayed[:2], row(T0 + 5, 9), *replayed[2:]]) == Written(1, 4)
    settle(store)
    after = everything(store)
    assert [entry for entry in after[0] if entry.key != 9] == before[0]
    assert after[2][0].requests == before[2][0].requests + 1


def test_a_row_twice_in_a_batch_is_one(store):
    assert store.write([row(T0, 1), row(T0, 1), row(T0, 2)]) == Written(2, 1)


def test_many_requests_of_one_instant_stay_many(store, settle):
    # Keys that fall on the same offset within the millisecond, and the same user and endpoint.
    rows = [row(T0, 7 + 1_000_000 * number) for number in range(50)] + [row(T0 + 400, 3)]
    assert store.write(rows) == Written(51, 0)
    assert store.write(rows[::-1]) == Written(0, 51)
    settle(store)
    assert sum(one.requests for one in store.usage(Scope.everybody(), DAY, ALL)) == 51
    assert [entry.key for entry in store.log(Scope.everybody(), DAY, ALL, 2, None)] == [3, 49_000_007]


def test_pages_of_the_log_meet(store):
    rows = [row(T0 + place // 3 * S, key) for place, key in enumerate(random.Random(1).sample(range(10**9), 60))]
    store.write(rows)
    pages, before = [], None
    while page := store.log(Scope.everybody(), DAY, ALL, 7, before):
        pages += page
        before = (page[-1].time_us, page[-1].key)
    assert [(one.time_us, one.key) for one in pages] == sorted(
        ((one.access.time_us, one.access.key) for one in rows), reverse=True
    )


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        (Filters(user="ana@example.com"), {1, 2}),
        (Filters(device="runner"), {4}),
        (Filters(address="100.64.0.7"), {1, 2}),
        (Filters(address="fd7a:115c:a1e0::9"), {4}),
        (Filters(address="100.64.0.7", status="503"), set()),
        (Filters(address="100.64.0"), set()),
        (Filters(endpoint="/b"), {3}),
        (Filters(method="POST"), {3}),
        (Filters(service="factory"), {1, 2, 3}),
        (Filters(service=""), {4}),
        (Filters(service="factory", user=BEN.user), {3}),
        (Filters(service="none"), set()),
        (Filters(status="5xx"), {3}),
        (Filters(status="200"), {1, 2, 4}),
        (Filters(user="ana@example.com", status="503"), set()),
        (Filters(user="' OR 1=1 --"), set()),
        (Filters(endpoint="/a' OR \"user\" != '"), set()),
        (Filters(users=("ana@example.com", "ben@example.com")), {1, 2, 3}),
        (Filters(users=("ben@example.com", "fd7a:115c:a1e0::9")), {3, 4}),
        (Filters(users=("nobody", "' OR 1=1 --")), set()),
        (Filters(users=("ana@example.com", "ben@example.com"), method="POST", status="5xx"), {3}),
    ],
)
def test_filters(store, filters, keys):
    store.write(ROWS)
    assert {entry.key for entry in store.log(Scope.everybody(), DAY, filters, 10, None)} == keys
    for by in By:
        assert sum(one.requests for one in store.usage(Scope.everybody(), DAY, filters, by)) == len(keys)
    assert sum(one.requests for one in store.endpoint_buckets(Scope.everybody(), DAY, HOUR_US, filters)) == len(keys)


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        (Filters(slower_us=7_001), {2}),
        (Filters(slower_us=5_000), {1, 2, 3}),
        (Filters(path="A?"), {5}),
        (Filters(path="/"), {1, 2, 3, 4, 5}),
        (Filters(path="ÑU/"), {5}),
        (Filters(path="/.*"), set()),
        (Filters(path="/ OR 1=1"), set()),
        (Filters(path="'"), {5}),
        (Filters(path='"'), set()),
        (Filters(without=(Traffic.HEALTH,)), {1, 2, 3, 5}),
        (Filters(without=(Traffic.HEALTH, Traffic.APP)), {5}),
        (Filters(user=ANA.user, path="/a", slower_us=6_000), {2}),
    ],
)
def test_the_log_is_filtered_by_what_no_rollup_keeps(store, settle, filters, keys):
    store.write([*ROWS, row(T0 + S, 5, STRANGER, "/c", traffic=Traffic.STATIC, took_us=None, path="/a?'/ÑU/x")])
    settle(store)
    everybody = Scope.everybody()
    assert {one.key for one in store.log(everybody, DAY, filters, 10, None)} == keys
    first = store.log(everybody, DAY, filters, 1, None)
    rest = store.log(everybody, DAY, filters, 10, first[-1][:2]) if first else []
    assert {one.key for one in (*first, *rest)} == keys
    with pytest.raises(ValueError, match="rollups cannot"):
        store.usage(everybody, DAY, filters)


def test_4xx_is_without_499_as_everywhere(store):
    store.write([row(T0 + n, n, status=status) for n, status in enumerate((400, 404, 498, 499, 500))])
    for status, keys in (("4xx", {0, 1, 2}), ("499", {3}), ("5xx", {4})):
        filters = Filters(status=status)
        assert {entry.key for entry in store.log(Scope.everybody(), DAY, filters, 10, None)} == keys
        for by in By:
            assert sum(one.requests for one in store.usage(Scope.everybody(), DAY, filters, by)) == len(keys)


def test_a_window_takes_in_its_start_and_not_its_end(store, settle):
    store.write([row(T0 + at_us, at_us) for at_us in (0, 1, 999, 1_000, HOUR_US - 1, HOUR_US)])
    settle(store)
    for start_us, end_us, count in ((0, HOUR_US, 5), (1, HOUR_US, 4), (0, 1, 1), (999, 1_000, 1), (2, 999, 0)):
        window = Window(T0 + start_us, T0 + end_us)
        assert sum(one.requests for one in store.usage(Scope.everybody(), window, ALL)) == count
        assert len(store.log(Scope.everybody(), window, ALL, 10, None)) == count
        assert sum(one.requests for one in store.visits(Scope.everybody(), window)) == count
        assert sum(run[2] for one in store.activity(Scope.everybody(), window) for run in one.runs) == count


def test_a_renamed_person_is_one_and_is_found_by_either_name(store, settle):
    renamed = Identity("100.64.0.7", "user", "ana@new.example", "ana-laptop", "n1", "", "localapi", "u1")
    by_file = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "", "", "static")
    store.write([row(T0, 1, named_us=T0), row(T0 + S, 2, renamed, named_us=T0 + S), row(T0 + 2 * S, 3, by_file)])
    settle(store)
    assert {(one.identity.user, one.identity.user_id) for one in store.usage(Scope.everybody(), DAY, ALL)} == {
        ("ana@new.example", "u1")
    }
    for name in ("ana@example.com", "ana@new.example"):
        assert len(store.log(Scope.everybody(), DAY, Filters(user=name), 10, None)) == 3
        assert sum(one.requests for one in store.usage(Scope.everybody(), DAY, Filters(user=name))) == 3
    assert [entry.identity.user for entry in store.log(Scope.everybody(), DAY, ALL, 10, None)] == [
        "ana@example.com", "ana@new.example", "ana@example.com",
    ]  # fmt: skip


@pytest.mark.parametrize("server", ["sqlite", *SERVERS])
def test_who_has_a_name_never_folds_however_few_addresses_are_kept_apart(request, tmp_path, server, settle):
    if server == "sqlite":
        store = SqliteStore(tmp_path / "few.db", distinct_max=1)
    else:
        store = request.getfixturevalue("make_influx")(distinct_max=1)
    people = [Identity(f"100.64.1.{n}", "user", f"u{n}@example.com", f"u{n}-laptop") for n in range(3)]
    devices = [Identity(f"100.64.2.{n}", "tagged", "", f"runner-{n}", tags="tag:ci") for n in range(3)]
    strangers = [Identity(f"203.0.113.{n}", "external") for n in range(3)]
    everyone = [*strangers, *people, *devices]
    with closing(store):
        store.write([row(T0 + n * S, n, who) for n, who in enumerate(everyone)])
        settle(store)
        found = sorted(one.identity for one in store.log(EVERYBODY, DAY, ALL, 99, None))
        assert found == sorted([*people, *devices, strangers[0], *2 * [Identity("__other__", "external")]])
        assert {one.identity.user for one in store.usage(EVERYBODY, DAY, ALL)} >= {one.user for one in people}
        assert store.counters.addresses_over_limit == 2


def test_hostile_texts_come_back(store, settle):
    nasty = 'a,b=c "d\\" \\'
    who = Identity("100.64.0.9", "user", nasty, "näme\nline", "n,9", 'tag:"x"', "static")
    store.write([row(T0, 1, who, "/r,=\\ ", path='/p"\\\n\t\0ü', method="_OTHER", error='E"\\', service="a b,c=d")])
    settle(store)
    (entry,) = store.log(Scope.everybody(), DAY, Filters(user=nasty), 10, None)
    assert entry.identity == who
    assert (entry.endpoint, entry.path, entry.error_type, entry.service) == (
        "/r,=\\ ",
        '/p"\\\n\t\0ü',
        'E"\\',
        "a b,c=d",
    )
    assert store.usage(Scope.everybody(), DAY, ALL)[0][:3] == (who, "a b,c=d", "/r,=\\ ")


def test_refusals_are_kept_once(store):
    rejected_lines = [
        RejectedLine("json", "/var/log/a\udcff.log", 7, 'te"xt'),
        RejectedLine("fields", "/var/log/a.log", 8, ""),
    ]
    store.write([], rejected_lines)
    store.write([], [*rejected_lines, RejectedLine("json", "/var/log/b.log", 7, "")])
    assert store.rejected_by_reason() == {"json": 2, "fields": 1}
    page = store.rejected_lines(Scope.everybody(), None, 2)
    assert [(one.file, one.offset, one.text) for one in page] == [
        ("/var/log/a.log", 8, ""), ("/var/log/a\\udcff.log", 7, 'te"xt'),
    ]  # fmt: skip
    assert store.rejected_lines(Scope.everybody(), (page[-1].file, page[-1].offset), 2) == [
        RejectedLine("json", "/var/log/b.log", 7, "")
    ]


def test_rows_come_in_pages_as_they_were_written(store):
    draw = random.Random(2)
    rows = [row(T0 + n // 3 * 700, draw.randrange(10**9), draw.choice((ANA, CI)), trace="ab" * 16) for n in range(50)]
    store.write(rows)
    pages, after = [], None
    while page := store.rows(Scope.everybody(), DAY, after, 7):
        pages += page
        after = (page[-1].access.time_us, page[-1].access.key)
    written = sorted(rows, key=lambda one: (one.access.time_us, one.access.key))
    assert pages == [one._replace(access=one.access._replace(proxied=False)) for one in written]


def test_a_trace_is_found(store):
    store.write(ROWS)
    assert [entry.key for entry in store.log(Scope.everybody(), DAY, Filters(trace_id="ab" * 16), 9, None)] == [1]


# What is kept beside the rows.


def failing(key, who=ANA, at_us=0, trace=""):
    return row(T0 + (at_us or key * S), key, who, f"/{who.device}", 500, trace=trace)


def trace_of(one, size=100):
    access = one.access
    data = random.Random(access.key).randbytes(size)
    return KeptTrace(access.time_us, access.key, bytes.fromhex(access.trace_id), "error", 3, data)


def kept_keys(store, scope=EVERYBODY, window=None):
    return [entry.key for entry, _ in store.traces(scope, "ab" * 16, window)]


def fail(store, key, who=ANA, at_us=0, group="f" * 16, version="", trace=""):
    one = failing(key, who, at_us, trace)
    store.write([one])
    return store.add_failures(
        [Failure(one.access.time_us, key, group, "KeyError", "total", "orders.py total", version)]
    )


def test_a_trace_is_kept_with_its_request_and_goes_with_it(store):
    rows = [failing(n, (ANA, BEN)[n % 2], trace="ab" * 16) for n in range(1, 7)]
    store.write(rows[:5])
    traces = [trace_of(one, 200_000 if one is rows[3] else 100) for one in rows]
    assert store.keep_traces(traces, 1 << 20) == 5, "the last has no request"
    assert store.keep_traces([trace_of(rows[0], 999), *traces[1:5]], 1 << 20) == 0, "they are kept already"
    assert [kept for _, kept in store.traces(EVERYBODY, "ab" * 16)] == traces[:5]
    assert store.traces(EVERYBODY, "cd" * 16) == []
    assert kept_keys(store, window=Window(T0 + 2 * S, T0 + 4 * S)) == [2, 3]
    assert kept_keys(store, Scope.member(BEN.user)) == [1, 3, 5]
    assert kept_keys(store, Scope.member("cy@example.com")) == []
    assert store.erase(Person(user=BEN.user), is_dry=True).spans == 3
    assert kept_keys(store) == [1, 2, 3, 4, 5]
    assert store.erase(Person(user=BEN.user), is_dry=False).spans == 3
    assert kept_keys(store) == [2, 4]
    assert store.keep_traces([traces[0]], 1 << 20) == 0, "whoever was erased stays so"


def test_the_oldest_traces_go_first(store):
    rows = [failing(n, trace="ab" * 16) for n in range(1, 17)]
    store.write(rows)
    for one in rows:
        store.keep_traces([trace_of(one)], 1_000)
        kept = kept_keys(store)
        assert kept == list(range(kept[0], one.access.key + 1)), "the newest stay, without a gap"
        assert min(one.access.key, 8) <= len(kept) <= 10
    store.keep_traces([trace_of(rows[0])], 0)
    assert kept_keys(store) == []


def test_traces_of_one_instant_stay_two(store):
    rows = [row(T0, 7 + 1_000_000 * number, status=500, trace="ab" * 16) for number in range(3)]
    store.write(rows)
    assert store.keep_traces([trace_of(one) for one in rows], 10_000) == 3
    assert sorted(kept_keys(store)) == [7, 1_000_007, 2_000_007]


def test_whom_a_group_hits_when_and_in_which_version(store):
    fail(store, 1, version="1.1", trace=f"{1:032x}")
    fail(store, 2, version="1.0", trace=f"{2:032x}")
    fail(store, 3, BEN, HOUR_US, version="1.1", trace="ab" * 16)
    fail(store, 4, STRANGER, 2 * S, group="0" * 16)
    store.keep_traces([trace_of(failing(3, BEN, HOUR_US, "ab" * 16))], 1_000)
    assert fail(store, 3, BEN, HOUR_US) == 0, "it is in its group already"
    assert store.add_failures([Failure(T0, 99, "f" * 16, "", "", "", "")]) == 0, "there is no such request"
    one, other = store.error_groups(EVERYBODY, DAY)
    assert one == ErrorGroup(
        "f" * 16, "KeyError", "total", "orders.py total", T0 + S, T0 + HOUR_US, 0, 0, 3, {T0: 2, T0 + HOUR_US: 1},
        {ANA.user: 2, BEN.user: 1}, 2, 2, {"/ana-laptop": 2, "/ben-phone": 1}, {"1.1": 2, "1.0": 1}, {500: 3},
        [(T0 + HOUR_US, "ab" * 16, True), (T0 + 2 * S, f"{2:032x}", False), (T0 + S, f"{1:032x}", False)],
    )  # fmt: skip
    assert (other.people, other.devices_count, other.traces) == ({STRANGER.address: 1}, 1, [])
    (of_ben, _) = store.error_groups(Scope.member(BEN.user), DAY)
    assert (of_ben.requests, of_ben.people, of_ben.endpoints) == (3, {BEN.user: 1}, {"/ben-phone": 1})
    assert [trace for _, trace, _ in of_ben.traces] == ["ab" * 16]
    assert [one.requests for one in store.error_groups(EVERYBODY, Window(T0 + HOUR_US, T0 + DAY_US))] == [1]
    asked = [(T0 + 2 * S, 4), (T0 + HOUR_US, 3), (T0, 99)]
    assert store.failures_of(EVERYBODY, asked) == [
        Failure(T0 + 2 * S, 4, "0" * 16, "KeyError", "total", "orders.py total", ""),
        Failure(T0 + HOUR_US, 3, "f" * 16, "KeyError", "total", "orders.py total", "1.1"),
    ]


def test_a_failure_goes_with_its_person_and_counts_under_the_name_of_now(store):
    renamed = ANA._replace(user="ana@new.example")
    fail(store, 1)
    fail(store, 2, BEN)
    store.write([row(T0 + 3 * S, 3, renamed, status=200, named_us=T0 + S)])
    assert store.error_groups(EVERYBODY, DAY)[0].people == {renamed.user: 1, BEN.user: 1}
    store.erase(Person(user=BEN.user), is_dry=False)
    assert [one.people for one in store.error_groups(EVERYBODY, DAY)] == [{renamed.user: 1}]
    store.erase(Person(user=renamed.user), is_dry=False)
    assert store.error_groups(EVERYBODY, DAY) == store.failures_of(EVERYBODY, [(T0 + S, 1)]) == []


def test_a_group_is_mended_and_comes_back(store):
    always = Window(T0 - HOUR_US, T0 + 3 * BACK_US)
    fail(store, 1)
    assert store.resolve_error("f" * 16, T0 + 2 * S)
    assert not store.resolve_error("no such", T0)
    (one,) = store.error_groups(EVERYBODY, always)
    assert (one.resolved_us, one.back_us) == (T0 + 2 * S, 0)
    fail(store, 3)
    fail(store, 4)
    (one,) = store.error_groups(EVERYBODY, always)
    assert (one.resolved_us, one.back_us, one.last_us) == (T0 + 2 * S, T0 + 3 * S, T0 + 4 * S), "it came back once"
    fail(store, 5, at_us=5 * S + BACK_US)
    (one,) = store.error_groups(EVERYBODY, always)
    assert (one.back_us, one.first_us) == (T0 + 5 * S + BACK_US, T0 + S), "after a week of silence"


def test_groups_are_bounded(store, monkeypatch):
    for module in (sqlite_failures, influx_failures):
        monkeypatch.setattr(module, "GROUPS_MAX", 3)
    for key in range(1, 7):
        fail(store, key, group=f"{key:016x}")
    assert [one.fingerprint for one in store.error_groups(EVERYBODY, DAY)] == [f"{key:016x}" for key in (6, 5, 4)]
    assert store.failures_of(EVERYBODY, [(T0 + S, 1)]) == []


def test_names_of_features_are_kept_for_whoever_asks(store):
    store.write([row(T0, 1)])
    assert store.features(EVERYBODY) == {}
    store.keep_features({"/a": "Prices", "/b, =\\": 'a "b" \n ñ', "card=x": "X"})
    store.keep_features({"/a": "Prices of today", "/b, =\\": 'a "b" \n ñ', "card=x": "X"})
    assert store.features(EVERYBODY) == {"/a": "Prices of today", "/b, =\\": 'a "b" \n ñ', "card=x": "X"}


def test_markers_are_kept_once_and_the_newest(store):
    found = [Marker(T0 + n // 2, ("note", "version")[n % 2], "sh,op" * (n % 3), f"m {n}") for n in range(8)]
    store.add_markers(found)
    store.add_markers([*found, Marker(T0, "note", "", "m 0 too")])
    assert store.markers(EVERYBODY, DAY) == sorted([*found, Marker(T0, "note", "", "m 0 too")])
    assert [one.text for one in store.markers(EVERYBODY, Window(T0 + 1, T0 + 3))] == ["m 2", "m 3", "m 4", "m 5"]
    store.drop_markers([found[2], found[5], Marker(T0, "note", "", "never kept")])
    assert [one.text for one in store.markers(EVERYBODY, Window(T0 + 1, T0 + 3))] == ["m 3", "m 4"]
    store.add_markers([Marker(T0 + S + n, "note", "", f"{n}") for n in range(MARKERS_MAX + 5)])
    assert [one.text for one in store.markers(EVERYBODY, DAY)] == [f"{n}" for n in range(5, MARKERS_MAX + 5)]


def test_what_failed_in_a_window_is_found_with_its_runs_of_499(store):
    left = [row(T0 + n * S, 10 + n, route="/slow", status=499, service=("", "shop")[n % 2]) for n in range(12)]
    parted = [row(T0 + n * S, 30 + n, route="/b", status=(499, 200)[n == 4]) for n in range(9)]
    told = [
        row(T0 + 1, 40, status=422, error="invalid body.price: missing"), row(T0 + 2, 41, status=422),
        row(T0 + 3, 42, status=499, error="CancelledError"), row(T0 + 4, 43, status=503), row(T0 + 5, 44, status=404),
    ]  # fmt: skip
    store.write([*left, *parted, *told])
    found = failed_requests(store, Window(T0, T0 + 12 * S), 1_000)
    assert [one.key for one in found] == [10, 40, 42, 43, *range(11, 22)]
    assert join_groups(store, Window(T0, T0 + 12 * S)) == 15
    assert join_groups(store, Window(T0, T0 + 12 * S)) == 0


# Both stores, the same input.


def seeded(count, seed=5, days=3):
    draw = random.Random(seed)
    people = [ANA, BEN, CI, STRANGER, Identity("203.0.113.10", "external")]
    people += [
        Identity(f"100.64.1.{n}", "user", f"p{n}@example.com", f"d{n}", f"m{n}", "", "localapi", f"v{n}")
        for n in range(5)
    ]
    rows = []
    for key in range(count):
        traffic = draw.choices(list(Traffic), (20, 3, 2, 1, 3))[0]
        route = (
            f"/_tailtrace/view?card=a b={draw.randrange(3)}#B"
            if traffic is Traffic.CARD
            else f"/r/{draw.randrange(12)}"
        )
        rows.append(
            row(
                T0 + draw.randrange(days * DAY_US) // 1000 * 1000,
                key * 7_919,
                draw.choice(people),
                route,
                draw.choices((200, 204, 304, 404, 499, 500, 503), (60, 5, 5, 5, 1, 2, 1))[0],
                method=draw.choice(("GET", "POST")),
                traffic=traffic,
                took_us=draw.choice((None, draw.randrange(10**6))),
                app_us=draw.choice((None, draw.randrange(10**6))),
                sent=draw.randrange(10**5),
                named_us=T0 + key,
                service=draw.choice(("factory", "")),
                trace=draw.choice(("", "ab" * 16)),
            )
        )
    return rows


def report(store, now_us, hours):
    queries = Queries(store, zone=UTC, features={"/r/1": "Orders"}, store_name="x")
    answer = asdict(queries.report(now_us, hours=hours, limit=100))
    answer["system_health_history"].pop("influxdb_query_times")
    return json.loads(json.dumps(answer, default=str))


def same_answers(one, other, now_us):
    for at_us, hours in ((now_us, 1), (now_us + 1_234_567, 24), (now_us - 5 * HOUR_US - 77, 30), (now_us + 3, 24 * 30)):
        assert report(one, at_us, hours) == report(other, at_us, hours)
    window = Window(now_us - 2 * DAY_US - 123_456, now_us - 654_321)
    assert everything(one, window) == everything(other, window)


@each_server
@pytest.mark.parametrize("is_settled", [False, True])
def test_both_give_the_same_answers(sqlite, make_influx, is_settled, server):
    influx, rows = make_influx(), seeded(3_000, days=2)
    for start in range(0, len(rows), 700):
        batch = rows[start : start + 700]
        assert influx.write(batch) == sqlite.write(batch)
    again = [*rows[1_000:1_700], *seeded(10, seed=6)]
    assert influx.write(again) == sqlite.write(again) == Written(10, 700)
    if is_settled:
        influx.settle()
    same_answers(sqlite, influx, T0 + 2 * DAY_US)
    late = [one._replace(access=one.access._replace(key=one.access.key + 1)) for one in rows[:10]]
    assert influx.write(late) == sqlite.write(late) == Written(10, 0)
    same_answers(sqlite, influx, T0 + 2 * DAY_US)


@each_server
def test_two_bridges_answer_as_one(sqlite, make_influx, server):
    rows = seeded(2_000, days=2)
    bridges = [make_influx("a"), make_influx("b")]
    for place, bridge in enumerate(bridges):
        assert bridge.write(rows[place::2]) == Written(1_000, 0)
    sqlite.write([*rows[0::2], *rows[1::2]])
    bridges[0].settle()  # one is rolled up, the other not
    same_answers(sqlite, bridges[1], T0 + 2 * DAY_US)


@each_server
def test_readers_never_see_half_an_hour_while_it_is_summed_up(make_influx, server):
    store, rows = make_influx(), seeded(2_000, days=1)
    store.write(rows)
    reader, seen = make_influx(), []
    rolling = threading.Thread(target=store.settle)
    rolling.start()
    while rolling.is_alive():
        seen.append(
            sum(one.requests for one in reader.bucket_usage(Scope.everybody(), Window(T0, T0 + DAY_US), DAY_US))
        )
    rolling.join()
    assert set(seen) == {2_000}


@pytest.mark.shared
@each_server
def test_real_logs_give_the_same_answers(sqlite, make_influx, shared_data, tmp_path, server):
    influx, path = make_influx(), tmp_path / "real.log"
    source = min((shared_data / "nginx-access").glob("*.gz"))
    with gzip.open(source) as file:
        path.write_bytes(b"".join(line for line, _ in zip(file, range(20_000), strict=False)))

    def load(store):
        provider = FakeProvider(answers={})
        identities = Identities([provider], clock=FakeClock(), wall=FakeClock())
        return import_logs(
            [path],
            make_parser=lambda: make_parser("auto", UTC),
            enricher=Enricher(identities.holder, Routes(), HEALTH_PATHS),
            store=store,
        )

    first = load(sqlite)
    assert load(influx) == first
    again = load(influx)
    assert (again.stored, again.duplicate) == (0, first.stored + first.duplicate)
    newest_us = sqlite.newest_us(Scope.everybody())
    assert newest_us is not None
    same_answers(sqlite, influx, newest_us + S)
    influx.settle()
    same_answers(sqlite, influx, newest_us + S)


# A person is forgotten.

ANA_BEFORE = Identity("100.64.0.7", "user", "anna@old.example", "ana-laptop", "n1", "", "localapi", "u1")
ANA_PHONE = Identity("100.64.0.17", "user", "ana@example.com", "ana-phone", "n11", "", "localapi", "u1")
ANA_NO_ID = Identity("100.64.0.27", "user", "anna@old.example", "", "", "", "static")
NEW_HOLDER = Identity("100.64.0.17", "user", "dan@example.com", "dan-pc", "n12", "", "localapi", "u2")
LINES = [
    RejectedLine("no-format", "a.log", 0, "odd 100.64.0.7 line"),
    RejectedLine("no-format", "a.log", 10, "odd line of Ana@example.com, it seems"),
    RejectedLine("no-format", "a.log", 20, "odd 100.64.0.77 line of diana@example.com"),
    RejectedLine("no-format", "a.log", 30, "odd 100.64.0.17 line"),
]
PEOPLE = (ANA, ANA_BEFORE, ANA_PHONE, ANA_NO_ID, BEN, CI, STRANGER, NEW_HOLDER)


def crowd(people):
    """Three hours, in five days, of requests of some of these people; each person's are the same whoever else is there."""
    made = []
    for place, who in enumerate(PEOPLE):
        dice = random.Random(place)
        for n in range(60):
            at_us = T0 - 3 * DAY_US + dice.choice([0, DAY_US, 4 * DAY_US]) + dice.randrange(HOUR_US)
            route = dice.choice(["/a", "/b", f"/only-{place}"])
            status, traffic = dice.choice([200, 200, 404, 503]), dice.choice([Traffic.APP, Traffic.CARD, Traffic.BOT])
            one = row(at_us, 1000 * place + n, who, route, status, traffic=traffic, took_us=dice.randrange(10**6),
                      app_us=dice.choice([None, 4_000]), named_us=T0 + place)  # fmt: skip
            if who in people:
                made.append(one._replace(access=one.access._replace(user_agent=f"agent-{place}")))
    return made


@pytest.mark.parametrize(
    ("person", "theirs", "lines_left", "is_settled"),
    [
        (Person(user="ana@example.com"), (ANA, ANA_BEFORE, ANA_PHONE, ANA_NO_ID), [20, 30], False),
        (Person(user="anna@old.example"), (ANA, ANA_BEFORE, ANA_PHONE, ANA_NO_ID), [20, 30], True),
        (Person(user="ben@example.com"), (BEN,), [0, 10, 20, 30], False),
        (Person(device="ana-laptop"), (ANA, ANA_BEFORE), [20, 30], True),
        (Person(device="runner"), (CI,), [0, 10, 20, 30], False),
        (Person(address="100.64.0.17"), (ANA_PHONE, NEW_HOLDER), [0, 20], True),
        (Person(address="203.0.113.9"), (STRANGER,), [0, 10, 20, 30], False),
        (Person(user="nobody@example.com"), (), [0, 10, 20, 30], True),
        (Person(user=""), (), [0, 10, 20, 30], False),
    ],
)
def test_a_person_is_forgotten_and_the_others_are_not(
    store, make_influx, tmp_path, person, theirs, lines_left, is_settled
):
    """What is left is what a store would have that never heard of them: rows, sums, names, to the last digit.

    Whether right after a write, or once InfluxDB's sums are in order.
    """

    def settle(one):
        if is_settled and isinstance(one, InfluxStore):
            one.settle()

    if isinstance(store, InfluxStore):
        other = make_influx(bucket=f"never-heard-of-them-{next(BUCKETS)}")
    else:
        other = SqliteStore(tmp_path / "other.db")
    window = Window(T0 - 4 * DAY_US, T0 + 4 * DAY_US)
    store.write(crowd(PEOPLE), LINES)
    settle(store)
    other.write(crowd([who for who in PEOPLE if who not in theirs]))
    settle(other)
    before = everything(store, window)
    would = store.erase(person, is_dry=True)
    assert (would.requests, would.rows, would.rejected_lines, set(would.identities)) == (
        60 * len(theirs), 60 * len(theirs), 4 - len(lines_left), set(theirs),
    )  # fmt: skip
    assert everything(store, window) == before
    assert store.erase(person, is_dry=False) == would
    assert everything(store, window) == everything(other, window)
    assert [one.offset for one in store.rejected_lines(Scope.everybody(), None, 10)] == lines_left
    again = store.erase(person, is_dry=False)
    assert (again.rows, again.identities) == (0, ())
    store.write([row(T0 + 2, 999_999, ANA)])  # and the store goes on
    assert store.log(Scope.everybody(), DAY, Filters(), 1_000, None) == [
        *sorted([*other.log(Scope.everybody(), DAY, Filters(), 1_000, None), store.log(Scope.everybody(), Window(T0 + 2, T0 + 3), ALL, 1, None)[0]],
                key=lambda one: one[:2], reverse=True)
    ]  # fmt: skip
    other.close()


def test_what_alerts_told_of_a_person_is_forgotten(store):
    store.write(crowd([ANA, BEN]))
    about = [
        AlertEvent(T0, "new", "new_user", "seen", ANA.user, None, f"New user: {ANA.user}"),
        AlertEvent(T0 + 1, "new", "new_device", "seen", BEN.device, None, f"New device: {BEN.device}"),
        AlertEvent(T0 + 2, "slow", "p95", "started", "", 812.5, "p95 is 813 ms"),
    ]
    store.add_alert_events(about)
    assert store.erase(Person(user=ANA.user), is_dry=True).events == 1
    assert store.erase(Person(user=ANA.user), is_dry=False).events == 1
    assert store.alert_events(Scope.everybody(), 10) == [about[2], about[1]]


SAM = Identity("100.64.0.21", "user", "sam@example.com", "sam-mac", "n21", "", "localapi", "u21")
SAMUEL = SAM._replace(user="samuel@example.com")  # the same person, whose login was changed
NEXT_SAM = Identity("100.64.0.22", "user", "sam@example.com", "next-mac", "n22", "", "localapi", "u22")
OF_A_FILE = Identity("100.64.0.23", "user", "samuel@example.com", "", "", "", "static")


@pytest.mark.parametrize(
    ("login", "keys"), [("sam@example.com", {3}), ("samuel@example.com", {1, 2, 4}), ("nobody@example.com", set())]
)
def test_a_login_that_went_to_somebody_else_shows_them_nothing_of_before(store, settle, login, keys):
    who_when = enumerate((SAM, SAMUEL, NEXT_SAM, OF_A_FILE), start=1)
    store.write([row(T0 + n * S, n, who, f"/{n}", named_us=T0 + n * S) for n, who in who_when])
    settle(store)
    mine = Scope.member(login)
    assert {one.key for one in store.log(mine, DAY, ALL, 10, None)} == keys
    assert {one.key for one in store.log(mine, DAY, Filters(user=login), 10, None)} == keys
    routes = {f"/{key}" for key in keys}
    assert {one.endpoint for one in store.usage(mine, DAY, ALL)} == routes
    assert {one.endpoint for one in store.visits(mine, DAY)} == routes
    assert {one.endpoint for one in store.endpoint_buckets(mine, DAY, HOUR_US, ALL)} == routes
    assert sum(one.requests for one in store.usage(mine, DAY, ALL, By.IDENTITY)) == len(keys)
    assert sum(one.requests for one in store.activity(mine, DAY)) == len(keys)
    addresses = {one.identity.address for one in store.log(mine, DAY, ALL, 10, None)}
    assert store.callers(mine, DAY, ALL, 5, usage_only=False).addresses == len(addresses)
    everybodys = store.log(EVERYBODY, DAY, Filters(user="sam@example.com"), 10, None)
    assert {one.key for one in everybodys} == {1, 2, 3, 4}  # an admin finds whoever has had it


def test_a_members_scope_gives_the_same_in_both_stores(store, settle):
    store.write(ROWS)
    settle(store)
    mine = Scope.member("ana@example.com")
    assert {one.identity.user for one in store.log(mine, DAY, ALL, 10, None)} == {"ana@example.com"}
    assert {one.identity.user for one in store.usage(mine, DAY, ALL)} == {"ana@example.com"}
    assert {one.identity.user for one in store.visits(mine, DAY)} == {"ana@example.com"}
    assert {one.identity.user for one in store.activity(mine, DAY)} == {"ana@example.com"}
    assert {one.endpoint for one in store.endpoint_buckets(mine, DAY, HOUR_US, ALL)} == {"/a"}
    for verb, more in (("bucket_usage", (DAY, HOUR_US)), ("latency", (DAY,)), ("quarters", (DAY,)), ("newest_us", ())):
        with pytest.raises(ScopeError):
            getattr(store, verb)(mine, *more)

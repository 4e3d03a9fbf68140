"""What alerts ask of a store, of each kind: sums of minutes, and events; and what that costs as the traffic grows."""

import itertools
import sqlite3
import time
from zoneinfo import ZoneInfo

import pytest

from tailtrace_bridge.alerts.state import AlertCounters, Outbox
from tailtrace_bridge.alerts.watch import Probes, Watch
from tailtrace_bridge.alerts.words import Words
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, EVENTS_MAX, HOUR_US, MINUTE_US, AlertEvent, Recent, Window
from tailtrace_bridge.testing import FakeClock

S = 1_000_000
NOW = 1_759_924_800 * S  # 2025-10-08T12:00:00Z
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
BUCKETS = itertools.count()


def row(ago_us, key, route="/a", status=200, *, took_us=5_000, service="shop"):
    access = Access(
        NOW - ago_us, key, ANA.address, "GET", route, status, took_us, None, True, 1, service, "", "", "", ""
    )
    return Row(access, ANA, route, Traffic.APP, None, "")


@pytest.fixture(params=["sqlite", pytest.param("influxdb", marks=pytest.mark.influxdb)])
def store(request, tmp_path):
    if request.param == "sqlite":
        made = SqliteStore(tmp_path / "t.db", FakeClock(NOW))
    else:
        server = request.getfixturevalue("influxdb")
        ticks = itertools.count(NOW, 1000)
        timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, lambda: 0.5, lambda: next(ticks))
        config = InfluxConfig(Server(server.url, server.org, server.token), f"alerts-{next(BUCKETS)}", "a")
        made = InfluxStore(config, timing, is_rolling=False)
    yield made
    made.close()


ROWS = [
    row(10 * S, 1, took_us=100_000),
    row(20 * S, 2, status=500),
    row(70 * S, 3, "/b", 503, took_us=None),
    row(80 * S, 4, "/b", 0, took_us=None),
    row(130 * S, 5, "/a", 404, service="café, x"),
    row(3 * HOUR_US, 6, "/old"),
]


def test_the_sums_of_minutes(store):
    store.write(ROWS)
    store.write(ROWS)  # again: it changes nothing
    last = Window(NOW - 3 * MINUTE_US, NOW)
    assert store.recent(Scope.everybody(), last) == Recent(5, 2, 3, 1, None)
    assert store.recent(Scope.everybody(), last, endpoint="/b") == Recent(2, 1, 1, 1, None)
    assert store.recent(Scope.everybody(), last, service="café, x") == Recent(1, 0, 1, 0, None)
    assert store.recent(Scope.everybody(), last, endpoint="/b", service="café, x") == Recent(0, 0, 0, 0, None)
    assert store.recent(Scope.everybody(), Window(NOW - DAY_US, NOW)) == Recent(6, 2, 4, 1, None)
    assert store.recent(Scope.everybody(), Window(NOW - 3 * HOUR_US, NOW), endpoint="/old").requests == 1
    assert store.recent(Scope.everybody(), last, rank=0.95).quantile_us == pytest.approx(100_000, rel=0.02)
    assert store.recent(Scope.everybody(), last, rank=0.5).quantile_us == pytest.approx(5_000, rel=0.02)
    assert store.recent(Scope.everybody(), last, rank=0.95, endpoint="/b") == Recent(2, 1, 1, 1, None)
    assert store.recent(Scope.everybody(), Window(NOW - 3 * MINUTE_US + 1, NOW - 1)) == Recent(5, 2, 3, 1, None), (
        "whole minutes"
    )


def test_the_quantile_of_a_long_window(store):
    store.write(
        [row(4 * HOUR_US, 1, took_us=300_000), row(2 * HOUR_US, 2, "/b", took_us=90_000), row(90 * MINUTE_US, 3)]
    )
    if isinstance(store, InfluxStore):
        store.settle()
    long = Window(NOW - 3 * HOUR_US, NOW)
    assert store.recent(Scope.everybody(), long, rank=0.95).quantile_us == pytest.approx(90_000, rel=0.02)
    assert store.recent(Scope.everybody(), long, rank=0.95, endpoint="/a").quantile_us == pytest.approx(5_000, rel=0.02)
    assert store.recent(Scope.everybody(), long, rank=0.95, service="none") == Recent(0, 0, 0, 0, None)
    assert store.recent(Scope.everybody(), Window(NOW - 5 * HOUR_US, NOW), rank=0.95).quantile_us == pytest.approx(
        300_000, rel=0.02
    )


def test_events_are_kept_once_and_newest_first(store):
    store.write([])
    events = [
        AlertEvent(NOW, "orders, slow", "p95", "started", "", 1234.5, 'p95 1.23 s\\ of "x" ñ'),
        AlertEvent(NOW + 1, "new", "new_device", "seen", "ana's phone", None, "New device"),
    ]
    store.add_alert_events(events)
    store.add_alert_events(events)
    assert store.alert_events(Scope.everybody(), 10) == events[::-1]
    assert store.alert_events(Scope.everybody(), 1) == events[1:]


def test_the_newest_events_are_kept(store):
    for start in range(0, EVENTS_MAX + 100, 100):
        store.add_alert_events([AlertEvent(n, "r", "p95", "started", "", 1.0, "x") for n in range(start, start + 100)])
    kept = store.alert_events(Scope.everybody(), 10_000)
    assert (len(kept), kept[0].time_us, kept[-1].time_us) == (EVENTS_MAX, EVENTS_MAX + 99, 100)
    if isinstance(store, InfluxStore):
        count = store._reads.influx.rows(store._reads.buckets.rollups, 'SELECT count("text") FROM "alert_event"')
        assert count[0][1] == EVENTS_MAX, "those before are deleted, not only left out"


def test_old_minutes_go_and_old_rows_make_none(tmp_path):
    clock = FakeClock(NOW)
    store = SqliteStore(tmp_path / "t.db", clock)
    store.write([row(0, 1), row(2 * DAY_US, 2)])
    with sqlite3.connect(tmp_path / "t.db") as reader:
        assert reader.execute("SELECT count(*) FROM minute").fetchone() == (1,)
        clock.now_us += 2 * DAY_US
        store.write([row(-2 * DAY_US, 3)])
        assert reader.execute("SELECT count(*), sum(requests) FROM minute").fetchone() == (1, 1)
    reader.close()
    store.close()


def _steps_of_sqlite(path, requests_a_second):
    """SQLite's own steps for one answer over ten minutes of ten endpoints."""
    store = SqliteStore(path, FakeClock(NOW))
    count = 600 * requests_a_second
    store.write([row((n + 1) * 600 * S // (count + 1), n, f"/{n % 10}", took_us=5_000 + n % 900) for n in range(count)])
    window = Window(NOW - 10 * MINUTE_US, NOW)
    assert store.recent(Scope.everybody(), window, rank=0.95).requests == count
    steps = [0]

    def step():
        steps[0] += 1

    store._connections.idle_readers[0].set_progress_handler(step, 1)
    store.recent(Scope.everybody(), window, rank=0.95, endpoint="/3")
    store.recent(Scope.everybody(), window)
    store._connections.idle_readers[0].set_progress_handler(None, 0)
    store.close()
    return steps[0]


def test_the_cost_does_not_grow_with_the_traffic(tmp_path):
    quiet, busy = _steps_of_sqlite(tmp_path / "1.db", 2), _steps_of_sqlite(tmp_path / "10.db", 20)
    assert quiet > 1000
    assert busy <= quiet * 1.02


def test_rules_are_judged_over_either_store(store, tmp_path):
    """From rows to events, as a bridge does it: an error rate that rises and falls, and somebody new."""
    store.write([row(20 * MINUTE_US, 1)])
    clock, ben = (
        FakeClock(NOW - 10 * MINUTE_US),
        ANA._replace(user="ben@example.com", user_id="u2", device="ben", node_id="n2"),
    )
    rules = [
        AlertRule(kind="error_rate", window=60, hold=60, min_requests=5),
        AlertRule(kind="p95", window=60, hold=60, min_requests=5, endpoint="/a"),
        AlertRule(kind="new_user"),
        AlertRule(kind="no_data"),
    ]
    watch = Watch(
        rules, store, Outbox(tmp_path / "alerts.json", AlertCounters()), probes=Probes(str, str),
        words=Words("en", ZoneInfo("UTC")), zone=ZoneInfo("UTC"), clock=clock,
    )  # fmt: skip
    watch.round()
    for number in range(1, 10):
        clock.now_us += MINUTE_US
        bad = 3 <= number < 6
        rows = [
            row(NOW - clock.now_us + 5 * S, 100 * number + n, status=500 if bad and n < 5 else 200, took_us=2_000_000 if bad else 900)
            for n in range(10)
        ]  # fmt: skip
        store.write([one._replace(identity=ben) for one in rows] if number == 5 else rows)
        watch.round()
    assert [(one.rule, one.what, one.subject) for one in store.alert_events(Scope.everybody(), 10)][::-1] == [
        ("error_rate", "started", ""),
        ("p95", "started", ""),
        ("new_user", "seen", "ben@example.com"),
        ("error_rate", "ended", ""),
        ("p95", "ended", ""),
    ]

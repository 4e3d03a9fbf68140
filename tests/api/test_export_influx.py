"""What InfluxDB stores about a person is given to them: every measurement, every tag and field."""

import itertools
import json
import time
from base64 import b64decode

import pytest

from tailtrace_api.answers.requests import iso
from tailtrace_api.commands.privacy import personal_records
from tailtrace_bridge.core.records import Access, Failure, Identity, RejectedLine, Row, Traffic
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.rollups.encoding import Kind
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.query import InfluxQL, Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.values import DAY_US, AlertEvent
from tailtrace_bridge.traces.pack import pack, to_otlp_json

pytestmark = pytest.mark.influxdb
BUCKETS = itertools.count()
T0 = 1_759_924_800_000_000
ANA = Identity(
    "100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "tag:one", "localapi", "u1", "via-unix", "odd-reason",
    expired=True,
)  # fmt: skip
ACCESS = Access(
    T0 + 123_000, 77, ANA.address, "PATCH", "/only-anas/5", 418, 51_000, 41_000, True, 4321, "shop", "ab" * 16, "cd" * 8,
    "AnasBrowser/1", "",
)  # fmt: skip
ROW = Row(ACCESS, ANA, "/only-anas/{id}", Traffic.APP, 31_000, "OddError", T0 + 456_000)


def plain(value):
    return value


def packed(value):
    return to_otlp_json(b64decode(value))


def of_nobody(_value):
    """Ask for nothing: names of the store's own, copies and sums for the rollups, or what is about nobody."""


PLAIN, NOT = plain, of_nobody
SUMS = dict.fromkeys(("asof_us", "at_ns", "data", "parts", "size", "source", "who", "who_asof_us"), NOT)
STORED = {
    "api_access": {
        **dict.fromkeys(("agent", "app_time_ms", "bytes", "error_type", "expired", "id_tags", "ip", "path"), PLAIN),
        **dict.fromkeys(("provider", "reason", "response_time_ms", "span_id", "status_code", "trace_id"), PLAIN),
        **dict.fromkeys(("upstream_time_ms", "via", "device", "endpoint", "kind", "method", "node_id"), PLAIN),
        **dict.fromkeys(("service", "user", "user_id"), PLAIN), "identified_us": iso, "time_us": iso,
        "traffic": lambda value: Traffic(value).name.lower(), "key": NOT, "source": NOT, "status_class": NOT,
    },
    "failure": {
        **dict.fromkeys(("trace_id", "device", "endpoint", "group", "node_id", "user", "user_id", "version"), PLAIN),
        "status": int, "time_us": iso, "key": NOT, "source": NOT,
    },
    "kept_trace": {
        **dict.fromkeys(("spans", "trace_id", "reason"), PLAIN), "data0": packed, "time_us": iso,
        **dict.fromkeys(("key", "size", "source"), NOT),
    },
    "alert_event": {**dict.fromkeys(("subject", "text", "kind", "rule", "what"), PLAIN), "value": float},
    "identity": {"data": lambda value: json.loads(value)[2][2], "id": NOT, "source": NOT},
    "refusal": {**dict.fromkeys(("file", "position", "text", "reason"), PLAIN), "place": NOT, "source": NOT},
    "error_group": dict.fromkeys(("data", "group", "source"), NOT),
    "batch": dict.fromkeys(("data", "newest_us", "rows", "source"), NOT),
    "step": dict.fromkeys(("until_us", "source"), NOT),
    **{kind: SUMS for kind in Kind if kind is not Kind.HOURS},
}  # fmt: skip
"""Every measurement, tag and field, and how its value stands in what a person gets."""


@pytest.fixture
def store(influxdb):
    ticks = itertools.count(T0 + 30 * DAY_US, 1_000)
    timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, lambda: 0.5, lambda: next(ticks))
    server = Server(influxdb.url, influxdb.org, influxdb.token)
    made = InfluxStore(InfluxConfig(server, f"given-{next(BUCKETS)}", "a"), timing, is_rolling=False)
    made.write([ROW], [RejectedLine("bad-time", "odd.log", 909, f"odd {ANA.user}")])
    assert made.keep_traces([pack(ROW, "error", [], service="nginx", has_messages=False)], 10_000) == 1
    assert made.add_failures([Failure(T0 + 123_000, 77, "f" * 16, "OddError", "total", "", "odd-version")]) == 1
    made.add_alert_events([AlertEvent(T0 + 9_000, "rule-x", "kind-y", "seen", ANA.user, 8.25, f"New: {ANA.user}")])
    made.settle()
    yield made
    made.close()


def stored_in(influxdb, store):
    """Return all that a store has as (measurement, tag or field, value)."""
    influx, found = InfluxQL(Server(influxdb.url, influxdb.org, influxdb.token)), set()
    for bucket in (store._config.bucket, f"{store._config.bucket}_rollups"):
        for (name,) in influx.rows(bucket, "SHOW MEASUREMENTS"):
            for (key,) in influx.rows(bucket, f'SHOW TAG KEYS FROM "{name}"'):
                results = influx.query(bucket, f'SELECT * FROM "{name}" GROUP BY "{key}"')
                found |= {(name, key, result.tags[key]) for result in results if result.tags.get(key)}
            for key, _ in influx.rows(bucket, f'SHOW FIELD KEYS FROM "{name}"'):
                found |= {(name, key, row[1]) for row in influx.rows(bucket, f'SELECT "{key}" FROM "{name}"')}
    influx.close()
    return found


def test_every_tag_and_field_about_a_person_is_given_to_them(influxdb, store):
    given = json.loads(json.dumps(list(personal_records(store, Person(user=ANA.user)))))
    values = [None]
    for value in (one for record in given for one in record.values()):
        values += value if isinstance(value, list) else [value]
    found = stored_in(influxdb, store)
    assert {(name, key) for name, key, _ in found} >= {
        ("api_access", "agent"), ("api_access", "user"), ("failure", "version"), ("kept_trace", "data0"),
        ("alert_event", "text"), ("identity", "data"), ("refusal", "text"), ("runs", "data"),
    }  # fmt: skip
    for name, key, value in found:
        assert key in STORED.get(name, {}), f"{name}.{key}: say how a person gets it, or why not"
        assert STORED[name][key](value) in values, f"{name}.{key}: {value!r} is stored, and not given"


@pytest.mark.parametrize("deletions", [0, 2, 4, 5, 6, 9, 13])
def test_an_erase_that_was_cut_off_is_finished_by_the_same_command(influxdb, store, monkeypatch, deletions):
    delete, calls = type(store._delete).__call__, itertools.count()

    def cut_off(*args):
        if next(calls) == deletions:
            raise KeyboardInterrupt
        delete(*args)

    monkeypatch.setattr(type(store._delete), "__call__", cut_off)
    with pytest.raises(KeyboardInterrupt):
        store.erase(Person(user=ANA.user), is_dry=False)
    monkeypatch.undo()
    assert stored_in(influxdb, store)
    store.erase(Person(user=ANA.user), is_dry=False)
    assert list(personal_records(store, Person(user=ANA.user))) == []
    assert not [one for one in stored_in(influxdb, store) if "ana" in str(one[2]).lower()]

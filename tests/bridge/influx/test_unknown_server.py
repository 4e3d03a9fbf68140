"""A server that we do not know, computes as InfluxDB does and cannot delete: what must stay bounded takes no more.

InfluxDB 1 behind an nginx that hides who it is.
"""

import random
import time

import pytest

from tailtrace_api.nginx.process import NginxServer
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Access, Failure, Identity, KeptTrace, Row, Traffic
from tailtrace_bridge.store.influx import failures
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import Filters, Window

pytestmark = [pytest.mark.nginx, pytest.mark.influxdb1]

S = 1_000_000
T0 = 1_759_924_800 * S
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1")
EVERYBODY = Scope.everybody()
ALL = Window(T0 - 3_600 * S, T0 + 3_600 * S)
TRACE = "ab" * 16
HIDING = """
    location / {
        proxy_pass @URL@;
        proxy_hide_header X-Influxdb-Version;
        proxy_hide_header X-Influxdb-Build;
        client_max_body_size 0;
    }
"""


@pytest.fixture
def store(influxdb1, tmp_path):
    timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, lambda: 0.5, lambda: T0 + 600 * S)
    with NginxServer(HIDING.replace("@URL@", influxdb1.url), folder=tmp_path) as nginx:
        made = InfluxStore(InfluxConfig(Server(nginx.url, "", ""), "unknown", "a"), timing, is_rolling=False)
        yield made
        made.close()


def row(key):
    access = Access(
        T0 + key * S, key, ANA.address, "GET", "/a", 500, 5_000, None, True, 10, "", TRACE, "", "curl/8", ""
    )  # fmt: skip
    return Row(access, ANA, "/a", Traffic.APP, None, "KeyError")


def test_what_must_stay_bounded_takes_no_more_and_a_person_stays(store, monkeypatch):
    monkeypatch.setattr(failures, "GROUPS_MAX", 3)
    store.write([row(key) for key in range(1, 7)])
    assert store.about() == "unknown server: makes databases, writes by /write, erases by nothing"

    kept = [
        KeptTrace(T0 + key * S, key, bytes.fromhex(TRACE), "error", 1, random.Random(key).randbytes(100))
        for key in range(1, 7)
    ]
    assert [store.keep_traces([one], 450) for one in kept] == [1, 1, 1, 1, 0, 0], "the first stay: none can go"
    assert [one for _, one in store.traces(EVERYBODY, TRACE)] == kept[:4]

    found = [Failure(T0 + key * S, key, f"{key:016x}", "KeyError", "total", "", "") for key in range(1, 7)]
    assert [store.add_failures([one]) for one in found] == [1, 1, 1, 0, 0, 0]
    again = found[5]._replace(fingerprint=found[0].fingerprint)
    assert store.add_failures([again]) == 1, "a group that is there takes more"
    assert {one.fingerprint: one.requests for one in store.error_groups(EVERYBODY, ALL)} == {
        f"{1:016x}": 2,
        f"{2:016x}": 1,
        f"{3:016x}": 1,
    }

    with pytest.raises(StoreError, match="unknown server cannot delete single points, and nothing was removed"):
        store.erase(Person(user=ANA.user), is_dry=False)
    assert len(store.log(EVERYBODY, ALL, Filters(), 99, None)) == 6

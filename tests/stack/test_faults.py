"""One fault at a time in the whole stack, while requests come: no line lost or doubled, said while it lasts, healed after.

| fault | `/ready` of the bridge meanwhile | after it |
|---|---|---|
| InfluxDB dead | 503: it does not answer | ready by itself; the log was the queue |
| InfluxDB answers 429 or 503 | 503: with its status | the same |
| InfluxDB answers 413 | 200: batches are cut in halves until they fit | |
| token revoked | 503: the token | the same, when it is valid again |
| the bucket of raw spans is none | 503: raw spans are lost | the same, when one is stored |
| collector dead | 200: rows come without the app's part, each after its wait | rows are joined again |
| bridge dead | nobody answers | reads on from its positions; spans that it had in memory may be lost, rows not |
| no room for the positions | 503: they cannot be saved | saved again; rows were stored all the while |
| log rotated | 200 | |
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

pytestmark = [pytest.mark.nginx, pytest.mark.collector, pytest.mark.influxdb]

RATE = 50.0
BEFORE_S = AFTER_S = 1.0
FAULT_S = 2.0
SPAN_WAIT_MS = 1500
SAID_S_MAX = 10.0
HEALED_S_MAX = 40.0


def wait_said(chain: Any, *words: str) -> None:
    """Wait until `/ready` says what is wrong."""
    said: list[tuple[int, str]] = []

    def look() -> bool:
        said[:] = [chain.front.ready()]
        return said[0][0] == 503 and all(word in said[0][1] for word in words)

    try:
        chain.wait_for(f"/ready is 503 and says {words}", look, SAID_S_MAX)
    except AssertionError as error:
        raise AssertionError(f"{error}; it says {said}") from None


@contextmanager
def while_requests_come(chain: Any, name: str) -> Iterator[Any]:
    """Let requests come before, while and after the block; then each must be in InfluxDB once, and all be well."""
    with chain.traffic(RATE) as traffic:
        time.sleep(BEFORE_S)
        yield traffic.tally
        began = time.monotonic()
        chain.front.wait_ready(HEALED_S_MAX)
        healed_s = time.monotonic() - began
        time.sleep(AFTER_S)
    chain.settled(traffic.tally.sent)
    assert traffic.tally.failed == 0, "the app's users notice nothing"
    assert chain.front.ready() == (200, "")
    chain.say(f"{name}: {traffic.tally.sent} requests, each once; ready {healed_s:.1f} s after the fault ended")


@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_influxdb_is_dead_for_a_while(make_influxdb: Any, make_chain: Any, seconds: int) -> None:
    chain = make_chain(make_influxdb(), span_wait_ms=SPAN_WAIT_MS)
    with while_requests_come(chain, f"InfluxDB dead for {seconds} s"):
        chain.influxdb.kill()
        began = time.monotonic()
        wait_said(chain, "does not answer", "is InfluxDB running")
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        chain.influxdb.start()


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "1"}), (503, {})])
def test_influxdb_is_busy(influxdb: Any, make_chain: Any, status: int, headers: dict[str, str]) -> None:
    chain = make_chain(influxdb, has_proxy=True, span_wait_ms=SPAN_WAIT_MS)
    with while_requests_come(chain, f"InfluxDB answers {status}"):
        chain.proxy.refuse(status, headers)
        wait_said(chain, str(status), "it is tried again")
        time.sleep(FAULT_S)
        chain.proxy.pass_on()
    assert chain.proxy.refused > 1


@pytest.mark.slow
@pytest.mark.parametrize("retry_after", ["60", ""])
def test_influxdb_takes_no_writes_for_longer_than_one_attempt(influxdb: Any, make_chain: Any, retry_after: str) -> None:
    """It answers questions all the while: only the failed batch can tell."""
    chain = make_chain(influxdb, has_proxy=True, span_wait_ms=SPAN_WAIT_MS)
    with while_requests_come(chain, f"InfluxDB takes no writes for 30 s, Retry-After {retry_after!r}"):
        chain.proxy.refuse(429, {"Retry-After": retry_after} if retry_after else {}, only_writes=True)
        time.sleep(30 - SAID_S_MAX)
        wait_said(chain, "rows wait")
        chain.proxy.pass_on()
        time.sleep(30 if retry_after else 0)


def test_influxdb_takes_only_small_batches(influxdb: Any, make_chain: Any) -> None:
    chain = make_chain(influxdb, has_proxy=True, span_wait_ms=SPAN_WAIT_MS)
    with while_requests_come(chain, "InfluxDB answers 413"):
        chain.proxy.refuse(413, lines_max=3)
        chain.wait_for("a batch was too large", lambda: chain.proxy.refused > 3, SAID_S_MAX)
        time.sleep(FAULT_S)
        assert chain.front.ready() == (200, ""), "nothing is wrong: batches are cut until they fit"
        chain.proxy.pass_on()


def test_the_token_is_revoked_for_a_while(influxdb: Any, make_chain: Any) -> None:
    chain = make_chain(influxdb, span_wait_ms=SPAN_WAIT_MS)
    with while_requests_come(chain, "token revoked"):
        chain.let_token_be("inactive")
        wait_said(chain, "401", "INFLUXDB_V2_TOKEN is wrong, revoked")
        time.sleep(FAULT_S)
        chain.let_token_be("active")


def test_the_bucket_of_raw_spans_is_wrong_for_a_while(influxdb: Any, make_chain: Any) -> None:
    """Its exporter gives these spans up, and only counts: the bridge reads its counters."""
    chain = make_chain(influxdb, raw_spans="to-come", span_wait_ms=SPAN_WAIT_MS)
    with while_requests_come(chain, "no bucket of raw spans"):
        wait_said(chain, "raw spans are lost", "COLLECTOR_TRACES_BUCKET")
        org_id = influxdb.call("GET", "/api/v2/orgs", params={"org": influxdb.org}).json()["orgs"][0]["id"]
        influxdb.call("POST", "/api/v2/buckets", json={"orgID": org_id, "name": "to-come", "retentionRules": []})


def test_the_collector_crashes(influxdb: Any, make_chain: Any) -> None:
    """Its spans wait; what the app says of each request comes home with the answer and needs no collector."""
    chain = make_chain(influxdb, span_wait_ms=SPAN_WAIT_MS)
    spans, told = "tailtrace_spans_total", 'tailtrace_join_total{result="told"}'
    with while_requests_come(chain, "collector kill -9"):
        chain.wait_for("spans come", lambda: chain.front.metrics()[spans] > 0, SAID_S_MAX)
        chain.collector.kill()
        before = chain.front.metrics()
        time.sleep(FAULT_S + SPAN_WAIT_MS / 1000)
        assert chain.front.ready() == (200, "")
        now = chain.front.metrics()
        assert now["tailtrace_rows_stored_total"] > before["tailtrace_rows_stored_total"], "rows wait for no span"
        assert now[told] > before[told] + RATE
        chain.collector.start()
        chain.wait_for("spans come again", lambda: chain.front.metrics()[spans] > now[spans] + RATE, HEALED_S_MAX)


def test_the_bridge_crashes(influxdb: Any, make_chain: Any) -> None:
    chain = make_chain(influxdb, span_wait_ms=SPAN_WAIT_MS)
    with while_requests_come(chain, "bridge kill -9, twice"):
        for _ in range(2):  # the second time while it reads what it missed
            chain.front.bridge.kill()
            assert chain.front.ready()[0] == 0
            time.sleep(FAULT_S / 2)
            chain.front.bridge.start()
            time.sleep(0.7)


def test_the_log_is_rotated(influxdb: Any, make_chain: Any) -> None:
    chain = make_chain(influxdb, span_wait_ms=SPAN_WAIT_MS)
    with while_requests_come(chain, "log rotated, three times, once while the bridge was dead"):
        chain.front.rotate()
        time.sleep(1)
        chain.front.rotate()
        time.sleep(1)
        chain.front.bridge.kill()
        chain.front.rotate()
        time.sleep(1)
        chain.front.bridge.start()
    assert len(chain.front.logs()) == 4


@contextmanager
def no_room(pid: int) -> Iterator[None]:
    """Let the process write no byte into files: each write fails as on a full disk, and no disk has to be full."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it may be dead by now
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux's")
def test_there_is_no_room_for_the_positions(influxdb: Any, make_chain: Any) -> None:
    chain = make_chain(influxdb, span_wait_ms=SPAN_WAIT_MS)
    bridge = chain.front.bridge
    with while_requests_come(chain, "no room for the positions, then a crash"):
        with no_room(bridge.pid):
            wait_said(chain, "checkpoint.json", "positions cannot be saved")
            stored = chain.front.metrics()["tailtrace_rows_stored_total"]
            time.sleep(FAULT_S)
            assert chain.front.metrics()["tailtrace_rows_stored_total"] > stored, "rows are stored all the same"
        chain.front.wait_ready(HEALED_S_MAX)
        with no_room(bridge.pid):
            wait_said(chain, "positions cannot be saved")
            time.sleep(FAULT_S)
            bridge.kill()  # what it stored since then is read again, and known
            bridge.start()

"""The whole stack at up to 200 requests a second: each request once in InfluxDB, named and joined; the answers are right.

"Right" is what the clients counted themselves. `bench/stack.py` runs the long variants and shows the numbers.
"""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tailtrace_api.demo.app import FORECAST_RAISES_EACH
from tailtrace_api.demo.people import PEOPLE

pytestmark = [pytest.mark.nginx, pytest.mark.collector, pytest.mark.influxdb]

RATE = 200.0
NAMES = {person.address: (person.user or None, person.device or None) for person in PEOPLE}
USERS = {person.user for person in PEOPLE} - {""}
DEVICES = {person.device for person in PEOPLE} - {""}
FEATURES = {
    "Dashboard", "Best hours to produce", "Climate summary", "Batch", "Prophet forecast", "Daily production plan",
    "__other__",
}  # fmt: skip


def assert_named_and_joined(lines: list[Any], points: list[dict[str, Any]]) -> None:
    wrong = [point for point in points if (point["user"], point["device"]) != NAMES[point["ip"]]]
    assert not wrong, wrong[:3]
    joined = {point["trace_id"] for point in points if point["app_time_ms"] is not None}
    proxied = {line.trace_id for line in lines if line.proxied}
    # Whom the client left alone has no answer whose header nginx could log; its span may come when its wait is over.
    answered = {line.trace_id for line in lines if line.proxied and line.status != 499}
    assert not answered - joined, f"{len(answered - joined)} of {len(answered)} proxied requests without their span"
    assert joined <= proxied


def test_it_is_ready_before_the_first_request(influxdb: Any, make_chain: Any) -> None:
    """Whoever waits for `/ready`, as docker-compose.yml does, would wait for a request that waits for it."""
    chain = make_chain(influxdb, has_api=True)
    chain.front.wait_ready(10)
    assert chain.answer("errors", hours=1)["groups"] == []
    time.sleep(1.5)
    assert "traces:" not in chain.front.bridge.log, chain.front.bridge.log
    assert httpx.get(f"{chain.api_url}/ready").json() == {
        "status": "ready",
        "problems": [],
        "keeps": {"requests_days": None, "sums_days": None, "pseudonyms": False},
    }
    assert chain.answer("access-logs", hours=1)["logs"] == []
    assert chain.answer("dashboard-usage", days=1)["summary"]["total_requests"] == 0
    assert chain.answer("system-health-history", days=1)["uptime_percentage"] is None


@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_each_request_once_and_the_three_answers_right(influxdb: Any, make_chain: Any, seconds: int) -> None:
    chain = make_chain(influxdb, has_api=True)
    with chain.traffic(RATE) as traffic:
        time.sleep(seconds)
    tally = traffic.tally
    ended = time.monotonic()
    lines, points = chain.settled(tally.sent)
    settled_s = time.monotonic() - ended
    chain.say(f"chain: {tally.sent} requests in {seconds} s, {tally.failed} failed, {tally.held_back} held back")
    chain.say(f"chain: {len(lines)} lines, {len(points)} points, all there {settled_s:.1f} s after the last answer")
    assert tally.failed == 0
    # How quick the machine is stands in `bench/stack.py`; here enough of them must have come for the counts to say something.
    assert tally.sent + tally.held_back >= 0.2 * RATE * seconds, "hardly any request was sent"
    assert_named_and_joined(lines, points)

    statuses = Counter(line.status for line in lines)
    assert not tally.statuses - statuses, "what a client was answered, nginx wrote"
    assert (statuses - tally.statuses).total() == tally.given_up
    errors = sum(count for status, count in statuses.items() if status >= 500)

    began = time.monotonic()
    logs = chain.answer("access-logs", hours=1)
    assert logs["summary"].pop("avg_response_time_ms") > 0
    assert logs["summary"] == {
        "total_requests": tally.sent,
        "unique_users": len(USERS),
        "unique_devices": len(DEVICES),
        "unique_addresses": len(PEOPLE),
        "errors_5xx": errors,
    }
    for person in PEOPLE:
        if person.device:
            asked = chain.answer("access-logs", hours=1, device=person.device, limit=1)
            assert asked["summary"]["total_requests"] == tally.addresses[person.address], person

    usage = chain.answer("dashboard-usage", days=1)
    assert usage["summary"]["total_requests"] == tally.sent
    assert usage["summary"]["total_sessions"] == len(PEOPLE), "a device each, and nobody paused for half an hour"
    assert {row["card"]: row["views"] for row in usage["most_viewed_cards"]} == dict(tally.cards)
    assert sum(row["requests"] for row in usage["peak_hours"]) == tally.sent
    calls: Counter[str] = Counter()
    for row in usage["api_calls_by_endpoint"]:
        calls.update(row)
    assert calls.total() == tally.sent - tally.cards.total()
    assert calls["/dashboard/complete"] == sum(line.path == "/dashboard/complete" for line in lines)
    assert calls["/batches/{batch_id}"] == sum(line.path.startswith("/batches/") for line in lines)
    by_user: Counter[str] = Counter()
    for person in PEOPLE:
        by_user[person.user or person.device or person.address] += tally.addresses[person.address]
    assert {row["user"]: row["requests"] for row in usage["user_sessions"]} == dict(by_user)
    favorites = {feature for row in usage["user_sessions"] for feature in row["favorite_features"]}
    assert favorites <= FEATURES, "the names come from the app's OpenAPI document"

    health = chain.answer("system-health-history", days=1)
    assert health["error_rate"]["overall"] == {
        "error_rate": round(errors / tally.sent, 6),
        "requests": tally.sent,
        "errors_5xx": errors,
        "errors_4xx": sum(n for status, n in statuses.items() if 400 <= status < 499),
        "client_closed_499": statuses[499],
    }
    assert health["uptime_percentage"] == 100.0
    assert sum(row["count"] for row in health["api_response_times"]) == tally.sent
    assert sum(row["requests"] for row in health["over_time"]) == tally.sent
    assert health["influxdb_query_times"]["store"] == "influxdb"
    times = health["influxdb_query_times"]
    chain.say(f"chain: {len(PEOPLE) + 2} answers in {time.monotonic() - began:.2f} s; queries p95 {times['p95_ms']} ms")


def test_a_request_that_failed_is_kept_whole_and_joins_its_group(influxdb: Any, make_chain: Any) -> None:
    chain = make_chain(influxdb, has_api=True, has_narrow_token=True)
    url = f"{chain.front.nginx.url}/predict/prices/weekly"
    with ThreadPoolExecutor(FORECAST_RAISES_EACH) as pool:
        answers = list(pool.map(lambda _: httpx.get(url, timeout=10), range(FORECAST_RAISES_EACH)))
    assert sorted(one.status_code for one in answers)[-2:] == [200, 500]
    (group,) = chain.wait_for("the group", lambda: chain.answer("errors", hours=1)["groups"])
    assert (group["type"], group["requests"]) == ("FloatingPointError", 1)
    assert group["endpoints"] == [{"name": "/predict/prices/weekly", "requests": 1}]
    assert group["frames"][-1].endswith("demo/app.py forecast")
    (newest,) = group["traces"]
    assert newest["kept"]
    trace = chain.answer(f"traces/{newest['trace_id']}")
    assert len(trace["requests"]) == 1
    assert {one["service"] for one in trace["spans"]} == {"nginx", "chocolate-factory"}
    assert len(trace["spans"]) > 2, "spans of other kinds come through the collector"
    assert any(failure["type"] == "FloatingPointError" for one in trace["spans"] for failure in one["failures"])
    metrics = chain.front.metrics()
    assert sum(count for name, count in metrics.items() if name.startswith("tailtrace_traces_total{")) >= 2


def test_a_fleet_of_two_counts_each_request_once(influxdb: Any, make_chain: Any) -> None:
    """Two nginx in front of one app, a bridge beside each, one InfluxDB: the answers are over both.

    Their token is as narrow as docs/deployment.md says that it may be.
    """
    chain = make_chain(influxdb, fronts=2, has_api=True, has_narrow_token=True)
    with chain.traffic(40, chain.fronts[0]) as one, chain.traffic(40, chain.fronts[1]) as other:
        time.sleep(5)
    sent = one.tally.sent + other.tally.sent
    lines, points = chain.settled(sent)
    assert Counter(point["source"] for point in points) == {"a": one.tally.sent, "b": other.tally.sent}
    assert_named_and_joined(lines, points)
    assert chain.answer("access-logs", hours=1)["summary"]["total_requests"] == sent
    usage = chain.answer("dashboard-usage", days=1)
    views = {row["card"]: row["views"] for row in usage["most_viewed_cards"]}
    assert views == dict(one.tally.cards + other.tally.cards)
    # A person who comes through both is one person: sessions are of user and device, wherever they were seen.
    assert usage["summary"]["total_sessions"] == len(PEOPLE)
    assert chain.answer("system-health-history", days=1)["error_rate"]["overall"]["requests"] == sent

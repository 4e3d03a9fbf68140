"""otel-collector.yaml with the exporter `influxdb` and a real InfluxDB: what was sent is stored, or counted as left out.

Each case sends good spans around one that the exporter cannot take as it is: it must cost nothing but itself.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from tailtrace_api.doctor.servers import check_collector
from tailtrace_bridge.spans.collector import RawSpansWatch, ask

pytestmark = [pytest.mark.collector, pytest.mark.influxdb]
CONFIG = Path(__file__).parents[2] / "otel-collector.yaml"
WAIT_S_MAX = 20.0
STILL_S = 1.0
"""So long nothing more may come."""
DAY_NS = 86_400 * 10**9
GOOD = 50
"""Spans before the odd one, and as many after it."""


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def span(number: int, **more: Any) -> Span:
    now_ns = time.time_ns()
    fixed = {
        "trace_id": number.to_bytes(16),
        "span_id": number.to_bytes(8),
        "kind": Span.SPAN_KIND_INTERNAL,
        "start_time_unix_nano": now_ns,
        "end_time_unix_nano": now_ns + 5_000_000,
        "name": f"work {number}",
    }
    return Span(**{**fixed, **more})


class Raw:
    """A collector, and the bucket of InfluxDB that it writes to."""

    def __init__(self, influxdb: Any, collector: Callable[..., Any], folder: Path, **started: Any) -> None:
        self.influxdb, self.bucket = influxdb, influxdb.new_bucket(3 * 86_400)
        token = folder / "token"
        token.write_text(influxdb.token, encoding="utf-8")
        env = {
            "INFLUXDB_V2_URL": influxdb.url,
            "INFLUXDB_V2_ORG": influxdb.org,
            "INFLUXDB_V2_TOKEN_FILE": str(token),
            "COLLECTOR_TRACES_BUCKET": self.bucket,
            "COLLECTOR_BRIDGE_URL": "http://127.0.0.1:1",
            **started.pop("env", {}),
        }
        self.collector = collector(CONFIG, env=env, **started)

    def send(self, *spans: Span, resource: tuple[KeyValue, ...] = (), to: str = "/v1/traces") -> None:
        """Send, and have it acknowledged."""
        whole = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
        whole.resource.attributes.extend(resource or (text("service.name", "shop"),))
        body = ExportTraceServiceRequest(resource_spans=[whole]).SerializeToString()
        answer = httpx.post(self.collector.http + to, content=body, headers={"content-type": "application/x-protobuf"})
        assert answer.status_code == 200, answer.text

    def points(self, measurement: str = "spans") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.influxdb.query(f'SELECT * FROM "{measurement}"', self.bucket)
        return found

    def stored(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many spans are stored; more must not come."""
        end = time.monotonic() + WAIT_S_MAX
        while len(self.points()) < count and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(STILL_S)
        assert len(self.points()) == count, self.collector.log[-3000:]
        return self.points()

    def counted(self, name: str, of: str) -> int:
        """One of the collector's own counters, with this in its labels."""
        page = httpx.get(self.collector.metrics_url).text
        found = [line for line in page.splitlines() if line.startswith(f"otelcol_{name}") and of in line]
        return int(sum(float(line.rpartition(" ")[2]) for line in found))


@pytest.fixture
def raw(influxdb: Any, collector: Callable[..., Any], tmp_path: Path) -> Raw:
    return Raw(influxdb, collector, tmp_path)


LINK = Span.Link(trace_id=(9).to_bytes(16), span_id=(9).to_bytes(8))
KEPT: dict[str, dict[str, Any]] = {
    "a link without attributes": {"links": [LINK]},
    "links with and without": {"links": [LINK, Span.Link(trace_id=b"\1" * 16, span_id=b"\2" * 8, trace_state="a=b")]},
    "an event without a name": {"events": [Span.Event(time_unix_nano=time.time_ns())]},
    "an event of 1970": {"events": [Span.Event(name="old")]},
    "an event of the far future": {"events": [Span.Event(name="new", time_unix_nano=2**64 - 1)]},
    "its own service.name": {"attributes": [text("service.name", "another")]},
    "an attribute of 2 MB": {"attributes": [text("long", "x" * 2_000_000)]},
    "a name of 2 MB": {"name": "x" * 2_000_000},
    "not a number": {"attributes": [KeyValue(key="nan", value=AnyValue(double_value=float("nan")))]},
    "an attribute without a name": {"attributes": [text("", "x")]},
    "no time at its end": {"end_time_unix_nano": 0},
    "text of control characters": {"name": "a\nb\\", "attributes": [text("k\n\\", "v\n\\")]},
}
LEFT_OUT: dict[str, dict[str, Any]] = {
    "no trace id": {"trace_id": bytes(16)},
    "no span id": {"span_id": bytes(8)},
    "no time": {"start_time_unix_nano": 0, "end_time_unix_nano": 0},
    "older than the bucket keeps": {"start_time_unix_nano": time.time_ns() - 4 * DAY_NS},
    "of a clock that is days ahead": {"start_time_unix_nano": time.time_ns() + 4 * DAY_NS},
    "of a time that InfluxDB does not have": {"start_time_unix_nano": 2**63 - 1},
}


@pytest.mark.parametrize("odd", KEPT.values(), ids=KEPT)
def test_an_odd_span_is_kept_with_all_around_it(raw: Raw, odd: dict[str, Any]) -> None:
    good = [span(number) for number in range(1, 2 * GOOD + 1)]
    raw.send(*good[:GOOD], span(1000, **odd), *good[GOOD:])
    assert {point["trace_id"] for point in raw.stored(2 * GOOD + 1)} >= {f"{1000:032x}"}
    assert raw.counted("exporter_send_failed_spans", "influxdb") == 0


@pytest.mark.parametrize("odd", LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_span_that_cannot_be_stored_is_left_out_alone_and_counted(raw: Raw, odd: dict[str, Any]) -> None:
    good = [span(number) for number in range(1, 2 * GOOD + 1)]
    raw.send(*good[:GOOD], span(1000, **odd), *good[GOOD:])
    raw.stored(2 * GOOD)
    assert raw.counted("processor_filter_spans_filtered", "filter/influxdb") == 1
    assert raw.counted("exporter_send_failed_spans", "influxdb") == 0


@pytest.mark.parametrize(("percent", "first_left_out"), [("0.5", 21_474_837), ("25", 2**30), ("0", 0)])
def test_the_share_goes_by_the_trace(
    influxdb: Any, collector: Callable[..., Any], tmp_path: Path, percent: str, first_left_out: int
) -> None:
    raw = Raw(influxdb, collector, tmp_path, env={"COLLECTOR_TRACES_PERCENT": percent})
    kept = [(7 << 32 | number).to_bytes(16) for number in (0, first_left_out - 1) if first_left_out]
    left_out = [(7 << 32 | number).to_bytes(16) for number in (first_left_out, 2**32 - 1)]
    raw.send(*(span(n, trace_id=trace_id) for trace_id in (*kept, *left_out) for n in range(1, 4)))
    found = raw.stored(3 * len(kept))
    assert {point["trace_id"] for point in found} == {trace_id.hex() for trace_id in kept}
    assert raw.counted("processor_filter_spans_filtered", 'filter="filter/share"') == 6


def test_links_go_and_are_counted_at_their_span(raw: Raw) -> None:
    raw.send(span(1, links=[LINK, LINK]), span(2))
    first, second = sorted(raw.stored(2), key=lambda point: point["trace_id"])
    assert (first["dropped_links_count"], second["dropped_links_count"]) == (2, None)
    assert raw.points("span-links") == []


def test_without_the_feature_gate_spans_with_links_are_left_out_and_counted(
    influxdb: Any, collector: Callable[..., Any], tmp_path: Path
) -> None:
    raw = Raw(influxdb, collector, tmp_path, flags=())
    raw.send(*(span(number) for number in range(1, 51)), span(1000, links=[LINK]))
    raw.stored(50)
    assert raw.counted("processor_filter_spans_filtered", "filter/influxdb") == 1


def test_events_of_one_nanosecond_are_all_there(raw: Raw) -> None:
    now_ns = time.time_ns()
    raw.send(span(1, events=[Span.Event(name=f"event {number}", time_unix_nano=now_ns) for number in range(20)]))
    (point,) = raw.stored(1)
    assert "tailtrace" not in point["attributes"]
    assert [point["event.name"] for point in raw.points("logs")] == [f"event {number}" for number in range(20)]


@pytest.mark.parametrize(
    "name", ["a\nb", "ends in \\", "", "x" * 100_000], ids=["newline", "backslash", "none", "long"]
)
def test_the_service_may_have_any_name(raw: Raw, name: str) -> None:
    raw.send(*(span(number) for number in range(1, 51)), resource=(text("service.name", name),))
    raw.stored(50)


def test_a_batch_of_many_spans_is_whole_after_an_outage(
    make_influxdb: Callable[[], Any], collector: Callable[..., Any], tmp_path: Path
) -> None:
    """More lines than the 5,000 that were once one POST: the first POST that fails drops all of its batch."""
    server = make_influxdb()
    raw = Raw(server, collector, tmp_path)
    server.kill()
    for start in range(1, 20_001, 1000):
        raw.send(*(span(number) for number in range(start, start + 1000)))
    time.sleep(3)  # batches have been tried by now
    assert raw.counted("exporter_queue_size", "influxdb") > 0
    server.start()
    assert len({point["trace_id"] for point in raw.stored(20_000)}) == 20_000
    assert raw.counted("exporter_send_failed_spans", "influxdb") == 0


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"COLLECTOR_TRACES_BUCKET": "none-such"}, "404"),
        ({"INFLUXDB_V2_ORG": "none-such"}, "404"),
        ({"INFLUXDB_V2_TOKEN_FILE": "", "INFLUXDB_V2_TOKEN": "wrong"}, "401"),
    ],
    ids=["bucket", "organization", "token"],
)
def test_a_wrong_setting_is_counted_and_said(
    influxdb: Any, collector: Callable[..., Any], tmp_path: Path, env: dict[str, str], says: str
) -> None:
    raw = Raw(influxdb, collector, tmp_path, env=env)
    raw.send(span(1), span(2))
    end = time.monotonic() + WAIT_S_MAX
    while (failed := raw.counted("exporter_send_failed_spans", "influxdb")) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    assert failed == 2
    assert says in raw.collector.log
    check = check_collector(raw.collector.metrics_url)
    assert (check.status, check.message) == ("failure", "0 raw spans stored, 2 given up since it began")


def test_a_token_file_that_was_removed_first_is_told_and_a_restart_heals(
    influxdb: Any, collector: Callable[..., Any], tmp_path: Path
) -> None:
    """The collector watches the file, not its name: what is written after a removal it never reads."""
    first, second = (new_token(influxdb) for _ in range(2))
    file = tmp_path / "its-token"
    file.write_text(first["token"], encoding="utf-8")
    raw = Raw(influxdb, collector, tmp_path, env={"INFLUXDB_V2_TOKEN_FILE": str(file)})
    watch = RawSpansWatch(lambda: ask(raw.collector.metrics_url))
    raw.send(span(1))
    raw.stored(1)
    assert watch.problem() == ""
    file.unlink()
    time.sleep(STILL_S)
    file.write_text(second["token"], encoding="utf-8")
    influxdb.call("PATCH", f"/api/v2/authorizations/{first['id']}", json={"status": "inactive"})
    raw.send(span(2))
    end = time.monotonic() + WAIT_S_MAX
    while not (said := watch.problem()) and time.monotonic() < end:
        time.sleep(0.1)
    assert "raw spans are lost, 1 since the collector began" in said
    raw.collector.stop()
    raw.collector.start()
    raw.send(span(3))
    assert {int(point["trace_id"], 16) for point in raw.stored(2)} == {1, 3}
    assert watch.problem() == ""


def new_token(influxdb: Any) -> dict[str, str]:
    """Make a token that may do everything with buckets."""
    org_id = influxdb.call("GET", "/api/v2/orgs", params={"org": influxdb.org}).json()["orgs"][0]["id"]
    allowed = [{"action": action, "resource": {"type": "buckets", "orgID": org_id}} for action in ("read", "write")]
    made: dict[str, str] = influxdb.call(
        "POST", "/api/v2/authorizations", json={"orgID": org_id, "permissions": allowed}
    ).json()
    return made


def listed(*texts: str) -> AnyValue:
    return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=one) for one in texts]))


def mapped(**texts: str) -> AnyValue:
    return AnyValue(kvlist_value=KeyValueList(values=[text(key, value) for key, value in texts.items()]))


@pytest.mark.parametrize(
    "secret",
    [
        {"status": Status(code=Status.STATUS_CODE_ERROR, message="failed with Bearer HIDDENHIDDEN")},
        {"status": Status(code=Status.STATUS_CODE_ERROR, message="password=HIDDEN was refused")},
        {"name": "login token=HIDDEN"},
        {"attributes": [KeyValue(key="list", value=listed("ok", "Bearer HIDDENHIDDEN", "http://x/a?q=HIDDEN"))]},
        {"attributes": [KeyValue(key="map", value=mapped(password="HIDDEN", url="http://u:HIDDEN@x/"))]},
        {"attributes": [KeyValue(key="map", value=AnyValue(kvlist_value=KeyValueList(
            values=[KeyValue(key="inner", value=mapped(note="Bearer HIDDENHIDDEN"))])))]},
        {"events": [Span.Event(name="GET http://x/a?q=HIDDEN", time_unix_nano=time.time_ns())]},
        {"events": [Span.Event(name="sent Bearer HIDDENHIDDEN", time_unix_nano=time.time_ns())]},
        {"events": [Span.Event(name="e", time_unix_nano=time.time_ns(), attributes=[text("api_key", "HIDDEN")])]},
        {"events": [Span.Event(name="e", time_unix_nano=time.time_ns(), attributes=[
            KeyValue(key="list", value=listed("Bearer HIDDENHIDDEN"))])]},
        {"links": [Span.Link(trace_id=b"\1" * 16, span_id=b"\2" * 8, attributes=[text("note", "Bearer HIDDENHIDDEN")])]},
        {"resource": (text("from", "http://u:HIDDEN@x/?HIDDEN"),)},
        {"resource": (KeyValue(key="process.command_args", value=listed("--password", "HIDDEN")),)},
        {"resource": (KeyValue(key="list", value=listed("http://x/?HIDDEN")),)},
    ],
)  # fmt: skip
def test_no_secret_reaches_influxdb(raw: Raw, secret: dict[str, Any]) -> None:
    resource = secret.get("resource", ())
    raw.send(span(1, **{key: value for key, value in secret.items() if key != "resource"}), resource=resource)
    points = [*raw.stored(1), *raw.points("logs"), *raw.points("span-links")]
    assert "HIDDEN" not in repr(points)

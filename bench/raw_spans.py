"""What raw spans cost InfluxDB: its memory with a bucket `traces` as full as 200 requests/s make it.

    python bench/raw_spans.py --requests-per-s 200 --percent 0.5 --hours 24 --spans 3

Real InfluxDB and collector (`make collector influxdb`), with the collector's own file. As many traces are sent as the
share keeps of that load in that time, spread over it, with the share at 100: so minutes show what days come to.
Then the time of `erase`'s part in that bucket: its traces are listed, and one in a hundred is deleted.

RssAnon is what InfluxDB cannot give back; the rest of VmHWM is pages of files, which the kernel takes back at need.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.stack.servers import Collector, InfluxDB  # noqa: E402

from tailtrace_bridge.store.influx.wire.delete import Deleter  # noqa: E402
from tailtrace_bridge.store.influx.wire.query import InfluxQL, Server  # noqa: E402

CACHE = Path.home() / ".cache" / "tailtrace"
MIB = 1024 * 1024
MEMORY_MIB_MAX = 2048
BATCH_TRACES = 500
ERASE_S_MAX = 2.0
COLD_S = 10
"""What has not been written to for so long goes to files; ten minutes unless told."""
COLD_S_MAX = 300


def memory_mib(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.endswith(" kB")}
    return {name: sizes[name] for name in ("RssAnon", "VmRSS", "VmHWM")}


def trace(at_ns: int, spans: int) -> list[Span]:
    trace_id = os.urandom(16)
    made = []
    for number in range(spans):
        span = Span(
            trace_id=trace_id, span_id=os.urandom(8), name=f"GET /items/{{id}} {number}",
            kind=Span.SPAN_KIND_SERVER if number == 0 else Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=at_ns + number, end_time_unix_nano=at_ns + 20_000_000,
        )  # fmt: skip
        for name in ("http.request.method", "http.route", "url.path", "server.address", "db.query.text"):
            span.attributes.add(key=name).value.string_value = f"value of {name}"
        made.append(span)
    return made


def send(collector: Collector, spans: list[Span]) -> None:
    whole = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    whole.resource.attributes.add(key="service.name").value.string_value = "shop"
    body = ExportTraceServiceRequest(resource_spans=[whole]).SerializeToString()
    while True:
        answer = httpx.post(
            f"{collector.http}/v1/traces", content=body, headers={"content-type": "application/x-protobuf"}, timeout=30
        )
        if answer.is_success:
            return
        time.sleep(0.5)  # its queue is full: as an app's SDK does


def erase_s(influxdb: InfluxDB, bucket: str, theirs: list[str]) -> float:
    """Return how long `erase` takes in the bucket for these traces, given in order of time."""
    influx = InfluxQL(Server(influxdb.url, influxdb.org, influxdb.token))
    started_s = time.perf_counter()
    there = {row[1] for result in influx.query(bucket, 'SHOW TAG VALUES WITH KEY = "trace_id"') for row in result.rows}
    assert there.issuperset(theirs)
    Deleter(influx, influxdb.url, influxdb.org).any_of(bucket, "trace_id", theirs)
    return time.perf_counter() - started_s


def wait_cold(folder: Path) -> None:
    """Wait until all points are in files, as those of the past hours are: InfluxDB writes what has come to rest."""
    end_s = time.monotonic() + COLD_S_MAX
    while any(path.stat().st_size for path in folder.glob("engine/wal/**/*.wal")):
        assert time.monotonic() < end_s, "points are still in the write-ahead log"
        time.sleep(2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests-per-s", type=float, default=200)
    parser.add_argument("--percent", type=float, default=0.5, help="COLLECTOR_TRACES_PERCENT")
    parser.add_argument("--hours", type=int, default=24, help="TRACES_RETENTION_HOURS")
    parser.add_argument("--spans", type=int, default=3, help="of a request")
    asked = parser.parse_args()
    traces = round(asked.requests_per_s * 3600 * asked.hours * asked.percent / 100)
    with tempfile.TemporaryDirectory(prefix="tailtrace-raw-") as folder:
        influxdb = InfluxDB(
            CACHE / "influxdb" / "influxd", Path(folder), storage_cache_snapshot_write_cold_duration=f"{COLD_S}s"
        )
        influxdb.start()
        try:
            bucket = influxdb.new_bucket(asked.hours * 3600)
            environment = {
                "INFLUXDB_V2_URL": influxdb.url, "INFLUXDB_V2_ORG": influxdb.org, "INFLUXDB_V2_TOKEN": influxdb.token,
                "COLLECTOR_TRACES_BUCKET": bucket, "COLLECTOR_TRACES_RETENTION": f"{asked.hours}h",
                "COLLECTOR_TRACES_PERCENT": "100", "COLLECTOR_BRIDGE_URL": "http://127.0.0.1:1",
            }  # fmt: skip
            gate = ("--feature-gates=ottl.set.allowNil",)
            (Path(folder) / "collector").mkdir()
            config = (ROOT / "otel-collector.yaml",)
            collector = Collector(CACHE / "otelcol" / "otelcol", config, Path(folder) / "collector", environment, gate)
            collector.start()
            try:
                return run(influxdb, collector, bucket, asked, traces, Path(folder))
            finally:
                collector.stop()
        finally:
            influxdb.stop()


def run(
    influxdb: InfluxDB, collector: Collector, bucket: str, asked: argparse.Namespace, traces: int, folder: Path
) -> int:
    now_ns = time.time_ns()
    room_ns = (asked.hours * 3600 - 600) * 10**9  # ten minutes less: none is too old when it comes
    anonymous_mib = 0.0
    theirs = []
    for first in range(0, traces, BATCH_TRACES):
        at_ns = now_ns - room_ns + room_ns * first // traces
        made = [trace(at_ns + n * 1_000_000, asked.spans) for n in range(BATCH_TRACES)]
        theirs += [spans[0].trace_id.hex() for spans in made[::100]]
        send(collector, [span for spans in made for span in spans])
        anonymous_mib = max(anonymous_mib, memory_mib(influxdb.pid)["RssAnon"])
    wanted = -(-traces // BATCH_TRACES) * BATCH_TRACES * asked.spans
    stored = 0
    while stored < wanted:
        time.sleep(2)
        stored = int(collector.metrics()["otelcol_exporter_sent_spans"])
        anonymous_mib = max(anonymous_mib, memory_mib(influxdb.pid)["RssAnon"])
        assert not collector.metrics()["otelcol_exporter_send_failed_spans"], collector.log[-2000:]
    wait_cold(folder)
    memory, took_s = memory_mib(influxdb.pid), erase_s(influxdb, bucket, theirs)
    anonymous_mib = max(anonymous_mib, memory_mib(influxdb.pid)["RssAnon"])
    print(f"{stored:,} spans of {asked.hours} h at {asked.requests_per_s:g} requests/s, {asked.percent:g} % of traces")
    print(f"InfluxDB: RssAnon {anonymous_mib:.0f} MiB at most (of {MEMORY_MIB_MAX}), VmHWM {memory['VmHWM']:.0f} MiB")
    print(f"erase, its part in `traces`, {len(theirs):,} traces: {took_s:.2f} s (of {ERASE_S_MAX:g})")
    return int(anonymous_mib > MEMORY_MIB_MAX or took_s > ERASE_S_MAX)


if __name__ == "__main__":
    sys.exit(main())

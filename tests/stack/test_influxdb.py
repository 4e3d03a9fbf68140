"""The InfluxDB of the tests does what the stack asks of one: it writes, answers InfluxQL, and lives through a crash."""

from typing import Any

import pytest

pytestmark = pytest.mark.influxdb


def write(influxdb: Any, bucket: str, *lines: str) -> None:
    params = {"org": influxdb.org, "bucket": bucket, "precision": "s"}
    influxdb.call("POST", "/api/v2/write", params=params, content="\n".join(lines))


def test_each_bucket_is_empty_and_apart(influxdb: Any) -> None:
    one, two = influxdb.new_bucket(), influxdb.new_bucket(retention_s=3600 * 24)
    write(influxdb, one, "m,user=a value=1i 1760000000", "m,user=b value=2i 1760000000")
    assert influxdb.query('SELECT sum(value) FROM m GROUP BY "user"', one) == [
        {"user": "a", "time": "1970-01-01T00:00:00Z", "sum": 1},
        {"user": "b", "time": "1970-01-01T00:00:00Z", "sum": 2},
    ]
    assert influxdb.query("SELECT * FROM m", two) == []


def test_what_it_acknowledged_outlives_a_crash(make_influxdb: Any) -> None:
    server = make_influxdb()
    write(server, server.bucket, "m value=1i 1760000000")
    server.kill()
    assert not server.is_healthy()
    server.start()
    assert server.query("SELECT value FROM m") == [{"time": "2025-10-09T08:53:20Z", "value": 1}]
    server.stop()
    server.start()
    assert len(server.query("SELECT value FROM m")) == 1

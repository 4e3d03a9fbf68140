"""Points out of a bucket, by their tags and a span of time.

A key that is a word of InfluxQL, such as user, must be quoted. InfluxDB 2 alone can do this: 1.8 and 3.x have no
`/api/v2/delete`.

https://docs.influxdata.com/influxdb/v2/reference/syntax/delete-predicate/
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.query import SAID_LENGTH_MAX, InfluxQL, explain

EVER_NS = (0, 2**62)
_S_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Deleter:
    """Deletes in one server."""

    influx: InfluxQL
    url: str
    org: str

    def __call__(self, bucket: str, tags: Mapping[str, str], span_ns: tuple[int, int] = EVER_NS) -> None:
        """Delete points with these tags; both ends of the span are in it. Raises `StoreError`."""
        predicate = " AND ".join(f"{_key(name)}={_quoted(lines.tag(value))}" for name, value in tags.items() if value)
        body = {"start": _iso(span_ns[0]), "stop": _iso(span_ns[1]), "predicate": predicate}
        path = "/api/v2/delete?" + urlencode({"org": self.org, "bucket": bucket})
        status, answer = self.influx.call("POST", path, body=body)
        if status != 204:
            said = answer[:SAID_LENGTH_MAX].decode(errors="replace")
            raise StoreError(
                f"{explain(self.url, bucket, status, said)}; nothing can be erased without /api/v2/delete (InfluxDB 2)"
            )


def _key(name: str) -> str:
    return name if name == "_measurement" else json.dumps(name)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _iso(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // _S_NS, UTC):%Y-%m-%dT%H:%M:%S}.{time_ns % _S_NS:09d}Z"

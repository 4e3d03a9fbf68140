"""Points out of a bucket, by their tags and a span of time.

| the server (`kind`) | how |
|---|---|
| InfluxDB 2 | `/api/v2/delete`; a key that is a word of InfluxQL, such as user, must be quoted |
| InfluxDB 1 | InfluxQL's `DELETE` |
| either, for one of many values of a tag (`any_of`) | InfluxQL's `DELETE`, the only one with OR |
| any other | `StoreError`: nothing was removed |

https://docs.influxdata.com/influxdb/v2/reference/syntax/delete-predicate/ ,
https://docs.influxdata.com/influxdb/v1/query_language/manage-database/#delete-series-with-delete ,
https://docs.influxdata.com/influxdb/v2/api-guide/influxdb-1x/query/#influxql-support
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.store.influx.wire import lines
from tailtrace_bridge.store.influx.wire.kind import Erases
from tailtrace_bridge.store.influx.wire.query import SAID_LENGTH_MAX, InfluxQL, explain, identifier, literal

EVER_NS = (0, 2**62)
VALUES_MAX = 200
"""Of a statement of `any_of`. A shard that has one of them reads all of its keys, however many these are."""
STATEMENTS_MAX = 4
"""Of `any_of`, at once: a statement takes one shard after the other, two statements of other shards go side by side."""
_S_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Deleter:
    """Deletes in one server."""

    influx: InfluxQL
    url: str
    org: str

    def __call__(self, bucket: str, tags: Mapping[str, str], span_ns: tuple[int, int] = EVER_NS) -> None:
        """Delete points with these tags; both ends of the span are in it. Raises `StoreError`."""
        written = {name: lines.tag(value) for name, value in tags.items() if value}
        self.require()
        if self.influx.kind.erases is Erases.PREDICATE:
            self._by_predicate(bucket, written, span_ns)
        else:
            self._by_statement(bucket, written, span_ns)

    def any_of(self, bucket: str, tag: str, values: Sequence[str]) -> None:
        """Delete points whose tag is one of these values. Raises `StoreError`.

        Quickest where values beside each other have points of about one time: so a statement meets few shards.
        """
        self.require()
        tests = [f"{identifier(tag)} = {literal(lines.tag(one))}" for one in values]
        parts = (tests[first : first + VALUES_MAX] for first in range(0, len(tests), VALUES_MAX))
        with ThreadPoolExecutor(STATEMENTS_MAX) as pool:
            list(pool.map(lambda part: self.influx.command(bucket, f"DELETE WHERE {' OR '.join(part)}"), parts))

    def require(self) -> None:
        """Raise `StoreError` where the server cannot delete: before anything is done that needs it."""
        if self.influx.kind.erases is Erases.NOTHING:
            raise StoreError(
                f"store {self.url}: {self.influx.kind} cannot delete single points, and nothing was removed. Rows, "
                "rollups, names and rejected lines stay until their retention ends; InfluxDB 1.8 to 2.x and SQLite can"
                " erase"
            )

    def _by_predicate(self, bucket: str, tags: Mapping[str, str], span_ns: tuple[int, int]) -> None:
        predicate = " AND ".join(f"{_key(name)}={_quoted(value)}" for name, value in tags.items())
        body = {"start": _iso(span_ns[0]), "stop": _iso(span_ns[1]), "predicate": predicate}
        path = "/api/v2/delete?" + urlencode({"org": self.org, "bucket": bucket})
        status, answer = self.influx.call("POST", path, body=body)
        if status != 204:
            raise StoreError(explain(self.url, bucket, status, answer[:SAID_LENGTH_MAX].decode(errors="replace")))

    def _by_statement(self, bucket: str, tags: Mapping[str, str], span_ns: tuple[int, int]) -> None:
        measurement = f" FROM {identifier(tags['_measurement'])}" if "_measurement" in tags else ""
        conditions = [
            f"{identifier(name)} = {literal(value)}" for name, value in tags.items() if name != "_measurement"
        ]
        if span_ns != EVER_NS:
            conditions += [f"time >= {span_ns[0]}", f"time <= {span_ns[1]}"]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        self.influx.command(bucket, f"DELETE{measurement}{where}")


def _key(name: str) -> str:
    return name if name == "_measurement" else json.dumps(name)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _iso(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // _S_NS, UTC):%Y-%m-%dT%H:%M:%S}.{time_ns % _S_NS:09d}Z"

"""Questions in InfluxQL over `/query`: the dialect that InfluxDB 1.8, 2.x, 3.x, Cloud and Clustered share.

Values are bound (`$name`), never written into the text. Times are nanoseconds.

| the server | what we do |
|---|---|
| 200, results | give the rows |
| 200, an error among the results; 400 | `StoreError` with its words |
| 401, 403 | `StoreError`: the token |
| 404, or `database not found` | `StoreError`: the bucket |
| out of reach, too slow, 5xx, an answer of more than `ANSWER_BYTES_MAX` | `StoreError`; whoever asked asks again |

https://docs.influxdata.com/influxdb/v2/api/v1-compatibility/ , https://docs.influxdata.com/influxdb/v1/query_language/spec/
"""

import gzip
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

import urllib3

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.store.influx.wire.kind import Kind, kind_of
from tailtrace_bridge.store.influx.wire.probe import find_wrong

QUERY_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 256 * 1024 * 1024
PAGE_ROWS = 10_000
"""Rows of few columns asked for at once where there may be many: 2 MB. A page takes a quarter of a second, whatever its
length: InfluxDB looks into each series."""
SAID_LENGTH_MAX = 300
CONNECTIONS_MAX = 8
CURE = "use InfluxDB 1.8 to 2.x, or TAILTRACE_STORE=sqlite:PATH"
NO_MEASUREMENT = "measurement not found"
"""What openGemini says where InfluxDB gives no rows."""


class Server(NamedTuple):
    """Where InfluxDB is, and what lets us in."""

    url: str
    org: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of each call. 1.8 takes `user:password` as the token."""
        return {"Authorization": f"Token {self.token}"} if self.token else {}


class Result(NamedTuple):
    """One series of an answer: its tags, and rows whose first value is the time, ns."""

    tags: Mapping[str, str]
    rows: list[list[Any]]


class InfluxQL:
    """Asks one server. Safe to share between threads."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._kind: Kind | None = None
        self._ping: dict[str, str] = {}
        self._is_trusted = False
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(
            maxsize=CONNECTIONS_MAX,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=QUERY_TIMEOUT_S),
        )

    def query(self, bucket: str, text: str, values: Mapping[str, object] | None = None) -> list[Result]:
        """Run one query. Raises `StoreError`."""
        return self.query_all(bucket, (text,), values)[0]

    def query_all(
        self, bucket: str, texts: Sequence[str], values: Mapping[str, object] | None = None
    ) -> list[list[Result]]:
        """Run several queries in one call. Raises `StoreError`."""
        if not texts:
            return []
        self._trust(bucket)
        return self._query_all(bucket, texts, values)

    def command(self, bucket: str, text: str) -> list[list[Any]]:
        """Have a database made or changed, by a server that may be tried; return rows. Raises `StoreError`."""
        self._refuse_wrong()
        return [row for result in self._query_all(bucket, (text,), None)[0] for row in result.rows]

    def _query_all(self, bucket: str, texts: Sequence[str], values: Mapping[str, object] | None) -> list[list[Result]]:
        fields = {"db": bucket, "epoch": "ns", "q": "; ".join(texts), "params": json.dumps(values or {})}
        status, body = self.call("POST", "/query", fields=fields)
        answer = _parsed(body)
        results = answer.get("results") or []
        wrong = (result["error"] for result in results if result.get("error", NO_MEASUREMENT) != NO_MEASUREMENT)
        error = answer.get("error") or answer.get("message") or next(wrong, "")
        if status != 200 or error:
            raise StoreError(
                explain(self._server.url, bucket, status, error or body[:SAID_LENGTH_MAX].decode(errors="replace"))
            )
        found: list[list[Result]] = [[] for _ in texts]
        for place, result in enumerate(results):
            found[result.get("statement_id", place)] += (
                Result(series.get("tags") or {}, series.get("values") or []) for series in result.get("series") or ()
            )
        return found

    def rows(self, bucket: str, text: str, values: Mapping[str, object] | None = None) -> list[list[Any]]:
        """Return the rows of a query for one series."""
        return [row for result in self.query(bucket, text, values) for row in result.rows]

    def pages(
        self,
        bucket: str,
        select: str,
        where: str,
        values: Mapping[str, object],
        span_ns: tuple[int, int],
        rows_max: int = PAGE_ROWS,
    ) -> Iterator[list[Any]]:
        """Return the rows of a span of time in order, however many there are; no two may share a time."""
        start_ns, end_ns = span_ns
        text = f"{select} WHERE time >= $start AND time < $end{where} LIMIT {rows_max}"
        while True:
            page = self.rows(bucket, text, {**values, "start": start_ns, "end": end_ns})
            start_ns, is_last = (page[-1][0] + 1 if page else end_ns), len(page) < rows_max
            yield from page
            if is_last:
                return
            del page  # before the next is there

    @property
    def kind(self) -> Kind:
        """Return what the server is: asked once. Raises `StoreError`."""
        if self._kind is None:
            _, _, self._ping = self._request("GET", "/ping", None, self._server.headers)
            self._kind = kind_of(self._ping)
        return self._kind

    def _trust(self, bucket: str) -> None:
        """Let a server that is not known show, once, that it computes as InfluxDB does. Raises `StoreError`."""
        if self._is_trusted or self.kind.is_known:
            return
        with self._lock:
            if self._is_trusted:
                return
            self._refuse_wrong()
            said = self._ping
            told = parsedate_to_datetime(said["date"]).timestamp() if "date" in said else 0.0
            wrong = find_wrong(
                lambda body: self._write_probe(bucket, body),
                lambda text, values: [(one.tags, one.rows) for one in self._query_all(bucket, (text,), values)[0]],
                said.get("request-id") or said.get("date", "").replace(" ", "-").replace(",", "") or "probe",
                int(told) * 1_000_000_000,
            )
            if wrong:
                raise StoreError(
                    f"store {self._server.url}: {self.kind} does not compute as InfluxDB does, and numbers would be "
                    f"wrong: {wrong}; {CURE}"
                )
            self._is_trusted = True

    def _refuse_wrong(self) -> None:
        if self.kind.wrong:
            raise StoreError(f"store {self._server.url}: {self.kind} is refused: {self.kind.wrong}; {CURE}")

    def _write_probe(self, bucket: str, body: bytes) -> None:
        status, said, _ = self.post_lines("/write?" + urlencode({"db": bucket, "precision": "ns"}), body)
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise StoreError(explain(self._server.url, bucket, status, said.decode(errors="replace")))

    def call(
        self, method: str, path: str, *, fields: Mapping[str, str] | None = None, body: object = None
    ) -> tuple[int, bytes]:
        """Call the server. Raises `StoreError` where it does not answer."""
        headers, data = dict(self._server.headers), None
        if fields is not None:
            headers["Content-Type"], data = "application/x-www-form-urlencoded", urlencode(fields).encode()
        elif body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        return self._request(method, path, data, headers)[:2]

    def post_lines(self, path: str, body: bytes) -> tuple[int, bytes, str]:
        """Send line protocol, packed; return the status, what was said, and how long to wait. Raises `StoreError`."""
        headers = {**self._server.headers, "Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
        status, said, answered = self._request("POST", path, gzip.compress(body, 1), headers)
        return status, said, answered.get("retry-after", "")

    def _request(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        try:
            response = self._pool.request(
                method, self._server.url + path, body=data, headers=headers, preload_content=False
            )
            try:
                answer: bytes = response.read(ANSWER_BYTES_MAX + 1)
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreError(
                f"store {self._server.url}: does not answer ({type(error).__name__}); is InfluxDB running, and is "
                "INFLUXDB_V2_URL its address?"
            ) from error
        if len(answer) > ANSWER_BYTES_MAX:
            response.close()
            raise StoreError(
                f"store {self._server.url}: an answer of more than {ANSWER_BYTES_MAX} bytes; ask for less time"
            )
        return response.status, answer, {name.lower(): value for name, value in response.headers.items()}

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def explain(url: str, bucket: str, status: int, said: str) -> str:
    """Return what is wrong and what to do."""
    said = said[:SAID_LENGTH_MAX]
    if status in {401, 403}:
        cure = (
            "INFLUXDB_V2_TOKEN is wrong, revoked, or may not use the bucket: `influx auth create --read-buckets "
            "--write-buckets` makes one"
        )
    elif status == 404 or "not found" in said:
        cure = (
            f"is the bucket there? `influx bucket create --name {bucket}`, in InfluxDB 1 `CREATE DATABASE {bucket}`; "
            "is INFLUXDB_V2_ORG its organization?"
        )
    elif status == 429 or status >= 500:
        cure = "the server is busy or broken; it is tried again"
    else:
        cure = "is that an InfluxDB of 1.8 or later?"
    return f"store {url}, bucket {bucket}: {status} {said!r}; {cure}"


def identifier(name: str) -> str:
    """Write a name into a statement."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(text: str) -> str:
    """Write a text into a statement that takes no bound values."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def names(prefix: str, values: Sequence[object]) -> dict[str, object]:
    """Return values names to be bound by: `user0`, `user1`."""
    return {f"{prefix}{place}": value for place, value in enumerate(values)}


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}

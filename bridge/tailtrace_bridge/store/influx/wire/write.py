"""Lines into a bucket: written when `write` returns, or `StoreError`.

| the server | what we do |
|---|---|
| 204, 200 | next batch |
| 429, 5xx, no connection, no answer within `ATTEMPT_S` | wait as told by Retry-After, else twice as long each time |
| the same, after `TOTAL_S` | `StoreError` |
| asks to wait longer than is left | `StoreError`, and no call before that time |
| 413 | each half of the batch by itself; a single line that is too long is counted as rejected |
| 400, 422: some points were dropped | counted as rejected, with the server's words in the log |
| 400: a line cannot be read | each half by itself, until the line is found and counted as rejected |
| 401, 403, 404 | `StoreError` that says what to do |

A batch that is written twice makes the same points. InfluxDB may show in its answers what it failed to put on its
disk, and lose it when it starts again: so what a query finds is no proof, and after a `StoreError` a `WriteLog` has
every line to be written once more, also those of calls that went well before it.

https://docs.influxdata.com/influxdb/v2/write-data/troubleshoot/
"""

import gzip
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlencode

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.lazy_package import gather_lazily
from tailtrace_bridge.core.retry import Pace, TryAgainError, retrying
from tailtrace_bridge.core.retry_after import read_retry_after
from tailtrace_bridge.store.influx.wire.kind import V2_WRITE
from tailtrace_bridge.store.influx.wire.query import SAID_LENGTH_MAX, InfluxQL, Server, explain

BATCH_LINES_MAX = 2_000
"""A MB or two, and as much again while it is sent."""
ATTEMPT_S = 10.0
TOTAL_S = 20.0
BACKOFF_S = 0.25
BACKOFF_S_MAX = 5.0
_DROPPED = re.compile(r"dropped[=: ]+(\d+)")
_LOGGER = logging.getLogger(__name__)


class Answered(Exception):  # noqa: N818  # an answer, not always an error
    """The server did not take a batch: `status` 0 means that it did not answer."""

    def __init__(self, status: int, said: str, retry_after: str = "") -> None:
        super().__init__(said)
        self.status, self.said, self.retry_after = status, said[:SAID_LENGTH_MAX], retry_after


class _BusyError(TryAgainError):
    def __init__(self, answer: Answered, now_us: int) -> None:
        super().__init__(answer.said, read_retry_after(answer.retry_after, now_us))
        self.answer = answer


class Post(Protocol):
    """Sends one body of lines to a bucket; returns when it is stored, or raises `Answered`."""

    def __call__(self, bucket: str, body: bytes) -> None:
        """Send it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What a writer needs of the outside world."""

    monotonic_us: Callable[[], int]
    sleep: Callable[[float], object]
    jitter: Callable[[], float]
    """A number from 0 to 1."""
    wall_us: Callable[[], int]


@dataclass(slots=True)
class WriteCounters:
    """What happened to the writes."""

    batches: int = 0
    retries: int = 0
    split: int = 0
    rejected: int = 0
    """Lines that the server did not take."""


class Writer:
    """Writes to one server. Not for two threads at once."""

    def __init__(self, url: str, post: Post, timing: Timing, counters: WriteCounters | None = None) -> None:
        self.counters = counters or WriteCounters()
        self._url, self._post, self._timing = url, post, timing
        self._not_before_us = 0
        self._pace = Pace(BACKOFF_S, BACKOFF_S_MAX, lambda: timing.monotonic_us() / 1e6, timing.sleep, timing.jitter)

    def write(self, bucket: str, lines: Sequence[bytes]) -> int:
        """Write lines, in batches; give how many the server rejected. Raises `StoreError`: some may be written."""
        return sum(
            self._write_batch(bucket, lines[start : start + BATCH_LINES_MAX])
            for start in range(0, len(lines), BATCH_LINES_MAX)
        )

    def _write_batch(self, bucket: str, lines: Sequence[bytes]) -> int:
        try:
            self._send(bucket, b"\n".join(lines))
        except Answered as answer:
            if answer.status in {400, 422} and (dropped := _dropped(answer.said)):
                return self._reject(dropped, answer)
            if answer.status not in {400, 413, 422}:
                raise StoreError(explain(self._url, bucket, answer.status, answer.said)) from None
            if len(lines) == 1:
                return self._reject(1, answer)
            self.counters.split += 1
            half = len(lines) // 2
            return self._write_batch(bucket, lines[:half]) + self._write_batch(bucket, lines[half:])
        self.counters.batches += 1
        return 0

    def _reject(self, count: int, answer: Answered) -> int:
        self.counters.rejected += count
        _LOGGER.warning("store %s: %d lines rejected: %d %s", self._url, count, answer.status, answer.said)
        return count

    def _send(self, bucket: str, body: bytes) -> None:
        """Send until it is taken or refused for good. Raises `Answered`, and `StoreError` when time is up."""
        began_us = self._timing.monotonic_us()
        if began_us < self._not_before_us:
            raise StoreError(f"store {self._url}: asked us to wait {(self._not_before_us - began_us) / 1e6:.0f} s more")
        until_s = began_us / 1e6 + TOTAL_S
        try:
            retrying(self._pace, lambda: until_s, self._count_retry)(self._try, bucket, body)
        except _BusyError as busy:
            if busy.retry_after_s is not None:
                self._not_before_us = self._timing.monotonic_us() + int(busy.retry_after_s * 1e6)
            raise StoreError(_given_up(self._url, bucket, busy.answer)) from None

    def _try(self, bucket: str, body: bytes) -> None:
        try:
            self._post(bucket, body)
        except Answered as answer:
            if answer.status and answer.status != 429 and answer.status < 500:
                raise
            raise _BusyError(answer, self._timing.wall_us()) from None

    def _count_retry(self, _error: TryAgainError) -> None:
        self.counters.retries += 1


@dataclass(slots=True)
class WriteLog:
    """Keeps what is written through it, to write it again should the rest of it fail."""

    calls: list[tuple[str, Sequence[bytes]]] = field(default_factory=list)
    """Buckets and lines, in order."""

    def write(self, writer: Writer, bucket: str, lines: Sequence[bytes]) -> int:
        """Write lines: `Writer.write`."""
        self.calls.append((bucket, lines))
        return writer.write(bucket, lines)

    def write_again(self, writer: Writer) -> None:
        """Write all of it once more, and forget it. Raises `StoreError`: what is left is kept."""
        while self.calls:
            writer.write(*self.calls[0])
            del self.calls[0]


def plain_post(influx: InfluxQL, org: str) -> Post:
    """Return a `Post` that needs no client: by `/write`, or `/api/v2/write` where the server has it."""

    def post(bucket: str, body: bytes) -> None:
        try:
            path = influx.kind.write_path
            where = {"org": org, "bucket": bucket} if path == V2_WRITE else {"db": bucket}
            query = urlencode({**where, "precision": "ns"})
            status, said, retry_after = influx.post_lines(f"{path}?{query}", body)
        except StoreError as error:
            raise Answered(0, str(error)) from None
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise Answered(status, _said(said), retry_after)

    return post


def client_post(server: Server) -> tuple[Post, Callable[[], None]]:
    """Return a `Post` that goes through influxdb-client, and what closes it.

    Its write service alone: what it has for batches of its own (reactivex, dateutil) would take 7 MiB of a bridge, its
    other forty services 2.
    """
    import urllib3  # noqa: PLC0415 - only who writes pays for these

    gather_lazily("influxdb_client", *(f"influxdb_client.{name}" for name in ("client", "domain", "service")))
    from influxdb_client._sync.api_client import ApiClient  # noqa: PLC0415 - its public name imports all the rest
    from influxdb_client.configuration import Configuration  # noqa: PLC0415
    from influxdb_client.rest import ApiException  # noqa: PLC0415
    from influxdb_client.service.write_service import WriteService  # noqa: PLC0415

    settings: Any = Configuration()
    settings.host = server.url
    client: Any = ApiClient(settings, *(("Authorization", f"Token {server.token}") if server.token else ()))
    service: Any = WriteService(client)
    described = {
        "precision": "ns",
        "content_type": "text/plain; charset=utf-8",
        "content_encoding": "gzip",
        "_request_timeout": ATTEMPT_S * 1000,
    }

    def post(bucket: str, body: bytes) -> None:
        try:
            service.post_write(server.org, bucket, gzip.compress(body, 1), **described)
        except ApiException as error:
            headers: Mapping[str, str] = error.headers or {}
            raise Answered(error.status or 0, _said(error.body), headers.get("Retry-After", "")) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Answered(0, f"no answer ({type(error).__name__})") from None

    return post, client.rest_client.pool_manager.clear


def _said(body: bytes | str | None) -> str:
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        answer = json.loads(text)
    except ValueError:
        return text
    return str(answer.get("message") or answer.get("error") or text) if isinstance(answer, dict) else text


def _dropped(said: str) -> int:
    found = _DROPPED.search(said)
    return int(found[1]) if found else 0


def _given_up(url: str, bucket: str, answer: Answered) -> str:
    if not answer.status:
        return f"store {url}: {answer.said}; is InfluxDB running, and is INFLUXDB_V2_URL its address?"
    return explain(url, bucket, answer.status, answer.said)

"""Whether the collector loses raw spans, by its own counters: its exporter drops what InfluxDB refuses.

| since the last look | it is |
|---|---|
| more were given up | losing |
| none, and more were stored | well |
| neither, or nobody answers | as it was: the collector's own health is asked for elsewhere |
| the first look, or the collector began anew | losing, if it has given up some and stored none |

https://opentelemetry.io/docs/collector/internal-telemetry/
"""

from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import NamedTuple
from urllib.parse import urlsplit

ANSWER_S_MAX = 1.0
"""`/ready` waits for it."""
ANSWER_BYTES_MAX = 4 * 1024 * 1024
CURE = (
    "the collector's log says why; its token, COLLECTOR_TRACES_BUCKET or INFLUXDB_V2_ORG may be wrong; "
    "if its token file was removed and written again, restart it: it goes on with the old token"
)
_OF_INFLUXDB = 'exporter="influxdb'
_GIVEN_UP, _STORED = "otelcol_exporter_send_failed_spans", "otelcol_exporter_sent_spans"


class RawSpans(NamedTuple):
    """What became of the raw spans since the collector began."""

    given_up: int
    stored: int


def count(text: str) -> RawSpans:
    """Read them from the collector's `/metrics`: 0 for what is not there yet."""
    sums = dict.fromkeys((_GIVEN_UP, _STORED), 0.0)
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        counter = name.removesuffix("_total")
        if counter in sums and _OF_INFLUXDB in rest:
            sums[counter] += float(rest.rpartition(" ")[2])
    return RawSpans(int(sums[_GIVEN_UP]), int(sums[_STORED]))


def ask(url: str) -> RawSpans:
    """Ask the collector. Raises `OSError`, `HTTPException`, `ValueError` where there is no such answer."""
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.netloc, timeout=ANSWER_S_MAX)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"it answers {answer.status}")
        return count(answer.read(ANSWER_BYTES_MAX).decode("utf-8", "replace"))
    finally:
        connection.close()


class RawSpansWatch:
    """Remembers the last look; one for a process."""

    def __init__(self, look: Callable[[], RawSpans]) -> None:
        self._look = look
        self._last: RawSpans | None = None
        self._is_losing = False

    def problem(self) -> str:
        """Look; say what is lost, or nothing."""
        try:
            now = self._look()
        except (OSError, HTTPException, ValueError):
            return self._said()
        before, self._last = self._last, now
        if before is None or now.given_up < before.given_up or now.stored < before.stored:
            self._is_losing = now.given_up > 0 == now.stored
        elif now.given_up > before.given_up:
            self._is_losing = True
        elif now.stored > before.stored:
            self._is_losing = False
        return self._said()

    def _said(self) -> str:
        if self._last is None or not self._is_losing:
            return ""
        return f"raw spans are lost, {self._last.given_up} since the collector began: {CURE}"

"""What the factory's app asks others for: a database of its own, and the weather service. Each makes a span.

An app would let OpenTelemetry's instrumentations of its libraries make these spans; so the demo needs no more packages.
"""

import sqlite3

import httpx
from opentelemetry import trace
from opentelemetry.propagate import inject
from opentelemetry.trace import SpanKind

STATION = "SIAR 24"
_tracer = trace.get_tracer("tailtrace.demo")
_READINGS = "SELECT avg(temperature_c) FROM reading WHERE station = ?"


class Climate:
    """Asks the database and the weather service at `url`; without one, the database alone."""

    def __init__(self, url: str = "") -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=2) if url else None
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute("CREATE TABLE reading (station TEXT, temperature_c REAL)")
        readings = [(STATION, 15 + hour % 9) for hour in range(24 * 365)]
        self._database.executemany("INSERT INTO reading VALUES (?, ?)", readings)

    async def temperature_c(self) -> float:
        """Return the station's temperature now, by the service, else the mean of its readings.

        Raises `httpx.HTTPStatusError` where the service fails: the demo has something that breaks.
        """
        mean = self._mean_c()
        if self._client is None:
            return mean
        url = str(self._client.base_url.join(f"/stations/{STATION}"))
        named = {"http.request.method": "GET", "url.full": url, "server.address": self._client.base_url.host}
        with _tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes=named):
            headers: dict[str, str] = {}
            inject(headers)
            answer = await self._client.get(f"/stations/{STATION}", headers=headers)
            answer.raise_for_status()
        return float(answer.json()["temperature_c"])

    def _mean_c(self) -> float:
        named = {"db.system.name": "sqlite", "db.query.text": _READINGS, "db.operation.name": "SELECT"}
        with _tracer.start_as_current_span("SELECT reading", kind=SpanKind.CLIENT, attributes=named):
            (mean,) = self._database.execute(_READINGS, (STATION,)).fetchone()
        return float(mean)

"""Whether the collector takes what we send. The changes are logged, not the attempts.

The first failed attempt logs one warning; the next success one line of information with the number of spans lost. Spans
lost to a full queue while the collector answers are told once. What OpenTelemetry's exporters would log for each
attempt is dropped, on our own thread only.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

REASON_LENGTH_MAX = 200

_NOISY_LOGGERS = (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.sdk._shared_internal",
)

logger = logging.getLogger("tailtrace")


class Link:
    """One for a process and an endpoint. Safe for any number of threads."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.down = False
        self.spans_lost = 0
        self._told_lost = 0
        self._told_overflow = False
        self._lock = threading.Lock()
        self._speaker = threading.local()
        for name in _NOISY_LOGGERS:
            # First in the list: the SDK's own filter hides repetitions, which we count.
            logging.getLogger(name).filters.insert(0, self._hear)

    def forked(self) -> None:
        """Begin anew in a child process: the lock may have been held by a thread that is not there any more."""
        self._lock = threading.Lock()
        self.down = self._told_overflow = False
        self.spans_lost = self._told_lost = 0

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Take what OpenTelemetry logs on this thread meanwhile as a sign of trouble, and do not let it through."""
        self._speaker.ours = True
        try:
            yield
        finally:
            self._speaker.ours = False

    def lost(self, spans: int) -> None:
        """Note spans that a full queue had no room for."""
        with self._lock:
            self.spans_lost += spans

    def failed(self, reason: str, spans: int = 0) -> None:
        """Note a failed attempt that lost so many spans."""
        with self._lock:
            self.spans_lost += spans
            first, self.down = not self.down, True
        if first:
            logger.warning(
                "no traces get through to %s (%s): the app runs on, spans are dropped until it answers; "
                "start the receiver, set OTEL_EXPORTER_OTLP_ENDPOINT, or set OTEL_SDK_DISABLED=true",
                self.endpoint,
                reason,
            )

    def succeeded(self) -> None:
        """Note that the collector took a batch."""
        with self._lock:
            recovered, self.down = self.down, False
            lost, self._told_lost = self.spans_lost - self._told_lost, self.spans_lost
            overflow = bool(lost) and not recovered and not self._told_overflow
            self._told_overflow = self._told_overflow or overflow
        if recovered:
            logger.info("traces get through to %s again; %d spans were lost meanwhile", self.endpoint, lost)
        elif overflow:
            logger.warning(
                "the queue of spans was full and %d were lost: raise OTEL_BSP_MAX_QUEUE_SIZE; not logged again", lost
            )

    def _hear(self, record: logging.LogRecord) -> bool:
        if not getattr(self._speaker, "ours", False):
            return True
        if record.levelno >= logging.WARNING:
            message = record.getMessage()
            # What `requests` says of a refused connection is long and names the endpoint three times.
            refused = "Max retries exceeded" in message
            self.failed("no connection" if refused else message.rstrip(".")[:REASON_LENGTH_MAX])
        return False

"""Reads kept traces from the store, for HTTP, the command line and MCP."""

from tailtrace_api.access.roles import scope_of
from tailtrace_api.answers.traces import Trace, trace
from tailtrace_bridge.core.errors import BridgeError
from tailtrace_bridge.core.records import KeptTrace
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.values import LogEntry
from tailtrace_bridge.traces.pack import to_otlp_lines


class NotKeptError(BridgeError):
    """It is not kept; its words say why that may be."""


class Traces:
    """Asks one store. `url` is where another backend shows a trace, with `{trace_id}` in it, or empty."""

    def __init__(self, store: Store, url: str = "") -> None:
        self._store, self._url = store, url

    def trace(self, trace_id: str, only: str | None = None) -> Trace:
        """Answer `GET /analytics/traces/{trace_id}`; `only` is the login of a member. Raises `NotKeptError`."""
        return trace(trace_id.lower(), self._kept(trace_id, only), self._url or None)

    def otlp(self, trace_id: str, only: str | None = None) -> bytes:
        """Return the trace as OTLP/JSON, a line for each kept request of it. Raises `NotKeptError`."""
        return to_otlp_lines([kept.data for _, kept in self._kept(trace_id, only)])

    def find(self, trace_id: str, only: str | None = None) -> Trace | None:
        """Return the trace, None where it is not kept."""
        try:
            return self.trace(trace_id, only)
        except NotKeptError:
            return None

    def _kept(self, trace_id: str, only: str | None) -> list[tuple[LogEntry, KeptTrace]]:
        kept = self._store.traces(scope_of(only), trace_id.lower())
        if not kept:
            raise NotKeptError(
                "this trace is not kept: errors, slow requests and a sample are, some ten seconds after their end; "
                "TAILTRACE_TRACES_ALWAYS names more"
            )
        return kept

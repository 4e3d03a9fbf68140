"""Makes alerts of the settings, and runs them: two threads, one that judges and one that sends.

The second begins with a look at the form of the destinations: a wrong one is known before the first alert, and nothing
waits for the look.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tailtrace_bridge.alerts.courier import ChildSend, Courier, destinations_of, warn_of_wrong
from tailtrace_bridge.alerts.jobs import Job
from tailtrace_bridge.alerts.state import AlertCounters, Outbox
from tailtrace_bridge.alerts.watch import Probes, Watch
from tailtrace_bridge.alerts.words import Words
from tailtrace_bridge.identity.chain import Unavailable
from tailtrace_bridge.identity.local_api import LocalApi
from tailtrace_bridge.store.protocol import Store

if TYPE_CHECKING:
    from tailtrace_bridge.settings.table import Settings

COURIER_POLL_S = 1.0
STOP_S = 5.0
_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class Alerts:
    """Alerts at work."""

    counters: AlertCounters
    watch: Watch
    courier: Courier
    check: Callable[[], None]
    every_s: float
    stop_event: threading.Event
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start both threads."""
        for name, first, work, pause_s in (
            ("alerts", None, self.watch.round, self.every_s),
            ("alerts-courier", self.check, self.courier.step, COURIER_POLL_S),
        ):
            thread = threading.Thread(target=self._repeat, args=(first, work, pause_s), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def add_job(self, job: Job) -> None:
        """Add something that is sent at set times; before `start`."""
        self.watch.jobs.append(job)

    def stop(self) -> None:
        """End both threads; what waits is in the state's file."""
        self.stop_event.set()
        for thread in self._threads:
            thread.join(STOP_S)

    def _repeat(self, first: Callable[[], None] | None, work: Callable[[], None], pause_s: float) -> None:
        while not self.stop_event.is_set():
            try:
                if first is not None:
                    once, first = first, None
                    once()
                work()
            except Exception:
                self.counters.failed_rounds += 1
                _LOGGER.exception("a defect in alerts; going on")
            self.stop_event.wait(pause_s)


def make_alerts(
    settings: "Settings", store: Store, *, clock: Callable[[], int], local_api: LocalApi, storing: Callable[[], str]
) -> Alerts | None:
    """Connect the parts; None: there are neither rules nor destinations, or another bridge does it.

    `storing` says what keeps the bridge from storing. Raises `SettingsError`.
    """
    destinations = destinations_of(settings.secret("alert_urls"))
    if not settings.alerts_here or not (settings.alerts or destinations):
        return None
    if not destinations:
        _LOGGER.warning("alerts are judged, kept and logged, and sent to nobody: set TAILTRACE_ALERT_URLS")
    counters, stop = AlertCounters(), threading.Event()
    outbox = Outbox(settings.alert_state_path, counters)

    def tailscaled() -> str:
        status = local_api.status()
        if isinstance(status, Unavailable):
            return status.reason
        return "" if status.state == "Running" else f"it is in state {status.state}; run `tailscale up`"

    watch = Watch(
        settings.alerts,
        store,
        outbox,
        probes=Probes(tailscaled, storing),
        words=Words(settings.lang, settings.zone, settings.public_url),
        zone=settings.zone,
        clock=clock,
        send_to=[one.name for one in destinations],
        quiet=settings.alert_quiet,
    )
    send = ChildSend(stop)
    courier = Courier(destinations, send, outbox, clock)

    def check() -> None:
        if destinations:
            warn_of_wrong(destinations, send)

    return Alerts(counters, watch, courier, check, settings.alert_every_s, stop)

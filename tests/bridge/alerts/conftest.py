"""A bridge's alerts at any time that a test likes: real rules, real SQLite, real state file; the clock is the test's."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tailtrace_bridge.alerts.state import AlertCounters, Outbox
from tailtrace_bridge.alerts.watch import Probes, Watch
from tailtrace_bridge.alerts.words import Words
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.testing import FakeClock

S = 1_000_000
MINUTE = 60 * S
HOUR = 3600 * S
START = 1_759_924_800 * S  # 2025-10-08T12:00:00Z
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "localapi", "u2")


class Brittle(SqliteStore):
    """A store that can be made to fail."""

    is_down = False

    def newest_us(self, scope):
        if self.is_down:
            raise StoreError("store sqlite:t.db: disk I/O error; is the folder there and writable?")
        return super().newest_us(scope)


class World:
    """Rules, a store, a clock, and whoever makes requests."""

    def __init__(self, folder: Path, zone: str = "UTC", lang: str = "en", url: str = "", quiet: str = "") -> None:
        self.clock = FakeClock(START)
        self.store = Brittle(folder / "t.db", self.clock)
        self.path = folder / "alerts.json"
        self.zone, self.quiet = ZoneInfo(zone), quiet
        self.words = Words(lang, self.zone, url)
        self.tailscaled = ""
        self.storing = ""
        self.jobs = []
        self.told = []
        self._key = 0

    def begin(self, *rules, **one):
        """Start the alerts, as a process does."""
        rules = rules or (one,)
        self.counters = AlertCounters()
        self.outbox = Outbox(self.path, self.counters)
        self.watch = Watch(
            [AlertRule.model_validate(rule) for rule in rules],
            self.store,
            self.outbox,
            probes=Probes(lambda: self.tailscaled, lambda: self.storing),
            words=self.words,
            zone=self.zone,
            clock=self.clock,
            send_to=["1:json"],
            quiet=self.quiet,
            jobs=self.jobs,
        )
        return self

    def at(self, text: str):
        """Move the clock to a time of the wall in the zone."""
        self.clock.now_us = int(datetime.fromisoformat(text).replace(tzinfo=self.zone).timestamp()) * S
        return self

    def ask(self, requests=1, *, who=ANA, route="/a", status=200, ms=5, ago_us=0, service=""):
        """Make requests, now or some time ago."""
        rows = []
        for _ in range(requests):
            self._key += 1
            access = Access(
                self.clock.now_us - ago_us, self._key, who.address, "GET", route, status, ms * 1000, None, True, 10,
                service, "", "", "curl", "",
            )  # fmt: skip
            rows.append(Row(access, who, route, Traffic.APP, None, ""))
        self.store.write(rows)

    def run(self, minutes: float, each=None, step_s: int = 30):
        """Let time pass in rounds; `each` makes the traffic of a round. Gives the titles and bodies of new messages."""
        end_us = self.clock.now_us + int(minutes * MINUTE)
        while self.clock.now_us < end_us:
            self.clock.now_us += step_s * S
            if each is not None:
                each()
            self.watch.round()
        return self.new()

    def new(self):
        """Take the messages of the outbox."""
        with self.outbox.lock:
            taken, self.outbox.state.outbox = self.outbox.state.outbox, []
            self.outbox.save()
        return [(message.title, message.body) for message in taken]

    def titles(self, messages):
        return [title.removeprefix("tailtrace: ") for title, _ in messages]


@pytest.fixture
def make_world(tmp_path):
    made = []

    def make(**options):
        made.append(World(tmp_path, **options))
        return made[-1]

    yield make
    for world in made:
        world.store.close()


@pytest.fixture
def world(make_world):
    return make_world()

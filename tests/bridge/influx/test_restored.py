"""An InfluxDB that a backup was put in the place of: the bridge reads its logs again from where that ends."""

import shutil
import threading
import time
from contextlib import closing

import pytest
from tests.bridge.test_pipeline import line

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.chain import Holder
from tailtrace_bridge.logs.checkpoint import Checkpoint
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.logs.tail import Tail
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.join import Join
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.spans.receiver import SpanQueue
from tailtrace_bridge.store.influx.config import InfluxConfig
from tailtrace_bridge.store.influx.progress import DATA_BYTES_MAX, Progress
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.write import Timing
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import Filters, Window
from tailtrace_bridge.wiring.pipeline import Pipeline

pytestmark = pytest.mark.influxdb
DATA = ("engine", "influxd.bolt", "influxd.sqlite")
WAIT_S_MAX = 60


class Machine:
    """An InfluxDB, a log, and bridges that fill the one from the other."""

    def __init__(self, server, folder):
        self.server, self.folder, self.log = server, folder, folder / "access.log"

    def append(self, *numbers):
        with self.log.open("a") as file:
            file.write("".join(line(number, proxied=False) for number in numbers))

    def back_up(self):
        self.server.stop()
        for name in DATA:
            source, target = self.server.folder / name, self.folder / "backup" / name
            target.parent.mkdir(exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        self.server.start()

    def restore(self):
        for name in DATA:
            source, target = self.folder / "backup" / name, self.server.folder / name
            (shutil.rmtree if target.is_dir() else type(target).unlink)(target)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)

    def open_store(self):
        timing = Timing(lambda: time.monotonic_ns() // 1000, time.sleep, lambda: 0.5, lambda: time.time_ns() // 1000)
        config = InfluxConfig(Server(self.server.url, self.server.org, self.server.token), "logs", "a")
        return InfluxStore(config, timing, is_rolling=False)

    def open_bridge(self, store):
        def open_tail():
            return Tail(str(self.log), Checkpoint(self.folder / "positions.json", store.store_id, store))

        return Pipeline(
            tail=open_tail(),
            reopen_tail=open_tail,
            make_parser=make_parser,
            join=Join(wait_us=0),
            enricher=Enricher(lambda address: Holder(Identity(address, "user", "ana@example.com")), Routes()),
            spans=SpanQueue(),
            store=store,
            clock=lambda: time.time_ns() // 1000,
            monotonic=lambda: time.monotonic_ns() // 1000,
        )

    def run_once(self, *numbers):
        """Start a bridge, let it store these lines too, and stop it."""
        with closing(self.open_store()) as store:
            bridge = self.open_bridge(store)
            for number in numbers:  # each is a write
                self.append(number)
                bridge.step()
            bridge.step()
            bridge.finish()
            bridge.tail.close()
            return bridge.counters

    def paths(self):
        with closing(self.open_store()) as store:
            return _paths(store)


def _paths(store):
    entries = store.log(Scope.everybody(), Window(0, 1 << 52), Filters(), 1_000, None)
    return [int(entry.path.rpartition("/")[2]) for entry in reversed(entries)]


@pytest.fixture
def machine(make_influxdb, tmp_path):
    return Machine(make_influxdb(), tmp_path)


def test_the_logs_are_read_again_from_where_a_backup_ends(machine, caplog):
    machine.run_once(1, 2, 3)
    machine.back_up()
    assert machine.run_once(4, 5).lines == 2
    assert not caplog.records, "nothing was restored yet"
    machine.server.stop()
    machine.restore()
    machine.server.start()
    assert machine.paths() == [1, 2, 3]
    counters = machine.run_once(6)
    assert machine.paths() == [1, 2, 3, 4, 5, 6]
    assert counters.lines < 6, "what the backup has was not all read again"
    assert "is ahead of its store" in caplog.text
    caplog.clear()
    assert machine.run_once(7).lines == 1
    assert not caplog.records, "from now on the store counts again"


def test_a_bridge_goes_on_over_a_restore_and_waits_for_the_server(machine):
    machine.run_once(1, 2)
    machine.back_up()
    machine.run_once(3)
    machine.server.stop()
    machine.restore()
    with closing(machine.open_store()) as store:
        bridge, stop = machine.open_bridge(store), threading.Event()
        thread = threading.Thread(target=bridge.run, args=(stop, 0.05))
        thread.start()
        try:
            _until(lambda: bridge.counters.store_failures)
            machine.append(4)
            machine.server.start()
            _until(lambda: bridge.counters.stored and not bridge.store_problem)
            machine.server.stop()  # while it runs, too
            machine.append(5)
            failures = bridge.counters.store_failures
            _until(lambda: bridge.counters.store_failures > failures)
            machine.restore()
            machine.server.start()
            _until(lambda: _paths(store) == [1, 2, 3, 4, 5])
        finally:
            stop.set()
            thread.join()
            bridge.tail.close()
    assert machine.paths() == [1, 2, 3, 4, 5]


def test_what_only_imports_counts_nothing(machine):
    machine.run_once(1, 2)
    with closing(machine.open_store()) as store:
        before = store.writes
        store.write([])
        assert (store.writes, before > 0) == (before, True)


def test_a_text_too_long_for_a_field_is_left_out():
    long = Progress(7, "ü" * DATA_BYTES_MAX).point("a", 0)
    assert long == b"progress,source=a writes=7i 0"
    assert b'data="ok"' in Progress(7, "ok").point("a", 0)


def _until(is_true):
    deadline = time.monotonic() + WAIT_S_MAX
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)

"""A real log, a real tail, a real store: nothing is lost where the store fails, nothing doubles after a crash."""

import json
import logging
import threading
from pathlib import Path

import pytest

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import AppSpan, Identity
from tailtrace_bridge.identity.chain import Holder
from tailtrace_bridge.logs.checkpoint import Checkpoint
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.logs.tail import Tail
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.join import Join
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.spans.receiver import SpanQueue
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import Filters, Window
from tailtrace_bridge.testing import FakeClock
from tailtrace_bridge.wiring import pipeline as wiring_pipeline
from tailtrace_bridge.wiring.pipeline import DAY_US, PAUSE_MIN_S, Pipeline, pause_after

T0 = 1_759_926_735_000_000
ALL = Window(0, 1 << 60)


def line(number: int, *, status: int = 200, proxied: bool = True) -> str:
    trace = f"{number:032x}"
    return (
        json.dumps({
            "msec": f"{1_759_926_735 + number}.250",
            "request_id": trace,
            "tailtrace_trace_id": trace,
            "tailtrace_span_id": trace[16:],
            "remote_addr": "100.64.0.7",
            "request_method": "GET",
            "request_uri": f"/items/{number}",
            "server_protocol": "HTTP/1.1",
            "status": str(status),
            "bytes_sent": "10",
            "request_time": "0.250",
            "upstream_addr": "127.0.0.1:8000" if proxied else "",
            "upstream_status": str(status) if proxied else "",
            "upstream_response_time": "0.240" if proxied else "",
            "server_name": "factory",
            "http_referer": "",
            "http_user_agent": "curl/8.5.0",
        }, separators=(",", ":"))
        + "\n"
    )  # fmt: skip


def span(number: int) -> AppSpan:
    return AppSpan(f"{number:032x}", f"{number:016x}", "/items/{item_id}", 200_000, "", "factory-app")


class FailingStore:
    """Fails the first `times` writes, then is the real one."""

    def __init__(self, store: SqliteStore, times: int) -> None:
        self.store, self.times, self.batches = store, times, []

    def write(self, rows, rejected_lines=()):
        self.batches.append([row.access.path for row in rows])
        if self.times:
            self.times -= 1
            raise StoreError("store sqlite:t.db: disk full")
        return self.store.write(rows, rejected_lines)

    def prune(self, before_us):
        return self.store.prune(before_us)


class Bench:
    """A pipeline over one log; `start` makes a new one on the same files, as a start of the program does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "access.log"
        self.store = SqliteStore(folder / "t.db")
        self.clock = FakeClock(T0)
        self.spans = SpanQueue()
        self.tails: list[Tail] = []

    def start(
        self, *, store=None, retention_days: int = 0, wait_us: int = 6_000_000, monotonic=None, worked=lambda: 0
    ) -> Pipeline:
        return Pipeline(
            tail=self.open_tail(),
            reopen_tail=self.open_tail,
            make_parser=make_parser,
            join=Join(wait_us=wait_us),
            enricher=Enricher(lambda address: Holder(Identity(address, "user", "ana@example.com")), Routes()),
            spans=self.spans,
            store=store or self.store,
            clock=self.clock,
            monotonic=monotonic or self.clock,
            worked=worked,
            retention_days=retention_days,
        )

    def open_tail(self) -> Tail:
        tail = Tail(str(self.log), Checkpoint(self.folder / "positions.json", self.store.store_id))
        self.tails.append(tail)
        return tail

    def append(self, *texts: str) -> None:
        with self.log.open("a") as file:
            file.write("".join(texts))

    def stored(self) -> list[tuple[str, str, int | None]]:
        entries = self.store.log(Scope.everybody(), ALL, Filters(), 1_000, None)
        return [(entry.path, entry.endpoint, entry.app_time_us) for entry in reversed(entries)]

    def requests(self) -> int:
        return sum(usage.requests for usage in self.store.usage(Scope.everybody(), ALL, Filters()))


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    for tail in made.tails:
        tail.close()
    made.store.close()


def test_line_and_span_are_one_row(bench):
    bench.append(line(1), line(2, proxied=False), "not a log line\n")
    pipeline = bench.start()
    pipeline.step()
    assert bench.stored() == [("/items/2", "/items/{id}", None)]  # 1 waits for its span
    bench.spans.put([span(1)])
    pipeline.step()
    assert bench.stored() == [("/items/1", "/items/{item_id}", 200_000), ("/items/2", "/items/{id}", None)]
    assert bench.store.rejected_by_reason() == {"no-format": 1}
    counters = pipeline.counters
    assert (counters.lines, counters.stored, counters.duplicate, counters.rejected) == (3, 2, 0, 1)
    assert pipeline.rejected_by_reason == {"no-format": 1}
    assert counters.newest_line_us == T0 + 2_000_000


def test_a_span_that_came_first(bench):
    bench.spans.put([span(1)])
    pipeline = bench.start()
    bench.append(line(1))
    pipeline.step()
    assert bench.stored() == [("/items/1", "/items/{item_id}", 200_000)]


def test_a_clock_that_is_set_back_keeps_no_line_waiting(bench, caplog):
    steady = FakeClock(5_000_000)
    pipeline = bench.start(monotonic=steady)
    bench.append(line(1))
    pipeline.step()
    assert bench.stored() == [], "it waits for its span"
    bench.clock.now_us -= 3_600_000_000
    steady.now_us += 1_000_000
    bench.append(line(2))
    pipeline.step()
    assert pipeline.counters.clock_jumps == 1
    assert "was set back by 3601 s" in caplog.text
    steady.now_us += 6_000_000
    bench.clock.now_us += 6_000_000
    pipeline.step()
    assert {path for path, *_ in bench.stored()} == {"/items/1", "/items/2"}
    assert pipeline.counters.clock_jumps == 1, "told once"


def test_a_line_whose_span_never_comes_is_stored_after_its_wait(bench):
    bench.append(line(1))
    pipeline = bench.start()
    pipeline.step()
    bench.clock.now_us += 5_999_999
    pipeline.step()
    assert bench.stored() == []
    bench.clock.now_us += 1
    pipeline.step()
    assert bench.stored() == [("/items/1", "/items/{id}", None)]


def test_many_lines_are_stored_some_at_a_time_and_what_fails_halfway_goes_on_there(bench, monkeypatch):
    monkeypatch.setattr(wiring_pipeline, "ROWS_AT_ONCE", 2)
    store = FailingStore(bench.store, 0)
    pipeline = bench.start(store=store)
    bench.append(*(line(number, proxied=False) for number in range(5)), "not a log line\n")
    write = store.write

    def failing_at_the_second(rows, rejected_lines=()):
        store.times = len(store.batches) == 1
        return write(rows, rejected_lines)

    monkeypatch.setattr(store, "write", failing_at_the_second)
    with pytest.raises(StoreError, match="disk full"):
        pipeline.step()
    assert bench.requests() == 2
    pipeline.step()
    first, second, third = ["/items/0", "/items/1"], ["/items/2", "/items/3"], ["/items/4"]
    assert store.batches == [first, second, second, third]
    assert (pipeline.counters.stored, pipeline.counters.duplicate, bench.requests()) == (5, 0, 5)
    assert bench.store.rejected_by_reason() == {"no-format": 1}
    place = Checkpoint(bench.folder / "positions.json").positions[str(bench.log)][-1]
    assert place.offset == bench.log.stat().st_size


def test_a_log_that_is_behind_is_not_read_while_too_many_lines_wait_for_their_spans(bench, monkeypatch):
    monkeypatch.setattr(wiring_pipeline, "WAITING_MAX", 2)
    bench.append(*(line(number) for number in range(6)))
    pipeline = bench.start()
    monkeypatch.setattr(pipeline.tail, "_read_bytes_max", 1)
    monkeypatch.setattr("tailtrace_bridge.logs.source.CHUNK_BYTES", len(line(5)))
    for _ in range(6):
        pipeline.step()
    assert (pipeline.counters.lines, bench.requests()) == (2, 0)
    bench.spans.put([span(0)])
    pipeline.step()
    pipeline.step()
    assert (pipeline.counters.lines, bench.requests()) == (3, 1), "one left, so one was read"
    for _ in range(6):
        bench.clock.now_us += 6_000_000
        pipeline.step()
    assert (pipeline.counters.lines, bench.requests(), pipeline.tail.behind) == (6, 6, False)


def test_a_store_that_fails_twice_loses_nothing(bench):
    store = FailingStore(bench.store, 2)
    pipeline = bench.start(store=store)
    bench.append(line(1, proxied=False))
    for number in (2, 3):
        with pytest.raises(StoreError, match="disk full"):
            pipeline.step()
        bench.append(line(number, proxied=False))
    assert bench.requests() == 0
    assert not Checkpoint(bench.folder / "positions.json").positions[str(bench.log)][-1].offset
    pipeline.step()
    assert store.batches == [["/items/1"], ["/items/1"], ["/items/1"], ["/items/2", "/items/3"]]
    assert pipeline.counters.stored == 3
    assert bench.requests() == 3
    place = Checkpoint(bench.folder / "positions.json").positions[str(bench.log)][-1]
    assert place.offset == bench.log.stat().st_size


def test_run_tries_again_and_stores_what_waits_when_it_stops(bench, caplog):
    caplog.set_level(logging.ERROR)
    bench.append(line(1, proxied=False), line(2))
    store = FailingStore(bench.store, 2)
    pipeline = bench.start(store=store)
    stop = threading.Event()
    thread = threading.Thread(target=pipeline.run, args=(stop, 0.01))
    thread.start()
    for _ in range(500):
        if pipeline.counters.stored:
            break
        stop.wait(0.01)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert [path for path, _, _ in bench.stored()] == ["/items/1", "/items/2"]  # 2 waited for a span
    assert pipeline.counters.store_failures == 2
    assert "disk full; 1 rows wait, trying again in 0.0 s" in caplog.text


@pytest.mark.parametrize(
    ("worked_s", "pause_s"),
    [(0.0, 0.2), (0.009, 0.2), (0.011, 0.039), (0.03, 0.02), (0.045, PAUSE_MIN_S), (3.0, PAUSE_MIN_S)],
)
def test_a_busy_log_is_looked_at_again_sooner(worked_s, pause_s):
    assert pause_after(worked_s, 0.2) == pytest.approx(pause_s)


class Pauses(threading.Event):
    """Ends what waits for it after three pauses, and keeps how long they were to be."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths_s: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.lengths_s.append(timeout or 0.0)
        if len(self.lengths_s) == 3:
            self.set()
        return self.is_set()


def test_the_pause_is_shorter_by_what_a_step_took_of_a_cpu_alone(bench):
    bench.append(line(1, proxied=False))
    had_us = iter([0, 30_000, 30_000, 30_000, 30_000, 50_000])  # of a CPU, before and after each step
    pipeline, pauses = bench.start(worked=lambda: next(had_us)), Pauses()
    pipeline.run(pauses, 0.2)
    assert pauses.lengths_s == pytest.approx([0.02, 0.2, 0.03])


def test_a_crash_before_the_positions_are_saved_doubles_nothing(bench):
    bench.append(*(line(number, proxied=False) for number in range(10)))
    crashed = bench.start()
    crashed.tail.save = lambda: None  # the process dies between the commit and the save
    crashed.step()
    assert crashed.counters.stored == 10
    crashed.tail.close()
    again = bench.start()
    bench.append(line(10, proxied=False))
    again.step()
    assert (again.counters.lines, again.counters.stored, again.counters.duplicate) == (11, 1, 10)
    assert bench.requests() == 11


def test_a_crash_while_a_line_waits_for_its_span_reads_it_again(bench):
    bench.append(line(1), line(2, proxied=False))
    crashed = bench.start()
    crashed.step()
    crashed.tail.close()
    again = bench.start()
    bench.spans.put([span(1)])
    again.step()
    assert [path for path, _, _ in bench.stored()] == ["/items/1", "/items/2"]
    assert bench.requests() == 2


def test_a_stop_leaves_nothing_to_read_again(bench):
    bench.append(line(1), line(2))
    first = bench.start()
    first.step()
    first.finish()
    first.tail.close()
    second = bench.start()
    second.step()
    assert (bench.requests(), second.counters.lines) == (2, 0)


def test_old_rows_are_removed_once_an_hour_and_counted(bench):
    bench.append(line(1, proxied=False), line(3600, proxied=False))
    pipeline = bench.start(retention_days=1)
    bench.clock.now_us = T0 + DAY_US + 2_000_000
    pipeline.step()
    assert ([path for path, _, _ in bench.stored()], pipeline.counters.pruned) == (["/items/3600"], 1)
    bench.clock.now_us += 3_599_999_999
    pipeline.step()
    assert pipeline.counters.pruned == 1
    bench.clock.now_us += 1
    pipeline.step()
    assert (bench.stored(), pipeline.counters.pruned) == ([], 2)
    assert bench.requests() == 2  # the sums stay


def test_without_retention_nothing_is_removed(bench):
    bench.append(line(1, proxied=False))
    pipeline = bench.start(retention_days=0)
    bench.clock.now_us = T0 + 10_000 * DAY_US
    pipeline.step()
    pipeline.step()
    assert len(bench.stored()) == 1


class DefectiveStore(FailingStore):
    """Fails with what nobody expects."""

    def write(self, rows, rejected_lines=()):
        if self.times:
            self.times -= 1
            raise KeyError("a defect")
        return self.store.write(rows, rejected_lines)


@pytest.mark.parametrize(
    ("store_class", "said"),
    [
        (FailingStore, "disk full (2 rows wait)"),
        (DefectiveStore, "it begins again, please report: KeyError('a defect')"),
    ],
)
def test_it_says_what_keeps_it_goes_on_and_loses_nothing(bench, store_class, said, caplog):
    caplog.set_level(logging.CRITICAL)
    bench.append(line(1, proxied=False), line(2, proxied=False))
    store = store_class(bench.store, 2)
    pipeline = bench.start(store=store)
    stop, problems = threading.Event(), []
    thread = threading.Thread(target=pipeline.run, args=(stop, 0.05))
    thread.start()
    for _ in range(200):
        problems.append(pipeline.problem)
        if bench.requests() == 2 and not pipeline.problem:
            break
        threading.Event().wait(0.01)
    bench.append(line(3, proxied=False))
    for _ in range(200):
        if bench.requests() == 3:
            break
        threading.Event().wait(0.01)
    stop.set()
    thread.join(5)
    assert any(said in problem for problem in problems)
    assert pipeline.problem == ""
    assert [path for path, _, _ in bench.stored()] == ["/items/1", "/items/2", "/items/3"]


COMBINED = '100.64.0.7 - - [08/Oct/2025:12:32:15 +0000] "GET /items/{} HTTP/1.1" 200 5 "-" "curl/8"\n'


def replace_store(bench):
    bench.store.close()
    for path in bench.folder.glob("t.db*"):
        path.unlink()
    bench.store = SqliteStore(bench.folder / "t.db")


@pytest.mark.parametrize("make_line", [lambda n: line(n, proxied=False), COMBINED.format])
def test_a_store_that_was_removed_is_filled_again_from_all_files_of_the_log(bench, make_line, caplog):
    """Also by lines without a request id, whose keys are made of their places, and though they say all the same."""
    bench.append(make_line(1), make_line(1) if "GET" in make_line(1)[:60] else make_line(2))
    first = bench.start()
    first.step()
    bench.log.rename(bench.folder / "access.log.1")
    bench.append(make_line(3))
    first.step()
    first.step()
    assert bench.requests() == 3
    before = bench.stored()
    first.tail.close()
    replace_store(bench)
    bench.append(make_line(4))
    second = bench.start()
    for _ in range(3):
        second.step()
    assert sorted(bench.stored()) == sorted([*before, ("/items/4", "/items/{id}", None)])
    assert (second.counters.stored, second.counters.duplicate) == (4, 0)
    assert caplog.text.count("is of another store") == 1
    second.tail.close()
    third = bench.start()
    bench.append(make_line(5))
    third.step()
    assert (third.counters.lines, bench.requests()) == (1, 5)


def test_another_store_that_has_some_of_it_already_takes_the_rest(bench):
    bench.append(*(line(number, proxied=False) for number in range(5)))
    first = bench.start()
    first.step()
    first.tail.close()
    rows = bench.store.rows(Scope.everybody(), ALL, None, 3)
    replace_store(bench)
    bench.store.write(rows)
    second = bench.start()
    second.step()
    assert (second.counters.stored, second.counters.duplicate) == (2, 3)
    assert bench.requests() == 5


def test_nothing_is_removed_while_old_lines_are_still_to_come(bench, monkeypatch):
    """The store takes nothing older than it has removed, and these belong into the sums."""
    bench.append(*(line(number, proxied=False) for number in (5, 4, 3)))
    bench.clock.now_us = T0 + 2 * DAY_US
    pipeline = bench.start(retention_days=1)
    monkeypatch.setattr(pipeline.tail, "_read_bytes_max", 1)
    monkeypatch.setattr("tailtrace_bridge.logs.source.CHUNK_BYTES", len(line(5)))
    for _ in range(3):
        pipeline.step()
    assert (pipeline.counters.stored, pipeline.counters.rejected, pipeline.counters.pruned) == (3, 0, 0)
    pipeline.step()
    assert (pipeline.counters.pruned, bench.requests()) == (3, 3)


def test_a_line_that_comes_in_parts_is_whole_after_a_restart_between_them(bench):
    text = '100.64.0.7 - - [08/Oct/2025:12:32:15 +0000] "GET /items/1 HTTP/1.1" 200 5 "-" "curl/8.5.0"'
    front = "2025-10-08T12:32:15.123456789Z stdout"
    bench.append(f"{front} F {text}\n", f"{front} P {text[:1]}\n")
    pipeline = bench.start()
    pipeline.step()
    pipeline.finish()
    assert bench.requests() == 1
    bench.append(f"{front} F {text[1:].replace('/1', '/2')}\n")
    pipeline = bench.start()
    pipeline.step()
    pipeline.finish()
    assert [path for path, _, _ in bench.stored()] == ["/items/1", "/items/2"]


def test_the_parts_of_a_line_that_waits_are_read_again_with_it(bench):
    front = "2025-10-08T12:32:15.123456789Z stdout"
    text = line(1).rstrip("\n")
    bench.append(f"{front} P {text[:40]}\n", f"{front} F {text[40:]}\n", f"{front} F {line(2, proxied=False)}")
    bench.start().step()
    assert [path for path, _, _ in bench.stored()] == ["/items/2"]
    bench.spans.put([span(1)])
    bench.start().step()  # as after a crash
    assert sorted(path for path, _, _ in bench.stored()) == ["/items/1", "/items/2"]
    assert bench.store.rejected_by_reason() == {}

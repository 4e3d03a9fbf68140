"""What the server says to a write, and what becomes of the lines."""

import pytest

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.store.influx.wire.write import BATCH_LINES_MAX, Answered, Timing, Writer


class FakeServer:
    """Answers each call with the next of `answers`, then takes all; time passes only in pauses."""

    def __init__(self, *answers, longest=10**9, bad=b""):
        self.answers, self.longest, self.bad = list(answers), longest, bad
        self.taken, self.pauses, self.now_us, self.calls = [], [], 0, 0

    def __call__(self, bucket, body):
        assert bucket == "b"
        self.calls += 1
        if self.answers:
            raise self.answers.pop(0)
        if len(body) > self.longest:
            raise Answered(413, "request entity too large")
        if self.bad and self.bad in body:
            raise Answered(400, "unable to parse 'x'")
        self.taken += body.split(b"\n")

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now_us += int(seconds * 1e6)

    def writer(self):
        timing = Timing(lambda: self.now_us, self.sleep, lambda: 1.0, lambda: 1_700_000_000_000_000)
        return Writer("http://influx", self, timing)


LINES = [b"a x=%di %d" % (n, n) for n in range(10)]


def test_lines_go_in_bounded_batches():
    server, lines = FakeServer(), [b"a x=1i %d" % n for n in range(BATCH_LINES_MAX + 1)]
    assert server.writer().write("b", lines) == 0
    assert (server.taken, server.calls) == (lines, 2)


def test_a_busy_server_is_asked_again_with_longer_pauses():
    server = FakeServer(Answered(503, "busy"), Answered(0, "no answer"), Answered(500, ""))
    writer = server.writer()
    assert writer.write("b", LINES) == 0
    assert (server.taken, server.pauses, writer.counters.retries) == (LINES, [0.25, 0.5, 1.0], 3)


def test_retry_after_is_honoured():
    server = FakeServer(Answered(429, "limit", "7"))
    server.writer().write("b", LINES)
    assert (server.taken, server.pauses) == (LINES, [7.0])


def test_no_call_before_the_time_that_the_server_named():
    server = FakeServer(Answered(429, "limit", "90"))
    writer = server.writer()
    with pytest.raises(StoreError, match="429 'limit'"):
        writer.write("b", LINES)
    with pytest.raises(StoreError, match="asked us to wait 90 s more"):
        writer.write("b", LINES)
    assert (server.calls, server.taken) == (1, [])
    server.now_us += 90_000_000
    writer.write("b", LINES)
    assert server.taken == LINES


def test_a_dead_server_ends_in_an_error_within_bounds():
    server = FakeServer(*[Answered(0, "no answer (NewConnectionError)")] * 99)
    with pytest.raises(StoreError, match="is InfluxDB running, and is INFLUXDB_V2_URL its address"):
        server.writer().write("b", LINES)
    assert 10 < sum(server.pauses) <= 20


def test_too_large_is_halved():
    server = FakeServer(longest=30)
    assert server.writer().write("b", LINES) == 0
    assert server.taken == LINES


def test_only_the_line_that_cannot_be_read_is_rejected():
    server = FakeServer(bad=b"x=7i")
    writer = server.writer()
    assert writer.write("b", LINES) == 1
    assert server.taken == LINES[:7] + LINES[8:]
    assert writer.counters.rejected == 1


def test_points_that_the_server_dropped_are_counted():
    server = FakeServer(Answered(422, "partial write: points beyond retention policy dropped=3"))
    assert server.writer().write("b", LINES) == 3


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "INFLUXDB_V2_TOKEN is wrong"), (403, "INFLUXDB_V2_TOKEN is wrong"), (404, "influx bucket create --name b")],
)
def test_what_the_user_must_mend_is_said(status, words):
    server = FakeServer(Answered(status, "no"))
    with pytest.raises(StoreError, match=words):
        server.writer().write("b", LINES)
    assert (server.calls, server.pauses) == (1, [])

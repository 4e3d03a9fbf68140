"""`tailtrace serve`, killed every few seconds while its log grows, or flooded by strangers: it catches up at once."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from tests.processes import free_port

LIFE_S = 4.0
KILLS = 5
WAIT_S = 12.0
"""A line waits ten seconds for its span, from the end of its request on, however many lives that takes."""


def line(number, path="/items/7", agent="curl/8", address="100.64.0.7"):
    trace = f"{number:032x}"
    return json.dumps({
        "msec": f"{time.time():.3f}", "request_id": trace, "tailtrace_trace_id": trace,
        "tailtrace_span_id": f"{number:016x}", "remote_addr": address, "request_method": "GET",
        "request_uri": path, "server_protocol": "HTTP/1.1", "status": "200", "bytes_sent": "10",
        "request_time": "0.010", "upstream_addr": "127.0.0.1:8000", "upstream_status": "200",
        "upstream_response_time": "0.010", "server_name": "shop.example", "http_referer": "", "http_user_agent": agent,
    }, separators=(",", ":")) + "\n"  # fmt: skip


class Bridge:
    """`tailtrace serve`, in a folder of its own, started and killed."""

    def __init__(self, folder):
        self.port, self.otlp, self.log = free_port(), free_port(), folder / "access.log"
        self.log.touch()
        self._process = None
        self._environment = {
            **os.environ, "TAILTRACE_LOG": str(self.log), "TAILTRACE_STORE": f"sqlite:{folder}/t.db",
            "TAILTRACE_CHECKPOINT": str(folder / "c.json"), "TAILTRACE_LISTEN": f"127.0.0.1:{self.port}",
            "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{self.otlp}", "TAILTRACE_REQUESTS_PER_S": "0",
        }  # fmt: skip

    def start(self, **settings):
        command = [sys.executable, "-m", "tailtrace_api.main", "serve"]
        self._process = subprocess.Popen(command, env=self._environment | settings)
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.total()
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def total(self, only=""):
        url = f"http://127.0.0.1:{self.port}/analytics/access-logs?hours=1&limit=1{only}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["summary"]["total_requests"]

    def send_span(self):
        """A span of no line: from now on lines wait for theirs."""
        span = {"traceId": "f" * 32, "spanId": "e" * 16, "parentSpanId": "d" * 16, "kind": 2, "name": "GET",
                "startTimeUnixNano": "1", "endTimeUnixNano": "2"}  # fmt: skip
        body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.otlp}/v1/traces", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=5).close()

    def kill(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture
def bridge(own_folder):
    made = Bridge(own_folder)
    yield made
    made.kill()


@pytest.fixture
def growing(bridge):
    """How many lines the log has, which grows by fifty in a second until `done` is set."""
    written, done = [0], threading.Event()

    def write():
        while not done.wait(0.02):
            with bridge.log.open("a") as file:
                written[0] += 1
                file.write(line(written[0]))

    writer = threading.Thread(target=write)
    writer.start()
    yield written, done
    done.set()
    writer.join()


FLOOD_S = 8
FLOOD_PER_S = 500
SEEN_S_MAX = 5.0
"""One second is the goal; the machine of the tests does other things as well."""
EVIL = (
    "a",
    "%40",
    "x@a.bc/",
    "@a.aa.",
    "/eyJaaaaaa.aaaaaa",
    "0123456789abcdef-",
    "\\x22",
    "\\\\",
    "\xff",
    "é",
    '"',
    "{",
)
"""Of what the dearest lines consist: by path, by agent, and as no line at all, each of them another."""


def evil(number):
    text = f"{number}{EVIL[number % len(EVIL)] * 1_000}"[:2_000]
    shape = number // len(EVIL) % 3
    if shape == 0:
        return text + "\n"
    where = {"path": f"/{text}"} if shape == 1 else {"agent": text}
    return line(10**9 + number, address=f"198.51.{number // 256 % 256}.{number % 256}", **where)


@pytest.mark.slow
def test_honest_lines_are_seen_in_time_under_a_flood_of_the_worst(bridge):
    bridge.start(TAILTRACE_SPAN_WAIT_MS="0")
    done, flooded = threading.Event(), [0]

    def flood():
        begun = time.monotonic()
        with bridge.log.open("a", encoding="utf-8", errors="surrogateescape") as file:
            while not done.is_set():
                due = int((time.monotonic() - begun) * FLOOD_PER_S)
                file.write("".join(evil(number) for number in range(flooded[0], due)))
                file.flush()
                flooded[0] = due
                time.sleep(0.02)

    writer = threading.Thread(target=flood)
    writer.start()
    try:
        for number in range(1, FLOOD_S + 1):
            time.sleep(0.5)
            begun = time.monotonic()
            with bridge.log.open("a") as file:
                file.write(line(number, path="/honest", address="203.0.113.7"))
            while bridge.total("&endpoint=/honest") < number and time.monotonic() < begun + SEEN_S_MAX:
                time.sleep(0.02)
            assert bridge.total("&endpoint=/honest") == number
    finally:
        done.set()
        writer.join()
    assert flooded[0] > FLOOD_S / 2 * FLOOD_PER_S / 2


@pytest.mark.slow
def test_a_bridge_that_is_killed_every_few_seconds_catches_up(bridge, growing):
    written, done = growing
    history, stored = [], []
    for _ in range(KILLS):
        history.append((time.monotonic(), written[0]))
        bridge.start()
        bridge.send_span()
        time.sleep(LIFE_S)
        old = max((lines for when, lines in history if time.monotonic() - when >= WAIT_S), default=0)
        stored.append((old, bridge.total()))
        bridge.kill()
    done.set()
    time.sleep(0.1)
    bridge.start()
    deadline = time.monotonic() + 40
    while bridge.total() < written[0] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert bridge.total() == written[0]
    assert [total >= old for old, total in stored] == [True] * KILLS
    assert stored[-1][0] > 250  # there was something to store

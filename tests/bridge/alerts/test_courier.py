"""Messages go through the real apprise to a real HTTP receiver: alive, refusing, slow, dead and back."""

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tailtrace_bridge.alerts.courier import AGE_US_MAX, ChildSend, Courier, Destination, destinations_of, warn_of_wrong
from tailtrace_bridge.alerts.state import OUTBOX_MAX, AlertCounters, Message, Outbox
from tailtrace_bridge.core.secret import Secret
from tailtrace_bridge.testing import FakeClock

S = 1_000_000
SECRET = "sekret-token-1"


class Receiver:
    """What came, and how it answers."""

    def __init__(self) -> None:
        self.took, self.status, self.pause_s = [], 200, 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(receiver.pause_s)
                receiver.took.append((self.path, body))
                try:
                    self.send_response(receiver.status)
                    self.end_headers()
                except OSError:
                    pass  # whoever asked is gone

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"json://127.0.0.1:{self.port}/hook/{SECRET}"

    def bodies(self):
        return [body["message"] for _, body in self.took]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def message(text="Error rate 12%", made_us=0, **more):
    return Message("tailtrace: error_rate started", text, made_us, **more)


@pytest.fixture
def stop():
    return threading.Event()


def test_a_message_arrives_whole(receiver, stop, tmp_path):
    file = tmp_path / "october.pdf"
    file.write_bytes(b"%PDF-1.7 \x00\xff")
    [destination] = destinations_of(Secret(receiver.url))
    sent = ChildSend(stop)(destination, message("100% <b>&amp; *ñ* 日本\nnext line", attachments=[str(file)]))
    assert sent == ""
    [(path, body)] = receiver.took
    assert path == f"/hook/{SECRET}"
    assert body["title"] == "tailtrace: error_rate started"
    assert body["message"] == "100% <b>&amp; *ñ* 日本\nnext line"
    assert body["type"] == "warning"
    assert [(one["filename"], one["base64"]) for one in body["attachments"]] == [("october.pdf", "JVBERi0xLjcgAP8=")]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("json://127.0.0.1:{refusing}/" + SECRET, "refused with HTTP 500"),
        ("json://127.0.0.1:{dead}/" + SECRET, "refused, or out of reach"),
        ("nosuch://127.0.0.1/" + SECRET, "apprise knows no such URL, or a part of it is missing"),
        ("tgram://" + SECRET, "apprise knows no such URL, or a part of it is missing"),
    ],
)
def test_what_is_wrong_is_told_without_the_url(receiver, stop, url, said):
    receiver.status = 500
    with socket.create_server(("127.0.0.1", 0)) as held:
        dead = held.getsockname()[1]
    [destination] = destinations_of(Secret(url.format(refusing=receiver.port, dead=dead)))
    problem = ChildSend(stop)(destination, message())
    assert said in problem
    assert SECRET not in problem + repr(destination)


@pytest.mark.parametrize("between", [",", ", ", " ", "\n", ",\n"])
def test_urls_have_commas_blanks_or_lines_between_them(between):
    urls = ["ntfys://ntfy.sh/a,b", "mailto://host?to=x@example.com,y@example.com", "json://127.0.0.1/"]
    found = destinations_of(Secret(between.join(urls)))
    assert [one.url.get_secret_value() for one in found] == urls


def test_the_form_of_each_url_is_looked_at_and_nothing_is_sent(receiver, stop, caplog):
    urls = f"{receiver.url} nosuch://127.0.0.1/{SECRET} tgram://{SECRET} ntfys://ntfy.sh/{SECRET}"
    destinations = destinations_of(Secret(urls))
    problems = ChildSend(stop).check(destinations)
    assert ["knows no such URL" in problem for problem in problems] == [False, True, True, False]
    assert receiver.took == []
    warn_of_wrong(destinations, ChildSend(stop))
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("TAILTRACE_ALERT_URLS: 2:nosuch: apprise knows no such URL, or a part of it is missing: ")
    assert "; 3:tgram: apprise knows no such URL" in said
    assert SECRET not in said + "".join(problems)


def test_of_right_urls_nothing_is_said(receiver, stop, caplog):
    warn_of_wrong(destinations_of(Secret(receiver.url)), ChildSend(stop))
    assert caplog.records == []


def test_a_look_that_takes_too_long_is_left(stop):
    destinations = destinations_of(Secret("json://127.0.0.1/a json://127.0.0.1/b"))
    assert ChildSend(stop, timeout_s=0.0).check(destinations) == ["no answer within 0 s"] * 2
    stop.set()
    assert ChildSend(stop).check(destinations) == ["tailtrace stops"] * 2


def test_a_slow_service_is_left_after_the_timeout(receiver, stop):
    receiver.pause_s = 6
    [destination] = destinations_of(Secret(receiver.url + "?rto=20"))
    began = time.monotonic()
    assert ChildSend(stop, timeout_s=1.0)(destination, message()) == "no answer within 1 s"
    assert time.monotonic() - began < 5


def test_a_stop_does_not_wait_for_a_slow_service(receiver, stop):
    receiver.pause_s = 6
    [destination] = destinations_of(Secret(receiver.url + "?rto=20"))
    threading.Timer(1.0, stop.set).start()
    began = time.monotonic()
    assert ChildSend(stop)(destination, message()) == "tailtrace stops"
    assert time.monotonic() - began < 5


def test_the_url_is_in_no_argument_and_no_variable(receiver, stop):
    """While a message is under way, `ps` shows nothing of it."""
    receiver.pause_s = 1.5
    [destination] = destinations_of(Secret(receiver.url))
    thread = threading.Thread(target=ChildSend(stop), args=(destination, message()))
    thread.start()
    seen = ""
    for _ in range(15):
        time.sleep(0.1)
        seen += subprocess.run(["ps", "axeww"], capture_output=True, check=True).stdout.decode(errors="replace")
    thread.join()
    assert "tailtrace_bridge.alerts.send_child" in seen
    assert SECRET not in seen


def test_apprise_stays_out_of_this_process():
    """Its 45 MiB are the child's: who only waits for an alert does not pay for them."""
    code = "import sys, tailtrace_bridge.wiring.alerts; print('apprise' in sys.modules, 'requests' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False False\n"


class Service:
    """A `Send` that takes what it is told to take."""

    def __init__(self) -> None:
        self.down, self.took = set(), []

    def __call__(self, destination: Destination, sent: Message) -> str:
        if destination.name in self.down:
            return "refused, or out of reach"
        self.took.append((destination.name, sent.body))
        return ""


class Post:
    """A courier with two destinations, and a clock."""

    def __init__(self, path) -> None:
        self.path, self.clock, self.service = path, FakeClock(1_000_000 * S), Service()
        self.begin("json://a json://b")

    def begin(self, urls):
        self.counters = AlertCounters()
        self.outbox = Outbox(self.path, self.counters)
        self.destinations = destinations_of(Secret(urls))
        self.courier = Courier(self.destinations, self.service, self.outbox, self.clock)

    def put(self, *texts):
        with self.outbox.lock:
            for text in texts:
                self.outbox.put(message(text, self.clock.now_us), [one.name for one in self.destinations])
            self.outbox.save()

    def run(self, seconds):
        """Let time pass; give how many tries there were."""
        before = self.counters.failed + self.counters.sent
        for _ in range(seconds):
            self.clock.now_us += S
            self.courier.step()
        return self.counters.failed + self.counters.sent - before


@pytest.fixture
def post(tmp_path):
    return Post(tmp_path / "alerts.json")


def test_each_destination_gets_all_in_order_though_one_is_dead_for_an_hour(post, caplog):
    post.service.down = {"2:json"}
    post.put("started", "ended")
    assert post.run(1) == 3, "two to the first, one try to the second"
    assert post.service.took == [("1:json", "started"), ("1:json", "ended")]
    tries = post.run(3600)
    assert tries == 8, "15 s, 30 s and so on, to 15 minutes"
    assert "alert not sent to 2:json: refused, or out of reach; trying again in 900 s" in caplog.text
    post.put("again")
    post.run(5)
    assert post.service.took[2:] == [("1:json", "again")], "the other one waits for nobody"
    post.service.down = set()
    post.run(900)
    assert post.service.took[3:] == [("2:json", "started"), ("2:json", "ended"), ("2:json", "again")]
    assert (post.counters.sent, post.counters.dropped, post.counters.waiting) == (6, 0, 0)
    assert post.outbox.state.outbox == []


def test_what_waits_outlives_a_restart_and_nothing_is_sent_twice(post):
    post.service.down = {"2:json"}
    post.put("started")
    post.run(5)
    post.begin("json://a json://b")
    post.service.down = set()
    post.run(1)
    assert post.service.took == [("1:json", "started"), ("2:json", "started")]
    post.begin("json://a json://b")
    assert post.run(60) == 0


def test_nothing_waits_for_a_destination_that_is_gone(post):
    post.service.down = {"1:json", "2:json"}
    post.put("started")
    post.begin("json://a")
    post.service.down = set()
    post.run(60)
    assert post.service.took == [("1:json", "started")]
    assert post.outbox.state.outbox == []


def test_a_message_is_given_up_after_a_day(post, caplog):
    post.service.down = {"2:json"}
    post.put("started")
    post.run(1)
    post.clock.now_us += AGE_US_MAX
    post.courier.step()
    assert post.counters.dropped == 1
    assert "alert given up for 2:json after a day" in caplog.text
    assert post.outbox.state.outbox == []


def test_the_outbox_is_bounded_and_the_newest_stay(post):
    post.service.down = {"1:json", "2:json"}
    post.put(*map(str, range(OUTBOX_MAX + 5)))
    assert post.counters.dropped == 5
    assert [one.body for one in post.outbox.state.outbox][:2] == ["5", "6"]


def test_no_log_and_no_state_has_a_url(receiver, stop, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    receiver.status = 500
    [destination] = destinations_of(Secret(receiver.url))
    outbox = Outbox(tmp_path / "alerts.json", AlertCounters())
    courier = Courier([destination], ChildSend(stop), outbox, FakeClock(10 * S))
    with outbox.lock:
        outbox.put(message(), [destination.name])
        outbox.save()
    courier.step()
    assert "alert not sent to 1:json: refused with HTTP 500" in caplog.text
    assert SECRET not in caplog.text + (tmp_path / "alerts.json").read_text(encoding="utf-8") + repr(courier.__dict__)

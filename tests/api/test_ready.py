"""`/ready` while the store hangs, as InfluxDB does when its machine is paused: it takes connections and says nothing."""

import socket
import threading

import pytest

from tailtrace_api.http import ready
from tailtrace_api.http.ready import TimelyCheck
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.store.influx.wire.query import InfluxQL, Server


@pytest.fixture
def silent():
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_store_that_hangs_is_not_waited_for(silent, monkeypatch):
    monkeypatch.setattr(ready, "ANSWER_S_MAX", 0.1)
    influx = InfluxQL(Server(silent, "tailtrace", "token"))
    asked = []

    def ask():
        asked.append(1)
        influx.rows("tailtrace", "SHOW MEASUREMENTS")

    check = TimelyCheck(ask)
    for _ in range(3):
        with pytest.raises(StoreError, match=r"the store gave no answer within 0\.1 s"):
            check()
    assert len(asked) == 1, "one thread waits, however often it is asked"


def test_what_the_store_says_is_said_each_time():
    answers = iter([None, StoreError("down"), None])

    def ask():
        if (answer := next(answers)) is not None:
            raise answer

    check = TimelyCheck(ask)
    check()
    with pytest.raises(StoreError, match="down"):
        check()
    check()


def test_one_that_hung_is_asked_anew_when_it_is_back(monkeypatch):
    monkeypatch.setattr(ready, "ANSWER_S_MAX", 0.05)
    back, asked = threading.Event(), []

    def ask():
        asked.append(1)
        back.wait(10)

    check = TimelyCheck(ask)
    with pytest.raises(StoreError, match="no answer"):
        check()
    back.set()
    monkeypatch.setattr(ready, "ANSWER_S_MAX", 10.0)
    check()
    check()
    assert len(asked) >= 2

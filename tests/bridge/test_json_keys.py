"""JSON lines that are read by the names of their keys: what is of the request, and what is of something beside it."""

import json

import pytest

from tailtrace_bridge.core.records import Access
from tailtrace_bridge.logs.parser import make_parser

TIME_US = 1_710_064_800_000_000
TIME = "2024-03-10T10:00:00Z"
CLIENT = "198.51.100.1"


def read(**line: object) -> object:
    return make_parser().parse(json.dumps(line).encode(), "f", 0)


@pytest.mark.parametrize(
    "line",
    [
        {
            "@timestamp": TIME,
            "destination": {"ip": "10.0.0.2"},
            "host": {"ip": ["10.0.0.3"], "name": "web"},
            "source": {"ip": CLIENT},
            "url": {"path": "/a", "original": "/a?token=x"},
            "http": {"request": {"method": "GET"}, "response": {"status_code": 200}},
        },
        {
            "time": TIME,
            "upstream": {"status": "502", "addr": "10.0.0.2:80", "time": "0.100"},
            "remote_addr": CLIENT,
            "request": "GET /a HTTP/1.1",
            "status": "200",
        },
        {
            "ts": TIME,
            "ip": CLIENT,
            "request": {"method": "GET", "path": "/a", "headers": {"Remote-Addr": "100.64.0.1", "Client-IP": "100.64.0.2"}},
            "response": {"status": 200},
        },
        {"nginx": {"access": {"time": TIME, "remote_addr": CLIENT, "request": "GET /a HTTP/1.1", "status": 200}}},
        {
            "time": TIME,
            "remote_addr": CLIENT,
            "request": "GET /a HTTP/1.1",
            "method": "GET",
            "uri": "/index.php",
            "status": 200,
        },
        {
            "@timestamp": TIME,
            "clientip": CLIENT,
            "verb": "GET",
            "request": "/a",
            "httpversion": "1.1",
            "response": "200",
        },
    ],
    ids=["elastic", "upstream", "headers", "within", "rewritten", "logstash"],
)  # fmt: skip
def test_only_what_tells_of_the_request_is_read(line):
    record = read(**line)
    assert isinstance(record, Access), record
    assert (record.address, record.method, record.path, record.status, record.time_us) == (
        CLIENT, "GET", "/a", 200, TIME_US
    )  # fmt: skip


def test_what_was_answered_is_never_guessed():
    line = {"time": TIME, "remote_addr": CLIENT, "request": "GET /a HTTP/1.1"}
    assert not isinstance(read(**line, outcome=500), Access)
    assert isinstance(read(**line, response_code=500), Access)


def test_a_client_that_sends_no_request_is_counted():
    record = read(time=TIME, remote_addr=CLIENT, request="", status=400)
    assert isinstance(record, Access), record
    assert (record.method, record.status) == ("_OTHER", 400)


def test_a_shippers_own_words_are_no_request():
    record = read(
        **{"@timestamp": TIME, "host": {"ip": ["10.0.0.3"]}, "log": {"file": {"path": "/var/log/nginx/access.log"}}},
        status="started",
    )
    assert not isinstance(record, Access), record


def test_caddys_error_log_tells_of_a_request_again():
    request = {"remote_ip": CLIENT, "method": "GET", "host": "app.example.org", "uri": "/a"}
    line = {"ts": 1710064800.5, "request": request, "duration": 0.5, "status": 502}
    record = read(**line, logger="http.log.access.log0")
    assert isinstance(record, Access), record
    assert (record.time_us, record.address, record.status) == (TIME_US, CLIENT, 502)
    assert not isinstance(read(**line, logger="http.log.error.log0", err_id="x"), Access)


def test_half_a_character_is_none():
    record = read(time=TIME, remote_addr=CLIENT, request="GET /a\ud800 HTTP/1.1", status=200, ua="c\udfff")
    assert isinstance(record, Access), record
    assert (record.path, record.user_agent) == ("/a%EF%BF%BD", "c\N{REPLACEMENT CHARACTER}")
    line = json.dumps({"log": "\ud800 no line\n", "stream": "stdout"})
    assert not isinstance(make_parser().parse(line.encode(), "f", 0), Access)

"""A line that was cut anywhere with another behind it: nobody gets the other's request."""

import re

import pytest

from tailtrace_bridge.core.records import Access
from tailtrace_bridge.logs.format import TAILTRACE_FORMAT, read_statement, split_format
from tailtrace_bridge.logs.known_formats import KNOWN_FORMATS
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.logs.understood import understand

ADDRESSES = {"v4": ("198.51.100.1", "198.51.100.2"), "v6": ("2001:db8::1", "2001:db8::2")}
VALUES = {
    "time_local": "10/Mar/2024:10:00:00 +0000",
    "time_iso8601": "2024-03-10T10:00:00+00:00",
    "msec": "1710064800.123",
    "request_method": "GET",
    "status": "200",
    "http_user_agent": "Mozilla/5.0 (X11)",
    "host": "app.example.org",
    "server_name": "app.example.org",
    "request_time": "0.012",
    "upstream_response_time": "0.011",
    "upstream_addr": "10.0.0.9:80",
    "server_port": "443",
    "proxy_upstream_name": "default-web-80",
    "column_word_requests": "7",
    "column_router": "web@docker",
    "column_server": "http://10.0.0.9:80",
    "server": "10.0.0.9",
    "scheme": "https",
    "remote_port": "51234",
}
NUMBERS = re.compile(r"(?:body_)?bytes_sent|request_length|upstream_response_length")
FORMATS = {
    **{name: source for name, source in KNOWN_FORMATS.items() if name != "tailtrace"},
    "ours": TAILTRACE_FORMAT,
    "ltsv": r"time:$time_local\thost:$remote_addr\treq:$request\tstatus:$status\tua:$http_user_agent\tvhost:$host",
    "keys": "time=$time_iso8601 ip=$remote_addr method=$request_method uri=$request_uri status=$status ua=$http_user_agent",
    "bars": "$remote_addr | $time_local | $request_method | $request_uri | $status | $http_user_agent",
    "json": 'escape=json {"time":"$time_iso8601","remote_addr":"$remote_addr","request":"$request","status":$status}',
    "between": "$remote_addr - $http_x_forwarded_for - $remote_user [$time_local] $scheme://$host$request_uri $status",
    "middle": "$remote_addr - $remote_user [$time_local] $request $status $body_bytes_sent $http_user_agent",
    "open": "$remote_addr [$time_local] $request_method $request_uri $status $http_user_agent $request_time",
    "forwarded": '$http_x_forwarded_for - $remote_user [$time_local] "$request" $status "$http_user_agent"',
}  # fmt: skip


def written(source: str, address: str, path: str) -> str:
    escape, text = read_statement(source, source)
    names, literals = split_format(text, source)
    own = {
        "remote_addr": address, "http_x_forwarded_for": address, "request_uri": path, "request": f"GET {path} HTTP/1.1"
    }  # fmt: skip
    nothing = "-" if escape == "default" else ""
    values = [own.get(name) or VALUES.get(name) or ("5" if NUMBERS.fullmatch(name) else nothing) for name in names]
    return literals[0] + "".join(value + after for value, after in zip(values, literals[1:], strict=True))


@pytest.mark.parametrize("kind", ADDRESSES)
@pytest.mark.parametrize(
    ("name", "way"),
    [(name, "given") for name in FORMATS] + [(name, "auto") for name in (*KNOWN_FORMATS, "json") if name in FORMATS],
)
def test_nobody_gets_anothers_request(name, kind, way):
    source = FORMATS[name]
    one, two = (written(source, address, f"/{number}") for number, address in enumerate(ADDRESSES[kind]))
    parser, _ = understand(make_parser(source if way == "given" else "auto"), "f", [one.encode(), two.encode()] * 3)
    whose = dict(zip(("/0", "/1"), ADDRESSES[kind], strict=True))
    whole = parser.parse(two.encode(), "f", 0)
    assert isinstance(whole, Access), whole
    assert (whole.address, whole.path) == (ADDRESSES[kind][1], "/1")
    for end in range(1, len(one) + 1):
        record = parser.parse((one[:end] + two).encode(), "f", 0)
        if isinstance(record, Access) and record.address in whose.values():
            assert whose.get(record.path) == record.address, (one[:end] + two, record)


def test_a_browsers_version_is_no_address():
    log_format = '[$time_local] "$request" $status $remote_addr $http_user_agent'
    agent = "Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0.0.0 Safari/537.36"
    line = f'[10/Mar/2024:10:00:00 +0000] "GET /a HTTP/1.1" 200 198.51.100.1 {agent}'
    record = make_parser(log_format).parse(line.encode(), "f", 0)
    assert isinstance(record, Access), record
    assert (record.address, record.user_agent) == ("198.51.100.1", agent)


@pytest.mark.parametrize(
    ("log_format", "line"),
    [
        # Address and method of the second line were taken for the first one's host and method.
        (
            "$remote_addr | $time_local | $request_method | $host | $request_uri | $status",
            "198.51.100.1 | T | GET | 198.51.100.2 | T | GET | app.example.org | /b | 200",
        ),
        (
            "$remote_addr [$time_local] $request_method $uri $status",
            "198.51.100.1 [T] 198.51.100.2 [T] GET /b 200",
        ),
        (
            '$remote_addr - $http_x_forwarded_for - $remote_user [$time_local] "$request" $status',
            '198.51.100.1 - 198.51.100.2 - - - - [T] "GET /b HTTP/1.1" 200',
        ),
        ("status=$status uri=$request_uri ip=$remote_addr t=$time_local", "status=200 uri=/status=404 uri=/b ip=198.51.100.2 t=T"),
        # A time was taken for a duration, and all that is behind it for the agent.
        (
            "$msec $remote_addr $request_method $request_uri $status $request_time $http_user_agent",
            "1710064800.123 198.51.100.1 GET /a 200 1710064800.124 198.51.100.2 GET /b 404 0.012 curl/8.5",
        ),
        # The address behind half a date looked as a browser's version does.
        (
            "$remote_addr $http_cookie [$time_local] $request $status",
            "198.51.100.1 - [10/Mar/198.51.100.2 - [T] GET /b HTTP/1.1 200",
        ),
        ("auto", '2001:db8::1 2001:db8::2 - - [T] "GET /b HTTP/1.1" 200 5 "-" "c"'),
        ("auto", 'unix: 198.51.100.2 - - [T] "GET /b HTTP/1.1" 200 5 "-" "c"'),
        ("vhost", '2001:db8::1 2001:db8::2 - - [T] "GET /b HTTP/1.1" 200 5 "-" "c"'),
        ("combined", '2001:db8::198.51.100.2 - - [T] "GET /b HTTP/1.1" 200 5 "-" "c"'),
    ],
)  # fmt: skip
def test_what_was_cut_is_nobodys(log_format, line):
    record = make_parser(log_format).parse(re.sub(r"\bT\b", VALUES["time_local"], line).encode(), "f", 0)
    assert not isinstance(record, Access), record

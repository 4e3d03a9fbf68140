"""LTSV: values by their labels, the right person's, or a refusal."""

import pytest

from tailtrace_bridge.core.records import Access, RejectedLine
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.logs.understood import understand

TIME = "10/Mar/2024:10:00:00 +0000"
TIME_US = 1_710_064_800_000_000
CLIENT = "198.51.100.1"
USUAL = {
    "time": TIME,
    "host": CLIENT,
    "forwardedfor": "203.0.113.5, 203.0.113.6",
    "req": "GET /a?token=x HTTP/1.1",
    "status": "500",
    "size": "12",
    "referer": "-",
    "ua": "curl/8.5",
    "reqtime": "0.250",
    "apptime": "0.200",
    "vhost": "app.example.org",
}


def line(**changes: str | None) -> str:
    return "\t".join(f"{label}:{value}" for label, value in (USUAL | changes).items() if value is not None)


def read(*lines: str) -> list[Access | RejectedLine]:
    raw = [one.encode() for one in lines]
    parser, _ = understand(make_parser("auto"), "f", raw)
    return [parser.parse(one, "f", number) for number, one in enumerate(raw)]


def test_each_value_is_found_by_its_label():
    (found,) = read(line())
    assert isinstance(found, Access)
    assert found.time_us == TIME_US - 250_000
    assert (found.address, found.method, found.path, found.status) == (CLIENT, "GET", "/a", 500)
    assert (found.bytes_sent, found.request_time_us, found.upstream_time_us) == (12, 250_000, 200_000)
    assert (found.service, found.user_agent) == ("app.example.org", "curl/8.5")


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"time": f"[{TIME}]"}, "time_us", TIME_US - 250_000),
        ({"reqtime": None, "reqtime_microsec": "1500"}, "request_time_us", 1500),
        ({"req": None, "method": "POST", "uri": "/b"}, "path", "/b"),
        ({"host": "2001:db8::9"}, "address", "2001:db8::9"),
        ({"host": "app.example.org", "vhost": None, "remote_addr": CLIENT}, "address", CLIENT),
        ({"host": "app.example.org", "vhost": None, "remote_addr": CLIENT}, "service", "app.example.org"),
        ({"req": r"GET /a\x09host:203.0.113.9 HTTP/1.1"}, "address", CLIENT),
        ({"size": "-", "apptime": "-"}, "upstream_time_us", None),
        ({"ua": "a:b\\x22c"}, "user_agent", 'a:b"c'),
    ],
)
def test_values_that_labels_may_have(changes, name, value):
    (found,) = read(line(**changes))
    assert isinstance(found, Access), found
    assert getattr(found, name) == value


@pytest.mark.parametrize(
    "text",
    [
        line(vhost=None, forwardedfor=None, host="203.0.113.9"),  # a client says which host it asks for
        line(status=None),
        line() + f"\thost:{CLIENT}",
        line() + line(host="198.51.100.2"),
        line()[:90] + line(host="198.51.100.2"),
        line()[:20] + line(host="198.51.100.2"),
        line(host="198.51.100.2999"),
        line() + "\tno label",
        line() + "".join(f"\tx{number}:1" for number in range(100)) + "\t",
    ],
    ids=[
        "host-alone",
        "no-status",
        "twice",
        "glued",
        "glued-in-the-middle",
        "glued-in-the-time",
        "address",
        "bare",
        "many",
    ],
)
def test_what_could_be_anothers_is_refused(text):
    (found,) = read(text)
    assert isinstance(found, RejectedLine)


def test_a_log_in_which_host_is_the_servers_name_gives_nobody_a_clients_host_header():
    found = read(*(line(vhost=None, host=host) for host in ("app.example.org", "203.0.113.9")))
    assert [one.address for one in found if isinstance(one, Access)] == ["203.0.113.6", "203.0.113.6"]

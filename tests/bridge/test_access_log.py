import time
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tailtrace_api.nginx.include_files import log_format_directive
from tailtrace_bridge.core.errors import FormatError
from tailtrace_bridge.core.records import Access, RejectedLine
from tailtrace_bridge.logs.exchange import Attempt, Exchange, attempts, read_exchange
from tailtrace_bridge.logs.format import (
    TAILTRACE_FIELDS,
    TAILTRACE_FORMAT,
    TAILTRACE_MARK,
    UNTRUSTED_FIELDS,
    is_tailtrace_format,
)
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.logs.rejected import LINE_LENGTH_MAX, REASONS
from tailtrace_bridge.logs.texts import PATH_LENGTH_MAX

SAMPLES = Path(__file__).parents[1] / "samples"
T_14_32_15 = 1_759_933_935_000_000
"""2025-10-08 14:32:15 UTC."""


def access(line: bytes, log_format: str = "auto", zone=UTC) -> Access:
    record = make_parser(log_format, zone).parse(line, "access.log", 0)
    assert isinstance(record, Access), record
    return record


def fields(line: bytes, *names: str, log_format: str = "auto"):
    record = access(line, log_format)
    return tuple(getattr(record, name) for name in names)


ID = "5af7183fb1d4cf5ff0b5a2d7d4b3c1aa"
INBOUND, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def own_line(**values: str) -> bytes:
    """A line as `tailtrace-http.conf` has nginx write it; what is not named is a plain request to an app."""
    given = {
        "msec": "1759926735.250",
        "request_id": ID,
        "tailtrace_flags": "01",
        "remote_addr": "100.64.0.7",
        "remote_port": "41234",
        "realip_remote_addr": "100.64.0.7",
        "request_method": "GET",
        "request_uri": "/a",
        "status": "200",
        "bytes_sent": "1534",
        "request_time": "0.250",
        "server_name": "factory",
        "upstream_addr": "127.0.0.1:8000",
        "upstream_response_time": "0.240",
        "upstream_status": "200",
    }
    assert set(values) <= set(TAILTRACE_FIELDS)
    return "\t".join((TAILTRACE_MARK, *((given | values).get(name, "") for name in TAILTRACE_FIELDS))).encode()


def test_our_own_line():
    line = own_line(
        tailtrace_inbound_trace_id=INBOUND,
        tailtrace_inbound_span_id=PARENT,
        tailtrace_flags="00",
        realip_remote_addr="10.0.0.9",
        tailtrace_proxied="100.64.0.8@10.0.0.1",
        request_uri="/dashboard/complete?token=secret",
        http_user_agent='a \\"b\\" \\u0016 é',
        http_tailscale_user_login="ana@example.com",
        upstream_http_x_tailtrace="1;t=239000;r=/dashboard/{name}",
        upstream_addr="127.0.0.1:8000, 127.0.0.1:8001",
        upstream_status="502, 200",
        upstream_response_time="0.001, 0.240",
        upstream_connect_time="-, 0.000",
        upstream_header_time="-, 0.238",
        upstream_response_length="0, 1200",
        upstream_http_content_length="1200",
        server_protocol="HTTP/1.1",
        scheme="https",
        request_length="512",
        body_bytes_sent="1200",
        http_host="factory.example:8443",
    )
    assert access(line) == Access(
        time_us=1_759_926_735_000_000,
        key=access(line, "tailtrace").key,
        address="100.64.0.7",
        method="GET",
        path="/dashboard/complete",
        status=200,
        request_time_us=250_000,
        upstream_time_us=241_000,
        proxied=True,
        bytes_sent=1534,
        service="factory",
        trace_id=INBOUND,
        span_id="f0b5a2d7d4b3c1aa",
        user_agent='a "b" \\x16 é',
        card="",
        serve="ana@example.com",
        peer="10.0.0.9",
        peer_port=41234,
        proxy_protocol="100.64.0.8",
        proxy_protocol_at="10.0.0.1",
        app="1;t=239000;r=/dashboard/{name}",
        parent_span_id=PARENT,
        sampled=False,
        exchange="\t127.0.0.1:8000, 127.0.0.1:8001\t0.001, 0.240\t502, 200\t-, 0.000\t-, 0.238\t0, 1200\t1200\tHTTP/1.1\thttps"
        "\t512\t1200\tfactory.example:8443",
    )
    assert read_exchange(access(line).exchange) == Exchange(
        cache_status="",
        upstream_addr="127.0.0.1:8000, 127.0.0.1:8001",
        upstream_response_time="0.001, 0.240",
        upstream_status="502, 200",
        upstream_connect_time="-, 0.000",
        upstream_header_time="-, 0.238",
        upstream_response_length="0, 1200",
        content_length="1200",
        protocol="HTTP/1.1",
        scheme="https",
        request_length="512",
        body_bytes_sent="1200",
        host="factory.example:8443",
    )
    assert attempts(read_exchange(access(line).exchange)) == [
        Attempt("127.0.0.1:8000", 502, None, None, 1000, 0),
        Attempt("127.0.0.1:8001", 200, 0, 238_000, 240_000, 1200),
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"trace_id": ID, "span_id": "7461696c74726163", "peer": "", "app": "", "parent_span_id": "", "sampled": True}),
        ({"remote_addr": "unix:", "realip_remote_addr": "unix:", "remote_port": ""}, {"address": "unix:", "peer": "unix:", "peer_port": 0}),
        ({"realip_remote_addr": "unix:", "remote_port": "0"}, {"address": "100.64.0.7", "peer": "unix:", "peer_port": 0}),
        ({"realip_remote_addr": "::FFFF:10.0.0.9"}, {"peer": "10.0.0.9"}),
        ({"tailtrace_proxied": "fe80:::zz@127.0.0.1"}, {"proxy_protocol": "", "proxy_protocol_at": "127.0.0.1"}),
        ({"tailtrace_proxied": "100.64.0.8"}, {"proxy_protocol": "100.64.0.8", "proxy_protocol_at": ""}),
        ({"remote_port": "99999999"}, {"peer_port": 0}),
        ({"upstream_http_x_tailtrace": "1;t=5"}, {"app": "1;t=5"}),
        ({"upstream_http_x_tailtrace": "1;t=5", "upstream_addr": ""}, {"app": "", "proxied": False}),
        *[({"upstream_http_x_tailtrace": "1;t=5", "upstream_cache_status": said}, {"app": "1;t=5"}) for said in ("MISS", "BYPASS", "EXPIRED")],
        *[({"upstream_http_x_tailtrace": "1;t=5", "upstream_cache_status": said}, {"app": ""}) for said in ("HIT", "STALE", "UPDATING", "REVALIDATED", "later")],
        ({"upstream_http_x_tailtrace": "1;t=5;r=" + "a" * 8000}, {"app": "1;t=5;r=" + "a" * 1017}),
        ({"upstream_http_x_tailtrace": r"1;t=5\u0007\"x"}, {"app": r'1;t=5\x07"x'}),
        ({"tailtrace_flags": "00"}, {"sampled": False}),
        ({"tailtrace_flags": "03"}, {"sampled": True}),
        ({"tailtrace_flags": "zz"}, {"sampled": True}),
        ({"tailtrace_inbound_span_id": "xyz"}, {"parent_span_id": ""}),
        ({"http_user_agent": r"a\t200\t\"b"}, {"user_agent": r'a\t200\t"b', "status": 200}),
        ({"http_host": "h" * 9000}, {"exchange": ("\t127.0.0.1:8000\t0.240\t200" + "\t" * 9 + "h" * 9000)[:1024]}),
    ],
)  # fmt: skip
def test_our_own_line_value_by_value(values, expected):
    record = access(own_line(**values))
    assert {name: getattr(record, name) for name in expected} == expected


def test_our_own_format_reads_the_same_in_whatever_way_it_is_given():
    line = own_line(upstream_http_x_tailtrace="1;t=5")
    known = UNTRUSTED_FIELDS | {"tailtrace_flags": "01"}
    for written in (
        TAILTRACE_FORMAT,
        log_format_directive(),
        log_format_directive("X-Of-Mine"),
        log_format_directive("X-Of-Mine", known),
        log_format_directive().replace("'t3", "'t2"),
    ):
        assert access(line, written) == access(line)
    assert not is_tailtrace_format("json", TAILTRACE_FORMAT.removeprefix("escape=json ").replace("$status", ""))


def test_the_span_of_nginx_is_named_alike_in_each_trace_that_it_starts():
    def ids(line):
        return fields(line, "trace_id", "span_id", "parent_span_id")

    inbound = {"tailtrace_inbound_trace_id": INBOUND, "tailtrace_inbound_span_id": PARENT}
    assert ids(own_line()) == (ID, "7461696c74726163", "")
    assert ids(own_line(**inbound)) == (INBOUND, ID[16:], PARENT)
    assert ids(own_line(**inbound, request_id="7" * 16 + "0" * 16)) == (INBOUND, "7" * 16, PARENT)
    assert ids(own_line(**inbound, request_id="0" * 32)) == (INBOUND, "0" * 15 + "1", PARENT)
    older = own_line().replace(b"t3", b"t2", 1)
    assert ids(older) == (ID, ID[16:], ""), "include files of version 4 named it by half of the id"


def test_a_line_with_a_tab_too_many_or_too_few_is_none_of_ours():
    for line in (own_line() + b"\t", own_line()[:-1], own_line()[3:], own_line(http_host="a") + b"\nx\t"):
        assert isinstance(make_parser().parse(line, "f", 0), RejectedLine)


@pytest.mark.parametrize("text", ["", "a", "\t" * 11, "\t" * 13])
def test_an_exchange_that_cannot_be_read_says_nothing(text):
    assert read_exchange(text) == Exchange()
    assert attempts(read_exchange(text)) == []


def test_an_older_line_of_ours():
    line = (
        b'{"msec":"1759926735.250","request_id":"5af7183fb1d4cf5ff0b5a2d7d4b3c1aa",'
        b'"tailtrace_trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","tailtrace_span_id":"f0b5a2d7d4b3c1aa",'
        b'"remote_addr":"100.64.0.7","request_method":"GET","request_uri":"/dashboard/complete?token=secret",'
        b'"server_protocol":"HTTP/1.1","status":"200","bytes_sent":"1534","request_time":"0.250",'
        b'"upstream_addr":"127.0.0.1:8000, 127.0.0.1:8001","upstream_status":"502, 200",'
        b'"upstream_response_time":"0.001, 0.240","server_name":"factory","http_referer":"",'
        b'"http_user_agent":"a \\"b\\" \\u0016 \xc3\xa9"}'
    )
    assert access(line) == Access(
        time_us=1_759_926_735_000_000,
        key=access(line, "tailtrace").key,
        address="100.64.0.7",
        method="GET",
        path="/dashboard/complete",
        status=200,
        request_time_us=250_000,
        upstream_time_us=241_000,
        proxied=True,
        bytes_sent=1534,
        service="factory",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="f0b5a2d7d4b3c1aa",
        user_agent='a "b" \\x16 é',
        card="",
    )


def test_a_combined_line():
    line = b'100.64.0.8 - - [08/Oct/2025:16:32:15 +0200] "POST /metrics/sticker/438?x=1 HTTP/1.1" 200 31 "-" "Dalvik/2.1.0 (Linux)"'
    assert access(line) == Access(
        time_us=T_14_32_15,
        key=access(line, "combined").key,
        address="100.64.0.8",
        method="POST",
        path="/metrics/sticker/438",
        status=200,
        request_time_us=None,
        upstream_time_us=None,
        proxied=False,
        bytes_sent=31,
        service="",
        trace_id="",
        span_id="",
        user_agent="Dalvik/2.1.0 (Linux)",
        card="",
    )


BEGIN = b'100.64.0.7 - - [08/Oct/2025:14:32:15] "GET /dashboard HTTP/1.1" '


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (BEGIN + b"200 1234", (200, 1234, "", None, None)),
        (BEGIN + b"304 -", (304, 0, "", None, None)),
        (BEGIN + b"499", (499, 0, "", None, None)),
        (BEGIN + b"- -", (0, 0, "", None, None)),
        (BEGIN + b"200 1234 -", (200, 1234, "", None, None)),
        (BEGIN + b"200 1234\r", (200, 1234, "", None, None)),
        (BEGIN + b'200 1234 "-"', (200, 1234, "", None, None)),
        (BEGIN + b'200 1234 "-" "-"', (200, 1234, "", None, None)),
        (BEGIN + b'200 1234 "-" "curl" "10.0.0.1, 10.0.0.2"', (200, 1234, "curl", None, None)),
        (BEGIN + b'200 1234 "-" "curl" 0.300', (200, 1234, "curl", 300_000, None)),
        (BEGIN + b'200 1234 "-" "curl" 0.300 -', (200, 1234, "curl", 300_000, None)),
        (BEGIN + b'200 1234 "-" "curl" 0.300 0.299 .', (200, 1234, "curl", 300_000, 299_000)),
        (BEGIN + b'200 1234 "-" "curl" "-" "0.299" "0.300"', (200, 1234, "curl", 300_000, 299_000)),
        (BEGIN + b'200 1234 "-" "curl" rt=0.300 uct="0.001" uht="0.200" urt="0.299"', (200, 1234, "curl", 300_000, 299_000)),
        (BEGIN + b'200 1234 "-" "curl" 1759926735.123 3.45', (200, 1234, "curl", None, None)),
    ],
)  # fmt: skip
def test_auto_reads_the_variants_of_the_common_log(line, expected):
    names = ("status", "bytes_sent", "user_agent", "request_time_us", "upstream_time_us")
    assert fields(line, *names) == expected
    assert fields(line, "address", "path") == ("100.64.0.7", "/dashboard")


def test_auto_reads_a_virtual_host():
    line = b'factory.example:443 100.64.0.9 - a b [08/Oct/2025:14:32:15 +0000] "GET /c HTTP/1.1" 200 9 "-" "curl"'
    assert fields(line, "service", "address", "time_us") == ("factory.example", "100.64.0.9", T_14_32_15)


def test_a_user_name_cannot_forge_the_time():
    line = b'100.64.0.9 - x [01/Jan/2018:00:00:00 +0000] [08/Oct/2025:14:32:15 +0000] "GET /c HTTP/1.1" 200 9'
    assert fields(line, "time_us", "path") == (T_14_32_15, "/c")


@pytest.mark.parametrize(
    ("request_line", "method", "path"),
    [
        (b"GET / HTTP/1.1", "GET", "/"),
        (b"GET /", "GET", "/"),
        (b"GET /a b HTTP/1.1", "GET", "/a b"),
        (b"GET /a?secret#x HTTP/1.1", "GET", "/a"),
        (b"GET /a#secret?x HTTP/1.1", "GET", "/a"),
        (b"GET http://u:p@host/a/b?c HTTP/1.1", "GET", "/a/b"),
        (b"GET https://host HTTP/1.1", "GET", "/"),
        (b"CONNECT host:443 HTTP/1.1", "CONNECT", "host:443"),
        (b"OPTIONS * HTTP/1.1", "OPTIONS", "*"),
        (b"PROPFIND /dav HTTP/1.1", "_OTHER", "/dav"),
        (b"-", "_OTHER", ""),
        (b"", "_OTHER", ""),
        (b"\\x16\\x03\\x01", "_OTHER", "%16%03%01"),
        (b"GET /caf\\xC3\\xA9 HTTP/1.1", "GET", "/caf%C3%A9"),
        (b"GET /caf\xc3\xa9 HTTP/1.1", "GET", "/caf%C3%A9"),
        (b"GET /\xff%20\\x22 HTTP/1.1", "GET", '/%FF%20"'),
        (b"GET /" + b"a" * 2000 + b"?x HTTP/1.1", "GET", "/" + "a" * (PATH_LENGTH_MAX - 1)),
    ],
)
def test_a_request_line(request_line, method, path):
    line = b'::1 - - [08/Oct/2025:14:32:15 +0000] "' + request_line + b'" 200 0 "-" "-"'
    assert fields(line, "method", "path") == (method, path)


@pytest.mark.parametrize(
    ("printed", "address"),
    [
        ("100.64.0.7", "100.64.0.7"),
        ("FD7A:115C:A1E0:0::1", "fd7a:115c:a1e0::1"),
        ("::ffff:100.64.0.7", "100.64.0.7"),
        ("unix:", "unix:"),
    ],
)
def test_an_address_is_written_in_one_way(printed, address):
    assert fields(f'{printed} - - [08/Oct/2025:14:32:15] "GET / HTTP/1.1" 200 0'.encode(), "address") == (address,)


@pytest.mark.parametrize(
    ("printed", "zone", "time_us"),
    [
        ("08/Oct/2025:14:32:15", UTC, T_14_32_15),
        ("08/Oct/2025:16:32:15", ZoneInfo("Europe/Berlin"), T_14_32_15),
        ("08/Oct/2025:09:02:15 -0530", ZoneInfo("Europe/Berlin"), T_14_32_15),
        ("26/Oct/2025:02:30:00", ZoneInfo("Europe/Berlin"), 1_761_438_600_000_000),
    ],
)
def test_a_time_without_zone_is_in_the_zone_given(printed, zone, time_us):
    assert access(f'::1 - - [{printed}] "GET / HTTP/1.1" 200 0'.encode(), zone=zone).time_us == time_us


@pytest.mark.parametrize(
    ("log_format", "line", "time_us"),
    [
        ("$remote_addr $msec", b"::1 1759933935.250", T_14_32_15 + 250_000),
        ("$remote_addr $msec $request_time", b"::1 1759933935.250 0.250", T_14_32_15),
        ("$remote_addr $time_iso8601", b"::1 2025-10-08T16:32:15+02:00", T_14_32_15),
        ("$remote_addr $time_iso8601", b"::1 2025-10-08T14:32:15", T_14_32_15),
    ],
)
def test_a_time_in_other_formats(log_format, line, time_us):
    assert access(line, log_format).time_us == time_us


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "empty"),
        (b" \t", "empty"),
        (b"not a log line", "no-format"),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", "no-format"),
        (b'100.64.0.7 - - [08/Oct/2025:14:32:15] "GET /cut HT', "no-format"),
        (b'printer - - [08/Oct/2025:14:32:15] "GET / HTTP/1.1" 200 0', "bad-address"),
        (b'fe80::1%eth0 - - [08/Oct/2025:14:32:15] "GET / HTTP/1.1" 200 0', "bad-address"),
        (b'::1 - - [08/Okt/2025:14:32:15] "GET / HTTP/1.1" 200 0', "bad-time"),
        (b'::1 - - [31/Feb/2025:14:32:15] "GET / HTTP/1.1" 200 0', "bad-time"),
        (b'::1 - - [08/Oct/2025:14:32:61] "GET / HTTP/1.1" 200 0', "bad-time"),
        (b'::1 - - [08/Oct/1925:14:32:15] "GET / HTTP/1.1" 200 0', "bad-time"),
        (b'::1 - - [08/Oct/2125:14:32:15] "GET / HTTP/1.1" 200 0', "bad-time"),
        (b'::1 - - [08/Oct/2025:14:32:15] "GET / HTTP/1.1" OK 0', "bad-number"),
        (b'::1 - - [08/Oct/2025:14:32:15] "GET / HTTP/1.1" 200 1e9', "bad-number"),
        (b'::1 - - [08/Oct/2025:14:32:15] "GET / HTTP/1.1" 200 ' + b"9" * 19, "bad-number"),
        (b"x" * (LINE_LENGTH_MAX + 1), "too-long"),
    ],
)
def test_a_line_that_is_no_record_says_why_and_where(line, reason):
    assert reason in REASONS
    text = line[:200].decode("utf-8", "backslashreplace")[:200]
    assert make_parser().parse(line, "access.log", 4711) == RejectedLine(reason, "access.log", 4711, text)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'{"request_uri":"/login?password=hunter2","status":"2', '{"request_uri":"/login?…","status":"2'),
        (b'{"request_uri":"/login?a=\\"hunter2\\\\","status":"2', '{"request_uri":"/login?…","status":"2'),
        (b'{"request_uri":"/login?password=hunt', '{"request_uri":"/login?…'),
        (b'::1 "GET /a?hunter2 HTTP/1.1" "https://b/?hunter2"', '::1 "GET /a?… HTTP/1.1" "https://b/?…"'),
        (b'::1 "GET http://me:hunter2@b/c HTTP/1.1"', '::1 "GET http://…b/c HTTP/1.1"'),
        (b'{"auth":"Basic aHVudGVyMg==","a":"b"', '{"auth":"Basic …","a":"b"'),
        (b"Authorization: Bearer hunter2", "Authorization: …"),
        (b'{"http_authorization":"hunter2 \\"x","a":"b"', '{"http_authorization":"…","a":"b"'),
        (b"Set-Cookie: a=hunter2; b=hunter2", "Set-Cookie: …"),
        (b'::1 x-api-key="hunter2" 7', '::1 x-api-key="…" 7'),
        (b'{"args":"access_token=hunter2&b=c"}', '{"args":"access_token=…"}'),
        (b"a" * 190 + b"?" + b"x" * 700, "a" * 190 + "?…"),
        (b"Fields: date time cs-uri-stem", "Fields: date time cs-uri-stem"),
    ],
)
def test_a_refused_line_leaves_its_secrets_behind(line, text):
    assert make_parser().parse(line, "f", 0) == RejectedLine("no-format", "f", 0, text)


@pytest.mark.parametrize("log_format", ["auto", "combined"])
@pytest.mark.parametrize(
    ("request_line", "agent", "expected"),
    [
        (rb"GET /a HTTP/1.1", rb"a\"b\"", ("GET", "/a", 'a"b"')),
        (rb"GET /a HTTP/1.1", rb"\"", ("GET", "/a", '"')),
        (rb"GET /a HTTP/1.1", rb"a\" \"b", ("GET", "/a", 'a" "b')),
        (rb"GET /a HTTP/1.1", rb"C:\\dir\\", ("GET", "/a", "C:\\dir\\")),
        (rb"GET /a HTTP/1.1", rb"a\\\"b", ("GET", "/a", 'a\\"b')),
        (rb"GET /a HTTP/1.1", rb"a\tb", ("GET", "/a", "a\\tb")),
        (rb"GET /x?q=\"y HTTP/1.1", rb"curl", ("GET", "/x", "curl")),
        (rb"GET /\"y\" HTTP/1.1", rb"a\x22b\x5C", ("GET", '/"y"', 'a"b\\')),
    ],
)
def test_apaches_escaped_quotes_do_not_end_a_value(log_format, request_line, agent, expected):
    line = b'::1 - - [08/Oct/2025:14:32:15 +0000] "' + request_line + b'" 200 7 "-" "' + agent + b'"'
    assert fields(line, "method", "path", "user_agent", log_format=log_format) == expected


@pytest.mark.parametrize(
    ("log_format", "lacks"),
    [
        ("$remote_addr", "without $msec, $time_local or $time_iso8601 a line says too little; add it: "),
        ("$msec", "without an address nobody is found; add $remote_addr (or, behind a proxy, "),
    ],
)
def test_a_format_without_address_or_time_is_refused(log_format, lacks):
    with pytest.raises(FormatError) as caught:
        make_parser(log_format)
    assert str(caught.value).startswith(f"log format: {lacks}")


def test_equal_lines_of_a_log_are_told_apart_by_their_place():
    line = BEGIN + b"200 1"
    parser = make_parser()
    keys = [parser.parse(line, "a", offset, seed).key for offset, seed in [(0, 1), (80, 1), (0, 2), (0, 1)]]
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]
    assert all(0 <= key < 2**63 for key in keys)


def test_a_request_id_names_the_line_wherever_it_stands():
    line = b"::1 1759933935.250 5af7183fb1d4cf5ff0b5a2d7d4b3c1aa"
    parser = make_parser("$remote_addr $msec $request_id")
    assert parser.parse(line, "a", 0, 1) == parser.parse(line, "b", 99, 2)


@pytest.mark.parametrize(
    ("target", "card"),
    [
        (b"/_tailtrace/view?card=Prices%20today", "Prices today"),
        (b"/_tailtrace/view?x=1&card=a+b", "a b"),
        (b"/_tailtrace/view?card=%00%ff", "\\x00\ufffd"),
        (b"/_tailtrace/view?card=" + b"a" * 100, "a" * 64),
        (b"/_tailtrace/view", ""),
        (b"/_tailtrace/view?" + b"a&" * 99, ""),
        (b"/other?card=a", ""),
    ],
)
def test_the_card_of_a_view(target, card):
    assert fields(b'::1 - - [08/Oct/2025:14:32:15] "GET ' + target + b' HTTP/1.1" 204 0', "card") == (card,)


def outcome(record: Access | RejectedLine) -> str:
    return record.reason if isinstance(record, RejectedLine) else f"{record.method} {record.path} {record.status}"


def test_one_parser_reads_a_mixed_file():
    lines = (SAMPLES / "mixed.log").read_bytes().split(b"\n")[:-1]
    parser = make_parser()
    assert [outcome(parser.parse(line, "mixed.log", 0)) for line in lines] == [
        "GET /dashboard/complete 200",
        "POST /metrics/sticker/438 200",
        "GET /dashboard 200",
        "GET /dashboard 200",
        "GET /dashboard 304",
        "GET /dashboard 499",
        "GET /a 200",
        "GET /b 502",
        "GET /c 200",
        "_OTHER %16%03%01%02%00%01%00%FC 400",
        "no-format",
        "empty",
        "no-format",
        "bad-address",
        "bad-time",
        "bad-number",
    ]


LINES = (SAMPLES / "mixed.log").read_bytes().split(b"\n")
MUTATED = st.builds(
    lambda line, at, length, insert: line[: at % (len(line) + 1)] + insert + line[at % (len(line) + 1) + length :],
    st.sampled_from(LINES),
    st.integers(0, 1000),
    st.integers(0, 9),
    st.one_of(st.binary(max_size=9), st.sampled_from([b'"', b"\\", b" ", b"[", b"\\ud800", b"-", "²٣".encode()])),
)


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(), MUTATED), max_size=6), st.integers(0, 2**64))
@example(['::1 - - [08/Oct/2025:14:32:15] "GET / HTTP/1.1" ²²² ٣'.encode()], 0)
def test_any_bytes_end_as_record_or_refusal_and_not_by_the_lines_before(lines, seed):
    parser = make_parser()
    for offset, line in enumerate(lines):
        record = parser.parse(line, "f", offset, seed)
        assert record == make_parser().parse(line, "f", offset, seed)
        if isinstance(record, RejectedLine):
            assert record.reason in REASONS
        else:
            assert len(record.path) <= PATH_LENGTH_MAX
            assert record.path.isascii()
            assert (record.path + record.user_agent + record.card + record.service).isprintable()


@settings(deadline=None)
@given(st.binary(), st.sampled_from(["$remote_addr $msec $request_time $upstream_response_time", '$msec "$remote_addr" $request_method $host$request_uri', "$time_iso8601|$remote_addr|$status"]))  # fmt: skip
@example(b"::1 1.000 \xc2\xb2 \xc2\xb2", "$remote_addr $msec $request_time $upstream_response_time")
@example(b"0001-01-01T00:00:00+23:59|::1|200", "$time_iso8601|$remote_addr|$status")
def test_any_bytes_end_as_record_or_refusal_in_own_formats(line, log_format):
    assert isinstance(make_parser(log_format).parse(line, "f", 0), (Access, RejectedLine))


HEAD = b'::1 - - [08/Oct/2025:14:32:15] "'
ROOM = LINE_LENGTH_MAX - len(HEAD)


@pytest.mark.parametrize("log_format", ["auto", "combined", 'escape=none $remote_addr [$time_local] "$request" $http_referer'])  # fmt: skip
@pytest.mark.parametrize(
    "line",
    [
        b'"' * LINE_LENGTH_MAX,
        b"\\" * LINE_LENGTH_MAX,
        b" " * LINE_LENGTH_MAX,
        HEAD + b"\\" * ROOM,
        HEAD + b"\\x22" * (ROOM // 4),
        HEAD + b'" ' * (ROOM // 2),
        HEAD + b'" 200 1 ' + b'"" ' * ((ROOM - 8) // 3),
        HEAD + b'" 200 1 "-" "-"' + b' a"b' * ((ROOM - 15) // 4),
        b"::1 - " + b" [" * 32_000 + b'" 200',
        HEAD + b'\\"' * (ROOM // 2),
        HEAD + b"\\\\" * (ROOM // 2 - 1) + b'" ',
        HEAD + b'" 200 1 "-" "' + b'\\"' * ((ROOM - 14) // 2),
        HEAD + b'" 200 1 "-" "-"' + b' a"\\"' * ((ROOM - 15) // 5),
        b"a " * 32_000,
        b"?" * LINE_LENGTH_MAX,
        b"token" * 13_000,
        b"//" * 32_000,
        b'{"msec":"' + b'\\"' * 32_000,
        b"t2" + b"\t" * (LINE_LENGTH_MAX - 2),
        b"t2\t" + b"a" * (LINE_LENGTH_MAX - 3),
    ],
)
def test_an_attackers_line_takes_no_longer_than_its_length(log_format, line):
    parser = make_parser(log_format)
    seconds: list[float] = []
    for cut in range(3):  # the best of three lines: one that was seen comes from a cache
        start = time.process_time()
        parser.parse(line[: len(line) - cut], "f", 0)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05


@pytest.mark.parametrize(
    ("text", "us"),
    [
        (b"0.000", 0), (b"0.999", 999_000), (b"1.000", 1_000_000), (b"1.001", 1_001_000), (b"9.999", 9_999_000),
        (b"12.345", 12_345_000), (b"60.001", 60_001_000), (b"3600.250", 3_600_250_000),
    ],
)  # fmt: skip
def test_durations_of_a_second_and_more(text, us):
    line = b"100.64.0.7 1759926735.250 " + text + b" " + text
    log_format = "$remote_addr $msec $request_time $upstream_response_time"
    assert fields(line, "request_time_us", "upstream_time_us", "time_us", log_format=log_format) == (
        us, us, 1_759_926_735_250_000 - us,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "us"),
    [
        (b"1.000", 1_000_000),
        (b"1.000, 2.500", 3_500_000),  # two of one group
        (b"1.000 : 2.500", 3_500_000),  # an internal redirect to another group
        (b"0.100, 0.200 : 0.300", 600_000),
        (b"- : 0.300", 300_000),
        (b"0.300 : -", 300_000),
        (b"-", None),
        (b"- : -", None),
    ],
)
def test_times_of_several_upstreams_add_up(text, us):
    """nginx separates servers by `, ` and groups by ` : `."""
    line = b'100.64.0.7 1759926735.250 "' + text + b'"'
    assert fields(line, "upstream_time_us", log_format='$remote_addr $msec "$upstream_response_time"') == (us,)


def test_another_format_tells_too_where_a_proxy_connected():
    parser = make_parser(
        '$remote_addr $realip_remote_addr $proxy_protocol_addr $server_addr [$time_local] "$request" $status', UTC
    )
    told = parser.parse(
        b'100.64.0.7 127.0.0.1 100.64.0.7 127.0.0.2 [08/Oct/2025:12:32:15 +0000] "GET /a HTTP/1.1" 200', "f", 0
    )
    assert (told.peer, told.proxy_protocol, told.proxy_protocol_at) == ("127.0.0.1", "100.64.0.7", "127.0.0.2")

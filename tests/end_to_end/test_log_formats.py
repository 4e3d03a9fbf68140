"""One real nginx writes the same odd requests in many formats at once, beside a JSON truth: every value is compared."""

import base64
import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tailtrace_api.nginx.process import find_nginx
from tailtrace_bridge.core.records import Access
from tailtrace_bridge.logs.format import COMBINED_FORMAT, compile_format
from tailtrace_bridge.logs.known_formats import KNOWN_FORMATS
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.logs.understood import understand

pytestmark = pytest.mark.nginx

NAMES = [
    "remote_addr",
    "remote_port",
    "remote_user",
    "time_local",
    "time_iso8601",
    "msec",
    "request",
    "request_method",
    "request_uri",
    "uri",
    "args",
    "server_protocol",
    "status",
    "body_bytes_sent",
    "bytes_sent",
    "request_time",
    "request_length",
    "http_referer",
    "http_user_agent",
    "http_x_forwarded_for",
    "http_host",
    "host",
    "server_name",
    "server_port",
    "scheme",
    "pipe",
    "connection",
    "connection_requests",
    "request_id",
]
LTSV = (
    r"time:$time_local\thost:$remote_addr\tforwardedfor:$http_x_forwarded_for\treq:$request\tstatus:$status"
    r"\tsize:$body_bytes_sent\treferer:$http_referer\tua:$http_user_agent\treqtime:$request_time\tvhost:$host"
)
FORMATS = [
    LTSV,
    COMBINED_FORMAT,
    KNOWN_FORMATS["common"],
    KNOWN_FORMATS["main"],
    KNOWN_FORMATS["vhost"],
    "$host " + COMBINED_FORMAT,
    "$http_host " + COMBINED_FORMAT,
    COMBINED_FORMAT + " $request_time",
    COMBINED_FORMAT + " rt=$request_time rl=$request_length",
    '$remote_addr:$remote_port - $remote_user [$time_local] "$request" $status $body_bytes_sent',
    '$remote_addr - $remote_user [$time_local] $request "$status" $body_bytes_sent "$http_user_agent"',
    "$remote_addr [$time_local] $request_method $uri $status $body_bytes_sent $request_time",
    "$remote_addr [$time_iso8601] $request_method $request_uri $status $body_bytes_sent $msec",
    '$msec|$remote_addr|$request_method|"$request_uri"|$status|"$http_user_agent"',
    r"time:$time_local\thost:$remote_addr\txff:$http_x_forwarded_for\treq:$request\tstatus:$status\tua:$http_user_agent",
    r"$remote_user\t$http_referer\t$http_user_agent\t$remote_addr\t$msec\t$status\t$uri",
    'Date: [$time_local] | IP: $remote_addr | XFF: $http_x_forwarded_for | M: "$request_method | Host: "$host" |  URI: $request_uri" | S: $status',
    '$remote_addr - [$time_local] "$request" $status "$http_user_agent" "$http_referer" Host: "$host" URI: "$uri"',
    '$http_x_forwarded_for [$time_local] "$request" $status "$remote_user"',
    '$remote_addr ($http_user_agent) [$time_local] "$request" $status $request_id',
    "$status $body_bytes_sent $request_time $remote_addr $msec $http_user_agent",
    'escape=json {"t":"$msec","a":"$remote_addr","u":"$remote_user","r":"$request","s":$status,"ua":"$http_user_agent"}',
    'escape=json $remote_addr [$time_local] "$request" $status "$http_user_agent" "$http_referer"',
    r"escape=json $msec\t$remote_addr\t$request\t$status\t$http_user_agent\t$uri",
    '"$scheme://$http_host" $request_uri "$remote_addr" [$time_local] $status',
    '"$remote_addr" "$time_local" "$request" "$status" "$request_time" "$http_x_forwarded_for" "$http_user_agent" $pipe',
]  # fmt: skip
TEXTS = (
    b"c", b"", b'a "b" c', b"back\\slash", b"caf\xc3\xa9", b"\xff\xfe", b"a [b] c", b"x [01/Jan/2018:00:00:00 +0000] y",
    b"-", b"- -", b"200 5 0.001", b"a, b", b"1.2.3.4, 5.6.7.8", b"a|b", b"tab\there", b"{}", b"'", b"$status", b"%20", b"a" * 300,
)  # fmt: skip
TARGETS = (
    b"/a", b"/My%20Report.pdf", b"/a?b=c&d", b"/%22q%22", b"/caf%C3%A9", b"/a%20200%205%200.001", b"/%5B::1%5D", b"//a//b",
    b"http://other.example/abs", b"/" + b"x" * 200,
)  # fmt: skip


def requests() -> list[bytes]:
    """Return the raw requests: each text in each header once, odd targets, hosts and request lines."""
    made = []
    for text in TEXTS:
        made.extend(
            b"GET /a HTTP/1.1\r\nHost: app.example\r\n" + name + b": " + text + b"\r\n\r\n"
            for name in (b"User-Agent", b"Referer", b"X-Forwarded-For")
        )
        user = base64.b64encode(text.replace(b":", b"") + b":secret")
        made.append(b"GET /a HTTP/1.1\r\nHost: app.example\r\nAuthorization: Basic " + user + b"\r\n\r\n")
    made += [b"GET " + target + b" HTTP/1.1\r\nHost: app.example\r\n\r\n" for target in TARGETS]
    made += [
        b"POST /a HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
        for host in (b"[::1]", b"[2001:db8::1]:8080", b"a:80", b"a b", b"", b"1.2.3.4")
    ]
    made += [
        line + b"\r\n\r\n"
        for line in (b'\x16\x03\x01\x02 a b "c', b"SSH-2.0-Go", b"GET /a b c HTTP/1.1", b"get /lower HTTP/1.1", b"GET /nine", b"MGLNDD_1.2.3.4_80", b"PROPFIND /dav HTTP/1.1\r\nHost: a")
    ]  # fmt: skip
    return made


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    truth = "escape=json {" + ",".join(f'"{name}":"${name}"' for name in NAMES) + "}"
    lines = []
    for number, source in enumerate([truth, *FORMATS]):
        escape, text = source.split(" ", 1) if source.startswith("escape=") else ("escape=default", source)
        quoted = text.replace("'", "\\'")
        lines.append(f"log_format f{number} {escape} '{quoted}';\naccess_log {folder}/{number}.log f{number};")
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\nhttp {{\n"
        + "\n".join(lines)
        + f"\nclient_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;"
        f" uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
        f"server {{ listen 127.0.0.1:{port}; server_name app.example; location / {{ return 200 'ok\\n'; }} }} }}\n"
    )
    nginx = subprocess.Popen([find_nginx(), "-c", str(conf), "-p", str(folder), "-e", str(folder / "error.log")])
    try:
        sent = requests()
        for raw in sent:
            deadline = time.monotonic() + 30
            while True:
                try:
                    client = socket.create_connection(("127.0.0.1", port), timeout=10)
                    break
                except ConnectionRefusedError:
                    assert nginx.poll() is None, (folder / "error.log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            with client:
                client.sendall(raw)
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass
    finally:
        nginx.terminate()
        nginx.wait(timeout=30)
    assert len((folder / "0.log").read_bytes().split(b"\n")) == len(sent) + 1
    return folder


@pytest.mark.parametrize("number", range(1, len(FORMATS) + 1), ids=lambda number: FORMATS[number - 1][:40])
def test_every_value_of_every_line_is_what_nginx_knew(written: Path, number: int) -> None:
    source = FORMATS[number - 1]
    fmt, parser = compile_format(source), make_parser(source)
    truths = [json.loads(line) for line in (written / "0.log").read_text(errors="surrogateescape").splitlines()]
    lines = (written / f"{number}.log").read_bytes().split(b"\n")[:-1]
    assert len(lines) == len(truths)
    wrong = []
    for line, truth in zip(lines, truths, strict=True):
        match = fmt.pattern.fullmatch(line.decode("utf-8", "surrogateescape"))
        if match is None:
            wrong.append((line, "refused", ""))
            continue
        for name, value in zip(fmt.names, match.groups(), strict=False):
            if fmt.unescape(value).removeprefix("-" if value == "-" else "") != (
                truth[name] if truth[name] != "-" or value != "-" else ""
            ):
                wrong.append((line, name, truth[name]))
        record = parser.parse(line, "f", 0)
        if not isinstance(record, Access):
            wrong.append((line, record.reason, ""))
        elif "remote_addr" in fmt.names and record.address != truth["remote_addr"]:
            wrong.append((line, "address", record.address))
    assert wrong == []


def test_by_its_labels_ltsv_is_what_it_is_by_its_format(written: Path) -> None:
    lines = (written / f"{1 + FORMATS.index(LTSV)}.log").read_bytes().split(b"\n")[:-1]
    parser, found = understand(make_parser("auto"), "f", lines)
    assert [one.name for one in found.formats] == ["ltsv"]
    by_format = make_parser(LTSV)
    assert [parser.parse(line, "f", 0) for line in lines] == [by_format.parse(line, "f", 0) for line in lines]

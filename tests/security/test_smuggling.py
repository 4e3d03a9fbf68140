"""A real nginx before a real server of ours: both see the same requests, or none."""

import contextlib
import socket
import subprocess
import time

import pytest

from tailtrace_api.nginx.process import find_nginx


@pytest.fixture
def seen():
    return []


@pytest.fixture
def port(seen, serving):
    async def app(scope, receive, send):
        seen.append(scope["path"])
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    with serving(app) as ((_, number), _counters):
        yield number


@pytest.fixture
def front(port, tmp_path):
    """The port of an nginx that keeps its connections to ours open."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        front = one.getsockname()[1]
    temporary = " ".join(
        f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} upstream api {{ server 127.0.0.1:{port}; keepalive 4; }}\n"
        f"server {{ listen 127.0.0.1:{front}; location / {{ proxy_pass http://api; proxy_http_version 1.1;\n"
        'proxy_set_header Connection ""; } } }\n'
    )
    process = subprocess.Popen(
        [str(find_nginx()), "-p", str(tmp_path), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", front)).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield front
    finally:
        process.terminate()
        process.wait(10)


def talk(port, sent):
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        one.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            while got := one.recv(65536):
                said += got
    return said


HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.nginx
def test_nginx_and_the_api_see_the_same_requests(front, seen):
    start = b"POST /outer HTTP/1.1\r\nHost: localhost\r\n"
    for framing in (
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: 45\r\n\r\n",
    ):
        said = talk(front, start + framing + HIDDEN)
        assert said.startswith(b"HTTP/1.1 400"), framing
        assert said.count(b"HTTP/1.1 ") == 1
    assert seen == []
    said = talk(front, start + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN)
    assert said.startswith(b"HTTP/1.1 200")
    assert seen == ["/outer"]

"""A real `tailtrace serve`: a stream ends when its token is revoked, and an IPv6 address answers to its own name."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time

import pytest


def free_port(host="127.0.0.1"):
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        return one.getsockname()[1]


@contextlib.contextmanager
def serving(folder, host):
    port = free_port(host)
    name = f"[{host}]" if ":" in host else host
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TAILTRACE_", "TAILSCALE"))
    }
    environment |= {
        "TAILTRACE_LOG": str(folder / "access.log"), "TAILTRACE_STORE": f"sqlite:{folder / 't.db'}",
        "TAILTRACE_CHECKPOINT": str(folder / "c.json"), "TAILTRACE_LISTEN": f"{name}:{port}",
        "TAILTRACE_OTLP_LISTEN": f"127.0.0.1:{free_port()}", "TAILSCALE_SOCKET": str(folder / "none.sock"),
    }  # fmt: skip
    (folder / "access.log").touch()
    process = subprocess.Popen([sys.executable, "-m", "tailtrace_api.main", "serve"], cwd=folder, env=environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((host, port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield port, environment
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def token(folder, environment, *words):
    done = subprocess.run(
        [sys.executable, "-m", "tailtrace_api.main", "token", *words],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return next((word for word in done.stdout.split() if word.startswith("ttk_")), "")


def test_a_stream_ends_when_its_token_is_revoked(tmp_path):
    with serving(tmp_path, "127.0.0.1") as (port, environment):
        secrets = {name: token(tmp_path, environment, "create", name, "--role", "admin") for name in ("one", "other")}
        streams = {}
        for name, secret in secrets.items():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/analytics/stream", headers={"Authorization": f"Bearer {secret}"})
            streams[name] = connection, connection.getresponse()
            assert streams[name][1].status == 200
            assert streams[name][1].readline() == b"retry: 5000\n"
        token(tmp_path, environment, "revoke", "one")
        begun = time.monotonic()
        streams["one"][1].read()  # to its end, which is a proper one
        assert time.monotonic() - begun < 2  # a second, and what a busy machine adds
        streams["other"][0].sock.settimeout(1.5)
        with pytest.raises(TimeoutError):  # what is not revoked goes on
            streams["other"][1].read()
        for connection, _ in streams.values():
            connection.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [("[::1]:{}", 200), ("[0:0:0:0:0:0:0:1]:{}", 200), ("[::1]", 200), ("[::2]:{}", 400), ("evil.example", 400)],
)
def test_an_ipv6_address_answers_to_its_name(tmp_path, host, status):
    with serving(tmp_path, "::1") as (port, _):
        connection = http.client.HTTPConnection("::1", port, timeout=5)
        connection.request("GET", "/health", headers={"Host": host.format(port)})
        assert connection.getresponse().status == status
        connection.close()

"""What tailscaled and the control API answer, and what the doctor makes of it."""

import json
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tailtrace_api.doctor import tailscale
from tailtrace_api.doctor.control import check_control
from tailtrace_api.doctor.tailscale import check_address, check_local, judge
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.chain import Found, Identities
from tailtrace_bridge.identity.control.testing import API_KEY, FakeControlApi
from tailtrace_bridge.identity.local_api import LocalApi
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.testing import FakeProvider
from tailtrace_bridge.wiring.parts import clock_us, monotonic_us

NOW_US = 1_760_000_000_000_000  # 2025-10-09T08:53:20Z


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"TUN": True, "Self": {"HostName": "web"}}, ["ok", "ok", "ok"]),
        ({"TUN": False, "Self": {}}, ["ok", "failure", "ok"]),
        ({"Self": None}, ["ok", "skipped", "ok"]),
        ({"TUN": True, "Self": {"KeyExpiry": "2025-10-01T00:00:00Z"}}, ["ok", "ok", "failure"]),
        ({"TUN": True, "Self": {"KeyExpiry": "2025-10-15T00:00:00Z"}}, ["ok", "ok", "warning"]),
        ({"TUN": True, "Self": {"KeyExpiry": "2026-03-01T00:00:00Z"}}, ["ok", "ok", "ok"]),
        ({"TUN": True, "Self": {"KeyExpiry": "soon"}}, ["ok", "ok", "warning"]),
        ({"TUN": True, "Self": {"Expired": True}}, ["ok", "ok", "failure"]),
    ],
)
def test_a_running_tailscaled(status, expected):
    checks = judge(status, NOW_US)
    assert [check.status for check in checks] == expected
    assert all(check.cure for check in checks if check.status in {"warning", "failure"})


def test_userspace_mode_behind_tailscale_serve():
    assert [check.status for check in judge({"TUN": False}, NOW_US, has_recipe=True)] == ["ok", "ok", "ok"]
    tun = judge({"TUN": False}, NOW_US, serve_headers=True)[1]
    assert (tun.status, "--behind-serve" in tun.cure) == ("failure", True)


def test_a_socket_that_is_elsewhere_is_named(tmp_path, monkeypatch):
    there = tmp_path / "there.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(there))
        monkeypatch.setattr(tailscale, "PLACES", ("/nowhere/tailscaled.sock", str(there)))
        missing = tmp_path / "none.sock"
        (check,) = check_local(missing, LocalApi(str(missing), clock=monotonic_us), NOW_US, has_file=False)
    assert f"there is one at {there}" in check.message
    assert check.cure == f"set TAILSCALE_SOCKET={there}"
    there.unlink()
    (check,) = check_local(missing, LocalApi(str(missing), clock=monotonic_us), NOW_US, has_file=False)
    assert "nor at /nowhere/tailscaled.sock" in check.message


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.body.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"

    def log_message(self, *args):
        pass


@pytest.fixture
def tailscaled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path has 107 characters

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    with Server("s", _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def look(path="s", has_file=False):
    local = LocalApi(path, clock=monotonic_us)
    return [(check.name, check.status) for check in check_local(Path(path), local, NOW_US, has_file=has_file)]


def test_asked_over_the_socket(tailscaled):
    tailscaled.body = json.dumps({"BackendState": "Running", "TUN": False, "Self": {"ID": "n1", "HostName": "web"}})
    assert look() == [
        ("tailscale socket", "ok"),
        ("tailscale state", "ok"),
        ("tailscale TUN", "failure"),
        ("tailscale key", "ok"),
    ]
    tailscaled.body = json.dumps({"BackendState": "NeedsLogin", "Self": {"ID": ""}})
    assert look() == [("tailscale socket", "ok"), ("tailscale state", "failure")]


def test_no_socket(tmp_path):
    assert look(str(tmp_path / "none")) == [("tailscale", "failure")]
    assert look(str(tmp_path / "none"), has_file=True) == [("tailscale", "warning")]


def test_who_an_address_is():
    ana = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", provider="static")
    chain = Identities([FakeProvider("static", {"100.64.0.7": Found(ana)})], clock=lambda: 0)
    known, unknown = check_address("100.64.0.7", chain), check_address("100.64.0.8", chain)
    assert (known.status, known.message) == ("ok", "user ana@example.com, device ana-laptop; static says so")
    assert (unknown.status, "static: not found" in unknown.message) == ("warning", True)


def control(monkeypatch, tmp_path, **settings):
    monkeypatch.chdir(tmp_path)
    for name in ("TAILSCALE_API_KEY", "TAILSCALE_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return check_control(Settings(**settings), clock_us)


def test_no_key(monkeypatch, tmp_path):
    (check,) = control(monkeypatch, tmp_path)
    assert check.status == "skipped"


def test_a_key_that_works_and_one_that_does_not(monkeypatch, tmp_path):
    with FakeControlApi() as fake:
        (good,) = control(monkeypatch, tmp_path, tailscale_api_key=API_KEY, tailscale_api_url=fake.url)
        (bad,) = control(monkeypatch, tmp_path, tailscale_api_key="tskey-api-wrong", tailscale_api_url=fake.url)
    assert (good.status, "devices:core:read" in good.message) == ("ok", True)
    assert (bad.status, bool(bad.cure)) == ("failure", True)
    assert "tskey-api-wrong" not in bad.message + bad.cure

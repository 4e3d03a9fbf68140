"""What answers for a tailscaled: a tailnet of three devices, and the server itself."""

import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

STATUS = {
    "BackendState": "Running",
    "TUN": True,
    "CurrentTailnet": {"Name": "example.com"},
    "Self": {"ID": "nSELF", "HostName": "server", "DNSName": "server.tail1.ts.net.", "UserID": 1, "TailscaleIPs": ["100.64.0.1"], "Online": True},
    "Peer": {
        "k1": {"ID": "nANA", "HostName": "Anas-Laptop", "DNSName": "ana-laptop.tail1.ts.net.", "UserID": 1, "TailscaleIPs": ["100.64.0.7", "fd7a:115c:a1e0::7"], "Online": True, "LastSeen": "2025-10-08T11:59:00Z"},
        "k2": {"ID": "nBEN", "HostName": "ben-phone", "DNSName": "ben-phone.tail1.ts.net.", "UserID": 2, "TailscaleIPs": ["100.64.0.8"], "Online": False, "LastSeen": "2025-10-08T09:00:00Z", "KeyExpiry": "2025-10-10T00:00:00Z"},
        "k3": {"ID": "nKIOSK", "HostName": "kiosk", "DNSName": "kiosk.tail1.ts.net.", "UserID": 3, "TailscaleIPs": ["100.64.0.9"], "Tags": ["tag:kiosk"], "Online": True},
    },
    "User": {"1": {"ID": 1, "LoginName": "ana@example.com"}, "2": {"ID": 2, "LoginName": "ben@example.com"}, "3": {"ID": 3, "LoginName": "tagged-devices"}},
}  # fmt: skip


class _Tailscaled(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body, code = json.dumps(STATUS), 200
        if url.path.endswith("/watch-ipn-bus"):  # as a tailscaled that lets us not watch: its status is asked instead
            body, code = "", 403
        if url.path.endswith("/whois"):
            address = parse_qs(url.query)["addr"][0]
            nodes = [STATUS["Self"], *STATUS["Peer"].values()]
            found = [node for node in nodes if address in node["TailscaleIPs"]]
            code = 200 if found else 404
            body = "" if not found else json.dumps({
                "Node": {"StableID": found[0]["ID"], "ComputedName": found[0]["DNSName"].partition(".")[0], "Tags": found[0].get("Tags"), "Created": "2024-01-01T00:00:00Z"},
                "UserProfile": STATUS["User"][str(found[0]["UserID"])],
            })  # fmt: skip
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False


@pytest.fixture(scope="session")
def tailscale_socket() -> Iterator[Path]:
    """A real HTTP server on a unix socket that answers what tailscaled answers."""
    with tempfile.TemporaryDirectory(prefix="tt") as folder:  # short: a socket's path has 107 characters
        path = Path(folder) / "s"
        with _Server(str(path), _Tailscaled) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            yield path
            server.shutdown()
            thread.join()

"""`tailtrace mcp --url` of a server that is no friend: it gets no token for others, no time and no memory."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tailtrace_api.answers.insight_records import ActiveUsers
from tailtrace_api.mcp_server import api_source
from tailtrace_api.mcp_server.api_source import HttpSource
from tailtrace_api.mcp_server.source import SourceError
from tailtrace_api.queries.tailnet import FoundDevice
from tailtrace_bridge.core.errors import SettingsError


@pytest.fixture
def serve():
    """Starts a server that does what it is given; gives its address and the tokens that it was sent."""
    servers = []

    def start(act):
        tokens = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                tokens.append(self.headers.get("Authorization"))
                act(self)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        return f"http://127.0.0.1:{server.server_port}", tokens

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def says(body):
    def act(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body)

    return act


def test_the_token_goes_to_the_url_alone(serve):
    elsewhere, stolen = serve(says(b"{}"))

    def redirect(handler):
        handler.send_response(302)
        handler.send_header("Location", f"{elsewhere}/analytics/active-users")
        handler.end_headers()

    url, sent = serve(redirect)
    with pytest.raises(SourceError, match="answered 302"):
        HttpSource(url, "ttk_secret").answer(ActiveUsers, {})
    assert (sent, stolen) == (["Bearer ttk_secret"], [])


def test_an_answer_that_trickles(serve):
    def trickle(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.02)

    ticks = iter(range(0, 10_000, 10))
    with pytest.raises(SourceError, match="not done after 30 s"):
        HttpSource(serve(trickle)[0], clock=lambda: next(ticks)).answer(ActiveUsers, {})
    assert next(ticks) == 50  # it began at 0 and gave up at 40


def test_an_answer_without_an_end(serve, monkeypatch):
    monkeypatch.setattr(api_source, "RESPONSE_BYTES_MAX", 1000)
    with pytest.raises(SourceError, match="more than 1000 bytes"):
        HttpSource(serve(says(b'"' + b"x" * 1_000_000))[0]).answer(ActiveUsers, {})
    nobody = {"active_users": [], "total_active": 0, "services_active": 0, "offline_now": 0}
    body = json.dumps({**nobody, "of_a_later_version": "x" * 800}).encode()
    assert HttpSource(serve(says(body))[0]).answer(ActiveUsers, {}) == ActiveUsers(**nobody | {"active_users": ()})


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"active_users": 7}', b"[" * 100_000, b"\xff"])
def test_what_is_no_answer(serve, body):
    with pytest.raises(SourceError, match="gave no answer of tailtrace that this one knows"):
        HttpSource(serve(says(body))[0]).answer(ActiveUsers, {})


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://a/b", "http://", "http://user:secret@a", "http://a/?q=1", "javascript:alert(1)", "a"],
)
def test_what_is_no_address_of_an_api(url):
    with pytest.raises(SettingsError, match="no address of an API"):
        HttpSource(url)


def test_arguments_stay_in_their_place(serve):
    asked = []

    def remember(handler):
        asked.append(handler.path)
        says(b'{"device": null, "matches": 0, "names": []}')(handler)

    url, _ = serve(remember)
    HttpSource(url).answer(FoundDevice, {"device": "../../analytics/alerts?x=1#\r\nX: y"})
    assert asked == ["/tailnet/devices/..%2F..%2Fanalytics%2Falerts%3Fx%3D1%23%0D%0AX%3A%20y"]

"""The LocalAPI provider against a real HTTP server on a unix socket that answers what tailscaled answers."""

import json
import os
import socketserver
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.chain import Answer, Found, NotFound, Unavailable
from tailtrace_bridge.identity.local_api import BackendStatus, LocalApi

RUNNING = '{"Version":"1.102.5","BackendState":"Running","Self":{"ID":"nSELF","TailscaleIPs":["100.64.0.1"]}}'
NEEDS_LOGIN = '{"Version":"1.102.5","BackendState":"NeedsLogin","Self":{"ID":"","TailscaleIPs":null}}'
STOPPED = '{"Version":"1.102.5","BackendState":"Stopped","Self":{"ID":"nSELF"}}'
NO_MATCH = (404, "no match for IP:port\n")
ANA = (
    '{"Node":{"ID":2,"StableID":"nANA","Name":"ana-laptop.tail1234.ts.net.","User":1001,"ComputedName":"ana-laptop"},'
    '"UserProfile":{"ID":1001,"LoginName":"ana@example.com","DisplayName":"Ana"},"CapMap":null}'
)

RAW = {
    "hang up": b"",
    "cut": b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"Node":',
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'1a\r\n{"BackendState":"Running",\r\n16\r\n"Self":{"ID":"nSELF"}}\r\n0\r\n\r\n',
}
"""What tailscaled's side of the connection says, whatever it was asked."""


class TailscaledOnASocket(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers `/whois` and `/status` with (status, body), or misbehaves as told."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str) -> None:
        self.whois: tuple[int, str] = (200, ANA)
        self.status: tuple[int, str] = (200, RUNNING)
        self.misbehaviour = ""
        self.asked: list[str] = []
        self.released = threading.Event()
        super().__init__(path, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TailscaledOnASocket

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        misbehaviour = self.server.misbehaviour
        if misbehaviour == "silent":
            self.server.released.wait(5)
            self.close_connection = True
        elif misbehaviour in RAW:
            self.wfile.write(RAW[misbehaviour])
            self.close_connection = True
        elif misbehaviour == "drip":
            self._drip()
        elif self.headers["Host"] != "local-tailscaled.sock":
            self._answer(403, "invalid Host")
        elif urlsplit(self.path).path == "/localapi/v0/whois":
            self._answer(*self.server.whois)
        elif urlsplit(self.path).path == "/localapi/v0/status":
            self._answer(*self.server.status)
        else:
            self._answer(404, "not found")

    def _answer(self, status: int, body: str) -> None:
        data = body.encode("utf-8", "surrogatepass")
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _drip(self) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        try:
            while not self.server.released.wait(0.02):
                self.wfile.write(b" ")
        except OSError:
            return

    def log_message(self, *args: object) -> None:
        pass


def clock_us() -> int:
    return time.monotonic_ns() // 1000


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tt") as name:  # short: a socket's path has 107 characters
        yield Path(name)


@pytest.fixture
def tailscaled(folder: Path) -> Iterator[TailscaledOnASocket]:
    with TailscaledOnASocket(str(folder / "s")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def api(folder: Path) -> LocalApi:
    return LocalApi(str(folder / "s"), clock=clock_us)


def reason(answer: Answer | BackendStatus) -> str:
    assert isinstance(answer, Unavailable), answer
    return answer.reason


@pytest.mark.parametrize(
    ("body", "identity"),
    [
        (ANA, Identity("100.64.0.2", "user", "ana@example.com", "ana-laptop", "nANA", "", "localapi", user_id="1001")),
        (  # as the test control server sends it: no ComputedName
            '{"Node":{"StableID":"n3","Name":"phone.tail1234.ts.net."},"UserProfile":{"LoginName":"ben@example.com"}}',
            Identity("100.64.0.2", "user", "ben@example.com", "phone", "n3", "", "localapi"),
        ),
        (  # an expired key is still that person's
            '{"Node":{"StableID":"n3","Name":"phone.t.ts.net.","Expired":true},"UserProfile":{"LoginName":"ben@example.com"}}',
            Identity("100.64.0.2", "user", "ben@example.com", "phone", "n3", "", "localapi", expired=True),
        ),
        (
            '{"Node":{"StableID":"n4","ComputedName":"runner","Tags":["tag:ci","tag:server"]},"UserProfile":{"LoginName":"tagged-devices"}}',
            Identity("100.64.0.2", "tagged", "", "runner", "n4", "tag:ci,tag:server", "localapi"),
        ),
        (  # whatever login stands beside tags
            '{"Node":{"StableID":"n4","ComputedName":"runner","Tags":["tag:ci"]},"UserProfile":{"LoginName":"ana@example.com"}}',
            Identity("100.64.0.2", "tagged", "", "runner", "n4", "tag:ci", "localapi"),
        ),
        (
            '{"Node":{"StableID":"n4","ComputedName":"runner"},"UserProfile":{"LoginName":"tagged-devices"}}',
            Identity("100.64.0.2", "tagged", "", "runner", "n4", "", "localapi"),
        ),
        (  # shared into our tailnet
            '{"Node":{"StableID":"n5","ComputedName":"nas.other.ts.net","Sharer":77},"UserProfile":{"LoginName":"cleo@example.org"}}',
            Identity("100.64.0.2", "shared", "cleo@example.org", "nas.other.ts.net", "n5", "", "localapi"),
        ),
        (  # this machine is shared with its owner
            '{"Node":{"StableID":"n6","ComputedName":"mac","Hostinfo":{"ShareeNode":true}},"UserProfile":{"LoginName":"cleo@example.org"}}',
            Identity("100.64.0.2", "shared", "cleo@example.org", "mac", "n6", "", "localapi"),
        ),
        (  # our own node: what runs on it is not its owner
            '{"Node":{"StableID":"nSELF","ComputedName":"nginx"},"UserProfile":{"LoginName":"ana@example.com"}}',
            Identity("100.64.0.2", "self", "", "nginx", "nSELF", "", "localapi"),
        ),
        (
            '{"Node":{"StableID":"nSELF","ComputedName":"nginx","Tags":["tag:server"]},"UserProfile":{"LoginName":"tagged-devices"}}',
            Identity("100.64.0.2", "self", "", "nginx", "nSELF", "tag:server", "localapi"),
        ),
        (
            '{"Node":{"StableID":"n7","ComputedName":"box"},"UserProfile":{}}',
            Identity("100.64.0.2", "unknown", "", "box", "n7", "", "localapi", reason="node-without-owner"),
        ),
        (  # names are what their owner typed; fields of a wrong type are no fields
            '{"Node":{"StableID":"n8","ComputedName":"<b>\\u001b[31m\\ud800","Tags":{"a":1},"Hostinfo":[]},"UserProfile":null}',
            Identity(
                "100.64.0.2", "unknown", "", "<b>\\x1b[31m\\ud800", "n8", "", "localapi", reason="node-without-owner"
            ),
        ),
    ],
)
def test_what_whois_answers(tailscaled: TailscaledOnASocket, api: LocalApi, body: str, identity: Identity) -> None:
    tailscaled.whois = (200, body)
    assert api.whois("100.64.0.2") == Found(identity)


@pytest.mark.parametrize(
    ("created", "since_us"),
    [
        ('"2025-10-08T12:00:00.5Z"', 1_759_924_800_500_000),
        ('"2025-10-08T14:00:00+02:00"', 1_759_924_800_000_000),
        ('"0001-01-01T00:00:00Z"', None),  # Go's zero time: not known
        ('"yesterday"', None),
        ("7", None),
    ],
)
def test_since_when_there_is_the_node(
    tailscaled: TailscaledOnASocket, api: LocalApi, created: str, since_us: int | None
) -> None:
    tailscaled.whois = (200, ANA.replace('"User":1001', f'"Created":{created}'))
    answer = api.whois("100.64.0.2")
    assert isinstance(answer, Found)
    assert answer.since_us == since_us


@pytest.mark.parametrize(
    ("address", "query"),
    [
        ("100.64.0.2", "addr=100.64.0.2"),
        ("::ffff:100.64.0.2", "addr=100.64.0.2"),
        ("fd7a:115c:a1e0::2", "addr=fd7a%3A115c%3Aa1e0%3A%3A2"),
    ],
)
def test_whois_is_asked_with_the_bare_address(
    tailscaled: TailscaledOnASocket, api: LocalApi, address: str, query: str
) -> None:
    answer = api.whois(address)
    assert isinstance(answer, Found)
    assert answer.identity.address == address
    assert tailscaled.asked == [f"/localapi/v0/whois?{query}", "/localapi/v0/status?peers=false"]


def test_our_own_id_is_asked_once_in_a_while(tailscaled: TailscaledOnASocket, api: LocalApi) -> None:
    for _ in range(5):
        api.whois("100.64.0.2")
    assert tailscaled.asked.count("/localapi/v0/status?peers=false") == 1
    assert api.requests == 6


@pytest.mark.parametrize("address", ["127.0.0.1", "192.168.1.5", "8.8.8.8", "::1", "2606:4700::1111", "unix:", "x", ""])
def test_an_address_that_no_node_can_have_is_not_asked_about(api: LocalApi, address: str) -> None:
    assert api.whois(address) == NotFound()
    assert api.requests == 0


def test_404_is_not_found_while_running(tailscaled: TailscaledOnASocket, api: LocalApi) -> None:
    tailscaled.whois = NO_MATCH
    assert api.whois("100.64.0.99") == NotFound(is_certain=True)


@pytest.mark.parametrize(("status", "state"), [(NEEDS_LOGIN, "NeedsLogin"), (STOPPED, "Stopped")])
def test_404_means_nothing_otherwise(tailscaled: TailscaledOnASocket, api: LocalApi, status: str, state: str) -> None:
    assert isinstance(api.whois("100.64.0.2"), Found)  # so that a status of a moment ago says Running
    tailscaled.whois, tailscaled.status = NO_MATCH, (200, status)
    assert reason(api.whois("100.64.0.2")) == f"tailscaled is in state {state}, not Running; run `tailscale up`"


def test_a_name_holds_after_tailscale_down(tailscaled: TailscaledOnASocket, api: LocalApi) -> None:
    tailscaled.status = (200, STOPPED)
    assert isinstance(api.whois("100.64.0.2"), Found)


@pytest.mark.parametrize(
    ("whois", "status", "words"),
    [
        ((403, "invalid Host\n"), (200, RUNNING), "tailscaled answered 403 (invalid Host) at "),
        ((500, "bo\x1bom"), (200, RUNNING), "tailscaled answered 500 (bo\\x1bom) at "),
        ((400, "invalid 'addr' parameter"), (200, RUNNING), "tailscaled answered 400 (invalid 'addr' parameter)"),
        ((302, ""), (200, RUNNING), "tailscaled answered 302 () at "),
        ((200, "<html>"), (200, RUNNING), "/whois gave no JSON object at "),
        ((200, ""), (200, RUNNING), "/whois gave no JSON object at "),
        ((200, "[" * 100_000), (200, RUNNING), "/whois gave no JSON object at "),
        ((200, "[]"), (200, RUNNING), "/whois gave no JSON object at "),
        ((200, "{}"), (200, RUNNING), "whois gave no Node.StableID; check that TAILSCALE_SOCKET is"),
        ((200, '{"Node":{"StableID":7}}'), (200, RUNNING), "whois gave no Node.StableID; check that"),
        ((200, ANA), (500, ""), "tailscaled answered 500 () at "),
        ((200, ANA), (404, ""), "tailscaled answered 404 () at "),
        (NO_MATCH, (200, "{}"), "/status gave no BackendState at "),
        (NO_MATCH, (500, ""), "tailscaled answered 500 () at "),
        ((200, " " * (1024 * 1024 + 1)), (200, RUNNING), "/whois gave more than 1048576 bytes at "),
    ],
)
def test_answers_that_are_none(
    tailscaled: TailscaledOnASocket, api: LocalApi, whois: tuple[int, str], status: tuple[int, str], words: str
) -> None:
    tailscaled.whois, tailscaled.status = whois, status
    assert reason(api.whois("100.64.0.2")).startswith(words)
    assert api.oversized == (1 if "1048576" in words else 0)
    tailscaled.whois, tailscaled.status = (200, ANA), (200, RUNNING)
    assert isinstance(api.whois("100.64.0.2"), Found), "a bad answer must not spoil the next"


@pytest.mark.parametrize(
    ("misbehaviour", "words"),
    [
        ("silent", "tailscaled did not answer within 250 ms at "),
        ("drip", "tailscaled did not answer within 250 ms at "),
        ("hang up", "RemoteDisconnected at "),
        ("cut", "IncompleteRead at "),
        ("no http", "BadStatusLine at "),
    ],
)
def test_a_tailscaled_that_misbehaves(
    tailscaled: TailscaledOnASocket, api: LocalApi, misbehaviour: str, words: str
) -> None:
    tailscaled.misbehaviour = misbehaviour
    started = time.monotonic()
    assert reason(api.whois("100.64.0.2")).startswith(words)
    assert time.monotonic() - started < 3
    tailscaled.misbehaviour = ""
    assert isinstance(api.whois("100.64.0.2"), Found)


def test_no_socket(folder: Path, api: LocalApi) -> None:
    assert reason(api.whois("100.64.0.2")) == f"no socket at {folder}/s; start tailscaled, or set TAILSCALE_SOCKET"


def test_nobody_listens(folder: Path, api: LocalApi) -> None:
    with TailscaledOnASocket(str(folder / "s")):
        pass  # closed, and its file left behind, as after kill -9
    assert reason(api.whois("100.64.0.2")) == f"nobody listens at {folder}/s; start tailscaled again"


def test_no_permission(folder: Path, tailscaled: TailscaledOnASocket, api: LocalApi) -> None:
    (folder / "s").chmod(0)
    folder.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may open everything
    try:
        answer = api.whois("100.64.0.2")
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
    assert reason(answer).startswith(f"no permission to open {folder}/s; run as a user that may")
    assert tailscaled.asked == []


def test_tailscaled_started_again(folder: Path, tailscaled: TailscaledOnASocket, api: LocalApi) -> None:
    assert isinstance(api.whois("100.64.0.2"), Found)
    (folder / "s").unlink()
    assert reason(api.whois("100.64.0.2")).startswith("no socket at ")
    with TailscaledOnASocket(str(folder / "s")) as second:
        thread = threading.Thread(target=second.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            assert isinstance(api.whois("100.64.0.2"), Found)
        finally:
            second.shutdown()
            thread.join()


def test_an_answer_in_chunks(tailscaled: TailscaledOnASocket, api: LocalApi) -> None:
    tailscaled.misbehaviour = "chunks"  # how Go sends what is longer than its buffer
    assert api.status() == BackendStatus("Running", "nSELF")


def test_status(tailscaled: TailscaledOnASocket, api: LocalApi) -> None:
    assert api.status() == BackendStatus("Running", "nSELF")
    tailscaled.status = (200, json.dumps({"BackendState": "NoState"}))
    assert api.status() == BackendStatus("NoState", "")
    tailscaled.status = (403, "no")
    assert reason(api.status()).endswith("run as a user that may ask tailscaled")


def test_status_with_peers_may_be_long(tailscaled: TailscaledOnASocket, api: LocalApi) -> None:
    document = {"BackendState": "Running", "Peer": {f"nodekey:{n}": {"HostName": "x" * 1000} for n in range(2000)}}
    tailscaled.status = (200, json.dumps(document))  # 2 MB
    assert api.status_with_peers() == document
    assert tailscaled.asked == ["/localapi/v0/status?"]
    tailscaled.status = (403, "no")
    assert reason(api.status_with_peers()).endswith("run as a user that may ask tailscaled")  # type: ignore[arg-type]

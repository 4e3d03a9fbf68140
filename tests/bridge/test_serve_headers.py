"""`tailscale serve` before nginx: peer and headers, and the identity, side by side."""

import pytest

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.chain import Holder, kind_of
from tailtrace_bridge.identity.proxies import LOOPBACK, Proxies
from tailtrace_bridge.identity.serve_headers import WORDS_MAX, decoded
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.routes import Routes

LINE = (
    '{"msec":"1759926735.123","request_id":"4bf92f3577b34da6a3ce929d0e0e4736","tailtrace_trace_id":"",'
    '"tailtrace_span_id":"","remote_addr":"PEER","request_method":"GET","request_uri":"/a",'
    '"server_protocol":"HTTP/1.1","status":"200","bytes_sent":"5290","request_time":"0.031","upstream_addr":"",'
    '"upstream_status":"","upstream_response_time":"","server_name":"","http_referer":"","http_user_agent":"curl"'
)


def line(peer, login="", funnel=""):
    fields = f',"http_tailscale_user_login":"{login}","http_tailscale_funnel_request":"{funnel}"}}'
    return (LINE.replace("PEER", peer) + fields).encode()


def identities(raw, *, on, holder=lambda address: Holder(Identity(address, kind_of(address)), 0, 9)):
    access = make_parser().parse(raw, "a.log", 0)
    row = Enricher(holder, Routes(), serve=Proxies(["unix:", *LOOPBACK] if on else [])).row(access)
    columns = Enricher(holder, Routes(), serve=Proxies(["unix:", *LOOPBACK] if on else [])).columns([access])
    assert ([row.identity], [9]) == (columns.identities, columns.identified_us), "an import says what the bridge says"
    return row.identity


@pytest.mark.parametrize(
    ("raw", "identity"),
    [
        (
            line("127.0.0.1", "ana@example.com"),
            Identity("127.0.0.1", "user", "ana@example.com", provider="serve", via="serve by 127.0.0.1"),
        ),
        (
            line("::1", "ana@example.com"),
            Identity("::1", "user", "ana@example.com", provider="serve", via="serve by ::1"),
        ),
        (
            line("127.0.0.1", "=?utf-8?q?zo=C3=A9@example.com?="),
            Identity("127.0.0.1", "user", "zoé@example.com", provider="serve", via="serve by 127.0.0.1"),
        ),
        (line("127.0.0.1", funnel="?1"), Identity("127.0.0.1", "funnel", provider="serve", via="Funnel by 127.0.0.1")),
        (line("127.0.0.1"), Identity("127.0.0.1", "unknown", reason="no-login-from-serve")),
        (line("127.0.0.1", "=?nonsense?q?x?="), Identity("127.0.0.1", "unknown", reason="no-login-from-serve")),
        (
            line("127.0.0.1", r"a\u001b[31m"),
            Identity("127.0.0.1", "user", "a\\x1b[31m", provider="serve", via="serve by 127.0.0.1"),
        ),
        # a header that came past `tailscale serve` is nobody's word
        (line("100.64.0.9", "ana@example.com"), Identity("100.64.0.9", "unknown")),
        (line("8.8.8.8", "ana@example.com"), Identity("8.8.8.8", "external")),
        (line("8.8.8.8", funnel="?1"), Identity("8.8.8.8", "external")),
    ],
)
def test_what_serve_says_counts_from_loopback(raw, identity):
    assert identities(raw, on=True) == identity


@pytest.mark.parametrize("log_format", ["auto", "tailtrace"])
def test_lines_of_the_format_before_it_had_these_fields_are_still_read(log_format):
    parser = make_parser(log_format)
    old = (LINE.replace("PEER", "100.64.0.7") + "}").encode()
    for raw, serve in ((old, ""), (line("100.64.0.7", "ana@example.com"), "ana@example.com"), (old, "")):
        access = parser.parse(raw, "a.log", 0)
        assert (access.address, access.status, access.user_agent, access.serve) == ("100.64.0.7", 200, "curl", serve)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("ana@example.com", "ana@example.com"),
        ("=?utf-8?q?Jos=C3=A9_P=C3=A9rez?=", "José Pérez"),
        ("=?utf-8?q?=C3=A9=C3=A9?= =?utf-8?q?=C3=A8?=", "ééè"),  # Go cuts a long one into words
        ("=?utf-8?q?=FF?=", ""),
        ("=?x-none?q?a?=", ""),
        ("=?utf-8?b?YQ==?=", "a"),
        ("=?utf-8?b?YQ==YQ==?=", ""),
        ("=?utf-8?q?a?= and =?utf-8?q?b?=", "a and b"),
        (" ".join(["=?utf-8?q?a?="] * WORDS_MAX), "a" * WORDS_MAX),
        (" ".join(["=?utf-8?q?a?="] * (WORDS_MAX + 1)), ""),
        ("", ""),
    ],
)
def test_decoded(header, text):
    assert decoded(header) == text

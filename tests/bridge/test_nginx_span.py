"""A line of nginx, the row made of it, and the spans that are exported of the row, side by side."""

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.export.nginx_span import Disclosure, decoded, request_of, resource, spans_of
from tailtrace_bridge.identity.pseudonyms import Pseudonyms
from tailtrace_bridge.logs.format import TAILTRACE_FIELDS, TAILTRACE_MARK
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.spans.otlp import PROTOBUF, decode_traces

WHO = resource("edge", "bridge-1", "vps", "1.2.3")
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "nANA1CNTRL", "", "localapi", "4711")
TRACE, SPAN, HALF = "0123456789abcdeffedcba9876543210", "7461696c74726163", "fedcba9876543210"


def line(**values: str) -> bytes:
    given = {
        "msec": "1764000000.500", "request_id": TRACE, "tailtrace_flags": "01", "remote_addr": "100.64.0.7",
        "remote_port": "50123", "request_method": "GET", "request_uri": "/items/7?token=x", "status": "200",
        "bytes_sent": "1200", "request_time": "0.500", "server_name": "app.example", "http_user_agent": "Mozilla/5.0",
        "upstream_addr": "127.0.0.1:8000", "upstream_response_time": "0.400", "upstream_status": "200",
        "upstream_connect_time": "0.001", "upstream_header_time": "0.350", "upstream_response_length": "1200", "upstream_http_content_length": "1200",
        "server_protocol": "HTTP/1.1", "scheme": "https", "request_length": "512", "body_bytes_sent": "900",
        "http_host": "app.example:8443",
    }  # fmt: skip
    return "\t".join([TAILTRACE_MARK, *({**given, **values}.get(name, "") for name in TAILTRACE_FIELDS)]).encode()


def row_of(text: bytes, identity: Identity = ANA, route: str = "/items/{item_id}", error: str = "") -> Row:
    access = make_parser("tailtrace").parse(text, "a.log", 0)
    assert isinstance(access, Access), access
    return Row(access, identity, route, Traffic.APP, 320_000, error)


def exported(row: Row, disclosure: Disclosure | None = None) -> list[Span]:
    return list(decoded(request_of(WHO, spans_of(row, disclosure or Disclosure()))))


def attributes(span: Span) -> dict[str, object]:
    def plain(value):
        if value.WhichOneof("value") == "array_value":
            return [one.string_value for one in value.array_value.values]
        return getattr(value, value.WhichOneof("value"))

    named = [(one.key, plain(one.value)) for one in span.attributes]
    assert len(dict(named)) == len(named), "no attribute twice"
    return dict(named)


def test_a_request_and_the_server_that_was_asked():
    server, client = exported(row_of(line()))
    begin_ns = 1_764_000_000_000_000_000
    assert (server.trace_id.hex(), server.span_id.hex(), server.parent_span_id) == (TRACE, SPAN, b"")
    assert (server.name, server.kind) == ("GET /items/{item_id}", Span.SPAN_KIND_SERVER)
    assert (server.start_time_unix_nano, server.end_time_unix_nano) == (begin_ns, begin_ns + 500_000_000)
    assert server.status.code == Status.STATUS_CODE_UNSET
    assert attributes(server) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.scheme": "https",
        "url.path": "/items/7",
        "http.route": "/items/{item_id}",
        "server.address": "app.example",
        "server.port": 8443,
        "network.protocol.name": "http",
        "network.protocol.version": "1.1",
        "http.response.size": 1200,
        "http.request.size": 512,
        "http.response.body.size": 900,
        "user_agent.original": "Mozilla/5.0",
        "nginx.server_name": "app.example",
        "tailtrace.app.duration": 0.32,
        "tailscale.kind": "user",
        "client.address": "100.64.0.7",
        "user.id": "4711",
        "user.name": "ana@example.com",
        "tailscale.user": "ana@example.com",
        "tailscale.node": "ana-laptop",
        "tailscale.node.id": "nANA1CNTRL",
    }
    assert (client.trace_id.hex(), client.parent_span_id.hex()) == (TRACE, SPAN)
    assert (client.name, client.kind) == ("GET", Span.SPAN_KIND_CLIENT)
    assert (client.start_time_unix_nano, client.end_time_unix_nano) == (begin_ns, begin_ns + 400_000_000)
    assert attributes(client) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": 8000,
        "network.peer.address": "127.0.0.1",
        "url.full": "http://127.0.0.1:8000/items/7",
        "http.response.status_code": 200,
        "nginx.upstream_connect_time": 0.001,
        "nginx.upstream_header_time": 0.35,
        "nginx.upstream_response_time": 0.4,
    }


def test_the_resource_and_the_scope():
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    (of_resource,) = ExportTraceServiceRequest.FromString(
        request_of(WHO, spans_of(row_of(line()), Disclosure()))
    ).resource_spans
    assert {one.key: one.value.string_value for one in of_resource.resource.attributes} == {
        "service.name": "edge", "service.instance.id": "bridge-1", "host.name": "vps",
    }  # fmt: skip
    (of_scope,) = of_resource.scope_spans
    assert (of_scope.scope.name, of_scope.scope.version, len(of_scope.spans)) == ("tailtrace.nginx", "1.2.3", 2)


def test_a_trusted_peers_trace_goes_on():
    parent = "00f067aa0ba902b7"
    (server, _) = exported(
        row_of(line(tailtrace_inbound_trace_id="4bf92f3577b34da6a3ce929d0e0e4736", tailtrace_inbound_span_id=parent))
    )
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == ("4bf92f3577b34da6a3ce929d0e0e4736", parent)
    assert server.span_id.hex() == HALF


def test_a_second_server_after_a_failure():
    server, first, second = exported(
        row_of(
            line(
                upstream_addr="10.0.0.1:8000, unix:/run/app.sock", upstream_status="502, 200",
                upstream_connect_time="-, 0.000", upstream_header_time="-, 0.100", upstream_response_time="0.050, 0.200",
            )
        )
    )  # fmt: skip
    assert server.status.code == Status.STATUS_CODE_UNSET
    assert (first.status.code, second.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert (attributes(first)["error.type"], "nginx.upstream_connect_time" in attributes(first)) == (
        "no_response",
        False,
    )
    assert first.end_time_unix_nano == second.start_time_unix_nano == server.start_time_unix_nano + 50_000_000
    said = attributes(second)
    assert (said["server.address"], said["http.request.resend_count"]) == ("/run/app.sock", 1)
    assert (said["network.peer.address"], said["network.transport"]) == ("/run/app.sock", "unix")
    assert "url.full" not in said
    assert len({server.span_id, first.span_id, second.span_id}) == 3


@pytest.mark.parametrize(
    ("status", "head", "answered", "error"),
    [
        ("200", "0.100", 200, None),
        ("404", "0.100", 404, "404"),
        ("502", "0.100", 502, "502"),  # the server's own word, as of a gateway behind the gateway
        ("502", "-", None, "no_response"),
        ("504", "0.100", 504, "504"),
        ("504", "-", None, "timeout"),
        ("-", "-", None, None),  # the client left
        ("", "", None, None),
    ],
)
def test_the_status_of_an_attempt_is_what_its_server_answered(status, head, answered, error):
    """Where nothing came nginx logs a status of its own making, which no server sent."""
    server, client = exported(row_of(line(status="502", upstream_status=status, upstream_header_time=head)))
    said = attributes(client)
    assert (said.get("http.response.status_code"), said.get("error.type")) == (answered, error)
    assert (client.status.code == Status.STATUS_CODE_ERROR) is (error is not None)
    assert attributes(server)["http.response.status_code"] == 502, "nginx did send it to its client"


@pytest.mark.parametrize(
    ("protocol", "version"),
    [("HTTP/1.0", "1.0"), ("HTTP/1.1", "1.1"), ("HTTP/2.0", "2"), ("HTTP/3.0", "3"), ("", None)],
)
def test_the_version_of_http_as_the_conventions_write_it(protocol, version):
    assert attributes(exported(row_of(line(server_protocol=protocol)))[0]).get("network.protocol.version") == version


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("app.example.com", "app.example.com", None),
        ("app.example.com:8443", "app.example.com", 8443),
        ("[fd7a:115c:a1e0::7]:8443", "fd7a:115c:a1e0::7", 8443),
        ("[fd7a:115c:a1e0::7]", "fd7a:115c:a1e0::7", None),
        ("fd7a:115c:a1e0::7", "fd7a:115c:a1e0::7", None),
        ("app.example.com:99999", "app.example.com:99999", None),
    ],
)
def test_the_host_that_was_asked_and_its_port(host, address, port):
    said = attributes(exported(row_of(line(http_host=host)))[0])
    assert (said["server.address"], said.get("server.port")) == (address, port)


def test_a_server_of_ipv6():
    said = attributes(exported(row_of(line(upstream_addr="[fd7a:115c:a1e0::7]:8000")))[1])
    assert (said["server.address"], said["server.port"]) == ("fd7a:115c:a1e0::7", 8000)
    assert said["url.full"] == "http://[fd7a:115c:a1e0::7]:8000/items/7"


def test_a_server_without_a_name_is_not_called_underscore():
    """An HTTP/1.0 client need not send a Host."""
    said = attributes(exported(row_of(line(http_host="", server_name="_")))[0])
    assert ("server.address" in said, said["nginx.server_name"]) == (False, "_")


def test_a_line_read_again_makes_the_same_spans():
    assert spans_of(row_of(line()), Disclosure()) == spans_of(row_of(line()), Disclosure())


@pytest.mark.parametrize(
    ("status", "error", "code", "said"),
    [
        ("500", "ValueError", Status.STATUS_CODE_ERROR, "ValueError"),
        ("502", "", Status.STATUS_CODE_ERROR, "502"),
        ("404", "", Status.STATUS_CODE_UNSET, None),
    ],
)
def test_what_is_an_error_of_a_server(status, error, code, said):
    server = exported(row_of(line(status=status), error=error))[0]
    assert (server.status.code, attributes(server).get("error.type")) == (code, said)


def test_a_client_that_left_is_marked_and_is_no_error():
    server = exported(row_of(line(status="499")))[0]
    assert server.status.code == Status.STATUS_CODE_UNSET
    assert attributes(server)["nginx.client_closed_request"] is True


def test_an_unknown_method():
    server = exported(row_of(line(request_method="BREW"), route=""))[0]
    assert (server.name, attributes(server)["http.request.method"]) == ("HTTP", "_OTHER")


def test_a_static_file_has_no_client_span():
    (server,) = exported(row_of(line(upstream_addr="", upstream_status="", upstream_response_time="")))
    assert server.name == "GET /items/{item_id}"


def test_a_tagged_node_and_a_stranger():
    runner = Identity("100.64.0.9", "tagged", "", "runner", "nCI", "tag:ci,tag:build", "localapi")
    said = attributes(exported(row_of(line(), runner))[0])
    assert (said["tailscale.tags"], said["tailscale.node"]) == (["tag:ci", "tag:build"], "runner")
    assert "user.name" not in said
    nobody = Identity("100.64.0.10", "unknown", reason="no-such-node")
    said = attributes(exported(row_of(line(), nobody))[0])
    assert (said["tailscale.kind"], said["tailscale.identity.reason"]) == ("unknown", "no-such-node")


def test_what_stays_in_the_house():
    texts = ("ana", "100.64.0.7", "4711", "nANA1CNTRL")
    everything = b"".join(spans_of(row_of(line()), Disclosure()))
    assert all(text.encode() in everything for text in texts)
    nameless = b"".join(spans_of(row_of(line()), Disclosure(names=False)))
    assert not any(text.encode() in nameless for text in texts)
    hashed = b"".join(spans_of(row_of(line()), Disclosure(pseudonyms=Pseudonyms("0123456789abcdef"))))
    assert not any(text.encode() in hashed for text in texts)
    assert Pseudonyms("0123456789abcdef").user("ana@example.com").encode() in hashed
    assert b"/items/7" not in b"".join(spans_of(row_of(line()), Disclosure(paths=False)))
    assert b"Mozilla" not in b"".join(spans_of(row_of(line()), Disclosure(agents=False)))
    assert b"token" not in everything


def test_a_proxy_before_nginx_is_the_peer():
    said = attributes(exported(row_of(line(realip_remote_addr="10.0.0.1")))[0])
    assert (said["client.address"], said["network.peer.address"]) == ("100.64.0.7", "10.0.0.1")


def test_a_line_of_combined_gets_ids_that_follow_from_it():
    text = b'192.0.2.7 - - [10/Oct/2025:13:55:36 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8"'
    access = make_parser("combined").parse(text, "a.log", 0)
    row = Row(access, Identity("192.0.2.7", "external"), "/a", Traffic.APP, None, "")
    (one,), (again,) = exported(row), exported(row)
    assert one == again
    assert (len(one.trace_id), len(one.span_id), any(one.trace_id), any(one.span_id)) == (16, 8, True, True)
    assert one.end_time_unix_nano == one.start_time_unix_nano


def test_our_receiver_takes_none_of_them():
    got = decode_traces(request_of(WHO, spans_of(row_of(line()), Disclosure())), PROTOBUF)
    assert (got.spans, got.rejected, got.ignored) == ([], 0, 2)


def test_an_attribute_of_another_type_is_another_attribute():
    """`True == 1 == 1.0`: what is remembered of one must not be given for the other."""
    server = exported(row_of(line(status="499", request_length="1", http_host="a:1")))[0]
    said = attributes(server)
    assert [said["nginx.client_closed_request"], said["http.request.size"], said["server.port"]] == [True, 1, 1]
    assert type(said["http.request.size"]) is int

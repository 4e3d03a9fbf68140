"""Who is whom before the API and the receiver of spans: proxies, `tailscale serve`, and a node without TUN. All real."""

import json
import time

import pytest

pytestmark = [pytest.mark.tailnet, pytest.mark.nginx]

LOGS = "/analytics/access-logs?hours=1"
AS_LOCAL = ("-H", "Host: 127.0.0.1")
"""What a peer writes that would pass for somebody at the machine."""
BOB_IS_ADMIN = {"TAILTRACE_ADMINS": '["bob@example.com"]'}


@pytest.fixture
def quiet(tailnet, watch_on):
    """Starts `tailtrace serve` beside an nginx that nobody asks."""
    return lambda node, servers="", **settings: watch_on(node, "listen 127.0.0.1:82;", servers, **settings)


def is_answered(reply):
    return (reply.status, "logs" in json.loads(reply.body)) == (200, True)


def why(reply):
    assert reply.status == 401, reply
    return json.loads(reply.body)["detail"]


def test_an_address_that_a_peer_sends_through_a_plain_proxy_is_nobodys(tailnet, quiet):
    """nginx hands `X-Forwarded-For` on as it came: bob's address in it makes nobody bob."""
    server = tailnet.server
    plain = f"server {{ listen {server.v4}:81; location / {{ proxy_pass http://127.0.0.1:8470; }} }}"
    with quiet(server, plain, TAILTRACE_ACCESS="local,token,whois", **BOB_IS_ADMIN) as watch:
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Tailscale-User-Login"):
            for value in (tailnet.phone.v4, "127.0.0.1", "bob@example.com"):
                reply = tailnet.laptop.curl(f"http://{server.v4}:81{LOGS}", "-H", f"{name}: {value}")
                assert "is not believed" in why(reply), (name, value)
        assert is_answered(watch.api(LOGS))


def test_a_trusted_proxy_that_adds_to_the_header_speaks_for_its_peer(tailnet, quiet):
    server = tailnet.server
    adds = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_pass http://127.0.0.1:8470;"
    servers = f"server {{ listen {server.v4}:81; location / {{ {adds} }} }}"
    settings = {"TAILTRACE_ACCESS": "token,whois", "TAILTRACE_TRUSTED_PROXIES": '["127.0.0.1"]', **BOB_IS_ADMIN}
    health = "/analytics/system-health-history"
    with quiet(server, servers, **settings):
        claim = ("-H", f"X-Forwarded-For: {tailnet.phone.v4}")
        assert tailnet.laptop.curl(f"http://{server.v4}:81{health}", *claim).status == 403, "alice stays alice"
        assert tailnet.phone.curl(f"http://{server.v4}:81{health}").status == 200
        assert "is a device without a person" in why(tailnet.runner.curl(f"http://{server.v4}:81{health}", *claim))


@pytest.mark.parametrize(
    "settings",
    [
        {"TAILTRACE_SERVE_HEADERS": "true"},
        {"TAILTRACE_TRUSTED_PROXIES": '["127.0.0.1"]', "TAILTRACE_ACCESS": "token,whois"},
    ],
    ids=["headers", "address"],
)
def test_serve_before_the_api_names_who_asks(tailnet, quiet, settings):
    """`tailscale serve` sets X-Forwarded-For each time: by it, or by its other headers, people are themselves."""
    server = tailnet.server
    tailnet.serve(server, http={8081: "http://127.0.0.1:8470", 443: "http://127.0.0.1:8470"}, funnel=(443,))
    hosts = {"TAILTRACE_HOSTS": '["server.tailtest.ts.net"]'}
    with quiet(server, **settings, **hosts, **BOB_IS_ADMIN):
        for path, alice, bob in ((LOGS, 200, 200), ("/analytics/system-health-history", 403, 200)):
            for claim in (
                (),
                ("-H", f"X-Forwarded-For: {tailnet.phone.v4}", "-H", "Tailscale-User-Login: bob@example.com"),
            ):
                assert tailnet.ask_serve(tailnet.laptop, server, 8081, path, *claim).status == alice
                assert tailnet.ask_serve(tailnet.runner, server, 8081, path, *claim).status == 401
            assert tailnet.ask_serve(tailnet.phone, server, 8081, path).status == bob
        assert tailnet.ask_funnel(server, 443, LOGS, source=f"{tailnet.phone.v4}") == 401, "Funnel is never a person"


def test_without_settings_serve_before_the_api_names_nobody(tailnet, quiet):
    server = tailnet.server
    tailnet.serve(server, http={8081: "http://127.0.0.1:8470"})
    with quiet(server, TAILTRACE_HOSTS='["server.tailtest.ts.net"]', **BOB_IS_ADMIN):
        assert "TAILTRACE_TRUSTED_PROXIES" in why(tailnet.ask_serve(tailnet.phone, server, 8081, LOGS))


def all_doors(tailnet, watch):
    """What a peer of the tailnet gets at 8470 and 4318 of the node without TUN, as if it were the machine itself."""
    uspace, bob = tailnet.uspace, f"{tailnet.phone.v4}"
    headers = [(), ("-H", f"X-Forwarded-For: {bob}"), ("-H", "Tailscale-User-Login: bob@example.com")]
    spans = ("-X", "POST", "-H", "Content-Type: application/x-protobuf", "--data-binary", "")
    replies = [tailnet.laptop.curl(f"http://{uspace.v4}:8470{LOGS}", *AS_LOCAL, *more) for more in headers]
    replies += [tailnet.laptop.curl(f"http://{uspace.v4}:4318/v1/traces", *spans, *more) for more in headers]
    return [reply.status for reply in replies]


def test_without_tun_no_peer_is_the_machine(tailnet, quiet):
    uspace = tailnet.uspace
    believes_all = {
        "TAILTRACE_SERVE_HEADERS": "true",
        "TAILTRACE_TRUSTED_PROXIES": '["127.0.0.1"]',
        "TAILTRACE_TRUST_LOOPBACK": "true",
        "TAILTRACE_ACCESS": "local,token,whois",
        **BOB_IS_ADMIN,
    }
    for settings in ({}, believes_all):
        with quiet(uspace, **settings) as watch:
            assert all_doors(tailnet, watch) == [401] * 6
            assert "without TUN" in why(watch.node.curl(f"http://127.0.0.1:8470{LOGS}")), "nor is the machine itself"


def test_a_tailscaled_that_cannot_be_asked_lets_no_peer_in(tailnet, quiet):
    """The socket is elsewhere: nothing shows whether there is TUN, and so loopback proves nothing."""
    elsewhere = str(tailnet.folder / "not-here.sock")
    with quiet(tailnet.uspace, TAILSCALE_SOCKET=elsewhere) as watch:
        assert all_doors(tailnet, watch) == [401] * 6
        told = why(watch.node.curl(f"http://127.0.0.1:8470{LOGS}"))
        assert "nothing proves that 127.0.0.1 is this machine" in told
        assert "TAILTRACE_TRUST_LOOPBACK=true, which makes every peer of the tailnet an admin" in told
        watch.make_token()
        assert is_answered(watch.api(LOGS))


def test_who_wants_the_risk_asks_for_it(tailnet, quiet):
    settings = {"TAILSCALE_SOCKET": str(tailnet.folder / "not-here.sock"), "TAILTRACE_TRUST_LOOPBACK": "true"}
    with quiet(tailnet.uspace, **settings) as watch:
        assert is_answered(watch.api(LOGS))


def test_a_tailscaled_that_starts_after_tailtrace_lets_no_peer_in_for_a_moment(tailnet, quiet):
    uspace = tailnet.uspace
    uspace.daemon.kill()
    uspace.daemon.wait(5)
    uspace.socket.unlink(missing_ok=True)
    try:
        with quiet(uspace) as watch:
            watch.node.curl(f"http://127.0.0.1:8470{LOGS}")
            uspace.start_daemon()
            statuses, until = set(), time.monotonic() + 30
            while statuses != {401} and time.monotonic() < until:
                reply = tailnet.laptop.curl(f"http://{uspace.v4}:8470{LOGS}", *AS_LOCAL, max_s=0.3)
                statuses |= {reply.status} - {0}
                assert statuses <= {401}
            assert all_doors(tailnet, watch) == [401] * 6
    finally:
        if uspace.daemon.poll() is not None:
            uspace.start_daemon()


def test_the_bridge_alone_shows_its_counters_to_no_peer(tailnet, tmp_path):
    uspace = tailnet.uspace
    log = tmp_path / "access.log"
    log.touch()
    process = uspace.start_tailtrace(
        "bridge",
        TAILTRACE_STORE=f"sqlite:{tmp_path / 'rows.db'}",
        TAILTRACE_CHECKPOINT=str(tmp_path / "checkpoint.json"),
        TAILTRACE_LOG=str(log),
    )
    try:
        url = f"http://{uspace.v4}:8471"
        tailnet.wait_for("bridge", lambda: tailnet.laptop.curl(f"{url}/ready", *AS_LOCAL).status == 200)
        assert tailnet.laptop.curl(f"{url}/metrics", *AS_LOCAL).status == 401
    finally:
        process.terminate()
        process.wait(10)


def test_without_tun_the_machines_own_app_sends_spans_with_a_token(tailnet, quiet):
    spans = ("-X", "POST", "-H", "Content-Type: application/x-protobuf", "--data-binary", "")
    with quiet(tailnet.uspace) as watch:
        token = watch.make_token("spans")
        assert watch.node.curl("http://127.0.0.1:4318/v1/traces", *spans).status == 401
        shown = ("-H", f"Authorization: Bearer {token}")
        assert watch.node.curl("http://127.0.0.1:4318/v1/traces", *spans, *shown).status == 200


def test_without_tun_serve_reaches_the_api_by_a_socket(tailnet, quiet):
    """The safe way: no peer reaches a unix socket, so what comes through it is serve's word."""
    uspace, path = tailnet.uspace, tailnet.folder / "api.sock"
    tailnet.serve(uspace, http={8081: f"unix:{path}", 443: f"unix:{path}"}, funnel=(443,))
    settings = {
        "TAILTRACE_LISTEN": f"unix:{path}",
        "TAILTRACE_TRUSTED_PROXIES": '["unix:"]',
        "TAILTRACE_ACCESS": "token,whois",
        "TAILTRACE_HOSTS": '["uspace.tailtest.ts.net"]',
        **BOB_IS_ADMIN,
    }
    health = "/analytics/system-health-history"
    with quiet(uspace, **settings):
        for claim in ((), ("-H", f"X-Forwarded-For: {tailnet.phone.v4}")):
            assert is_answered(tailnet.ask_serve(tailnet.laptop, uspace, 8081, LOGS, *claim))
            assert tailnet.ask_serve(tailnet.laptop, uspace, 8081, health, *claim).status == 403
            assert tailnet.ask_serve(tailnet.runner, uspace, 8081, health, *claim).status == 401
        assert tailnet.ask_serve(tailnet.phone, uspace, 8081, health).status == 200
        assert tailnet.ask_funnel(uspace, 443, LOGS) == 401
        assert uspace.curl(f"http://localhost{LOGS}", "--unix-socket", str(path)).status == 401

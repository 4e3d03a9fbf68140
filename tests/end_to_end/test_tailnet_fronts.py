"""Who is named where `tailscale serve` or Funnel stands in front, with TUN and without: the real ones.

By the recipes everybody has a name, and whoever goes past serve gains none. Without them nobody is `self`.
"""

import shutil
import tempfile
from pathlib import Path

import pytest

from tailtrace_api.nginx.include_files import BEHIND_SERVE, write_files

pytestmark = [pytest.mark.tailnet, pytest.mark.nginx]

ALICE = ("user", "alice@example.com", "laptop", None)
RUNNER = ("tagged", None, "runner", None)
FUNNEL = ("funnel", None, None, None)
PAST_SERVE = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3) as s:
    s.sendall(f"PROXY TCP4 {sys.argv[3]} {sys.argv[1]} 1234 80\\r\\nGET {sys.argv[4]} HTTP/1.1\\r\\nHost: x\\r\\n"
              "Connection: close\\r\\n\\r\\n".encode())
    s.recv(9999)
"""


def unknown(reason):
    return ("unknown", None, None, reason)


def who(row):
    return row["kind"], row["user"], row["device"], row["reason"]


@pytest.fixture(params=["uspace", "server"])
def node(request, tailnet):
    """Without TUN, and with."""
    return getattr(tailnet, request.param)


@pytest.fixture
def place():
    """A folder for a socket, whose path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="tt-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def claims_of(tailnet):
    """What a peer writes who wants to be bob."""
    bob = tailnet.phone.v4
    return ("-H", f"X-Forwarded-For: {bob}", "-H", f"X-Real-IP: {bob}", "-H", "Tailscale-User-Login: bob@example.com")


@pytest.fixture
def behind_serve(tailnet, watch_on, place):
    """nginx with the file that `tailtrace nginx --behind-serve` writes, on a node, and serve and Funnel before it."""

    def started(node, **settings):
        path = place / "nginx.sock"
        write_files(place / "include", behind_serve=path)
        tailnet.serve(node, http={8081: f"unix:{path}", 443: f"unix:{path}"}, funnel=(443,))
        return watch_on(node, f"include {place}/include/{BEHIND_SERVE};", **settings)

    return started


@pytest.mark.parametrize("settings", [{}, {"TAILTRACE_SERVE_HEADERS": "true"}], ids=["default", "headers"])
def test_the_recipe_names_everybody_and_cannot_be_forged(tailnet, node, behind_serve, settings):
    with behind_serve(node, **settings) as watch:
        watch.make_token()
        asked = []
        for sender, name in ((tailnet.laptop, ALICE), (tailnet.runner, RUNNER)):
            for claim in ((), claims_of(tailnet)):
                path = watch.next_path()
                assert tailnet.ask_serve(sender, node, 8081, path, *claim).status == 200
                asked.append((path, sender.v4, name, "forwarded by unix:"))
        for source in ("203.0.113.9", tailnet.phone.v4):
            path = watch.next_path()
            assert tailnet.ask_funnel(node, 443, path, "X-Forwarded-For: 100.64.0.3", source=source) == 200
            asked.append((path, source, FUNNEL, "Funnel by unix:"))
        for path, address, name, via in asked:
            row = watch.row(path)
            assert (row["ip"], who(row), row["via"]) == (address, name, via)
        told = watch.tailtrace("whois", tailnet.laptop.v4).stdout
        assert f"2 of the newest {len(asked)} lines: forwarded by unix:" in told


def test_without_tun_who_goes_past_serve_is_nobody(tailnet, watch_on):
    """The set-up that we once advised: serve's headers, and nginx on a port of 127.0.0.1, which every peer reaches."""
    uspace = tailnet.uspace
    tailnet.serve(uspace, http={8081: "http://127.0.0.1:80"})
    with watch_on(uspace, "listen 127.0.0.1:80;", TAILTRACE_SERVE_HEADERS="true") as watch:
        watch.make_token()
        served, past, plain = (watch.next_path() for _ in range(3))
        tailnet.ask_serve(tailnet.laptop, uspace, 8081, served)
        tailnet.laptop.curl(f"http://{uspace.v4}{past}", *claims_of(tailnet))
        tailnet.laptop.curl(f"http://{uspace.v4}{plain}")
        assert who(watch.row(served)) == unknown("forged-where-no-tun"), "it looks the same as what is forged"
        assert who(watch.row(past)) == unknown("forged-where-no-tun")
        assert who(watch.row(plain)) == unknown("userspace-networking")


def test_without_tun_a_forwarded_address_that_came_by_tcp_is_nobodys(tailnet, watch_on):
    uspace, bob = tailnet.uspace, tailnet.phone.v4
    tailnet.serve(uspace, http={8081: "http://127.0.0.1:8093"})
    listens = "listen 127.0.0.1:8093; set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;"
    with watch_on(uspace, listens) as watch:
        watch.make_token()
        served, past = watch.next_path(), watch.next_path()
        tailnet.ask_serve(tailnet.phone, uspace, 8081, served)
        tailnet.laptop.curl(f"http://{uspace.v4}:8093{past}", "-H", f"X-Forwarded-For: {bob}")
        for path in (served, past):
            row = watch.row(path)
            assert (row["ip"], who(row)) == (bob, unknown("forged-where-no-tun"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_proxy_protocol_is_the_second_recipe(tailnet, node, watch_on, host):
    """Without TUN it cannot be forged on 127.0.0.2: tailscaled lets peers to 127.0.0.1, and to no other such address.

    What comes on 127.0.0.1 is nobody there: peers write the header themselves.
    """
    is_reached = node is tailnet.uspace and host == "127.0.0.1"
    tailnet.serve(node, tcp={8082: f"{host}:8092"}, proxy_protocol=1)
    with watch_on(
        node, f"listen {host}:8092 proxy_protocol; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;"
    ) as watch:
        watch.make_token()
        for sender, name in ((tailnet.laptop, ALICE), (tailnet.runner, RUNNER)):
            asked = watch.next_path()
            assert sender.curl(f"http://{node.v4}:8082{asked}", *claims_of(tailnet)).status == 200
            row = watch.row(asked)
            right = unknown("proxied-within-reach") if is_reached else name
            assert (row["ip"], who(row), row["via"]) == (sender.v4, right, "PROXY protocol by 127.0.0.1")
        past = watch.next_path()
        if is_reached:
            tailnet.run_in(tailnet.laptop, PAST_SERVE, node.v4, "8092", tailnet.phone.v4, past)
            assert who(watch.row(past)) == unknown("proxied-within-reach")
        else:
            with pytest.raises(AssertionError, match=r"refused|reset|timed out"):
                tailnet.run_in(tailnet.laptop, PAST_SERVE, node.v4, "8092", tailnet.phone.v4, past)


def test_with_default_settings_nobody_behind_serve_is_self(tailnet, node, watch_on, place):
    """A person, a tagged node and the internet, over a port and over a socket: unknown or funnel, each with a reason."""
    path, tcp = place / "nginx.sock", "http://127.0.0.1:84"
    tailnet.serve(node, http={8081: tcp, 8083: f"unix:{path}", 443: tcp, 8443: f"unix:{path}"}, funnel=(443, 8443))
    with watch_on(node, f"listen 127.0.0.1:84; listen unix:{path};") as watch:
        watch.make_token()
        without_tun = node is tailnet.uspace
        login = unknown("forged-where-no-tun" if without_tun else "serve-not-believed")
        tagged = unknown("userspace-networking" if without_tun else "serve-in-front")
        asked = []
        for sender, port, name in (
            (tailnet.laptop, 8081, login),
            (tailnet.runner, 8081, tagged),
            (tailnet.laptop, 8083, unknown("unix-peer")),
            (tailnet.runner, 8083, unknown("unix-peer")),
        ):
            asked.append((watch.next_path(), name))
            assert tailnet.ask_serve(sender, node, port, asked[-1][0]).status == 200
        for port in (443, 8443):
            asked.append((watch.next_path(), FUNNEL))
            assert tailnet.ask_funnel(node, port, asked[-1][0]) == 200
        assert [(path, who(watch.row(path))) for path, _ in asked] == asked


def test_with_tun_serves_headers_count_by_setting(tailnet, watch_on):
    server = tailnet.server
    tailnet.serve(server, http={8081: "http://127.0.0.1:84", 443: "http://127.0.0.1:84"}, funnel=(443,))
    with watch_on(server, "listen 127.0.0.1:84;", TAILTRACE_SERVE_HEADERS="true") as watch:
        asked = []
        for sender, name in (
            (tailnet.laptop, ("user", "alice@example.com", None, None)),
            (tailnet.runner, unknown("no-login-from-serve")),
        ):
            asked.append((watch.next_path(), name))
            assert tailnet.ask_serve(sender, server, 8081, asked[-1][0], *claims_of(tailnet)).status == 200
        asked.append((watch.next_path(), FUNNEL))
        assert tailnet.ask_funnel(server, 443, asked[-1][0], "Tailscale-User-Login: bob@example.com") == 200
        assert [(path, who(watch.row(path))) for path, _ in asked] == asked


def test_a_proxy_that_is_named_is_believed_unless_whois_denies_it(tailnet, watch_on):
    """What stands for the Kubernetes operator's proxy: a node of the tailnet that sets serve's headers for others."""
    server, proxy = tailnet.server, tailnet.runner
    real_ip = f"set_real_ip_from {proxy.v4}; real_ip_header X-Forwarded-For;"
    servers = f"server {{ listen {server.v4}:85; {real_ip} {tailnet.TRACED} }}"
    listens = f"listen {server.v4}:84;"
    with watch_on(server, listens, servers, TAILTRACE_SERVE_PROXIES=f'["{proxy.v4}"]') as watch:

        def ask(sender, port, login, address):
            path = watch.next_path()
            headers = ("-H", f"Tailscale-User-Login: {login}", "-H", f"X-Forwarded-For: {address}")
            assert sender.curl(f"http://{server.v4}:{port}{path}", *headers).status == 200
            row = watch.row(path)
            return row["kind"], row["user"], row["reason"]

        alice, bob = tailnet.laptop.v4, tailnet.phone.v4
        assert ask(proxy, 84, "alice@example.com", alice) == ("user", "alice@example.com", None)
        assert ask(proxy, 85, "alice@example.com", alice) == ("user", "alice@example.com", None)
        assert ask(proxy, 85, "alice@example.com", bob) == ("unknown", None, "serve-contradicted")
        assert ask(tailnet.laptop, 84, "bob@example.com", bob) == ("user", "alice@example.com", None)
        assert ask(tailnet.laptop, 85, "bob@example.com", bob) == ("user", "alice@example.com", None)

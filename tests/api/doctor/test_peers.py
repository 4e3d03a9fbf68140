"""Who connected, by the newest lines, and whom nginx believes, by its configuration: what the doctor makes of it."""

import pytest

from tailtrace_api.doctor.nginx_fronts import check_fronts
from tailtrace_api.doctor.peers import Facts, check_peers
from tailtrace_api.nginx.config import read_config
from tailtrace_bridge.core.records import Access
from tailtrace_bridge.identity.proxies import LOOPBACK, Proxies

NONE, SERVED = Proxies(), Proxies(["unix:", *LOOPBACK])


def line(address, peer="", serve="", proxy_protocol="", at=""):
    return Access(
        9, 1, address, "GET", "/a", 200, 1, None, False, 1, "", "", "", "curl", "",
        serve=serve, peer=peer, proxy_protocol=proxy_protocol, proxy_protocol_at=at,
    )  # fmt: skip


NEAR, PEOPLE = line("127.0.0.1"), line("100.64.0.7")
GATEWAY = line("172.17.0.1")


@pytest.mark.parametrize(
    ("lines", "facts", "statuses", "words"),
    [
        ([NEAR], Facts(True, False, NONE), ["skipped"], "tell nothing"),
        ([PEOPLE, PEOPLE, NEAR], Facts(True, False, NONE), ["ok"], "2 of the newest 3 lines are of the tailnet"),
        ([NEAR] * 5, Facts(False, False, NONE), ["failure"], "--behind-serve"),
        ([NEAR] * 5, Facts(True, True, NONE), ["failure"], "`tailscale serve` stands in front"),
        ([NEAR] * 5, Facts(True, False, NONE), ["warning"], "a proxy in front, or nobody but this machine"),
        ([NEAR] * 5, Facts(None, False, NONE), ["warning"], "a proxy in front, or nobody but this machine"),
        ([GATEWAY] * 5, Facts(True, False, NONE), ["failure"], "network_mode: service:tailscale"),
        ([line("8.8.8.8"), line("9.9.9.9"), NEAR], Facts(True, False, NONE), ["warning"], "none of the newest 3 lines"),
        ([line("unix:")] * 5, Facts(False, False, NONE), ["failure"], "set_real_ip_from unix:"),
        ([line("100.64.0.7", "unix:")] * 5, Facts(False, False, NONE), ["ok"], "named by unix: (5)"),
        (
            [line("100.64.0.7", "127.0.0.1", "", "100.64.0.7", "127.0.0.2")] * 5,
            Facts(False, True, NONE),
            ["ok"],
            "named by 127.0.0.1 (5)",
        ),
        (
            [line("100.64.0.7", "127.0.0.1", "", "100.64.0.7", "127.0.0.1")] * 5,
            Facts(False, True, NONE),
            ["failure"],
            "nobody is named by it",
        ),
        ([line("100.64.0.7", "127.0.0.1")] * 5, Facts(False, True, NONE), ["failure"], "nobody is named by it"),
        (
            [line("127.0.0.1", serve="ana@example.com")] * 5,
            Facts(True, True, NONE),
            ["failure", "failure"],
            "which no setting believes",
        ),
        ([line("127.0.0.1", serve="ana@example.com")] * 5, Facts(True, True, SERVED), ["ok"], "by its headers"),
    ],
)
def test_who_connected(lines, facts, statuses, words):
    checks = check_peers(lines, facts)
    assert [check.status for check in checks] == statuses
    assert words in " ".join(f"{check.message} {check.cure}" for check in checks)
    assert all(check.cure for check in checks if check.status in {"warning", "failure"})
    assert "identities" not in " ".join(check.cure.lower() for check in checks), "a gateway is not one person"


@pytest.mark.parametrize(
    ("listen", "lines", "has_tun", "statuses", "words"),
    [
        ("80", "", True, [], ""),
        ("80", "set_real_ip_from 0.0.0.0/0;", True, ["failure"], "may write in a header"),
        ("80", "set_real_ip_from ::/0;", True, ["failure"], "name the address of the proxy"),
        ("80", "set_real_ip_from 10.0.0.5;", True, [], ""),
        ("80", "underscores_in_headers on;", True, ["failure"], "Tailscale_User_Login"),
        ("unix:/r/n.sock", "", False, ["failure"], "--behind-serve"),
        ("unix:/r/n.sock", "set_real_ip_from unix:;", False, ["failure"], "--behind-serve"),
        (
            "unix:/r/n.sock",
            "set_real_ip_from unix:; real_ip_header X-Forwarded-For;",
            False,
            ["ok"],
            "no peer can forge it",
        ),
        (
            "127.0.0.1:80",
            "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;",
            False,
            ["failure"],
            "past serve",
        ),
        ("127.0.0.1:80", "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;", True, [], ""),
        (
            "127.0.0.1:80 proxy_protocol",
            "set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;",
            False,
            ["failure"],
            "127.0.0.2",
        ),
        (
            "127.0.0.2:80 proxy_protocol",
            "set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;",
            False,
            ["ok"],
            "no peer reaches it",
        ),
    ],
)
def test_whom_nginx_believes(tmp_path, listen, lines, has_tun, statuses, words):
    (tmp_path / "nginx.conf").write_text(f"events {{}}\nhttp {{ {lines} server {{ listen {listen}; return 204; }} }}\n")
    found = check_fronts(read_config(tmp_path / "nginx.conf"), has_tun=has_tun)
    assert [check.status for check in found.checks] == statuses
    assert words in " ".join(f"{check.message} {check.cure}" for check in found.checks)
    assert found.is_safe is ("behind a proxy" in " ".join(c.name for c in found.checks) and "failure" not in statuses)
